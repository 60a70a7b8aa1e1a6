//! Tokens: JSON Web Tokens (RFC 7519), read by a key of our own or by the published keys of an identity provider. The
//! algorithm is ours to choose and never the token's.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{DecodingKey, EncodingKey, Header, Validation, decode, decode_header, encode};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tracing::debug;
use workflows::order::Actor;
use workflows::{MerchantId, Role};

use super::jwks::{InvalidJwks, Jwks};
use crate::problem::Problem;

pub use jsonwebtoken::Algorithm;

/// The issuer of tokens of local mode.
pub const ISSUER: &str = "jumun";
/// For whom tokens are.
pub const AUDIENCE: &str = "jumun";
/// By how much clocks may differ.
const LEEWAY: Duration = Duration::from_secs(30);
/// However long a token is good for, nothing that was begun with it goes on for longer.
const LONGEST_SESSION: Duration = Duration::from_hours(24);
/// Longer is no token of anybody's.
const LONGEST_TOKEN: usize = 8 * 1024;
const LONGEST_SUBJECT: usize = 200;

/// Who a token is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    actor: Actor,
    merchant_id: Option<MerchantId>,
}

/// Why there can be no such principal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPrincipal {
    #[error("a subject has 1 to 200 characters, none of them a control character")]
    Subject,
    #[error("a merchant's token names its merchant")]
    NoMerchant,
    #[error("only a merchant's token names a merchant")]
    Merchant,
}

impl Principal {
    /// # Errors
    /// Where the subject is empty, longer than 200 characters or has control characters; where a merchant is missing, or
    /// named without being one.
    pub fn new(role: Role, subject: &str, merchant_id: Option<MerchantId>) -> Result<Self, InvalidPrincipal> {
        let length = subject.chars().count();
        if !(1..=LONGEST_SUBJECT).contains(&length) || subject.chars().any(char::is_control) {
            return Err(InvalidPrincipal::Subject);
        }
        match (role, &merchant_id) {
            (Role::Merchant, None) => Err(InvalidPrincipal::NoMerchant),
            (Role::Customer | Role::Courier | Role::Operator, Some(_)) => Err(InvalidPrincipal::Merchant),
            _ => Ok(Self { actor: Actor { role, subject: subject.to_owned() }, merchant_id }),
        }
    }

    #[must_use]
    pub fn role(&self) -> Role {
        self.actor.role
    }

    #[must_use]
    pub fn subject(&self) -> &str {
        &self.actor.subject
    }

    #[must_use]
    pub fn merchant_id(&self) -> Option<&MerchantId> {
        self.merchant_id.as_ref()
    }
}

/// Who calls, by a token that was good.
#[derive(Debug)]
pub(super) struct Known {
    pub principal: Principal,
    pub expires_at: Instant,
}

/// What a token says. Other claims are nothing to us.
#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    sub: String,
    role: Role,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    merchant_id: Option<MerchantId>,
    iss: String,
    aud: Audience,
    /// Seconds since 1970.
    exp: u64,
    #[serde(default)]
    iat: u64,
}

/// One audience, or several.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

/// A secret with which tokens are both signed and read (HS256).
#[derive(Clone)]
pub struct TokenKey(Vec<u8>);

/// A key that is too short to keep anybody out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a token key has 32 bytes at least")]
pub struct ShortKey;

impl TokenKey {
    /// # Errors
    /// Where it has less than 32 bytes (RFC 7518, 3.2).
    pub fn new(secret: impl Into<Vec<u8>>) -> Result<Self, ShortKey> {
        settle_cryptography();
        let secret = secret.into();
        if secret.len() < 32 { Err(ShortKey) } else { Ok(Self(secret)) }
    }

    /// A token for `principal`, of issuer `issuer` and for audience `audience`, that is good until `expires_at`, in
    /// seconds since 1970.
    ///
    /// # Panics
    /// Never: everything in a token can be written.
    #[must_use]
    pub fn mint(&self, principal: &Principal, issuer: &str, audience: &str, issued_at: u64, expires_at: u64) -> String {
        let claims = Claims {
            sub: principal.subject().to_owned(),
            role: principal.role(),
            merchant_id: principal.merchant_id.clone(),
            iss: issuer.to_owned(),
            aud: Audience::One(audience.to_owned()),
            exp: expires_at,
            iat: issued_at,
        };
        encode(&Header::new(Algorithm::HS256), &claims, &EncodingKey::from_secret(&self.0)).expect("claims are JSON")
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenKey(…)")
    }
}

/// By which keys tokens are read.
#[derive(Debug)]
pub enum Key {
    /// A secret of our own: HS256.
    Secret(TokenKey),
    /// The keys that an identity provider publishes, by one of these algorithms, none of them symmetric.
    Published { url: String, algorithms: Vec<Algorithm> },
}

/// Reads tokens.
pub struct Access {
    keys: Keys,
    issuer: String,
    audience: String,
}

enum Keys {
    Secret(DecodingKey),
    Published { jwks: Jwks, algorithms: Vec<Algorithm> },
}

impl Access {
    /// # Errors
    /// Where published keys cannot be fetched from such a URL, or are to be read by an algorithm that is symmetric.
    pub fn new(key: Key, issuer: impl Into<String>, audience: impl Into<String>) -> Result<Self, InvalidJwks> {
        settle_cryptography();
        let keys = match key {
            Key::Secret(TokenKey(secret)) => Keys::Secret(DecodingKey::from_secret(&secret)),
            Key::Published { url, algorithms } => Keys::Published { jwks: Jwks::new(&url, &algorithms)?, algorithms },
        };
        Ok(Self { keys, issuer: issuer.into(), audience: audience.into() })
    }

    /// Whose token it is.
    pub(super) async fn known(&self, token: &str) -> Result<Known, Problem> {
        if token.len() > LONGEST_TOKEN {
            return Err(refused("it is longer than 8 KiB"));
        }
        let header = decode_header(token).map_err(|error| told(&error))?;
        let claims = match &self.keys {
            Keys::Secret(key) => self.claims(token, key, &[Algorithm::HS256])?,
            // The algorithm has to be one of ours, and the key one for that very algorithm.
            Keys::Published { algorithms, .. } if !algorithms.contains(&header.alg) => {
                return Err(refused("its algorithm is not accepted here"));
            }
            Keys::Published { jwks, .. } => {
                let key = jwks.key(header.kid.as_deref(), header.alg).await?;
                let key = key.ok_or_else(|| refused("it is signed with a key that the issuer does not publish"))?;
                self.claims(token, &key, &[header.alg])?
            }
        };
        let principal = Principal::new(claims.role, &claims.sub, claims.merchant_id);
        let principal = principal.map_err(|invalid| refused(&invalid.to_string()))?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let left = Duration::from_secs(claims.exp).saturating_sub(now).min(LONGEST_SESSION);
        Ok(Known { principal, expires_at: Instant::now() + left })
    }

    fn claims(&self, token: &str, key: &DecodingKey, algorithms: &[Algorithm]) -> Result<Claims, Problem> {
        let mut validation = Validation::default();
        validation.algorithms = algorithms.to_vec();
        validation.leeway = LEEWAY.as_secs();
        validation.validate_nbf = true;
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.set_issuer(&[&self.issuer]);
        validation.set_audience(&[&self.audience]);
        decode::<Claims>(token, key, &validation).map(|token| token.claims).map_err(|error| told(&error))
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").field("issuer", &self.issuer).field("audience", &self.audience).finish_non_exhaustive()
    }
}

/// Which of the implementations that are linked in is used. Others may have settled it before, which is as good.
fn settle_cryptography() {
    let _ = jsonwebtoken::crypto::rust_crypto::DEFAULT_PROVIDER.install_default();
}

fn told(error: &jsonwebtoken::errors::Error) -> Problem {
    use jsonwebtoken::errors::ErrorKind;
    debug!(%error, "token refused");
    refused(match error.kind() {
        ErrorKind::ExpiredSignature => "it has expired",
        ErrorKind::ImmatureSignature => "it is not valid yet",
        ErrorKind::InvalidIssuer => "it is of another issuer",
        ErrorKind::InvalidAudience => "it is for another audience",
        ErrorKind::InvalidSignature => "its signature is wrong",
        ErrorKind::InvalidAlgorithm => "its algorithm is not accepted here",
        ErrorKind::MissingRequiredClaim(_) | ErrorKind::Json(_) => "it lacks a claim, or has one that is malformed",
        _ => "it is malformed",
    })
}

fn refused(why: &str) -> Problem {
    Problem::unauthenticated(format!("The token is not good here: {why}."))
}

#[cfg(test)]
#[path = "token_test.rs"]
mod tests;
