//! The food delivery: the shop accepts or rejects, cooks, and hands over to a courier. R20, R21, R22, R23, R25.

use serde_json::{Value, json};
use tests::{Shop, until, variant};

use super::{lent, shared};

async fn command(shop: &Shop<'_>, id: &str, command: &str) -> Value {
    shop.jumun.command(id, command).await.ok()
}

async fn refunded(shop: &Shop<'_>, id: &str) {
    until("the refund", async || (shop.jumun.entries(id).await == ["charge", "refund"]).then_some(())).await;
}

#[tokio::test]
async fn r20_an_unpaid_order_never_reaches_the_shop() {
    let shop = Shop::open_with(shared().await, "food-delivery").await;
    let problem = shop.place("tok_declined", 1).await.problem(402, "payment-declined");
    let events = shop.jumun.event_names(&tests::expect_order(&problem)).await;
    assert_eq!(events, ["order_placed", "payment_declined", "order_rejected"]);
}

#[tokio::test]
async fn r21_r23_the_shop_accepts_cooks_and_sends_it_out() {
    let shop = Shop::open_with(shared().await, "food-delivery").await;
    let id = shop.placed().await;
    let offered = shop.jumun.takes(&id, "accept").await;
    assert!(offered["deadline"].is_string());
    assert_eq!(
        (&offered["status"], &offered["allowed_commands"]),
        (&json!("paid"), &json!(["accept", "reject", "cancel"]))
    );

    for (asked, status, next) in [
        ("accept", "accepted", json!(["start-production", "cancel"])),
        ("start-production", "in_production", json!(["finish-production", "cancel"])),
    ] {
        let order = command(&shop, &id, asked).await;
        assert_eq!((&order["status"], &order["allowed_commands"]), (&json!(status), &next), "{asked}");
        assert!(order["deadline"].is_null());
    }
    assert_eq!(command(&shop, &id, "finish-production").await["status"], "ready");
    assert_eq!(shop.jumun.takes(&id, "start-delivery").await["allowed_commands"], json!(["start-delivery"]));
    assert_eq!(command(&shop, &id, "start-delivery").await["status"], "in_delivery");
    assert_eq!(command(&shop, &id, "complete-delivery").await["status"], "closed");
    for again in ["accept", "start-production", "finish-production", "start-delivery", "complete-delivery"] {
        assert_eq!(command(&shop, &id, again).await["status"], "closed", "{again} again");
    }
    assert_eq!(
        shop.jumun.event_names(&id).await,
        [
            "order_placed",
            "payment_approved",
            "order_paid",
            "order_offered",
            "order_accepted",
            "production_started",
            "production_finished",
            "delivery_requested",
            "delivery_started",
            "delivery_completed",
            "order_closed"
        ]
    );
    assert_eq!(shop.jumun.entries(&id).await, ["charge"]);
}

#[tokio::test]
async fn r21_a_rejected_order_is_refunded() {
    let shop = Shop::open_with(shared().await, "food-delivery").await;
    let body = shop.request("tok_ok", 1);
    let place = || {
        let request = shop.jumun.request(reqwest::Method::POST, "/v1/orders");
        shop.jumun.send(request.header("idempotency-key", format!("reject-{}", shop.merchant_id)).json(&body))
    };
    let placed = place().await;
    let id = tests::expect_order(&placed.body);
    shop.jumun.sees(&id, "order_offered").await;
    let reason = json!({ "reason": "out of rice" });
    let rejected = shop.jumun.post(&format!("/v1/orders/{id}/reject"), &reason).await.ok();
    assert_eq!(rejected["id"], id);
    let rejected = shop.reaches(&id, "rejected").await;
    assert_eq!(rejected["reason"], "rejected by the merchant: out of rice");
    assert_eq!(rejected["payment"]["state"], "refunded");
    assert_eq!(command(&shop, &id, "reject").await["status"], "rejected", "asked again");
    let _ = shop.jumun.command(&id, "accept").await.problem(409, "command-not-allowed");
    assert_eq!(shop.jumun.entries(&id).await, ["charge", "refund"]);
    let again = place().await;
    assert_eq!((again.status, again.body), (placed.status, placed.body), "the answer does not change with the order");
}

#[tokio::test]
async fn r22_the_customer_cancels_until_cooking_starts() {
    let shop = Shop::open_with(shared().await, "food-delivery").await;
    let [early, late] = [shop.placed().await, shop.placed().await];
    for id in [&early, &late] {
        shop.jumun.sees(id, "order_offered").await;
        assert_eq!(command(&shop, id, "accept").await["status"], "accepted");
    }
    let _ = command(&shop, &early, "cancel").await;
    shop.reaches(&early, "cancelled").await;
    refunded(&shop, &early).await;

    assert_eq!(command(&shop, &late, "start-production").await["status"], "in_production");
    let _ = shop.jumun.command(&late, "cancel").await.problem(409, "command-not-allowed");
    // An operator may still: what was begun is stopped.
    shop.jumun.cancel_in_engine(&late).await;
    shop.reaches(&late, "cancelled").await;
    refunded(&shop, &late).await;
}

#[tokio::test]
async fn r25_orders_are_taken_while_the_shop_is_down() {
    let jumun = lent().await;
    let shop = Shop::open_with(&jumun, "food-delivery").await;
    jumun.sandbox("kitchen", "down").await;
    let id = shop.placed().await;
    assert_eq!(jumun.order(&id).await["status"], "paid");
    jumun.sandbox("kitchen", "up").await;
    jumun.sees(&id, "order_offered").await;
}

#[tokio::test]
async fn a_cancel_that_comes_after_a_rejection_is_told_so_at_once() {
    let jumun = lent().await;
    let shop = Shop::open_with(&jumun, "food-delivery").await;
    let id = shop.placed().await;
    jumun.sees(&id, "order_offered").await;
    jumun.sandbox("payment", "down").await;
    let _ = jumun.command(&id, "reject").await.ok();
    let _ = jumun.command(&id, "cancel").await.problem(409, "command-not-allowed");
    // What was decided cannot be read of the order yet, and is told all the same.
    let _ = jumun.command(&id, "accept").await.problem(409, "command-not-allowed");
    assert_eq!(jumun.command(&id, "reject").await.ok()["status"], "paid");
    jumun.sandbox("payment", "up").await;
    shop.reaches(&id, "rejected").await;
    refunded(&shop, &id).await;
}

#[tokio::test]
async fn an_offer_that_nobody_answers_is_rejected_and_refunded() {
    let window = |lifecycle: &mut Value| lifecycle["acceptance"]["window"] = json!("1s");
    let shop = Shop::open_with(shared().await, variant("food-delivery", window)).await;
    let id = shop.placed().await;
    assert_eq!(shop.reaches(&id, "rejected").await["reason"], "not accepted in time");
    refunded(&shop, &id).await;
    shop.jumun.settles(&id).await;
    let _ = shop.jumun.command(&id, "accept").await.problem(409, "command-not-allowed");
}

#[tokio::test]
async fn an_offer_that_nobody_answers_is_accepted_where_the_shop_wants_it_so() {
    let lifecycle = variant("food-delivery", |lifecycle| {
        lifecycle["acceptance"] = json!({ "window": "1s", "on_timeout": "accept" });
    });
    let shop = Shop::open_with(shared().await, lifecycle).await;
    let id = shop.placed().await;
    let accepted = shop.reaches(&id, "accepted").await;
    assert_eq!(accepted["allowed_commands"], json!(["start-production", "cancel"]));
}
