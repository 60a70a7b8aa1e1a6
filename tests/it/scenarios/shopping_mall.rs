//! The shopping mall: paid by bank transfer, which the merchant confirms; the customer confirms the receipt. R10 to R17,
//! R19.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::{Shop, expect_order, until, variant};

use super::{lent, shared};

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
    assert_eq!(delivered["status"], "delivered");
    assert_eq!(shop.reaches(&id, "delivered").await["allowed_commands"], json!(["confirm-receipt"]));
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
    assert!(shop.jumun.entries(&id).await.is_empty());

    let (id, _) = place(&shop, 1).await;
    let confirmed = shop.jumun.ask(&id, "confirm-deposit").await;
    assert_ne!(confirmed["status"], "awaiting_deposit");
    let _ = shop.jumun.command(&id, "cancel").await.problem(409, "command-not-allowed");
    shop.reaches(&id, "in_delivery").await;
    let _ = shop.jumun.command(&id, "cancel").await.problem(409, "command-not-allowed");
    assert_eq!(shop.jumun.entries(&id).await, ["deposit"]);
}

#[tokio::test]
async fn r17_orders_are_taken_at_once_while_payment_is_down() {
    let jumun = lent().await;
    let shop = Shop::open_with(&jumun, "shopping-mall").await;
    jumun.sandbox("payment", "down").await;
    let asked = Instant::now();
    let (id, _) = place(&shop, 1).await;
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
    assert_eq!(jumun.order(&id).await["status"], "placed");
    let _ = jumun.get("/v1/payments").await.problem(503, "upstream-unavailable");
    jumun.sandbox("payment", "up").await;
    shop.reaches(&id, "awaiting_deposit").await;
}

#[tokio::test]
async fn r19_the_states_have_their_names() {
    let shop = Shop::open_with(shared().await, "shopping-mall").await;
    let (id, _) = place(&shop, 1).await;
    let label = async |status: &str| {
        shop.reaches(&id, status).await;
        let request = shop.jumun.request(reqwest::Method::GET, &format!("/v1/orders/{id}"));
        shop.jumun.send(request.header("accept-language", "ko")).await.ok()["status_label"].clone()
    };
    assert_eq!(label("awaiting_deposit").await, "입금확인대기");
    let _ = shop.jumun.command(&id, "confirm-deposit").await.ok();
    assert_eq!(label("in_delivery").await, "배송중");
    let _ = shop.jumun.command(&id, "complete-delivery").await.ok();
    assert_eq!(label("delivered").await, "배송완료");
    let _ = shop.jumun.command(&id, "confirm-receipt").await.ok();
    assert_eq!(label("closed").await, "수령확인");
    // Each status was made known under its name, also those that passed too quickly to be read.
    shop.jumun.notifies(&id, "closed").await;
    let told = shop.jumun.get(&format!("/v1/notifications?order_id={id}")).await.ok();
    let labels: Vec<_> = told["items"].as_array().expect("a list").iter().map(|item| &item["status_label"]).collect();
    let expected = ["주문접수", "입금확인대기", "입금확인완료", "상품준비완료", "배송중", "배송완료", "수령확인"];
    assert_eq!(labels, expected);
}

#[tokio::test]
async fn a_deposit_window_expires_by_itself_and_frees_what_was_held() {
    let lifecycle = variant("shopping-mall", |lifecycle| {
        lifecycle["payment"]["deposit_window"] = json!("2s");
        lifecycle["stock"]["take"] = json!("on_placement");
    });
    let shop = Shop::open_with(shared().await, lifecycle).await;
    let (id, _) = place(&shop, 3).await;
    shop.reaches(&id, "awaiting_deposit").await;
    assert_eq!(shop.shelf("chili").await, (100, 3, 97));
    let expired = shop.reaches(&id, "cancelled").await;
    assert_eq!(expired["reason"], "the deposit was not confirmed in time");
    assert_eq!(expired["payment"]["state"], "cancelled");
    assert_eq!(shop.shelf("chili").await, (100, 0, 100));
    assert_eq!(
        shop.jumun.event_names(&id).await,
        [
            "order_placed",
            "stock_reserved",
            "deposit_requested",
            "deposit_expired",
            "payment_cancelled",
            "stock_released",
            "order_cancelled"
        ]
    );
    assert!(shop.jumun.entries(&id).await.is_empty());
}

/// The transfer of an order that was dropped arrives all the same.
async fn gives_back_what_comes_late(shop: &Shop<'_>, id: &str) {
    let asked = (0..3).map(|_| shop.jumun.command(id, "confirm-deposit"));
    for answer in futures::future::join_all(asked).await {
        let _ = answer.problem(409, "command-not-allowed");
    }
    let payments = format!("/v1/payments?order_id={id}");
    until("the late transfer to be given back", async || {
        let payments = shop.jumun.get(&payments).await.ok();
        (payments["items"][0]["state"] == "refunded").then_some(())
    })
    .await;
    let _ = shop.jumun.command(id, "confirm-deposit").await.problem(409, "command-not-allowed");
    assert_eq!(shop.jumun.entries(id).await, ["deposit", "refund"], "booked once, and given back once");
    shop.jumun.settles(id).await;
    assert_eq!(shop.jumun.order(id).await["status"], "cancelled");
    assert_eq!(shop.shelf("chili").await, (100, 0, 100));
}

#[tokio::test]
async fn a_transfer_that_comes_too_late_is_given_back_once() {
    let window = |lifecycle: &mut Value| lifecycle["payment"]["deposit_window"] = json!("1s");
    let shop = Shop::open_with(shared().await, variant("shopping-mall", window)).await;
    let (expired, _) = place(&shop, 1).await;
    shop.reaches(&expired, "cancelled").await;
    gives_back_what_comes_late(&shop, &expired).await;

    let shop = Shop::open_with(shared().await, "shopping-mall").await;
    let (cancelled, _) = place(&shop, 1).await;
    // Before it is expected, nobody can have been told where to transfer it to.
    shop.reaches(&cancelled, "awaiting_deposit").await;
    let _ = shop.jumun.ask(&cancelled, "cancel").await;
    shop.reaches(&cancelled, "cancelled").await;
    gives_back_what_comes_late(&shop, &cancelled).await;
}

#[tokio::test]
async fn a_confirmed_deposit_that_is_undone_is_not_given_back_twice() {
    let shop = Shop::open_with(shared().await, "shopping-mall").await;
    let (id, _) = place(&shop, 101).await;
    let _ = shop.jumun.ask(&id, "confirm-deposit").await;
    shop.reaches(&id, "cancelled").await;
    // It was confirmed in time: saying so again is no second transfer.
    assert_eq!(shop.jumun.command(&id, "confirm-deposit").await.ok()["status"], "cancelled");
    assert_eq!(shop.jumun.entries(&id).await, ["deposit", "refund"]);
    shop.jumun.settles(&id).await;
}

#[tokio::test]
async fn a_receipt_that_nobody_confirms_confirms_itself() {
    let window = |lifecycle: &mut Value| lifecycle["receipt"]["window"] = json!("1s");
    let shop = Shop::open_with(shared().await, variant("shopping-mall", window)).await;
    let (id, _) = place(&shop, 1).await;
    let _ = shop.jumun.ask(&id, "confirm-deposit").await;
    let _ = shop.jumun.ask(&id, "complete-delivery").await;
    shop.reaches(&id, "closed").await;
    let events = shop.jumun.event_names(&id).await;
    assert_eq!(events[events.len() - 2..], ["receipt_confirmed", "order_closed"]);
    shop.jumun.settles(&id).await;
}
