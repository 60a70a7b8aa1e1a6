//! Pizza: the seller starts to bake, a courier brings it, and a coupon follows. R40, R41, R42, R44.

use serde_json::json;
use tests::{Jumun, Shop, until};

use crate::shared;

#[tokio::test]
async fn r40_r41_r44_baked_brought_and_rewarded() {
    let shop = Shop::open_with(shared().await, "pizza").await;
    let id = shop.placed().await;
    until("the seller to be asked", async || {
        let order = shop.jumun.get(&format!("/v1/orders/{id}")).await.ok();
        (order["allowed_commands"] == json!(["start-production", "cancel"])).then_some(())
    })
    .await;
    assert_eq!(shop.jumun.command(&id, "start-production").await.ok()["status"], "in_production");
    until("the courier to be asked", async || {
        let order = shop.jumun.get(&format!("/v1/orders/{id}")).await.ok();
        (order["allowed_commands"] == json!(["start-delivery", "cancel"])).then_some(())
    })
    .await;
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
    until("the seller to be asked", async || {
        let order = shop.jumun.get(&format!("/v1/orders/{id}")).await.ok();
        (order["allowed_commands"][0] == "start-production").then_some(())
    })
    .await;
    let _ = shop.jumun.command(&id, "start-production").await.ok();
    assert_eq!(shop.jumun.command(&id, "cancel").await.ok()["status"], "cancelling");
    shop.reaches(&id, "cancelled").await;
    assert_eq!(shop.jumun.entries(&id).await, ["charge", "refund"]);
}

#[tokio::test]
async fn what_was_delivered_stays_delivered_while_its_coupon_waits() {
    let jumun = Jumun::ephemeral().await;
    let shop = Shop::open_with(&jumun, "pizza").await;
    jumun.sandbox("promotion", "down").await;
    let id = shop.placed().await;
    for command in ["start-production", "start-delivery", "complete-delivery"] {
        until(command, async || {
            let order = jumun.get(&format!("/v1/orders/{id}")).await.ok();
            let takes = order["allowed_commands"].as_array().is_some_and(|takes| takes.contains(&json!(command)));
            takes.then_some(())
        })
        .await;
        let _ = jumun.command(&id, command).await.ok();
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
    let jumun = Jumun::ephemeral().await;
    let shop = Shop::open_with(&jumun, "pizza").await;
    let id = shop.placed().await;
    until("the seller to be asked", async || {
        let order = jumun.get(&format!("/v1/orders/{id}")).await.ok();
        (order["allowed_commands"][0] == "start-production").then_some(())
    })
    .await;
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
