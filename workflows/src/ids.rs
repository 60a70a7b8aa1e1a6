//! Identifiers. Each is a newtype that can only hold a well-formed value, so nothing past the edge has to check.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::notification::Channel;

/// Why a text is not an identifier of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not {expected}")]
pub struct InvalidId {
    expected: &'static str,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $expected:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(try_from = "String", into = "String")]
        #[schemars(with = "String")]
        pub struct $name(String);

        impl $name {
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, InvalidId> {
                let valid: fn(&str) -> bool = $valid;
                if valid(&text) { Ok(Self(text)) } else { Err(InvalidId { expected: $expected }) }
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Self::try_from(text.to_owned())
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id!(
    /// An order: `ord_` and 32 hexadecimal digits. Also the key of its workflow.
    OrderId,
    "an order id (ord_ and 32 hexadecimal digits)",
    |text| is_prefixed_hex(text, "ord_")
);
id!(
    /// A payment: `pay_` and the digits of its order, which has exactly one.
    PaymentId,
    "a payment id (pay_ and 32 hexadecimal digits)",
    |text| is_prefixed_hex(text, "pay_")
);
id!(
    /// A delivery: `dlv_` and the digits of its order, which has at most one.
    DeliveryId,
    "a delivery id (dlv_ and 32 hexadecimal digits)",
    |text| is_prefixed_hex(text, "dlv_")
);
id!(
    /// A coupon: `cpn_` and the digits of its order, which has at most one.
    CouponId,
    "a coupon id (cpn_ and 32 hexadecimal digits)",
    |text| is_prefixed_hex(text, "cpn_")
);
id!(
    /// A notification: `ntf_`, the digits of its order, an underscore, and the number of the event that it tells of.
    NotificationId,
    "a notification id (ntf_, 32 hexadecimal digits, an underscore and a number)",
    |text| is_numbered(text)
);
id!(
    /// What one channel is to deliver of a notification: the notification's id, a dot, and the channel.
    MessageId,
    "a delivery id (a notification id, a dot and a channel)",
    |text| text
        .split_once('.')
        .is_some_and(|(notification, channel)| is_numbered(notification) && Channel::read(channel).is_some())
);
id!(
    /// An entry of the audit trail: `act_` and 32 hexadecimal digits; or, for what was asked of an order, the order, a
    /// slash, and the number of the first event that came of it.
    AuditId,
    "an audit id (act_ and 32 hexadecimal digits, or an order id, a slash and a number)",
    |text| is_prefixed_hex(text, "act_")
        || text
            .split_once('/')
            .is_some_and(|(order, number)| is_prefixed_hex(order, "ord_") && number.parse::<u32>().is_ok())
);
id!(
    /// A webhook of a merchant: 1 to 63 lower-case letters, digits and hyphens, starting with a letter or digit.
    WebhookName,
    "a webhook's name (1 to 63 of a-z, 0-9 and -, starting with a letter or digit)",
    is_slug
);
id!(
    /// A merchant: 1 to 63 lower-case letters, digits and hyphens, starting with a letter or digit.
    MerchantId,
    "a merchant id (1 to 63 of a-z, 0-9 and -, starting with a letter or digit)",
    is_slug
);
id!(
    /// A product of a merchant: 1 to 64 letters, digits, dots, underscores and hyphens, starting with a letter or digit.
    Sku,
    "a SKU (1 to 64 of A-Z, a-z, 0-9, ., _ and -, starting with a letter or digit)",
    |text| {
        text.len() <= 64
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
    }
);

fn is_slug(text: &str) -> bool {
    text.len() <= 63
        && text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

fn is_numbered(text: &str) -> bool {
    text.rsplit_once('_').is_some_and(|(id, number)| {
        is_prefixed_hex(id, "ntf_")
            && !number.starts_with(['0', '+'])
            && number.len() <= 10
            && number.parse::<u32>().is_ok()
    })
}

fn is_prefixed_hex(text: &str, prefix: &str) -> bool {
    text.strip_prefix(prefix)
        .is_some_and(|digits| digits.len() == 32 && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
}

impl NotificationId {
    /// What `channel` is to deliver of it.
    #[must_use]
    pub fn message(&self, channel: &Channel) -> MessageId {
        MessageId(format!("{self}.{channel}"))
    }
}

impl AuditId {
    /// The entry whose 32 digits are `bits`, which the caller draws.
    #[must_use]
    pub fn from_bits(bits: u128) -> Self {
        Self(format!("act_{bits:032x}"))
    }
}

impl OrderId {
    /// The order whose 32 digits are `bits`, which the caller draws or derives.
    #[must_use]
    pub fn from_bits(bits: u128) -> Self {
        Self(format!("ord_{bits:032x}"))
    }

    /// The order's payment. Derived, so that a repeated charge is seen to be the same charge.
    #[must_use]
    pub fn payment(&self) -> PaymentId {
        PaymentId(format!("pay_{}", self.digits()))
    }

    /// The notification of the order's event of that number. Derived, so that it is sent once.
    #[must_use]
    pub fn notification(&self, event: u32) -> NotificationId {
        NotificationId(format!("ntf_{}_{event}", self.digits()))
    }

    /// The audit entry about what the order's event of that number came from. Derived, so that there is one.
    #[must_use]
    pub fn audit(&self, event: u32) -> AuditId {
        AuditId(format!("{self}/{event}"))
    }

    /// The order's delivery. Derived, like its payment.
    #[must_use]
    pub fn delivery(&self) -> DeliveryId {
        DeliveryId(format!("dlv_{}", self.digits()))
    }

    /// The order's coupon. Derived, like its payment.
    #[must_use]
    pub fn coupon(&self) -> CouponId {
        CouponId(format!("cpn_{}", self.digits()))
    }

    fn digits(&self) -> &str {
        &self.0["ord_".len()..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_well_formed_ids_exist() {
        assert!("ord_0123456789abcdef0123456789abcdef".parse::<OrderId>().is_ok());
        for wrong in ["", "ord_", "ord_0123456789ABCDEF0123456789abcdef", "pay_0123456789abcdef0123456789abcdef"] {
            assert!(wrong.parse::<OrderId>().is_err(), "{wrong}");
        }
        assert!("sauce-shop".parse::<MerchantId>().is_ok());
        for wrong in ["", "-a", "Sauce", "a/b", &"a".repeat(64)] {
            assert!(wrong.parse::<MerchantId>().is_err(), "{wrong}");
        }
        for wrong in ["", ".", "..", "a b", "ü", &"a".repeat(65)] {
            assert!(wrong.parse::<Sku>().is_err(), "{wrong}");
        }
        assert!(serde_json::from_str::<Sku>("\"a b\"").is_err());
    }

    #[test]
    fn derived_ids_share_the_digits() {
        let order = OrderId::from_bits(0xabc);
        assert_eq!(order.payment().as_str().len(), order.as_str().len());
        assert!(order.delivery().as_str().ends_with("abc"));
    }
}
