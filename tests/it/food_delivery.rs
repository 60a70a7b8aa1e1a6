//! The food delivery: the shop accepts or rejects, cooks, and hands over to a courier. R20, R21, R22, R23, R25.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tests::{Faults, Jumun, Shop, until};
use workflows::Lifecycle;
use workflows::lifecycle::{AcceptanceTimeout, Window};

use crate::shared;

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
    let offered = until("the offer", async || {
        let order = shop.jumun.get(&format!("/v1/orders/{id}")).await.ok();
        (!order["deadline"].is_null()).then_some(order)
    })
    .await;
    assert_eq!(
        (&offered["status"], &offered["allowed_commands"]),
        (&json!("paid"), &json!(["accept", "reject", "cancel"]))
    );

    for (asked, status, next) in [
        ("accept", "accepted", json!(["start-production", "cancel"])),
        ("start-production", "in_production", json!(["finish-production"])),
    ] {
        let order = command(&shop, &id, asked).await;
        assert_eq!((&order["status"], &order["allowed_commands"]), (&json!(status), &next), "{asked}");
        assert!(order["deadline"].is_null());
    }
    assert_eq!(command(&shop, &id, "finish-production").await["status"], "ready");
    until("the courier to be called", async || {
        let order = shop.jumun.get(&format!("/v1/orders/{id}")).await.ok();
        (order["allowed_commands"] == json!(["start-delivery"])).then_some(())
    })
    .await;
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
    until("the offer", async || shop.jumun.event_names(&id).await.contains(&"order_offered".to_owned()).then_some(()))
        .await;
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
        until("the offer", async || {
            shop.jumun.event_names(id).await.contains(&"order_offered".to_owned()).then_some(())
        })
        .await;
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
    let jumun = Jumun::ephemeral().await;
    let shop = Shop::open_with(&jumun, "food-delivery").await;
    jumun.sandbox("kitchen", "down").await;
    let id = shop.placed().await;
    assert_eq!(jumun.get(&format!("/v1/orders/{id}")).await.ok()["status"], "paid");
    jumun.sandbox("kitchen", "up").await;
    until("the offer", async || jumun.event_names(&id).await.contains(&"order_offered".to_owned()).then_some(())).await;
}

#[tokio::test]
async fn a_cancel_that_comes_after_a_rejection_is_told_so_at_once() {
    let jumun = Jumun::ephemeral().await;
    let shop = Shop::open_with(&jumun, "food-delivery").await;
    let id = shop.placed().await;
    until("the offer", async || jumun.event_names(&id).await.contains(&"order_offered".to_owned()).then_some(())).await;
    jumun.sandbox("payment", "down").await;
    let _ = jumun.command(&id, "reject").await.ok();
    let _ = jumun.command(&id, "cancel").await.problem(409, "command-not-allowed");
    jumun.sandbox("payment", "up").await;
    shop.reaches(&id, "rejected").await;
    refunded(&shop, &id).await;
}

/// The preset with another window.
fn within(window: Duration, on_timeout: AcceptanceTimeout) -> Lifecycle {
    let mut lifecycle = Lifecycle::preset("food-delivery").expect("exists").clone();
    let acceptance = lifecycle.acceptance.as_mut().expect("accepts");
    (acceptance.window, acceptance.on_timeout) = (Window(window), on_timeout);
    lifecycle
}

#[tokio::test]
async fn an_offer_that_nobody_answers_ends_by_itself() {
    let jumun = Jumun::faulted(&Arc::new(Faults::default())).await;
    let shop = Shop::open(&jumun).await;
    shop.live_by(within(Duration::from_secs(1), AcceptanceTimeout::Reject)).await;
    let id = shop.placed().await;
    assert_eq!(shop.reaches(&id, "rejected").await["reason"], "not accepted in time");
    refunded(&shop, &id).await;
    let _ = jumun.command(&id, "accept").await.problem(409, "command-not-allowed");

    shop.live_by(within(Duration::from_secs(1), AcceptanceTimeout::Accept)).await;
    let id = shop.placed().await;
    let accepted = shop.reaches(&id, "accepted").await;
    assert_eq!(accepted["allowed_commands"], json!(["start-production", "cancel"]));
}

#[tokio::test]
async fn of_those_who_compete_for_an_offer_exactly_one_wins() {
    let jumun = Jumun::faulted(&Arc::new(Faults::default())).await;
    let shop = Shop::open(&jumun).await;
    shop.live_by(within(Duration::from_millis(600), AcceptanceTimeout::Reject)).await;
    for round in 0..30 {
        let id = shop.placed().await;
        until("the offer", async || jumun.event_names(&id).await.contains(&"order_offered".to_owned()).then_some(()))
            .await;
        // In every third round both come about when the time is over.
        if round % 3 == 2 {
            let offered = jumun.get(&format!("/v1/orders/{id}")).await.ok();
            let deadline: chrono::DateTime<chrono::Utc> =
                offered["deadline"].as_str().and_then(|at| at.parse().ok()).unwrap_or_default();
            until("the deadline", async || (chrono::Utc::now() + Duration::from_millis(10) >= deadline).then_some(()))
                .await;
        }
        let other = if round % 2 == 0 { "reject" } else { "cancel" };
        let (accepted, opposed) = futures::join!(jumun.command(&id, "accept"), jumun.command(&id, other));
        assert!(!(accepted.status == 200 && opposed.status == 200 && other == "reject"), "both won");
        let end = until("an end", async || {
            let order = jumun.get(&format!("/v1/orders/{id}")).await.ok();
            let status = order["status"].as_str().expect("a status").to_owned();
            matches!(status.as_str(), "accepted" | "rejected" | "cancelled").then_some(status)
        })
        .await;
        match (accepted.status, opposed.status, other) {
            // A customer may cancel an accepted order, so both can have their way, one after the other.
            (200, 200, "cancel") => drop(shop.reaches(&id, "cancelled").await),
            (200, _, _) => assert_eq!(end, "accepted", "round {round}"),
            (_, 200, "reject") => assert_eq!(end, "rejected", "round {round}"),
            (_, 200, _) => assert_eq!(end, "cancelled", "round {round}"),
            _ => assert_eq!(end, "rejected", "round {round}: the deadline was first"),
        }
        if end != "accepted" {
            refunded(&shop, &id).await;
        }
    }
}
