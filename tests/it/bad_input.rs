//! Bad input gets the right problem, and changes nothing.

use reqwest::Method;
use serde_json::{Value, json};
use tests::{CUSTOMER, Jumun, Shop};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use workflows::Role;

use crate::shared;

#[tokio::test]
async fn a_bad_order_is_refused_and_leaves_no_trace() {
    let shop = Shop::open(shared().await).await;
    let good = shop.request("tok_ok", 1);
    let with = |pointer: &str, value: Value| {
        let mut body = good.clone();
        *body.pointer_mut(pointer).expect("is there") = value;
        body
    };
    let added = |name: &str, value: Value| {
        let mut body = good.clone();
        body[name] = value;
        body
    };
    let cases: Vec<(&str, Value, u16, &str)> = vec![
        ("unknown merchant", with("/merchant_id", json!("nobody")), 422, "unknown-merchant"),
        ("bad merchant id", with("/merchant_id", json!("No Body!")), 400, "invalid-request"),
        ("unknown SKU", with("/lines/0/sku", json!("no-such-sauce")), 422, "unknown-product"),
        ("bad SKU", with("/lines/0/sku", json!("a b")), 400, "invalid-request"),
        ("no quantity", with("/lines/0/quantity", json!(0)), 400, "invalid-request"),
        ("negative quantity", with("/lines/0/quantity", json!(-1)), 400, "invalid-request"),
        ("large quantity", with("/lines/0/quantity", json!(1000)), 400, "invalid-request"),
        ("half a bottle", with("/lines/0/quantity", json!(0.5)), 400, "invalid-request"),
        ("no lines", with("/lines", json!([])), 400, "invalid-request"),
        ("101 lines", with("/lines", json!(vec![good["lines"][0].clone(); 101])), 400, "invalid-request"),
        ("unknown field", added("coupon_code", json!("x")), 400, "invalid-request"),
        (
            "unknown inner field",
            with("/customer", json!({"name":"K","phone":"1","address":"S","x":1})),
            400,
            "invalid-request",
        ),
        ("no card", with("/payment", json!({ "method": "card" })), 400, "invalid-request"),
        ("unknown method", with("/payment/method", json!("cash")), 400, "invalid-request"),
        ("another method", with("/payment", json!({ "method": "deposit" })), 422, "payment-method-not-accepted"),
        ("empty name", with("/customer/name", json!("")), 400, "invalid-request"),
        ("long note", added("note", json!("n".repeat(501))), 400, "invalid-request"),
        ("bad currency", added("expected_total", json!({"amount": 1, "currency": "XXY"})), 400, "invalid-request"),
        ("not an object", json!([]), 400, "invalid-request"),
    ];
    for (what, body, status, problem) in cases {
        let answer = shop.jumun.post("/v1/orders", &body).await;
        assert_eq!(answer.status, status, "{what}: {answer:#?}");
        let _ = answer.problem(status, problem);
    }
    let listed = shop.jumun.get(&format!("/v1/orders?merchant_id={}", shop.merchant_id)).await.ok();
    assert_eq!(listed["items"], json!([]));
    assert_eq!(shop.shelf("chili").await, (100, 0, 100));
}

#[tokio::test]
async fn a_bad_body_is_refused() {
    let shop = Shop::open(shared().await).await;
    let post = |content_type: &'static str, body: Vec<u8>| {
        let request = shop.jumun.request(Method::POST, "/v1/orders").header("content-type", content_type);
        shop.jumun.send(request.body(body))
    };
    let good = shop.request("tok_ok", 1).to_string().into_bytes();
    let _ = post("application/json", b"{\"merchant_id\":".to_vec()).await.problem(400, "invalid-request");
    let _ = post("application/json", b"\xff\xfe".to_vec()).await.problem(400, "invalid-request");
    let _ = post("application/json", Vec::new()).await.problem(400, "invalid-request");
    let _ = post("text/plain", good.clone()).await.problem(415, "unsupported-media-type");
    let mut large = good;
    large.resize(65 * 1024, b' ');
    let _ = post("application/json", large.clone()).await.problem(413, "body-too-large");

    // The same without a length.
    let answer = post_chunked(shop.jumun, &large).await;
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("/problems/body-too-large"), "{answer}");
}

/// Posts an order in chunks, and returns the raw answer.
async fn post_chunked(jumun: &Jumun, body: &[u8]) -> String {
    let token = jumun.token(Role::Customer, CUSTOMER, None);
    let host = jumun.ready.api.strip_prefix("http://").expect("a URL");
    let mut stream = TcpStream::connect(host).await.expect("connects");
    let mut request = format!(
        "POST /v1/orders HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\nconnection: close\r\n\
         transfer-encoding: chunked\r\n\r\n"
    )
    .into_bytes();
    for chunk in body.chunks(1024) {
        request.extend(format!("{:x}\r\n", chunk.len()).bytes());
        request.extend(chunk.iter().chain(b"\r\n"));
    }
    request.extend(b"0\r\n\r\n");
    // The server may answer, and hang up, before it has read all.
    let _ = stream.write_all(&request).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn paths_verbs_and_parameters_are_checked() {
    let jumun = shared().await;
    for (method, path, status, problem) in [
        (Method::GET, "/v1/nothing-here", 404, "not-found"),
        (Method::GET, "/nothing-here", 404, "not-found"),
        (Method::DELETE, "/v1/orders", 405, "method-not-allowed"),
        (Method::GET, "/v1/orders/not-an-id", 404, "not-found"),
        (Method::GET, "/v1/orders/ord_00000000000000000000000000000000", 404, "not-found"),
        (Method::GET, "/v1/orders?cursor=garbage", 400, "invalid-cursor"),
        (Method::GET, "/v1/orders?limit=0", 400, "invalid-request"),
        (Method::GET, "/v1/orders?limit=201", 400, "invalid-request"),
        (Method::GET, "/v1/orders?status=lost", 400, "invalid-request"),
        (Method::GET, "/v1/orders?placed_after=yesterday", 400, "invalid-request"),
        (Method::GET, "/v1/orders?status=paid&status=closed", 400, "invalid-request"),
        (Method::GET, "/v1/orders?statuss=paid", 400, "invalid-request"),
        (Method::GET, "/v1/payments?order_id=x", 400, "invalid-request"),
        (Method::PUT, "/v1/merchants/No!", 400, "invalid-request"),
    ] {
        let answer = jumun.send(jumun.request(method.clone(), path)).await;
        assert_eq!(answer.status, status, "{method} {path}: {answer:#?}");
        let _ = answer.problem(status, problem);
    }
    let unknown = jumun.put("/v1/sandbox/weather", &json!({ "mode": "down" })).await;
    let _ = unknown.problem(404, "not-found");
    for bad in [json!({ "mode": "sideways" }), json!({ "mode": "slow" }), json!({ "mode": "up", "x": 1 })] {
        let _ = jumun.put("/v1/sandbox/payment", &bad).await.problem(400, "invalid-request");
    }
}
