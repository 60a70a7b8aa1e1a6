//! `jumun api` and `jumun worker`: the parts of jumun in processes of their own, as many of each as it takes, over a store and
//! an engine that others run. Nothing here coordinates them: the store and the engine do.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use activities::{Activities, Modes, OpenError, Setup, StoreError, WebhooksTo};
use clap::builder::FalseyValueParser;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, error, info, warn};
use worker::Management;
use workflows::{Capacity, Context};

use crate::access::{self, AccessError};
use crate::config::{Configuration, HttpUrl, InvalidConfiguration};
use crate::listen::{self, ListenError, Listener};
use crate::local::{Part, Serving};
use crate::report::{self, PartReady};
use crate::settings::{self, DEFAULT_LOG};
use crate::stop::StopRequests;

/// How long requests in flight may take after the API was asked to stop.
const API_GRACE: Duration = Duration::from_secs(20);
/// How long steps in flight may take then. What is cut off goes on in another worker.
const WORKER_GRACE: Duration = Duration::from_secs(20);
const SUM_UP_EVERY: Duration = Duration::from_secs(5);

/// What both are told.
#[derive(Clone, Debug, clap::Args)]
pub struct Common {
    /// The configuration file (TOML); the environment is above it, like `JUMUN_STORE__URL`, and flags are above that
    #[arg(long, env = "JUMUN_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// A provider in a process of its own, like `payment=http://127.0.0.1:9101`, once for each; all others are built in
    /// (or `JUMUN_PROVIDERS__PAYMENT`, ...)
    #[arg(long = "provider", value_name = "CONTEXT=URL", value_parser = settings::remote_provider)]
    pub providers: Vec<(Context, HttpUrl)>,

    /// After SIGTERM, go on serving for so long before anything is refused, like `5s`: until whoever sends requests here has
    /// seen that this process is not ready any more
    #[arg(long, env = "JUMUN_DRAIN", value_name = "TIME", default_value = "0s", value_parser = humantime::parse_duration)]
    pub drain: Duration,

    /// Once ready, print one line of JSON instead of a page
    #[arg(long, env = "JUMUN_JSON", value_parser = FalseyValueParser::new())]
    pub json: bool,

    /// What is logged on standard error, like `info,api=debug`
    #[arg(long, env = "JUMUN_LOG", value_name = "FILTER", default_value = DEFAULT_LOG, value_parser = crate::log_filter)]
    pub log: String,

    /// Stop when standard input ends, so that a parent process takes jumun with it
    #[arg(long, env = "JUMUN_UNTIL_STDIN_CLOSES", value_parser = FalseyValueParser::new())]
    pub until_stdin_closes: bool,
}

/// What `jumun api` is told.
#[derive(Clone, Debug, clap::Args)]
pub struct ApiSettings {
    /// Where the API listens [default: 127.0.0.1:8088]
    #[arg(long, env = Listener::Api.variable(), value_name = "ADDRESS")]
    pub api_listen: Option<SocketAddr>,
    #[command(flatten)]
    pub common: Common,
}

/// What `jumun worker` is told.
#[derive(Clone, Debug, clap::Args)]
pub struct WorkerSettings {
    /// Where the worker listens to the engine [default: 127.0.0.1:9080]
    #[arg(long, env = Listener::Worker.variable(), value_name = "ADDRESS")]
    pub worker_listen: Option<SocketAddr>,

    /// Where probes and metrics are asked, over HTTP/1.1; it knows no callers, so keep it private [default: 127.0.0.1:9081]
    #[arg(long, env = Listener::Management.variable(), value_name = "ADDRESS")]
    pub management_listen: Option<SocketAddr>,

    /// How many attempts at steps it makes at once, of each context; more wait for their turn. Measure how many one worker bears, and scale by `jumun_worker_attempts_in_flight` and `..._waiting`
    /// [default: 256] (or `JUMUN_WORKER__ATTEMPTS_AT_ONCE`)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub attempts_at_once: Option<u32>,

    /// Let `POST /debug/sick` at the management port make the worker sick, to see that it is restarted
    #[arg(long, env = "JUMUN_DEBUG", value_parser = FalseyValueParser::new())]
    pub debug: bool,
    #[command(flatten)]
    pub common: Common,
}

#[derive(Debug, thiserror::Error)]
pub enum ApartError {
    #[error(transparent)]
    Configuration(#[from] InvalidConfiguration),
    #[error("{what} has to be set: a part of jumun alone has none of its own ({how})")]
    Missing { what: &'static str, how: &'static str },
    #[error("`payment.store` has to be PostgreSQL here: all parts write to one ledger")]
    NotShared,
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error("cannot open the store")]
    Store(#[from] StoreError),
    #[error("cannot open the stores")]
    Open(#[from] OpenError),
    #[error("cannot set up the API")]
    Api(#[from] api::InvalidEngine),
    #[error(transparent)]
    Access(#[from] AccessError),
    #[error("cannot use the system's signals and threads")]
    System(#[from] io::Error),
    #[error("{0} ended by itself")]
    Ended(Part),
    #[error("asked twice to stop, so stopped at once")]
    CutShort,
}

impl ApartError {
    /// What the process ends with.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Configuration(_) | Self::Missing { .. } | Self::NotShared => crate::MAKES_NO_SENSE,
            Self::Access(error) => error.exit_code(),
            Self::Listen(_) | Self::Store(_) | Self::Open(_) => crate::CANNOT_START,
            Self::Api(_) | Self::System(_) | Self::Ended(_) | Self::CutShort => crate::FAILED,
        }
    }
}

impl Common {
    /// What the file and the environment say, and above them the flags.
    ///
    /// # Errors
    /// With every setting that is wrong.
    pub fn configuration(&self) -> Result<Configuration, InvalidConfiguration> {
        let mut configuration = Configuration::read(self.config.as_deref(), std::env::vars_os())?;
        configuration.providers.extend(self.providers.iter().cloned());
        Ok(configuration)
    }
}

/// Serves the API until it is asked to stop.
pub async fn run_api(settings: &ApiSettings, configuration: Configuration) -> Result<(), ApartError> {
    let mut requests = StopRequests::listen(settings.common.until_stdin_closes)?;
    let address = settings.api_listen.unwrap_or_else(|| Listener::Api.default_address(false));
    let listener = listen::bind(Listener::Api, address).await?;
    let url = listen::url(listener.local_addr()?);
    let engine = configuration.engine.clone().ok_or(ApartError::Missing {
        what: "the engine",
        how: "`engine.ingress` and `engine.admin`, or JUMUN_ENGINE__INGRESS and JUMUN_ENGINE__ADMIN",
    })?;
    if configuration.access.published.is_none() && configuration.access.key.is_none() {
        let how = "`access.jwks_url`, or `access.key_file`";
        return Err(ApartError::Missing { what: "the key of tokens", how });
    }
    let access = access::shared(&configuration.access)?;
    let texts = |urls: &[HttpUrl]| urls.iter().map(HttpUrl::to_string).collect::<Vec<_>>();
    let engine = api::Engine::of_nodes(&texts(&engine.ingress), &texts(&engine.admin))?;
    let Configuration { stuck_after, limits, .. } = configuration;
    let Some(activities) = unless_stopped(&mut requests, Box::pin(open(configuration))).await? else { return Ok(()) };
    let stopping = CancellationToken::new();
    let deps = api::Deps {
        orders: activities.orders,
        audit: activities.audit,
        merchants: activities.merchants,
        payments: activities.payments,
        vault: activities.vault,
        stock: activities.stock,
        deliveries: activities.deliveries,
        promotions: activities.promotions,
        notifications: activities.notifications,
        engine,
        access: Arc::new(access),
        stuck_after,
        limits,
        metrics: api::Metrics::of_process(),
        sandbox: None,
        stopping: stopping.clone(),
        mint: None,
    };
    let serving = Serving::start(|stop| async move {
        if let Err(error) = api::serve(listener, deps, stop.cancelled_owned(), API_GRACE).await {
            error!(%error, "the API cannot be served");
        }
    });
    let ready = PartReady { part: "api", url, management: None, pid: std::process::id() };
    until_stopped(&settings.common, &ready, requests, serving, Part::Api, &stopping).await
}

/// Serves the engine until it is asked to stop.
pub async fn run_worker(settings: &WorkerSettings, configuration: Configuration) -> Result<(), ApartError> {
    let mut requests = StopRequests::listen(settings.common.until_stdin_closes)?;
    let address =
        |listener: Listener, wanted: Option<SocketAddr>| wanted.unwrap_or_else(|| listener.default_address(false));
    let listener = listen::bind(Listener::Worker, address(Listener::Worker, settings.worker_listen)).await?;
    let management = address(Listener::Management, settings.management_listen);
    let management = listen::bind(Listener::Management, management).await?;
    let (url, management_url) = (listen::url(listener.local_addr()?), listen::url(management.local_addr()?));
    let metrics = api::Metrics::of_process();
    let keys = configuration.identity_keys.clone();
    let capacity = Capacity::new(settings.attempts_at_once.unwrap_or(configuration.attempts_at_once));
    if keys.is_empty() {
        warn!("`worker.identity_keys` is not set: the worker answers whoever reaches it");
    }
    let Some(activities) = unless_stopped(&mut requests, Box::pin(open(configuration))).await? else { return Ok(()) };
    let (stopping, stopped) = (CancellationToken::new(), CancellationToken::new());
    let _summing_up = AbortOnDropHandle::new(tokio::spawn(sum_up(metrics.clone())));
    let render = Arc::new(move || metrics.render());
    let probes = Management::new(activities.orders.clone(), render, stopping.clone(), settings.debug);
    let _stopped = stopped.clone().drop_guard();
    tokio::spawn(probes.serve(management, stopped.clone()));
    let endpoint = worker::endpoint(activities.ports(), &capacity, &keys);
    let serving = Serving::start(|stop| worker::serve(listener, endpoint, stop, WORKER_GRACE));
    let ready = PartReady { part: "worker", url, management: Some(management_url), pid: std::process::id() };
    until_stopped(&settings.common, &ready, requests, serving, Part::Worker, &stopping).await
}

/// Histograms take up ever more memory between two times that somebody looks at the metrics.
async fn sum_up(metrics: api::Metrics) {
    let mut ticks = tokio::time::interval(SUM_UP_EVERY);
    loop {
        ticks.tick().await;
        metrics.sum_up();
    }
}

/// Says where it is, and serves until it is asked to stop: then not ready at once, and gone after the drain.
async fn until_stopped(
    common: &Common,
    ready: &PartReady,
    mut requests: StopRequests,
    serving: Serving,
    part: Part,
    stopping: &CancellationToken,
) -> Result<(), ApartError> {
    if let Err(error) = report::part_ready(ready, common.json) {
        debug!(%error, "nobody reads standard output");
    }
    tokio::select! {
        () = serving.ended() => return Err(ApartError::Ended(part)),
        by = requests.next() => info!(by, "stopping; once more stops at once"),
    }
    stopping.cancel();
    let stopped = async {
        tokio::time::sleep(common.drain).await;
        serving.stop().await;
    };
    tokio::select! {
        () = stopped => Ok(()),
        _ = requests.next() => Err(ApartError::CutShort),
    }
}

async fn unless_stopped<T>(
    requests: &mut StopRequests,
    opening: impl Future<Output = Result<T, ApartError>>,
) -> Result<Option<T>, ApartError> {
    tokio::select! {
        opened = opening => opened.map(Some),
        by = requests.next() => {
            info!(by, "stopped before it was ready");
            Ok(None)
        }
    }
}

async fn open(configuration: Configuration) -> Result<Activities, ApartError> {
    let Configuration { providers, mut notifications, card_keys, payment_store, store, .. } = configuration;
    notifications.webhooks_to.get_or_insert(WebhooksTo::Public);
    let store = store.ok_or(ApartError::Missing { what: "the store", how: "`store.url`, or JUMUN_STORE__URL" })?;
    let how = "`payment.card_key_file`: one key for all parts";
    let card_keys = card_keys.ok_or(ApartError::Missing { what: "the key of cards", how })?;
    let payment_store = payment_store.filter(|_| !providers.contains_key(&Context::Payment));
    if payment_store.as_ref().is_some_and(|store| !store.is_postgres()) {
        return Err(ApartError::NotShared);
    }
    let setup = Setup {
        card_keys,
        store: store.connect().await?,
        payment_store: payment_store.map(|store| store.address().to_owned()),
        remote: providers.into_iter().map(|(context, url)| (context, url.to_string())).collect(),
        notifications,
        modes: Arc::new(Modes::default()),
    };
    Ok(Activities::open(&setup).await?)
}
