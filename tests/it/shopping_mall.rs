//! The shopping mall: paid by bank transfer, which the merchant confirms; the customer confirms the receipt. R10 to R17.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tests::{Faults, Jumun, Shop, expect_order};
use workflows::Lifecycle;
use workflows::lifecycle::Window;

use crate::shared;

async fn place(shop: &Shop<'_>, quantity: u32) -> (String, Value) {
    let answer = shop.jumun.post("/v1/orders", &shop.deposit_request(quantity)).await;
    assert_eq!(answer.status, 201, "{answer:#?}");
    (expect_order(&answer.body), answer.body)
}

#[tokio::test]
async fn r10_to_r14_ordered_transferred_confirmed_delivered_received() {
    let shop = Shop::open_with(shared().await, "shopping-mall").await;
    let (id, placed) = place(&shop, 3).await;
    assert_eq!((&placed["status"], &placed["payment"]["method"]), (&json!("placed"), &json!("deposit")));
    let waiting = shop.reaches(&id, "awaiting_deposit").await;
    assert_eq!(waiting["allowed_commands"], json!(["confirm-deposit", "cancel"]));
    assert_eq!(waiting["payment"]["state"], "pending");
    assert!(waiting["deadline"].is_string());
    assert_eq!(shop.shelf("chili").await, (100, 0, 100), "nothing is taken before the deposit is confirmed");

    let _ = shop.jumun.command(&id, "confirm-deposit").await.ok();
    shop.reaches(&id, "in_delivery").await;
    assert_eq!(shop.shelf("chili").await, (97, 0, 97));
    let _ = shop.jumun.command(&id, "cancel").await.problem(409, "command-not-allowed");
    let delivered = shop.jumun.command(&id, "complete-delivery").await.ok();
    assert_eq!(
        (&delivered["status"], &delivered["allowed_commands"]),
        (&json!("delivered"), &json!(["confirm-receipt"]))
    );
    assert!(delivered["deadline"].is_string());
    assert_eq!(shop.jumun.command(&id, "confirm-receipt").await.ok()["status"], "closed");
    assert_eq!(shop.jumun.command(&id, "confirm-receipt").await.ok()["status"], "closed", "asked again");
    assert_eq!(
        shop.jumun.event_names(&id).await,
        [
            "order_placed",
            "deposit_requested",
            "deposit_confirmed",
            "order_paid",
            "stock_reserved",
            "stock_committed",
            "delivery_requested",
            "delivery_started",
            "delivery_completed",
            "receipt_confirmed",
            "order_closed"
        ]
    );
    assert_eq!(shop.jumun.entries(&id).await, ["deposit"]);
}

#[tokio::test]
async fn r12_a_deposit_without_stock_cancels_payment_and_order() {
    let shop = Shop::open_with(shared().await, "shopping-mall").await;
    let (id, _) = place(&shop, 101).await;
    shop.reaches(&id, "awaiting_deposit").await;
    let _ = shop.jumun.command(&id, "confirm-deposit").await.ok();
    let cancelled = shop.reaches(&id, "cancelled").await;
    assert_eq!((&cancelled["payment"]["state"], &cancelled["delivery"]), (&json!("cancelled"), &json!(null)));
    assert!(cancelled["reason"].as_str().is_some_and(|reason| reason.contains("out of stock")));
    assert!(!shop.jumun.event_names(&id).await.contains(&"delivery_requested".to_owned()));
    assert_eq!(shop.jumun.entries(&id).await, ["deposit", "refund"]);
    assert_eq!(shop.shelf("chili").await, (100, 0, 100));
}

#[tokio::test]
async fn r16_the_customer_cancels_until_the_deposit_is_confirmed() {
    let shop = Shop::open_with(shared().await, "shopping-mall").await;
    let (id, _) = place(&shop, 1).await;
    shop.reaches(&id, "awaiting_deposit").await;
    let _ = shop.jumun.command(&id, "cancel").await.ok();
    assert_eq!(shop.reaches(&id, "cancelled").await["payment"]["state"], "cancelled");
    let _ = shop.jumun.command(&id, "confirm-deposit").await.problem(409, "command-not-allowed");
    assert!(shop.jumun.entries(&id).await.is_empty());
}

#[tokio::test]
async fn r17_orders_are_taken_while_payment_is_down() {
    let jumun = Jumun::ephemeral().await;
    let shop = Shop::open_with(&jumun, "shopping-mall").await;
    jumun.sandbox("payment", "down").await;
    let (id, _) = place(&shop, 1).await;
    assert_eq!(jumun.get(&format!("/v1/orders/{id}")).await.ok()["status"], "placed");
    jumun.sandbox("payment", "up").await;
    shop.reaches(&id, "awaiting_deposit").await;
}

#[tokio::test]
async fn r19_the_states_have_their_names() {
    let shop = Shop::open_with(shared().await, "shopping-mall").await;
    let (id, _) = place(&shop, 1).await;
    shop.reaches(&id, "awaiting_deposit").await;
    let path = format!("/v1/orders/{id}");
    let request = shop.jumun.request(reqwest::Method::GET, &path).header("accept-language", "ko");
    assert_eq!(shop.jumun.send(request).await.ok()["status_label"], "입금확인대기");
}

#[tokio::test]
async fn what_nobody_does_in_time_happens_by_itself() {
    let jumun = Jumun::faulted(&Arc::new(Faults::default())).await;
    let shop = Shop::open(&jumun).await;
    let mut lifecycle = Lifecycle::preset("shopping-mall").expect("exists").clone();
    lifecycle.payment.deposit_window = Some(Window(Duration::from_secs(1)));
    shop.live_by(lifecycle.clone()).await;
    let (id, _) = place(&shop, 1).await;
    let expired = shop.reaches(&id, "cancelled").await;
    assert_eq!(expired["reason"], "the deposit was not confirmed in time");
    assert_eq!(
        jumun.event_names(&id).await,
        ["order_placed", "deposit_requested", "deposit_expired", "payment_cancelled", "order_cancelled"]
    );
    let _ = jumun.command(&id, "confirm-deposit").await.problem(409, "command-not-allowed");

    lifecycle.payment.deposit_window = None;
    lifecycle.receipt.as_mut().expect("has one").window = Window(Duration::from_secs(1));
    shop.live_by(lifecycle).await;
    let (id, _) = place(&shop, 1).await;
    shop.reaches(&id, "awaiting_deposit").await;
    let _ = jumun.command(&id, "confirm-deposit").await.ok();
    shop.reaches(&id, "in_delivery").await;
    let _ = jumun.command(&id, "complete-delivery").await.ok();
    shop.reaches(&id, "closed").await;
}

#[tokio::test]
async fn a_confirmation_races_a_cancel_and_the_deadline() {
    let jumun = Jumun::faulted(&Arc::new(Faults::default())).await;
    let shop = Shop::open(&jumun).await;
    let mut lifecycle = Lifecycle::preset("shopping-mall").expect("exists").clone();
    lifecycle.payment.deposit_window = Some(Window(Duration::from_millis(1200)));
    shop.live_by(lifecycle).await;
    for round in 0..8u64 {
        let (id, _) = place(&shop, 1).await;
        let waiting = shop.reaches(&id, "awaiting_deposit").await;
        let deadline: chrono::DateTime<chrono::Utc> =
            waiting["deadline"].as_str().and_then(|at| at.parse().ok()).expect("a deadline");
        let early = Duration::from_millis(if round % 2 == 0 { 300 } else { 15 });
        tests::until("the moment", async || (chrono::Utc::now() + early >= deadline).then_some(())).await;
        let (confirmed, cancelled) =
            futures::join!(jumun.command(&id, "confirm-deposit"), jumun.command(&id, "cancel"));
        assert!(confirmed.status != 200 || cancelled.status != 200, "round {round}: both won");
        let (end, entries): (_, &[&str]) =
            if confirmed.status == 200 { ("in_delivery", &["deposit"]) } else { ("cancelled", &[]) };
        shop.reaches(&id, end).await;
        assert_eq!(jumun.entries(&id).await, entries, "round {round}");
    }
}
