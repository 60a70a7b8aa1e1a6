//! The identity of the engine that jumun starts: it signs what it asks of the worker, which answers nobody else.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{self, DecodePrivateKey, EncodePrivateKey};
use rand::TryRngCore;
use rand::rngs::OsRng;
use worker::IdentityKey;

#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error("cannot keep the engine's key in {}", .path.display())]
    Unusable { path: PathBuf, source: io::Error },
    #[error("{} holds no ed25519 key; remove it, and the next start makes another", .path.display())]
    NotAKey { path: PathBuf, source: pkcs8::Error },
    #[error("the system has no random numbers for a key")]
    NoRandomness(#[source] rand::rand_core::OsError),
    #[error("a key cannot be written as PKCS#8")]
    Unwritable(#[source] pkcs8::Error),
}

/// An ed25519 key in a file that nobody else may read.
#[derive(Debug)]
pub struct Identity {
    path: PathBuf,
    key: IdentityKey,
}

impl Identity {
    /// The key in `dir`, made when there is none. It may be removed while nothing runs: engine and worker are started
    /// together, and agree on the next.
    pub fn open(dir: &Path) -> Result<Self, IdentityError> {
        let path = dir.join("identity.pem");
        let unusable = |source| IdentityError::Unusable { path: path.clone(), source };
        let key = match std::fs::read_to_string(&path) {
            Ok(pem) => SigningKey::from_pkcs8_pem(&pem)
                .map_err(|source| IdentityError::NotAKey { path: path.clone(), source })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let key = generate()?;
                let pem = key.to_pkcs8_pem(LineEnding::LF).map_err(IdentityError::Unwritable)?;
                std::fs::create_dir_all(dir).and_then(|()| write(dir, &path, &pem)).map_err(unusable)?;
                key
            }
            Err(source) => return Err(unusable(source)),
        };
        Ok(Self { key: IdentityKey::new(&key.verifying_key().to_bytes()), path })
    }

    /// Where the private key is, for the engine to read.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The public key, for the worker to check.
    pub const fn key(&self) -> &IdentityKey {
        &self.key
    }
}

fn generate() -> Result<SigningKey, IdentityError> {
    let mut seed = ed25519_dalek::SecretKey::default();
    OsRng.try_fill_bytes(&mut seed).map_err(IdentityError::NoRandomness)?;
    Ok(SigningKey::from_bytes(&seed))
}

/// In one piece, and from the first byte on for its owner alone, as temporary files are.
fn write(dir: &Path, path: &Path, pem: &str) -> io::Result<()> {
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    file.write_all(pem.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_is_made_once_kept_and_its_owner_s_alone() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let engine = dir.path().join("engine");
        let made = Identity::open(&engine).expect("makes one");
        let kept = Identity::open(&engine).expect("reads it");
        assert_eq!(made.key(), kept.key());
        let permissions = std::fs::metadata(made.path()).expect("is there").permissions();
        assert_eq!(permissions.mode() & 0o777, 0o600);

        std::fs::remove_file(made.path()).expect("may be removed");
        assert_ne!(Identity::open(&engine).expect("makes another").key(), made.key());
    }

    /// Made by `openssl genpkey -algorithm ed25519`, which writes the private half alone. The pair is that of the engine's
    /// own tests.
    #[test]
    fn a_key_that_was_made_elsewhere_can_be_put_there() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let pem = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIPe++4ZTPQDF81otpoU/mOGHC2vOAVp9WbiCblvn3nXO\n\
                   -----END PRIVATE KEY-----\n";
        std::fs::write(dir.path().join("identity.pem"), pem).expect("writes");
        let key = Identity::open(dir.path()).expect("reads it").key().to_string();
        assert_eq!(key, "publickeyv1_AfQwmwfgEZhrWpvv8N52SHpRtZqGGaFr4AZN6qtYWSiY");
    }

    #[test]
    fn what_is_no_key_is_named_and_not_overwritten() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("identity.pem");
        std::fs::write(&path, "no key").expect("writes");
        let error = Identity::open(dir.path()).expect_err("is none").to_string();
        assert!(error.contains("identity.pem holds no ed25519 key"), "{error}");
        assert_eq!(std::fs::read_to_string(&path).expect("is there"), "no key");
    }
}
