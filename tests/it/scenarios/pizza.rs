//! Pizza: the seller starts to bake, a courier brings it, and a coupon follows. R40 to R44.

use serde_json::json;
use tests::{Shop, life};

use super::{lent, shared};

#[tokio::test]
async fn r40_r41_r44_baked_brought_and_rewarded() {
    let shop = Shop::open_with(shared().await, "pizza").await;
    let id = shop.placed().await;
    let asked = shop.jumun.takes(&id, "start-production").await;
    assert_eq!(asked["allowed_commands"], json!(["start-production", "cancel"]));
    assert_eq!(shop.jumun.command(&id, "start-production").await.ok()["status"], "in_production");
    let asked = shop.jumun.takes(&id, "start-delivery").await;
    assert_eq!(asked["allowed_commands"], json!(["start-delivery", "cancel"]));
    assert_eq!(shop.jumun.command(&id, "start-delivery").await.ok()["status"], "in_delivery");
    let _ = shop.jumun.command(&id, "complete-delivery").await.ok();
    let closed = shop.reaches(&id, "closed").await;
    assert_eq!((&closed["coupon"]["kind"], &closed["coupon"]["state"]), (&json!("after_delivery"), &json!("issued")));
    let events = shop.jumun.event_names(&id).await;
    assert_eq!(events[events.len() - 3..], ["delivery_completed", "coupon_issued", "order_closed"]);
}

#[tokio::test]
async fn r42_a_cancel_stops_the_production_and_refunds() {
    let shop = Shop::open_with(shared().await, "pizza").await;
    let id = shop.placed().await;
    let _ = shop.jumun.ask(&id, "start-production").await;
    assert_eq!(shop.jumun.command(&id, "cancel").await.ok()["status"], "cancelling");
    shop.reaches(&id, "cancelled").await;
    assert_eq!(shop.jumun.entries(&id).await, ["charge", "refund"]);
}

#[tokio::test]
async fn what_was_delivered_stays_delivered_while_its_coupon_waits() {
    let jumun = lent().await;
    let shop = Shop::open_with(&jumun, "pizza").await;
    jumun.sandbox("promotion", "down").await;
    let id = shop.placed().await;
    for command in ["start-production", "start-delivery", "complete-delivery"] {
        let _ = jumun.ask(&id, command).await;
    }
    assert_eq!(shop.reaches(&id, "delivered").await["coupon"], json!(null));
    let _ = jumun.command(&id, "cancel").await.problem(409, "command-not-allowed");
    jumun.cancel_in_engine(&id).await;
    jumun.sandbox("promotion", "up").await;
    assert_eq!(shop.reaches(&id, "closed").await["coupon"]["state"], "issued");
    assert_eq!(jumun.entries(&id).await, ["charge"]);
}

#[tokio::test]
async fn a_cancel_is_heard_while_the_step_behind_a_passed_gate_is_stuck() {
    let jumun = lent().await;
    let shop = Shop::open_with(&jumun, "pizza").await;
    let id = shop.placed().await;
    jumun.takes(&id, "start-production").await;
    jumun.sandbox("kitchen", "down").await;
    assert_eq!(
        jumun.command(&id, "start-production").await.ok()["status"],
        "paid",
        "accepted, and waits for the kitchen"
    );
    assert_eq!(jumun.command(&id, "cancel").await.ok()["status"], "cancelling");
    jumun.sandbox("kitchen", "up").await;
    shop.reaches(&id, "cancelled").await;
    assert_eq!(jumun.entries(&id).await, ["charge", "refund"]);
}

/// Bakes it, brings it, and waits until everybody was told.
async fn lives(shop: &Shop<'_>, id: &str) {
    for command in ["start-production", "start-delivery", "complete-delivery"] {
        let _ = shop.jumun.ask(id, command).await;
    }
    shop.reaches(id, "closed").await;
}

#[tokio::test]
async fn r43_every_change_is_notified_in_order_and_once() {
    let shop = Shop::open_with(shared().await, "pizza").await;
    let id = shop.placed().await;
    lives(&shop, &id).await;
    assert_eq!(shop.jumun.notifies(&id, "closed").await, life("pizza"));
    let history = shop.jumun.get(&format!("/v1/notifications?order_id={id}")).await.ok();
    let events = shop.jumun.events(&id).await;
    for notification in history["items"].as_array().expect("a list") {
        let number = notification["number"].as_u64().and_then(|number| usize::try_from(number).ok()).expect("a number");
        let event = &events[number - 1];
        assert_eq!((&notification["type"], &notification["at"]), (&event["type"], &event["at"]), "{notification:#?}");
    }

    let cancelled = shop.placed().await;
    let _ = shop.jumun.ask(&cancelled, "cancel").await;
    assert_eq!(shop.jumun.notifies(&cancelled, "cancelled").await, ["placed", "paid", "cancelling", "cancelled"]);
    let declined = tests::expect_order(&shop.place("tok_declined", 1).await.body);
    assert_eq!(shop.jumun.notifies(&declined, "rejected").await, ["placed", "rejected"]);
}

#[tokio::test]
async fn r43_the_history_is_whole_once_notification_is_back() {
    let jumun = lent().await;
    let shop = Shop::open_with(&jumun, "pizza").await;
    jumun.sandbox("notification", "down").await;
    let id = shop.placed().await;
    lives(&shop, &id).await;
    let _ = jumun.get("/v1/notifications").await.problem(503, "upstream-unavailable");
    jumun.sandbox("notification", "up").await;
    assert_eq!(jumun.notifies(&id, "closed").await, life("pizza"));
    jumun.each_fact_once(&id).await;
}
