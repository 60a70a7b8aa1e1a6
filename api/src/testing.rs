//! What the tests of this crate stand on: ports in memory, and an engine that does as it is told.

mod documented;
mod ports;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use poem::endpoint::BoxEndpoint;
use poem::http::{HeaderMap, Method, StatusCode};
use poem::web::{Data, Json, Path};
use poem::{Endpoint, EndpointExt, Request, Response, Route, handler, patch, post};
use serde_json::{Value, json};
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use workflows::audit::AuditEntry;
use workflows::merchant::Merchant;
use workflows::notification::{Message, Notification, Webhook};
use workflows::order::command::Verdict;
use workflows::order::{
    Actor, Dashboard, DashboardQuery, Event, Fact, PlaceOrder, Positioned, Reach, Rejection, Trouble,
};
use workflows::payment::Audited;
use workflows::sandbox::Mode;
use workflows::stock::Product;
use workflows::{Command, Context, MerchantId, OrderId, PaymentMethod, ProviderError, Role, Sku, Step, WebhookName};

pub(crate) use documented::{OPERATIONS, Operation};

use crate::{AUDIENCE, Access, Deps, Engine, ISSUER, Key, Limits, Metrics, Principal, TokenKey, app};

/// More requests a second than a test sends.
const MANY: NonZeroU32 = NonZeroU32::new(1_000_000).expect("is not zero");

/// Limits that no test meets by accident.
pub(crate) fn unlimited() -> Limits {
    Limits { requests_per_second: MANY, burst: MANY, ..Limits::default() }
}

/// What the engine does with the orders that it is sent.
#[derive(Clone, Debug)]
pub(crate) enum Fate {
    Stands,
    Rejected(Rejection),
    /// Somebody cancels before it is decided.
    Cancelled,
    /// It takes the order, and decides nothing.
    Waits,
    /// It takes nothing and says 500.
    Fails,
    /// It takes nothing and says nothing.
    Hangs,
}

/// How ports fail.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Failing {
    /// The store does not answer.
    StoreAway,
    /// Whatever is asked of any port cannot be.
    Impossible,
}

/// The API, and what is behind it.
pub(crate) struct World {
    pub app: BoxEndpoint<'static>,
    pub state: Arc<State>,
}

pub(crate) struct State {
    events: Mutex<BTreeMap<OrderId, Vec<Event>>>,
    /// The events of all orders, as they were written.
    feed: Mutex<Vec<Event>>,
    merchants: Mutex<BTreeMap<MerchantId, Merchant>>,
    products: Mutex<BTreeMap<(MerchantId, Sku), Product>>,
    webhooks: Mutex<BTreeMap<(MerchantId, WebhookName), Webhook>>,
    /// What there is to list, newest first.
    pub messages: Mutex<Vec<Message>>,
    pub notifications: Mutex<Vec<Notification>>,
    /// What lies in the books of payments, by id.
    pub audited: Mutex<Vec<Audited>>,
    pub troubles: Mutex<BTreeMap<OrderId, Trouble>>,
    pub dashboard: Mutex<Dashboard>,
    /// What was asked of the dashboard last.
    pub dashboard_query: Mutex<Option<DashboardQuery>>,
    /// The rows with which the engine's admin API answers: to a question about orders for every one of these, unless they
    /// name one. Without rows it fails.
    pub invocations: Mutex<Option<Vec<Value>>>,
    /// How the engine answers whoever wants a workflow to go on.
    pub resumed: Mutex<StatusCode>,
    /// The audit trail, as it was written.
    pub audit: Mutex<Vec<AuditEntry>>,
    /// How many more times something is written there, and then no more.
    pub audit_takes: Mutex<usize>,
    modes: Mutex<BTreeMap<Context, Mode>>,
    /// How all ports fail, if they do.
    pub failing: Mutex<Option<Failing>>,
    /// Providers in processes of their own, which are gone.
    pub gone: Mutex<BTreeSet<Context>>,
    fate: Mutex<Fate>,
    /// The engine's answer to every command; without one it fails.
    verdict: Mutex<Option<Verdict>>,
    /// How every order is reached; the id of its awakeable, if it has one, is the order's.
    pub reach: Mutex<Reach>,
    /// What becomes true of the order while the engine is asked the next command.
    pub meanwhile: Mutex<Vec<(Step, Fact)>>,
    /// What the engine's journals have of what was sent to runs.
    pub signals: Mutex<Vec<Value>>,
    /// How often the engine takes an awakeable's result and answers nothing that is worth anything.
    pub unanswered: AtomicUsize,
    /// What the engine was sent beside orders: the path of the ingress, and the body.
    sent: Mutex<Vec<(String, Value)>>,
    /// How often it was asked what time it is.
    time: AtomicUsize,
    written: broadcast::Sender<Arc<[Positioned]>>,
}

impl World {
    /// With merchant `sauce-shop`, who sells `gochujang` at 12,000 won.
    pub(crate) async fn new() -> Self {
        Self::limited(unlimited()).await
    }

    /// The same with other limits.
    pub(crate) async fn limited(limits: Limits) -> Self {
        let state = Arc::new(State::new());
        let engine_url = engine(state.clone()).await;
        let world = Self { app: app(Deps { limits, ..deps(&state, &engine_url) }), state };
        world.put("/v1/merchants/sauce-shop", json!({"name": "S", "currency": "KRW", "lifecycle": "sauce-shop"})).await;
        let price = json!({"amount": 12_000, "currency": "KRW"});
        let product = json!({"name": "Gochujang", "unit_price": price, "on_hand": 10});
        world.put("/v1/merchants/sauce-shop/products/gochujang", product).await;
        world
    }

    /// The same world, whose engine cannot be reached any more.
    pub(crate) fn without_engine(self) -> Self {
        Self { app: app(deps(&self.state, "http://127.0.0.1:1")), state: self.state }
    }

    pub(crate) fn set_fate(&self, fate: Fate) {
        *locked(&self.state.fate) = fate;
    }

    /// The same world with other limits, and without its engine.
    pub(crate) fn under(self, limits: Limits) -> Self {
        let app = app(Deps { limits, ..deps(&self.state, "http://127.0.0.1:1") });
        Self { app, state: self.state }
    }

    /// From now on all ports fail.
    pub(crate) fn fail(&self, failing: Failing) {
        *locked(&self.state.failing) = Some(failing);
    }

    /// What the engine says to the next commands.
    pub(crate) fn set_verdict(&self, verdict: Verdict) {
        *locked(&self.state.verdict) = Some(verdict);
    }

    /// Places an order, which has to stand; its id.
    pub(crate) async fn placed(&self, order: Value) -> OrderId {
        let answer = self.post("/v1/orders", &[], order).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.body["id"].as_str().and_then(|id| id.parse().ok()).expect("an order id")
    }

    /// The answer, which the document knows if it is a problem.
    pub(crate) async fn send(&self, request: Request) -> Answer {
        let asked = (request.method().clone(), request.uri().path().to_owned());
        let response = self.app.get_response(request).await;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.into_body().into_bytes().await.expect("readable");
        let text = String::from_utf8_lossy(&body).into_owned();
        let answer = Answer { status, headers, body: serde_json::from_str(&text).unwrap_or(Value::Null), text };
        documented::check(&asked.0, &asked.1, &answer);
        answer
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(request(Method::GET, path).finish()).await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> Answer {
        self.send(request(Method::PUT, path).content_type("application/json").body(body.to_string())).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send(request(Method::DELETE, path).finish()).await
    }

    pub(crate) async fn post(&self, path: &str, headers: &[(&str, &str)], body: Value) -> Answer {
        let request = request(Method::POST, path).content_type("application/json");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        self.send(request.body(body.to_string())).await
    }
}

pub(crate) fn deps(state: &Arc<State>, engine_url: &str) -> Deps {
    Deps {
        orders: state.clone(),
        audit: state.clone(),
        merchants: state.clone(),
        payments: state.clone(),
        vault: state.clone(),
        stock: state.clone(),
        deliveries: state.clone(),
        promotions: state.clone(),
        notifications: state.clone(),
        engine: Engine::new(engine_url, engine_url).expect("URLs"),
        access: Arc::new(access()),
        stuck_after: Duration::from_secs(30),
        limits: unlimited(),
        metrics: Metrics::new(),
        sandbox: Some(state.clone()),
        stopping: CancellationToken::new(),
        mint: Some(Arc::new(|principal| key().mint(principal, ISSUER, AUDIENCE, 0, 4_102_444_800))),
    }
}

/// Starts an engine, and tells where its ingress is.
async fn engine(state: Arc<State>) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let ingress = Route::new()
        .at("/restate/send/order/:id/run", post(run))
        .at("/restate/call/order/:id/command", post(command))
        .at("/restate/awakeables/:id/resolve", post(resolve))
        .at("/restate/send/message/:key/replay", post(take))
        .at("/restate/send/late_deposit/:id/give_back", post(take))
        .at("/query", post(query))
        .at("/invocations/:id/resume", patch(resume))
        .at("/restate/health", poem::endpoint::make_sync(|_| StatusCode::OK))
        .data(state);
    let acceptor = poem::listener::TcpAcceptor::from_tokio(listener).expect("bound");
    tokio::spawn(poem::Server::new_with_acceptor(acceptor).run(ingress));
    format!("http://{address}")
}

/// A request of whoever usually makes it: the customer places, everybody does what is theirs to do, and the operator
/// looks and keeps house.
pub(crate) fn request(method: Method, path: &str) -> poem::RequestBuilder {
    let parts: Vec<_> = path.split('?').next().unwrap_or(path).split('/').filter(|part| !part.is_empty()).collect();
    let role = match parts[..] {
        ["v1", "orders"] if method == Method::POST => Role::Customer,
        ["v1", "orders", _, asked] if method == Method::POST => {
            let asked = Command::ALL.into_iter().find(|known| known.as_str() == asked);
            asked.map_or(Role::Operator, |known| known.roles()[0])
        }
        _ => Role::Operator,
    };
    request_as(&token(role, "kim"), method, path)
}

/// A request with that token.
pub(crate) fn request_as(token: &str, method: Method, path: &str) -> poem::RequestBuilder {
    anonymous(method, path).header("authorization", format!("Bearer {token}"))
}

/// A request without a token.
pub(crate) fn anonymous(method: Method, path: &str) -> poem::RequestBuilder {
    Request::builder().method(method).uri(path.parse().expect("a path"))
}

/// A token; a merchant's is that of `sauce-shop`.
pub(crate) fn token(role: Role, subject: &str) -> String {
    let merchant_id = (role == Role::Merchant).then(|| "sauce-shop".parse().expect("an id"));
    let principal = Principal::new(role, subject, merchant_id).expect("well formed");
    // In 2100.
    key().mint(&principal, ISSUER, AUDIENCE, 0, 4_102_444_800)
}

fn key() -> TokenKey {
    TokenKey::new("the key of the tests of this crate").expect("is long enough")
}

fn access() -> Access {
    Access::new(Key::Secret(key()), ISSUER, AUDIENCE).expect("needs nothing")
}

/// A good order.
pub(crate) fn order() -> Value {
    json!({
        "merchant_id": "sauce-shop",
        "customer": {"name": "Kim Minji", "phone": "010-1234-5678", "address": "Seoul"},
        "lines": [{"sku": "gochujang", "quantity": 2}],
        "payment": {"method": "card", "card_token": "tok_ok"},
    })
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// The body as it came.
    pub text: String,
    pub body: Value,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// What the problem says to a person.
    pub(crate) fn detail(&self) -> &str {
        self.body["detail"].as_str().unwrap_or_default()
    }

    /// It is this problem, told as problems are.
    #[track_caller]
    pub(crate) fn is_problem(&self, status: u16, slug: &str) {
        assert_eq!(self.status.as_u16(), status, "{self:?}");
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        assert_eq!(self.body["type"], format!("/problems/{slug}"), "{self:?}");
        for member in ["title", "detail"] {
            assert!(self.body[member].as_str().is_some_and(|text| !text.is_empty()), "{member} of {self:?}");
        }
    }
}

pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    pub(crate) fn new() -> Self {
        Self {
            events: Mutex::default(),
            feed: Mutex::default(),
            merchants: Mutex::default(),
            products: Mutex::default(),
            webhooks: Mutex::default(),
            messages: Mutex::default(),
            notifications: Mutex::default(),
            audited: Mutex::default(),
            troubles: Mutex::default(),
            dashboard: Mutex::default(),
            dashboard_query: Mutex::default(),
            invocations: Mutex::default(),
            resumed: Mutex::new(StatusCode::OK),
            audit: Mutex::default(),
            audit_takes: Mutex::new(usize::MAX),
            modes: Mutex::default(),
            failing: Mutex::default(),
            gone: Mutex::default(),
            fate: Mutex::new(Fate::Stands),
            verdict: Mutex::default(),
            reach: Mutex::default(),
            meanwhile: Mutex::default(),
            signals: Mutex::default(),
            unanswered: AtomicUsize::default(),
            sent: Mutex::default(),
            time: AtomicUsize::default(),
            written: broadcast::Sender::new(16),
        }
    }

    /// Whether an order has been watched: nothing else asks what time it is.
    pub(crate) fn has_watched(&self) -> bool {
        self.time.load(Ordering::Relaxed) > 0
    }

    pub(crate) fn placed(&self) -> usize {
        locked(&self.events).len()
    }

    /// The number of an order's last event.
    pub(crate) fn last_of(&self, id: &OrderId) -> u32 {
        locked(&self.events)[id].last().expect("it was placed").number
    }

    /// What the engine was sent beside orders, since this was asked last.
    pub(crate) fn take_sent(&self) -> Vec<(String, Value)> {
        std::mem::take(&mut locked(&self.sent))
    }

    /// Something becomes true of an order that stands.
    pub(crate) fn write(&self, id: &OrderId, facts: impl IntoIterator<Item = (Step, Fact)>) {
        let written = self.write_elsewhere(id, facts);
        let _ = self.written.send(written);
    }

    /// The same, by another process.
    pub(crate) fn write_elsewhere(
        &self,
        id: &OrderId,
        facts: impl IntoIterator<Item = (Step, Fact)>,
    ) -> Arc<[Positioned]> {
        let mut books = locked(&self.events);
        let events = books.get_mut(id).expect("an order");
        let numbered = facts.into_iter().zip(events.len() + 1..);
        let new: Vec<_> = numbered
            .map(|((step, fact), number)| {
                let number = u32::try_from(number).expect("few");
                Event { order_id: id.clone(), number, at: at(), step, by: None, fact }
            })
            .collect();
        events.extend(new.iter().cloned());
        self.append(new)
    }

    /// Gives events the next positions.
    fn append(&self, events: Vec<Event>) -> Arc<[Positioned]> {
        let mut feed = locked(&self.feed);
        let positions = feed.len() as u64 + 1..;
        feed.extend(events.iter().cloned());
        positions.zip(events).map(|(position, event)| Positioned { position, event }).collect()
    }

    /// How many wait to hear that something is written.
    pub(crate) fn followers(&self) -> usize {
        self.written.receiver_count()
    }

    fn behaves(&self, context: Context) -> Mode {
        locked(&self.modes).get(&context).copied().unwrap_or(Mode::Up)
    }

    /// The store answers.
    fn stored(&self) -> Result<(), ProviderError> {
        match *locked(&self.failing) {
            None => Ok(()),
            Some(Failing::StoreAway) => Err(ProviderError::unavailable("the store is away")),
            Some(Failing::Impossible) => Err(ProviderError::impossible("nothing can be")),
        }
    }

    fn up(&self, context: Context) -> Result<(), ProviderError> {
        if matches!(*locked(&self.failing), Some(Failing::Impossible)) {
            return self.stored();
        }
        if self.behaves(context) == Mode::Up { Ok(()) } else { Err(ProviderError::unavailable("the sandbox says so")) }
    }

    /// As the real book: an order is placed once.
    fn add(&self, id: &OrderId, by: Option<&Actor>, facts: Vec<Fact>) {
        let mut written: Arc<[Positioned]> = Arc::default();
        locked(&self.events).entry(id.clone()).or_insert_with(|| {
            let numbered = (1..).zip(facts);
            let events: Vec<_> = numbered
                .map(|(number, fact)| Event {
                    order_id: id.clone(),
                    number,
                    at: at(),
                    step: Step::OrderPlace,
                    by: by.filter(|_| number == 1).cloned(),
                    fact,
                })
                .collect();
            written = self.append(events.clone());
            events
        });
        let _ = self.written.send(written);
    }
}

pub(crate) fn at() -> DateTime<Utc> {
    DateTime::from_timestamp(1_769_851_800, 0).expect("in range")
}

#[handler]
async fn run(Path(id): Path<String>, Data(state): Data<&Arc<State>>, Json(order): Json<PlaceOrder>) -> Response {
    let id: OrderId = id.parse().expect("an order id");
    let method = order.placement.payment_method;
    let mut facts = vec![Fact::OrderPlaced(Box::new(order.placement))];
    let fate = locked(&state.fate).clone();
    match fate {
        Fate::Stands if method == PaymentMethod::Deposit => {
            facts.push(Fact::DepositRequested { payment_id: id.payment() });
        }
        Fate::Stands => facts.extend([
            Fact::StockReserved,
            Fact::PaymentApproved { payment_id: id.payment() },
            Fact::OrderPaid,
            Fact::StockCommitted,
        ]),
        Fate::Rejected(rejection) => {
            if let Rejection::PaymentDeclined { reason } = &rejection {
                facts.push(Fact::PaymentDeclined { payment_id: id.payment(), reason: reason.clone() });
            }
            facts.push(Fact::OrderRejected { rejection });
        }
        Fate::Cancelled => facts.push(Fact::CancellationRequested { by: None, reason: None }),
        Fate::Waits => {}
        Fate::Fails => return Response::builder().status(StatusCode::INTERNAL_SERVER_ERROR).finish(),
        Fate::Hangs => std::future::pending().await,
    }
    state.add(&id, order.by.as_ref(), facts);
    taken()
}

fn taken() -> Response {
    let taken = json!({"invocationId": "inv_1", "status": "Accepted"}).to_string();
    Response::builder().status(StatusCode::ACCEPTED).header("x-restate-id", "inv_1").body(taken)
}

#[handler]
async fn resolve(
    request: &Request,
    Path(id): Path<String>,
    Json(body): Json<Value>,
    Data(state): Data<&Arc<State>>,
) -> StatusCode {
    locked(&state.sent).push((request.uri().path().to_owned(), body));
    let one_less = |left: usize| left.checked_sub(1);
    if state.unanswered.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok() {
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    let meanwhile = std::mem::take(&mut *locked(&state.meanwhile));
    state.write(&id.parse().expect("an order id"), meanwhile);
    StatusCode::ACCEPTED
}

#[handler]
async fn take(request: &Request, Json(body): Json<Value>, Data(state): Data<&Arc<State>>) -> Response {
    if matches!(*locked(&state.fate), Fate::Fails) {
        return Response::builder().status(StatusCode::INTERNAL_SERVER_ERROR).finish();
    }
    locked(&state.sent).push((request.uri().path().to_owned(), body));
    taken()
}

#[handler]
async fn query(Json(asked): Json<Value>, Data(state): Data<&Arc<State>>) -> Response {
    if asked["query"].as_str().is_some_and(|query| query.contains("FROM sys_journal WHERE id = 'inv_1'")) {
        return told(&locked(&state.signals));
    }
    let Some(rows) = locked(&state.invocations).clone() else {
        return Response::builder().status(StatusCode::INTERNAL_SERVER_ERROR).finish();
    };
    let query = asked["query"].as_str().expect("a query");
    if query.contains("FROM sys_deployment") {
        return told(&rows);
    }
    let ids = query.split('\'').filter(|text| text.starts_with("ord_"));
    let answer: Vec<Value> = ids
        .flat_map(|id| {
            let of_order = rows.iter().filter(move |row| row.get("target_service_key").is_none_or(|key| key == id));
            of_order.cloned().map(move |mut row| {
                row["target_service_key"] = json!(id);
                row
            })
        })
        .collect();
    told(&answer)
}

fn told(rows: &[Value]) -> Response {
    Response::builder().content_type("application/json").body(json!({ "rows": rows }).to_string())
}

#[handler]
async fn resume(request: &Request, Data(state): Data<&Arc<State>>) -> Response {
    locked(&state.sent).push((request.uri().path().to_owned(), Value::Null));
    Response::builder().status(*locked(&state.resumed)).finish()
}

#[handler]
async fn command(Path(id): Path<String>, Data(state): Data<&Arc<State>>) -> Response {
    let meanwhile = std::mem::take(&mut *locked(&state.meanwhile));
    state.write(&id.parse().expect("an order id"), meanwhile);
    match *locked(&state.verdict) {
        Some(verdict) => {
            let verdict = serde_json::to_string(&verdict).expect("serialises");
            Response::builder().header("x-restate-id", "inv_3").content_type("application/json").body(verdict)
        }
        None => Response::builder().status(StatusCode::INTERNAL_SERVER_ERROR).finish(),
    }
}
