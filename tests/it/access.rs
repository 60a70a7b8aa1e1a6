//! Who may do what: every route of the document, for every kind of caller, with objects of its own and of others. What is
//! refused says nothing of what is there.
//! R37.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{SystemTime, UNIX_EPOCH};

use api::{AUDIENCE, ISSUER, Principal, TokenKey};
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use reqwest::Method;
use serde_json::{Value, json};
use tests::{Answer, Client, Jumun, Shop, preset, until, variant};
use workflows::Role;

use crate::shared;
use Meets::{Forbidden as F, Hidden as H, Nothing as N, Own as O, Yes as Y};

/// What a caller meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meets {
    /// It is done, or refused for another reason than who asks.
    Yes,
    /// A list with the order in it.
    Own,
    /// A list in which there is nothing of the order.
    Nothing,
    /// 403
    Forbidden,
    /// 404, as if there were no such order.
    Hidden,
}

/// For each operation, and each command, what these meet: the order's customer and another one, the order's merchant and
/// another one, the courier who brought it and another one, and an operator.
const TABLE: &[(&str, [Meets; 7])] = &[
    ("bulk_command_orders", [F, F, F, F, F, F, Y]),
    ("command_order accept", [F, F, Y, H, F, F, F]),
    ("command_order cancel", [Y, H, Y, H, F, F, Y]),
    ("command_order complete-delivery", [F, F, F, F, Y, H, F]),
    ("command_order confirm-deposit", [F, F, Y, H, F, F, F]),
    ("command_order confirm-receipt", [Y, H, F, F, F, F, F]),
    ("command_order finish-production", [F, F, Y, H, F, F, F]),
    ("command_order reject", [F, F, Y, H, F, F, F]),
    ("command_order start-delivery", [F, F, F, F, Y, H, F]),
    ("command_order start-production", [F, F, Y, H, F, F, F]),
    ("delete_webhook", [F, F, Y, F, F, F, Y]),
    ("get_dashboard", [F, F, O, N, F, F, O]),
    ("get_lifecycle", [Y, Y, Y, Y, Y, Y, Y]),
    ("get_merchant", [Y, Y, Y, Y, Y, Y, Y]),
    ("get_order", [Y, H, Y, H, Y, H, Y]),
    ("get_order_workflow", [F, F, Y, H, F, F, Y]),
    ("get_product", [Y, Y, Y, Y, Y, Y, Y]),
    ("get_sandbox", [F, F, F, F, F, F, Y]),
    ("get_webhook", [F, F, Y, F, F, F, Y]),
    ("list_audit", [F, F, F, F, F, F, Y]),
    ("list_coupons", [F, F, O, N, F, F, O]),
    ("list_deliveries", [F, F, O, N, F, F, O]),
    ("list_deployments", [F, F, F, F, F, F, Y]),
    ("list_events", [F, F, F, F, F, F, Y]),
    ("list_lifecycles", [Y, Y, Y, Y, Y, Y, Y]),
    ("list_merchants", [Y, Y, Y, Y, Y, Y, Y]),
    ("list_notifications", [F, F, O, N, F, F, O]),
    ("list_order_events", [Y, H, Y, H, Y, H, Y]),
    ("list_orders", [O, N, O, N, O, N, O]),
    ("list_payments", [F, F, O, N, F, F, O]),
    ("list_products", [Y, Y, Y, Y, Y, Y, Y]),
    ("list_webhook_deliveries", [F, F, Y, F, F, F, Y]),
    ("list_webhooks", [F, F, Y, F, F, F, Y]),
    ("place_order", [Y, Y, F, F, F, F, Y]),
    ("preview_lifecycle", [Y, Y, Y, Y, Y, Y, Y]),
    ("prove_ledger", [F, F, F, F, F, F, Y]),
    ("put_merchant", [F, F, F, F, F, F, Y]),
    ("put_product", [F, F, Y, F, F, F, Y]),
    ("put_sandbox", [F, F, F, F, F, F, Y]),
    ("put_webhook", [F, F, Y, F, F, F, Y]),
    ("replay_webhook_delivery", [F, F, Y, F, F, F, Y]),
    ("retry_order", [F, F, F, F, F, F, Y]),
];

/// What takes no token.
const OPEN: &[&str] = &["livez", "metrics", "readyz"];

/// Nobody listens there.
const NOWHERE: &str = "http://127.0.0.1:9/";

/// Who calls, and what tests call it.
struct Caller {
    name: String,
    client: Client<'static>,
}

impl Caller {
    fn of(jumun: &'static Jumun, role: Role, subject: &str, merchant_id: Option<&str>) -> Self {
        Self { name: subject.to_owned(), client: jumun.as_role(role, subject, merchant_id) }
    }
}

/// An order that was brought and closed, and everything that there is to be had of it.
struct Stage {
    jumun: &'static Jumun,
    merchant_id: String,
    order_id: String,
    /// To its merchant's webhook.
    delivery_id: String,
    /// What only this order's people know.
    private: [String; 4],
    /// As the table has them.
    callers: [Caller; 7],
}

impl Stage {
    async fn set() -> Self {
        let jumun = shared().await;
        let lifecycle = variant("food-delivery", |lifecycle| lifecycle["coupon"] = json!("before_delivery"));
        let shop = Shop::open_with(jumun, lifecycle.clone()).await;
        let other = Shop::open_with(jumun, lifecycle).await;
        let merchant_id = shop.merchant_id.clone();
        let caller = |role, what: &str| Caller::of(jumun, role, &format!("{what} of {merchant_id}"), None);
        let callers = [
            caller(Role::Customer, "customer"),
            caller(Role::Customer, "another customer"),
            Caller::of(jumun, Role::Merchant, "merchant", Some(&merchant_id)),
            Caller::of(jumun, Role::Merchant, "another merchant", Some(&other.merchant_id)),
            caller(Role::Courier, "courier"),
            caller(Role::Courier, "another courier"),
            caller(Role::Operator, "operator"),
        ];
        let private = ["name", "phone", "address", "note"].map(|what| format!("{what} of {}", &merchant_id[..30]));
        let [customer, _, merchant, ..] = callers.each_ref().map(|caller| &caller.client);
        let webhook = json!({ "url": NOWHERE });
        let _ = merchant.put(&format!("/v1/merchants/{merchant_id}/webhooks/till"), &webhook).await.ok();
        let placed = customer.post("/v1/orders", &order(&shop, &private)).await;
        assert_eq!(placed.status, 201, "{placed:#?}");
        let order_id = placed.body["id"].as_str().expect("an id").to_owned();
        let mut stage = Self { jumun, merchant_id, order_id, delivery_id: String::new(), private, callers };
        stage.play().await;
        stage
    }

    /// Brings the order to its end. Couriers see it while it waits for one, and then only who took it does.
    async fn play(&mut self) {
        let [customer, _, merchant, _, courier, another_courier, operator] =
            self.callers.each_ref().map(|caller| &caller.client);
        let (order_id, path) = (&self.order_id, format!("/v1/orders/{}", self.order_id));
        for (caller, command, seen) in [
            (merchant, "accept", [false, false]),
            (merchant, "start-production", [false, false]),
            (merchant, "finish-production", [true, true]),
            (courier, "start-delivery", [true, false]),
            (courier, "complete-delivery", [true, false]),
        ] {
            until(&format!("{command} to be taken"), async || {
                let takes = caller.get(&path).await.body["allowed_commands"].to_string();
                takes.contains(&format!("{command:?}")).then_some(())
            })
            .await;
            let _ = caller.command(order_id, command).await.ok();
            for (courier, seen) in [courier, another_courier].into_iter().zip(seen) {
                let status = if seen { 200 } else { 404 };
                until(&format!("a courier to get {status} after {command}"), async || {
                    (courier.get(&path).await.status == status).then_some(())
                })
                .await;
            }
            assert_eq!(customer.get(&path).await.status, 200);
        }
        self.jumun.reaches(order_id, "closed").await;
        let deliveries = format!("/v1/merchants/{}/webhooks/till/deliveries", self.merchant_id);
        self.delivery_id = until("a delivery to the webhook", async || {
            merchant.get(&deliveries).await.ok()["items"][0]["id"].as_str().map(str::to_owned)
        })
        .await;
        until("the end to be told", async || {
            let told = operator.get(&format!("/v1/notifications?order_id={order_id}")).await.ok();
            told.to_string().contains("order_closed").then_some(())
        })
        .await;
    }

    /// The request of a route for the order, its merchant, or what is theirs.
    async fn request(&self, route: &Route, command: Option<&str>) -> (Method, String, Option<Value>) {
        let name = match &*route.id {
            "get_lifecycle" => "pizza",
            "delete_webhook" => "spare",
            _ => "till",
        };
        let names = [
            ("order_id", &*self.order_id),
            ("merchant_id", &*self.merchant_id),
            ("sku", "chili"),
            ("name", name),
            ("delivery_id", &*self.delivery_id),
            ("command", command.unwrap_or_default()),
            ("context", "kitchen"),
        ];
        let filled = |path: String, (name, value): &(&str, &str)| path.replace(&format!("{{{name}}}"), value);
        let path = names.iter().fold(route.path.clone(), filled);
        assert!(!path.contains('{'), "what is in {path}?");
        let price = json!({ "amount": 9_000, "currency": "KRW" });
        let body = match &*route.id {
            // At another merchant's, so that nothing more becomes of this one's.
            "place_order" => Some(Shop::open(self.jumun).await.request("tok_ok", 1)),
            "bulk_command_orders" => {
                let filter = json!({ "merchant_id": self.merchant_id });
                Some(json!({ "filter": filter, "command": "cancel", "dry_run": true }))
            }
            "preview_lifecycle" => Some(preset("pizza")),
            "put_merchant" => Some(json!({ "name": "A shop", "currency": "KRW", "lifecycle": "food-delivery" })),
            "put_product" => Some(json!({ "name": "chili", "unit_price": price, "on_hand": 100 })),
            "put_sandbox" => Some(json!({ "mode": "up" })),
            "put_webhook" => Some(json!({ "url": NOWHERE })),
            "delete_webhook" => {
                let _ = self.jumun.put(&path, &json!({ "url": NOWHERE })).await.ok();
                None
            }
            _ => None,
        };
        (route.method.clone(), path, body)
    }

    /// It says something of the order's people.
    fn tells(&self, text: &str) -> bool {
        self.private.iter().any(|private| text.contains(private))
    }

    /// A problem and nothing else: no member of any object.
    fn is_refusal(&self, answer: &Answer, status: u16, slug: &str) -> bool {
        let members: Vec<_> = answer.body.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        answer.status == status
            && answer.body["type"] == format!("/problems/{slug}")
            && members == ["type", "title", "detail"]
            && !self.tells(&answer.body.to_string())
    }

    /// What is wrong with the answer to somebody who was to meet this.
    fn fault(&self, meets: Meets, answer: &Answer) -> Option<&'static str> {
        let text = answer.body.to_string();
        let shown = text.contains(&self.order_id) || counts(&answer.body);
        let listed = answer.status == 200;
        let (good, fault) = match meets {
            Y => (matches!(answer.status, 200..=299 | 409), "was not let"),
            O => (listed && shown, "does not see its own"),
            N => (listed && !shown && !self.tells(&text), "sees what is another's"),
            F => (self.is_refusal(answer, 403, "forbidden"), "was not refused with 403 and nothing else"),
            H => (self.is_refusal(answer, 404, "not-found"), "was not refused with 404 and nothing else"),
        };
        (!good).then_some(fault)
    }
}

/// A dashboard on which there is something.
fn counts(body: &Value) -> bool {
    body["statuses"].as_array().is_some_and(|statuses| !statuses.is_empty())
}

fn order(shop: &Shop<'_>, [name, phone, address, note]: &[String; 4]) -> Value {
    let mut order = shop.request("tok_ok", 1);
    order["customer"] = json!({ "name": name, "phone": phone, "address": address });
    order["note"] = json!(note);
    order
}

/// An operation of the document.
struct Route {
    id: String,
    method: Method,
    path: String,
    /// Of an operation that takes commands: all of them.
    commands: Vec<String>,
}

impl Route {
    /// The commands, or none once.
    fn cases(&self) -> Vec<(String, Option<&str>)> {
        if self.commands.is_empty() {
            return vec![(self.id.clone(), None)];
        }
        self.commands.iter().map(|command| (format!("{} {command}", self.id), Some(command.as_str()))).collect()
    }
}

/// What the served document lists.
async fn routes(jumun: &Jumun) -> Vec<Route> {
    let document = jumun.get("/openapi.json").await.ok();
    let commands = document["components"]["schemas"]["Command"]["enum"].as_array().expect("commands").iter();
    let commands: Vec<_> = commands.map(|command| command.as_str().expect("a name").to_owned()).collect();
    let mut routes = Vec::new();
    for (path, verbs) in document["paths"].as_object().expect("paths") {
        for (verb, operation) in verbs.as_object().expect("operations") {
            let method = verb.to_uppercase().parse().expect("a verb");
            let id = operation["operationId"].as_str().expect("an id").to_owned();
            let commands = if path.contains("{command}") { commands.clone() } else { Vec::new() };
            routes.push(Route { id, method, path: path.clone(), commands });
        }
    }
    routes
}

#[tokio::test]
async fn every_route_is_for_those_whose_it_is() {
    let stage = Stage::set().await;
    let routes = routes(stage.jumun).await;
    let table: BTreeMap<&str, _> = TABLE.iter().copied().collect();
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for route in routes.iter().filter(|route| !OPEN.contains(&&*route.id)) {
        for (case, command) in route.cases() {
            let row = table.get(&*case).unwrap_or_else(|| panic!("who may {case}? Say it in the table."));
            for (caller, meets) in stage.callers.iter().zip(row) {
                let (method, path, body) = stage.request(route, command).await;
                let request = caller.client.request(method, &path);
                let answer = stage.jumun.send(body.iter().fold(request, reqwest::RequestBuilder::json)).await;
                if let Some(fault) = stage.fault(*meets, &answer) {
                    wrong.push(format!("{case}: {} {fault}: {} {}", caller.name, answer.status, answer.body));
                }
            }
            seen.insert(case);
        }
    }
    assert!(wrong.is_empty(), "{} of {} cells:\n{}", wrong.len(), seen.len() * 7, wrong.join("\n"));
    let gone: Vec<_> = table.keys().filter(|case| !seen.contains(**case)).collect();
    assert!(gone.is_empty(), "no such operations: {gone:?}");
}

#[tokio::test]
async fn without_a_good_token_nothing_is_told() {
    let stage = Stage::set().await;
    let routes = routes(stage.jumun).await;
    let tokens = bad_tokens(stage.jumun);
    let mut asked = 0;
    for route in &routes {
        for (case, command) in route.cases() {
            for (what, token) in &tokens {
                let (method, path, body) = stage.request(route, command).await;
                let request = stage.jumun.anonymous(method, &path);
                let request = token.iter().fold(request, reqwest::RequestBuilder::bearer_auth);
                let answer = stage.jumun.send(body.iter().fold(request, reqwest::RequestBuilder::json)).await;
                if OPEN.contains(&&*route.id) {
                    assert_eq!(answer.status, 200, "{case} with {what}: {answer:#?}");
                } else {
                    assert!(stage.is_refusal(&answer, 401, "unauthenticated"), "{case} with {what}: {answer:#?}");
                    assert!(answer.header("www-authenticate").starts_with("Bearer"), "{case} with {what}: {answer:#?}");
                    asked += 1;
                }
            }
        }
    }
    assert_eq!(asked, TABLE.len() * tokens.len());
}

/// Tokens of an operator that are not good, but for one thing.
fn bad_tokens(jumun: &Jumun) -> Vec<(&'static str, Option<String>)> {
    let text = std::fs::read_to_string(jumun.ready.data_dir.join("token.key")).expect("a local key");
    let key = TokenKey::new(BASE64_STANDARD.decode(text.trim()).expect("base64")).expect("long enough");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let hour = 3_600;
    let operator = Principal::new(Role::Operator, "operator", None).expect("well formed");
    let mint = |key: &TokenKey, issuer, audience, until| key.mint(&operator, issuer, audience, now - 2 * hour, until);
    let good = mint(&key, ISSUER, AUDIENCE, now + hour);
    let parts: Vec<&str> = good.split('.').collect();
    let [_, claims, signature] = parts[..] else { panic!("{good} has three parts") };
    let header = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
    let claimed = String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(claims).expect("base64")).expect("text");
    let forged = BASE64_URL_SAFE_NO_PAD.encode(claimed.replace("\"operator\"", "\"courier\""));
    let other = TokenKey::new([7; 32]).expect("long enough");
    let some = |what, token| (what, Some(token));
    vec![
        ("no token", None),
        some("an expired token", mint(&key, ISSUER, AUDIENCE, now - hour)),
        some("another's signature", mint(&other, ISSUER, AUDIENCE, now + hour)),
        some("other claims than were signed", format!("{}.{forged}.{signature}", parts[0])),
        some("no algorithm", format!("{}.{claims}.", header(r#"{"typ":"JWT","alg":"none"}"#))),
        some(
            "no algorithm, and a signature",
            format!("{}.{claims}.{signature}", header(r#"{"typ":"JWT","alg":"none"}"#)),
        ),
        some("another algorithm", format!("{}.{claims}.{signature}", header(r#"{"typ":"JWT","alg":"RS256"}"#))),
        some("another audience", mint(&key, ISSUER, "somebody else", now + hour)),
        some("another issuer", mint(&key, "somebody else", AUDIENCE, now + hour)),
        some("something else", "x".to_owned()),
    ]
}

#[tokio::test]
async fn an_order_of_another_is_as_one_that_is_not() {
    let stage = Stage::set().await;
    let nobodys = format!("ord_{}", "0".repeat(32));
    for caller in [1, 3, 5].map(|n| &stage.callers[n]) {
        for rest in ["", "/events"] {
            let of_another = caller.client.get(&format!("/v1/orders/{}{rest}", stage.order_id)).await;
            let of_nobody = caller.client.get(&format!("/v1/orders/{nobodys}{rest}")).await;
            let told = |answer: &Answer| (answer.status, answer.body.to_string().replace(&stage.order_id, &nobodys));
            assert_eq!(told(&of_another), told(&of_nobody), "{}", caller.name);
        }
        let stream = caller.client.request(Method::GET, &format!("/v1/orders/{}/events", stage.order_id));
        let stream = stage.jumun.send(stream.header("accept", "text/event-stream")).await;
        assert!(stage.is_refusal(&stream, 404, "not-found"), "{}: {stream:#?}", caller.name);
    }
}

#[tokio::test]
async fn lists_filters_and_cursors_lead_to_ones_own_only() {
    let stage = Stage::set().await;
    let [customer, another, merchant, another_merchant, _, another_courier, operator] = &stage.callers;
    // One more, so that the first page of the merchant's orders is not the last.
    let mut request = Shop::open(stage.jumun).await.request("tok_ok", 1);
    request["merchant_id"] = json!(stage.merchant_id);
    let _ = customer.client.post("/v1/orders", &request).await.ok();
    let page = format!("/v1/orders?merchant_id={}&limit=1", stage.merchant_id);
    let cursor = operator.client.get(&page).await.ok()["next_cursor"].as_str().expect("another page").to_owned();
    let next = merchant.client.get(&format!("{page}&cursor={cursor}")).await.ok();
    assert_eq!(next["items"][0]["id"], *stage.order_id, "a cursor is a place: {next:#}");
    let subject = customer.name.replace(' ', "%20");
    for query in [
        format!("?cursor={cursor}&limit=200"),
        format!("?merchant_id={}&cursor={cursor}", stage.merchant_id),
        format!("?merchant_id={}", stage.merchant_id),
        format!("?customer_id={subject}"),
        "?limit=200".to_owned(),
        "?stuck=false&limit=200".to_owned(),
    ] {
        for caller in [another, another_merchant, another_courier] {
            let listed = caller.client.get(&format!("/v1/orders{query}")).await.ok();
            let text = listed.to_string();
            assert!(!text.contains(&stage.merchant_id) && !stage.tells(&text), "{} {query}: {listed:#}", caller.name);
        }
    }
    for context in ["payments", "deliveries", "coupons", "notifications"] {
        let path = format!("/v1/{context}?order_id={}", stage.order_id);
        assert!(merchant.client.get(&path).await.ok().to_string().contains(&stage.order_id), "{path}");
        assert_eq!(another_merchant.client.get(&path).await.ok()["items"], json!([]), "{path}");
    }
    let dashboard = format!("/v1/dashboard?merchant_id={}", stage.merchant_id);
    assert!(counts(&merchant.client.get(&dashboard).await.ok()));
    assert!(stage.is_refusal(&another_merchant.client.get(&dashboard).await, 403, "forbidden"));
}
