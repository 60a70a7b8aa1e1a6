//! For every context: what its provider answers over HTTP is what it answers in this process.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::DateTime;
use poem::endpoint::make_sync;
use poem::http::StatusCode;
use poem::{EndpointExt, Response};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use workflows::delivery::DeliveryRequest;
use workflows::kitchen::{Kitchen, Ticket};
use workflows::lifecycle::CouponRule;
use workflows::notification::{
    AttemptRequest, Channel, MessageQuery, Notice, NoticedEvent, WebhookPut, WebhookQuery, WebhookRef,
};
use workflows::payment::{AuditQuery, CardToken, Charge, Due};
use workflows::promotion::CouponRequest;
use workflows::provider::{Listing, OrderRef};
use workflows::sandbox::{Mode, Sandbox};
use workflows::stock::{Product, ProductQuery, Reservation, Wanted};
use workflows::{Currency, MerchantId, Money, OrderId, PaymentMethod, ProviderError, Status, Step, WebhookName};

use super::*;
use crate::payment::postgres::tests::Scratch;
use crate::provider::problem::Problem;
use crate::provider::remote::Remote;
use crate::{Activities, Setup, Store, StoreFailure};

/// A provider that is being served on a port of its own.
struct Provider {
    context: Context,
    url: String,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<std::io::Result<()>>,
}

impl Provider {
    async fn start(context: Context, sandbox: bool) -> Self {
        Self::over("mem://", context, sandbox).await
    }

    async fn over(store: &str, context: Context, sandbox: bool) -> Self {
        let failure = StoreFailure::default();
        let setup =
            ProviderSetup { store: ProviderStore::At(store.to_owned()), notifications: settings(), sandbox, failure };
        Self::serving(context, endpoint(context, &setup).await.expect("opens")).await
    }

    async fn serving(context: Context, endpoint: BoxEndpoint<'static>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let url = format!("http://{}", listener.local_addr().expect("is bound"));
        let (stop, stopped) = oneshot::channel();
        let stopped = async { drop(stopped.await) };
        let serving = tokio::spawn(serve(listener, endpoint, stopped, Duration::from_secs(5)));
        Self { context, url, stop, serving }
    }

    fn remotes(&self) -> Remotes {
        let urls = [(self.context, self.url.clone())].into();
        Remotes::new(&urls, Arc::new(Modes::default())).expect("is a URL")
    }

    fn remote(&self) -> Arc<Remote> {
        self.remotes().get(self.context).expect("is there")
    }

    /// What it answers to a probe.
    async fn ready(&self) -> reqwest::StatusCode {
        reqwest::get(format!("{}/readyz", self.url)).await.expect("answers").status()
    }

    async fn stop(self) {
        self.stop.send(()).expect("is being served");
        self.serving.await.expect("does not panic").expect("stops");
    }
}

/// What was answered to each verb.
type Answers = Vec<(&'static str, Value)>;

/// An answer without what differs from run to run.
fn told<T: Serialize>(answer: Result<T, ProviderError>) -> Value {
    fn steady(json: &mut Value) {
        match json {
            Value::Object(members) => {
                for (name, value) in members {
                    let differs =
                        matches!(name.as_str(), "at" | "created_at" | "updated_at" | "duration_ms" | "secret");
                    if differs { *value = json!("…") } else { steady(value) }
                }
            }
            Value::Array(items) => items.iter_mut().for_each(steady),
            _ => {}
        }
    }
    let mut told = answer.map_or_else(|error| json!(error.to_string()), |answer| json!(answer));
    steady(&mut told);
    told
}

/// Asks both, and then the remote one when it is switched off, back on, and gone.
async fn compare<P: ?Sized>(here: Arc<P>, there: Arc<P>, provider: Provider, round: impl AsyncFn(&P) -> Answers) {
    let (context, sandbox) = (provider.context, provider.remotes());
    let answers = round(&here).await;
    assert_eq!(round(&there).await, answers);
    let verbs: BTreeSet<_> = contract::of(context).verbs.iter().map(|verb| verb.name).collect();
    assert_eq!(answers.iter().map(|(verb, _)| *verb).collect::<BTreeSet<_>>(), verbs);
    assert!(answers.iter().any(|(_, answer)| answer.as_str().is_some_and(|told| told.starts_with("impossible: "))));

    let unavailable = |answers: Answers| {
        answers.iter().all(|(_, answer)| answer.as_str().is_some_and(|told| told.starts_with("unavailable: ")))
    };
    sandbox.set_mode(context, Mode::Down).await.expect("switches");
    assert_eq!(sandbox.mode(context).await.expect("tells"), Mode::Down);
    assert_eq!(provider.ready().await, reqwest::StatusCode::SERVICE_UNAVAILABLE);
    assert!(unavailable(round(&there).await));
    sandbox.set_mode(context, Mode::Up).await.expect("switches");
    assert_eq!(provider.ready().await, reqwest::StatusCode::OK);
    assert!(!unavailable(round(&there).await));
    provider.stop().await;
    assert!(unavailable(round(&there).await));
}

/// One attempt, and none after it, whose delay would differ from run to run.
fn settings() -> NotificationSettings {
    NotificationSettings { schedule: Vec::new(), ..NotificationSettings::default() }
}

async fn store() -> (Store, Arc<Modes>) {
    (Store::open("mem://").await.expect("opens"), Arc::new(Modes::default()))
}

fn shop() -> MerchantId {
    "sauce-shop".parse().expect("valid")
}

fn order(n: u128) -> OrderRef {
    OrderRef { order_id: OrderId::from_bits(n), merchant_id: shop() }
}

fn listing(n: u128) -> Listing {
    Listing { order_id: Some(OrderId::from_bits(n)), merchant_id: None, limit: 10 }
}

const PRICE: Money = Money::new(9_000, Currency::KRW);

#[tokio::test]
async fn payment_over_http_is_as_built_in() {
    payment_over("mem://").await;
}

#[tokio::test]
async fn payment_on_postgresql_over_http_is_as_built_in() {
    payment_over(&Scratch::create().await.url).await;
}

async fn payment_over(store_url: &str) {
    let charge = |n, card_token: &str| {
        let OrderRef { order_id, merchant_id } = order(n);
        let card_token = CardToken(card_token.to_owned());
        Charge { payment_id: order_id.payment(), order_id, merchant_id, amount: PRICE, card_token }
    };
    let due = |n, method| {
        let OrderRef { order_id, merchant_id } = order(n);
        Due { payment_id: order_id.payment(), order_id, merchant_id, method, amount: PRICE }
    };
    let card = |n| due(n, PaymentMethod::Card);
    let deposit = |n| due(n, PaymentMethod::Deposit);
    let provider = Provider::over(store_url, Context::Payment, true).await;
    let (store, modes) = store().await;
    let here = built_in::payments(&store, &modes).await.expect("opens");
    compare(here, provider.remote(), provider, async |payments| {
        vec![
            ("charge", told(payments.charge(&charge(1, "tok_ok")).await)),
            ("charge", told(payments.charge(&charge(2, "tok_declined")).await)),
            ("refund", told(payments.refund(&card(1)).await)),
            ("refund", told(payments.refund(&card(3)).await)),
            ("charge", told(payments.charge(&charge(3, "tok_ok")).await)),
            ("open_deposit", told(payments.open_deposit(&deposit(4)).await)),
            ("confirm_deposit", told(payments.confirm_deposit(&deposit(4)).await)),
            ("close_deposit", told(payments.close_deposit(&deposit(4)).await)),
            ("return_deposit", told(payments.return_deposit(&deposit(4)).await)),
            ("payments", told(payments.payments(&listing(1)).await)),
            ("audit", told(payments.audit(&AuditQuery { limit: 9, ..AuditQuery::default() }).await)),
        ]
    })
    .await;
}

#[tokio::test]
async fn stock_over_http_is_as_built_in() {
    let product = |name: &str, on_hand| Product {
        merchant_id: shop(),
        sku: "chili".parse().expect("valid"),
        name: name.to_owned(),
        unit_price: PRICE,
        on_hand: Some(on_hand),
        reserved: 0,
    };
    let reservation = |n, quantity| {
        let OrderRef { order_id, merchant_id } = order(n);
        let lines = vec![Wanted { sku: "chili".parse().expect("valid"), quantity }];
        Reservation { order_id, merchant_id, lines }
    };
    let all = ProductQuery { merchant_id: shop(), skus: Vec::new() };
    let (store, modes) = store().await;
    let here = built_in::stock(&store, &modes).await.expect("opens");
    let provider = Provider::start(Context::Stock, true).await;
    compare(here, provider.remote(), provider, async |stock| {
        vec![
            ("put_product", told(stock.put_product(&product("고추장", 5)).await)),
            ("reserve", told(stock.reserve(&reservation(1, 2)).await)),
            ("reserve", told(stock.reserve(&reservation(2, 9)).await)),
            ("put_product", told(stock.put_product(&product("고추장", 1)).await)),
            ("commit", told(stock.commit(&order(1)).await)),
            ("restock", told(stock.restock(&order(1)).await)),
            ("release", told(stock.release(&order(3)).await)),
            ("reserve", told(stock.reserve(&reservation(3, 1)).await)),
            ("products", told(stock.products(&all).await)),
        ]
    })
    .await;
}

#[tokio::test]
async fn delivery_over_http_is_as_built_in() {
    let request = |n| {
        let OrderRef { order_id, merchant_id } = order(n);
        let (recipient, phone, address) = ("김민지".to_owned(), "010".to_owned(), "Seoul".to_owned());
        DeliveryRequest { delivery_id: order_id.delivery(), order_id, merchant_id, recipient, phone, address }
    };
    let (store, modes) = store().await;
    let here = built_in::deliveries(&store, &modes).await.expect("opens");
    let provider = Provider::start(Context::Delivery, true).await;
    compare(here, provider.remote(), provider, async |deliveries| {
        vec![
            ("request", told(deliveries.request(&request(1)).await)),
            ("start", told(deliveries.start(&order(1)).await)),
            ("complete", told(deliveries.complete(&order(1)).await)),
            ("cancel", told(deliveries.cancel(&order(1)).await)),
            ("cancel", told(deliveries.cancel(&order(2)).await)),
            ("deliveries", told(deliveries.deliveries(&listing(1)).await)),
        ]
    })
    .await;
}

#[tokio::test]
async fn kitchen_over_http_is_as_built_in() {
    let ticket = |n| {
        let OrderRef { order_id, merchant_id } = order(n);
        Ticket { order_id, merchant_id, lines: Vec::new(), note: Some("no onions".to_owned()) }
    };
    let (store, modes) = store().await;
    let here = built_in::kitchen(&store, &modes).await.expect("opens");
    let provider = Provider::start(Context::Kitchen, true).await;
    compare(here, provider.remote(), provider, async |kitchen| {
        vec![
            ("offer", told(kitchen.offer(&ticket(1)).await)),
            ("start", told(kitchen.start(&ticket(1)).await)),
            ("finish", told(kitchen.finish(&order(1)).await)),
            ("stop", told(kitchen.stop(&order(1)).await)),
            ("withdraw", told(kitchen.withdraw(&order(2)).await)),
            ("offer", told(kitchen.offer(&ticket(2)).await)),
        ]
    })
    .await;
}

#[tokio::test]
async fn promotion_over_http_is_as_built_in() {
    let request = |n| {
        let OrderRef { order_id, merchant_id } = order(n);
        CouponRequest { coupon_id: order_id.coupon(), order_id, merchant_id, kind: CouponRule::BeforeDelivery }
    };
    let (store, modes) = store().await;
    let here = built_in::promotions(&store, &modes).await.expect("opens");
    let provider = Provider::start(Context::Promotion, true).await;
    compare(here, provider.remote(), provider, async |promotions| {
        vec![
            ("issue", told(promotions.issue(&request(1)).await)),
            ("coupons", told(promotions.coupons(&listing(1)).await)),
            ("revoke", told(promotions.revoke(&order(1)).await)),
            ("issue", told(promotions.issue(&request(1)).await)),
        ]
    })
    .await;
}

#[tokio::test]
async fn notification_over_http_is_as_built_in() {
    let OrderRef { order_id, merchant_id } = order(1);
    let name: WebhookName = "accounting".parse().expect("valid");
    let event = |number| NoticedEvent {
        number,
        kind: "order_paid".to_owned(),
        at: DateTime::UNIX_EPOCH,
        status: Status::Paid,
        status_changed: true,
        status_label: "결제완료".to_owned(),
        reason: None,
    };
    let notice = Notice {
        order_id: order_id.clone(),
        merchant_id: merchant_id.clone(),
        total: PRICE,
        recipient: "김민지".to_owned(),
        phone: "010".to_owned(),
        events: vec![event(4), event(5)],
    };
    // Nothing listens there.
    let url = "http://127.0.0.1:1/".to_owned();
    let put = WebhookPut { merchant_id: merchant_id.clone(), name: name.clone(), url, events: Vec::new() };
    let nowhere = WebhookPut { url: "ftp://127.0.0.1/".to_owned(), ..put.clone() };
    let webhook = WebhookRef { merchant_id: merchant_id.clone(), name: name.clone() };
    let attempt = |number| AttemptRequest {
        message_id: order_id.notification(number).message(&Channel::Webhook(name.clone())),
        failures: 0,
        replay: false,
    };
    let query = WebhookQuery { merchant_id, name: None };
    let messages = MessageQuery { webhook: webhook.clone(), message_id: None, limit: 10 };
    let (store, modes) = store().await;
    let here = built_in::notifications(&store, &modes, &settings()).await.expect("opens");
    let provider = Provider::start(Context::Notification, true).await;
    compare(here, provider.remote(), provider, async |notifications| {
        vec![
            ("put_webhook", told(notifications.put_webhook(&put).await)),
            ("put_webhook", told(notifications.put_webhook(&nowhere).await)),
            ("webhooks", told(notifications.webhooks(&query).await)),
            ("send", told(notifications.send(&notice).await)),
            ("deliver", told(notifications.deliver(&attempt(4)).await)),
            ("deliver", told(notifications.deliver(&attempt(9)).await)),
            ("messages", told(notifications.messages(&messages).await)),
            ("notifications", told(notifications.notifications(&listing(1)).await)),
            ("delete_webhook", told(notifications.delete_webhook(&webhook).await)),
            ("delete_webhook", told(notifications.delete_webhook(&webhook).await)),
        ]
    })
    .await;
}

#[test]
fn a_contract_has_a_document_and_every_step_of_its_context() {
    for context in Context::ALL {
        let document = openapi(context);
        insta::assert_snapshot!(context.as_str(), document);
        let document: Value = serde_json::from_str(&document).expect("JSON");
        for step in Step::ALL.into_iter().filter(|step| step.context() == Some(context)) {
            let (_, verb) = step.name().split_once('.').expect("context.verb");
            assert!(document["paths"][format!("/v1/{verb}")]["post"].is_object(), "{step}");
        }
    }
}

#[tokio::test]
async fn what_is_no_call_is_told_so_as_a_problem() {
    const JSON: &str = "application/json";
    let provider = Provider::start(Context::Payment, false).await;
    let large = " ".repeat(256 * 1024 + 1);
    for (method, path, media_type, body, problem) in [
        ("POST", "/v1/charge", JSON, "{", "/problems/invalid-request"),
        ("POST", "/v1/charge", JSON, r#""tok_secret""#, "/problems/invalid-request"),
        ("POST", "/v1/charge", JSON, large.as_str(), "/problems/body-too-large"),
        ("POST", "/v1/charge", "text/plain", "{}", "/problems/unsupported-media-type"),
        ("POST", "/v1/steal", JSON, "{}", "/problems/not-found"),
        ("GET", "/sandbox", JSON, "", "/problems/not-found"),
        ("GET", "/v1/charge", JSON, "", "/problems/method-not-allowed"),
    ] {
        let method = method.parse().expect("is a method");
        let request = reqwest::Client::new().request(method, format!("{}{path}", provider.url));
        let response = request.header("content-type", media_type).body(body.to_owned()).send().await.expect("answers");
        assert_eq!(response.headers()["content-type"], problem::CONTENT_TYPE);
        assert_eq!(response.headers().get("allow").is_some(), problem.ends_with("method-not-allowed"));
        let status = response.status().as_u16();
        let told: Value = response.json().await.expect("JSON");
        assert_eq!(told["type"], problem, "{path} {body:.20}");
        assert!((400..500).contains(&status) && !told.to_string().contains("tok_secret"), "{status} {told}");
    }
    for path in ["/livez", "/readyz", "/openapi.json"] {
        let response = reqwest::get(format!("{}{path}", provider.url)).await.expect("answers");
        assert_eq!(response.status(), reqwest::StatusCode::OK, "{path}");
    }
    provider.stop().await;
}

#[tokio::test]
async fn only_what_the_provider_calls_impossible_is_so() {
    for (status, body, expected) in [
        (200, "null", "null"),
        (200, "{", "unavailable: the kitchen provider: "),
        (200, "{}", "unavailable: the kitchen provider: "),
        (302, "null", "unavailable: the kitchen provider: 302 Found: without a reason"),
        (400, r#"{"detail": "a fault"}"#, "unavailable: the kitchen provider: 400 Bad Request: a fault"),
        (404, "", "unavailable: the kitchen provider: 404 Not Found: without a reason"),
        (409, r#"{"detail": "it is made"}"#, "impossible: it is made"),
        (409, "", "impossible: without a reason"),
        (500, "", "unavailable: the kitchen provider: 500 Internal Server Error: without a reason"),
    ] {
        let status = StatusCode::from_u16(status).expect("is a status");
        let answer = make_sync(move |_| Response::builder().status(status).header("location", "/").body(body));
        let provider = Provider::serving(Context::Kitchen, answer.boxed()).await;
        let told = told(provider.remote().finish(&order(1)).await);
        assert!(told.as_str().unwrap_or("null").starts_with(expected), "{status} {body}: {told}");
        provider.stop().await;
    }
}

/// A port that answers when it is let, or panics.
#[derive(Default)]
struct Port {
    asked: Notify,
    may_answer: Notify,
}

#[async_trait::async_trait]
impl Serve for Arc<Port> {
    async fn answer(&self, verb: &str, _: &[u8]) -> Result<Vec<u8>, Problem> {
        assert_eq!(verb, "finish", "secret");
        self.asked.notify_one();
        self.may_answer.notified().await;
        Ok(b"null".to_vec())
    }
}

impl Port {
    async fn serving(self: &Arc<Self>) -> Provider {
        let (context, port) = (Context::Kitchen, Box::new(self.clone()));
        let server = Server { context, port, database: None, sandbox: None, document: String::new() };
        Provider::serving(context, server.guarded()).await
    }
}

#[tokio::test]
async fn a_panic_is_a_problem_that_does_not_tell_its_cause() {
    let provider = Arc::new(Port::default()).serving().await;
    let told = told(provider.remote().withdraw(&order(1)).await);
    let told = told.as_str().expect("is an error");
    assert!(told.contains("500 Internal Server Error: Something went wrong") && !told.contains("secret"), "{told}");
    provider.stop().await;
}

#[tokio::test]
async fn a_call_in_the_middle_of_a_stop_is_answered() {
    let port = Arc::new(Port::default());
    let provider = port.serving().await;
    let remote = provider.remote();
    let mut call = tokio::spawn(async move { remote.finish(&order(1)).await });
    port.asked.notified().await;
    let address = provider.url.trim_start_matches("http://").to_owned();
    let stop = tokio::spawn(provider.stop());
    let refused = async { while TcpStream::connect(&address).await.is_ok() {} };
    tokio::time::timeout(Duration::from_secs(5), refused).await.expect("takes no new connection");
    assert!(tokio::time::timeout(Duration::from_millis(100), &mut call).await.is_err(), "it is not broken off");
    port.may_answer.notify_one();
    call.await.expect("does not panic").expect("is answered");
    stop.await.expect("stops");
}

#[tokio::test]
async fn a_context_with_a_url_is_asked_there_and_every_other_here() {
    let provider = Provider::start(Context::Stock, true).await;
    let (store, modes) = store().await;
    let remote = [(Context::Stock, provider.url.clone())].into();
    let card_keys = crate::CardKeys::draw().parse().expect("keys");
    let (payment_store, notifications) = (None, settings());
    let setup = Setup { store, payment_store, card_keys, remote, notifications, modes: modes.clone() };
    let activities = Activities::open(&setup).await.expect("opens");
    for context in [Context::Stock, Context::Kitchen] {
        activities.sandbox.set_mode(context, Mode::Down).await.expect("switches");
    }
    assert_eq!(provider.remotes().mode(Context::Stock).await.expect("tells"), Mode::Down);
    assert_eq!(modes.mode(Context::Stock).await.expect("tells"), Mode::Up);
    assert_eq!(modes.mode(Context::Kitchen).await.expect("tells"), Mode::Down);
    let told = told(activities.stock.release(&order(1)).await);
    assert_eq!(told, "unavailable: the stock provider: 503 Service Unavailable: Please try again.");
    provider.stop().await;
}

#[tokio::test]
async fn what_cannot_be_a_place_is_refused() {
    for url in ["", "127.0.0.1:9101", "ftp://a", "http://a?b", "http://a#b"] {
        let urls = [(Context::Payment, url.to_owned())].into();
        assert!(matches!(Remotes::new(&urls, Arc::default()), Err(OpenError::Url { .. })), "{url}");
    }
    let postgres = ProviderSetup {
        store: ProviderStore::At("postgres://user:secret@127.0.0.1/stock".to_owned()),
        notifications: settings(),
        sandbox: false,
        failure: StoreFailure::default(),
    };
    let refused = endpoint(Context::Stock, &postgres).await.err().expect("is refused").to_string();
    assert_eq!(refused, "stock cannot be kept in that kind of store");
}
