//! The engine that orders live in: one of jumun's own, as a child process, or one that runs already and that others start
//! and stop.

use std::path::PathBuf;
use std::time::Duration;

use tracing::{info, warn};
use worker::{AdminError, IdentityKey};

use crate::config::{Configuration, ExistingEngine, HttpUrl};
use crate::data_dir::DataDir;
use crate::engine::{self, Engine, EngineError, Launch};
use crate::fetch;
use crate::identity::Identity;
use crate::listen::{self, Listener, Reserved};
use crate::local::LocalError;
use crate::settings::Settings;

/// An engine, and where it is.
pub struct Engines {
    /// Never empty; any of them will do.
    pub ingress: Vec<String>,
    /// Likewise.
    pub admin: Vec<String>,
    /// With these it signs what it asks of the worker. Without any, everybody may ask.
    pub keys: Vec<IdentityKey>,
    own: Option<Own>,
}

/// A child process, and the addresses that are kept for it.
struct Own {
    engine: Engine,
    _reserved: [Reserved; 3],
}

impl Engines {
    /// The engine that the configuration names; else one is started, and lives as long as this.
    pub async fn start(settings: &Settings, configuration: &Configuration, dir: &DataDir) -> Result<Self, LocalError> {
        let keys = configuration.identity_keys.clone();
        match &configuration.engine {
            Some(existing) => Ok(Self::existing(existing, keys)),
            None => Self::own(settings, keys, dir).await,
        }
    }

    fn existing(ExistingEngine { ingress, admin }: &ExistingEngine, keys: Vec<IdentityKey>) -> Self {
        let texts = |urls: &[HttpUrl]| urls.iter().map(HttpUrl::to_string).collect();
        Self { ingress: texts(ingress), admin: texts(admin), keys, own: None }
    }

    async fn own(settings: &Settings, mut keys: Vec<IdentityKey>, dir: &DataDir) -> Result<Self, LocalError> {
        let addresses = [Listener::EngineIngress, Listener::EngineAdmin, Listener::EngineNode]
            .map(|listener| (listener, settings.address(listener)));
        let reserved = listen::reserve(addresses).await?;
        let [ingress, admin, node] = reserved.each_ref().map(|reserved| reserved.address);
        let identity = Identity::open(&dir.engine())?;
        keys.insert(0, identity.key().clone());
        let (binary, identity) = (program(settings).await?, identity.path().to_owned());
        let tuning = settings.tuning()?;
        let engine = Engine::start(Launch { binary, tuning, dir: dir.engine(), identity, ingress, admin, node })?;
        let (ingress, admin) = (vec![listen::url(ingress)], vec![listen::url(admin)]);
        Ok(Self { ingress, admin, keys, own: Some(Own { engine, _reserved: reserved }) })
    }

    /// Returns when it takes invocations and registrations.
    pub async fn ready(&mut self, within: Duration) -> Result<(), EngineError> {
        match &mut self.own {
            Some(own) => own.engine.ready(within).await,
            None => engine::answers(&self.ingress, &self.admin, within).await,
        }
    }

    /// Registers the worker at the first node that takes it.
    pub async fn register(&self, worker_url: &str) -> Result<(), AdminError> {
        let (last, others) = self.admin.split_last().expect("never empty");
        for admin in others {
            match worker::register(admin, worker_url).await {
                Err(error @ AdminError::Unreachable { .. }) => warn!(%error, "the next node is asked"),
                registered => return registered,
            }
        }
        worker::register(last, worker_url).await
    }

    /// The process of its own that runs now.
    pub fn pid(&self) -> Option<u32> {
        self.own.as_ref()?.engine.pid()
    }

    /// Returns when it has ended for good. Of one that others run nothing is known.
    pub async fn ended(&self) {
        match &self.own {
            Some(own) => own.engine.ended().await,
            None => std::future::pending().await,
        }
    }

    /// Stops it, if it is jumun's own.
    pub async fn stop(self) -> Result<(), EngineError> {
        let Some(own) = self.own else {
            info!("the engine runs on");
            return Ok(());
        };
        own.engine.stop().await
    }
}

/// The program that jumun would start.
pub async fn program(settings: &Settings) -> Result<PathBuf, LocalError> {
    let cache = settings.cache_dir.clone().or_else(crate::default_cache_dir).ok_or(LocalError::NoCacheDir)?;
    Ok(fetch::restate_server(settings.restate_server.as_deref(), &cache).await?)
}
