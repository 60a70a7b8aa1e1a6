//! `POST /v1/orders` and what comes of it: R1, R2, R3, R4.

use futures::StreamExt;
use serde_json::json;
use tests::{Shop, expect_order};

use super::shared;

#[tokio::test]
async fn a_sauce_shop_order_lives_and_closes() {
    let shop = Shop::open(shared().await).await;
    let mut request = shop.request("tok_ok", 2);
    request["lines"].as_array_mut().expect("lines").push(json!({ "sku": "soy", "quantity": 1 }));
    request["note"] = json!("ring twice");
    request["expected_total"] = json!({ "amount": 22_000, "currency": "KRW" });

    let placed = shop.jumun.post("/v1/orders", &request).await;
    assert_eq!(placed.status, 201, "{placed:#?}");
    let id = expect_order(&placed.body);
    assert_eq!(placed.header("location"), format!("/v1/orders/{id}"));
    assert_eq!(placed.header("etag"), format!("\"{}\"", placed.body["version"]));
    assert_eq!(placed.body["status"], "paid");
    assert_eq!(placed.body["total"], json!({ "amount": 22_000, "currency": "KRW" }));
    assert_eq!(placed.body["payment"]["state"], "approved");
    assert_eq!(placed.body["allowed_commands"], json!(["cancel"]));

    let order = shop.reaches(&id, "in_delivery").await;
    assert_eq!(order["delivery"]["state"], "in_delivery");
    assert_eq!(order["allowed_commands"], json!(["complete-delivery"]));
    assert_eq!(order["lines"][0]["line_total"], json!({ "amount": 18_000, "currency": "KRW" }));
    assert_eq!(order["note"], "ring twice");
    assert_eq!(order["lifecycle"], "sauce-shop");
    assert!(order["coupon"].is_null() && order["reason"].is_null() && order["deadline"].is_null());

    let closed = shop.jumun.command(&id, "complete-delivery").await.ok();
    assert_eq!(closed["status"], "closed");
    assert_eq!(closed["delivery"]["state"], "delivered");
    assert_eq!(closed["allowed_commands"], json!([]));
    assert_eq!(
        shop.jumun.event_names(&id).await,
        [
            "order_placed",
            "stock_reserved",
            "payment_approved",
            "order_paid",
            "stock_committed",
            "delivery_requested",
            "delivery_started",
            "delivery_completed",
            "order_closed"
        ]
    );
    assert_eq!(shop.jumun.entries(&id).await, ["charge"]);
    assert_eq!(shop.shelf("chili").await, (98, 0, 98));
    let deliveries = shop.jumun.get(&format!("/v1/deliveries?order_id={id}")).await.ok();
    assert_eq!(deliveries["items"][0]["state"], "delivered");
}

#[tokio::test]
async fn the_engine_shows_the_steps_by_name() {
    let shop = Shop::open(shared().await).await;
    let id = shop.placed().await;
    shop.reaches(&id, "in_delivery").await;
    let run = shop.jumun.invocations(&id).await.into_iter().find(|row| row["target_handler_name"] == "run");
    let run = run.expect("the workflow is there")["id"].clone();
    let query = format!("SELECT name FROM sys_journal WHERE id = {run} ORDER BY index").replace('"', "'");
    let entries = shop.jumun.engine_query(&query).await;
    let names: Vec<_> = entries.iter().filter_map(|row| row["name"].as_str()).collect();
    for step in ["order.place", "stock.reserve", "payment.charge", "stock.commit", "delivery.request", "delivery.start"]
    {
        assert!(names.contains(&step), "{step} in {names:?}");
    }
}

#[tokio::test]
async fn a_declined_card_releases_the_stock() {
    let shop = Shop::open(shared().await).await;
    let problem = shop.place("tok_declined", 3).await.problem(402, "payment-declined");
    assert_eq!(problem["reason"], "card_declined");
    let id = expect_order(&problem);
    let order = shop.jumun.get(&format!("/v1/orders/{id}")).await.ok();
    assert_eq!((&order["status"], &order["payment"]["state"]), (&json!("rejected"), &json!("declined")));
    assert!(order["reason"].as_str().is_some_and(|reason| reason.contains("card_declined")));
    assert_eq!(shop.shelf("chili").await, (100, 0, 100));
    assert!(shop.jumun.entries(&id).await.is_empty());
    assert_eq!(
        shop.jumun.event_names(&id).await,
        ["order_placed", "stock_reserved", "payment_declined", "stock_released", "order_rejected"]
    );
}

#[tokio::test]
async fn a_provider_that_fails_or_loses_its_reply_charges_once() {
    let shop = Shop::open(shared().await).await;
    for card in ["tok_lost_reply", "tok_flaky_3", "tok_slow_2500"] {
        let placed = shop.place(card, 1).await;
        assert_eq!(placed.status, 201, "{card}: {placed:#?}");
        assert_eq!(shop.jumun.entries(&expect_order(&placed.body)).await, ["charge"], "{card}");
    }
}

#[tokio::test]
async fn too_little_stock_refuses_the_whole_order() {
    let shop = Shop::open(shared().await).await;
    let mut request = shop.request("tok_ok", 1);
    request["lines"].as_array_mut().expect("lines").push(json!({ "sku": "soy", "quantity": 101 }));
    let problem = shop.jumun.post("/v1/orders", &request).await.problem(409, "out-of-stock");
    assert_eq!((&problem["sku"], &problem["available"]), (&json!("soy"), &json!(100)));
    assert_eq!(shop.shelf("chili").await, (100, 0, 100));
    assert_eq!(shop.shelf("soy").await, (100, 0, 100));
}

#[tokio::test]
async fn lines_of_one_product_are_counted_together() {
    let shop = Shop::open(shared().await).await;
    let mut request = shop.request("tok_ok", 60);
    request["lines"].as_array_mut().expect("lines").push(json!({ "sku": "chili", "quantity": 60 }));
    let problem = shop.jumun.post("/v1/orders", &request).await.problem(409, "out-of-stock");
    assert_eq!((&problem["sku"], &problem["available"]), (&json!("chili"), &json!(100)));
}

#[tokio::test]
async fn a_changed_price_is_told_before_anything_happens() {
    let shop = Shop::open(shared().await).await;
    let mut request = shop.request("tok_ok", 2);
    request["expected_total"] = json!({ "amount": 17_000, "currency": "KRW" });
    let _ = shop.jumun.post("/v1/orders", &request).await.problem(409, "price-changed");
    assert_eq!(shop.shelf("chili").await, (100, 0, 100));
}

#[tokio::test]
async fn a_caller_who_does_not_wait_gets_the_order_later() {
    let shop = Shop::open(shared().await).await;
    for (prefer, card) in [("wait=0", "tok_ok"), ("wait=1", "tok_slow_2000")] {
        let request = shop.jumun.request(reqwest::Method::POST, "/v1/orders").header("prefer", prefer);
        let answer = shop.jumun.send(request.json(&shop.request(card, 1))).await;
        assert_eq!(answer.status, 202, "{answer:#?}");
        let location = answer.header("location").to_owned();
        let read = async || Some(shop.jumun.get(&location).await).filter(|read| read.status == 200);
        // Only an answer without the order says that it cannot be read yet.
        let order = if answer.body.is_object() {
            read().await.expect("what was told can be read")
        } else {
            tests::until("the order to be read", read).await
        };
        shop.reaches(order.body["id"].as_str().expect("an id"), "in_delivery").await;
    }
}

#[tokio::test]
async fn two_hundred_orders_for_a_hundred_bottles() {
    let shop = Shop::open(shared().await).await;
    let orders = futures::stream::iter(0..200).map(|_| shop.place("tok_ok", 1));
    let answers: Vec<_> = orders.buffer_unordered(40).collect().await;
    let mut stand = 0;
    for answer in answers {
        match answer.status {
            201 => stand += 1,
            202 => {
                // Undecided after ten seconds on a busy machine: it stands or it does not, in the end.
                let id = answer.header("location").rsplit('/').next().expect("an id").to_owned();
                let order = tests::until("a decision", async || {
                    let order = shop.jumun.get(&format!("/v1/orders/{id}")).await.ok();
                    (order["status"] != "placed").then_some(order)
                })
                .await;
                stand += usize::from(order["status"] != "rejected");
            }
            _ => drop(answer.problem(409, "out-of-stock")),
        }
    }
    assert_eq!(stand, 100);
    tests::until("all sold", async || (shop.shelf("chili").await == (0, 0, 0)).then_some(())).await;
}
