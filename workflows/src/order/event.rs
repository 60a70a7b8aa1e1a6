//! What can become true of an order. These types are stored for ever: a change here must still read old events.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{Actor, Placement};
use crate::lifecycle::CouponRule;
use crate::{Context, CouponId, DeliveryId, OrderId, PaymentId, Role, Sku, Step};

/// A fact about one order, numbered from 1 without gaps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    pub order_id: OrderId,
    pub number: u32,
    pub at: DateTime<Utc>,
    /// The step that recorded it.
    pub step: Step,
    /// Who asked for it; nobody where it came by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Actor>,
    pub fact: Fact,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
pub enum Fact {
    OrderPlaced(Box<Placement>),
    StockReserved,
    StockUnavailable {
        sku: Sku,
        available: i64,
    },
    PaymentApproved {
        payment_id: PaymentId,
    },
    PaymentDeclined {
        payment_id: PaymentId,
        reason: String,
    },
    DepositRequested {
        payment_id: PaymentId,
    },
    DepositConfirmed {
        payment_id: PaymentId,
    },
    DepositExpired,
    OrderPaid,
    StockCommitted,
    CouponIssued {
        coupon_id: CouponId,
        kind: CouponRule,
    },
    CouponCancelled,
    OrderOffered,
    OrderAccepted,
    ProductionStarted,
    ProductionFinished,
    DeliveryRequested {
        delivery_id: DeliveryId,
    },
    DeliveryStarted,
    DeliveryCompleted,
    ReceiptConfirmed,
    OrderClosed,
    /// `by` nobody: the order could not go on.
    CancellationRequested {
        by: Option<Role>,
        reason: Option<String>,
    },
    DeliveryCancelled,
    /// `refunded`: money had moved and moved back; otherwise it never moved, and never will.
    PaymentCancelled {
        refunded: bool,
    },
    StockReleased,
    OrderCancelled,
    OrderRejected {
        rejection: Rejection,
    },
}

impl Fact {
    /// The event's name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::OrderPlaced(_) => "order_placed",
            Self::StockReserved => "stock_reserved",
            Self::StockUnavailable { .. } => "stock_unavailable",
            Self::PaymentApproved { .. } => "payment_approved",
            Self::PaymentDeclined { .. } => "payment_declined",
            Self::DepositRequested { .. } => "deposit_requested",
            Self::DepositConfirmed { .. } => "deposit_confirmed",
            Self::DepositExpired => "deposit_expired",
            Self::OrderPaid => "order_paid",
            Self::StockCommitted => "stock_committed",
            Self::CouponIssued { .. } => "coupon_issued",
            Self::CouponCancelled => "coupon_cancelled",
            Self::OrderOffered => "order_offered",
            Self::OrderAccepted => "order_accepted",
            Self::ProductionStarted => "production_started",
            Self::ProductionFinished => "production_finished",
            Self::DeliveryRequested { .. } => "delivery_requested",
            Self::DeliveryStarted => "delivery_started",
            Self::DeliveryCompleted => "delivery_completed",
            Self::ReceiptConfirmed => "receipt_confirmed",
            Self::OrderClosed => "order_closed",
            Self::CancellationRequested { .. } => "cancellation_requested",
            Self::DeliveryCancelled => "delivery_cancelled",
            Self::PaymentCancelled { .. } => "payment_cancelled",
            Self::StockReleased => "stock_released",
            Self::OrderCancelled => "order_cancelled",
            Self::OrderRejected { .. } => "order_rejected",
        }
    }
}

/// Why an order was rejected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Rejection {
    PaymentDeclined {
        reason: String,
    },
    OutOfStock {
        sku: Sku,
        available: i64,
    },
    /// A context gave no answer in time, so nothing is known to have happened, and all of it is undone.
    Unavailable {
        context: Context,
    },
    /// The merchant said no to a paid order, which is refunded.
    ByMerchant {
        reason: Option<String>,
    },
    /// The merchant said nothing in time.
    NotAccepted,
}

impl Rejection {
    /// Whether the order never stood, rather than was turned down afterwards.
    #[must_use]
    pub const fn is_of_placement(&self) -> bool {
        !matches!(self, Self::ByMerchant { .. } | Self::NotAccepted)
    }
}

impl std::fmt::Display for Rejection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::PaymentDeclined { reason } => write!(f, "payment declined: {reason}"),
            Self::OutOfStock { sku, available } => write!(f, "out of stock: {sku}, {available} available"),
            Self::Unavailable { context } => write!(f, "{context} unavailable"),
            Self::ByMerchant { reason: Some(reason) } => write!(f, "rejected by the merchant: {reason}"),
            Self::ByMerchant { reason: None } => f.write_str("rejected by the merchant"),
            Self::NotAccepted => f.write_str("not accepted in time"),
        }
    }
}
