//! One command to many orders: counted first, bounded, and told order by order.

use serde_json::{Value as Json, json};
use workflows::order::Fact;
use workflows::order::command::Verdict;
use workflows::{Lifecycle, OrderId, Step};

use super::workflow::{invocation, open_handover, trouble};
use crate::testing::{Answer, World, locked, order};

async fn bulk(world: &World, body: Json) -> Answer {
    world.post("/v1/orders/bulk", &[], body).await
}

async fn placed(world: &World, count: usize) -> Vec<OrderId> {
    let mut ids = Vec::new();
    for _ in 0..count {
        ids.push(world.placed(order()).await);
    }
    ids
}

fn outcomes(told: [u32; 5]) -> Json {
    let [accepted, carried_out, not_allowed, failed, not_tried] = told;
    json!({
        "accepted": accepted, "carried_out": carried_out, "not_allowed": not_allowed, "failed": failed,
        "not_tried": not_tried,
    })
}

#[tokio::test]
async fn they_are_counted_before_they_are_commanded() {
    let world = World::new().await;
    let ids = placed(&world, 25).await;
    world.state.write(&ids[0], [(Step::OrderCancel, Fact::OrderCancelled)]);
    world.set_verdict(Verdict::Accepted);
    let filter = json!({"merchant_id": "sauce-shop"});
    let counted = bulk(&world, json!({"filter": filter, "command": "cancel", "dry_run": true})).await;
    assert_eq!(counted.status, 200, "{counted:?}");
    let told =
        |answer: &Answer| ["matched", "more", "dry_run", "outcomes", "failures"].map(|part| answer.body[part].clone());
    assert_eq!(told(&counted), [json!(24), json!(false), json!(true), Json::Null, json!([])]);
    let named = counted.body["order_ids"].as_array().expect("ids");
    assert!(named.len() == 20 && !named.contains(&json!(ids[0])), "what has ended is not named: {named:?}");

    let run = |expected: Json| json!({"filter": filter, "command": "cancel", "dry_run": false, "expected": expected});
    for wrong in [23, 25] {
        let refused = bulk(&world, run(json!(wrong))).await;
        refused.is_problem(409, "count-changed");
        assert_eq!(refused.body["matched"], 24);
    }
    let uncounted = bulk(&world, run(Json::Null)).await;
    uncounted.is_problem(400, "invalid-request");
    assert!(uncounted.detail().contains("expected"), "{uncounted:?}");
    let done = bulk(&world, run(json!(24))).await;
    assert_eq!(told(&done), [json!(24), json!(false), json!(false), outcomes([24, 0, 0, 0, 0]), json!([])]);
}

#[tokio::test]
async fn each_order_answers_for_itself() {
    let world = World::new().await;
    let mut lifecycle = json!(Lifecycle::preset("sauce-shop"));
    lifecycle["name"] = json!("cautious");
    lifecycle["cancellation"]["operator"] = json!("paid");
    let merchant = json!({"name": "S", "currency": "KRW", "lifecycle": lifecycle});
    assert_eq!(world.put("/v1/merchants/sauce-shop", merchant).await.status, 200);
    let ids = placed(&world, 3).await;
    // The operator's window is over.
    open_handover(&world, &ids[1]);
    let body = json!({"filter": {"stuck": false}, "command": "cancel", "reason": "r", "dry_run": false, "expected": 3});
    let refused = bulk(&world, body.clone()).await;
    assert_eq!(refused.body["outcomes"], outcomes([0, 0, 1, 2, 0]), "this engine takes no commands yet");
    let failures = refused.body["failures"].as_array().expect("failures");
    let told = failures.iter().find(|failure| failure["order_id"] == json!(ids[1])).expect("told");
    assert_eq!(told["type"], "/problems/command-not-allowed");
    assert!(failures.iter().all(|failure| !failure["detail"].as_str().expect("a text").is_empty()));

    world.set_verdict(Verdict::Accepted);
    let done = bulk(&world, body).await;
    assert_eq!(done.body["outcomes"], outcomes([2, 0, 1, 0, 0]));
}

#[tokio::test]
async fn many_are_retried_as_one_is() {
    let world = World::new().await;
    let ids = placed(&world, 4).await;
    for id in &ids[..3] {
        locked(&world.state.troubles).insert(id.clone(), trouble());
    }
    let body = json!({"filter": {"stuck": true}, "command": "retry", "dry_run": false, "expected": 3});
    let unanswered = bulk(&world, body.clone()).await;
    assert_eq!(unanswered.body["outcomes"], outcomes([0, 0, 0, 3, 0]));
    let of = |id: &OrderId, status| {
        let mut row = invocation(status);
        row["target_service_key"] = json!(id);
        row
    };
    *locked(&world.state.invocations) =
        Some(vec![of(&ids[0], "backing-off"), of(&ids[1], "running"), of(&ids[2], "completed")]);
    let done = bulk(&world, body).await;
    assert_eq!(done.body["outcomes"], outcomes([2, 0, 1, 0, 0]));
    assert_eq!(done.body["failures"][0]["type"], "/problems/nothing-to-retry");
    assert_eq!(world.state.take_sent().len(), 1);
}

#[tokio::test]
async fn a_filter_that_names_no_orders_names_not_all_of_them() {
    let world = World::new().await;
    placed(&world, 1).await;
    let cancel = |filter: Json| json!({"filter": filter, "command": "cancel", "dry_run": true});
    for (body, said) in [
        (cancel(json!({})), "filter"),
        (cancel(json!({"status": null})), "filter"),
        (cancel(json!({"state": "paid"})), "state"),
        (cancel(json!({"stuck": "yes"})), "filter.stuck: expected true or false"),
        (cancel(json!({"failing_step": "payment.steal"})), "filter.failing_step: expected"),
        (json!({"filter": {"stuck": true}, "command": "accept", "dry_run": true}), "one of cancel, retry"),
        (json!({"filter": {"stuck": true}, "command": "cancel"}), "dry_run: missing"),
    ] {
        let refused = bulk(&world, body).await;
        refused.is_problem(400, "invalid-request");
        assert!(refused.detail().contains(said), "{refused:?}");
    }
}
