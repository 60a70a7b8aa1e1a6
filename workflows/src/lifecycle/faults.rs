//! What is wrong with a lifecycle that somebody wrote. One without faults can be run.

use std::time::Duration;

use super::{CouponRule, Lifecycle, ProductionFinish, StockTake, Unwound, Window};
use crate::{PaymentMethod, Role, Status, Step, StepPolicy};

const LONGEST_WINDOW: Duration = Duration::from_hours(366 * 24);
/// In milliseconds.
const LONGEST_DELAY: u32 = 60_000;
const ATTEMPT_TIMEOUTS: std::ops::RangeInclusive<u32> = 50..=60_000;

impl Lifecycle {
    /// Every fault, each beginning with the path of the part that it is in; none where orders can live by it.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if self.name.is_empty() || self.name.len() > 63 {
            faults.push("name: expected 1 to 63 characters".to_owned());
        } else if Self::preset(&self.name).is_some_and(|preset| preset != self) {
            faults.push(format!("name: `{}` is a preset's; choose another", self.name));
        }
        if self.payment.method == PaymentMethod::Card && self.payment.deposit_window.is_some() {
            faults.push("payment.deposit_window: only a deposit is waited for".to_owned());
        }
        let windows = [
            ("payment.deposit_window", self.payment.deposit_window),
            ("acceptance.window", self.acceptance.map(|rule| rule.window)),
            ("receipt.window", self.receipt.map(|rule| rule.window)),
        ];
        faults.extend(windows.into_iter().filter_map(|(path, window)| window_fault(path, window?)));
        if let (Some(coupon), None) = (self.coupon, self.delivery) {
            let when = if coupon == CouponRule::BeforeDelivery { "before" } else { "after" };
            faults.push(format!("coupon: nothing is delivered that it could be issued {when}"));
        }
        let cancellation = self.cancellation.iter();
        faults.extend(cancellation.filter_map(|(role, last)| self.cancellation_fault(*role, *last)));
        faults.extend(self.unwind.iter().flat_map(|named| self.unwind_faults(named)));
        faults.extend(self.steps.iter().flat_map(|(step, policy)| step_faults(*step, policy)));
        faults
    }

    /// The statuses that an undisturbed order goes through, up to the last at which it can be cancelled.
    fn cancellable(&self) -> Vec<Status> {
        let deposit = self.payment.method == PaymentMethod::Deposit;
        let finished = self.production.is_some_and(|rule| rule.finish == ProductionFinish::Merchant);
        let made = self.acceptance.is_some() || self.production.is_some();
        let sold = deposit && self.stock.take != StockTake::None && !made;
        [
            (Status::Placed, true),
            (Status::AwaitingDeposit, deposit),
            (Status::Paid, true),
            (Status::Accepted, self.acceptance.is_some()),
            (Status::InProduction, self.production.is_some()),
            (Status::Ready, finished || sold),
            (Status::InDelivery, self.delivery.is_some()),
        ]
        .into_iter()
        .filter_map(|(status, passes)| passes.then_some(status))
        .collect()
    }

    fn cancellation_fault(&self, role: Role, last: Status) -> Option<String> {
        if role == Role::Courier {
            return Some("cancellation: a courier does not cancel orders".to_owned());
        }
        let cancellable = self.cancellable();
        let names: Vec<_> = cancellable.iter().map(|status| status.as_str()).collect();
        (!cancellable.contains(&last)).then(|| {
            format!(
                "cancellation: an order of this lifecycle is never cancelled at `{}`, but at {}",
                last.as_str(),
                names.join(", ")
            )
        })
    }

    fn unwind_faults(&self, named: &[Unwound]) -> Vec<String> {
        let undone = [
            (Unwound::Payment, true),
            (Unwound::Stock, self.stock.take != StockTake::None),
            (Unwound::Kitchen, self.acceptance.is_some() || self.production.is_some()),
            (Unwound::Coupon, self.coupon == Some(CouponRule::BeforeDelivery)),
            (Unwound::Delivery, self.delivery.is_some()),
        ];
        let mut faults = Vec::new();
        for (part, is_undone) in undone {
            match (named.iter().filter(|named| **named == part).count(), is_undone) {
                (0, true) => faults.push(format!("unwind: `{}` is missing", part.as_str())),
                (1, true) | (0, false) => {}
                (_, false) => faults.push(format!("unwind: nothing of `{}` is to be undone", part.as_str())),
                (_, true) => faults.push(format!("unwind: `{}` is named twice", part.as_str())),
            }
        }
        faults
    }
}

fn window_fault(path: &str, window: Window) -> Option<String> {
    if window.0.is_zero() {
        Some(format!("{path}: nobody can do anything in no time"))
    } else {
        (window.0 > LONGEST_WINDOW).then(|| format!("{path}: longer than 366 days"))
    }
}

fn step_faults(step: Step, policy: &StepPolicy) -> Vec<String> {
    if step.is_beside_the_order() {
        return vec![format!("steps.{step}: goes on beside the order, which has no say in it")];
    }
    let mut faults = Vec::new();
    let mut expect = |holds: bool, what: &str| {
        if !holds {
            faults.push(format!("steps.{step}.{what}"));
        }
    };
    expect(ATTEMPT_TIMEOUTS.contains(&policy.attempt_timeout_ms), "attempt_timeout_ms: expected 50 to 60000");
    expect((10..=LONGEST_DELAY).contains(&policy.first_delay_ms), "first_delay_ms: expected 10 to 60000");
    expect((1.0..=10.0).contains(&policy.factor), "factor: expected 1 to 10");
    expect(
        (policy.first_delay_ms..=LONGEST_DELAY).contains(&policy.longest_delay_ms),
        "longest_delay_ms: expected first_delay_ms to 60000",
    );
    if let Some(give_up) = policy.give_up_after_ms {
        let attempt = policy.attempt_timeout_ms.saturating_add(policy.longest_delay_ms);
        expect(step.may_give_up(), "give_up_after_ms: this step never gives up");
        expect(give_up > attempt, "give_up_after_ms: not even one attempt and one delay fit");
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_have_no_faults() {
        for preset in Lifecycle::presets() {
            assert!(preset.faults().is_empty(), "{}: {:?}", preset.name, preset.faults());
        }
    }

    #[test]
    fn every_fault_is_named() {
        let text = r#"
            name = "pizza"
            coupon = "before_delivery"
            unwind = ["payment", "payment", "kitchen"]
            payment = { method = "card", deposit_window = "0s" }
            stock = { take = "on_placement" }
            acceptance = { window = "0s", on_timeout = "reject" }
            delivery = { start = "automatic", complete = "courier" }
            receipt = { window = "9999days", on_timeout = "confirm" }
            cancellation = { customer = "delivered", courier = "paid", merchant = "ready" }
            [steps."delivery.start"]
            attempt_timeout_ms = 1
            first_delay_ms = 0
            factor = 0.5
            longest_delay_ms = 100000
            give_up_after_ms = 1
        "#;
        let faults = toml::from_str::<Lifecycle>(text).expect("reads").faults();
        let paths = [
            "name: `pizza`",
            "payment.deposit_window: only",
            "payment.deposit_window: nobody",
            "acceptance.window: nobody",
            "receipt.window: longer",
            "cancellation: an order of this lifecycle is never cancelled at `delivered`",
            "cancellation: an order of this lifecycle is never cancelled at `ready`",
            "cancellation: a courier",
            "unwind: `payment` is named twice",
            "unwind: `stock` is missing",
            "unwind: `coupon` is missing",
            "unwind: `delivery` is missing",
            "steps.delivery.start.attempt_timeout_ms",
            "steps.delivery.start.first_delay_ms",
            "steps.delivery.start.factor",
            "steps.delivery.start.longest_delay_ms",
            "steps.delivery.start.give_up_after_ms: this",
            "steps.delivery.start.give_up_after_ms: not",
        ];
        for path in paths {
            assert!(faults.iter().any(|fault| fault.starts_with(path)), "{path} in {faults:#?}");
        }
        assert_eq!(faults.len(), paths.len(), "{faults:#?}");
    }
}
