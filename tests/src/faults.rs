//! Providers that misbehave as a test tells them to: the built-in ones, wrapped, in a worker and an API of the test's
//! own, with a real engine. A fault belongs to a step, so that a new step can be faulted without anything new here.

mod ports;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use activities::{Activities, CardKeys, Modes, NotificationSettings, Store};
use tokio::net::TcpListener;
use workflows::order::Ports;
use workflows::payment::Vault;
use workflows::{ProviderError, Step};

use self::ports::Faulted;
use crate::process::unlimited;
use crate::{Jumun, Setup, Worker};

/// How long an order may fail here before it counts as stuck.
const STUCK_AFTER: Duration = Duration::from_secs(30);

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

impl Jumun {
    /// A system whose providers misbehave as `faults` says. Its worker, API and store live in this process, on this
    /// test's runtime; its engine is a real one.
    pub async fn faulted(faults: &Arc<Faults>) -> Self {
        let (jumun, ports) = Box::pin(Self::without_worker(faults, NotificationSettings::default())).await;
        jumun.working(&ports).await
    }

    /// A system whose API seals cards with `seals`, and whose worker opens them with `opens`.
    pub async fn sealed(seals: Arc<dyn Vault>, opens: Arc<dyn Vault>) -> Self {
        let activities = Activities { vault: opens, ..open(NotificationSettings::default()).await };
        let (jumun, ports) = Box::pin(Self::over(activities, seals)).await;
        jumun.working(&ports).await
    }

    async fn working(self, ports: &Ports) -> Self {
        let worker = Worker::start(ports).await;
        worker::register(&self.ready.engine_admin, &worker.url).await.expect("registers");
        self
    }

    /// The same before a worker has come: what workers of this test's own work through.
    pub async fn without_worker(faults: &Arc<Faults>, notifications: NotificationSettings) -> (Self, Ports) {
        let activities = faulted(open(notifications).await, faults);
        let vault = activities.vault.clone();
        Self::over(activities, vault).await
    }

    async fn over(activities: Activities, vault: Arc<dyn Vault>) -> (Self, Ports) {
        let setup = Setup::new();
        let mut jumun = setup.start().await;
        let ports = activities.ports();

        let (api_listener, api) = listener().await;
        let deps = api::Deps {
            orders: activities.orders,
            audit: activities.audit,
            merchants: activities.merchants,
            payments: activities.payments,
            vault,
            stock: activities.stock,
            deliveries: activities.deliveries,
            promotions: activities.promotions,
            notifications: activities.notifications,
            engine: api::Engine::new(&jumun.ready.engine_ingress, &jumun.ready.engine_admin).expect("URLs"),
            access: Arc::new(jumun.access()),
            stuck_after: STUCK_AFTER,
            limits: unlimited(),
            metrics: api::Metrics::new(),
            sandbox: Some(activities.sandbox),
        };
        tokio::spawn(api::serve(api_listener, deps, std::future::pending(), Duration::ZERO));
        jumun.ready.api = format!("http://{api}");
        jumun.setup = Some(setup);
        (jumun, ports)
    }
}

/// What a replay works through: to do a step is to panic.
pub async fn forbidden_ports() -> Ports {
    let faults = Arc::new(Faults::default());
    for step in Step::ALL {
        for place in [Place::Provider, Place::Record] {
            faults.plan(step, place, &[Fault::Panic; 100]);
        }
    }
    faulted(open(NotificationSettings::default()).await, &faults).ports()
}

/// The built-in adapters over a store that keeps nothing.
async fn open(notifications: NotificationSettings) -> Activities {
    let setup = activities::Setup {
        store: Store::open("mem://").await.expect("opens"),
        payment_store: None,
        card_keys: CardKeys::draw().parse().expect("keys"),
        remote: BTreeMap::new(),
        notifications,
        modes: Arc::new(Modes::default()),
    };
    Activities::open(&setup).await.expect("opens")
}

fn faulted(inner: Activities, faults: &Arc<Faults>) -> Activities {
    Activities {
        orders: Arc::new(Faulted { inner: inner.orders, faults: faults.clone() }),
        audit: inner.audit,
        payments: Arc::new(Faulted { inner: inner.payments, faults: faults.clone() }),
        stock: Arc::new(Faulted { inner: inner.stock, faults: faults.clone() }),
        deliveries: Arc::new(Faulted { inner: inner.deliveries, faults: faults.clone() }),
        kitchen: Arc::new(Faulted { inner: inner.kitchen, faults: faults.clone() }),
        promotions: Arc::new(Faulted { inner: inner.promotions, faults: faults.clone() }),
        notifications: Arc::new(Faulted { inner: inner.notifications, faults: faults.clone() }),
        merchants: inner.merchants,
        vault: inner.vault,
        sandbox: inner.sandbox,
    }
}

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    (listener, address)
}
