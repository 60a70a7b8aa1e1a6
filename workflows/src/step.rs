//! The steps of an order: their names, what undoes them, how they are tried. The same name is the durable entry,
//! the span and the metric label.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Context;

/// One durable activity call. Steps of `order` only write its events; every other step asks a context's provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Step {
    #[serde(rename = "order.place")]
    OrderPlace,
    #[serde(rename = "stock.reserve")]
    StockReserve,
    #[serde(rename = "stock.release")]
    StockRelease,
    #[serde(rename = "payment.charge")]
    PaymentCharge,
    #[serde(rename = "payment.refund")]
    PaymentRefund,
    #[serde(rename = "payment.open_deposit")]
    PaymentOpenDeposit,
    #[serde(rename = "payment.close_deposit")]
    PaymentCloseDeposit,
    #[serde(rename = "payment.confirm_deposit")]
    PaymentConfirmDeposit,
    #[serde(rename = "payment.return_deposit")]
    PaymentReturnDeposit,
    #[serde(rename = "stock.commit")]
    StockCommit,
    #[serde(rename = "stock.restock")]
    StockRestock,
    #[serde(rename = "kitchen.offer")]
    KitchenOffer,
    #[serde(rename = "kitchen.withdraw")]
    KitchenWithdraw,
    #[serde(rename = "order.accept")]
    OrderAccept,
    #[serde(rename = "kitchen.start")]
    KitchenStart,
    #[serde(rename = "kitchen.finish")]
    KitchenFinish,
    #[serde(rename = "kitchen.stop")]
    KitchenStop,
    #[serde(rename = "promotion.issue")]
    PromotionIssue,
    #[serde(rename = "promotion.revoke")]
    PromotionRevoke,
    #[serde(rename = "delivery.request")]
    DeliveryRequest,
    #[serde(rename = "delivery.start")]
    DeliveryStart,
    #[serde(rename = "delivery.complete")]
    DeliveryComplete,
    #[serde(rename = "delivery.cancel")]
    DeliveryCancel,
    #[serde(rename = "order.expire")]
    OrderExpire,
    #[serde(rename = "order.close")]
    OrderClose,
    #[serde(rename = "order.request_cancellation")]
    OrderRequestCancellation,
    #[serde(rename = "order.cancel")]
    OrderCancel,
    #[serde(rename = "order.reject")]
    OrderReject,
    #[serde(rename = "notification.send")]
    NotificationSend,
    #[serde(rename = "notification.deliver")]
    NotificationDeliver,
}

impl Step {
    pub const ALL: [Self; 30] = [
        Self::OrderPlace,
        Self::StockReserve,
        Self::StockRelease,
        Self::PaymentCharge,
        Self::PaymentRefund,
        Self::PaymentOpenDeposit,
        Self::PaymentCloseDeposit,
        Self::PaymentConfirmDeposit,
        Self::PaymentReturnDeposit,
        Self::StockCommit,
        Self::StockRestock,
        Self::KitchenOffer,
        Self::KitchenWithdraw,
        Self::OrderAccept,
        Self::KitchenStart,
        Self::KitchenFinish,
        Self::KitchenStop,
        Self::PromotionIssue,
        Self::PromotionRevoke,
        Self::DeliveryRequest,
        Self::DeliveryStart,
        Self::DeliveryComplete,
        Self::DeliveryCancel,
        Self::OrderExpire,
        Self::OrderClose,
        Self::OrderRequestCancellation,
        Self::OrderCancel,
        Self::OrderReject,
        Self::NotificationSend,
        Self::NotificationDeliver,
    ];

    /// `context.verb`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::OrderPlace => "order.place",
            Self::StockReserve => "stock.reserve",
            Self::StockRelease => "stock.release",
            Self::PaymentCharge => "payment.charge",
            Self::PaymentRefund => "payment.refund",
            Self::PaymentOpenDeposit => "payment.open_deposit",
            Self::PaymentCloseDeposit => "payment.close_deposit",
            Self::PaymentConfirmDeposit => "payment.confirm_deposit",
            Self::PaymentReturnDeposit => "payment.return_deposit",
            Self::StockCommit => "stock.commit",
            Self::StockRestock => "stock.restock",
            Self::KitchenOffer => "kitchen.offer",
            Self::KitchenWithdraw => "kitchen.withdraw",
            Self::OrderAccept => "order.accept",
            Self::KitchenStart => "kitchen.start",
            Self::KitchenFinish => "kitchen.finish",
            Self::KitchenStop => "kitchen.stop",
            Self::PromotionIssue => "promotion.issue",
            Self::PromotionRevoke => "promotion.revoke",
            Self::DeliveryRequest => "delivery.request",
            Self::DeliveryStart => "delivery.start",
            Self::DeliveryComplete => "delivery.complete",
            Self::DeliveryCancel => "delivery.cancel",
            Self::OrderExpire => "order.expire",
            Self::OrderClose => "order.close",
            Self::OrderRequestCancellation => "order.request_cancellation",
            Self::OrderCancel => "order.cancel",
            Self::OrderReject => "order.reject",
            Self::NotificationSend => "notification.send",
            Self::NotificationDeliver => "notification.deliver",
        }
    }

    /// The step that takes this one back. A delivery that was completed is not undone: that would be a return.
    #[must_use]
    pub const fn undo(self) -> Option<Self> {
        match self {
            Self::StockReserve => Some(Self::StockRelease),
            Self::PaymentCharge | Self::PaymentConfirmDeposit => Some(Self::PaymentRefund),
            Self::PaymentOpenDeposit => Some(Self::PaymentCloseDeposit),
            Self::StockCommit => Some(Self::StockRestock),
            Self::KitchenOffer => Some(Self::KitchenWithdraw),
            Self::KitchenStart | Self::KitchenFinish => Some(Self::KitchenStop),
            Self::PromotionIssue => Some(Self::PromotionRevoke),
            Self::DeliveryRequest | Self::DeliveryStart => Some(Self::DeliveryCancel),
            _ => None,
        }
    }

    /// The context whose provider the step asks; `None` for the steps of the order itself.
    #[must_use]
    pub const fn context(self) -> Option<Context> {
        match self {
            Self::StockReserve | Self::StockRelease | Self::StockCommit | Self::StockRestock => Some(Context::Stock),
            Self::PaymentCharge
            | Self::PaymentRefund
            | Self::PaymentOpenDeposit
            | Self::PaymentCloseDeposit
            | Self::PaymentConfirmDeposit
            | Self::PaymentReturnDeposit => Some(Context::Payment),
            Self::DeliveryRequest | Self::DeliveryStart | Self::DeliveryComplete | Self::DeliveryCancel => {
                Some(Context::Delivery)
            }
            Self::KitchenOffer
            | Self::KitchenWithdraw
            | Self::KitchenStart
            | Self::KitchenFinish
            | Self::KitchenStop => Some(Context::Kitchen),
            Self::PromotionIssue | Self::PromotionRevoke => Some(Context::Promotion),
            Self::NotificationSend | Self::NotificationDeliver => Some(Context::Notification),
            Self::OrderPlace
            | Self::OrderAccept
            | Self::OrderExpire
            | Self::OrderClose
            | Self::OrderRequestCancellation
            | Self::OrderCancel
            | Self::OrderReject => None,
        }
    }

    /// Whether the step undoes another.
    #[must_use]
    pub fn is_undo(self) -> bool {
        Self::ALL.into_iter().any(|step| step.undo() == Some(self))
    }

    /// Whether the step stands beside the orders, in no order's way: no lifecycle says how it is tried.
    #[must_use]
    pub const fn is_beside_the_order(self) -> bool {
        matches!(self, Self::PaymentReturnDeposit | Self::NotificationSend | Self::NotificationDeliver)
    }

    /// Whether the step may end without an answer while a customer waits. No other step ever gives up.
    #[must_use]
    pub const fn may_give_up(self) -> bool {
        matches!(self, Self::StockReserve | Self::PaymentCharge)
    }

    /// Whether an impossible step ends the order. An undo and a record must be done all the same: they are tried on,
    /// and the order shows as stuck, until somebody has mended what is in their way.
    #[must_use]
    pub const fn may_be_impossible(self) -> bool {
        // A coupon may come when the order is delivered, and nothing can be ended any more.
        match self {
            Self::PromotionIssue => false,
            Self::DeliveryComplete => true,
            _ => self.undo().is_some(),
        }
    }

    /// How the step is tried unless its lifecycle says otherwise.
    #[must_use]
    pub const fn default_policy(self) -> StepPolicy {
        match self {
            // A customer is waiting for these two, so they give up: soon enough for an answer within the ten seconds
            // that a caller waits by default.
            Self::StockReserve | Self::PaymentCharge => StepPolicy {
                attempt_timeout_ms: 2_000,
                first_delay_ms: 100,
                factor: 2.0,
                longest_delay_ms: 1_000,
                give_up_after_ms: Some(8_000),
            },
            // The request to a webhook has a limit of its own, which is shorter.
            Self::NotificationDeliver => StepPolicy {
                attempt_timeout_ms: 30_000,
                first_delay_ms: 100,
                factor: 2.0,
                longest_delay_ms: 10_000,
                give_up_after_ms: None,
            },
            // The longest delay is also how long a cancel may go unheard, and how long an order may sleep on after its
            // provider has come back.
            _ => StepPolicy {
                attempt_timeout_ms: 5_000,
                first_delay_ms: 100,
                factor: 2.0,
                longest_delay_ms: 1_000,
                give_up_after_ms: None,
            },
        }
    }
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// How a step is tried: every attempt is bounded, and retries wait longer and longer up to a longest delay.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepPolicy {
    /// How long one attempt may take.
    pub attempt_timeout_ms: u32,
    /// The wait before the second attempt.
    pub first_delay_ms: u32,
    /// By how much each wait is longer than the one before.
    pub factor: f32,
    /// The longest wait between two attempts.
    pub longest_delay_ms: u32,
    /// By when the last attempt is over; absent: never give up.
    pub give_up_after_ms: Option<u32>,
}

impl StepPolicy {
    #[must_use]
    pub fn attempt_timeout(&self) -> Duration {
        Duration::from_millis(self.attempt_timeout_ms.into())
    }

    /// How long the engine may keep starting attempts, so that even one that starts at the last moment, after the
    /// longest delay, and takes as long as it may, ends within `give_up_after_ms`.
    #[must_use]
    pub fn retry_for(&self) -> Option<Duration> {
        let reserve = self.attempt_timeout_ms.saturating_add(self.longest_delay_ms);
        self.give_up_after_ms.map(|give_up| Duration::from_millis(give_up.saturating_sub(reserve).max(1).into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_named_after_its_context() {
        for step in Step::ALL {
            let (context, verb) = step.name().split_once('.').expect("context.verb");
            assert_eq!(context, step.context().map_or("order", Context::as_str));
            assert!(!verb.is_empty());
            assert_eq!(serde_json::to_value(step).expect("serialises"), step.name());
        }
    }

    #[test]
    fn an_undo_is_never_undone_and_stays_in_its_context() {
        for step in Step::ALL {
            if let Some(undo) = step.undo() {
                assert_eq!(undo.undo(), None, "{undo}");
                assert_eq!(undo.context(), step.context(), "{step}");
                assert_eq!(undo.default_policy().give_up_after_ms, None, "{undo} must never give up");
            }
        }
    }

    #[test]
    fn the_last_attempt_is_over_when_the_step_gives_up() {
        let policy = Step::PaymentCharge.default_policy();
        assert_eq!(policy.retry_for(), Some(Duration::from_secs(5)));
        assert_eq!(Step::DeliveryStart.default_policy().retry_for(), None);
    }
}
