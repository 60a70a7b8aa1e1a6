//! A context is down or slow: R2, R3, R4. Each test has the system to itself, since a sandbox mode is for all.

use std::time::{Duration, Instant};

use serde_json::json;
use tests::{Shop, expect_order, until};

use super::lent;

#[tokio::test]
async fn payment_down_refuses_in_time_and_holds_nothing() {
    let jumun = lent().await;
    let shop = Shop::open(&jumun).await;
    jumun.sandbox("payment", "down").await;
    let body = shop.request("tok_ok", 2);
    let place = || {
        let request = jumun.request(reqwest::Method::POST, "/v1/orders").header("idempotency-key", &shop.merchant_id);
        jumun.send(request.json(&body))
    };
    let start = Instant::now();
    let refused = place().await;
    assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
    assert!(!refused.header("retry-after").is_empty());
    let _ = refused.problem(503, "try-again-later");
    assert_eq!(shop.shelf("chili").await, (100, 0, 100));
    let orders = jumun.get(&format!("/v1/orders?merchant_id={}", shop.merchant_id)).await.ok();
    assert_eq!(orders["items"].as_array().map(Vec::len), Some(1));
    assert_eq!(orders["items"][0]["status"], "rejected");
    let id = expect_order(&orders["items"][0]);
    let _ = jumun.get("/v1/payments").await.problem(503, "upstream-unavailable");

    // The charge may have been on its way: it is called off as soon as the provider answers, and the key is free.
    jumun.sandbox("payment", "up").await;
    until("the charge to be called off", async || {
        let order = jumun.order(&id).await;
        assert_eq!(order["status"], "rejected");
        (order["payment"]["state"] == "cancelled").then_some(())
    })
    .await;
    assert!(jumun.entries(&id).await.is_empty());
    let placed = place().await;
    assert_eq!(placed.status, 201, "{placed:#?}");
    assert_ne!(expect_order(&placed.body), id);
    assert_eq!(jumun.entries(&expect_order(&placed.body)).await, ["charge"]);
}

#[tokio::test]
async fn delivery_down_does_not_stop_orders() {
    let jumun = lent().await;
    let shop = Shop::open(&jumun).await;
    jumun.sandbox("delivery", "down").await;
    let id = shop.placed().await;
    let problem = jumun.get("/v1/deliveries").await.problem(503, "upstream-unavailable");
    assert_eq!(problem["context"], "delivery");
    assert_eq!(jumun.order(&id).await["status"], "paid");
    jumun.sandbox("delivery", "up").await;
    shop.reaches(&id, "in_delivery").await;
    let deliveries = jumun.get(&format!("/v1/deliveries?order_id={id}")).await.ok();
    assert_eq!(deliveries["items"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn stock_down_refuses_before_anything_happens() {
    let jumun = lent().await;
    let shop = Shop::open(&jumun).await;
    jumun.sandbox("stock", "down").await;
    let _ = shop.place("tok_ok", 1).await.problem(503, "try-again-later");
    let products = format!("/v1/merchants/{}/products", shop.merchant_id);
    let _ = jumun.get(&products).await.problem(503, "upstream-unavailable");
    jumun.sandbox("stock", "up").await;
    assert_eq!(shop.shelf("chili").await, (100, 0, 100));
}

#[tokio::test]
async fn slow_providers_only_take_longer() {
    let jumun = lent().await;
    let shop = Shop::open(&jumun).await;
    for context in ["payment", "stock", "delivery"] {
        let slow = json!({ "mode": "slow", "delay_ms": 300 });
        let _ = jumun.put(&format!("/v1/sandbox/{context}"), &slow).await.ok();
    }
    assert_eq!(jumun.get("/v1/sandbox").await.ok()["stock"], json!({ "mode": "slow", "delay_ms": 300 }));
    let id = shop.placed().await;
    shop.reaches(&id, "in_delivery").await;
    assert_eq!(jumun.entries(&id).await, ["charge"]);
}

#[tokio::test]
async fn r4_order_and_dashboard_ask_no_context() {
    let jumun = lent().await;
    let shop = Shop::open(&jumun).await;
    let id = shop.placed().await;
    shop.reaches(&id, "in_delivery").await;
    let order = jumun.order(&id).await;
    for context in ["payment", "stock", "delivery", "kitchen", "promotion", "notification"] {
        jumun.sandbox(context, "down").await;
    }
    assert_eq!(jumun.order(&id).await, order);
    let dashboard = jumun.get(&format!("/v1/dashboard?merchant_id={}", shop.merchant_id)).await.ok();
    assert_eq!(
        (&dashboard["statuses"][0]["status"], &dashboard["statuses"][0]["orders"]),
        (&json!("in_delivery"), &json!(1))
    );
    assert_eq!(dashboard["payments"][0]["state"], "approved");
    assert_eq!(dashboard["deliveries"][0]["state"], "in_delivery");
}
