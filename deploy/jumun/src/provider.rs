//! `jumun provider`: one context's built-in provider as a process of its own, with a store of its own, behind the HTTP
//! contract that any other system could offer in its place.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use activities::provider::{ProviderSetup, ProviderStore};
use activities::{OpenError, StoreError, StoreFailure, WebhooksTo};
use clap::builder::{FalseyValueParser, PossibleValuesParser, TypedValueParser};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};
use workflows::Context;

use crate::config::{Configuration, ExistingStore, InvalidConfiguration};
use crate::disk::{self, Unwritable};
use crate::listen::{self, ListenError, Listener};
use crate::report::{self, ProviderReady};
use crate::settings::DEFAULT_LOG;
use crate::stop::StopRequests;
use crate::store_url::{OccupiedStore, StoreUrl, StoreUrlError};

/// How long requests in flight may take after it was asked to stop.
const GRACE: Duration = Duration::from_secs(5);

/// What `jumun provider` is told.
#[derive(Clone, Debug, clap::Args)]
pub struct Settings {
    /// Whose provider
    #[arg(value_parser = context())]
    pub context: Context,

    /// Where it listens; it knows no callers, so keep it private [default: 127.0.0.1, at 9101 for payment, 9102 stock,
    /// 9103 delivery, 9104 promotion, 9105 kitchen, 9106 notification]
    #[arg(long, env = Listener::Provider(Context::Payment).variable(), value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,

    /// Where its data is, which is its alone: `surrealkv://PATH`, `mem://` (kept nowhere), for payment also
    /// `postgres://...` (then rather in `JUMUN_PAYMENT__STORE`, which no process list shows)
    /// [default: a database of its own in the server of `[store]`, or `surrealkv://.jumun/providers/CONTEXT`]
    #[arg(long, env = "JUMUN_PROVIDER_STORE", hide_env_values = true, value_name = "URL")]
    pub store: Option<StoreUrl>,

    /// For tests and demos: let anybody switch it off or slow it down by `PUT /sandbox`
    #[arg(long, env = "JUMUN_PROVIDER_SANDBOX", value_parser = FalseyValueParser::new())]
    pub sandbox: bool,

    /// The configuration file (TOML), of which it reads `[store]`, `[payment]` and `[notifications]`; the environment is above it
    #[arg(long, env = "JUMUN_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Once ready, print one line of JSON instead of a page
    #[arg(long, env = "JUMUN_JSON", value_parser = FalseyValueParser::new())]
    pub json: bool,

    /// What is logged on standard error, like `info,activities=debug`
    #[arg(long, env = "JUMUN_LOG", value_name = "FILTER", default_value = DEFAULT_LOG, value_parser = crate::log_filter)]
    pub log: String,

    /// Stop when standard input ends, so that a parent process takes it with itself
    #[arg(long, env = "JUMUN_UNTIL_STDIN_CLOSES", value_parser = FalseyValueParser::new())]
    pub until_stdin_closes: bool,
}

/// Reads the name of a context.
pub fn context() -> impl TypedValueParser<Value = Context> {
    PossibleValuesParser::new(Context::ALL.map(Context::as_str)).map(|name| {
        let context = Context::ALL.into_iter().find(|context| context.as_str() == name);
        context.expect("only names of contexts are possible")
    })
}

#[derive(Debug, thiserror::Error)]
pub enum ProvideError {
    #[error(transparent)]
    Configuration(#[from] InvalidConfiguration),
    #[error("{0} cannot be kept in PostgreSQL; only payment can")]
    NotInPostgres(Context),
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error(transparent)]
    Store(#[from] StoreUrlError),
    #[error("cannot open the store {store}")]
    Open {
        store: StoreUrl,
        #[source]
        cause: OpenError,
    },
    #[error("cannot use the system's signals and threads")]
    System(#[from] io::Error),
    #[error("cannot serve any more")]
    Serve(#[source] io::Error),
    #[error(transparent)]
    CannotBegin(Unwritable),
    #[error("stopped: {0}")]
    Unwritable(#[from] Unwritable),
    #[error("it ended by itself")]
    Ended,
    #[error("asked twice to stop, so stopped at once")]
    CutShort,
}

impl ProvideError {
    /// What the process ends with.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Configuration(_) | Self::NotInPostgres(_) => crate::MAKES_NO_SENSE,
            Self::Listen(_) | Self::Store(_) | Self::Open { .. } | Self::CannotBegin(_) => crate::CANNOT_START,
            Self::Unwritable(_) => crate::CANNOT_WRITE,
            Self::System(_) | Self::Serve(_) | Self::Ended | Self::CutShort => crate::FAILED,
        }
    }
}

impl Settings {
    /// What the file and the environment say.
    ///
    /// # Errors
    /// With every setting that is wrong.
    pub fn configuration(&self) -> Result<Configuration, InvalidConfiguration> {
        Configuration::read(self.config.as_deref(), std::env::vars_os())
    }

    /// Takes the place of its data, which the caller drops when nothing uses it any more.
    pub fn take_place(&self, configuration: &Configuration) -> Result<Place, ProvideError> {
        let of_payments = configuration.payment_store.as_ref().filter(|_| self.context == Context::Payment);
        let store = match (self.store.as_ref().or(of_payments), &configuration.store) {
            (Some(own), _) => own.clone(),
            (None, Some(server)) => return Ok(Place::Server(server.clone())),
            (None, None) => StoreUrl::on_disk(&format!(".jumun/providers/{}", self.context)),
        };
        if store.is_postgres() && self.context != Context::Payment {
            return Err(ProvideError::NotInPostgres(self.context));
        }
        Ok(Place::Own(store.occupy()?))
    }
}

/// Where a provider's data is.
#[derive(Debug)]
pub enum Place {
    /// In a store that is its alone.
    Own(OccupiedStore),
    /// In a database of its own of a server that keeps those of others, too.
    Server(ExistingStore),
}

impl Place {
    fn url(&self) -> &StoreUrl {
        match self {
            Self::Own(store) => store.url(),
            Self::Server(server) => &server.url,
        }
    }

    /// Where it lies on this machine's disk, if it does.
    fn path(&self) -> Option<&Path> {
        match self {
            Self::Own(store) => store.path(),
            Self::Server(_) => None,
        }
    }

    async fn open(&self) -> Result<ProviderStore, StoreError> {
        Ok(match self {
            Self::Own(store) => ProviderStore::At(store.address().to_owned()),
            Self::Server(server) => ProviderStore::In(server.connect().await?),
        })
    }
}

/// Serves until it is asked to stop, or cannot go on.
pub async fn run(settings: &Settings, configuration: Configuration, place: &Place) -> Result<(), ProvideError> {
    let mut requests = StopRequests::listen(settings.until_stdin_closes)?;
    let context = settings.context;
    let listener = Listener::Provider(context);
    let bound = listen::bind(listener, settings.listen.unwrap_or_else(|| listener.default_address(false))).await?;
    let url = listen::url(bound.local_addr()?);
    let failure = StoreFailure::default();
    let mut notifications = configuration.notifications;
    notifications.webhooks_to.get_or_insert(if settings.sandbox { WebhooksTo::Anywhere } else { WebhooksTo::Public });
    let written: Vec<_> = place.path().map(Path::to_owned).into_iter().collect();
    written.iter().try_for_each(|dir| disk::check(dir, disk::TO_GO_ON)).map_err(ProvideError::CannotBegin)?;
    let opening = async {
        let setup = ProviderSetup {
            store: place.open().await?,
            notifications,
            sandbox: settings.sandbox,
            failure: failure.clone(),
        };
        activities::provider::endpoint(context, &setup).await
    };
    let endpoint = tokio::select! {
        opened = opening => opened.map_err(|cause| ProvideError::Open { store: place.url().clone(), cause })?,
        by = requests.next() => {
            info!(by, "stopped before it was ready");
            return Ok(());
        }
    };
    let stop = CancellationToken::new();
    let serving = activities::provider::serve(bound, endpoint, stop.clone().cancelled_owned(), GRACE);
    tokio::pin!(serving);
    let ready =
        ProviderReady { context, url, pid: std::process::id(), store: place.url().clone(), sandbox: settings.sandbox };
    if let Err(error) = report::provider_ready(&ready, settings.json) {
        debug!(%error, "nobody reads standard output");
    }
    let outcome = tokio::select! {
        unwritable = disk::unwritable(&written, &failure) => {
            info!("stopping, because nothing can be written");
            Err(ProvideError::Unwritable(unwritable))
        }
        served = &mut serving => return served.map_err(ProvideError::Serve).and(Err(ProvideError::Ended)),
        by = requests.next() => {
            info!(by, "stopping; once more stops at once");
            Ok(())
        }
    };
    stop.cancel();
    tokio::select! {
        served = serving => outcome.and(served.map_err(ProvideError::Serve)),
        _ = requests.next() => Err(ProvideError::CutShort),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        settings: Settings,
    }

    fn settings(arguments: &[&str]) -> Settings {
        Cli::try_parse_from([&["provider"], arguments].concat()).expect("parses").settings
    }

    fn configuration(payment_store: Option<&str>) -> Configuration {
        let configuration = Configuration::read(None, []).expect("is sound");
        Configuration { payment_store: payment_store.map(|url| url.parse().expect("a store")), ..configuration }
    }

    #[test]
    fn a_context_is_one_of_six() {
        for context in Context::ALL {
            assert_eq!(settings(&[context.as_str()]).context, context);
        }
        assert!(Cli::try_parse_from(["provider", "printer"]).is_err());
    }

    #[test]
    fn the_flag_is_above_the_configuration_where_payments_may_have_a_store_of_their_own() {
        let place = |configured: &Configuration, arguments: &[&str]| {
            settings(arguments).take_place(configured).expect("is free").url().to_string()
        };
        let configured = configuration(Some("postgres://configured/db"));
        assert_eq!(place(&configured, &["payment"]), "postgres://configured/db");
        assert_eq!(place(&configured, &["payment", "--store", "mem://"]), "mem://");
        assert_eq!(place(&configured, &["stock", "--store", "mem://"]), "mem://");
        let server = ("JUMUN_STORE__URL".into(), "ws://store:8000".into());
        let server = Configuration::read(None, [server]).expect("is sound");
        let configured = Configuration { store: server.store, ..configured };
        assert_eq!(place(&configured, &["stock"]), "ws://store:8000");
        assert_eq!(place(&configured, &["payment"]), "postgres://configured/db");
        assert_eq!(place(&configured, &["stock", "--store", "mem://"]), "mem://");
    }

    #[test]
    fn only_payments_can_be_kept_in_postgres() {
        let kitchen = settings(&["kitchen", "--store", "postgres://host/db"]);
        let error = kitchen.take_place(&configuration(None)).expect_err("cannot");
        assert!(matches!(error, ProvideError::NotInPostgres(Context::Kitchen)), "{error}");
        assert_eq!(error.exit_code(), 2);
    }
}
