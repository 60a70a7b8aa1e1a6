//! The audit trail: written before anything is done, and told to operators.

use poem::http::Method;
use serde_json::{Value as Json, json};
use workflows::Role;

use crate::testing::{Answer, World, locked, request_as, token};

async fn put_merchant(world: &World, name: &str) -> Answer {
    world.put("/v1/merchants/sauce-shop", json!({"name": name, "currency": "KRW", "lifecycle": "sauce-shop"})).await
}

async fn put_product(world: &World, on_hand: u32) -> Answer {
    let price = json!({"amount": 12_000, "currency": "KRW"});
    let product = json!({"name": "Gochujang", "unit_price": price, "on_hand": on_hand});
    world.put("/v1/merchants/sauce-shop/products/gochujang", product).await
}

/// Action, outcome and problem of every entry, newest first, but for those of the making of the world.
async fn entries(world: &World) -> Vec<[Json; 3]> {
    let page = world.get("/v1/audit").await;
    assert_eq!(page.status, 200, "{page:?}");
    let items = page.body["items"].as_array().expect("a list").clone();
    let told = items.iter().map(|entry| ["action", "outcome", "problem"].map(|part| entry[part].clone()));
    told.take(items.len() - 2).collect()
}

#[tokio::test]
async fn what_cannot_be_written_down_is_not_done() {
    let world = World::new().await;
    let before = world.get("/v1/merchants/sauce-shop").await.body;
    *locked(&world.state.audit_takes) = 0;
    put_merchant(&world, "Another").await.is_problem(503, "try-again-later");
    assert_eq!(world.get("/v1/merchants/sauce-shop").await.body, before);
    for path in ["/v1/sandbox/stock", "/v1/merchants/sauce-shop/webhooks/erp"] {
        let body =
            if path.contains("sandbox") { json!({"mode": "down"}) } else { json!({"url": "https://example.com"}) };
        world.put(path, body).await.is_problem(503, "try-again-later");
    }
    assert_eq!(world.get("/v1/sandbox").await.body["stock"], json!({"mode": "up"}));
    let bulk = json!({"filter": {"status": "paid"}, "command": "retry", "dry_run": false, "expected": 0});
    world.post("/v1/orders/bulk", &[], bulk).await.is_problem(503, "try-again-later");
    assert_eq!(entries(&world).await, Vec::<[Json; 3]>::new());
}

#[tokio::test]
async fn what_was_done_is_answered_though_its_end_is_not_written() {
    let world = World::new().await;
    *locked(&world.state.audit_takes) = 1;
    assert_eq!(put_merchant(&world, "Another").await.status, 200);
    assert_eq!(world.get("/v1/merchants/sauce-shop").await.body["name"], "Another");
    assert_eq!(entries(&world).await, [[json!("put_merchant"), Json::Null, Json::Null]]);
}

#[tokio::test]
async fn what_came_of_an_act_is_told() {
    let world = World::new().await;
    assert_eq!(put_product(&world, 5).await.status, 200);
    put_product(&world, 1).await.is_problem(409, "stock-reserved");
    world.put("/v1/sandbox/stock", json!({"mode": "down"})).await;
    put_product(&world, 5).await.is_problem(503, "upstream-unavailable");
    // Nobody set out to do what is malformed.
    world.put("/v1/sandbox/stock", json!({"mode": "odd"})).await.is_problem(400, "invalid-request");
    let told = [
        ("put_product", "unanswered", json!("/problems/upstream-unavailable")),
        ("put_sandbox", "done", Json::Null),
        ("put_product", "refused", json!("/problems/stock-reserved")),
        ("put_product", "done", Json::Null),
    ];
    assert_eq!(entries(&world).await, told.map(|(action, outcome, problem)| [json!(action), json!(outcome), problem]));
    let entry = &world.get("/v1/audit?limit=1&action=put_sandbox").await.body["items"][0];
    let expected = json!({
        "id": entry["id"], "at": "2026-01-31T09:30:00Z", "role": "operator", "subject": "kim", "action": "put_sandbox",
        "order_id": null, "merchant_id": null, "target": "sandbox/stock", "reason": null, "outcome": "done",
        "problem": null, "details": {"mode": "down"},
    });
    assert_eq!(entry, &expected);
}

#[tokio::test]
async fn it_is_for_operators_and_read_page_by_page() {
    let world = World::new().await;
    for n in 0..5 {
        put_merchant(&world, &n.to_string()).await;
    }
    let first = world.get("/v1/audit?limit=4").await.body;
    assert_eq!(first["items"].as_array().map(Vec::len), Some(4));
    let cursor = first["next_cursor"].as_str().expect("more");
    let second = world.get(&format!("/v1/audit?limit=4&cursor={cursor}")).await.body;
    assert_eq!((second["items"].as_array().map(Vec::len), &second["next_cursor"]), (Some(3), &Json::Null));
    world.get("/v1/audit?cursor=x").await.is_problem(400, "invalid-cursor");
    world.get("/v1/audit?who=kim").await.is_problem(400, "invalid-request");
    for role in [Role::Customer, Role::Merchant, Role::Courier] {
        let ask = |method, path: &str, body: Json| {
            let request = request_as(&token(role, "kim"), method, path).content_type("application/json");
            world.send(request.body(body.to_string()))
        };
        ask(Method::GET, "/v1/audit", Json::Null).await.is_problem(403, "forbidden");
        let bulk = json!({"filter": {"status": "paid"}, "command": "cancel", "dry_run": true});
        ask(Method::POST, "/v1/orders/bulk", bulk).await.is_problem(403, "forbidden");
        let retry = format!("/v1/orders/ord_{:032}/retry", 0);
        ask(Method::POST, &retry, Json::Null).await.is_problem(403, "forbidden");
    }
}
