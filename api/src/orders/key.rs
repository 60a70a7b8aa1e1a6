//! Idempotency: how a request that is sent again is known again. The order's id follows from the key, and a digest of
//! its text tells whether it is the same request.

use poem_openapi::registry::MetaSchema;
use poem_openapi::types::ToJSON;
use serde_json::Value as Json;
use sha2::{Digest, Sha256};
use workflows::OrderId;

use crate::value::Value;

/// What the caller calls the request: 1 to 255 visible ASCII characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IdempotencyKey(String);

impl Value for IdempotencyKey {
    const NAME: &'static str = "idempotency key";
    const FORM: &'static str = "1 to 255 visible ASCII characters";

    fn schema() -> MetaSchema {
        MetaSchema {
            min_length: Some(1),
            max_length: Some(255),
            pattern: Some("^[!-~]+$".to_owned()),
            ..MetaSchema::new("string")
        }
    }

    fn from_text(text: &str) -> Option<Self> {
        let well_formed = (1..=255).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        well_formed.then(|| Self(text.to_owned()))
    }
}

impl IdempotencyKey {
    /// The order of `caller`'s request, after `attempt` orders of the same request that left nothing standing.
    pub(crate) fn order_id(&self, caller: &str, attempt: u32) -> OrderId {
        // A line break ends each part, and no key has one, so different parts are different texts.
        let digest = Sha256::digest(format!("order\n{caller}\n{attempt}\n{}", self.0));
        OrderId::from_bits(digest.iter().take(16).fold(0, |bits, byte| bits << 8 | u128::from(*byte)))
    }
}

/// A text that is the same for the same request, in whatever order its fields come, and also after fields that it does
/// not use were added to the API. It may name a card, so it is never kept.
pub(crate) fn canonical(request: &impl ToJSON) -> String {
    let mut text = String::new();
    write(&request.to_json().unwrap_or_default(), &mut text);
    text
}

/// Sorted members, no nulls, no spaces.
fn write(json: &Json, text: &mut String) {
    match json {
        Json::Object(members) => {
            let mut members: Vec<_> = members.iter().filter(|(_, member)| !member.is_null()).collect();
            members.sort_by_key(|(name, _)| *name);
            text.push('{');
            for (name, member) in members {
                text.push_str(&Json::from(name.as_str()).to_string());
                text.push(':');
                write(member, text);
                text.push(',');
            }
            text.push('}');
        }
        Json::Array(items) => {
            text.push('[');
            for item in items {
                write(item, text);
                text.push(',');
            }
            text.push(']');
        }
        plain => text.push_str(&plain.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::*;

    fn key(text: &str) -> IdempotencyKey {
        IdempotencyKey::from_text(text).expect("well formed")
    }

    #[test]
    fn a_key_is_visible_ascii() {
        assert!(IdempotencyKey::from_text(&"k".repeat(255)).is_some());
        for wrong in ["", "a b", "키", "a\tb", &"k".repeat(256)] {
            assert_eq!(IdempotencyKey::from_text(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_order_follows_from_key_and_attempt() {
        assert_eq!(key("a").order_id("anonymous", 0), key("a").order_id("anonymous", 0));
        let requests = [("x", "a", 0), ("x", "a", 1), ("x", "b", 0), ("x", "1", 0), ("x", "0", 1), ("y", "a", 0)];
        let ids: BTreeSet<_> =
            requests.into_iter().map(|(caller, text, attempt)| key(text).order_id(caller, attempt)).collect();
        assert_eq!(ids.len(), requests.len());
        // Stored orders are found again by this very id.
        assert_eq!(key("a").order_id("anonymous", 0).as_str(), "ord_7e425211fe21bc06605729cdc272c58f");
    }

    #[test]
    fn the_text_is_what_was_said() {
        let said = json!({"lines": [{"sku": "a", "quantity": 1}], "note": "x"});
        assert_eq!(
            canonical(&said),
            canonical(&json!({"note": "x", "lines": [{"quantity": 1, "sku": "a"}], "later": null}))
        );
        for other in [
            json!({"lines": [{"sku": "a", "quantity": 2}], "note": "x"}),
            json!({"lines": [{"sku": "a", "quantity": 1}]}),
            json!({"lines": [{"sku": "a", "quantity": 1}], "note": ["x"]}),
        ] {
            assert_ne!(canonical(&said), canonical(&other), "{other}");
        }
    }
}
