//! `GET /v1/deployments`: the versions of the worker that the engine knows, and which of them are still needed.

use chrono::{DateTime, Utc};
use poem_openapi::payload::Json;
use poem_openapi::{Enum, Object, OpenApi};
use tracing::{error, warn};
use workflows::Role;

use crate::access::Caller;
use crate::engine::{self, Engine};
use crate::kind::Kind;
use crate::problem::{Problem, Refused, refusals};
use crate::tags::Tag;
use crate::value::Checked;

pub(crate) struct DeploymentsApi {
    pub engine: Engine,
}

refusals! {
    ListDeployments: Forbidden, TryAgainLater;
}

/// The versions of the worker.
#[derive(Object)]
struct DeploymentList {
    /// All that the engine knows, oldest first.
    items: Vec<Deployment>,
}

/// A version of the worker, registered under its URL.
#[derive(Object)]
struct Deployment {
    /// Its id, as the engine gave it: `dp_` and letters and digits.
    id: String,
    /// Where the engine reaches it.
    url: String,
    /// When it was registered.
    created_at: Checked<DateTime<Utc>>,
    /// What it is there for.
    state: DeploymentState,
    /// How many orders, commands and messages have begun on it and not ended.
    open: u64,
}

/// What a version is there for.
#[derive(Enum)]
#[oai(rename_all = "snake_case")]
enum DeploymentState {
    /// What begins anew goes here.
    Current,
    /// What has begun here stays until it has ended; nothing new comes.
    Draining,
    /// Nothing needs it any more: it can be removed, and its processes stopped.
    Drained,
}

#[OpenApi(prefix_path = "/v1", tag = "Tag::Operations")]
impl DeploymentsApi {
    /// List the versions of the worker
    ///
    /// As the engine has them: which takes what begins anew, which still has open orders, and which can go.
    #[oai(path = "/deployments", method = "get", operation_id = "list_deployments")]
    async fn list(&self, caller: Caller) -> Result<Json<DeploymentList>, Refused<ListDeployments>> {
        caller.must_be(&[Role::Operator])?;
        let deployments = self.engine.deployments().await.map_err(|error| {
            warn!(%error, "the engine does not tell of its deployments");
            Problem::new(Kind::TryAgainLater, "The engine does not answer right now. Ask again after Retry-After.")
        })?;
        let deployments = deployments.map_err(|error| {
            error!(%error, "the engine tells of its deployments in other words");
            Problem::internal()
        })?;
        Ok(Json(DeploymentList { items: deployments.into_iter().map(Deployment::from).collect() }))
    }
}

impl From<engine::Deployment> for Deployment {
    fn from(deployment: engine::Deployment) -> Self {
        let engine::Deployment { id, url, created_at, current, open } = deployment;
        let state = match (current, open) {
            (true, _) => DeploymentState::Current,
            (false, 0) => DeploymentState::Drained,
            (false, _) => DeploymentState::Draining,
        };
        Self { id, url, created_at: Checked(created_at), state, open }
    }
}
