//! Commands that pass a gate by its awakeable, and what is asked where their effect does not say it all.

use std::sync::atomic::Ordering;

use poem::http::Method;
use serde_json::{Value, json};
use workflows::order::command::Verdict;
use workflows::order::{Fact, Reach};
use workflows::{OrderId, Step};

use crate::testing::{Answer, World, locked, order, request};

/// A paid order, of which nothing is made yet, and whose gate promises decide.
async fn paid(world: &World) -> OrderId {
    locked(&world.state.reach).awakeable = Some(String::new());
    let merchant = json!({"name": "S", "currency": "KRW", "lifecycle": "pizza"});
    assert_eq!(world.put("/v1/merchants/sauce-shop", merchant).await.status, 200);
    world.placed(order()).await
}

async fn start(world: &World, id: &OrderId) -> Answer {
    world.send(request(Method::POST, &format!("/v1/orders/{id}/start-production")).finish()).await
}

/// Its awakeable was resolved, once, by the merchant.
fn assert_resolved(world: &World, id: &OrderId) {
    let [(path, body)] = world.state.take_sent().try_into().expect("one call");
    assert_eq!(path, format!("/restate/awakeables/{id}/resolve"));
    let by = json!({ "role": "merchant", "subject": "kim" });
    assert_eq!(body, json!({ "by": { "command": "start-production", "by": by, "reason": null } }));
}

#[tokio::test]
async fn where_the_effect_is_heard_no_verdict_is_asked_for() {
    let world = World::new().await;
    let id = paid(&world).await;
    // This engine gives no verdicts.
    *locked(&world.state.meanwhile) = vec![(Step::KitchenStart, Fact::ProductionStarted)];
    let answer = start(&world, &id).await;
    assert_eq!((answer.status.as_u16(), &answer.body["status"]), (200, &json!("in_production")), "{answer:?}");
    assert_eq!(answer.body["version"], json!(world.state.last_of(&id)));
    assert_resolved(&world, &id);
}

#[tokio::test]
async fn where_something_else_is_heard_the_verdict_counts() {
    let world = World::new().await;
    let id = paid(&world).await;
    let cancel = || vec![(Step::OrderRequestCancellation, Fact::CancellationRequested { by: None, reason: None })];
    *locked(&world.state.meanwhile) = cancel();
    start(&world, &id).await.is_problem(503, "try-again-later");
    assert_resolved(&world, &id);

    let id = paid(&world).await;
    *locked(&world.state.meanwhile) = cancel();
    world.set_verdict(Verdict::NotAllowed);
    let refused = start(&world, &id).await;
    refused.is_problem(409, "command-not-allowed");
    assert_eq!(refused.body["status"], "cancelling");
}

#[tokio::test]
async fn where_nothing_is_heard_the_verdict_counts() {
    let world = World::new().await;
    let id = paid(&world).await;
    world.set_verdict(Verdict::Accepted);
    let answer = start(&world, &id).await;
    assert_eq!((answer.status.as_u16(), &answer.body["status"]), (200, &json!("paid")), "{answer:?}");
    assert_resolved(&world, &id);
}

/// The same of an order whose run decides.
async fn decides(world: &World) -> OrderId {
    let id = paid(world).await;
    *locked(&world.state.reach) = Reach { awakeable: Some(String::new()), run: Some("inv_1".to_owned()) };
    id
}

/// As the journal has it.
fn brought(index: u32, command: &str, by: &str) -> Value {
    let passed = json!({ "by": { "command": command, "by": { "role": "merchant", "subject": by }, "reason": null } });
    let result = json!({ "Success": passed.to_string().as_bytes() });
    let entry = json!({ "Notification": { "Signal": { "id": { "Index": index }, "result": result } } });
    json!({ "entry_json": entry.to_string(), "appended_at": "2026-11-24T01:38:39.404Z" })
}

#[tokio::test]
async fn where_the_run_decides_no_verdict_is_asked_for() {
    let world = World::new().await;
    // One that would be wrong.
    world.set_verdict(Verdict::Accepted);
    let id = decides(&world).await;
    *locked(&world.state.meanwhile) = vec![(Step::KitchenStart, Fact::ProductionStarted)];
    let answer = start(&world, &id).await;
    assert_eq!((answer.status.as_u16(), &answer.body["status"]), (200, &json!("in_production")), "{answer:?}");
    assert_resolved(&world, &id);

    let id = decides(&world).await;
    *locked(&world.state.meanwhile) =
        vec![(Step::OrderRequestCancellation, Fact::CancellationRequested { by: None, reason: None })];
    let refused = start(&world, &id).await;
    refused.is_problem(409, "command-not-allowed");
    assert_eq!(refused.body["status"], "cancelling");
    assert_resolved(&world, &id);

    let id = decides(&world).await;
    start(&world, &id).await.is_problem(503, "try-again-later");
    assert_resolved(&world, &id);
}

#[tokio::test]
async fn where_the_run_is_not_heard_its_journal_says_who_is_first() {
    let world = World::new().await;
    // Whichever merchant says it first.
    for by in ["kim", "lee"] {
        let id = decides(&world).await;
        *locked(&world.state.signals) = vec![brought(17, "start-production", by)];
        let answer = start(&world, &id).await;
        assert_eq!((answer.status.as_u16(), &answer.body["status"]), (200, &json!("paid")), "{answer:?}");
        assert_resolved(&world, &id);
    }
    // A cancel may be before it, and what was brought to another gate says nothing of this one.
    let cancelled = vec![brought(1, "cancel", "kim"), brought(17, "start-production", "kim")];
    for signals in [cancelled, vec![brought(17, "accept", "kim")]] {
        let id = decides(&world).await;
        *locked(&world.state.signals) = signals;
        start(&world, &id).await.is_problem(503, "try-again-later");
        assert_resolved(&world, &id);
    }
}

#[tokio::test]
async fn an_engine_that_starts_is_asked_again() {
    let world = World::new().await;
    let id = decides(&world).await;
    world.state.unanswered.store(2, Ordering::Relaxed);
    *locked(&world.state.meanwhile) = vec![(Step::KitchenStart, Fact::ProductionStarted)];
    let answer = start(&world, &id).await;
    assert_eq!((answer.status.as_u16(), &answer.body["status"]), (200, &json!("in_production")), "{answer:?}");
    assert_eq!(world.state.take_sent().len(), 3);

    let id = decides(&world).await;
    world.state.unanswered.store(usize::MAX, Ordering::Relaxed);
    start(&world, &id).await.is_problem(503, "try-again-later");
}
