//! Providers that misbehave as a test tells them to: the built-in ones, wrapped, in a worker and an API of the test's
//! own, with a real engine. A fault belongs to a step, so that a new step can be faulted without anything new here.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use activities::{Activities, Modes, Store};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use workflows::delivery::{Deliveries, Delivery, DeliveryRequest};
use workflows::kitchen::{Kitchen, Ticket};
use workflows::merchant::MerchantPut;
use workflows::order::{Entry, Event, OrderBook, OrderFilter, Recorded};
use workflows::payment::{Charge, Charged, Due, Payment, Payments};
use workflows::promotion::{Coupon, CouponRequest, Promotions};
use workflows::provider::Undo;
use workflows::stock::{Product, ProductPut, Reserved, Stock, Wanted};
use workflows::{Currency, Lifecycle, MerchantId, Order, OrderId, ProviderError, Sku, Step};

use crate::{Jumun, Setup, Shop};

/// What goes wrong with one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It panics before anything happens.
    Panic,
    /// It fails before anything happens.
    Fail,
    /// It takes a second, and succeeds.
    Slow,
    /// It never comes back.
    Hang,
    /// It takes effect, and fails all the same.
    LoseReply,
    /// It takes effect, and panics.
    PanicAfter,
}

/// Where in a step it goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// In the call of the provider.
    Provider,
    /// In the record of the events.
    Record,
}

/// The faults to come, by step and place; each is met once.
#[derive(Default)]
pub struct Faults {
    plan: Mutex<BTreeMap<(Step, Place), VecDeque<Fault>>>,
}

impl Faults {
    pub fn plan(&self, step: Step, place: Place, faults: &[Fault]) {
        self.plan.lock().expect("no panic").entry((step, place)).or_default().extend(faults);
    }

    /// Forgets what was planned and not met.
    pub fn clear(&self) {
        self.plan.lock().expect("no panic").clear();
    }

    /// Whether every planned fault was met.
    #[must_use]
    pub fn all_met(&self) -> bool {
        self.plan.lock().expect("no panic").values().all(VecDeque::is_empty)
    }

    async fn around<T>(
        &self,
        step: Step,
        place: Place,
        call: impl Future<Output = Result<T, ProviderError>>,
    ) -> Result<T, ProviderError> {
        let fault = self.plan.lock().expect("no panic").get_mut(&(step, place)).and_then(VecDeque::pop_front);
        match fault {
            None => call.await,
            Some(Fault::Panic) => panic!("planned, before {step}"),
            Some(Fault::Fail) => Err(ProviderError::unavailable("planned")),
            Some(Fault::Slow) => {
                tokio::time::sleep(Duration::from_secs(1)).await;
                call.await
            }
            Some(Fault::Hang) => std::future::pending().await,
            Some(Fault::LoseReply) => {
                call.await?;
                Err(ProviderError::unavailable("planned, after it took effect"))
            }
            Some(Fault::PanicAfter) => {
                call.await?;
                panic!("planned, after {step}")
            }
        }
    }
}

/// A port, faulted.
struct Faulted<P: ?Sized> {
    inner: Arc<P>,
    faults: Arc<Faults>,
}

impl Jumun {
    /// A system whose providers misbehave as `faults` says. Its worker, API and store live in this process, on this
    /// test's runtime; its engine is a real one.
    pub async fn faulted(faults: &Arc<Faults>) -> Self {
        let setup = Setup::new();
        let mut jumun = setup.start().await;
        let store = Store::open("mem://").await.expect("opens");
        let modes = Arc::new(Modes::default());
        let inner = Activities::open(&store, modes.clone()).await.expect("opens");
        let activities = Activities {
            orders: Arc::new(Faulted { inner: inner.orders, faults: faults.clone() }),
            payments: Arc::new(Faulted { inner: inner.payments, faults: faults.clone() }),
            stock: Arc::new(Faulted { inner: inner.stock, faults: faults.clone() }),
            deliveries: Arc::new(Faulted { inner: inner.deliveries, faults: faults.clone() }),
            kitchen: Arc::new(Faulted { inner: inner.kitchen, faults: faults.clone() }),
            promotions: Arc::new(Faulted { inner: inner.promotions, faults: faults.clone() }),
            merchants: inner.merchants,
        };

        let (worker_listener, worker) = listener().await;
        let endpoint = worker::endpoint(activities.ports());
        tokio::spawn(worker::serve(worker_listener, endpoint, CancellationToken::new(), Duration::ZERO));
        worker::register(&jumun.ready.engine_admin, &format!("http://{worker}")).await.expect("registers");

        let (api_listener, api) = listener().await;
        let deps = api::Deps {
            orders: activities.orders,
            merchants: activities.merchants.clone(),
            payments: activities.payments,
            stock: activities.stock,
            deliveries: activities.deliveries,
            promotions: activities.promotions,
            engine: api::Engine::new(&jumun.ready.engine_ingress).expect("a URL"),
            sandbox: Some(modes),
        };
        tokio::spawn(api::serve(api_listener, deps, std::future::pending(), Duration::ZERO));
        jumun.ready.api = format!("http://{api}");
        jumun.setup = Some(setup);
        jumun.merchants = Some(activities.merchants);
        jumun
    }
}

impl Shop<'_> {
    /// Gives the merchant of a faulted system a lifecycle of its own.
    pub async fn live_by(&self, lifecycle: Lifecycle) {
        let merchants = self.jumun.merchants.as_ref().expect("a faulted system");
        let id = self.merchant_id.parse().expect("valid");
        let put = MerchantPut { id, name: "A shop".to_owned(), currency: Currency::KRW, lifecycle };
        merchants.put(&put).await.expect("puts");
    }
}

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    (listener, address)
}

#[async_trait]
impl OrderBook for Faulted<dyn OrderBook> {
    async fn record(&self, entry: Entry<'_>) -> Result<Recorded, ProviderError> {
        self.faults.around(entry.step, Place::Record, self.inner.record(entry)).await
    }

    fn now(&self) -> DateTime<Utc> {
        self.inner.now()
    }

    async fn events(&self, id: &OrderId, after: u32, limit: u32) -> Result<Vec<Event>, ProviderError> {
        self.inner.events(id, after, limit).await
    }

    async fn order(&self, id: &OrderId) -> Result<Option<Order>, ProviderError> {
        self.inner.order(id).await
    }

    async fn orders(&self, filter: &OrderFilter) -> Result<Vec<Order>, ProviderError> {
        self.inner.orders(filter).await
    }
}

#[async_trait]
impl Payments for Faulted<dyn Payments> {
    async fn charge(&self, charge: &Charge) -> Result<Charged, ProviderError> {
        self.faults.around(Step::PaymentCharge, Place::Provider, self.inner.charge(charge)).await
    }

    async fn refund(&self, due: &Due) -> Result<Undo, ProviderError> {
        self.faults.around(Step::PaymentRefund, Place::Provider, self.inner.refund(due)).await
    }

    async fn open_deposit(&self, due: &Due) -> Result<(), ProviderError> {
        self.faults.around(Step::PaymentOpenDeposit, Place::Provider, self.inner.open_deposit(due)).await
    }

    async fn close_deposit(&self, due: &Due) -> Result<Undo, ProviderError> {
        self.faults.around(Step::PaymentCloseDeposit, Place::Provider, self.inner.close_deposit(due)).await
    }

    async fn confirm_deposit(&self, due: &Due) -> Result<(), ProviderError> {
        self.faults.around(Step::PaymentConfirmDeposit, Place::Provider, self.inner.confirm_deposit(due)).await
    }

    async fn payments(&self, order_id: Option<&OrderId>, limit: u32) -> Result<Vec<Payment>, ProviderError> {
        self.inner.payments(order_id, limit).await
    }
}

#[async_trait]
impl Stock for Faulted<dyn Stock> {
    async fn reserve(
        &self,
        order_id: &OrderId,
        merchant_id: &MerchantId,
        wanted: &[Wanted],
    ) -> Result<Reserved, ProviderError> {
        let call = self.inner.reserve(order_id, merchant_id, wanted);
        self.faults.around(Step::StockReserve, Place::Provider, call).await
    }

    async fn release(&self, order_id: &OrderId) -> Result<Undo, ProviderError> {
        self.faults.around(Step::StockRelease, Place::Provider, self.inner.release(order_id)).await
    }

    async fn commit(&self, order_id: &OrderId) -> Result<(), ProviderError> {
        self.faults.around(Step::StockCommit, Place::Provider, self.inner.commit(order_id)).await
    }

    async fn restock(&self, order_id: &OrderId) -> Result<Undo, ProviderError> {
        self.faults.around(Step::StockRestock, Place::Provider, self.inner.restock(order_id)).await
    }

    async fn put_product(&self, product: &Product) -> Result<ProductPut, ProviderError> {
        self.inner.put_product(product).await
    }

    async fn products(&self, merchant_id: &MerchantId, skus: &[Sku]) -> Result<Vec<Product>, ProviderError> {
        self.inner.products(merchant_id, skus).await
    }
}

#[async_trait]
impl Deliveries for Faulted<dyn Deliveries> {
    async fn request(&self, request: &DeliveryRequest) -> Result<(), ProviderError> {
        self.faults.around(Step::DeliveryRequest, Place::Provider, self.inner.request(request)).await
    }

    async fn start(&self, order_id: &OrderId) -> Result<(), ProviderError> {
        self.faults.around(Step::DeliveryStart, Place::Provider, self.inner.start(order_id)).await
    }

    async fn complete(&self, order_id: &OrderId) -> Result<(), ProviderError> {
        self.faults.around(Step::DeliveryComplete, Place::Provider, self.inner.complete(order_id)).await
    }

    async fn cancel(&self, order_id: &OrderId) -> Result<Undo, ProviderError> {
        self.faults.around(Step::DeliveryCancel, Place::Provider, self.inner.cancel(order_id)).await
    }

    async fn deliveries(&self, order_id: Option<&OrderId>, limit: u32) -> Result<Vec<Delivery>, ProviderError> {
        self.inner.deliveries(order_id, limit).await
    }
}

#[async_trait]
impl Kitchen for Faulted<dyn Kitchen> {
    async fn offer(&self, ticket: &Ticket) -> Result<(), ProviderError> {
        self.faults.around(Step::KitchenOffer, Place::Provider, self.inner.offer(ticket)).await
    }

    async fn withdraw(&self, order_id: &OrderId) -> Result<Undo, ProviderError> {
        self.faults.around(Step::KitchenWithdraw, Place::Provider, self.inner.withdraw(order_id)).await
    }

    async fn start(&self, ticket: &Ticket) -> Result<(), ProviderError> {
        self.faults.around(Step::KitchenStart, Place::Provider, self.inner.start(ticket)).await
    }

    async fn finish(&self, order_id: &OrderId) -> Result<(), ProviderError> {
        self.faults.around(Step::KitchenFinish, Place::Provider, self.inner.finish(order_id)).await
    }

    async fn stop(&self, order_id: &OrderId) -> Result<Undo, ProviderError> {
        self.faults.around(Step::KitchenStop, Place::Provider, self.inner.stop(order_id)).await
    }
}

#[async_trait]
impl Promotions for Faulted<dyn Promotions> {
    async fn issue(&self, request: &CouponRequest) -> Result<(), ProviderError> {
        self.faults.around(Step::PromotionIssue, Place::Provider, self.inner.issue(request)).await
    }

    async fn revoke(&self, order_id: &OrderId) -> Result<Undo, ProviderError> {
        self.faults.around(Step::PromotionRevoke, Place::Provider, self.inner.revoke(order_id)).await
    }

    async fn coupons(&self, order_id: Option<&OrderId>, limit: u32) -> Result<Vec<Coupon>, ProviderError> {
        self.inner.coupons(order_id, limit).await
    }
}
