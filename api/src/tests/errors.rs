//! Every problem that the document names can be had. That no other is answered is asserted of every answer in the tests
//! of this crate.

use std::num::NonZeroU32;
use std::time::Duration;

use poem::http::Method;
use poem::{Body, Request};
use serde_json::{Value as Json, json};
use workflows::order::Rejection;
use workflows::{Context, Lifecycle, Role};

use super::webhooks::message;
use crate::Limits;
use crate::testing::{
    Answer, Failing, Fate, OPERATIONS, Operation, World, anonymous, locked, order, request, request_as, token,
    unlimited,
};

#[tokio::test]
async fn every_documented_problem_can_be_had() {
    let mut cases = 0;
    for operation in OPERATIONS.iter() {
        for (status, kind) in &operation.problems {
            let slug = kind.strip_prefix("/problems/").expect("a relative URI");
            let answer = provoked(operation, slug).await;
            assert_eq!(answer.body["type"], *kind, "{}: {answer:?}", operation.id);
            answer.is_problem(*status, slug);
            cases += 1;
        }
    }
    assert!(cases > 5 * OPERATIONS.len(), "{cases}");
}

/// The answer to a request that is good but for what provokes the problem.
async fn provoked(operation: &Operation, slug: &str) -> Answer {
    let mut world = World::new().await;
    let mut asked = Asked::well(operation, &world).await;
    match (&*operation.id, slug) {
        (_, "invalid-request") => asked.path += "?nonsense=1",
        (_, "not-found") => asked.path = path(operation, &UNKNOWN),
        (_, "unsupported-media-type") => asked.content_type = "text/plain",
        (_, "body-too-large") => asked.body = Some(json!("x".repeat(64 * 1024))),
        (_, "head-too-large") => {
            asked.path += "?nonsense=";
            asked.path += &"x".repeat(16 * 1024);
        }
        (_, "unauthenticated") => asked.by = By::Nobody,
        (_, "forbidden") => asked.by = By::Courier,
        (_, "request-timeout") => {
            world = world.under(Limits { body_timeout: Duration::from_millis(1), ..unlimited() });
            asked.ends = false;
        }
        (_, "too-many-requests") => {
            world = world.under(Limits { requests_per_second: ONE, burst: ONE, ..unlimited() });
            world.send(asked.for_something_else()).await;
        }
        ("list_deployments", "internal") => *locked(&world.state.invocations) = Some(vec![json!({})]),
        (_, "internal") => world.fail(Failing::Impossible),
        (_, "not-ready") => world = world.without_engine(),

        ("replay_webhook_delivery", "try-again-later") => world.set_fate(Fate::Fails),
        ("list_deployments", "try-again-later") => *locked(&world.state.invocations) = None,
        (_, "try-again-later") => {
            world.fail(Failing::StoreAway);
            // Who asks nobody only says so because of all others.
            if world.send(asked.request()).await.body["type"] != "/problems/try-again-later" {
                world = world.under(Limits { open_requests: 0, ..unlimited() });
            }
        }
        ("put_sandbox", "upstream-unavailable") => {
            locked(&world.state.gone).insert(Context::Payment);
        }
        (_, "upstream-unavailable") => {
            for context in Context::ALL {
                world.put(&format!("/v1/sandbox/{context}"), json!({"mode": "down"})).await;
            }
        }

        ("list_orders" | "list_audit", "invalid-cursor") => asked.path += "?cursor=x",
        ("put_product", "stock-reserved") => asked.say("/on_hand", json!(1)),
        ("put_product", "currency-mismatch") => asked.say("/unit_price/currency", json!("EUR")),
        ("put_merchant", "unknown-lifecycle") => asked.say("/lifecycle", json!("none")),
        ("put_merchant", "invalid-lifecycle") => asked.say("/lifecycle", json!({})),
        ("preview_lifecycle", "invalid-lifecycle") => asked.body = Some(json!({})),
        ("command_order", "command-not-allowed") => asked.path = asked.path.replace("/cancel", "/confirm-receipt"),

        ("retry_order", "nothing-to-retry") => *locked(&world.state.invocations) = Some(Vec::new()),
        ("bulk_command_orders", "count-changed") => {
            asked.say("/dry_run", json!(false));
            asked.say("/expected", json!(7));
        }

        ("place_order", "unknown-merchant") => asked.say("/merchant_id", json!("nobody")),
        ("place_order", "unknown-product") => asked.say("/lines/0/sku", json!("nothing")),
        ("place_order", "payment-method-not-accepted") => asked.say("/payment", json!({"method": "deposit"})),
        ("place_order", "price-changed") => asked.say("/expected_total", json!({"amount": 1, "currency": "KRW"})),
        ("place_order", "currency-mismatch") => {
            world.put(MERCHANT, json!({"name": "S", "currency": "EUR", "lifecycle": "sauce-shop"})).await;
        }
        ("place_order", "idempotency-key-reused") => {
            world.send(asked.request()).await;
            asked.say("/note", json!("Another body."));
        }
        ("place_order", "payment-declined") => {
            world.set_fate(Fate::Rejected(Rejection::PaymentDeclined { reason: "no".to_owned() }));
        }
        ("place_order", "out-of-stock") => {
            let sku = "gochujang".parse().expect("a SKU");
            world.set_fate(Fate::Rejected(Rejection::OutOfStock { sku, available: 0 }));
        }
        ("place_order", "order-cancelled") => world.set_fate(Fate::Cancelled),

        (id, slug) => panic!("{id} documents /problems/{slug}, and nothing here provokes it"),
    }
    world.send(asked.request()).await
}

const ONE: NonZeroU32 = NonZeroU32::MIN;
const MERCHANT: &str = "/v1/merchants/sauce-shop";

type Names<'a> = [(&'static str, &'a str); 7];

/// What there is nothing of.
const UNKNOWN: Names<'static> = [
    ("order_id", "ord_00000000000000000000000000000000"),
    ("merchant_id", "nobody"),
    ("sku", "nothing"),
    ("name", "none"),
    ("delivery_id", "ntf_00000000000000000000000000000000_1.webhook-none"),
    ("command", "cancel"),
    ("context", "weather"),
];

fn path(operation: &Operation, names: &Names<'_>) -> String {
    let filled = |path: String, (name, value): &(&str, &str)| path.replace(&format!("{{{name}}}"), value);
    let path = names.iter().fold(operation.path.clone(), filled);
    assert!(!path.contains('{'), "what is in {path}?");
    path
}

/// Who asks.
enum By {
    /// Whose it is to ask that.
    Usual,
    Courier,
    Nobody,
}

/// A request that is still to be changed.
struct Asked {
    by: By,
    method: Method,
    path: String,
    content_type: &'static str,
    body: Option<Json>,
    /// Whether its body comes to an end.
    ends: bool,
}

impl Asked {
    /// Nothing about it is wrong.
    async fn well(operation: &Operation, world: &World) -> Self {
        let order_id = world.placed(order()).await;
        let delivery = message(&order_id, 4, None);
        world.put(&format!("{MERCHANT}/webhooks/erp"), json!({"url": "https://erp.example"})).await;
        locked(&world.state.messages).push(delivery.clone());
        let known = [
            ("order_id", order_id.as_str()),
            ("merchant_id", "sauce-shop"),
            ("sku", "gochujang"),
            ("name", if operation.id == "get_lifecycle" { "sauce-shop" } else { "erp" }),
            ("delivery_id", delivery.id.as_str()),
            ("command", "cancel"),
            ("context", "payment"),
        ];
        let price = json!({"amount": 12_000, "currency": "KRW"});
        let body = operation.takes_body.then(|| match &*operation.id {
            "place_order" => order(),
            "command_order" => json!({"reason": "Changed my mind."}),
            "bulk_command_orders" => {
                json!({"filter": {"merchant_id": "sauce-shop"}, "command": "cancel", "dry_run": true})
            }
            "put_merchant" => json!({"name": "S", "currency": "KRW", "lifecycle": "sauce-shop"}),
            "put_product" => json!({"name": "Gochujang", "unit_price": price, "on_hand": 10}),
            "put_webhook" => json!({"url": "https://erp.example"}),
            "put_sandbox" => json!({"mode": "up"}),
            "preview_lifecycle" => json!(Lifecycle::presets()[0]),
            id => panic!("what is a good body of {id}?"),
        });
        let (method, path) = (operation.method.clone(), path(operation, &known));
        Self { by: By::Usual, method, path, content_type: "application/json", body, ends: true }
    }

    /// Says this in the body.
    fn say(&mut self, pointer: &str, value: Json) {
        let (place, name) = pointer.rsplit_once('/').expect("a pointer");
        let place = self.body.as_mut().and_then(|body| body.pointer_mut(place)).expect("is there");
        place[name] = value;
    }

    fn request(&self) -> Request {
        let request = match self.by {
            By::Usual => request(self.method.clone(), &self.path),
            By::Courier => request_as(&token(Role::Courier, "kim"), self.method.clone(), &self.path),
            By::Nobody => anonymous(self.method.clone(), &self.path),
        };
        let request = request.header("idempotency-key", "key-1");
        match &self.body {
            Some(_) if !self.ends => request.content_type(self.content_type).body(endless()),
            Some(body) => request.content_type(self.content_type).body(body.to_string()),
            None => request.finish(),
        }
    }

    /// A request of the same caller for what is there for everybody.
    fn for_something_else(&self) -> Request {
        let request = self.request();
        let token = request.header("authorization").expect("a token");
        anonymous(Method::GET, "/v1/lifecycles").header("authorization", token).finish()
    }
}

fn endless() -> Body {
    let (open, body) = tokio::io::duplex(1);
    tokio::spawn(async move {
        let _open = open;
        std::future::pending::<()>().await;
    });
    Body::from_async_read(body)
}
