//! The front as a whole, over ports in memory: what needs an engine that misbehaves, or none. What orders go through is
//! tested in `tests/it`, over the real engine.

mod audit;
mod bulk;
mod commands;
mod console;
mod dashboard;
mod deployments;
mod deposits;
mod errors;
mod ledger;
mod lifecycles;
mod notifications;
mod pressure;
mod retry;
mod streams;
mod webhooks;
mod workflow;

use std::sync::Arc;
use std::time::{Duration, Instant};

use poem::Endpoint;
use poem::http::{HeaderValue, Method};
use serde_json::{Value as Json, json};
use workflows::Context;
use workflows::order::Rejection;

use crate::testing::{Fate, State, World, deps, locked, order, request};
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
        GET    /metrics  metrics\n\
        GET    /readyz  readyz\n\
        GET    /v1/audit  list_audit\n\
        GET    /v1/coupons  list_coupons\n\
        GET    /v1/dashboard  get_dashboard\n\
        GET    /v1/deliveries  list_deliveries\n\
        GET    /v1/deployments  list_deployments\n\
        GET    /v1/events  list_events\n\
        GET    /v1/ledger/proof  prove_ledger\n\
        GET    /v1/lifecycles  list_lifecycles\n\
        POST   /v1/lifecycles/preview  preview_lifecycle\n\
        GET    /v1/lifecycles/{name}  get_lifecycle\n\
        GET    /v1/merchants  list_merchants\n\
        GET    /v1/merchants/{merchant_id}  get_merchant\n\
        PUT    /v1/merchants/{merchant_id}  put_merchant\n\
        GET    /v1/merchants/{merchant_id}/products  list_products\n\
        GET    /v1/merchants/{merchant_id}/products/{sku}  get_product\n\
        PUT    /v1/merchants/{merchant_id}/products/{sku}  put_product\n\
        GET    /v1/merchants/{merchant_id}/webhooks  list_webhooks\n\
        DELETE /v1/merchants/{merchant_id}/webhooks/{name}  delete_webhook\n\
        GET    /v1/merchants/{merchant_id}/webhooks/{name}  get_webhook\n\
        PUT    /v1/merchants/{merchant_id}/webhooks/{name}  put_webhook\n\
        GET    /v1/merchants/{merchant_id}/webhooks/{name}/deliveries  list_webhook_deliveries\n\
        POST   /v1/merchants/{merchant_id}/webhooks/{name}/deliveries/{delivery_id}/replay  replay_webhook_delivery\n\
        GET    /v1/notifications  list_notifications\n\
        GET    /v1/orders  list_orders\n\
        POST   /v1/orders  place_order\n\
        POST   /v1/orders/bulk  bulk_command_orders\n\
        GET    /v1/orders/{order_id}  get_order\n\
        GET    /v1/orders/{order_id}/events  list_order_events\n\
        POST   /v1/orders/{order_id}/retry  retry_order\n\
        GET    /v1/orders/{order_id}/workflow  get_order_workflow\n\
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
    for request in
        ["PlaceOrder", "OrderLine", "Customer", "PayBy", "ExpectedTotal", "ProductBody", "SandboxMode", "WebhookBody"]
    {
        assert_eq!(schemas[request]["additionalProperties"], false, "{request}");
    }
    assert!(schemas["Order"]["additionalProperties"].is_null());
}

#[test]
fn no_body_may_be_null() {
    let document: Json = serde_json::from_str(&openapi(true)).expect("JSON");
    for operation in document["paths"].as_object().expect("paths").values().filter_map(Json::as_object).flatten() {
        let schema = &operation.1["requestBody"]["content"]["application/json; charset=utf-8"]["schema"];
        let name = schema["$ref"].as_str().map(|name| name.trim_start_matches('#'));
        let schema = name.and_then(|name| document.pointer(name)).unwrap_or(schema);
        assert_ne!(schema["nullable"], true, "{}", operation.1["operationId"]);
    }
}

#[test]
fn what_may_be_null_may_be_null_by_all_its_schemas() {
    fn check(document: &Json, json: &Json) {
        if json["nullable"] == true {
            for name in json["allOf"].as_array().into_iter().flatten().filter_map(|part| part["$ref"].as_str()) {
                let schema = document.pointer(name.trim_start_matches('#')).expect("the schema");
                assert_eq!(schema["nullable"], true, "{name}");
            }
        }
        json.as_object().into_iter().flat_map(|members| members.values()).for_each(|member| check(document, member));
        json.as_array().into_iter().flatten().for_each(|item| check(document, item));
    }
    let document: Json = serde_json::from_str(&openapi(true)).expect("JSON");
    check(&document, &document);
    assert_eq!(document["components"]["schemas"]["OrderCoupon"]["nullable"], true);
}

#[test]
fn every_link_leads_somewhere() {
    let document: Json = serde_json::from_str(&openapi(true)).expect("JSON");
    let paths = document["paths"].as_object().expect("paths").values();
    let operations: Vec<_> = paths.flat_map(|path| path.as_object().expect("operations").values()).collect();
    let mut links = 0;
    for response in
        operations.iter().flat_map(|operation| operation["responses"].as_object().expect("responses").values())
    {
        assert!(!response["description"].is_null(), "a link of a status that is not answered: {response}");
        for (target, link) in response["links"].as_object().into_iter().flatten() {
            let target =
                operations.iter().find(|operation| operation["operationId"] == **target).expect("an operation");
            let parameters = target["parameters"].as_array().expect("parameters");
            for name in link["parameters"].as_object().expect("parameters").keys() {
                assert!(parameters.iter().any(|parameter| parameter["name"] == **name), "{name} of {link}");
            }
            links += 1;
        }
    }
    assert!(links > 10, "{links}");
}

#[test]
fn every_response_is_described() {
    let document: Json = serde_json::from_str(&openapi(true)).expect("JSON");
    for (path, operations) in document["paths"].as_object().expect("paths") {
        for operation in operations.as_object().expect("operations").values() {
            for (status, response) in operation["responses"].as_object().expect("responses") {
                assert!(response["description"].as_str().is_some_and(|text| !text.is_empty()), "{status} of {path}");
            }
        }
    }
}

#[tokio::test]
async fn the_docs_load_nothing_from_elsewhere() {
    let world = World::new().await;
    let page = world.app.get_response(request(Method::GET, "/docs").finish()).await;
    let html = page.into_body().into_string().await.expect("text");
    assert!(html.contains("place_order") && html.contains("<title>jumun API</title>"));
    for elsewhere in ["src=\"http", "href=\"http", "src=\"//", "href=\"//", "url(http", "@import"] {
        assert!(!html.contains(elsewhere), "{elsewhere}");
    }
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
        ("/customer/name", json!(1), "customer.name: expected a text of 1 to 100 characters"),
        ("/customer", Json::Null, "customer: missing; expected an object"),
        ("/customer", json!("4111111111111111"), "customer: expected an object"),
        ("/customer/phone", Json::Null, "customer.phone: missing"),
        ("/lines/0/sku", json!(4111), "lines[0].sku: expected a text such as gochujang"),
        ("/lines/0/quantity", json!("x"), "lines[0].quantity: expected a whole number"),
        ("/merchant_id", json!("A b"), "merchant id: expected 1 to 63 of"),
        ("/lines/0", json!({"sku": "a"}), "lines[0].quantity: missing; expected a whole number"),
        ("/payment", json!({"method": "card", "card_token": "t", "pin": 1}), "payment: unknown field `pin`"),
        ("/payment/method", json!("cash"), "payment.method: expected one of card, deposit"),
        ("/lines", json!([]), "lines: expected a list of 1 to 100 items"),
    ] {
        let mut body = order();
        *body.pointer_mut(pointer).expect("there") = value;
        let answer = world.post("/v1/orders", &[], body).await;
        answer.is_problem(400, "invalid-request");
        let detail = answer.detail();
        assert!(detail.contains(said), "{detail}");
        for kept in ["occurred", "4111", "cash", "Expected input"] {
            assert!(!detail.contains(kept), "{detail}");
        }
    }
    let mut body = order();
    body["expected_total"] = json!({"amount": -1, "currency": "KRW"});
    let answer = world.post("/v1/orders", &[], body).await;
    assert!(answer.detail().contains("expected_total.amount: expected a whole number from 0 to"), "{answer:?}");
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
    let said = |member: &str| [0, 1].map(|n| events["items"][n][member].clone());
    assert_eq!(said("type"), ["stock_reserved", "payment_approved"]);
    assert_eq!(said("step"), ["order.place", "order.place"]);
    let placed = world.get(&format!("/v1/orders/{id}/events?limit=1")).await.body;
    let data = &placed["items"][0]["data"];
    assert!(data["request_digest"].is_null() && !data["total"].is_null(), "{data}");
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
    let decided = world.post("/v1/orders", &[("prefer", "wait=0")], order()).await;
    assert_eq!(decided.status, 201, "what is decided is told, however late");
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
    // With a key the caller can find out.
    let key = [("prefer", "wait=0"), ("idempotency-key", "k-1")];
    world.post("/v1/orders", &key, order()).await.is_problem(503, "try-again-later");
    // Without one we do: the order is placed once the engine is well, although its caller is gone.
    let ambiguous = world.post("/v1/orders", &[("prefer", "wait=0")], order()).await;
    assert_eq!((ambiguous.status.as_u16(), &ambiguous.body), (202, &Json::Null));
    assert_eq!(world.get("/readyz").await.status, 200);
    let location = ambiguous.header("location").expect("a location");
    world.get(location).await.is_problem(404, "not-found");
    world.set_fate(Fate::Stands);
    let deadline = Instant::now() + Duration::from_secs(10);
    while world.get(location).await.status != 200 {
        assert!(Instant::now() < deadline, "the order is placed at last");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(world.post("/v1/orders", &key[1..], order()).await.status, 201);
    assert_eq!(world.state.placed(), 2);
    let unreachable = world.without_engine();
    let refused = unreachable.post("/v1/orders", &[("prefer", "wait=1")], order()).await;
    refused.is_problem(503, "try-again-later");
    unreachable.get("/readyz").await.is_problem(503, "not-ready");
    assert_eq!(unreachable.get("/livez").await.body, json!({"status": "ok"}));
}

#[tokio::test]
async fn the_wait_is_kept_whatever_hangs() {
    let world = World::new().await;
    let wait = [("prefer", "wait=1")];
    let began = Instant::now();
    world.set_fate(Fate::Hangs);
    assert_eq!(world.post("/v1/orders", &wait, order()).await.status, 202);
    assert!(began.elapsed() < Duration::from_secs(2), "a hanging engine: {:?}", began.elapsed());
    let began = Instant::now();
    world.put("/v1/sandbox/stock", json!({"mode": "slow", "delay_ms": 60_000})).await;
    world.post("/v1/orders", &wait, order()).await.is_problem(503, "try-again-later");
    assert!(began.elapsed() < Duration::from_secs(2), "a slow stock: {:?}", began.elapsed());
}

#[tokio::test]
async fn an_order_is_paid_as_its_merchant_wants_it() {
    let world = World::new().await;
    let paid = |payment: Json| {
        let mut body = order();
        body["payment"] = payment;
        body
    };
    let deposit = world.post("/v1/orders", &[], paid(json!({"method": "deposit"}))).await;
    deposit.is_problem(422, "payment-method-not-accepted");
    let no_card = world.post("/v1/orders", &[], paid(json!({"method": "card"}))).await;
    no_card.is_problem(400, "invalid-request");
    assert!(no_card.detail().contains("payment.card_token"), "{no_card:?}");
}

#[tokio::test]
async fn only_documented_parameters_are_taken() {
    let world = World::new().await;
    for (path, said) in [
        ("/v1/orders?lost=true", "`lost`"),
        ("/v1/orders?limit=1&limit=2", "`limit` is not as documented: given more than once"),
        ("/v1/orders?status=lost", "`status` is not as documented: expected one of placed, awaiting_deposit, paid"),
        ("/v1/merchants?x", "`x`"),
        ("/v1/payments?order=1", "order_id, limit"),
        ("/v1/orders/ord_0197f3a0c5d27cc2a1b2c3d4e5f60718?status=paid", "it has none"),
    ] {
        let answer = world.get(path).await;
        answer.is_problem(400, "invalid-request");
        assert!(answer.detail().contains(said), "{answer:?}");
    }
    let long = world.get(&format!("/v1/orders?{}=1", "x".repeat(1000))).await;
    assert!(long.detail().len() < 300, "{long:?}");
    assert_eq!(world.get("/v1/orders?status=paid&limit=1&placed_after=2026-01-31T09%3A30%3A00Z").await.status, 200);
}

#[tokio::test]
async fn a_name_that_the_caller_chooses_is_wrong_rather_than_not_there() {
    let world = World::new().await;
    for path in ["/v1/merchants/No!", "/v1/merchants/sauce-shop/products/a!"] {
        let answer = world.put(path, json!({})).await;
        answer.is_problem(400, "invalid-request");
        world.get(path).await.is_problem(404, "not-found");
    }
    world.put("/v1/merchants/No!/products/a", json!({})).await.is_problem(404, "not-found");
}

#[tokio::test]
async fn a_context_that_is_down_is_down_for_itself_only() {
    let world = World::new().await;
    for (context, path) in [
        ("payment", "/v1/payments"),
        ("delivery", "/v1/deliveries"),
        ("notification", "/v1/notifications"),
        ("stock", "/v1/merchants/sauce-shop/products"),
    ] {
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
    world.put("/v1/sandbox/weather", json!({"mode": "up"})).await.is_problem(404, "not-found");
}

#[tokio::test]
async fn a_switch_in_a_process_that_is_gone_cannot_be_set() {
    let world = World::new().await;
    locked(&world.state.gone).insert(Context::Kitchen);
    let answer = world.put("/v1/sandbox/kitchen", json!({"mode": "down"})).await;
    answer.is_problem(503, "upstream-unavailable");
    assert_eq!(answer.body["context"], "kitchen");
    // That says nothing of the others.
    let set = world.put("/v1/sandbox/payment", json!({"mode": "slow", "delay_ms": 20})).await;
    assert_eq!((set.status.as_u16(), &set.body["payment"]["delay_ms"]), (200, &json!(20)));
    let modes = world.get("/v1/sandbox").await.body;
    assert_eq!((modes.get("kitchen"), &modes["notification"]), (None, &json!({"mode": "up"})));
}

#[tokio::test]
async fn a_command_is_judged_before_the_engine_is_asked() {
    let world = World::new().await;
    let placed = world.post("/v1/orders", &[], order()).await.body;
    let path = |command: &str| format!("/v1/orders/{}/{command}", placed["id"].as_str().expect("an id"));
    let post = |command: &str| request(Method::POST, &path(command)).finish();
    // No courier sees it yet.
    world.send(post("complete-delivery")).await.is_problem(404, "not-found");
    let refused = world.send(post("accept")).await;
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
