//! `GET /v1/orders`, `GET /v1/orders/{id}` and its events.

use serde_json::{Value, json};
use tests::Shop;

use crate::shared;

fn ids(page: &Value) -> Vec<String> {
    let items = page["items"].as_array().expect("a list");
    items.iter().map(|order| order["id"].as_str().expect("an id").to_owned()).collect()
}

#[tokio::test]
async fn orders_are_listed_from_new_to_old_in_pages() {
    let shop = Shop::open(shared().await).await;
    let mut placed = Vec::new();
    for _ in 0..5 {
        placed.insert(0, shop.placed().await);
    }
    let path = format!("/v1/orders?merchant_id={}", shop.merchant_id);
    let all = shop.jumun.get(&path).await.ok();
    assert_eq!(ids(&all), placed);
    assert!(all["next_cursor"].is_null());

    let mut paged = Vec::new();
    let mut next = format!("{path}&limit=2");
    for expected in [2, 2, 1] {
        let page = shop.jumun.get(&next).await.ok();
        assert_eq!(ids(&page).len(), expected);
        paged.extend(ids(&page));
        if let Some(cursor) = page["next_cursor"].as_str() {
            next = format!("{path}&limit=2&cursor={cursor}");
        } else {
            assert_eq!(expected, 1, "the last page");
        }
    }
    assert_eq!(paged, placed);
}

#[tokio::test]
async fn filters_narrow_the_listing() {
    let shop = Shop::open(shared().await).await;
    let old = shop.placed().await;
    shop.reaches(&old, "in_delivery").await;
    let _ = shop.jumun.command(&old, "complete-delivery").await.ok();
    let new = shop.placed().await;
    let new = shop.reaches(&new, "in_delivery").await;
    let placed_at = new["placed_at"].as_str().expect("a time").replace('+', "%2B");
    let list = async |filter: &str| {
        ids(&shop.jumun.get(&format!("/v1/orders?merchant_id={}&{filter}", shop.merchant_id)).await.ok())
    };
    assert_eq!(list("status=closed").await, std::slice::from_ref(&old));
    assert_eq!(list("status=in_delivery").await, [new["id"].as_str().expect("an id")]);
    assert_eq!(list(&format!("placed_before={placed_at}")).await, [old]);
    assert_eq!(list(&format!("placed_after={placed_at}")).await, [""; 0]);
    assert_eq!(list("customer_id=nobody").await, [""; 0]);
}

#[tokio::test]
async fn an_order_is_read_with_its_version_and_in_its_readers_language() {
    let shop = Shop::open(shared().await).await;
    let id = shop.placed().await;
    shop.reaches(&id, "in_delivery").await;
    let path = format!("/v1/orders/{id}");
    for (languages, label) in
        [("ko", "배송중"), ("en", "In delivery"), ("ko-KR,ko;q=0.9,en;q=0.8", "배송중"), ("fr", "In delivery")]
    {
        let request = shop.jumun.request(reqwest::Method::GET, &path).header("accept-language", languages);
        assert_eq!(shop.jumun.send(request).await.ok()["status_label"], label, "{languages}");
    }
    let order = shop.jumun.get(&path).await;
    assert_eq!(order.header("etag"), format!("\"{}\"", order.body["version"]));
    let request = shop.jumun.request(reqwest::Method::GET, &path).header("if-none-match", order.header("etag"));
    assert_eq!(shop.jumun.send(request).await.status, 304);
}

#[tokio::test]
async fn events_can_be_read_on_from_any_number() {
    let shop = Shop::open(shared().await).await;
    let id = shop.placed().await;
    shop.reaches(&id, "in_delivery").await;
    let events = shop.jumun.get(&format!("/v1/orders/{id}/events")).await.ok();
    assert_eq!(events["items"][0]["data"]["total"], json!({ "amount": 9_000, "currency": "KRW" }));
    assert_eq!(events["items"][1]["step"], "stock.reserve");
    let text = events.to_string();
    assert!(!text.contains("tok_ok") && !text.contains("request_digest"), "{text}");
    let rest = shop.jumun.get(&format!("/v1/orders/{id}/events?after=5")).await.ok();
    assert_eq!(rest["items"][0], events["items"][5]);
    let unknown = format!("/v1/orders/ord_{}/events", "0".repeat(32));
    let _ = shop.jumun.get(&unknown).await.problem(404, "not-found");
}
