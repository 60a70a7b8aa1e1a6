//! The order as its events tell it. Folding the events from the first on gives exactly what is stored.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{Actor, Command, Customer, Event, Fact, Gate, Language, Line, Placement, Rejection, Role, Status, rules};
use crate::lifecycle::CouponRule;
use crate::promotion::CouponState;
use crate::{
    Context, CouponId, DeliveryId, DeliveryState, Lifecycle, MerchantId, Money, OrderId, PaymentId, PaymentMethod,
    PaymentState,
};

/// An order with everything that its readers need, so that reading it asks nobody else.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Order {
    pub id: OrderId,
    pub merchant_id: MerchantId,
    pub customer: Customer,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer_id: Option<String>,
    pub lines: Vec<Line>,
    pub total: Money,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    pub status: Status,
    pub payment: OrderPayment,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<OrderDelivery>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coupon: Option<OrderCoupon>,
    /// Why it was rejected or cancelled, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejection: Option<Rejection>,
    /// The lifecycle that it was placed under.
    pub lifecycle: Lifecycle,
    /// The gate at which it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<Gate>,
    /// When the gate opens by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<DateTime<Utc>>,
    /// The courier who took the goods, or brought them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub courier: Option<String>,
    /// Commands that took effect, so that a repeated one is known.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub carried_out: BTreeSet<Command>,
    pub request_digest: String,
    pub placed_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    /// Whether it is decided if the order stands.
    #[serde(default)]
    pub decided: bool,
    /// The number of its last event.
    pub version: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderPayment {
    pub id: PaymentId,
    pub method: PaymentMethod,
    pub state: PaymentState,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderDelivery {
    pub id: DeliveryId,
    pub state: DeliveryState,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderCoupon {
    pub id: CouponId,
    pub kind: CouponRule,
    pub state: CouponState,
}

impl Order {
    /// The order after its first event.
    #[must_use]
    pub fn placed(id: OrderId, placement: &Placement, at: DateTime<Utc>) -> Self {
        Self {
            merchant_id: placement.merchant_id.clone(),
            customer: placement.customer.clone(),
            customer_id: placement.customer_id.clone(),
            lines: placement.lines.clone(),
            total: placement.total,
            note: placement.note.clone(),
            status: Status::Placed,
            payment: OrderPayment { id: id.payment(), method: placement.payment_method, state: PaymentState::None },
            delivery: None,
            coupon: None,
            reason: None,
            rejection: None,
            lifecycle: placement.lifecycle.clone(),
            gate: None,
            deadline: None,
            courier: None,
            carried_out: BTreeSet::new(),
            request_digest: placement.request_digest.clone(),
            decided: rules::stands_when_placed(&placement.lifecycle),
            placed_at: at,
            updated_at: at,
            version: 1,
            id,
        }
    }

    /// Its status, for people.
    #[must_use]
    pub fn label(&self, language: Language) -> &'static str {
        match (self.status, self.payment.method, language) {
            (Status::Paid, PaymentMethod::Deposit, Language::Korean) => "입금확인완료",
            (Status::Paid, PaymentMethod::Deposit, Language::English) => "Deposit confirmed",
            _ => self.status.label(language),
        }
    }

    /// The order that these events tell of; `None` unless they begin with its placement.
    #[must_use]
    pub fn from_events<'a>(events: impl IntoIterator<Item = &'a Event>) -> Option<Self> {
        events.into_iter().fold(None, Self::after)
    }

    /// The order after one more event.
    #[must_use]
    pub fn after(order: Option<Self>, event: &Event) -> Option<Self> {
        match (order, &event.fact) {
            (None, Fact::OrderPlaced(placement)) => Some(Self::placed(event.order_id.clone(), placement, event.at)),
            (None, _) => None,
            (Some(mut order), _) => {
                order.learn(event);
                Some(order)
            }
        }
    }

    /// The order after some more events.
    #[must_use]
    pub fn after_all(mut self, events: &[Event]) -> Self {
        for event in events {
            self.learn(event);
        }
        self
    }

    /// Takes in the next event of a placed order.
    pub fn learn(&mut self, event: &Event) {
        self.apply(&event.fact);
        if let Some(Actor { role: Role::Courier, subject }) = &event.by {
            self.courier = Some(subject.clone());
        }
        if let Some(gate) = rules::opened(&self.lifecycle, &event.fact) {
            self.gate = Some(gate);
            self.deadline = rules::window(&self.lifecycle, gate).map(|window| event.at + window);
        }
        self.updated_at = event.at;
        self.version = event.number;
    }

    fn apply(&mut self, fact: &Fact) {
        match fact {
            Fact::OrderPlaced(_) | Fact::StockUnavailable { .. } | Fact::StockReleased | Fact::OrderOffered => {}
            Fact::PaymentApproved { .. } => self.payment.state = PaymentState::Approved,
            Fact::PaymentDeclined { .. } => self.payment.state = PaymentState::Declined,
            // A deposit is called off as a whole, however far it has come.
            Fact::PaymentCancelled { refunded } => {
                let card = self.payment.method == PaymentMethod::Card;
                self.payment.state = if *refunded && card { PaymentState::Refunded } else { PaymentState::Cancelled };
            }
            Fact::StockCommitted => {
                let made = self.lifecycle.acceptance.is_some() || self.lifecycle.production.is_some();
                if self.payment.method == PaymentMethod::Deposit && !made {
                    self.enter(Status::Ready);
                }
            }
            Fact::OrderPaid => {
                self.decided = true;
                self.enter(Status::Paid);
            }
            Fact::DepositRequested { .. } => {
                self.decided = true;
                self.payment.state = PaymentState::Pending;
                self.enter(Status::AwaitingDeposit);
            }
            // What is held for a deposit is all that the order needs to stand.
            Fact::StockReserved => self.decided |= self.payment.method == PaymentMethod::Deposit,
            Fact::DepositConfirmed { .. } => {
                self.payment.state = PaymentState::Approved;
                self.pass_gate(Command::ConfirmDeposit);
            }
            Fact::DepositExpired => {
                self.enter(Status::Cancelling);
                self.reason = Some("the deposit was not confirmed in time".to_owned());
                self.gate = None;
                self.deadline = None;
            }
            Fact::ReceiptConfirmed => self.pass_gate(Command::ConfirmReceipt),
            Fact::CouponIssued { coupon_id, kind } => {
                self.coupon = Some(OrderCoupon { id: coupon_id.clone(), kind: *kind, state: CouponState::Issued });
            }
            Fact::CouponCancelled => {
                if let Some(coupon) = &mut self.coupon {
                    coupon.state = CouponState::Cancelled;
                }
            }
            Fact::OrderAccepted => {
                self.enter(Status::Accepted);
                self.pass_gate(Command::Accept);
            }
            Fact::ProductionStarted => {
                self.enter(Status::InProduction);
                self.pass_gate(Command::StartProduction);
            }
            Fact::ProductionFinished => {
                self.enter(Status::Ready);
                self.pass_gate(Command::FinishProduction);
            }
            Fact::DeliveryRequested { delivery_id } => {
                self.delivery = Some(OrderDelivery { id: delivery_id.clone(), state: DeliveryState::Requested });
            }
            Fact::DeliveryStarted => {
                self.set_delivery(DeliveryState::InDelivery);
                self.enter(Status::InDelivery);
                self.pass_gate(Command::StartDelivery);
            }
            Fact::DeliveryCompleted => {
                self.set_delivery(DeliveryState::Delivered);
                self.enter(Status::Delivered);
                self.pass_gate(Command::CompleteDelivery);
            }
            Fact::DeliveryCancelled => self.set_delivery(DeliveryState::Cancelled),
            Fact::OrderClosed => self.enter(Status::Closed),
            Fact::CancellationRequested { reason, .. } => {
                self.decided = true;
                self.enter(Status::Cancelling);
                self.reason.clone_from(reason);
                self.pass_gate(Command::Cancel);
            }
            Fact::OrderCancelled => self.enter(Status::Cancelled),
            Fact::OrderRejected { rejection } => {
                self.decided = true;
                self.enter(Status::Rejected);
                self.reason = Some(rejection.to_string());
                self.rejection = Some(rejection.clone());
                self.gate = None;
                self.deadline = None;
                if matches!(rejection, Rejection::ByMerchant { .. }) {
                    self.carried_out.insert(Command::Reject);
                }
                if matches!(rejection, Rejection::Unavailable { context: Context::Payment }) {
                    self.payment.state = PaymentState::Pending;
                }
            }
        }
    }

    /// Nothing leaves a final status.
    fn enter(&mut self, status: Status) {
        if !self.status.is_final() {
            self.status = status;
        }
    }

    fn set_delivery(&mut self, state: DeliveryState) {
        if let Some(delivery) = &mut self.delivery {
            delivery.state = state;
        }
    }

    /// Closes the gate that is open. Its command is carried out by that; a step that nobody had to ask for carries out none.
    fn pass_gate(&mut self, command: Command) {
        let asked = command == Command::Cancel || self.gate.is_some_and(|gate| Some(gate) == Gate::of(command));
        self.gate = None;
        self.deadline = None;
        if asked {
            self.carried_out.insert(command);
        }
    }
}
