//! What the tests of this crate stand on: ports in memory, and an engine that does as it is told.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use poem::endpoint::BoxEndpoint;
use poem::http::{HeaderMap, Method, StatusCode};
use poem::web::{Data, Json, Path};
use poem::{Body, Endpoint, EndpointExt, Request, Response, Route, handler, post};
use serde_json::{Value, json};
use workflows::delivery::{Deliveries, Delivery, DeliveryRequest};
use workflows::merchant::{Merchant, MerchantPut, Merchants};
use workflows::order::PlaceOrder;
use workflows::order::{Entry, Event, Fact, OrderBook, OrderFilter, Recorded, Rejection};
use workflows::payment::{Charge, Charged, Due, Payment, Payments};
use workflows::promotion::{Coupon, CouponRequest, Promotions};
use workflows::provider::Undo;
use workflows::sandbox::{Mode, Sandbox};
use workflows::stock::{Product, ProductPut, Reserved, Stock, Wanted};
use workflows::{Context, MerchantId, Order, OrderId, ProviderError, Sku, Step};

use crate::{Deps, Engine, app};

/// What the engine does with the orders that it is sent.
#[derive(Clone, Debug)]
pub(crate) enum Fate {
    Stands,
    Rejected(Rejection),
    /// It takes the order, and decides nothing.
    Waits,
    /// It takes nothing and says 500.
    Fails,
    /// It takes nothing and says nothing.
    Hangs,
}

/// The API, and what is behind it.
pub(crate) struct World {
    pub app: BoxEndpoint<'static>,
    pub state: Arc<State>,
}

pub(crate) struct State {
    events: Mutex<BTreeMap<OrderId, Vec<Event>>>,
    merchants: Mutex<BTreeMap<MerchantId, Merchant>>,
    products: Mutex<BTreeMap<(MerchantId, Sku), Product>>,
    modes: Mutex<BTreeMap<Context, Mode>>,
    fate: Mutex<Fate>,
}

impl World {
    /// With merchant `sauce-shop`, who sells `gochujang` at 12,000 won.
    pub(crate) async fn new() -> Self {
        let state = Arc::new(State::new());
        let world = Self::over(state.clone(), &engine(state).await);
        world.put("/v1/merchants/sauce-shop", json!({"name": "S", "currency": "KRW", "lifecycle": "sauce-shop"})).await;
        let price = json!({"amount": 12_000, "currency": "KRW"});
        let product = json!({"name": "Gochujang", "unit_price": price, "on_hand": 10});
        world.put("/v1/merchants/sauce-shop/products/gochujang", product).await;
        world
    }

    /// The same world, whose engine cannot be reached any more.
    pub(crate) fn without_engine(self) -> Self {
        Self::over(self.state, "http://127.0.0.1:1")
    }

    fn over(state: Arc<State>, engine_url: &str) -> Self {
        Self { app: app(deps(&state, engine_url)), state }
    }

    pub(crate) fn set_fate(&self, fate: Fate) {
        *locked(&self.state.fate) = fate;
    }

    pub(crate) async fn send(&self, request: Request) -> Answer {
        let response = self.app.get_response(request).await;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.into_body().into_bytes().await.expect("readable");
        Answer { status, headers, body: serde_json::from_slice(&body).unwrap_or(Value::Null) }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(request(Method::GET, path).finish()).await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> Answer {
        self.send(request(Method::PUT, path).content_type("application/json").body(body.to_string())).await
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
        merchants: state.clone(),
        payments: state.clone(),
        stock: state.clone(),
        deliveries: state.clone(),
        promotions: state.clone(),
        engine: Engine::new(engine_url).expect("a URL"),
        sandbox: Some(state.clone()),
    }
}

/// Starts an engine, and tells where its ingress is.
async fn engine(state: Arc<State>) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let ingress = Route::new()
        .at("/restate/send/order/:id/run", post(run))
        .at("/restate/call/order/:id/placement", post(placement))
        .at("/restate/health", poem::endpoint::make_sync(|_| StatusCode::OK))
        .data(state);
    let acceptor = poem::listener::TcpAcceptor::from_tokio(listener).expect("bound");
    tokio::spawn(poem::Server::new_with_acceptor(acceptor).run(ingress));
    format!("http://{address}")
}

pub(crate) fn request(method: Method, path: &str) -> poem::RequestBuilder {
    Request::builder().method(method).uri(path.parse().expect("a path"))
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

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    pub(crate) fn new() -> Self {
        Self {
            events: Mutex::default(),
            merchants: Mutex::default(),
            products: Mutex::default(),
            modes: Mutex::default(),
            fate: Mutex::new(Fate::Stands),
        }
    }

    pub(crate) fn placed(&self) -> usize {
        locked(&self.events).len()
    }

    fn up(&self, context: Context) -> Result<(), ProviderError> {
        if self.mode(context) == Mode::Up { Ok(()) } else { Err(ProviderError::unavailable("the sandbox says so")) }
    }

    /// As the real book: an order is placed once.
    fn add(&self, id: &OrderId, facts: Vec<Fact>) {
        locked(&self.events).entry(id.clone()).or_insert_with(|| {
            let numbered = (1..).zip(facts);
            numbered
                .map(|(number, fact)| Event { order_id: id.clone(), number, at: at(), step: Step::OrderPlace, fact })
                .collect()
        });
    }
}

fn at() -> DateTime<Utc> {
    DateTime::from_timestamp(1_769_851_800, 0).expect("in range")
}

#[handler]
async fn run(Path(id): Path<String>, Data(state): Data<&Arc<State>>, Json(order): Json<PlaceOrder>) -> Response {
    let id: OrderId = id.parse().expect("an order id");
    let mut facts = vec![Fact::OrderPlaced(Box::new(order.placement))];
    let fate = locked(&state.fate).clone();
    match fate {
        Fate::Stands => facts.extend([
            Fact::StockReserved,
            Fact::PaymentApproved { payment_id: id.payment() },
            Fact::OrderPaid,
            Fact::StockCommitted,
        ]),
        Fate::Rejected(rejection) => facts.push(Fact::OrderRejected { rejection }),
        Fate::Waits => {}
        Fate::Fails => return Response::builder().status(StatusCode::INTERNAL_SERVER_ERROR).finish(),
        Fate::Hangs => std::future::pending().await,
    }
    state.add(&id, facts);
    let taken = json!({"invocationId": "inv_1", "status": "Accepted"}).to_string();
    Response::builder().status(StatusCode::ACCEPTED).header("x-restate-id", "inv_1").body(taken)
}

#[handler]
async fn placement(Path(id): Path<String>, Data(state): Data<&Arc<State>>) -> Response {
    let id: OrderId = id.parse().expect("an order id");
    while locked(&state.events).get(&id).is_none_or(|events| events.len() < 2) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Response::builder().header("x-restate-id", "inv_2").body(Body::empty())
}

#[async_trait]
impl OrderBook for State {
    fn now(&self) -> DateTime<Utc> {
        at()
    }

    async fn record(&self, _: Entry<'_>) -> Result<Recorded, ProviderError> {
        Err(ProviderError::impossible("the API records nothing"))
    }

    async fn events(&self, id: &OrderId, after: u32, limit: u32) -> Result<Vec<Event>, ProviderError> {
        let events = locked(&self.events).get(id).cloned().unwrap_or_default();
        Ok(events.into_iter().filter(|event| event.number > after).take(limit as usize).collect())
    }

    async fn order(&self, id: &OrderId) -> Result<Option<Order>, ProviderError> {
        Ok(locked(&self.events).get(id).and_then(Order::from_events))
    }

    async fn orders(&self, filter: &OrderFilter) -> Result<Vec<Order>, ProviderError> {
        let mut orders: Vec<_> = locked(&self.events).values().filter_map(Order::from_events).collect();
        orders.retain(|order| filter.status.is_none_or(|status| order.status == status));
        orders.reverse();
        if let Some((_, beyond)) = &filter.beyond {
            orders.retain(|order| order.id < *beyond);
        }
        orders.truncate(filter.limit as usize);
        Ok(orders)
    }
}

#[async_trait]
impl Merchants for State {
    async fn put(&self, put: &MerchantPut) -> Result<(Merchant, bool), ProviderError> {
        let MerchantPut { id, name, currency, lifecycle } = put.clone();
        let merchant = Merchant { id, name, currency, lifecycle, created_at: at(), updated_at: at() };
        let before = locked(&self.merchants).insert(merchant.id.clone(), merchant.clone());
        Ok((merchant, before.is_none()))
    }

    async fn get(&self, id: &MerchantId) -> Result<Option<Merchant>, ProviderError> {
        Ok(locked(&self.merchants).get(id).cloned())
    }

    async fn list(&self) -> Result<Vec<Merchant>, ProviderError> {
        Ok(locked(&self.merchants).values().cloned().collect())
    }
}

#[async_trait]
impl Stock for State {
    async fn reserve(&self, _: &OrderId, _: &MerchantId, _: &[Wanted]) -> Result<Reserved, ProviderError> {
        Err(ProviderError::impossible("the API reserves nothing"))
    }

    async fn release(&self, _: &OrderId) -> Result<Undo, ProviderError> {
        Ok(Undo::Nothing)
    }

    async fn commit(&self, _: &OrderId) -> Result<(), ProviderError> {
        Ok(())
    }

    async fn restock(&self, _: &OrderId) -> Result<Undo, ProviderError> {
        Ok(Undo::Nothing)
    }

    async fn put_product(&self, product: &Product) -> Result<ProductPut, ProviderError> {
        self.up(Context::Stock)?;
        if product.on_hand.is_some_and(|on_hand| on_hand < 2) {
            return Ok(ProductPut::BelowReserved { reserved: 2 });
        }
        let key = (product.merchant_id.clone(), product.sku.clone());
        locked(&self.products).insert(key, product.clone());
        Ok(ProductPut::Saved(product.clone()))
    }

    async fn products(&self, merchant_id: &MerchantId, skus: &[Sku]) -> Result<Vec<Product>, ProviderError> {
        match self.mode(Context::Stock) {
            Mode::Slow { delay_ms } => tokio::time::sleep(Duration::from_millis(delay_ms.into())).await,
            _ => self.up(Context::Stock)?,
        }
        let products = locked(&self.products).values().cloned().collect::<Vec<_>>();
        let wanted = |product: &Product| skus.is_empty() || skus.contains(&product.sku);
        Ok(products.into_iter().filter(|product| product.merchant_id == *merchant_id && wanted(product)).collect())
    }
}

#[async_trait]
impl Payments for State {
    async fn charge(&self, _: &Charge) -> Result<Charged, ProviderError> {
        Err(ProviderError::impossible("the API charges nothing"))
    }

    async fn refund(&self, _: &Due) -> Result<Undo, ProviderError> {
        Ok(Undo::Nothing)
    }

    async fn open_deposit(&self, _: &Due) -> Result<(), ProviderError> {
        Ok(())
    }

    async fn close_deposit(&self, _: &Due) -> Result<Undo, ProviderError> {
        Ok(Undo::Nothing)
    }

    async fn confirm_deposit(&self, _: &Due) -> Result<(), ProviderError> {
        Ok(())
    }

    async fn payments(&self, _: Option<&OrderId>, _: u32) -> Result<Vec<Payment>, ProviderError> {
        self.up(Context::Payment).map(|()| Vec::new())
    }
}

#[async_trait]
impl Deliveries for State {
    async fn request(&self, _: &DeliveryRequest) -> Result<(), ProviderError> {
        Ok(())
    }

    async fn start(&self, _: &OrderId) -> Result<(), ProviderError> {
        Ok(())
    }

    async fn complete(&self, _: &OrderId) -> Result<(), ProviderError> {
        Ok(())
    }

    async fn cancel(&self, _: &OrderId) -> Result<Undo, ProviderError> {
        Ok(Undo::Nothing)
    }

    async fn deliveries(&self, _: Option<&OrderId>, _: u32) -> Result<Vec<Delivery>, ProviderError> {
        self.up(Context::Delivery).map(|()| Vec::new())
    }
}

#[async_trait]
impl Promotions for State {
    async fn issue(&self, _: &CouponRequest) -> Result<(), ProviderError> {
        Ok(())
    }

    async fn revoke(&self, _: &OrderId) -> Result<Undo, ProviderError> {
        Ok(Undo::Nothing)
    }

    async fn coupons(&self, _: Option<&OrderId>, _: u32) -> Result<Vec<Coupon>, ProviderError> {
        self.up(Context::Promotion).map(|()| Vec::new())
    }
}

impl Sandbox for State {
    fn mode(&self, context: Context) -> Mode {
        locked(&self.modes).get(&context).copied().unwrap_or(Mode::Up)
    }

    fn set_mode(&self, context: Context, mode: Mode) {
        locked(&self.modes).insert(context, mode);
    }
}
