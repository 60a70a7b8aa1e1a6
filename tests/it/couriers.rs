//! Couriers: whom an order that waits for one is shown to, and who has it once somebody took it.

use serde_json::{Value, json};
use tests::{CUSTOMER, Client, Jumun, Shop};
use workflows::Role;

use crate::shared;

fn courier<'a>(jumun: &'a Jumun, name: &str) -> Client<'a> {
    jumun.as_role(Role::Courier, name, None)
}

/// Whether the order is among those that the caller is shown.
async fn is_shown(client: &Client<'_>, order_id: &str) -> bool {
    let read = client.get(&format!("/v1/orders/{order_id}")).await.status == 200;
    let listed = client.get("/v1/orders?limit=200").await.ok();
    let listed = listed["items"].as_array().expect("a list").iter().any(|order| order["id"] == order_id);
    assert_eq!(read, listed, "what can be read is listed, and nothing else");
    read
}

#[tokio::test]
async fn who_takes_an_order_has_it() {
    let jumun = shared().await;
    let shop = Shop::open_with(jumun, "food-delivery").await;
    let names = ["lee", "park"].map(|name| format!("{name}-{}", shop.merchant_id));
    let [lee, park] = [&names[0], &names[1]].map(|name| courier(jumun, name));
    for _ in 0..10 {
        let id = shop.placed().await;
        for command in ["accept", "start-production"] {
            jumun.ask(&id, command).await;
        }
        assert!(!is_shown(&lee, &id).await, "there is nothing to pick up yet");
        jumun.ask(&id, "finish-production").await;
        jumun.takes(&id, "start-delivery").await;
        assert!(is_shown(&lee, &id).await && is_shown(&park, &id).await);

        let (one, other) = tokio::join!(lee.command(&id, "start-delivery"), park.command(&id, "start-delivery"));
        let (has, has_not) = if one.status == 200 { (&lee, &park) } else { (&park, &lee) };
        let mut statuses = [one.status, other.status];
        statuses.sort_unstable();
        assert!(statuses == [200, 404] || statuses == [200, 409], "exactly one has it: {one:#?} {other:#?}");
        assert!(is_shown(has, &id).await && !is_shown(has_not, &id).await);
        let _ = has_not.command(&id, "complete-delivery").await.problem(404, "not-found");
        assert_eq!(has.command(&id, "start-delivery").await.ok()["id"], id, "asked again");
        assert_eq!(has.command(&id, "complete-delivery").await.ok()["status"], "closed");
        assert!(is_shown(has, &id).await, "it was theirs");
        jumun.each_fact_once(&id).await;
    }
}

#[tokio::test]
async fn who_brings_what_departed_by_itself_has_brought_it() {
    let jumun = shared().await;
    let shop = Shop::open(jumun).await;
    let (lee, park) = (courier(jumun, "lee"), courier(jumun, "park"));
    let id = shop.placed().await;
    jumun.takes(&id, "complete-delivery").await;
    assert!(is_shown(&lee, &id).await && is_shown(&park, &id).await);
    assert_eq!(lee.command(&id, "complete-delivery").await.ok()["status"], "closed");
    assert!(is_shown(&lee, &id).await && !is_shown(&park, &id).await);
}

#[tokio::test]
async fn only_its_customer_reads_and_cancels_an_order() {
    let jumun = shared().await;
    let shop = Shop::open_with(jumun, "pizza").await;
    let id = shop.placed().await;
    let (own, other) = (jumun.as_role(Role::Customer, CUSTOMER, None), jumun.as_role(Role::Customer, "mallory", None));
    let _ = other.get(&format!("/v1/orders/{id}")).await.problem(404, "not-found");
    let _ = other.command(&id, "cancel").await.problem(404, "not-found");
    let listed = other.get(&format!("/v1/orders?merchant_id={}", shop.merchant_id)).await.ok();
    assert_eq!(listed["items"], json!([]));
    let asked = other.get(&format!("/v1/orders?customer_id={CUSTOMER}")).await.ok();
    assert_eq!(asked["items"], json!([]), "asking by name does not help");
    let listed = own.get(&format!("/v1/orders?merchant_id={}", shop.merchant_id)).await.ok();
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(1));
    // Whoever cancels what is theirs is heard.
    let _: Value = own.command(&id, "cancel").await.ok();
    shop.reaches(&id, "cancelled").await;
}
