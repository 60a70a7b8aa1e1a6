//! Tables for what is allowed, properties for what must hold whatever happens.

use chrono::DateTime;
use proptest::prelude::*;

use super::super::{Customer, Line, Placement};
use super::*;
use crate::lifecycle::Unwound;
use crate::{Context, Currency, Money, OrderId, PaymentState};

fn sauce_shop() -> Lifecycle {
    Lifecycle::preset("sauce-shop").expect("exists").clone()
}

fn placed() -> Order {
    placed_under(&sauce_shop())
}

fn placed_under(lifecycle: &Lifecycle) -> Order {
    let price = Money::new(9_000, Currency::KRW);
    let placement = Placement {
        merchant_id: "sauce-shop".parse().expect("valid"),
        customer: Customer { name: "Kim".to_owned(), phone: "010".to_owned(), address: "Seoul".to_owned() },
        customer_id: None,
        lines: vec![Line {
            sku: "chili".parse().expect("valid"),
            name: "Chili".to_owned(),
            unit_price: price,
            quantity: 1,
            line_total: price,
        }],
        total: price,
        payment_method: lifecycle.payment.method,
        note: None,
        lifecycle: lifecycle.clone(),
        request_digest: String::new(),
    };
    Order::placed(OrderId::from_bits(1), &placement, DateTime::UNIX_EPOCH)
}

fn tell(order: &mut Order, step: Step, facts: Vec<Fact>) {
    for fact in facts {
        let number = order.version + 1;
        order.learn(&Event { order_id: order.id.clone(), number, at: order.updated_at, step, by: None, fact });
    }
}

/// The sauce shop's steps, done one after another on the order.
fn after(steps: &[Step]) -> Order {
    let mut order = placed();
    for step in steps {
        let facts = facts(*step, &Outcome::Done, &order);
        assert!(!facts.is_empty(), "{step} is seen");
        tell(&mut order, *step, facts);
    }
    order
}

const STEPS: [Step; 6] = [
    Step::StockReserve,
    Step::PaymentCharge,
    Step::StockCommit,
    Step::DeliveryRequest,
    Step::DeliveryStart,
    Step::DeliveryComplete,
];

#[test]
fn a_sauce_shop_order_goes_through_its_statuses() {
    let statuses: Vec<_> = (0..=STEPS.len()).map(|done| after(&STEPS[..done]).status).collect();
    let names: Vec<_> = statuses.into_iter().map(Status::as_str).collect();
    assert_eq!(names, ["placed", "placed", "paid", "paid", "paid", "in_delivery", "closed"]);
}

/// The order after each step of an undisturbed life.
fn life(lifecycle: &Lifecycle) -> Vec<Order> {
    let mut order = placed_under(lifecycle);
    let mut life = vec![order.clone()];
    for planned in lifecycle.preview().steps.into_iter().skip(1) {
        let mut told = facts(planned.step, &Outcome::Done, &order);
        if order.gate == Some(Gate::Receipt) {
            told.push(Fact::ReceiptConfirmed);
        }
        told.extend(own_facts(planned.step));
        assert!(!told.is_empty(), "{} is seen", planned.step);
        tell(&mut order, planned.step, told);
        life.push(order.clone());
    }
    life
}

/// What becomes of each command, by role: a line of the table.
fn admissions(order: &Order) -> String {
    let commands = |role, admission| {
        let is = |command: &Command| admit(order, role, *command) == admission;
        Command::ALL.into_iter().filter(is).map(Command::as_str).collect::<Vec<_>>().join(" ")
    };
    let roles = Role::ALL.map(|role| format!("{}({})", role.as_str(), commands(role, Admission::Allowed)));
    let carried_out = commands(Role::Operator, Admission::CarriedOut);
    assert!(Role::ALL.into_iter().all(|role| commands(role, Admission::CarriedOut) == carried_out));
    let gate = order.gate.map_or("-", Gate::as_str);
    format!("{} [{gate}] {}; carried out({carried_out})", order.status.as_str(), roles.join(" "))
}

/// Every lifecycle, status, command and role. What a role's brackets do not name is not allowed, unless it was carried
/// out.
#[test]
fn commands_by_lifecycle_status_and_role() {
    for lifecycle in Lifecycle::presets() {
        let life = life(lifecycle);
        let mut lines: Vec<String> = life.iter().map(admissions).collect();
        let cancellable = |order: &&Order| {
            Role::ALL.into_iter().any(|role| admit(order, role, Command::Cancel) == Admission::Allowed)
        };
        let mut cancelled = life.iter().rfind(cancellable).expect("can be cancelled").clone();
        for step in [Step::OrderRequestCancellation, Step::OrderCancel] {
            tell(&mut cancelled, step, own_facts(step));
            lines.push(admissions(&cancelled));
        }
        let mut rejected = life.iter().find(|order| order.gate == Some(Gate::Acceptance)).unwrap_or(&life[0]).clone();
        let rejection = match rejected.gate {
            Some(_) => Rejection::ByMerchant { reason: None },
            None => Rejection::PaymentDeclined { reason: "no".to_owned() },
        };
        tell(&mut rejected, Step::OrderReject, vec![Fact::OrderRejected { rejection }]);
        lines.push(admissions(&rejected));
        lines.dedup();
        insta::assert_snapshot!(format!("commands_{}", lifecycle.name), lines.join("\n"));
    }
}

#[test]
fn an_order_that_is_called_off_takes_no_command() {
    for order in Lifecycle::presets().iter().flat_map(life) {
        if order.status.is_final() {
            continue;
        }
        for step in [Step::OrderRequestCancellation, Step::OrderReject, Step::OrderExpire] {
            let mut off = order.clone();
            tell(&mut off, step, own_facts(step));
            assert_eq!((off.gate, off.deadline), (None, None), "{step} at {:?}", order.status);
            assert!(allowed_commands(&off, &Role::ALL).is_empty(), "{step} at {:?}", order.status);
        }
    }
}

#[test]
fn a_command_that_took_effect_is_known_again() {
    let closed = after(&STEPS);
    assert_eq!(admit(&closed, Role::Courier, Command::CompleteDelivery), Admission::CarriedOut);
    assert_eq!(admit(&closed, Role::Customer, Command::Cancel), Admission::NotAllowed);

    let mut cancelled = after(&STEPS[..3]);
    tell(
        &mut cancelled,
        Step::OrderRequestCancellation,
        vec![Fact::CancellationRequested { by: Some(Role::Customer), reason: None }],
    );
    assert_eq!(cancelled.status, Status::Cancelling);
    assert_eq!(admit(&cancelled, Role::Customer, Command::Cancel), Admission::CarriedOut);
    assert!(allowed_commands(&cancelled, &Role::ALL).is_empty());
}

#[test]
fn cancel_windows() {
    let windows = sauce_shop().cancellation;
    for status in Status::ALL {
        let customer = matches!(status, Status::Placed | Status::AwaitingDeposit | Status::Paid);
        let staff = !status.is_final() && !matches!(status, Status::Delivered | Status::Cancelling);
        assert_eq!(may_cancel(&windows, status, Role::Customer), customer, "{status:?}");
        assert_eq!(may_cancel(&windows, status, Role::Merchant), staff, "{status:?}");
        assert_eq!(may_cancel(&windows, status, Role::Operator), staff, "{status:?}");
        assert!(!may_cancel(&windows, status, Role::Courier), "{status:?}");
    }
}

#[test]
fn nobody_cancels_what_passed_its_gate() {
    let beyond = beyond(Gate::Handover, Command::CompleteDelivery).expect("passes");
    assert!(Role::ALL.iter().all(|role| !may_cancel(&sauce_shop().cancellation, beyond, *role)));
}

#[test]
fn everything_is_undone_in_reverse() {
    let undos = unwind(&sauce_shop(), &STEPS[..5]);
    assert_eq!(undos, [Step::DeliveryCancel, Step::StockRestock, Step::PaymentRefund, Step::StockRelease]);
}

#[test]
fn a_lifecycle_can_name_the_order_of_undoing() {
    let unwind_first = Some(vec![Unwound::Payment, Unwound::Delivery, Unwound::Stock]);
    let lifecycle = Lifecycle { unwind: unwind_first, ..sauce_shop() };
    let undos = unwind(&lifecycle, &STEPS[..5]);
    assert_eq!(undos, [Step::PaymentRefund, Step::DeliveryCancel, Step::StockRestock, Step::StockRelease]);
}

#[test]
fn what_a_step_recorded_tells_its_answer() {
    let sku = || "chili".parse().expect("valid");
    let declined = Outcome::Declined { reason: "no".to_owned() };
    for (step, outcome) in [
        (Step::StockReserve, Outcome::Done),
        (Step::StockReserve, Outcome::OutOfStock { sku: sku(), available: 2 }),
        (Step::PaymentCharge, Outcome::Done),
        (Step::PaymentCharge, declined),
        (Step::DeliveryStart, Outcome::Done),
    ] {
        let order = placed();
        let events: Vec<_> = facts(step, &outcome, &order)
            .into_iter()
            .map(|fact| Event { order_id: order.id.clone(), number: 2, at: order.placed_at, step, by: None, fact })
            .collect();
        assert_eq!(recorded(step, &events), Some(outcome));
        assert_eq!(recorded(Step::StockCommit, &events), None);
    }
}

#[test]
fn what_nobody_sees_is_recorded_along_with_what_comes_next() {
    let along = |order: &Order, step, outcome: &Outcome| {
        let mut after = order.clone();
        tell(&mut after, step, facts(step, outcome, order));
        is_recorded_along(step, outcome, order, &after)
    };
    let mut order = placed();
    let mut found = Vec::new();
    for step in STEPS {
        found.extend(along(&order, step, &Outcome::Done).then_some(step));
        let facts = facts(step, &Outcome::Done, &order);
        tell(&mut order, step, facts);
    }
    assert_eq!(found, [Step::StockReserve, Step::StockCommit, Step::DeliveryRequest]);

    // What ends an order, and what is undone, may be followed by a step that nobody can take for long.
    let out_of_stock = Outcome::OutOfStock { sku: "chili".parse().expect("valid"), available: 2 };
    assert!(!along(&placed(), Step::StockReserve, &out_of_stock));
    let in_delivery = after(&STEPS[..5]);
    for undo in [Step::DeliveryCancel, Step::StockRestock, Step::PaymentRefund] {
        assert!(!along(&in_delivery, undo, &Outcome::Done), "{undo}");
    }

    // Where it makes the order stand, opens a gate, or comes to a gate that is open, somebody waits for it.
    let bank = || Lifecycle { payment: Lifecycle::preset("shopping-mall").expect("exists").payment, ..sauce_shop() };
    assert!(!along(&placed_under(&bank()), Step::StockReserve, &Outcome::Done), "it stands");
    let courier = Lifecycle {
        delivery: sauce_shop()
            .delivery
            .map(|rule| crate::lifecycle::DeliveryRule { start: DeliveryStart::Courier, ..rule }),
        ..sauce_shop()
    };
    let mut paid = placed_under(&courier);
    tell(&mut paid, Step::PaymentCharge, vec![Fact::OrderPaid]);
    assert!(!along(&paid, Step::DeliveryRequest, &Outcome::Done), "a courier takes it");
    paid.gate = Some(Gate::Receipt);
    assert!(!along(&paid, Step::PromotionIssue, &Outcome::Done), "the customer may confirm it");
}

#[test]
fn a_refund_says_whether_money_moved() {
    for (outcome, state) in [(Outcome::Done, PaymentState::Refunded), (Outcome::Nothing, PaymentState::Cancelled)] {
        let mut order = after(&STEPS[..2]);
        assert_eq!(order.payment.state, PaymentState::Approved);
        let facts = facts(Step::PaymentRefund, &outcome, &order);
        tell(&mut order, Step::PaymentRefund, facts);
        assert_eq!(order.payment.state, state);
    }
}

#[test]
fn an_unknown_charge_is_pending_until_it_is_called_off() {
    let mut order = after(&STEPS[..1]);
    let rejection = Rejection::Unavailable { context: Context::Payment };
    tell(&mut order, Step::OrderReject, vec![Fact::OrderRejected { rejection }]);
    assert_eq!((order.status, order.payment.state), (Status::Rejected, PaymentState::Pending));
    let facts = facts(Step::PaymentRefund, &Outcome::Nothing, &order);
    tell(&mut order, Step::PaymentRefund, facts);
    assert_eq!((order.status, order.payment.state), (Status::Rejected, PaymentState::Cancelled));
}

fn any_outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        Just(Outcome::Done),
        Just(Outcome::Nothing),
        Just(Outcome::Declined { reason: "no".to_owned() }),
        Just(Outcome::OutOfStock { sku: "chili".parse().expect("valid"), available: 0 }),
    ]
}

fn any_step() -> impl Strategy<Value = Step> {
    prop::sample::select(Step::ALL.to_vec())
}

fn own_facts(step: Step) -> Vec<Fact> {
    match step {
        Step::OrderRequestCancellation => vec![Fact::CancellationRequested { by: Some(Role::Operator), reason: None }],
        Step::OrderCancel => vec![Fact::OrderCancelled],
        Step::OrderAccept => vec![Fact::OrderAccepted],
        Step::OrderExpire => vec![Fact::DepositExpired],
        Step::OrderClose => vec![Fact::OrderClosed],
        Step::OrderReject => {
            vec![Fact::OrderRejected { rejection: Rejection::Unavailable { context: Context::Stock } }]
        }
        _ => Vec::new(),
    }
}

proptest! {
    #[test]
    fn final_statuses_absorb_and_numbers_have_no_gaps(
        history in prop::collection::vec((any_step(), any_outcome()), 0..30)
    ) {
        let mut order = placed();
        let mut ended = None;
        for (step, outcome) in history {
            let mut told = facts(step, &outcome, &order);
            told.extend(own_facts(step));
            let count = u32::try_from(told.len()).expect("few");
            let version = order.version;
            tell(&mut order, step, told);
            prop_assert_eq!(order.version, version + count);
            if let Some(ended) = ended {
                prop_assert_eq!(order.status, ended);
            } else if order.status.is_final() {
                ended = Some(order.status);
                prop_assert!(!Role::ALL.iter().any(|role| may_cancel(&order.lifecycle.cancellation, order.status, *role)));
            }
        }
    }

    #[test]
    fn every_step_that_was_tried_is_undone_exactly_once(
        tried in prop::collection::vec(any_step(), 0..12),
        named in proptest::option::of(Just(Unwound::ALL.to_vec()).prop_shuffle())
    ) {
        let lifecycle = Lifecycle { unwind: named.clone(), ..sauce_shop() };
        let undos = unwind(&lifecycle, &tried);
        for step in &tried {
            if let Some(undo) = step.undo() {
                prop_assert_eq!(undos.iter().filter(|other| **other == undo).count(), 1);
            }
        }
        prop_assert!(undos.iter().all(|undo| tried.iter().any(|step| step.undo() == Some(*undo))));
        if let Some(named) = named {
            let places: Vec<_> =
                undos.iter().map(|undo| named.iter().position(|named| undo.context() == Some(named.context()))).collect();
            prop_assert!(places.is_sorted());
        }
    }

    #[test]
    fn a_refusal_leaves_nothing_paid(outcome in any_outcome()) {
        let order = placed();
        let told = facts(Step::PaymentCharge, &outcome, &order);
        let paid = told.contains(&Fact::OrderPaid);
        prop_assert_eq!(paid, outcome == Outcome::Done);
        prop_assert!(!(paid && refusal(&outcome).is_some()));
    }
}
