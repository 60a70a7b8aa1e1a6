//! The flags of `jumun local`, and what they make of the configuration.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use workflows::Context;

use crate::config::{self, Configuration, ExistingEngine, HttpUrl, InvalidConfiguration, NotAnHttpUrl};
use crate::engine::{InvalidTuning, Tuning};
use crate::listen::Listener;
use crate::store_url::StoreUrl;

/// The store tells at length how it starts and stops, and calls it an error when something that took too long is called off.
pub const DEFAULT_LOG: &str =
    "info,poem=warn,surrealdb=warn,surrealdb_core=off,surrealdb_datastore=off,surrealkv=error,surrealkv::task=off";

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

    /// Where an engine that runs already takes invocations, like `http://127.0.0.1:8080`: one URL for each node, separated
    /// by commas. jumun then starts no engine of its own (or `JUMUN_ENGINE__INGRESS`)
    #[arg(long, value_name = "URL,...", value_delimiter = ',', requires = "engine_admin")]
    pub engine_ingress: Vec<HttpUrl>,

    /// Where that engine has its admin API, likewise (or `JUMUN_ENGINE__ADMIN`)
    #[arg(long, value_name = "URL,...", value_delimiter = ',', requires = "engine_ingress")]
    pub engine_admin: Vec<HttpUrl>,

    /// The engine's program; else the one on PATH, the one in the cache, or one that npm fetches into the cache
    #[arg(long, env = "RESTATE_SERVER", value_name = "PATH")]
    pub restate_server: Option<PathBuf>,

    /// Where an engine that was fetched is kept [default: `$XDG_CACHE_HOME/jumun`, else `~/.cache/jumun`]
    #[arg(long, env = "JUMUN_CACHE_DIR", value_name = "DIR")]
    pub cache_dir: Option<PathBuf>,

    /// Engine settings (TOML, in restate-server's words) over those that jumun runs it with; the engine ignores a key that
    /// it does not know, and names, directory and addresses stay jumun's
    #[arg(long, env = "JUMUN_ENGINE_CONFIG", value_name = "FILE")]
    pub engine_config: Option<PathBuf>,

    /// The configuration file (TOML): sections `providers`, `payment`, `engine`, `orders`, `limits`, `worker` and
    /// `notifications`; the environment is above it, like `JUMUN_ORDERS__STUCK_AFTER`, and flags are above that
    #[arg(long, env = "JUMUN_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// A provider in a process of its own, like `payment=http://127.0.0.1:9101`, once for each; all others are built in
    /// (or `JUMUN_PROVIDERS__PAYMENT`, ...)
    #[arg(long = "provider", value_name = "CONTEXT=URL", value_parser = remote_provider)]
    pub providers: Vec<(Context, HttpUrl)>,

    /// Where the built-in payment provider keeps its ledger, like `postgres://...`, if not with everything else (or
    /// `JUMUN_PAYMENT__STORE`, which no process list shows)
    #[arg(long, value_name = "URL")]
    pub payment_store: Option<StoreUrl>,

    /// How long an order may make no progress before it counts as stuck [default: 30s] (or `JUMUN_ORDERS__STUCK_AFTER`)
    #[arg(long, value_name = "TIME", value_parser = config::stuck_after)]
    pub stuck_after: Option<Duration>,

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

#[derive(Debug, thiserror::Error)]
pub(crate) enum NotAProvider {
    #[error("expected CONTEXT=URL, like payment=http://127.0.0.1:9101")]
    NoUrl,
    #[error("expected one of {} before the =", Context::ALL.map(Context::as_str).join(", "))]
    NoContext,
    #[error(transparent)]
    Url(#[from] NotAnHttpUrl),
}

pub(crate) fn remote_provider(text: &str) -> Result<(Context, HttpUrl), NotAProvider> {
    let (name, url) = text.split_once('=').ok_or(NotAProvider::NoUrl)?;
    let context = Context::ALL.into_iter().find(|context| context.as_str() == name);
    Ok((context.ok_or(NotAProvider::NoContext)?, url.parse()?))
}

impl Settings {
    /// What the file and the environment say, and above them the flags.
    ///
    /// # Errors
    /// With every setting that is wrong.
    pub fn configuration(&self) -> Result<Configuration, InvalidConfiguration> {
        let mut configuration = Configuration::read(self.config.as_deref(), std::env::vars_os())?;
        configuration.providers.extend(self.providers.iter().cloned());
        if let Some(store) = &self.payment_store {
            configuration.payment_store = Some(store.clone());
        }
        if !self.engine_ingress.is_empty() {
            let (ingress, admin) = (self.engine_ingress.clone(), self.engine_admin.clone());
            configuration.engine = Some(ExistingEngine { ingress, admin });
        }
        configuration.stuck_after = self.stuck_after.unwrap_or(configuration.stuck_after);
        Ok(configuration)
    }

    /// What is laid over the engine's own configuration.
    ///
    /// # Errors
    /// Where the file that is to say so cannot be used.
    pub fn tuning(&self) -> Result<Tuning, InvalidTuning> {
        self.engine_config.as_deref().map_or_else(|| Ok(Tuning::default()), Tuning::read)
    }

    pub fn address(&self, listener: Listener) -> SocketAddr {
        let wanted = match listener {
            Listener::Api => self.api_listen,
            Listener::Worker => self.worker_listen,
            Listener::EngineIngress => self.engine_ingress_listen,
            Listener::EngineAdmin => self.engine_admin_listen,
            Listener::EngineNode => self.engine_node_listen,
            Listener::Management | Listener::Provider(_) => None,
        };
        wanted.unwrap_or_else(|| listener.default_address(self.ephemeral))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remote_provider_is_a_context_and_a_url() {
        let (context, url) = remote_provider("kitchen=http://127.0.0.1:9105/").expect("is one");
        assert_eq!((context, url.to_string().as_str()), (Context::Kitchen, "http://127.0.0.1:9105"));
        for wrong in ["kitchen", "oven=http://127.0.0.1", "kitchen=127.0.0.1:9105", "=http://127.0.0.1"] {
            assert!(remote_provider(wrong).is_err(), "{wrong}");
        }
    }
}
