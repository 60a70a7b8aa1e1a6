//! `jumun local`: store, worker, providers and API in one process, and the engine in a child, unless one runs already.
//! `start` is the story.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{io, iter};

use activities::{Activities, Modes, OpenError, Setup, Store, StoreError, StoreFailure};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, error, info};
use worker::AdminError;
use workflows::{Capacity, Context};

use crate::Wrap;
use crate::access::{self, AccessError};
use crate::config::{Configuration, InvalidConfiguration};
use crate::data_dir::{DataDir, DataDirError};
use crate::disk::{self, Unwritable};
use crate::engine::{EngineError, InvalidTuning};
use crate::engines::Engines;
use crate::fetch::FetchError;
use crate::identity::IdentityError;
use crate::listen::{self, ListenError, Listener};
use crate::report::{self, Ready};
use crate::seed::{SeedError, Seeds};
use crate::settings::Settings;
use crate::stop::StopRequests;
use crate::store_url::{OccupiedStore, StoreUrl, StoreUrlError};

/// A first start provisions the engine; a later one may have many orders to read in.
const ENGINE_READY_WITHIN: Duration = Duration::from_mins(1);
/// How long requests in flight may take after jumun was asked to stop.
const API_GRACE: Duration = Duration::from_secs(5);
/// How long steps in flight may take then. What is cut off is done again by the next start.
const WORKER_GRACE: Duration = Duration::from_secs(1);

#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("there is no home directory to keep the engine in; name a directory with --cache-dir (or JUMUN_CACHE_DIR)")]
    NoCacheDir,
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Configuration(#[from] InvalidConfiguration),
    #[error("the engine's settings cannot be used")]
    Tuning(#[from] InvalidTuning),
    #[error("cannot open the store")]
    Store(#[from] StoreError),
    #[error(transparent)]
    PaymentStore(#[from] StoreUrlError),
    #[error("cannot open the stores")]
    Open(#[from] OpenError),
    #[error("cannot register the worker")]
    Register(#[from] AdminError),
    #[error(transparent)]
    Seed(#[from] SeedError),
    #[error("cannot set up the API")]
    Api(#[from] api::InvalidEngine),
    #[error(transparent)]
    Access(#[from] AccessError),
    #[error("cannot use the system's signals and threads")]
    System(#[from] io::Error),
    #[error(transparent)]
    CannotBegin(Unwritable),
    #[error("stopped: {0}")]
    Unwritable(#[from] Unwritable),
    #[error("{0} ended by itself")]
    Ended(Part),
    #[error("asked twice to stop, so stopped at once; the next start carries on")]
    CutShort,
}

impl LocalError {
    /// What the process ends with.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Configuration(_) | Self::Tuning(_) => crate::MAKES_NO_SENSE,
            Self::Access(error) => error.exit_code(),
            // Something around jumun is in the way of a start, rather than something that went wrong in it.
            Self::DataDir(_)
            | Self::Listen(_)
            | Self::Fetch(_)
            | Self::NoCacheDir
            | Self::Identity(_)
            | Self::Store(_)
            | Self::PaymentStore(_)
            | Self::Open(_)
            | Self::CannotBegin(_) => crate::CANNOT_START,
            Self::Unwritable(_) => crate::CANNOT_WRITE,
            _ => crate::FAILED,
        }
    }
}

/// Takes the data directory, which the caller drops when nothing uses it any more.
pub fn open_data_dir(settings: &Settings) -> Result<DataDir, LocalError> {
    if !settings.ephemeral {
        disk::check(&settings.data_dir, disk::TO_START).map_err(LocalError::CannotBegin)?;
    }
    Ok(if settings.ephemeral { DataDir::temporary()? } else { DataDir::open(&settings.data_dir)? })
}

/// Runs until it is asked to stop, or cannot go on.
pub async fn run(
    settings: &Settings,
    configuration: Configuration,
    dir: &DataDir,
    wrap: Wrap,
) -> Result<(), LocalError> {
    let outcome = Box::pin(run_on(settings, configuration, dir, wrap)).await;
    match (outcome, disk::check(dir.path(), disk::TO_GO_ON)) {
        // A disk without room has many symptoms, each of them puzzling by itself.
        (Err(error), Err(unwritable)) if !matches!(error, LocalError::Unwritable(_)) => {
            report::error(&error);
            Err(unwritable.into())
        }
        (outcome, _) => outcome,
    }
}

async fn run_on(
    settings: &Settings,
    configuration: Configuration,
    dir: &DataDir,
    wrap: Wrap,
) -> Result<(), LocalError> {
    let mut requests = StopRequests::listen(settings.until_stdin_closes)?;
    let running = tokio::select! {
        running = start(settings, configuration, dir, wrap) => running?,
        by = requests.next() => {
            info!(by, "stopped before it was ready");
            return Ok(());
        }
    };
    if let Err(error) = report::ready(&running.ready(dir), settings.json) {
        debug!(%error, "nobody reads standard output");
    }
    let outcome = tokio::select! {
        // First, because the disk is why parts end.
        biased;
        unwritable = running.unwritable() => {
            info!("stopping, because nothing can be written");
            Err(LocalError::Unwritable(unwritable))
        }
        part = running.ended() => Err(LocalError::Ended(part)),
        by = requests.next() => {
            info!(by, "stopping; once more stops at once");
            Ok(())
        }
    };
    tokio::select! {
        // Why the engine has ended says more than that it has, and why nothing can be written more than what came of it.
        stopped = running.stop() => match outcome {
            Err(LocalError::Unwritable(_)) => outcome,
            _ => stopped.and(outcome),
        },
        _ = requests.next() => Err(LocalError::CutShort),
    }
}

/// Starts everything, and returns once orders can be placed.
pub async fn start(
    settings: &Settings,
    configuration: Configuration,
    dir: &DataDir,
    wrap: Wrap,
) -> Result<Running, LocalError> {
    let api_listener = listen::bind(Listener::Api, settings.address(Listener::Api)).await?;
    let worker_listener = listen::bind(Listener::Worker, settings.address(Listener::Worker)).await?;
    let (api_address, worker_address) = (api_listener.local_addr()?, worker_listener.local_addr()?);
    let payment_store = payment_store(&configuration)?;
    let access = access::access(&configuration.access, dir.path())?;
    // An engine that others run means more than one machine, whose people are signed in by tokens.
    let mint =
        if configuration.engine.is_some() { None } else { access::console_mint(&configuration.access, dir.path())? };

    let mut engine = Engines::start(settings, &configuration, dir).await?;
    let urls = Urls { api: listen::url(api_address), worker: listen::url(worker_address) };

    let Configuration { stuck_after, limits, .. } = configuration;
    let capacity = Capacity::new(configuration.attempts_at_once);
    let seeds_may_wait = configuration.providers.contains_key(&Context::Stock);
    let failure = StoreFailure::default();
    let activities = open(dir, failure.clone(), payment_store.as_ref(), configuration);
    let engine_ready = async { Ok(engine.ready(ENGINE_READY_WITHIN).await?) };
    let (activities, ()) = tokio::try_join!(activities, engine_ready)?;
    let activities = wrap(activities);

    let endpoint = worker::endpoint(activities.ports(), &capacity, &engine.keys);
    let worker = Serving::start(|stop| worker::serve(worker_listener, endpoint, stop, WORKER_GRACE));
    engine.register(&urls.worker).await?;
    let seeds = Seeds { merchants: activities.merchants.clone(), stock: activities.stock.clone() };
    let seeding = if seeds_may_wait { seeds.sow_or_keep_trying().await? } else { seeds.sow().await.map(|()| None)? };

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
        engine: api::Engine::of_nodes(&engine.ingress, &engine.admin)?,
        access: Arc::new(access),
        stuck_after,
        limits,
        metrics: api::Metrics::of_process(),
        sandbox: Some(activities.sandbox),
        stopping: CancellationToken::new(),
        mint,
    };
    let api = Serving::start(|stop| async move {
        if let Err(error) = api::serve(api_listener, deps, stop.cancelled_owned(), API_GRACE).await {
            error!(%error, "the API cannot be served");
        }
    });
    let payment_dir = payment_store.as_ref().and_then(|store| store.path().map(Path::to_owned));
    let written = Written { dirs: iter::once(dir.path().to_owned()).chain(payment_dir).collect(), failure };
    let kept = Kept { _payment_store: payment_store, _seeding: seeding };
    Ok(Running { api, worker, engine, urls, written, _kept: kept })
}

/// The store of payments that has a place of its own, unless payment is another process.
pub fn payment_store(configuration: &Configuration) -> Result<Option<OccupiedStore>, StoreUrlError> {
    let built_in = !configuration.providers.contains_key(&Context::Payment);
    configuration.payment_store.as_ref().filter(|_| built_in).map(StoreUrl::occupy).transpose()
}

async fn open(
    dir: &DataDir,
    failure: StoreFailure,
    payment_store: Option<&OccupiedStore>,
    configuration: Configuration,
) -> Result<Activities, LocalError> {
    let Configuration { providers, notifications, card_keys, store, .. } = configuration;
    let setup = Setup {
        card_keys: card_keys.map_or_else(|| dir.card_keys(), Ok)?,
        store: match store {
            Some(server) => server.connect().await?,
            None => Store::open_with(&dir.store_url()?, failure).await?,
        },
        payment_store: payment_store.map(|store| store.address().to_owned()),
        remote: providers.into_iter().map(|(context, url)| (context, url.to_string())).collect(),
        notifications,
        modes: Arc::new(Modes::default()),
    };
    Ok(Activities::open(&setup).await?)
}

#[derive(Debug)]
struct Urls {
    api: String,
    worker: String,
}

/// What can end.
#[derive(Clone, Copy, Debug)]
pub enum Part {
    Api,
    Worker,
    Engine,
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Api => "the API",
            Self::Worker => "the worker",
            Self::Engine => "the engine",
        })
    }
}

/// Everything that runs. Dropped, it stops at once; the next start carries on all the same.
pub struct Running {
    api: Serving,
    worker: Serving,
    engine: Engines,
    urls: Urls,
    written: Written,
    _kept: Kept,
}

/// What has to be written for orders to go on.
struct Written {
    dirs: Vec<PathBuf>,
    failure: StoreFailure,
}

/// What is only there to be held.
struct Kept {
    _payment_store: Option<OccupiedStore>,
    _seeding: Option<AbortOnDropHandle<()>>,
}

impl Running {
    fn ready(&self, dir: &DataDir) -> Ready {
        let Urls { api, worker } = &self.urls;
        let [ingress, admin] = [&self.engine.ingress, &self.engine.admin].map(|urls| &urls[0]);
        Ready {
            api: api.clone(),
            docs: format!("{api}/docs"),
            engine_ui: format!("{admin}/ui/"),
            engine_ingress: ingress.clone(),
            engine_admin: admin.clone(),
            worker: worker.clone(),
            data_dir: dir.path().to_owned(),
            pid: std::process::id(),
            engine_pid: self.engine.pid(),
            keeps_data: !dir.is_temporary(),
        }
    }

    /// Where the API is.
    pub fn api(&self) -> &str {
        &self.urls.api
    }

    /// Returns when a part has ended by itself.
    pub async fn ended(&self) -> Part {
        tokio::select! {
            () = self.api.ended.cancelled() => Part::Api,
            () = self.worker.ended.cancelled() => Part::Worker,
            () = self.engine.ended() => Part::Engine,
        }
    }

    /// Returns when the data can be written no more.
    pub async fn unwritable(&self) -> Unwritable {
        disk::unwritable(&self.written.dirs, &self.written.failure).await
    }

    /// In the order in which they need each other.
    pub async fn stop(self) -> Result<(), LocalError> {
        self.api.stop().await;
        self.worker.stop().await;
        self.engine.stop().await?;
        info!("stopped");
        Ok(())
    }
}

/// A listener at work.
pub struct Serving {
    stop: CancellationToken,
    ended: CancellationToken,
}

impl Serving {
    pub fn start<F>(serve: impl FnOnce(CancellationToken) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (stop, ended) = (CancellationToken::new(), CancellationToken::new());
        let serving = serve(stop.clone());
        // Also when it panics.
        let ending = ended.clone().drop_guard();
        tokio::spawn(async move {
            let _ending = ending;
            serving.await;
        });
        Self { stop, ended }
    }

    /// Returns when it has ended, for whatever reason.
    pub async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// Asks it to stop, and waits until it has.
    pub async fn stop(self) {
        self.stop.cancel();
        self.ended.cancelled().await;
    }
}
