//! A system whose worker, API and store live in the test's process, on its runtime; its engine is a real one.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use activities::{Activities, CardKeys, Modes, NotificationSettings, Store};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use workflows::Step;
use workflows::order::Ports;
use workflows::payment::Vault;

use super::{Fault, Faults, Place};
use crate::process::unlimited;
use crate::{Books, Jumun, Setup, Worker};

/// How long an order may fail here before it counts as stuck.
const STUCK_AFTER: Duration = Duration::from_secs(30);
/// Where nothing is kept.
const MEMORY: &str = "mem://";

impl Jumun {
    /// A system whose providers misbehave as `faults` says.
    pub async fn faulted(faults: &Arc<Faults>) -> Self {
        Box::pin(Self::faulted_on(Setup::new(), faults)).await.0
    }

    /// The same with an engine as `setup` has it, and the books of its contexts, which are never faulted.
    pub async fn faulted_on(setup: Setup, faults: &Arc<Faults>) -> (Self, Books) {
        let books = Books::of(Store::open(MEMORY).await.expect("opens")).await;
        let (jumun, ports) = Box::pin(Self::without_worker_on(setup, faults, books.activities.clone())).await;
        (jumun.working(&ports).await, books)
    }

    /// The same before a worker has come: what workers of this test's own work through.
    pub async fn without_worker(faults: &Arc<Faults>, notifications: NotificationSettings) -> (Self, Ports) {
        let inner = open(Store::open(MEMORY).await.expect("opens"), notifications).await;
        Self::without_worker_on(Setup::new(), faults, inner).await
    }

    /// A system whose API seals cards with `seals`, and whose worker opens them with `opens`.
    pub async fn sealed(seals: Arc<dyn Vault>, opens: Arc<dyn Vault>) -> Self {
        let inner = open(Store::open(MEMORY).await.expect("opens"), NotificationSettings::default()).await;
        let activities = Activities { vault: opens, ..inner };
        let (jumun, ports) = Box::pin(Self::over(Setup::new(), activities, seals)).await;
        jumun.working(&ports).await
    }

    async fn working(self, ports: &Ports) -> Self {
        let worker = Worker::start(ports).await;
        worker::register(&self.ready.engine_admin, &worker.url).await.expect("registers");
        self
    }

    async fn without_worker_on(setup: Setup, faults: &Arc<Faults>, inner: Activities) -> (Self, Ports) {
        let activities = faults.wrap(inner);
        let vault = activities.vault.clone();
        Self::over(setup, activities, vault).await
    }

    async fn over(setup: Setup, activities: Activities, vault: Arc<dyn Vault>) -> (Self, Ports) {
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
            stopping: CancellationToken::new(),
            mint: None,
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
    faults.wrap(open(Store::open(MEMORY).await.expect("opens"), NotificationSettings::default()).await).ports()
}

/// The built-in adapters over `store`.
pub(crate) async fn open(store: Store, notifications: NotificationSettings) -> Activities {
    let setup = activities::Setup {
        store,
        payment_store: None,
        card_keys: CardKeys::draw().parse().expect("keys"),
        remote: BTreeMap::new(),
        notifications,
        modes: Arc::new(Modes::default()),
    };
    Activities::open(&setup).await.expect("opens")
}

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    (listener, address)
}
