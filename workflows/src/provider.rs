//! What every context's port has in common: how a call to a provider can fail, and what an undo reports.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{MerchantId, OrderId};

/// A context with data of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Context {
    Payment,
    Stock,
    Delivery,
    Kitchen,
    Promotion,
    Notification,
}

impl Context {
    pub const ALL: [Self; 6] =
        [Self::Payment, Self::Stock, Self::Delivery, Self::Kitchen, Self::Promotion, Self::Notification];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Payment => "payment",
            Self::Stock => "stock",
            Self::Delivery => "delivery",
            Self::Kitchen => "kitchen",
            Self::Promotion => "promotion",
            Self::Notification => "notification",
        }
    }
}

impl std::fmt::Display for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why a call to a provider brought no answer. A refusal (declined, out of stock) is an answer, not an error.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// Not reached, or no answer in time: whether it took effect is unknown. Try again.
    #[error("unavailable: {0}")]
    Unavailable(Cause),
    /// Trying again cannot help: the request contradicts what the provider knows.
    #[error("impossible: {0}")]
    Impossible(Cause),
}

impl ProviderError {
    pub fn unavailable(cause: impl Into<Cause>) -> Self {
        Self::Unavailable(cause.into())
    }

    pub fn impossible(cause: impl Into<Cause>) -> Self {
        Self::Impossible(cause.into())
    }
}

/// Which order a call is about. Every call of an order can be repeated: the order is the key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OrderRef {
    pub order_id: OrderId,
    pub merchant_id: MerchantId,
}

/// Which records are asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Listing {
    /// Only those of this order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order_id: Option<OrderId>,
    /// Only those of this merchant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merchant_id: Option<MerchantId>,
    /// At most so many.
    pub limit: u32,
}

/// What an undo found. A repeated undo reports what it reported the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Undo {
    /// There was an effect, and it is gone.
    Undone,
    /// There was no effect, and a late one is refused from now on.
    Nothing,
}
