//! Street 12: the coupon comes before the delivery, and is cancelled before it. R30 to R33.

use serde_json::json;
use tests::{Shop, until};

use super::{lent, shared};

#[tokio::test]
async fn r30_r31_the_coupon_is_issued_before_the_delivery_departs() {
    let shop = Shop::open_with(shared().await, "street12").await;
    let id = shop.placed().await;
    let order = shop.reaches(&id, "in_delivery").await;
    assert_eq!((&order["coupon"]["kind"], &order["coupon"]["state"]), (&json!("before_delivery"), &json!("issued")));
    assert_eq!(order["allowed_commands"], json!(["complete-delivery", "cancel"]));
    let events = shop.jumun.event_names(&id).await;
    let at = |name: &str| events.iter().position(|event| event == name).expect("is there");
    assert!(at("coupon_issued") < at("delivery_requested") && at("delivery_requested") < at("delivery_started"));
    let coupons = shop.jumun.get(&format!("/v1/coupons?order_id={id}")).await.ok();
    assert_eq!(coupons["items"][0]["id"], order["coupon"]["id"]);
    assert_eq!(shop.jumun.command(&id, "complete-delivery").await.ok()["status"], "closed");
}

const UNDOING: [&str; 6] = [
    "cancellation_requested",
    "payment_cancelled",
    "coupon_cancelled",
    "delivery_cancelled",
    "stock_released",
    "order_cancelled",
];

#[tokio::test]
async fn r32_r33_a_cancel_undoes_payment_coupon_delivery_and_stock_in_that_order() {
    let shop = Shop::open_with(shared().await, "street12").await;
    let id = shop.placed().await;
    assert_eq!(shop.reaches(&id, "in_delivery").await["payment"]["state"], "approved");
    assert_eq!(shop.shelf("chili").await, (99, 0, 99));
    let _ = shop.jumun.command(&id, "cancel").await.ok();
    let cancelled = shop.reaches(&id, "cancelled").await;
    let states = ["payment", "coupon", "delivery"].map(|part| cancelled[part]["state"].as_str());
    assert_eq!(states, [Some("refunded"), Some("cancelled"), Some("cancelled")]);
    let events = shop.jumun.event_names(&id).await;
    assert_eq!(events[events.len() - 6..], UNDOING);
    assert_eq!(shop.shelf("chili").await, (100, 0, 100));
    shop.jumun.settles(&id).await;
    shop.jumun.each_fact_once(&id).await;
}

#[tokio::test]
async fn r32_the_order_of_undoing_holds_while_promotion_is_down_in_the_middle() {
    let jumun = lent().await;
    let shop = Shop::open_with(&jumun, "street12").await;
    let id = shop.placed().await;
    shop.reaches(&id, "in_delivery").await;
    // Promotion is down in the middle: what comes after the coupon waits for it.
    jumun.sandbox("promotion", "down").await;
    assert_eq!(jumun.command(&id, "cancel").await.ok()["status"], "cancelling");
    until("the refund", async || (jumun.entries(&id).await == ["charge", "refund"]).then_some(())).await;
    let deliveries = jumun.get(&format!("/v1/deliveries?order_id={id}")).await.ok();
    assert_eq!(deliveries["items"][0]["state"], "in_delivery");
    assert_eq!(jumun.get("/v1/coupons").await.problem(503, "upstream-unavailable")["context"], "promotion");

    jumun.sandbox("promotion", "up").await;
    let cancelled = shop.reaches(&id, "cancelled").await;
    assert_eq!(
        (&cancelled["coupon"]["state"], &cancelled["delivery"]["state"]),
        (&json!("cancelled"), &json!("cancelled"))
    );
    let events = jumun.event_names(&id).await;
    assert_eq!(events[events.len() - 6..], UNDOING);
    assert_eq!(shop.shelf("chili").await, (100, 0, 100));
}
