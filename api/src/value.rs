//! Values at the edge. Each can only be well formed, describes itself in the OpenAPI document, and has one name in
//! messages. Inside, they are the plain types of `workflows`.

use std::borrow::Cow;
use std::sync::LazyLock;

use chrono::{DateTime, SecondsFormat, Utc};
use poem_openapi::registry::{MetaSchema, MetaSchemaRef, Registry};
use poem_openapi::types::{ParseError, ParseFromJSON, ParseFromParameter, ParseResult, ToJSON, Type};
use serde_json::Value as Json;
use workflows::{
    AuditId, CouponId, Currency, DeliveryId, MerchantId, MessageId, NotificationId, OrderId, PaymentId, Sku,
    WebhookName,
};

/// What can be read from JSON, a path, a query or a header.
pub(crate) trait Value: Sized + Send + Sync {
    /// What messages call it.
    const NAME: &'static str;
    /// What messages say of its form.
    const FORM: &'static str;
    /// Under which name the document describes it once for all; none: where it is used.
    const COMPONENT: Option<&'static str> = None;

    fn schema() -> MetaSchema;

    fn from_text(text: &str) -> Option<Self>;

    fn from_json(json: &Json) -> Option<Self> {
        json.as_str().and_then(Self::from_text)
    }
}

/// What can be written as JSON, too.
pub(crate) trait Written: Value {
    fn to_json(&self) -> Json;
}

/// A value that was well formed when it came in, or that we made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Checked<T>(pub T);

impl<T: Value> Checked<T> {
    fn malformed() -> ParseError<Self> {
        ParseError::custom(format!("expected {}", T::FORM))
    }
}

impl<T: Value> Type for Checked<T> {
    const IS_REQUIRED: bool = true;
    type RawValueType = Self;
    type RawElementValueType = Self;

    fn name() -> Cow<'static, str> {
        T::NAME.into()
    }

    fn schema_ref() -> MetaSchemaRef {
        let named = |name: &str| MetaSchemaRef::Reference(name.to_owned());
        T::COMPONENT.map_or_else(|| MetaSchemaRef::Inline(Box::new(T::schema())), named)
    }

    fn register(registry: &mut Registry) {
        if let Some(name) = T::COMPONENT {
            registry.create_schema::<Self, _>(name.to_owned(), |_| T::schema());
        }
    }

    fn as_raw_value(&self) -> Option<&Self> {
        Some(self)
    }

    fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self> + 'a> {
        Box::new(std::iter::once(self))
    }
}

impl<T: Value> ParseFromJSON for Checked<T> {
    fn parse_from_json(value: Option<Json>) -> ParseResult<Self> {
        let json = value.ok_or_else(|| ParseError::custom(format!("missing; expected {}", T::FORM)))?;
        T::from_json(&json).map(Self).ok_or_else(Self::malformed)
    }
}

impl<T: Value> ParseFromParameter for Checked<T> {
    fn parse_from_parameter(text: &str) -> ParseResult<Self> {
        T::from_text(text).map(Self).ok_or_else(Self::malformed)
    }

    /// Repeated header lines mean the same as one line with commas (RFC 9110, section 5.3).
    fn parse_from_parameters<I: IntoIterator<Item = A>, A: AsRef<str>>(lines: I) -> ParseResult<Self> {
        let lines: Vec<String> = lines.into_iter().map(|line| line.as_ref().to_owned()).collect();
        if lines.is_empty() {
            Err(ParseError::custom("missing"))
        } else {
            Self::parse_from_parameter(&lines.join(", "))
        }
    }
}

impl<T: Written> ToJSON for Checked<T> {
    fn to_json(&self) -> Option<Json> {
        Some(self.0.to_json())
    }
}

/// A type of `workflows` that is written as text: its own parser decides what is well formed.
macro_rules! text {
    ($type:ty, $name:literal, $form:literal, $pattern:literal, $example:literal) => {
        impl Value for $type {
            const NAME: &'static str = $name;
            const FORM: &'static str = $form;

            fn schema() -> MetaSchema {
                MetaSchema {
                    pattern: Some($pattern.to_owned()),
                    example: Some($example.into()),
                    ..MetaSchema::new("string")
                }
            }

            fn from_text(text: &str) -> Option<Self> {
                text.parse().ok()
            }
        }

        impl Written for $type {
            fn to_json(&self) -> Json {
                self.as_str().into()
            }
        }
    };
}

text!(
    OrderId,
    "order id",
    "ord_ and 32 hexadecimal digits",
    "^ord_[0-9a-f]{32}$",
    "ord_0197f3a0c5d27cc2a1b2c3d4e5f60718"
);
text!(
    PaymentId,
    "payment id",
    "pay_ and 32 hexadecimal digits",
    "^pay_[0-9a-f]{32}$",
    "pay_0197f3a0c5d27cc2a1b2c3d4e5f60718"
);
text!(
    DeliveryId,
    "delivery id",
    "dlv_ and 32 hexadecimal digits",
    "^dlv_[0-9a-f]{32}$",
    "dlv_0197f3a0c5d27cc2a1b2c3d4e5f60718"
);
text!(
    CouponId,
    "coupon id",
    "cpn_ and 32 hexadecimal digits",
    "^cpn_[0-9a-f]{32}$",
    "cpn_0197f3a0c5d27cc2a1b2c3d4e5f60718"
);
text!(
    NotificationId,
    "notification id",
    "ntf_, 32 hexadecimal digits, an underscore and a number",
    "^ntf_[0-9a-f]{32}_[1-9][0-9]{0,9}$",
    "ntf_0197f3a0c5d27cc2a1b2c3d4e5f60718_4"
);
text!(
    MessageId,
    "delivery id",
    "a notification id, a dot and a channel",
    "^ntf_[0-9a-f]{32}_[1-9][0-9]{0,9}\\.(log|template|webhook-[a-z0-9][a-z0-9-]{0,62})$",
    "ntf_0197f3a0c5d27cc2a1b2c3d4e5f60718_4.webhook-erp"
);
text!(
    AuditId,
    "audit id",
    "act_ and 32 hexadecimal digits, or an order id, a slash and a number",
    "^(act_[0-9a-f]{32}|ord_[0-9a-f]{32}/[0-9]{1,10})$",
    "act_0197f3a0c5d27cc2a1b2c3d4e5f60718"
);
text!(
    WebhookName,
    "webhook name",
    "1 to 63 of a-z, 0-9 and -, starting with a letter or digit",
    "^[a-z0-9][a-z0-9-]{0,62}$",
    "erp"
);
text!(
    MerchantId,
    "merchant id",
    "1 to 63 of a-z, 0-9 and -, starting with a letter or digit",
    "^[a-z0-9][a-z0-9-]{0,62}$",
    "sauce-shop"
);
text!(
    Sku,
    "SKU",
    "1 to 64 of A-Z, a-z, 0-9, ., _ and -, starting with a letter or digit",
    "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
    "gochujang"
);

/// A text of bounded length, in characters.
macro_rules! words {
    ($(#[$doc:meta])* $type:ident, $name:literal, $min:literal to $max:literal, $example:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq)]
        pub(crate) struct $type(pub String);

        impl Value for $type {
            const NAME: &'static str = $name;
            const FORM: &'static str = concat!("a text of ", $min, " to ", $max, " characters");

            fn schema() -> MetaSchema {
                MetaSchema {
                    min_length: Some($min),
                    max_length: Some($max),
                    example: Some($example.into()),
                    ..MetaSchema::new("string")
                }
            }

            fn from_text(text: &str) -> Option<Self> {
                ($min..=$max).contains(&text.chars().count()).then(|| Self(text.to_owned()))
            }
        }

        impl Written for $type {
            fn to_json(&self) -> Json {
                self.0.as_str().into()
            }
        }
    };
}

words!(CustomerName, "customer name", 1 to 100, "Kim Minji");
words!(Phone, "phone", 1 to 40, "+82 10-1234-5678");
words!(Address, "address", 1 to 300, "12 Sejong-daero, Jung-gu, Seoul");
words!(
    /// A payment provider's token for a card.
    Card, "card token", 1 to 255, "tok_ok"
);
words!(Note, "note", 0 to 500, "Please ring twice.");
words!(Reason, "reason", 0 to 500, "Changed my mind.");
words!(MerchantName, "merchant name", 1 to 100, "Seoul Sauce Shop");
words!(LifecycleName, "lifecycle name", 1 to 100, "sauce-shop");
words!(ProductName, "product name", 1 to 200, "Gochujang, 500 g");
words!(CustomerId, "customer id", 1 to 255, "customer-42");
words!(Subject, "subject", 1 to 255, "kim");
words!(Action, "action", 1 to 100, "cancellation_requested");

/// A whole number within bounds.
macro_rules! whole {
    ($type:ident($inner:ty), $name:literal, $min:literal to $max:literal, $example:literal) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) struct $type(pub $inner);

        impl $type {
            const MIN: i64 = $min;
            const MAX: i64 = $max;

            fn within(number: i64) -> Option<Self> {
                let number = Some(number).filter(|number| (Self::MIN..=Self::MAX).contains(number))?;
                <$inner>::try_from(number).ok().map(Self)
            }
        }

        impl Value for $type {
            const NAME: &'static str = $name;
            const FORM: &'static str = concat!("a whole number from ", $min, " to ", $max);

            #[allow(clippy::cast_precision_loss, reason = "these bounds are exact")]
            fn schema() -> MetaSchema {
                MetaSchema {
                    minimum: Some(Self::MIN as f64),
                    maximum: Some(Self::MAX as f64),
                    example: Some($example.into()),
                    ..MetaSchema::new_with_format("integer", "int64")
                }
            }

            fn from_text(text: &str) -> Option<Self> {
                text.parse().ok().and_then(Self::within)
            }

            fn from_json(json: &Json) -> Option<Self> {
                json.as_i64().and_then(Self::within)
            }
        }

        impl Written for $type {
            fn to_json(&self) -> Json {
                self.0.into()
            }
        }
    };
}

whole!(Quantity(u32), "quantity", 1 to 999, 2);
// 100 lines of 999 pieces at the highest price are less than 2^53, so that every total is exact in JavaScript, too.
whole!(Price(i64), "price", 0 to 90_000_000_000, 12_000);
whole!(Total(i64), "total", 0 to 8_991_000_000_000_000, 24_000);
whole!(OnHand(i64), "on_hand", 0 to 1_000_000_000, 100);
whole!(DelayMs(u32), "delay_ms", 0 to 60_000, 500);
whole!(Limit(u32), "limit", 1 to 200, 50);
whole!(Matched(u32), "count of orders", 0 to 1_000, 60);
whole!(EventNumber(u32), "event number", 0 to 4_294_967_295, 0);
whole!(Position(u64), "position", 0 to 9_000_000_000_000_000, 0);

impl Limit {
    pub(crate) fn of_50() -> Checked<Self> {
        Checked(Self(50))
    }

    pub(crate) fn of_200() -> Checked<Self> {
        Checked(Self(200))
    }
}

impl EventNumber {
    /// Before the first event.
    pub(crate) fn none() -> Checked<Self> {
        Checked(Self(0))
    }
}

impl Position {
    /// Before the first event.
    pub(crate) fn none() -> Checked<Self> {
        Checked(Self(0))
    }
}

/// All codes, in order: there is no other list of them than what is one.
static CURRENCIES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let letters = || 'A'..='Z';
    let codes =
        letters().flat_map(|a| letters().flat_map(move |b| letters().map(move |c| String::from_iter([a, b, c]))));
    codes.filter(|code| Currency::from_code(code).is_some()).collect()
});

impl Value for Currency {
    const NAME: &'static str = "currency";
    const FORM: &'static str = "a currency code of ISO 4217, such as KRW";
    const COMPONENT: Option<&'static str> = Some("Currency");

    fn schema() -> MetaSchema {
        MetaSchema {
            description: Some("A currency code of ISO 4217."),
            enum_items: CURRENCIES.iter().map(|code| code.as_str().into()).collect(),
            example: Some("KRW".into()),
            ..MetaSchema::new("string")
        }
    }

    fn from_text(text: &str) -> Option<Self> {
        Self::from_code(text)
    }
}

impl Written for Currency {
    fn to_json(&self) -> Json {
        self.code().into()
    }
}

impl Value for DateTime<Utc> {
    const NAME: &'static str = "time";
    const FORM: &'static str = "a time of RFC 3339, such as 2026-01-31T09:30:00Z";

    fn schema() -> MetaSchema {
        MetaSchema {
            example: Some("2026-01-31T09:30:00Z".into()),
            ..MetaSchema::new_with_format("string", "date-time")
        }
    }

    fn from_text(text: &str) -> Option<Self> {
        DateTime::parse_from_rfc3339(text).ok().map(|time| time.to_utc())
    }
}

impl Written for DateTime<Utc> {
    fn to_json(&self) -> Json {
        self.to_rfc3339_opts(SecondsFormat::AutoSi, true).into()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read<T: Value>(json: Json) -> Result<T, String> {
        Checked::parse_from_json(Some(json)).map(|Checked(value)| value).map_err(ParseError::into_message)
    }

    #[test]
    fn only_well_formed_values_come_in() {
        assert_eq!(read::<Quantity>(json!(999)), Ok(Quantity(999)));
        for wrong in [json!(0), json!(1000), json!(-1), json!(1.5), json!("1"), json!(null), json!(u64::MAX)] {
            assert!(read::<Quantity>(wrong.clone()).is_err(), "{wrong}");
        }
        assert!(read::<CustomerName>(json!("김".repeat(100))).is_ok(), "characters count, not bytes");
        for wrong in [json!(""), json!("a".repeat(101)), json!(7), json!(["a"])] {
            assert!(read::<CustomerName>(wrong.clone()).is_err(), "{wrong}");
        }
        assert!(read::<Currency>(json!("krw")).is_err());
        assert!(read::<DateTime<Utc>>(json!("2026-01-31")).is_err());
    }

    #[test]
    fn a_message_names_the_value_and_its_form() {
        assert_eq!(
            read::<Quantity>(json!(0)).map_err(|message| message.contains("quantity") && message.contains("1 to 999")),
            Err(true)
        );
        let missing = Checked::<Quantity>::parse_from_json(None).expect_err("missing");
        assert!(missing.message().contains("missing"), "{}", missing.message());
    }

    #[test]
    fn times_are_written_in_utc() {
        let time = DateTime::<Utc>::from_text("2026-01-31T18:30:00.5+09:00").expect("well formed");
        assert_eq!(Written::to_json(&time), json!("2026-01-31T09:30:00.500Z"));
    }
}
