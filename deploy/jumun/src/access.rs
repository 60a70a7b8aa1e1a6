//! Who may call: the keys by which tokens are read, the local key that a laptop's jumun makes for itself, and
//! `jumun token`, which mints tokens with it.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use api::{Access, InvalidJwks, InvalidPrincipal, Key, Principal, TokenKey};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use clap::ValueEnum;
use workflows::{MerchantId, Role};

use crate::config::{AccessSettings, Configuration, InvalidConfiguration};

/// Where in the data directory the local key is.
const LOCAL_KEY: &str = "token.key";
const LOCAL_KEY_BYTES: usize = 32;
/// For how long a role that was chosen in the console is kept.
const CONSOLE_SESSION: Duration = Duration::from_hours(12);

#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    #[error("cannot use the local token key {}", .path.display())]
    Unusable { path: PathBuf, source: io::Error },
    #[error("{} is no token key of jumun's", .path.display())]
    Malformed { path: PathBuf },
    #[error(
        "there is no local token key in {}: start jumun there first, or name its data directory with --data-dir",
        .dir.display()
    )]
    NoLocalKey { dir: PathBuf },
    #[error("tokens are read by the keys published at {0}: whoever publishes them issues the tokens")]
    Published(String),
    #[error(transparent)]
    Jwks(#[from] InvalidJwks),
    #[error(transparent)]
    Principal(#[from] InvalidPrincipal),
    #[error(transparent)]
    Configuration(#[from] InvalidConfiguration),
}

impl AccessError {
    /// What the process ends with.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Jwks(_) | Self::Principal(_) | Self::Configuration(_) | Self::Published(_) => crate::MAKES_NO_SENSE,
            Self::Unusable { .. } | Self::Malformed { .. } | Self::NoLocalKey { .. } => crate::CANNOT_START,
        }
    }
}

/// Reads tokens as the configuration says, or else by the local key, which is made if there is none.
pub fn access(settings: &AccessSettings, data_dir: &Path) -> Result<Access, AccessError> {
    let key = match (&settings.published, &settings.key) {
        (Some(published), _) => {
            Key::Published { url: published.url.to_string(), algorithms: published.algorithms.clone() }
        }
        (None, Some(key)) => Key::Secret(key.clone()),
        (None, None) => Key::Secret(make_local_key(data_dir)?),
    };
    Ok(Access::new(key, settings.issuer.clone(), settings.audience.clone())?)
}

/// Reads tokens as the configuration says, which has to name a key: several processes share no data directory.
pub fn shared(settings: &AccessSettings) -> Result<Access, AccessError> {
    access(settings, Path::new(""))
}

/// The local key of a data directory that this process has locked.
fn make_local_key(data_dir: &Path) -> Result<TokenKey, AccessError> {
    let path = data_dir.join(LOCAL_KEY);
    let written = write_secret(&path, &BASE64_STANDARD.encode(rand::random::<[u8; LOCAL_KEY_BYTES]>()));
    written.map_err(|source| AccessError::Unusable { path, source })?;
    local_key(data_dir)
}

/// Keeps a secret for its owner alone, in one piece, unless there is one already.
pub fn write_secret(path: &Path, secret: &str) -> io::Result<()> {
    if path.exists() {
        return Ok(());
    }
    // A jumun that died here left a part of it, which nobody has used.
    let part = path.with_extension("part");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part)?;
    writeln!(file, "{secret}")?;
    file.sync_all()?;
    std::fs::rename(&part, path)
}

/// The local key of a data directory.
pub fn local_key(data_dir: &Path) -> Result<TokenKey, AccessError> {
    let path = data_dir.join(LOCAL_KEY);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(AccessError::NoLocalKey { dir: data_dir.to_owned() });
        }
        Err(source) => return Err(AccessError::Unusable { path, source }),
    };
    let key = BASE64_STANDARD.decode(text.trim()).ok().and_then(|secret| TokenKey::new(secret).ok());
    key.ok_or(AccessError::Malformed { path })
}

/// Mints tokens for anybody.
pub struct Mint {
    key: TokenKey,
    issuer: String,
    audience: String,
}

impl Mint {
    /// With the key that the configuration says, or else the local one.
    pub fn open(settings: &AccessSettings, data_dir: &Path) -> Result<Self, AccessError> {
        let key = match (&settings.published, &settings.key) {
            (Some(published), _) => return Err(AccessError::Published(published.url.to_string())),
            (None, Some(key)) => key.clone(),
            (None, None) => local_key(data_dir)?,
        };
        Ok(Self { key, issuer: settings.issuer.clone(), audience: settings.audience.clone() })
    }

    /// A token that is good for `lasting` from now on.
    pub fn token(&self, principal: &Principal, lasting: Duration) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let expires_at = now.saturating_add(lasting).as_secs();
        self.key.mint(principal, &self.issuer, &self.audience, now.as_secs(), expires_at)
    }
}

/// Mints tokens for people at this machine who choose a role in the console: where the key is jumun's own, and nobody else
/// issues tokens.
pub fn console_mint(settings: &AccessSettings, data_dir: &Path) -> Result<Option<api::Mint>, AccessError> {
    if settings.key.is_some() {
        return Ok(None);
    }
    match Mint::open(settings, data_dir) {
        Ok(mint) => Ok(Some(Arc::new(move |principal| mint.token(principal, CONSOLE_SESSION)))),
        Err(AccessError::Published(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What `jumun token` is told.
#[derive(Clone, Debug, clap::Args)]
pub struct TokenSettings {
    /// In which role its bearer acts
    #[arg(long, value_name = "ROLE")]
    role: RoleName,

    /// Who its bearer is
    #[arg(long, value_name = "NAME")]
    subject: String,

    /// For which merchant a merchant's bearer acts
    #[arg(long, value_name = "MERCHANT")]
    merchant: Option<MerchantId>,

    /// For how long it is good
    #[arg(long, value_name = "TIME", default_value = "12h", value_parser = humantime::parse_duration)]
    expires_in: Duration,

    /// The data directory of the jumun that it is for
    #[arg(long, env = "JUMUN_DATA_DIR", value_name = "DIR", default_value = ".jumun")]
    data_dir: PathBuf,

    /// The configuration file of that jumun, if it has one
    #[arg(long, env = "JUMUN_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum RoleName {
    Customer,
    Merchant,
    Courier,
    Operator,
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Customer => Self::Customer,
            RoleName::Merchant => Self::Merchant,
            RoleName::Courier => Self::Courier,
            RoleName::Operator => Self::Operator,
        }
    }
}

/// The token that is asked for.
pub fn mint(settings: &TokenSettings) -> Result<String, AccessError> {
    let configuration = Configuration::read(settings.config.as_deref(), std::env::vars_os())?;
    let principal = Principal::new(settings.role.into(), &settings.subject, settings.merchant.clone())?;
    Ok(Mint::open(&configuration.access, &settings.data_dir)?.token(&principal, settings.expires_in))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_local_key_is_made_once_and_for_its_owner_alone() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        assert!(matches!(local_key(dir.path()), Err(AccessError::NoLocalKey { .. })));
        make_local_key(dir.path()).expect("is made");
        let path = dir.path().join(LOCAL_KEY);
        let first = std::fs::read_to_string(&path).expect("is there");
        make_local_key(dir.path()).expect("is there");
        assert_eq!(std::fs::read_to_string(&path).expect("is there"), first);
        assert_eq!(std::fs::metadata(&path).expect("is there").permissions().mode() & 0o777, 0o600);
        std::fs::write(&path, "short").expect("writes");
        assert!(matches!(local_key(dir.path()), Err(AccessError::Malformed { .. })));
    }
}
