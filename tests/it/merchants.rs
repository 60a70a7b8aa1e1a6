//! Merchants and their products.

use serde_json::json;
use tests::Shop;

use crate::shared;

#[tokio::test]
async fn the_demo_merchant_is_there_with_products() {
    let jumun = shared().await;
    let merchant = jumun.get("/v1/merchants/sauce-shop").await.ok();
    assert_eq!((&merchant["lifecycle"], &merchant["currency"]), (&json!("sauce-shop"), &json!("KRW")));
    let products = jumun.get("/v1/merchants/sauce-shop/products").await.ok();
    assert!(products["items"].as_array().is_some_and(|products| products.len() >= 3));
}

#[tokio::test]
async fn a_merchant_is_created_and_replaced() {
    let jumun = shared().await;
    let shop = Shop::open(jumun).await;
    let path = format!("/v1/merchants/{}", shop.merchant_id);
    let created = jumun.get(&path).await.ok();
    let renamed = json!({ "name": "Another name", "currency": "KRW", "lifecycle": "sauce-shop" });
    let replaced = jumun.put(&path, &renamed).await;
    assert_eq!((replaced.status, &replaced.body["name"]), (200, &json!("Another name")));
    assert_eq!(replaced.body["created_at"], created["created_at"]);
    let listed = jumun.get("/v1/merchants").await.ok();
    assert!(listed["items"].as_array().expect("a list").contains(&replaced.body));
    let _ = jumun.get("/v1/merchants/nobody").await.problem(404, "not-found");
    let unknown = json!({ "name": "A", "currency": "KRW", "lifecycle": "no-such-lifecycle" });
    let _ = jumun.put(&path, &unknown).await.problem(422, "unknown-lifecycle");
    assert_eq!(jumun.get(&path).await.ok(), replaced.body);
}

#[tokio::test]
async fn what_is_held_stays_held_when_a_product_is_put() {
    let jumun = shared().await;
    let shop = Shop::open(jumun).await;
    let held = shop.place("tok_slow_1500", 4);
    let put = async {
        tests::until("the hold", async || (shop.shelf("chili").await.1 == 4).then_some(())).await;
        let path = format!("/v1/merchants/{}/products/chili", shop.merchant_id);
        let mut product = json!({ "name": "Chili", "unit_price": { "amount": 1, "currency": "KRW" }, "on_hand": 3 });
        assert_eq!(jumun.put(&path, &product).await.problem(409, "stock-reserved")["reserved"], 4);
        product["on_hand"] = json!(10);
        let put = jumun.put(&path, &product).await.ok();
        assert_eq!((&put["on_hand"], &put["reserved"], &put["available"]), (&json!(10), &json!(4), &json!(6)));
    };
    let (placed, ()) = futures::join!(held, put);
    assert_eq!(placed.body["total"]["amount"], 36_000, "priced when it was placed");
    tests::until("the sale", async || (shop.shelf("chili").await == (6, 0, 6)).then_some(())).await;
}

#[tokio::test]
async fn products_without_stock_are_never_short() {
    let jumun = shared().await;
    let shop = Shop::open(jumun).await;
    let path = format!("/v1/merchants/{}/products/gift-wrap", shop.merchant_id);
    let product = json!({ "name": "Gift wrap", "unit_price": { "amount": 500, "currency": "KRW" } });
    let put = jumun.put(&path, &product).await.ok();
    assert!(put["on_hand"].is_null() && put["available"].is_null());
    let mut request = shop.request("tok_ok", 1);
    request["lines"][0] = json!({ "sku": "gift-wrap", "quantity": 999 });
    assert_eq!(jumun.post("/v1/orders", &request).await.status, 201);

    let foreign = json!({ "name": "A", "unit_price": { "amount": 1, "currency": "EUR" } });
    let _ = jumun.put(&path, &foreign).await.problem(422, "currency-mismatch");
    let _ = jumun.put("/v1/merchants/nobody/products/a", &product).await.problem(404, "not-found");
    let missing = format!("/v1/merchants/{}/products/no-such-thing", shop.merchant_id);
    let _ = jumun.get(&missing).await.problem(404, "not-found");
}
