//! What follows from what: pure decisions, no clock, no input or output. The workflow only carries them out.

use std::time::Duration;

use super::{CancelWindows, Command, Event, Fact, Gate, Order, Outcome, Rejection, Role, Status};
use crate::lifecycle::{AcceptanceTimeout, CouponRule, DeliveryStart, ProductionFinish, StockTake};
use crate::{Lifecycle, PaymentMethod, Step};

/// What becomes of a command that is asked of an order as it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    Allowed,
    /// It took effect before; asking again changes nothing.
    CarriedOut,
    NotAllowed,
}

/// Whether `role` may ask `command` of the order now.
#[must_use]
pub fn admit(order: &Order, role: Role, command: Command) -> Admission {
    if order.carried_out.contains(&command) {
        return Admission::CarriedOut;
    }
    let allowed = match command {
        Command::Cancel => may_cancel(&order.lifecycle.cancellation, order.status, role),
        _ => order
            .gate
            .is_some_and(|gate| gate.commands().iter().any(|(passes, by, _)| *passes == command && *by == role)),
    };
    if allowed { Admission::Allowed } else { Admission::NotAllowed }
}

/// The commands that the order takes now from somebody who acts in any of `roles`.
#[must_use]
pub fn allowed_commands(order: &Order, roles: &[Role]) -> Vec<Command> {
    Command::ALL
        .into_iter()
        .filter(|command| roles.iter().any(|role| admit(order, *role, *command) == Admission::Allowed))
        .collect()
}

/// Whether `role` may cancel at `status`.
#[must_use]
pub fn may_cancel(windows: &CancelWindows, status: Status, role: Role) -> bool {
    if status.is_final() || matches!(status, Status::Cancelling | Status::Delivered) {
        return false;
    }
    match windows.get(&role) {
        Some(last) => status <= *last,
        None => matches!(role, Role::Merchant | Role::Operator),
    }
}

/// What the order is sure to become once `command` has passed `gate`.
#[must_use]
pub fn beyond(gate: Gate, command: Command) -> Option<Status> {
    gate.commands().iter().find(|(passes, _, _)| *passes == command).map(|(_, _, status)| *status)
}

/// What the order is sure to become once the gate's time is over; `None` where its time is never over.
#[must_use]
pub fn beyond_deadline(lifecycle: &Lifecycle, gate: Gate) -> Option<Status> {
    match gate {
        Gate::Deposit => Some(Status::Cancelling),
        Gate::Receipt => Some(Status::Closed),
        Gate::Acceptance => Some(match lifecycle.acceptance?.on_timeout {
            AcceptanceTimeout::Reject => Status::Rejected,
            AcceptanceTimeout::Accept => Status::Accepted,
        }),
        Gate::ProductionStart | Gate::ProductionFinish | Gate::Dispatch | Gate::Handover => None,
    }
}

/// The gate that a fact opens under a lifecycle.
#[must_use]
pub fn opened(lifecycle: &Lifecycle, fact: &Fact) -> Option<Gate> {
    let production = lifecycle.production.map(|_| Gate::ProductionStart);
    if lifecycle.delivery.is_none() && lifecycle.receipt.is_some() && is_last_before_receipt(lifecycle, fact) {
        return Some(Gate::Receipt);
    }
    match fact {
        Fact::OrderPaid if lifecycle.acceptance.is_none() => production,
        Fact::DepositRequested { .. } => Some(Gate::Deposit),
        Fact::DeliveryCompleted => lifecycle.receipt.map(|_| Gate::Receipt),
        Fact::OrderOffered => Some(Gate::Acceptance),
        Fact::OrderAccepted => production,
        Fact::ProductionStarted => {
            let finish = lifecycle.production?.finish;
            (finish == ProductionFinish::Merchant).then_some(Gate::ProductionFinish)
        }
        Fact::DeliveryRequested { .. } => {
            (lifecycle.delivery?.start == DeliveryStart::Courier).then_some(Gate::Dispatch)
        }
        Fact::DeliveryStarted => Some(Gate::Handover),
        _ => None,
    }
}

/// Whether nothing but the receipt is left once the fact is true of an order that is not delivered.
fn is_last_before_receipt(lifecycle: &Lifecycle, fact: &Fact) -> bool {
    match lifecycle.production.map(|production| production.finish) {
        Some(ProductionFinish::Merchant) => matches!(fact, Fact::ProductionFinished),
        Some(ProductionFinish::None) => matches!(fact, Fact::ProductionStarted),
        None if lifecycle.acceptance.is_some() => matches!(fact, Fact::OrderAccepted),
        None if lifecycle.stock.take != StockTake::None => matches!(fact, Fact::StockCommitted),
        None => matches!(fact, Fact::OrderPaid),
    }
}

/// How long a gate waits before it opens by itself; `None`: for ever.
#[must_use]
pub fn window(lifecycle: &Lifecycle, gate: Gate) -> Option<Duration> {
    match gate {
        Gate::Deposit => lifecycle.payment.deposit_window.map(|window| window.0),
        Gate::Acceptance => lifecycle.acceptance.map(|acceptance| acceptance.window.0),
        Gate::Receipt => lifecycle.receipt.map(|receipt| receipt.window.0),
        Gate::ProductionStart | Gate::ProductionFinish | Gate::Dispatch | Gate::Handover => None,
    }
}

/// The facts that a provider's answer makes true. Steps of the order itself bring their own.
#[must_use]
pub fn facts(step: Step, outcome: &Outcome, order: &Order) -> Vec<Fact> {
    let payment_id = || order.payment.id.clone();
    match (step, outcome) {
        (Step::StockReserve, Outcome::Done) => vec![Fact::StockReserved],
        (Step::StockReserve, Outcome::OutOfStock { sku, available }) => {
            vec![Fact::StockUnavailable { sku: sku.clone(), available: *available }]
        }
        (Step::PaymentCharge, Outcome::Done) => {
            vec![Fact::PaymentApproved { payment_id: payment_id() }, Fact::OrderPaid]
        }
        (Step::PaymentCharge, Outcome::Declined { reason }) => {
            vec![Fact::PaymentDeclined { payment_id: payment_id(), reason: reason.clone() }]
        }
        (Step::PaymentOpenDeposit, Outcome::Done) => vec![Fact::DepositRequested { payment_id: payment_id() }],
        (Step::PaymentConfirmDeposit, Outcome::Done) => {
            vec![Fact::DepositConfirmed { payment_id: payment_id() }, Fact::OrderPaid]
        }
        (Step::PaymentCloseDeposit, Outcome::Done) => vec![Fact::PaymentCancelled { refunded: false }],
        (Step::StockCommit, Outcome::Done) => vec![Fact::StockCommitted],
        (Step::KitchenOffer, Outcome::Done) => vec![Fact::OrderOffered],
        (Step::KitchenStart, Outcome::Done) => vec![Fact::ProductionStarted],
        (Step::KitchenFinish, Outcome::Done) => vec![Fact::ProductionFinished],
        (Step::DeliveryRequest, Outcome::Done) => {
            vec![Fact::DeliveryRequested { delivery_id: order.id.delivery() }]
        }
        (Step::DeliveryStart, Outcome::Done) => vec![Fact::DeliveryStarted],
        (Step::DeliveryComplete, Outcome::Done) => {
            let mut facts = vec![Fact::DeliveryCompleted];
            if ends_with_delivery(&order.lifecycle) {
                facts.push(Fact::OrderClosed);
            }
            facts
        }
        (Step::PromotionIssue, Outcome::Done) => {
            let issued = |kind| Fact::CouponIssued { coupon_id: order.id.coupon(), kind };
            order.lifecycle.coupon.map(issued).into_iter().collect()
        }
        (Step::PromotionRevoke, Outcome::Done) => vec![Fact::CouponCancelled],
        (Step::PaymentRefund, Outcome::Done) => vec![Fact::PaymentCancelled { refunded: true }],
        // A deposit that was never confirmed is called off by being closed.
        (Step::PaymentRefund, Outcome::Nothing) if order.payment.method == PaymentMethod::Card => {
            vec![Fact::PaymentCancelled { refunded: false }]
        }
        (Step::StockRelease | Step::StockRestock, Outcome::Done) => vec![Fact::StockReleased],
        (Step::DeliveryCancel, Outcome::Done) => vec![Fact::DeliveryCancelled],
        _ => Vec::new(),
    }
}

/// Whether nothing is left to do for an order that was delivered.
#[must_use]
pub fn ends_with_delivery(lifecycle: &Lifecycle) -> bool {
    lifecycle.coupon != Some(CouponRule::AfterDelivery) && lifecycle.receipt.is_none()
}

/// Whether an order stands from the moment that it is placed: nothing has to be held or paid first.
#[must_use]
pub fn stands_when_placed(lifecycle: &Lifecycle) -> bool {
    lifecycle.payment.method == PaymentMethod::Deposit && lifecycle.stock.take != StockTake::OnPlacement
}

/// Whether what has become true of an order is made known now: its status has changed, or it stands, or it comes to a gate.
#[must_use]
pub fn is_made_known(before: Option<&Order>, after: &Order) -> bool {
    match before {
        Some(before) => before.status != after.status || before.gate != after.gate && after.gate.is_some(),
        None => after.decided || after.gate.is_some(),
    }
}

/// Whether what a step has made true is recorded along with what comes next: the order only goes on from it, to nobody's notice. In
/// no lifecycle is that followed by a wait, which a test of the sweep shows for all that it has.
#[must_use]
pub fn is_recorded_along(step: Step, outcome: &Outcome, before: &Order, after: &Order) -> bool {
    let goes_on = step.undo().is_some() && *outcome == Outcome::Done && before.gate.or(after.gate).is_none();
    goes_on && before.status == after.status && before.decided == after.decided
}

/// What a step's answer was, by the events that it recorded; `None` where it recorded none.
#[must_use]
pub fn recorded(step: Step, events: &[Event]) -> Option<Outcome> {
    let mut facts = events.iter().filter(|event| event.step == step).map(|event| &event.fact).peekable();
    facts.peek()?;
    let refused = facts.find_map(|fact| match fact {
        Fact::StockUnavailable { sku, available } => {
            Some(Outcome::OutOfStock { sku: sku.clone(), available: *available })
        }
        Fact::PaymentDeclined { reason, .. } => Some(Outcome::Declined { reason: reason.clone() }),
        _ => None,
    });
    Some(refused.unwrap_or(Outcome::Done))
}

/// Why an outcome ends the placement; `None` where the order goes on.
#[must_use]
pub fn refusal(outcome: &Outcome) -> Option<Rejection> {
    match outcome {
        Outcome::Declined { reason } => Some(Rejection::PaymentDeclined { reason: reason.clone() }),
        Outcome::OutOfStock { sku, available } => {
            Some(Rejection::OutOfStock { sku: sku.clone(), available: *available })
        }
        Outcome::Done | Outcome::Nothing => None,
    }
}

/// The undo steps for what was tried, in the lifecycle's order: by context where it names one, else the reverse of
/// doing. Each undo stands once, at its latest do.
#[must_use]
pub fn unwind(lifecycle: &Lifecycle, tried: &[Step]) -> Vec<Step> {
    let mut undos: Vec<Step> = Vec::new();
    for undo in tried.iter().rev().filter_map(|step| step.undo()) {
        if !undos.contains(&undo) {
            undos.push(undo);
        }
    }
    if let Some(named) = &lifecycle.unwind {
        let place = |step: &Step| {
            let context = step.context();
            named.iter().position(|named| Some(named.context()) == context).unwrap_or(named.len())
        };
        undos.sort_by_key(place);
    }
    undos
}

#[cfg(test)]
#[path = "rules_test.rs"]
mod tests;
