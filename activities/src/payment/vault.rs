//! The vault: seals card tokens with XChaCha20-Poly1305 and digests requests with HMAC-SHA-256, so that nothing that
//! lasts tells a card. What it makes names the key that it was made with, so that keys can be replaced: a new one is first
//! added everywhere, then put first, and the old one is taken away when nothing of it is open any more.

use std::fmt::{self, Write};
use std::str::FromStr;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac};
use rand::RngCore;
use sha2::{Digest, Sha256};
use workflows::OrderId;
use workflows::payment::{CardToken, SealedCard, StaysSealed, Vault};

/// Bytes.
const KEY: usize = 32;
const NONCE: usize = 24;
const KEY_ID: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected 32 bytes in base64, as `openssl rand -base64 32` makes them; several are separated by commas")]
pub struct NotACardKey;

/// The card keys of a process: the first one seals, each of them opens. Never shown.
#[derive(Clone)]
pub struct CardKeys {
    first: Key,
    others: Vec<Key>,
}

#[derive(Clone)]
struct Key {
    /// Follows from the key, so that two keys never share one by mistake.
    id: String,
    cipher: XChaCha20Poly1305,
    digest: Hmac<Sha256>,
}

impl CardKeys {
    /// A new key, drawn at random, as it is written in configurations.
    #[must_use]
    pub fn draw() -> String {
        BASE64_STANDARD.encode(random::<KEY>())
    }

    fn find(&self, id: &str) -> Result<&Key, StaysSealed> {
        let mut keys = std::iter::once(&self.first).chain(&self.others);
        keys.find(|key| key.id == id).ok_or_else(|| StaysSealed::UnknownKey(id.to_owned()))
    }
}

impl FromStr for CardKeys {
    type Err = NotACardKey;

    fn from_str(text: &str) -> Result<Self, NotACardKey> {
        let mut keys = text.split(',').map(|key| key.trim().parse());
        let first = keys.next().ok_or(NotACardKey)??;
        Ok(Self { first, others: keys.collect::<Result<_, _>>()? })
    }
}

impl fmt::Debug for CardKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CardKeys(…)")
    }
}

impl FromStr for Key {
    type Err = NotACardKey;

    fn from_str(text: &str) -> Result<Self, NotACardKey> {
        let key: [u8; KEY] =
            BASE64_STANDARD.decode(text).ok().and_then(|key| key.try_into().ok()).ok_or(NotACardKey)?;
        // One key for each purpose, so that no use of one can weaken another.
        let derive = |purpose: &str| keyed(&key).chain_update(purpose).finalize().into_bytes();
        Ok(Self {
            id: hex(&derive("jumun card key id")[..KEY_ID]),
            cipher: XChaCha20Poly1305::new(&derive("jumun card seal")),
            digest: keyed(&derive("jumun request digest")),
        })
    }
}

impl Key {
    /// The order's id has one length, so different parts are different texts.
    fn digest(&self, order_id: &OrderId, request: &str) -> Hmac<Sha256> {
        self.digest.clone().chain_update(order_id.as_str()).chain_update(request)
    }
}

impl Vault for CardKeys {
    fn seal(&self, order_id: &OrderId, token: &CardToken) -> SealedCard {
        let nonce = random::<NONCE>();
        let clear = Payload { msg: token.0.as_bytes(), aad: order_id.as_str().as_bytes() };
        let sealed = self.first.cipher.encrypt(XNonce::from_slice(&nonce), clear);
        let sealed = sealed.expect("a token is shorter than the cipher can take");
        SealedCard { key: self.first.id.clone(), sealed: BASE64_STANDARD.encode([&nonce[..], &sealed].concat()) }
    }

    fn open(&self, order_id: &OrderId, card: &SealedCard) -> Result<CardToken, StaysSealed> {
        let key = self.find(&card.key)?;
        let sealed = BASE64_STANDARD.decode(&card.sealed).map_err(|_| StaysSealed::Altered)?;
        let (nonce, sealed) = sealed.split_at_checked(NONCE).ok_or(StaysSealed::Altered)?;
        let sealed = Payload { msg: sealed, aad: order_id.as_str().as_bytes() };
        let clear = key.cipher.decrypt(XNonce::from_slice(nonce), sealed).map_err(|_| StaysSealed::Altered)?;
        String::from_utf8(clear).map(CardToken).map_err(|_| StaysSealed::Altered)
    }

    fn digest(&self, order_id: &OrderId, request: &str) -> String {
        let digest = self.first.digest(order_id, request).finalize().into_bytes();
        format!("{}.{}", self.first.id, hex(&digest))
    }

    fn is_digest_of(&self, digest: &str, order_id: &OrderId, request: &str) -> Result<bool, StaysSealed> {
        match digest.split_once('.') {
            Some((id, digest)) => {
                let expected = self.find(id)?.digest(order_id, request).finalize().into_bytes();
                Ok(hex(&expected) == digest)
            }
            // As it was made before cards were sealed.
            None => Ok(hex(&Sha256::digest(request)) == digest),
        }
    }
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    <Hmac<Sha256> as Mac>::new_from_slice(key).expect("a key of any length will do")
}

fn random<const BYTES: usize>() -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    rand::rng().fill_bytes(&mut bytes);
    bytes
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes everything");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(text: &str) -> CardKeys {
        text.parse().expect("keys")
    }

    fn token() -> CardToken {
        CardToken("tok_4242424242424242".to_owned())
    }

    #[test]
    fn a_sealed_card_opens_for_its_order_only_and_only_as_it_was_sealed() {
        let (vault, order, other) = (keys(&CardKeys::draw()), OrderId::from_bits(1), OrderId::from_bits(2));
        let card = vault.seal(&order, &token());
        assert_eq!(vault.open(&order, &card), Ok(token()));
        assert_eq!(vault.open(&other, &card), Err(StaysSealed::Altered));
        assert_ne!(vault.seal(&order, &token()), card, "each has a nonce of its own");
        let bytes = BASE64_STANDARD.decode(&card.sealed).expect("base64");
        for at in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1;
            let altered = SealedCard { sealed: BASE64_STANDARD.encode(bytes), ..card.clone() };
            assert_eq!(vault.open(&order, &altered), Err(StaysSealed::Altered), "byte {at}");
        }
        for altered in ["", "AAAA", "?"] {
            let altered = SealedCard { sealed: altered.to_owned(), ..card.clone() };
            assert_eq!(vault.open(&order, &altered), Err(StaysSealed::Altered));
        }
    }

    #[test]
    fn what_is_sealed_tells_nothing() {
        let (vault, order) = (keys(&CardKeys::draw()), OrderId::from_bits(1));
        let card = vault.seal(&order, &token());
        let bytes = BASE64_STANDARD.decode(&card.sealed).expect("base64");
        assert!(!bytes.windows(4).any(|four| token().0.as_bytes().windows(4).any(|secret| secret == four)));
        assert_eq!(format!("{vault:?} {:?}", token()), "CardKeys(…) CardToken(…)");
    }

    #[test]
    fn a_key_is_replaced_without_losing_what_was_sealed_before() {
        let (old, new, order) = (CardKeys::draw(), CardKeys::draw(), OrderId::from_bits(1));
        let (before, during, after) = (keys(&old), keys(&format!("{new}, {old}")), keys(&new));
        let card = before.seal(&order, &token());
        let digest = before.digest(&order, "request");
        assert_eq!(during.open(&order, &card), Ok(token()));
        assert_eq!(during.is_digest_of(&digest, &order, "request"), Ok(true));
        assert_eq!(after.open(&order, &during.seal(&order, &token())), Ok(token()), "the first one seals");
        assert!(matches!(after.open(&order, &card), Err(StaysSealed::UnknownKey(id)) if id == card.key));
        assert!(matches!(after.is_digest_of(&digest, &order, "request"), Err(StaysSealed::UnknownKey(_))));
    }

    #[test]
    fn a_digest_is_of_one_request_under_one_key() {
        let (vault, order) = (keys(&CardKeys::draw()), OrderId::from_bits(1));
        let digest = vault.digest(&order, "request");
        assert_eq!(vault.is_digest_of(&digest, &order, "request"), Ok(true));
        assert_eq!(vault.is_digest_of(&digest, &order, "other"), Ok(false));
        assert_eq!(vault.is_digest_of(&digest, &OrderId::from_bits(2), "request"), Ok(false));
        assert!(!digest.contains(&hex(&Sha256::digest("request"))));
        assert_ne!(digest.split_once('.'), keys(&CardKeys::draw()).digest(&order, "request").split_once('.'));
        // Orders of old are known again.
        let of_old = hex(&Sha256::digest("request"));
        assert_eq!(vault.is_digest_of(&of_old, &order, "request"), Ok(true));
        assert_eq!(vault.is_digest_of(&of_old, &order, "other"), Ok(false));
    }

    #[test]
    fn a_key_is_32_bytes_in_base64() {
        let key = CardKeys::draw();
        assert!(format!("{key},{key}").parse::<CardKeys>().is_ok());
        for wrong in ["", ",", "secret", &key[..40], &format!("{key},"), &BASE64_STANDARD.encode([0; 31])] {
            assert_eq!(wrong.parse::<CardKeys>().err(), Some(NotACardKey), "{wrong}");
        }
    }
}
