//! The front as a whole, over ports in memory.

use std::sync::Arc;
use std::time::Duration;

use poem::Endpoint;
use poem::http::{HeaderValue, Method};
use serde_json::{Value as Json, json};
use workflows::Context;
use workflows::order::Rejection;

use crate::testing::{Fate, State, World, deps, order, request};
use crate::{openapi, serve};

#[test]
fn the_routes_are_these() {
    let document: Json = serde_json::from_str(&openapi(true)).expect("JSON");
    let mut routes = Vec::new();
    for (path, operations) in document["paths"].as_object().expect("paths") {
        for (verb, operation) in operations.as_object().expect("operations") {
            let id = operation["operationId"].as_str().expect("every operation has an id");
            for said in ["summary", "tags"] {
                assert!(!operation[said].is_null(), "{said} of {id}");
            }
            routes.push(format!("{:6} {path}  {id}", verb.to_uppercase()));
        }
    }
    let expected = "\
        GET    /livez  livez\n\
        GET    /readyz  readyz\n\
        GET    /v1/deliveries  list_deliveries\n\
        GET    /v1/lifecycles  list_lifecycles\n\
        GET    /v1/lifecycles/{name}  get_lifecycle\n\
        GET    /v1/merchants  list_merchants\n\
        GET    /v1/merchants/{merchant_id}  get_merchant\n\
        PUT    /v1/merchants/{merchant_id}  put_merchant\n\
        GET    /v1/merchants/{merchant_id}/products  list_products\n\
        GET    /v1/merchants/{merchant_id}/products/{sku}  get_product\n\
        PUT    /v1/merchants/{merchant_id}/products/{sku}  put_product\n\
        GET    /v1/orders  list_orders\n\
        POST   /v1/orders  place_order\n\
        GET    /v1/orders/{order_id}  get_order\n\
        GET    /v1/orders/{order_id}/events  list_order_events\n\
        POST   /v1/orders/{order_id}/{command}  command_order\n\
        GET    /v1/payments  list_payments\n\
        GET    /v1/sandbox  get_sandbox\n\
        PUT    /v1/sandbox/{context}  put_sandbox";
    // By path, and then by verb.
    routes.sort_by_key(|route| route.split_whitespace().rev().skip(1).map(str::to_owned).collect::<Vec<_>>());
    assert_eq!(routes.join("\n"), expected);
    assert!(!openapi(false).contains("/v1/sandbox"));
}

#[test]
fn the_document_says_that_unknown_fields_are_refused() {
    let document: Json = serde_json::from_str(&openapi(true)).expect("JSON");
    let schemas = &document["components"]["schemas"];
    for request in ["PlaceOrder", "OrderLine", "Customer", "PayBy", "ExpectedTotal", "ProductBody", "SandboxMode"] {
        assert_eq!(schemas[request]["additionalProperties"], false, "{request}");
    }
    assert!(schemas["Order"]["additionalProperties"].is_null());
}

#[tokio::test]
async fn the_docs_load_nothing_from_elsewhere() {
    let world = World::new().await;
    let page = world.app.get_response(request(Method::GET, "/docs").finish()).await;
    let html = page.into_body().into_string().await.expect("text");
    assert!(html.contains("place_order"));
    for elsewhere in ["src=\"http", "href=\"http", "src=\"//", "href=\"//", "url(http", "@import"] {
        assert!(!html.contains(elsewhere), "{elsewhere}");
    }
    assert_eq!(world.get("/").await.header("location"), Some("/docs"));
    assert_eq!(world.get("/openapi.json").await.body["info"]["title"], "jumun");
}

#[tokio::test]
async fn what_the_framework_refuses_is_a_problem_too() {
    let world = World::new().await;
    for path in ["/nothing", "/v1", "/v1/orders/", "/v1/orders/x", "/v1/orders/%ff", "/v1/lifecycles/none"] {
        world.get(path).await.is_problem(404, "not-found");
    }
    for (verb, path, allow) in [
        (Method::DELETE, "/v1/orders", "GET, HEAD, OPTIONS, POST"),
        (Method::POST, "/v1/orders/ord_1/events", "GET, HEAD, OPTIONS"),
        (Method::GET, "/v1/orders/ord_1/cancel", "OPTIONS, POST"),
        (Method::HEAD, "/v1/orders/ord_1/cancel", "OPTIONS, POST"),
        (Method::from_bytes(b"BREW").expect("a token"), "/docs", "GET, HEAD, OPTIONS"),
    ] {
        let answer = world.send(request(verb, path).finish()).await;
        answer.is_problem(405, "method-not-allowed");
        assert_eq!(answer.header("allow"), Some(allow));
    }
    let options = world.send(request(Method::OPTIONS, "/v1/orders").finish()).await;
    assert_eq!((options.status.as_u16(), options.header("allow")), (204, Some("GET, HEAD, OPTIONS, POST")));
    let head = world.send(request(Method::HEAD, "/v1/orders").finish()).await;
    assert_eq!((head.status.as_u16(), head.body), (200, Json::Null));
}

#[tokio::test]
async fn a_body_is_json_of_bounded_length() {
    let world = World::new().await;
    let post = || request(Method::POST, "/v1/orders");
    let large = vec![b' '; 64 * 1024 + 1];
    let declared = post().header("content-length", large.len()).finish();
    world.send(declared).await.is_problem(413, "body-too-large");
    let undeclared = post().content_type("application/json").body(large);
    world.send(undeclared).await.is_problem(413, "body-too-large");
    let largest = [order().to_string().into_bytes(), vec![b' '; 64 * 1024]].concat();
    let fits = post().content_type("application/json").body(largest[..64 * 1024].to_vec());
    assert_eq!(world.send(fits).await.status, 201);
    for content_type in [None, Some("text/plain")] {
        let request = content_type.map_or_else(post, |content_type| post().content_type(content_type));
        world.send(request.body(order().to_string())).await.is_problem(415, "unsupported-media-type");
    }
    for body in ["", "{", "null", "[]", "\u{0}"] {
        let request = post().content_type("application/json").body(body);
        world.send(request).await.is_problem(400, "invalid-request");
    }
}

#[tokio::test]
async fn a_refusal_says_what_is_wrong() {
    let world = World::new().await;
    for (pointer, value, said) in [
        ("/lines/0/quantity", json!(0), "quantity: expected a whole number from 1 to 999"),
        ("/customer/name", json!(1), "customer name: expected a text of 1 to 100 characters"),
        ("/merchant_id", json!("A b"), "merchant id: expected 1 to 63 of"),
        ("/lines/0", json!({"sku": "a"}), "quantity: missing; expected a whole number"),
        ("/payment", json!({"method": "card", "card_token": "t", "pin": 1}), "unknown field `pin`"),
        ("/payment/method", json!("cash"), "\"PaymentMethod\", found \"cash\""),
        ("/lines", json!([]), "minItems(1)"),
    ] {
        let mut body = order();
        *body.pointer_mut(pointer).expect("there") = value;
        let answer = world.post("/v1/orders", &[], body).await;
        answer.is_problem(400, "invalid-request");
        let detail = answer.body["detail"].as_str().expect("a text");
        assert!(detail.contains(said) && !detail.contains("occurred"), "{detail}");
    }
    let answer = world.get("/v1/orders?limit=201").await;
    assert!(answer.body["detail"].as_str().is_some_and(|detail| detail.contains("`limit`")), "{answer:?}");
    world.get("/v1/orders?cursor=x").await.is_problem(400, "invalid-cursor");
}

#[tokio::test]
async fn an_order_that_stands_is_answered_in_full() {
    let world = World::new().await;
    let mut body = order();
    body["expected_total"] = json!({"amount": 24_000, "currency": "KRW"});
    let answer = world.post("/v1/orders", &[("prefer", "wait=5"), ("accept-language", "ko")], body).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let id = answer.body["id"].as_str().expect("an id");
    assert_eq!(answer.header("location"), Some(format!("/v1/orders/{id}").as_str()));
    assert_eq!((answer.header("etag"), answer.header("preference-applied")), (Some("\"4\""), Some("wait=5")));
    let won = |amount: i64| json!({"amount": amount, "currency": "KRW"});
    let expected = json!({
        "id": id,
        "merchant_id": "sauce-shop",
        "customer": {"name": "Kim Minji", "phone": "010-1234-5678", "address": "Seoul"},
        "lines": [{
            "sku": "gochujang",
            "name": "Gochujang",
            "unit_price": won(12_000),
            "quantity": 2,
            "line_total": won(24_000),
        }],
        "total": won(24_000),
        "note": null,
        "status": "paid",
        "status_label": "결제완료",
        "payment": {"id": id.replace("ord", "pay"), "method": "card", "state": "approved"},
        "delivery": null,
        "coupon": null,
        "reason": null,
        "lifecycle": "sauce-shop",
        "placed_at": "2026-01-31T09:30:00Z",
        "updated_at": "2026-01-31T09:30:00Z",
        "version": 4,
        "allowed_commands": ["cancel"],
        "deadline": null,
    });
    assert_eq!(answer.body, expected);

    let read = world.get(&format!("/v1/orders/{id}")).await;
    assert_eq!((read.header("etag"), &read.body["version"]), (Some("\"5\""), &json!(5)));
    let known = request(Method::GET, &format!("/v1/orders/{id}")).header("if-none-match", "\"5\"").finish();
    assert_eq!(world.send(known).await.status, 304);
    let events = world.get(&format!("/v1/orders/{id}/events?after=1&limit=2")).await.body;
    assert_eq!(events["next_after"], 3);
    assert_eq!(events["items"][0]["id"], format!("{id}/2"));
    assert_eq!(events["items"][0]["data"], json!({}));
    let placed = world.get(&format!("/v1/orders/{id}/events?limit=1")).await.body;
    let data = &placed["items"][0]["data"];
    assert!(data["request_digest"].is_null() && !data["total"].is_null(), "{data}");
}

#[tokio::test]
async fn an_order_that_is_rejected_says_why() {
    let world = World::new().await;
    let sku = || "gochujang".parse().expect("a SKU");
    for (rejection, status, slug, member, said) in [
        (
            Rejection::PaymentDeclined { reason: "card_declined".to_owned() },
            402,
            "payment-declined",
            "reason",
            json!("card_declined"),
        ),
        (Rejection::OutOfStock { sku: sku(), available: 1 }, 409, "out-of-stock", "available", json!(1)),
        (Rejection::Unavailable { context: Context::Payment }, 503, "try-again-later", "reason", Json::Null),
    ] {
        world.set_fate(Fate::Rejected(rejection));
        let answer = world.post("/v1/orders", &[], order()).await;
        answer.is_problem(status, slug);
        assert_eq!(answer.body[member], said);
        assert_eq!(answer.header("retry-after").is_some(), status == 503);
        assert_eq!(answer.body["order_id"].is_string(), status != 503);
    }
}

#[tokio::test]
async fn what_cannot_be_priced_is_never_placed() {
    let world = World::new().await;
    let with = |pointer: &str, value: Json| {
        let mut body = order();
        *body.pointer_mut(pointer).expect("there") = value;
        body
    };
    world.post("/v1/orders", &[], with("/merchant_id", json!("nobody"))).await.is_problem(422, "unknown-merchant");
    world.post("/v1/orders", &[], with("/lines/0/sku", json!("x"))).await.is_problem(422, "unknown-product");
    let mut cheaper = order();
    cheaper["expected_total"] = json!({"amount": 23_999, "currency": "KRW"});
    let changed = world.post("/v1/orders", &[], cheaper).await;
    changed.is_problem(409, "price-changed");
    assert_eq!(changed.body["total"]["amount"], 24_000);
    let euro = json!({"name": "S", "currency": "EUR", "lifecycle": "sauce-shop"});
    assert_eq!(world.put("/v1/merchants/sauce-shop", euro).await.status, 200);
    world.post("/v1/orders", &[], order()).await.is_problem(422, "currency-mismatch");
    world.put("/v1/sandbox/stock", json!({"mode": "down"})).await;
    world.post("/v1/orders", &[], order()).await.is_problem(503, "try-again-later");
    assert_eq!(world.state.placed(), 0);
}

#[tokio::test]
async fn a_key_is_one_order_and_one_answer() {
    let world = World::new().await;
    let key = [("idempotency-key", "k-1")];
    let first = world.post("/v1/orders", &key, order()).await;
    // Whatever became of the engine and of the prices.
    world.set_fate(Fate::Fails);
    world.put("/v1/sandbox/stock", json!({"mode": "down"})).await;
    let again = world.post("/v1/orders", &key, order()).await;
    assert_eq!((first.status.as_u16(), &first.body, again.status), (201, &again.body, first.status));
    assert_eq!(world.state.placed(), 1);
    let mut other = order();
    other["note"] = json!("other");
    world.post("/v1/orders", &key, other).await.is_problem(422, "idempotency-key-reused");
    for wrong in ["", "a b"] {
        world.post("/v1/orders", &[("idempotency-key", wrong)], order()).await.is_problem(400, "invalid-request");
    }
    let request = request(Method::POST, "/v1/orders").content_type("application/json");
    let request = request.header("idempotency-key", HeaderValue::from_bytes("키".as_bytes()).expect("a value"));
    world.send(request.body(order().to_string())).await.is_problem(400, "invalid-request");
}

#[tokio::test]
async fn a_key_whose_request_left_nothing_standing_is_free_again() {
    let world = World::new().await;
    let key = [("idempotency-key", "k-1")];
    world.set_fate(Fate::Rejected(Rejection::Unavailable { context: Context::Payment }));
    world.post("/v1/orders", &key, order()).await.is_problem(503, "try-again-later");
    world.set_fate(Fate::Stands);
    assert_eq!(world.post("/v1/orders", &key, order()).await.status, 201);
    assert_eq!(world.state.placed(), 2);
}

#[tokio::test]
async fn an_order_that_is_not_decided_in_time_can_be_read() {
    let world = World::new().await;
    world.set_fate(Fate::Waits);
    for wait in ["wait=0", "wait=1"] {
        let answer = world.post("/v1/orders", &[("prefer", wait)], order()).await;
        assert_eq!((answer.status.as_u16(), answer.header("preference-applied")), (202, Some(wait)));
        assert_eq!(answer.body["status"], "placed");
        let read = world.get(answer.header("location").expect("a location")).await;
        assert_eq!(read.body, answer.body);
    }
}

#[tokio::test]
async fn an_engine_that_may_have_the_order_is_not_one_that_does_not() {
    let world = World::new().await;
    world.set_fate(Fate::Fails);
    let ambiguous = world.post("/v1/orders", &[("prefer", "wait=0")], order()).await;
    assert_eq!((ambiguous.status.as_u16(), ambiguous.body), (202, Json::Null));
    assert_eq!(world.get("/readyz").await.status, 200);
    let unreachable = world.without_engine();
    let refused = unreachable.post("/v1/orders", &[("prefer", "wait=1")], order()).await;
    refused.is_problem(503, "try-again-later");
    unreachable.get("/readyz").await.is_problem(503, "not-ready");
    assert_eq!(unreachable.get("/livez").await.body, json!({"status": "ok"}));
}

#[tokio::test]
async fn a_context_that_is_down_is_down_for_itself_only() {
    let world = World::new().await;
    for (context, path) in
        [("payment", "/v1/payments"), ("delivery", "/v1/deliveries"), ("stock", "/v1/merchants/sauce-shop/products")]
    {
        assert_eq!(world.get(path).await.status, 200);
        let modes = world.put(&format!("/v1/sandbox/{context}"), json!({"mode": "down"})).await;
        assert_eq!(modes.body[context], json!({"mode": "down"}));
        let answer = world.get(path).await;
        answer.is_problem(503, "upstream-unavailable");
        assert_eq!(answer.body["context"], context);
        assert!(answer.header("retry-after").is_some() && !answer.body.to_string().contains("sandbox"));
    }
    assert_eq!(world.get("/v1/orders").await.status, 200);
    for wrong in [json!({"mode": "slow"}), json!({"mode": "up", "delay_ms": 1}), json!({"mode": "odd"})] {
        world.put("/v1/sandbox/stock", wrong).await.is_problem(400, "invalid-request");
    }
    world.put("/v1/sandbox/kitchen", json!({"mode": "up"})).await.is_problem(404, "not-found");
}

#[tokio::test]
async fn merchants_and_products_are_put_and_read() {
    let world = World::new().await;
    let shop = |lifecycle: &str| json!({"name": "T", "currency": "KRW", "lifecycle": lifecycle});
    let created = world.put("/v1/merchants/t", shop("sauce-shop")).await;
    assert_eq!((created.status.as_u16(), created.header("location")), (201, Some("/v1/merchants/t")));
    assert_eq!(world.put("/v1/merchants/t", shop("sauce-shop")).await.status, 200);
    assert_eq!(world.get("/v1/merchants/t").await.body, created.body);
    assert_eq!(world.get("/v1/merchants").await.body["items"].as_array().map(Vec::len), Some(2));
    let unknown = world.put("/v1/merchants/t", shop("none")).await;
    unknown.is_problem(422, "unknown-lifecycle");
    assert!(unknown.body["detail"].as_str().is_some_and(|detail| detail.contains("sauce-shop")));
    let lifecycle = world.get("/v1/lifecycles/sauce-shop").await.body;
    assert_eq!(world.get("/v1/lifecycles").await.body["items"][0], lifecycle);
    assert_eq!(lifecycle["payment"], json!({"method": "card"}));

    let path = "/v1/merchants/sauce-shop/products/doenjang";
    let product = |currency: &str, on_hand: Json| json!({"name": "D", "unit_price": {"amount": 9_000, "currency": currency}, "on_hand": on_hand});
    let untracked = world.put(path, product("KRW", Json::Null)).await.body;
    assert_eq!((&untracked["on_hand"], &untracked["available"]), (&Json::Null, &Json::Null));
    assert_eq!(world.put(path, product("KRW", json!(7))).await.body["available"], 7);
    assert_eq!(world.get(path).await.body["on_hand"], 7);
    world.put(path, product("EUR", json!(7))).await.is_problem(422, "currency-mismatch");
    world.put(path, product("KRW", json!(-1))).await.is_problem(400, "invalid-request");
    let reserved = world.put(path, product("KRW", json!(1))).await;
    reserved.is_problem(409, "stock-reserved");
    assert_eq!(reserved.body["reserved"], 2);
    world.put("/v1/merchants/nobody/products/x", product("KRW", json!(7))).await.is_problem(404, "not-found");
    world.get("/v1/merchants/sauce-shop/products/x").await.is_problem(404, "not-found");
}

#[tokio::test]
async fn orders_are_listed_page_by_page() {
    let world = World::new().await;
    for _ in 0..3 {
        assert_eq!(world.post("/v1/orders", &[], order()).await.status, 201);
    }
    let first = world.get("/v1/orders?limit=2&status=paid").await.body;
    let cursor = first["next_cursor"].as_str().expect("another page");
    let second = world.get(&format!("/v1/orders?limit=2&cursor={cursor}")).await.body;
    assert_eq!((second["items"].as_array().map(Vec::len), &second["next_cursor"]), (Some(1), &Json::Null));
    assert_eq!(world.get("/v1/orders?status=closed").await.body["items"], json!([]));
}

#[tokio::test]
async fn a_command_is_judged_before_the_engine_is_asked() {
    let world = World::new().await;
    let placed = world.post("/v1/orders", &[], order()).await.body;
    let path = |command: &str| format!("/v1/orders/{}/{command}", placed["id"].as_str().expect("an id"));
    let post = |command: &str| request(Method::POST, &path(command)).finish();
    let refused = world.send(post("complete-delivery")).await;
    refused.is_problem(409, "command-not-allowed");
    assert_eq!((&refused.body["status"], &refused.body["allowed_commands"]), (&json!("paid"), &json!(["cancel"])));
    world.send(post("explode")).await.is_problem(404, "not-found");
    let unknown = format!("/v1/orders/ord_{}/cancel", "0".repeat(32));
    world.post(&unknown, &[], json!({})).await.is_problem(404, "not-found");
    world.post(&path("cancel"), &[], json!({"reason": "r", "why": 1})).await.is_problem(400, "invalid-request");
    let plain = request(Method::POST, &path("cancel")).content_type("text/plain").body("{}");
    world.send(plain).await.is_problem(415, "unsupported-media-type");
    // Allowed, but this engine knows no commands.
    world.send(post("cancel")).await.is_problem(503, "try-again-later");
}

#[tokio::test]
async fn it_serves_until_it_is_told_to_stop() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}/livez", listener.local_addr().expect("bound"));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let deps = deps(&Arc::new(State::new()), "http://127.0.0.1:1");
    let serving = tokio::spawn(serve(listener, deps, async { drop(stopped.await) }, Duration::from_secs(5)));
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let answer = client.get(&url).send().await.expect("an answer");
    assert_eq!(answer.status().as_u16(), 200);
    // The client keeps its connection, which must not hold up the stop.
    drop(stop);
    serving.await.expect("no panic").expect("served");
    assert!(client.get(&url).send().await.is_err());
}
