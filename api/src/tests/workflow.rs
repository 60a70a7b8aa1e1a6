//! What is told of an order's workflow, whether or not the engine tells anything.

use serde_json::{Value as Json, json};
use workflows::order::{Fact, Trouble};
use workflows::{OrderId, Role, Step};

use crate::testing::{World, at, locked, order};

pub(super) fn trouble() -> Trouble {
    let since = at() - chrono::TimeDelta::seconds(40);
    Trouble { step: Step::DeliveryRequest, since, failures: 7, at: at(), why: "delivery is down".to_owned() }
}

/// A row of the engine's, as version 1.7 writes it.
pub(super) fn invocation(status: &str) -> Json {
    json!({
        "id": "inv_1aCffOVkymZ2", "status": status, "pinned_deployment_id": "dp_15d11Tlqc", "retry_count": 29,
        "last_failure": "[500 Internal] unavailable", "last_failure_related_command_name": "delivery.cancel",
        "next_retry_at": "2026-01-31T09:30:01.250Z",
    })
}

async fn workflow(world: &World, id: &OrderId) -> Json {
    let answer = world.get(&format!("/v1/orders/{id}/workflow")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body
}

pub(super) fn open_handover(world: &World, id: &OrderId) {
    let requested = Fact::DeliveryRequested { delivery_id: id.delivery() };
    world.state.write(id, [(Step::DeliveryRequest, requested), (Step::DeliveryStart, Fact::DeliveryStarted)]);
}

#[tokio::test]
async fn the_state_joins_what_the_engine_and_the_order_say() {
    let world = World::new().await;
    let moving = world.placed(order()).await;
    let waiting = world.placed(order()).await;
    open_handover(&world, &waiting);
    let closed = world.placed(order()).await;
    world.state.write(&closed, [(Step::OrderClose, Fact::OrderClosed)]);

    // What the engine says; then what is said of an order that moves, one that waits, and one that is closed; and the
    // same if a step is in trouble.
    let table: &[(Option<Json>, [&str; 3], &str)] = &[
        (Some(json!([invocation("running")])), ["running", "waiting", "running"], "backing_off"),
        (Some(json!([invocation("suspended")])), ["running", "waiting", "running"], "backing_off"),
        (Some(json!([invocation("backing-off")])), ["backing_off"; 3], "backing_off"),
        (Some(json!([invocation("paused")])), ["paused"; 3], "paused"),
        (Some(json!([invocation("completed")])), ["completed"; 3], "completed"),
        (Some(json!([])), ["unknown", "unknown", "completed"], "backing_off"),
        (None, ["unknown", "waiting", "completed"], "backing_off"),
    ];
    for (rows, states, in_trouble) in table {
        *locked(&world.state.invocations) = rows.as_ref().map(|rows| rows.as_array().cloned().expect("rows"));
        for (id, state) in [&moving, &waiting, &closed].into_iter().zip(states) {
            assert_eq!(workflow(&world, id).await["state"], *state, "{rows:?}");
            locked(&world.state.troubles).insert(id.clone(), trouble());
            assert_eq!(workflow(&world, id).await["state"], *in_trouble, "{rows:?}");
            locked(&world.state.troubles).clear();
        }
    }
}

#[tokio::test]
async fn a_failing_step_is_named_with_what_is_known_of_it() {
    let world = World::new().await;
    let id = world.placed(order()).await;
    let said = |workflow: &Json| {
        ["step", "attempt", "last_failure", "last_failure_at", "next_try_at"].map(|member| workflow[member].clone())
    };
    *locked(&world.state.invocations) = Some(vec![invocation("backing-off")]);
    let next = "2026-01-31T09:30:01.250Z";
    let engines = [json!("delivery.cancel"), json!(29), json!("[500 Internal] unavailable"), Json::Null, json!(next)];
    assert_eq!(said(&workflow(&world, &id).await), engines, "the engine knows");

    locked(&world.state.troubles).insert(id.clone(), trouble());
    let mut ours =
        [json!("delivery.request"), json!(7), json!("delivery is down"), json!("2026-01-31T09:30:00Z"), json!(next)];
    let whole = workflow(&world, &id).await;
    assert_eq!(said(&whole), ours, "we know better");
    assert_eq!((&whole["order_id"], &whole["status"], &whole["gate"]), (&json!(id), &json!("paid"), &Json::Null));
    let engine = &whole["engine"];
    assert_eq!((&engine["status"], &engine["deployment_id"]), (&json!("backing-off"), &json!("dp_15d11Tlqc")));
    let link = engine["link"].as_str().expect("a link");
    assert!(link.starts_with("http://127.0.0.1:") && link.ends_with("/ui/invocations/inv_1aCffOVkymZ2"), "{link}");

    *locked(&world.state.invocations) = None;
    ours[4] = Json::Null;
    let alone = workflow(&world, &id).await;
    assert_eq!((said(&alone), &alone["engine"]), (ours.clone(), &Json::Null), "the engine fails");
    let unreachable = world.without_engine();
    assert_eq!(said(&workflow(&unreachable, &id).await), ours, "the engine is gone");

    // What went wrong before is over.
    locked(&unreachable.state.troubles).clear();
    assert_eq!(said(&workflow(&unreachable, &id).await), [const { Json::Null }; 5]);
    unreachable.get(&format!("/v1/orders/ord_{:032}/workflow", 0)).await.is_problem(404, "not-found");
}

#[tokio::test]
async fn steps_are_told_with_what_became_of_them() {
    let world = World::new().await;
    let id = world.placed(order()).await;
    open_handover(&world, &id);
    let waiting = workflow(&world, &id).await;
    assert_eq!((&waiting["gate"], &waiting["deadline"]), (&json!("handover"), &Json::Null));
    let states = |workflow: &Json| {
        let steps = workflow["steps"].as_array().expect("steps").iter();
        let told =
            steps.map(|step| format!("{} {} {}", step["step"], step["state"], step["undone_by"]).replace('"', ""));
        told.collect::<Vec<_>>()
    };
    assert_eq!(
        states(&waiting),
        ["order.place done null", "delivery.request done null", "delivery.start done null"],
        "the engine of this world records everything in one step"
    );
    let first = json!({
        "step": "delivery.request", "context": "delivery", "state": "done", "at": "2026-01-31T09:30:00Z",
        "undone_at": null, "undone_by": null,
    });
    assert_eq!((&waiting["steps"][1], &waiting["steps"][0]["context"]), (&first, &Json::Null));

    let cancellation = Fact::CancellationRequested { by: Some(Role::Customer), reason: None };
    world.state.write(
        &id,
        [
            (Step::KitchenOffer, Fact::OrderOffered),
            (Step::OrderRequestCancellation, cancellation),
            (Step::DeliveryCancel, Fact::DeliveryCancelled),
        ],
    );
    let cancelling = workflow(&world, &id).await;
    assert_eq!(
        states(&cancelling),
        [
            "order.place done null",
            "delivery.request undone delivery.cancel",
            "delivery.start undone delivery.cancel",
            "kitchen.offer done null",
            "order.request_cancellation done null",
            "delivery.cancel done null",
        ]
    );
    assert_eq!(cancelling["steps"][1]["undone_at"], "2026-01-31T09:30:00Z");

    world.state.write(&id, [(Step::OrderCancel, Fact::OrderCancelled)]);
    let cancelled = workflow(&world, &id).await;
    let offer = &cancelled["steps"][3];
    // Its undo has nothing to record.
    assert_eq!((&offer["state"], &offer["undone_by"]), (&json!("undone"), &json!("kitchen.withdraw")));
    assert!(offer["undone_at"].is_null());
}

#[tokio::test]
async fn a_refusal_is_no_step_that_was_done() {
    let world = World::new().await;
    let id = world.placed(order()).await;
    let declined = Fact::PaymentDeclined { payment_id: id.payment(), reason: "limit".to_owned() };
    let refused = [
        (Step::StockReserve, Fact::StockReserved),
        (Step::PaymentCharge, declined),
        (Step::StockRelease, Fact::StockReleased),
        (Step::OrderCancel, Fact::OrderCancelled),
    ];
    world.state.write(&id, refused);
    let steps = workflow(&world, &id).await["steps"].clone();
    let states: Vec<_> = (1..4).map(|n| steps[n]["state"].as_str().expect("a state").to_owned()).collect();
    assert_eq!(states, ["undone", "refused", "done"]);
    assert_eq!((&steps[1]["undone_by"], &steps[2]["undone_by"]), (&json!("stock.release"), &Json::Null));
}
