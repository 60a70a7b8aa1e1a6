//! A lifecycle: how a merchant's orders live, as data. Presets are the TOML files in `workflows/lifecycles/`.

mod faults;
pub mod preview;

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Context, PaymentMethod, Role, Status, Step, StepPolicy};

/// Which steps an order goes through, who moves it, when it may be cancelled, in which order it is undone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lifecycle {
    pub name: String,
    pub payment: PaymentRule,
    pub stock: StockRule,
    /// Whether the merchant has to accept; absent: it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acceptance: Option<AcceptanceRule>,
    /// Whether something is made; absent: it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub production: Option<ProductionRule>,
    /// When a coupon is issued; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coupon: Option<CouponRule>,
    /// How it is brought to the customer; absent: it is not, and what was ordered is handed out on the spot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<DeliveryRule>,
    /// Whether the customer confirms the receipt; absent: the order ends without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<ReceiptRule>,
    /// Per role, the last status at which it may still cancel. Merchant and operator, where absent, may cancel any
    /// order that is not final and not delivered.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub cancellation: BTreeMap<Role, Status>,
    /// The order in which contexts are undone; absent: the reverse of doing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unwind: Option<Vec<Unwound>>,
    /// How single steps are tried, where the default does not fit.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub steps: BTreeMap<Step, StepPolicy>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PaymentRule {
    pub method: PaymentMethod,
    /// How long to wait for a deposit; then the order is cancelled by itself. Absent: for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deposit_window: Option<Window>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StockRule {
    pub take: StockTake,
}

/// When stock is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StockTake {
    /// Held at placement, sold when paid.
    OnPlacement,
    /// Sold when paid, and not held before.
    OnPayment,
    /// Not at all.
    None,
}

/// The merchant accepts or rejects a paid order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AcceptanceRule {
    pub window: Window,
    /// What happens to an order that nobody has accepted or rejected by then.
    pub on_timeout: AcceptanceTimeout,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AcceptanceTimeout {
    Reject,
    Accept,
}

/// The merchant makes what was ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProductionRule {
    pub start: ProductionStart,
    pub finish: ProductionFinish,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProductionStart {
    Merchant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProductionFinish {
    Merchant,
    /// Nobody says so: what is made goes straight on to delivery.
    None,
}

/// How long a gate waits: written as a time span (`"10m"`, `"3days"`, `"2s"`), read also as a number of seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Window(pub Duration);

impl std::fmt::Display for Window {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

impl Serialize for Window {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Window {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "a time span like \"10m\" or \"3days\", or a number of seconds")]
        enum Written {
            Span(String),
            Seconds(u64),
        }
        match Written::deserialize(deserializer)? {
            Written::Span(span) => humantime::parse_duration(&span).map(Self).map_err(D::Error::custom),
            Written::Seconds(seconds) => Ok(Self(Duration::from_secs(seconds))),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeliveryRule {
    pub start: DeliveryStart,
    pub complete: DeliveryComplete,
}

/// When a coupon is issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CouponRule {
    /// The delivery does not depart without it.
    BeforeDelivery,
    AfterDelivery,
}

/// What is undone, as an unwind list names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unwound {
    Payment,
    Stock,
    Kitchen,
    Coupon,
    Delivery,
}

impl Unwound {
    pub const ALL: [Self; 5] = [Self::Payment, Self::Stock, Self::Kitchen, Self::Coupon, Self::Delivery];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Payment => "payment",
            Self::Stock => "stock",
            Self::Kitchen => "kitchen",
            Self::Coupon => "coupon",
            Self::Delivery => "delivery",
        }
    }

    #[must_use]
    pub const fn context(self) -> Context {
        match self {
            Self::Payment => Context::Payment,
            Self::Stock => Context::Stock,
            Self::Kitchen => Context::Kitchen,
            Self::Coupon => Context::Promotion,
            Self::Delivery => Context::Delivery,
        }
    }
}

/// The customer confirms the receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReceiptRule {
    pub window: Window,
    /// What happens to an order that nobody has confirmed by then.
    pub on_timeout: ReceiptTimeout,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReceiptTimeout {
    Confirm,
}

/// Who starts the delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryStart {
    Automatic,
    Courier,
}

/// Who completes the delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryComplete {
    Courier,
}

static PRESETS: LazyLock<Vec<Lifecycle>> = LazyLock::new(|| {
    [
        include_str!("../lifecycles/food-delivery.toml"),
        include_str!("../lifecycles/pizza.toml"),
        include_str!("../lifecycles/sauce-shop.toml"),
        include_str!("../lifecycles/shopping-mall.toml"),
        include_str!("../lifecycles/street12.toml"),
    ]
    .into_iter()
    .map(|text| toml::from_str(text).expect("a test reads every preset"))
    .collect()
});

impl Lifecycle {
    /// The built-in lifecycles.
    #[must_use]
    pub fn presets() -> &'static [Self] {
        &PRESETS
    }

    #[must_use]
    pub fn preset(name: &str) -> Option<&'static Self> {
        PRESETS.iter().find(|lifecycle| lifecycle.name == name)
    }

    /// Only a step that a customer waits for gives up: one before the order stands.
    fn may_give_up(&self, step: Step) -> bool {
        step.may_give_up() && (step != Step::StockReserve || self.stock.take == StockTake::OnPlacement)
    }

    /// How `step` is tried under this lifecycle.
    #[must_use]
    pub fn policy(&self, step: Step) -> StepPolicy {
        let policy = self.steps.get(&step).copied().unwrap_or_else(|| step.default_policy());
        StepPolicy { give_up_after_ms: policy.give_up_after_ms.filter(|_| self.may_give_up(step)), ..policy }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_survive_json() {
        assert!(!Lifecycle::presets().is_empty());
        for preset in Lifecycle::presets() {
            let json = serde_json::to_string(preset).expect("serialises");
            assert_eq!(&serde_json::from_str::<Lifecycle>(&json).expect("reads back"), preset);
            assert_eq!(Lifecycle::preset(&preset.name), Some(preset));
        }
    }

    #[test]
    fn a_step_can_be_overridden() {
        let mut lifecycle = Lifecycle::preset("sauce-shop").expect("exists").clone();
        let patient = StepPolicy { give_up_after_ms: Some(60_000), ..Step::PaymentCharge.default_policy() };
        lifecycle.steps.insert(Step::PaymentCharge, patient);
        let json = serde_json::to_string(&lifecycle).expect("serialises");
        let lifecycle: Lifecycle = serde_json::from_str(&json).expect("reads back");
        assert_eq!(lifecycle.policy(Step::PaymentCharge), patient);
        assert_eq!(lifecycle.policy(Step::StockReserve), Step::StockReserve.default_policy());
    }
}
