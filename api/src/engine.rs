//! The engine's client: a thin layer over the ingress. Every call has a time limit, and none carries a header of the
//! caller's, because the engine stores headers.

use std::time::Duration;

use poem::http::uri::InvalidUri;
use restate_sdk::ingress::{Client, ClientBuildError, ClientError, ReqwestClient};
use restate_sdk::serde::Json;
use workflows::OrderId;
use workflows::order::PlaceOrder;
use workflows::order::command::{CommandRequest, Verdict};
use workflows::order::workflow::OrderWorkflowIngressClient;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const SUBMIT_TIMEOUT: Duration = Duration::from_secs(5);
/// A command is answered when its effect is there, and it may find a step in the middle of an attempt.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(15);

/// Why an [`Engine`] could not be made.
#[derive(Debug, thiserror::Error)]
pub enum InvalidEngine {
    #[error("the engine's ingress URL: {0}")]
    Url(#[from] InvalidUri),
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
}

impl Engine {
    /// A client of the ingress at `url`, such as `http://127.0.0.1:8080`. Connects when it is first used.
    ///
    /// # Errors
    /// Where it is no absolute URL, or has a query.
    pub fn new(url: &str) -> Result<Self, InvalidEngine> {
        let health_url = format!("{}/restate/health", url.trim_end_matches('/'));
        let http = reqwest::Client::builder().no_proxy().connect_timeout(CONNECT_TIMEOUT).build()?;
        Ok(Self { client: Client::new(url.parse()?, http.clone())?, http, health_url })
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

    fn workflow(&self, order_id: &OrderId) -> OrderWorkflowIngressClient<reqwest::Client> {
        OrderWorkflowIngressClient::from_client(self.client.clone(), order_id.as_str())
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
