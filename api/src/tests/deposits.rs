//! Deposits that are confirmed too late: refused, and given back.

use poem::http::Method;
use serde_json::{Value as Json, json};
use workflows::order::command::Verdict;
use workflows::order::{Fact, OrderBook, due};
use workflows::{OrderId, Role, Step};

use crate::testing::{Answer, Fate, World, locked, order, request};

/// The same order, of a merchant who is paid by bank transfer.
async fn deposit_order(world: &World) -> OrderId {
    let merchant = json!({"name": "S", "currency": "KRW", "lifecycle": "shopping-mall"});
    assert_eq!(world.put("/v1/merchants/sauce-shop", merchant).await.status, 200);
    let mut order = order();
    order["payment"] = json!({"method": "deposit"});
    world.placed(order).await
}

async fn confirm(world: &World, id: &OrderId) -> Answer {
    world.send(request(Method::POST, &format!("/v1/orders/{id}/confirm-deposit")).finish()).await
}

/// It was refused, and exactly its deposit goes back.
async fn assert_given_back(world: &World, id: &OrderId, refused: &Answer) {
    refused.is_problem(409, "command-not-allowed");
    assert!(refused.detail().contains("too late") && refused.detail().contains("given back"), "{refused:?}");
    assert_eq!((&refused.body["order_id"], &refused.body["allowed_commands"]), (&json!(id), &json!([])));
    let [(path, body)] = world.state.take_sent().try_into().expect("one call");
    assert_eq!(path, format!("/restate/send/late_deposit/{id}/give_back"));
    let order = world.state.order(id).await.expect("up").expect("an order");
    assert_eq!(body, serde_json::to_value(due(&order)).expect("serialises"));
}

fn expired() -> (Step, Fact) {
    (Step::OrderExpire, Fact::DepositExpired)
}

#[tokio::test]
async fn a_deposit_that_is_expected_no_more_is_given_back() {
    let world = World::new().await;
    let id = deposit_order(&world).await;
    world.state.write(&id, [expired()]);
    // It is still being cancelled, and then it is.
    assert_given_back(&world, &id, &confirm(&world, &id).await).await;
    world.state.write(&id, [(Step::OrderCancel, Fact::OrderCancelled)]);
    let refused = confirm(&world, &id).await;
    assert_eq!(refused.body["status"], "cancelled");
    assert_given_back(&world, &id, &refused).await;

    let cancelled = deposit_order(&world).await;
    let request = Fact::CancellationRequested { by: Some(Role::Customer), reason: None };
    world.state.write(&cancelled, [(Step::OrderRequestCancellation, request)]);
    assert_given_back(&world, &cancelled, &confirm(&world, &cancelled).await).await;
}

#[tokio::test]
async fn a_deposit_that_lost_at_its_gate_is_given_back() {
    let world = World::new().await;
    let id = deposit_order(&world).await;
    // The gate is shut, which cannot be read yet.
    world.set_verdict(Verdict::NotAllowed);
    assert_given_back(&world, &id, &confirm(&world, &id).await).await;
    *locked(&world.state.meanwhile) = vec![expired()];
    let refused = confirm(&world, &id).await;
    assert_eq!(refused.body["status"], "cancelling");
    assert_given_back(&world, &id, &refused).await;
}

#[tokio::test]
async fn a_deposit_that_a_cancel_overtook_is_given_back() {
    let world = World::new().await;
    let id = deposit_order(&world).await;
    // It passed the gate, and the order was cancelled before it could take effect.
    world.set_verdict(Verdict::Accepted);
    let request = Fact::CancellationRequested { by: Some(Role::Operator), reason: None };
    *locked(&world.state.meanwhile) = vec![(Step::OrderRequestCancellation, request)];
    assert_given_back(&world, &id, &confirm(&world, &id).await).await;
}

#[tokio::test]
async fn a_late_deposit_is_not_refused_before_it_is_certain_to_go_back() {
    let world = World::new().await;
    let id = deposit_order(&world).await;
    world.state.write(&id, [expired()]);
    world.set_fate(Fate::Fails);
    confirm(&world, &id).await.is_problem(503, "try-again-later");
    let unreachable = world.without_engine();
    confirm(&unreachable, &id).await.is_problem(503, "try-again-later");
}

#[tokio::test]
async fn what_was_confirmed_or_is_still_expected_is_not_given_back() {
    let world = World::new().await;
    let confirmed = |id: &OrderId| (Step::PaymentConfirmDeposit, Fact::DepositConfirmed { payment_id: id.payment() });
    let id = deposit_order(&world).await;
    world.set_verdict(Verdict::Accepted);
    assert_eq!(confirm(&world, &id).await.status, 200);
    world.state.write(&id, [confirmed(&id), (Step::PaymentConfirmDeposit, Fact::OrderPaid)]);
    assert_eq!(confirm(&world, &id).await.body["status"], "paid");
    // Confirmed in time, and cancelled afterwards: its money goes back with everything else.
    let request = Fact::CancellationRequested { by: None, reason: None };
    world.state.write(&id, [(Step::OrderRequestCancellation, request), (Step::OrderCancel, Fact::OrderCancelled)]);
    assert_eq!(confirm(&world, &id).await.body["status"], "cancelled");

    // Neither another command of a deposit order, nor the same of one that is paid by card.
    let other = deposit_order(&world).await;
    world.state.write(&other, [expired()]);
    for command in ["accept", "cancel", "confirm-receipt"] {
        let refused = world.send(post(&other, command)).await;
        refused.is_problem(409, "command-not-allowed");
        assert!(!refused.detail().contains("given back"), "{refused:?}");
    }
    let merchant = json!({"name": "S", "currency": "KRW", "lifecycle": "sauce-shop"});
    world.put("/v1/merchants/sauce-shop", merchant).await;
    let card = world.placed(order()).await;
    world.state.write(&card, [(Step::OrderCancel, Fact::OrderCancelled)]);
    confirm(&world, &card).await.is_problem(409, "command-not-allowed");
    assert_eq!(world.state.take_sent(), Vec::<(String, Json)>::new());
}

fn post(id: &OrderId, command: &str) -> poem::Request {
    request(Method::POST, &format!("/v1/orders/{id}/{command}")).finish()
}
