//! Who may ask: an engine that signs its requests with the private half of a key that is known here.

use std::fmt;
use std::str::FromStr;

use restate_sdk::endpoint::Endpoint;

const PREFIX: &str = "publickeyv1_";

/// The public key of an engine, as the engine itself writes it: `publickeyv1_` and 32 bytes in base58.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityKey(String);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected the public key of an engine: {PREFIX} and 32 bytes in base58")]
pub struct NotAnIdentityKey;

impl IdentityKey {
    /// An ed25519 key.
    #[must_use]
    pub fn new(public: &[u8; 32]) -> Self {
        Self(format!("{PREFIX}{}", bs58::encode(public).into_string()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for IdentityKey {
    type Err = NotAnIdentityKey;

    fn from_str(text: &str) -> Result<Self, NotAnIdentityKey> {
        match Endpoint::builder().identity_key(text) {
            Ok(_) => Ok(Self(text.to_owned())),
            Err(_) => Err(NotAnIdentityKey),
        }
    }
}

impl fmt::Display for IdentityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The SDK checks signatures through `jsonwebtoken`. With the embedded store in the same build that crate has two kinds of
/// cryptography, takes neither by itself, and panics when it is asked.
pub(crate) fn choose_cryptography() {
    // Somebody may have chosen before, and either will do.
    let _ = jsonwebtoken::crypto::rust_crypto::DEFAULT_PROVIDER.install_default();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_written_as_the_engine_writes_it() {
        // The pair of keys of the engine's own tests (`restate-service-client`, `request_identity/v1.rs`).
        let public = [
            0x8f, 0x90, 0x53, 0xbc, 0x7f, 0x96, 0x26, 0x8d, 0x10, 0x18, 0x79, 0xb6, 0x85, 0xd2, 0xce, 0xba, 0x4e, 0x8f,
            0xee, 0xcc, 0xca, 0x81, 0x34, 0x31, 0x9a, 0x99, 0xe7, 0x99, 0x97, 0xbf, 0x0d, 0xc5,
        ];
        let key = IdentityKey::new(&public);
        assert_eq!(key.to_string(), "publickeyv1_AfQwmwfgEZhrWpvv8N52SHpRtZqGGaFr4AZN6qtYWSiY");
        assert_eq!(key.to_string().parse(), Ok(key));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for text in ["", "publickeyv1_", "publickeyv1_short", "AfQwmwfgEZhrWpvv8N52SHpRtZqGGaFr4AZN6qtYWSiY"] {
            assert_eq!(text.parse::<IdentityKey>(), Err(NotAnIdentityKey), "{text}");
        }
    }
}
