//! Whatever goes wrong inside a step, the order goes on, and what the step does is done once.

use std::sync::Arc;

use serde_json::json;
use tests::{Fault, Faults, Jumun, Place, Planned, Shop, until, variant};
use workflows::Step;

const FORWARD: [Step; 6] = [
    Step::StockReserve,
    Step::PaymentCharge,
    Step::StockCommit,
    Step::DeliveryRequest,
    Step::DeliveryStart,
    Step::DeliveryComplete,
];
const BACKWARD: [Step; 4] = [Step::DeliveryCancel, Step::StockRestock, Step::PaymentRefund, Step::StockRelease];
/// What these make true is recorded along with the step after them.
const RECORDED_ALONG: [Step; 3] = [Step::StockReserve, Step::StockCommit, Step::DeliveryRequest];
const AT_ONCE: [Fault; 4] = [Fault::Panic, Fault::Fail, Fault::LoseReply, Fault::PanicAfter];

#[tokio::test]
async fn a_step_that_panics_fails_or_loses_its_reply_is_done_once() {
    let faults = Arc::new(Faults::default());
    let jumun = Jumun::faulted(&faults).await;
    let shop = Shop::open(&jumun).await;
    let cases = FORWARD.iter().flat_map(|step| [(*step, Place::Provider), (*step, Place::Record)]);
    let cases = cases.filter(|(step, place)| *place == Place::Provider || !RECORDED_ALONG.contains(step));
    let mut sold = 0;
    for (step, place) in cases.chain([(Step::OrderPlace, Place::Record)]) {
        faults.plan(step, place, &AT_ONCE);
        let id = shop.placed().await;
        shop.reaches(&id, "in_delivery").await;
        let _ = jumun.command(&id, "complete-delivery").await.ok();
        shop.reaches(&id, "closed").await;
        sold += 1;
        // The last of them may strike after the effect is seen.
        until(&format!("{step} at {place:?}"), async || faults.all_met().then_some(())).await;
        assert_eq!(jumun.entries(&id).await, ["charge"], "{step} at {place:?}");
        assert_eq!(jumun.event_names(&id).await.len(), 9, "{step} at {place:?}");
        assert_eq!(shop.shelf("chili").await, (100 - sold, 0, 100 - sold), "{step} at {place:?}");
    }
}

#[tokio::test]
async fn an_undo_that_panics_fails_or_loses_its_reply_is_done_once() {
    let faults = Arc::new(Faults::default());
    let jumun = Jumun::faulted(&faults).await;
    let shop = Shop::open(&jumun).await;
    let cases = BACKWARD.iter().flat_map(|step| [(*step, Place::Provider), (*step, Place::Record)]);
    let own = [Step::OrderRequestCancellation, Step::OrderCancel].map(|step| (step, Place::Record));
    for (step, place) in cases.chain(own) {
        // What has nothing to say is not recorded: the stock comes back by the restock.
        if (step, place) == (Step::StockRelease, Place::Record) {
            continue;
        }
        faults.plan(step, place, &AT_ONCE);
        let id = shop.placed().await;
        shop.reaches(&id, "in_delivery").await;
        jumun.cancel_in_engine(&id).await;
        shop.reaches(&id, "cancelled").await;
        // The last of them may strike after the effect is seen.
        until(&format!("{step} at {place:?}"), async || faults.all_met().then_some(())).await;
        assert_eq!(jumun.entries(&id).await, ["charge", "refund"], "{step} at {place:?}");
        assert_eq!(jumun.event_names(&id).await.len(), 12, "{step} at {place:?}");
        assert_eq!(shop.shelf("chili").await, (100, 0, 100), "{step} at {place:?}");
    }
}

/// What is recorded along with the step after it does not wait for a provider that is slow, or out of reach.
#[tokio::test]
async fn what_was_done_is_seen_while_the_step_after_it_is_not() {
    let faults = Arc::new(Faults::default());
    let jumun = Jumun::faulted(&faults).await;
    let patient = json!({
        "attempt_timeout_ms": 60_000, "first_delay_ms": 20, "factor": 1.0, "longest_delay_ms": 20,
    });
    let lifecycle = variant("sauce-shop", |lifecycle| lifecycle["steps"]["delivery.start"] = patient);
    for (fault, times) in [(Fault::Hold, 1), (Fault::Fail, 1_000)] {
        let shop = Shop::open_with(&jumun, lifecycle.clone()).await;
        let merchant_id = shop.merchant_id.parse().expect("an id");
        let place = Place::Provider;
        // So what was sold is recorded by itself, and what is requested then is not the first that is left to what follows.
        let request = Planned { step: Step::DeliveryRequest, place, fault: Fault::Fail, times: 1 };
        faults.script(&merchant_id, &[request, Planned { step: Step::DeliveryStart, place, fault, times }]);
        let id = shop.placed().await;
        let requested = until("the request", async || {
            let events = jumun.event_names(&id).await;
            events.contains(&"delivery_requested".to_owned()).then_some(events)
        });
        assert_eq!(requested.await[3..], ["order_paid", "stock_committed", "delivery_requested"]);
        let order = jumun.get(&format!("/v1/orders/{id}")).await.ok();
        assert_eq!((&order["status"], &order["delivery"]["state"]), (&json!("paid"), &json!("requested")), "{fault:?}");
        faults.open(&merchant_id, 0);
        jumun.cancel_in_engine(&id).await;
        shop.reaches(&id, "cancelled").await;
        assert_eq!(jumun.entries(&id).await, ["charge", "refund"]);
        assert_eq!(shop.shelf("chili").await, (100, 0, 100));
    }
}

#[tokio::test]
async fn a_provider_that_never_answers_is_asked_again() {
    let faults = Arc::new(Faults::default());
    let jumun = Jumun::faulted(&faults).await;
    let shop = Shop::open(&jumun).await;
    faults.plan(Step::PaymentCharge, Place::Provider, &[Fault::Hang]);
    faults.plan(Step::DeliveryRequest, Place::Provider, &[Fault::Hang]);
    let id = shop.placed().await;
    shop.reaches(&id, "in_delivery").await;
    assert!(faults.all_met());
    assert_eq!(jumun.entries(&id).await, ["charge"]);
}

/// The charge went through, but every answer was lost until the step gave up: it must be taken back.
#[tokio::test]
async fn a_charge_of_unknown_outcome_is_reversed() {
    let faults = Arc::new(Faults::default());
    let jumun = Jumun::faulted(&faults).await;
    let shop = Shop::open(&jumun).await;
    faults.plan(Step::PaymentCharge, Place::Provider, &[Fault::LoseReply; 40]);
    faults.plan(Step::PaymentRefund, Place::Provider, &[Fault::Fail; 3]);
    let _ = shop.place("tok_ok", 1).await.problem(503, "try-again-later");
    assert_eq!(shop.shelf("chili").await, (100, 0, 100), "released before the answer");
    let orders = jumun.get(&format!("/v1/orders?merchant_id={}", shop.merchant_id)).await.ok();
    let id = tests::expect_order(&orders["items"][0]);
    until("the reversal", async || (jumun.entries(&id).await == ["charge", "refund"]).then_some(())).await;
    let order = jumun.get(&format!("/v1/orders/{id}")).await.ok();
    assert_eq!((order["status"].as_str(), order["payment"]["state"].as_str()), (Some("rejected"), Some("refunded")));
}

/// The customer cancels while the delivery is being started: whichever is seen first, the other is not.
#[tokio::test]
async fn a_cancel_in_the_middle_of_a_step_is_judged_by_what_the_step_did() {
    let faults = Arc::new(Faults::default());
    let jumun = Jumun::faulted(&faults).await;
    let shop = Shop::open(&jumun).await;
    // The delivery starts and is recorded, but the workflow does not hear of it.
    faults.plan(Step::DeliveryStart, Place::Record, &[Fault::LoseReply; 12]);
    let id = shop.placed().await;
    shop.reaches(&id, "in_delivery").await;
    let _ = jumun.command(&id, "cancel").await.problem(409, "command-not-allowed");
    jumun.cancel_in_engine(&id).await;
    shop.reaches(&id, "cancelled").await;
    let events = jumun.event_names(&id).await;
    let started = events.iter().filter(|name| *name == "delivery_started").count();
    let cancelled = events.iter().filter(|name| *name == "delivery_cancelled").count();
    assert_eq!((started, cancelled), (1, 1), "{events:?}");
    assert_eq!(jumun.entries(&id).await, ["charge", "refund"]);
    assert_eq!(shop.shelf("chili").await, (100, 0, 100));
}

fn count(names: &[String], name: &str) -> usize {
    names.iter().filter(|other| *other == name).count()
}

#[tokio::test]
async fn a_cancel_that_comes_too_late_repeats_nothing() {
    let faults = Arc::new(Faults::default());
    let jumun = Jumun::faulted(&faults).await;
    let shop = Shop::open(&jumun).await;
    // The customer cancels at `paid`, while the delivery is being started.
    faults.plan(Step::DeliveryStart, Place::Provider, &[Fault::Slow]);
    let id = shop.placed().await;
    until("the delivery to be requested", async || {
        jumun.event_names(&id).await.contains(&"delivery_requested".to_owned()).then_some(())
    })
    .await;
    until("the start to be tried", async || faults.all_met().then_some(())).await;
    let _ = jumun.command(&id, "cancel").await.problem(409, "command-not-allowed");
    assert_eq!(count(&jumun.event_names(&id).await, "delivery_started"), 1);

    // The operator cancels while the delivery is being completed.
    faults.plan(Step::DeliveryComplete, Place::Provider, &[Fault::Slow]);
    let (completed, ()) = futures::join!(jumun.command(&id, "complete-delivery"), async {
        until("the completion to be tried", async || faults.all_met().then_some(())).await;
        jumun.cancel_in_engine(&id).await;
    });
    assert_eq!(completed.status, 200);
    shop.reaches(&id, "closed").await;
    until("the workflow to end", async || {
        let open = jumun.invocations(&id).await;
        open.iter().all(|invocation| invocation["status"] == "completed").then_some(())
    })
    .await;
    let events = jumun.event_names(&id).await;
    assert_eq!((count(&events, "delivery_completed"), count(&events, "order_closed")), (1, 1), "{events:?}");
    assert_eq!(jumun.entries(&id).await, ["charge"]);
}

/// The gate can be seen as soon as the delivery is recorded, which is before the workflow hears of it.
#[tokio::test]
async fn a_gate_that_people_see_is_a_gate() {
    let faults = Arc::new(Faults::default());
    let jumun = Jumun::faulted(&faults).await;
    let shop = Shop::open(&jumun).await;
    for _ in 0..5 {
        faults.plan(Step::DeliveryStart, Place::Record, &[Fault::LoseReply; 4]);
        let id = shop.placed().await;
        shop.reaches(&id, "in_delivery").await;
        let (answer, ()) = futures::join!(jumun.command(&id, "complete-delivery"), jumun.cancel_in_engine(&id));
        let (end, entries) = match answer.status {
            200 => ("closed", &["charge"][..]),
            _ => ("cancelled", &["charge", "refund"][..]),
        };
        shop.reaches(&id, end).await;
        assert_eq!(jumun.entries(&id).await, entries);
    }
}

/// The charge went through and was recorded, but every answer was lost until the step gave up: the order stands.
#[tokio::test]
async fn a_charge_that_was_recorded_counts() {
    let faults = Arc::new(Faults::default());
    let jumun = Jumun::faulted(&faults).await;
    let shop = Shop::open(&jumun).await;
    faults.plan(Step::PaymentCharge, Place::Record, &[Fault::LoseReply; 40]);
    let id = shop.placed().await;
    shop.reaches(&id, "in_delivery").await;
    assert_eq!(jumun.entries(&id).await, ["charge"]);
}
