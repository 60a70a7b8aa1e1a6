//! `jumun local`: engine, store, worker, providers and API in one process and one child. `start` is the story.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use activities::{Activities, Modes, Store, StoreError};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info};
use worker::RegisterError;

use crate::data_dir::{DataDir, DataDirError};
use crate::demo::{self, DemoError};
use crate::engine::{Engine, EngineError, Launch};
use crate::fetch::{self, FetchError};
use crate::listen::{self, ListenError, Listener, Reserved};
use crate::report::{self, Ready};
use crate::stop::StopRequests;

/// A first start provisions the engine; a later one may have many orders to read in.
const ENGINE_READY_WITHIN: Duration = Duration::from_mins(1);
/// How long requests in flight may take after jumun was asked to stop.
const API_GRACE: Duration = Duration::from_secs(5);
/// How long steps in flight may take then. What is cut off is done again by the next start.
const WORKER_GRACE: Duration = Duration::from_secs(1);

/// The store tells at length how it starts and stops.
const DEFAULT_LOG: &str = "info,poem=warn,surrealdb=warn,surrealdb_core=off,surrealkv=error,surrealkv::task=off";

/// What `jumun local` is told.
#[derive(Clone, Debug, clap::Args)]
pub struct Settings {
    /// Where everything is kept; made if there is none
    #[arg(long, env = "JUMUN_DATA_DIR", value_name = "DIR", default_value = ".jumun", conflicts_with = "ephemeral")]
    pub data_dir: PathBuf,

    /// Keep nothing: a temporary data directory, and free ports where none are named
    #[arg(long, env = "JUMUN_EPHEMERAL", value_parser = clap::builder::FalseyValueParser::new())]
    pub ephemeral: bool,

    /// Where the API listens [default: 127.0.0.1:8088]
    #[arg(long, env = Listener::Api.variable(), value_name = "ADDRESS")]
    pub api_listen: Option<SocketAddr>,

    /// Where the worker listens to the engine [default: 127.0.0.1:9080]
    #[arg(long, env = Listener::Worker.variable(), value_name = "ADDRESS")]
    pub worker_listen: Option<SocketAddr>,

    /// Where the engine takes invocations; it knows no callers, so keep it private [default: 127.0.0.1:8080]
    #[arg(long, env = Listener::EngineIngress.variable(), value_name = "ADDRESS")]
    pub engine_ingress_listen: Option<SocketAddr>,

    /// Where the engine has its admin API and UI; it knows no callers, so keep it private [default: 127.0.0.1:9070]
    #[arg(long, env = Listener::EngineAdmin.variable(), value_name = "ADDRESS")]
    pub engine_admin_listen: Option<SocketAddr>,

    /// Where the engine would talk to other nodes [default: 127.0.0.1:5122]
    #[arg(long, env = Listener::EngineNode.variable(), value_name = "ADDRESS")]
    pub engine_node_listen: Option<SocketAddr>,

    /// The engine's program; else the one on PATH, the one in the cache, or one that npm fetches into the cache
    #[arg(long, env = "RESTATE_SERVER", value_name = "PATH")]
    pub restate_server: Option<PathBuf>,

    /// Where an engine that was fetched is kept [default: `$XDG_CACHE_HOME/jumun`, else `~/.cache/jumun`]
    #[arg(long, env = "JUMUN_CACHE_DIR", value_name = "DIR")]
    pub cache_dir: Option<PathBuf>,

    /// Once ready, print one line of JSON instead of a page
    #[arg(long, env = "JUMUN_JSON", value_parser = clap::builder::FalseyValueParser::new())]
    pub json: bool,

    /// What is logged on standard error, like `info,api=debug`
    #[arg(long, env = "JUMUN_LOG", value_name = "FILTER", default_value = DEFAULT_LOG, value_parser = crate::log_filter)]
    pub log: String,

    /// Stop when standard input ends, so that a parent process takes jumun with it
    #[arg(long, env = "JUMUN_UNTIL_STDIN_CLOSES", value_parser = clap::builder::FalseyValueParser::new())]
    pub until_stdin_closes: bool,
}

impl Settings {
    fn address(&self, listener: Listener) -> SocketAddr {
        let wanted = match listener {
            Listener::Api => self.api_listen,
            Listener::Worker => self.worker_listen,
            Listener::EngineIngress => self.engine_ingress_listen,
            Listener::EngineAdmin => self.engine_admin_listen,
            Listener::EngineNode => self.engine_node_listen,
        };
        wanted.unwrap_or_else(|| listener.default_address(self.ephemeral))
    }
}

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
    Engine(#[from] EngineError),
    #[error("cannot open the store")]
    Store(#[from] StoreError),
    #[error("cannot register the worker")]
    Register(#[from] RegisterError),
    #[error(transparent)]
    Demo(#[from] DemoError),
    #[error("cannot set up the API")]
    Api(#[from] api::InvalidEngine),
    #[error("cannot use the system's signals and threads")]
    System(#[from] io::Error),
    #[error("{0} ended by itself")]
    Ended(Part),
    #[error("asked twice to stop, so stopped at once; the next start carries on")]
    CutShort,
}

impl LocalError {
    /// Whether something around jumun is in the way of a start, rather than something that went wrong in it.
    pub fn is_environment(&self) -> bool {
        matches!(self, Self::DataDir(_) | Self::Listen(_) | Self::Fetch(_) | Self::NoCacheDir)
    }
}

/// Takes the data directory, which the caller drops when nothing uses it any more.
pub fn open_data_dir(settings: &Settings) -> Result<DataDir, LocalError> {
    Ok(if settings.ephemeral { DataDir::temporary()? } else { DataDir::open(&settings.data_dir)? })
}

/// Runs until it is asked to stop, or cannot go on.
pub async fn run(settings: &Settings, dir: &DataDir) -> Result<(), LocalError> {
    let mut requests = StopRequests::listen(settings.until_stdin_closes)?;
    let running = tokio::select! {
        running = start(settings, dir) => running?,
        by = requests.next() => {
            info!(by, "stopped before it was ready");
            return Ok(());
        }
    };
    if let Err(error) = report::ready(&running.ready(dir), settings.json) {
        debug!(%error, "nobody reads standard output");
    }
    let outcome = tokio::select! {
        part = running.ended() => Err(LocalError::Ended(part)),
        by = requests.next() => {
            info!(by, "stopping; once more stops at once");
            Ok(())
        }
    };
    tokio::select! {
        // Why the engine has ended says more than that it has.
        stopped = running.stop() => stopped.and(outcome),
        _ = requests.next() => Err(LocalError::CutShort),
    }
}

async fn start(settings: &Settings, dir: &DataDir) -> Result<Running, LocalError> {
    let api_listener = listen::bind(Listener::Api, settings.address(Listener::Api)).await?;
    let worker_listener = listen::bind(Listener::Worker, settings.address(Listener::Worker)).await?;
    let (api_address, worker_address) = (api_listener.local_addr()?, worker_listener.local_addr()?);
    let engine_addresses = [Listener::EngineIngress, Listener::EngineAdmin, Listener::EngineNode]
        .map(|listener| (listener, settings.address(listener)));
    let [ingress, admin, node] = listen::reserve(engine_addresses).await?;

    let cache = settings.cache_dir.clone().or_else(crate::default_cache_dir).ok_or(LocalError::NoCacheDir)?;
    let mut engine = Engine::start(Launch {
        binary: fetch::restate_server(settings.restate_server.as_deref(), &cache).await?,
        dir: dir.engine(),
        ingress: ingress.address,
        admin: admin.address,
        node: node.address,
    })?;
    let urls = Urls {
        api: listen::url(api_address),
        worker: listen::url(worker_address),
        ingress: listen::url(ingress.address),
        admin: listen::url(admin.address),
    };

    let sandbox = Arc::new(Modes::default());
    let store_url = dir.store_url()?;
    let open_store = async {
        let store = Store::open(&store_url).await?;
        Ok::<_, LocalError>(Activities::open(&store, sandbox.clone()).await?)
    };
    let engine_ready = async { Ok(engine.ready(ENGINE_READY_WITHIN).await?) };
    let (activities, ()) = tokio::try_join!(open_store, engine_ready)?;

    let endpoint = worker::endpoint(activities.ports());
    let worker = Serving::start(|stop| worker::serve(worker_listener, endpoint, stop, WORKER_GRACE));
    worker::register(&urls.admin, &urls.worker).await?;
    demo::seed(activities.merchants.as_ref(), activities.stock.as_ref()).await?;

    let deps = api::Deps {
        orders: activities.orders,
        merchants: activities.merchants,
        payments: activities.payments,
        stock: activities.stock,
        deliveries: activities.deliveries,
        promotions: activities.promotions,
        engine: api::Engine::new(&urls.ingress)?,
        sandbox: Some(sandbox),
    };
    let api = Serving::start(|stop| async move {
        if let Err(error) = api::serve(api_listener, deps, stop.cancelled_owned(), API_GRACE).await {
            error!(%error, "the API cannot be served");
        }
    });
    Ok(Running { api, worker, engine, urls, _reserved: [ingress, admin, node] })
}

#[derive(Debug)]
struct Urls {
    api: String,
    worker: String,
    ingress: String,
    admin: String,
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
struct Running {
    api: Serving,
    worker: Serving,
    engine: Engine,
    urls: Urls,
    _reserved: [Reserved; 3],
}

impl Running {
    fn ready(&self, dir: &DataDir) -> Ready {
        let Urls { api, worker, ingress, admin } = &self.urls;
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

    /// Returns when a part has ended by itself.
    async fn ended(&self) -> Part {
        tokio::select! {
            () = self.api.ended.cancelled() => Part::Api,
            () = self.worker.ended.cancelled() => Part::Worker,
            () = self.engine.ended() => Part::Engine,
        }
    }

    /// In the order in which they need each other.
    async fn stop(self) -> Result<(), LocalError> {
        self.api.stop().await;
        self.worker.stop().await;
        self.engine.stop().await?;
        info!("stopped");
        Ok(())
    }
}

/// A listener at work.
struct Serving {
    stop: CancellationToken,
    ended: CancellationToken,
}

impl Serving {
    fn start<F>(serve: impl FnOnce(CancellationToken) -> F) -> Self
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

    async fn stop(self) {
        self.stop.cancel();
        self.ended.cancelled().await;
    }
}
