//! `Idempotency-Key`: however often and however concurrently, one order and one answer.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tests::{Answer, Shop, expect_order};

use crate::shared;

async fn place(shop: &Shop<'_>, key: &str, body: &Value) -> Answer {
    let request = shop.jumun.request(reqwest::Method::POST, "/v1/orders").header("idempotency-key", key);
    shop.jumun.send(request.json(body)).await
}

fn key() -> String {
    uuid::Uuid::now_v7().to_string()
}

#[tokio::test]
async fn a_hundred_at_once_are_one_order() {
    let shop = Shop::open(shared().await).await;
    let (key, body) = (key(), shop.request("tok_ok", 1));
    let answers = futures::future::join_all((0..100).map(|_| place(&shop, &key, &body))).await;
    let distinct: BTreeSet<String> = answers
        .iter()
        .map(|answer| {
            format!("{} {} {} {}", answer.status, answer.header("location"), answer.header("etag"), answer.body)
        })
        .collect();
    assert_eq!(distinct.len(), 1, "{distinct:#?}");
    assert_eq!(answers[0].status, 201);
    let id = expect_order(&answers[0].body);
    assert_eq!(shop.jumun.entries(&id).await, ["charge"]);

    shop.reaches(&id, "in_delivery").await;
    let _ = shop.jumun.command(&id, "complete-delivery").await.ok();
    let later = place(&shop, &key, &body).await;
    assert_eq!((later.status, &later.body), (201, &answers[0].body), "the answer does not change with the order");
    assert_eq!(shop.shelf("chili").await, (99, 0, 99));
}

#[tokio::test]
async fn a_refusal_is_repeated_too() {
    let shop = Shop::open(shared().await).await;
    let (key, body) = (key(), shop.request("tok_declined", 1));
    let first = place(&shop, &key, &body).await.problem(402, "payment-declined");
    assert_eq!(place(&shop, &key, &body).await.problem(402, "payment-declined"), first);
}

#[tokio::test]
async fn a_key_belongs_to_one_body() {
    let shop = Shop::open(shared().await).await;
    let key = key();
    let first = place(&shop, &key, &shop.request("tok_ok", 1)).await;
    assert_eq!(first.status, 201);
    let _ = place(&shop, &key, &shop.request("tok_ok", 2)).await.problem(422, "idempotency-key-reused");
    assert_eq!(place(&shop, &key, &shop.request("tok_ok", 1)).await.body, first.body);
}

#[tokio::test]
async fn two_bodies_racing_for_a_key_make_one_order() {
    let shop = Shop::open(shared().await).await;
    for _ in 0..5 {
        let key = key();
        let bodies = [shop.request("tok_ok", 1), shop.request("tok_ok", 2)];
        let answers = futures::future::join_all((0..8).map(|n| place(&shop, &key, &bodies[n % 2]))).await;
        let (placed, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 201);
        let ids: BTreeSet<_> = placed.iter().map(|answer| expect_order(&answer.body)).collect();
        assert_eq!(ids.len(), 1);
        for answer in refused {
            let _ = answer.problem(422, "idempotency-key-reused");
        }
    }
}

#[tokio::test]
async fn keys_are_checked() {
    let shop = Shop::open(shared().await).await;
    for bad in ["", &"k".repeat(256)] {
        let _ = place(&shop, bad, &shop.request("tok_ok", 1)).await.problem(400, "invalid-request");
    }
    assert_eq!(shop.shelf("chili").await, (100, 0, 100));
    let without_key = [shop.placed().await, shop.placed().await];
    assert_ne!(without_key[0], without_key[1], "{}", json!(without_key));
}
