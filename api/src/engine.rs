//! The engine's client: a thin layer over the ingress, and what its admin API says of an order's workflow. Every call has
//! a time limit, and none carries a header of the caller's, because the engine stores headers.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use poem::http::uri::InvalidUri;
use poem::http::{StatusCode, Uri};
use restate_sdk::ingress::{Client, ClientBuildError, ClientError, ReqwestClient};
use restate_sdk::serde::Json;
use serde_json::{Value, json};
use workflows::notification::workflow::MessageQueueIngressClient;
use workflows::order::PlaceOrder;
use workflows::order::command::{CommandRequest, Verdict};
use workflows::order::late::LateDepositIngressClient;
use workflows::order::workflow::OrderWorkflowIngressClient;
use workflows::payment::Due;
use workflows::{MessageId, OrderId};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const ADMIN_TIMEOUT: Duration = Duration::from_secs(2);
const SUBMIT_TIMEOUT: Duration = Duration::from_secs(5);
/// A command is answered when its effect is there, and it may find a step in the middle of an attempt.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(15);

/// Why an [`Engine`] could not be made.
#[derive(Debug, thiserror::Error)]
pub enum InvalidEngine {
    #[error("the engine's ingress URL: {0}")]
    Url(#[from] InvalidUri),
    #[error("the engine's admin URL: {0}")]
    AdminUrl(#[source] InvalidUri),
    #[error("the engine's ingress URL: {0}")]
    Base(#[from] ClientBuildError),
    #[error("the engine's HTTP client: {0}")]
    Http(#[from] reqwest::Error),
}

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why a call brought no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EngineError {
    /// The engine never took the call, so it has no effect.
    #[error("the engine was not reached: {0}")]
    NotTaken(Cause),
    /// The engine may have taken the call.
    #[error("the engine gave no answer: {0}")]
    Unanswered(Cause),
}

/// A client of the engine's ingress. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    client: ReqwestClient,
    http: reqwest::Client,
    health_url: String,
    /// The base URL of the admin API and UI, without a slash at its end.
    admin_url: String,
}

/// A workflow as the engine sees it.
#[derive(Clone, Debug)]
pub(crate) struct Invocation {
    pub id: String,
    /// In the engine's words.
    pub status: String,
    /// The version of the worker that it stays on.
    pub deployment_id: Option<String>,
    /// How often it was tried.
    pub attempts: Option<u64>,
    pub last_failure: Option<String>,
    pub failing_step: Option<String>,
    pub next_try_at: Option<DateTime<Utc>>,
    /// Where the engine's own UI shows it.
    pub link: String,
}

impl Engine {
    /// A client of the ingress at `url`, such as `http://127.0.0.1:8080`. Connects when it is first used.
    ///
    /// # Errors
    /// Where it is no absolute URL, or has a query.
    pub fn new(url: &str, admin_url: &str) -> Result<Self, InvalidEngine> {
        let health_url = format!("{}/restate/health", url.trim_end_matches('/'));
        let http = reqwest::Client::builder().no_proxy().connect_timeout(CONNECT_TIMEOUT).build()?;
        let admin_url = admin_url.trim_end_matches('/').to_owned();
        admin_url.parse::<Uri>().map_err(InvalidEngine::AdminUrl)?;
        Ok(Self { client: Client::new(url.parse()?, http.clone())?, http, health_url, admin_url })
    }

    /// Starts the order's workflow within `limit`. Starting it again changes nothing and succeeds.
    pub(crate) async fn submit(
        &self,
        order_id: &OrderId,
        order: &PlaceOrder,
        limit: Duration,
    ) -> Result<(), EngineError> {
        let run = self.workflow(order_id).run(Json(order.clone())).send();
        within(SUBMIT_TIMEOUT.min(limit), run).await?;
        Ok(())
    }

    /// Returns once it is decided whether the order stands.
    pub(crate) async fn placement(&self, order_id: &OrderId, wait: Duration) -> Result<(), EngineError> {
        let call = self.workflow(order_id).placement().call();
        within(wait, async { call.await?.into_body() }).await
    }

    /// Carries a command to the order's workflow, and its verdict back.
    pub(crate) async fn command(&self, order_id: &OrderId, request: CommandRequest) -> Result<Verdict, EngineError> {
        let call = self.workflow(order_id).command(Json(request)).call();
        let Json(verdict) = within(COMMAND_TIMEOUT, async { call.await?.into_body() }).await?;
        Ok(verdict)
    }

    /// Whether the ingress takes requests. The caller says how long it waits.
    pub(crate) async fn health(&self) -> Result<(), EngineError> {
        let answer = self.http.get(&self.health_url).send().await;
        answer.and_then(reqwest::Response::error_for_status).map_err(|error| EngineError::NotTaken(error.into()))?;
        Ok(())
    }

    /// How the engine sees the order's workflow; `None` where it knows of none, or no longer.
    pub(crate) async fn invocation(&self, order_id: &OrderId) -> Result<Option<Invocation>, EngineError> {
        Ok(self.invocations(std::slice::from_ref(order_id)).await?.remove(order_id))
    }

    /// The same of many orders, by order; those are left out of which the engine knows nothing.
    pub(crate) async fn invocations(
        &self,
        order_ids: &[OrderId],
    ) -> Result<BTreeMap<OrderId, Invocation>, EngineError> {
        // The API has no parameters. An order id is made of letters, digits and one underscore: there is nothing in it
        // that could mean something else in SQL.
        let keys: Vec<_> = order_ids.iter().map(|id| format!("'{id}'")).collect();
        let query = format!(
            "SELECT id, target_service_key, status, pinned_deployment_id, retry_count, last_failure, \
             last_failure_related_command_name, next_retry_at FROM sys_invocation WHERE target_service_name = 'order' \
             AND target_service_key IN ({}) AND target_handler_name = 'run'",
            keys.join(", ")
        );
        let answer = async {
            let request = self.http.post(format!("{}/query", self.admin_url)).header("accept", "application/json");
            let response = request.json(&json!({ "query": query })).send().await?.error_for_status()?;
            response.json::<Value>().await
        };
        let answer = match tokio::time::timeout(ADMIN_TIMEOUT, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(EngineError::Unanswered(error.into())),
            Err(elapsed) => return Err(EngineError::Unanswered(elapsed.into())),
        };
        let rows = answer["rows"].as_array().into_iter().flatten();
        let of_order = |row: &Value| Some((row["target_service_key"].as_str()?.parse().ok()?, self.read(row)?));
        Ok(rows.filter_map(of_order).collect())
    }

    /// Lets a workflow go on that was paused, and has one that waits for its next attempt make it now; `false` where it
    /// has ended. Whatever else a workflow does, it is not disturbed (seen with restate-server 1.7.12: one that runs or
    /// waits for a promise answers 200 as well, and goes its way).
    pub(crate) async fn resume(&self, invocation: &Invocation) -> Result<bool, EngineError> {
        let url = format!("{}/invocations/{}/resume", self.admin_url, invocation.id);
        let answer = match tokio::time::timeout(ADMIN_TIMEOUT, self.http.patch(url).send()).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(EngineError::Unanswered(error.into())),
            Err(elapsed) => return Err(EngineError::Unanswered(elapsed.into())),
        };
        // Completed, or no longer known.
        if matches!(answer.status(), StatusCode::CONFLICT | StatusCode::NOT_FOUND) {
            return Ok(false);
        }
        answer.error_for_status().map_err(|error| EngineError::Unanswered(error.into()))?;
        Ok(true)
    }

    /// Reads a row of `sys_invocation`, which leaves out what is not known.
    fn read(&self, row: &Value) -> Option<Invocation> {
        let text = |column: &str| row[column].as_str().map(str::to_owned);
        let id = text("id")?;
        Some(Invocation {
            status: text("status")?,
            deployment_id: text("pinned_deployment_id"),
            attempts: row["retry_count"].as_u64(),
            last_failure: text("last_failure"),
            failing_step: text("last_failure_related_command_name"),
            next_try_at: row["next_retry_at"].as_str().and_then(|at| at.parse().ok()),
            link: format!("{}/ui/invocations/{id}", self.admin_url),
            id,
        })
    }

    fn workflow(&self, order_id: &OrderId) -> OrderWorkflowIngressClient<reqwest::Client> {
        OrderWorkflowIngressClient::from_client(self.client.clone(), order_id.as_str())
    }

    /// Has a message sent once more. It has a queue of its own, and so waits for no retry that sleeps.
    pub(crate) async fn replay(&self, message: &MessageId) -> Result<(), EngineError> {
        let queue = MessageQueueIngressClient::from_client(self.client.clone(), format!("{message}/replay"));
        within(SUBMIT_TIMEOUT, queue.replay(Json(message.clone())).send()).await?;
        Ok(())
    }

    /// Has a transfer given back that came too late. Asking again gives nothing back twice.
    pub(crate) async fn give_back(&self, due: Due) -> Result<(), EngineError> {
        let late = LateDepositIngressClient::from_client(self.client.clone(), due.order_id.as_str());
        within(SUBMIT_TIMEOUT, late.give_back(Json(due)).send()).await?;
        Ok(())
    }
}

async fn within<T>(limit: Duration, call: impl Future<Output = Result<T, ClientError>>) -> Result<T, EngineError> {
    match tokio::time::timeout(limit, call).await {
        Ok(answer) => answer.map_err(EngineError::from),
        Err(elapsed) => Err(EngineError::Unanswered(elapsed.into())),
    }
}

impl From<ClientError> for EngineError {
    fn from(error: ClientError) -> Self {
        let taken = match &error {
            ClientError::Transport { source } => {
                !source.downcast_ref::<reqwest::Error>().is_some_and(reqwest::Error::is_connect)
            }
            ClientError::Status { status, .. } => !status.is_client_error(),
            ClientError::Request { .. } | ClientError::Serialization { .. } | ClientError::InvalidRequest { .. } => {
                false
            }
            ClientError::Protocol { .. } | ClientError::PayloadDecode { .. } => true,
        };
        if taken { Self::Unanswered(error.into()) } else { Self::NotTaken(error.into()) }
    }
}
