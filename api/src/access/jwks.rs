//! The published keys of an identity provider (JWKS, RFC 7517): fetched when first needed, kept, and fetched again when
//! they are old or a token names one that is not among them, which is how keys are rotated.

use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::jwk::{Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use reqwest::Client;
use tokio::sync::{Mutex, RwLock};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::warn;

use crate::problem::Problem;

/// Keys that are older are fetched again.
const FRESH_FOR: Duration = Duration::from_mins(10);
/// However many tokens name unknown keys, keys are not fetched more often.
pub(super) const FETCH_EVERY: Duration = if cfg!(test) { Duration::from_millis(100) } else { Duration::from_secs(10) };
const FETCH_TIMEOUT: Duration = Duration::from_secs(3);
const LONGEST_SET: usize = 256 * 1024;

/// Why keys cannot be had in such a way.
#[derive(Debug, thiserror::Error)]
pub enum InvalidJwks {
    #[error("published keys are for RS, PS, ES and EdDSA algorithms, not for {0:?}")]
    Symmetric(Algorithm),
    #[error("no algorithm is accepted")]
    NoAlgorithm,
    #[error("cannot set up the client that fetches keys")]
    Client(#[from] reqwest::Error),
}

/// Clones share the keys.
#[derive(Clone)]
pub(super) struct Jwks(Arc<Inner>);

struct Inner {
    url: String,
    client: Client,
    kept: RwLock<Kept>,
    /// When keys were last fetched or tried to be. Held while they are.
    tried: Mutex<Option<Instant>>,
}

#[derive(Clone, Default)]
struct Kept {
    keys: Arc<Vec<Jwk>>,
    fetched: Option<Instant>,
}

#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error(transparent)]
    Http(#[from] reqwest::Error),
    #[error("the set of keys is longer than {LONGEST_SET} bytes")]
    TooLong,
    #[error("not a set of keys: {0}")]
    Malformed(#[from] serde_json::Error),
    #[error("no key in it can be used")]
    Empty,
}

impl Jwks {
    pub(super) fn new(url: &str, algorithms: &[Algorithm]) -> Result<Self, InvalidJwks> {
        if algorithms.is_empty() {
            return Err(InvalidJwks::NoAlgorithm);
        }
        let symmetric =
            |algorithm: &&Algorithm| matches!(algorithm, Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512);
        if let Some(algorithm) = algorithms.iter().find(symmetric) {
            return Err(InvalidJwks::Symmetric(*algorithm));
        }
        let client = Client::builder().timeout(FETCH_TIMEOUT).redirect(reqwest::redirect::Policy::none()).build()?;
        let (kept, tried) = (RwLock::default(), Mutex::default());
        Ok(Self(Arc::new(Inner { url: url.to_owned(), client, kept, tried })))
    }

    /// The key of that name for `algorithm`; `None` where none such is published. A token that names no key has the only
    /// one that there is. Nobody who has a key that is kept waits for newer ones.
    pub(super) async fn key(&self, kid: Option<&str>, algorithm: Algorithm) -> Result<Option<DecodingKey>, Problem> {
        let kept = self.0.kept.read().await.clone();
        if let Some(key) = chosen(&kept.keys, kid, algorithm) {
            let fresh = kept.fetched.is_some_and(|fetched| fetched.elapsed() < FRESH_FOR);
            // One at a time.
            if !fresh && self.0.tried.try_lock().is_ok_and(|tried| is_due(*tried)) {
                self.fetch();
            }
            return Ok(Some(key));
        }
        let _ = self.fetch().await;
        let kept = self.0.kept.read().await.clone();
        if kept.fetched.is_none() {
            // Nobody can be known, which is no reason to call anybody a stranger.
            return Err(Problem::try_again_later());
        }
        Ok(chosen(&kept.keys, kid, algorithm))
    }

    /// In a task of its own: whoever asks, and goes away, ends no fetch, which would be begun again too soon.
    fn fetch(&self) -> JoinHandle<()> {
        let inner = self.0.clone();
        tokio::spawn(async move { inner.fetch().await })
    }
}

fn is_due(tried: Option<Instant>) -> bool {
    tried.is_none_or(|tried| tried.elapsed() >= FETCH_EVERY)
}

impl Inner {
    /// Fetches the keys, unless that was tried just now. Where it fails, the old ones are good still.
    async fn fetch(&self) {
        let mut tried = self.tried.lock().await;
        if !is_due(*tried) {
            return;
        }
        match self.fetched().await {
            Ok(keys) => *self.kept.write().await = Kept { keys: Arc::new(keys), fetched: Some(Instant::now()) },
            Err(error) => warn!(url = self.url, %error, "published keys not fetched"),
        }
        *tried = Some(Instant::now());
    }

    async fn fetched(&self) -> Result<Vec<Jwk>, FetchError> {
        let mut response = self.client.get(&self.url).send().await?.error_for_status()?;
        let mut text = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            text.extend_from_slice(&chunk);
            if text.len() > LONGEST_SET {
                return Err(FetchError::TooLong);
            }
        }
        // A kind of key that we do not know is no reason to do without the others.
        let set: serde_json::Value = serde_json::from_slice(&text)?;
        let keys = set["keys"].as_array().cloned().unwrap_or_default();
        let keys: Vec<Jwk> = keys.into_iter().filter_map(|key| serde_json::from_value(key).ok()).collect();
        // Nobody could be known by it, and whoever publishes it is not well.
        if keys.is_empty() { Err(FetchError::Empty) } else { Ok(keys) }
    }
}

fn chosen(keys: &[Jwk], kid: Option<&str>, algorithm: Algorithm) -> Option<DecodingKey> {
    let mut fitting = keys.iter().filter(|key| fits(key, algorithm));
    let key = match kid {
        Some(kid) => fitting.find(|key| key.common.key_id.as_deref() == Some(kid))?,
        None => fitting.next().filter(|_| fitting.next().is_none())?,
    };
    DecodingKey::from_jwk(key).ok()
}

/// Whether the key signs, by that algorithm if it names one.
fn fits(key: &Jwk, algorithm: Algorithm) -> bool {
    let signs = key.common.public_key_use.as_ref().is_none_or(|usage| *usage == PublicKeyUse::Signature);
    let named = key.common.key_algorithm.is_none_or(|named| named_as(named, algorithm));
    signs && named
}

fn named_as(named: KeyAlgorithm, algorithm: Algorithm) -> bool {
    named.to_string() == format!("{algorithm:?}")
}
