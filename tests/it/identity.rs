//! The worker answers its own engine, and nobody else.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;
use tests::{Jumun, Shop, protocol, until};
use workflows::order::{Customer, Line, Placement};
use workflows::{Currency, Lifecycle, Money, OrderId, PaymentMethod};

use super::shared;

const INVOKE: &str = "/invoke/order/run";
const MINUTE: i64 = 60;
/// Everything of an ed25519 key in PKCS#8 but its 32 bytes.
const PKCS8_HEAD: &[u8] = &[0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];

/// The engine's private key.
fn key_of(jumun: &Jumun) -> Vec<u8> {
    let path = jumun.ready.data_dir.join("engine/identity.pem");
    let pem = std::fs::read_to_string(path).expect("there is a key");
    let base64: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    BASE64_STANDARD.decode(base64).expect("PEM")
}

/// As an engine signs a request for `path` that is good for so many seconds from now.
fn signature(key: &[u8], path: &str, good_for: i64) -> String {
    // As the worker does, and for the same reason.
    let _ = jsonwebtoken::crypto::rust_crypto::DEFAULT_PROVIDER.install_default();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs().cast_signed();
    let claims = json!({ "aud": path, "nbf": now - 10 * MINUTE, "iat": now - 10 * MINUTE, "exp": now + good_for });
    jsonwebtoken::encode(&Header::new(Algorithm::EdDSA), &claims, &EncodingKey::from_ed_der(key)).expect("signs")
}

/// The first request of an order's workflow, and the order's id.
fn order(shop: &Shop<'_>) -> (OrderId, Vec<u8>) {
    let price = Money::new(9_000, Currency::KRW);
    let placement = Placement {
        merchant_id: shop.merchant_id.parse().expect("an id"),
        customer: Customer { name: "Kim".to_owned(), phone: "010".to_owned(), address: "Seoul".to_owned() },
        customer_id: None,
        lines: vec![Line {
            sku: "chili".parse().expect("a SKU"),
            name: "chili".to_owned(),
            unit_price: price,
            quantity: 1,
            line_total: price,
        }],
        total: price,
        payment_method: PaymentMethod::Card,
        note: None,
        lifecycle: Lifecycle::preset("sauce-shop").expect("exists").clone(),
        request_digest: "forged".to_owned(),
    };
    let input = json!({ "placement": placement, "card_token": "tok_ok" });
    let id = OrderId::from_bits(uuid::Uuid::now_v7().as_u128());
    let body = protocol::invocation(id.as_str(), serde_json::to_vec(&input).expect("serialises"));
    (id, body)
}

/// Asks the worker past its engine; the status of its answer.
async fn ask(worker: &str, path: &str, signed: &[(&str, &str)], body: Vec<u8>) -> u16 {
    let client = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().expect("a client");
    let mut request = match path {
        INVOKE => {
            client.post(format!("{worker}{path}")).header("content-type", "application/vnd.restate.invocation.v6")
        }
        _ => client.get(format!("{worker}{path}")).header("accept", "application/vnd.restate.endpointmanifest.v4+json"),
    };
    for (name, value) in signed {
        request = request.header(*name, *value);
    }
    let answer = request.body(body).timeout(Duration::from_secs(30)).send().await.expect("the worker answers");
    let status = answer.status().as_u16();
    let _ = answer.bytes().await.expect("a body");
    status
}

#[tokio::test]
async fn only_its_own_engine_can_have_the_worker_do_anything() {
    let shop = Shop::open(shared().await).await;
    let jumun = shop.jumun;
    let worker = &jumun.ready.worker;
    let own = key_of(jumun);
    let stranger = [PKCS8_HEAD, &[7; 32]].concat();

    for path in [INVOKE, "/discover", "/health"] {
        let forged = signature(&stranger, path, MINUTE);
        let elsewhere = signature(&own, "/invoke/order/placement", MINUTE);
        let stale = signature(&own, path, -1);
        let refused: [(&str, &[(&str, &str)]); 7] = [
            ("without a signature", &[]),
            ("said to be unsigned", &[("x-restate-signature-scheme", "unsigned")]),
            ("of another scheme", &[("x-restate-signature-scheme", "v0"), ("x-restate-jwt-v1", "x")]),
            ("with no signature at all", &[("x-restate-signature-scheme", "v1")]),
            ("by a stranger", &[("x-restate-signature-scheme", "v1"), ("x-restate-jwt-v1", &forged)]),
            ("for another path", &[("x-restate-signature-scheme", "v1"), ("x-restate-jwt-v1", &elsewhere)]),
            ("too old", &[("x-restate-signature-scheme", "v1"), ("x-restate-jwt-v1", &stale)]),
        ];
        for (how, signed) in refused {
            let (id, body) = order(&shop);
            assert_eq!(ask(worker, path, signed, body).await, 401, "{path} {how}");
            let order = jumun.get(&format!("/v1/orders/{}", id.as_str())).await;
            assert_eq!(order.status, 404, "{path} {how}: {order:#?}");
        }
    }
    assert_eq!(shop.shelf("chili").await, (100, 0, 100));

    // The same request does what it says as soon as the engine has signed it, so it was the signature that was missing.
    let (id, body) = order(&shop);
    let good = signature(&own, INVOKE, MINUTE);
    let signed = [("x-restate-signature-scheme", "v1"), ("x-restate-jwt-v1", good.as_str())];
    assert_eq!(ask(worker, INVOKE, &signed, body).await, 200);
    until("the order that the worker was asked for", async || {
        (jumun.get(&format!("/v1/orders/{}", id.as_str())).await.status == 200).then_some(())
    })
    .await;

    // Through the engine everything works.
    let id = shop.placed().await;
    jumun.drive(&id, "closed").await;
}

#[tokio::test]
async fn engines_of_ones_own_are_answered_too() {
    // 32 bytes as a private key, and the public key that belongs to them (RFC 8032, test 1).
    let seed = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
    let seed: Vec<u8> = (0..32).map(|i| u8::from_str_radix(&seed[2 * i..2 * i + 2], 16).expect("hex")).collect();
    let jumun =
        Jumun::configured("[worker]\nidentity_keys = [\"publickeyv1_FVen3X669xLzsi6N2V91DoiyzHzg1uAgqiT8jZ9nS96Z\"]")
            .await;
    let key = [PKCS8_HEAD, &seed].concat();
    for (key, status) in [(&key, 200), (&key_of(&jumun), 200), (&[PKCS8_HEAD, &[7; 32]].concat(), 401)] {
        let signed = signature(key, "/discover", MINUTE);
        let signed = [("x-restate-signature-scheme", "v1"), ("x-restate-jwt-v1", signed.as_str())];
        assert_eq!(ask(&jumun.ready.worker, "/discover", &signed, Vec::new()).await, status);
    }
}
