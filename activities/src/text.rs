//! What the store only keeps, and never looks into: as one JSON text. An order, with its lifecycle, has a hundred members, and is
//! written seven times in its life; to take it apart into the store's own values and put it together again each time cost a
//! seventh of the throughput (measured: 43 and 49 orders a second). What was written before that, member by member, is read all
//! the same.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::store::StoreError;

/// As it is written.
pub fn text(document: &impl Serialize) -> Value {
    Value::String(serde_json::to_string(document).expect("our own types have string keys, and fail at nothing"))
}

/// As it is read, from a text or from members.
pub struct Text<T>(pub T);

impl<'de, T: DeserializeOwned> Deserialize<'de> for Text<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either<T>(PhantomData<T>);

        impl<'de, T: DeserializeOwned> Visitor<'de> for Either<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a document as JSON text, or its members")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
                serde_json::from_str(text).map_err(E::custom)
            }

            fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(members))
            }
        }
        deserializer.deserialize_any(Either(PhantomData)).map(Self)
    }
}

/// What was written.
pub fn read<T: DeserializeOwned>(written: Value) -> Result<T, StoreError> {
    let Text(document) = serde_json::from_value(written)?;
    Ok(document)
}

/// The members of a document that may not be what it should be; itself, where it has none.
pub fn members(document: Value) -> Value {
    match document {
        Value::String(text) => serde_json::from_str(&text).unwrap_or(Value::String(text)),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_document_is_read_as_it_was_ever_written() {
        let document = json!({ "number": 1, "of": { "text": "\"quoted\"" } });
        let read = |written: Value| serde_json::from_value::<Text<Value>>(written).map(|Text(read)| read);
        assert!(text(&document).is_string());
        assert_eq!(read(text(&document)).expect("is a text"), document);
        assert_eq!(read(document.clone()).expect("has members"), document);
        assert_eq!((members(text(&document)), members(document.clone())), (document.clone(), document));
        for wrong in [json!("gone"), json!(7), Value::Null] {
            assert!(read(wrong.clone()).is_err());
            assert_eq!(members(wrong.clone()), wrong);
        }
    }
}
