//! The demo's people at the REST API: they place, look, and ask commands. Every request has a time limit, and one that
//! was not answered is sent again, which changes nothing.

use std::time::Duration;

use reqwest::{RequestBuilder, Response, StatusCode};
use serde::Deserialize;
use serde_json::Value;
use workflows::{Command, OrderId};

use super::plan::OrderNow;
use crate::config::HttpUrl;

const CONNECT_WITHIN: Duration = Duration::from_secs(2);
/// Placing an order waits for its payment, a command for its effect.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
const PROBE_WITHIN: Duration = Duration::from_secs(3);
/// A live stream that is silent for so long is broken: the API keeps it from being silent.
const SILENT_FOR: Duration = Duration::from_secs(45);
/// Between two attempts to reach the API.
pub const PAUSE: Duration = Duration::from_millis(500);

/// Why a request brought nothing.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("no answer: {}", root(.0))]
    Unanswered(#[from] reqwest::Error),
    #[error("{status}: {detail}")]
    Refused { status: StatusCode, detail: String },
}

impl ClientError {
    /// Whether the same request may be answered later.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Unanswered(_) => true,
            Self::Refused { status, .. } => status.is_server_error(),
        }
    }
}

/// What is at the bottom of an error, whose own text tells little but the URL.
fn root(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

/// Who listens at an address.
#[derive(Debug)]
pub enum Listening {
    Nobody,
    Jumun,
    /// Somebody who is not ready, or not a jumun.
    Other(String),
}

#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    stream: reqwest::Client,
    api: HttpUrl,
}

impl Client {
    pub fn new(api: HttpUrl) -> reqwest::Result<Self> {
        let builder = || reqwest::Client::builder().no_proxy().connect_timeout(CONNECT_WITHIN);
        let http = builder().timeout(ANSWER_WITHIN).build()?;
        Ok(Self { http, stream: builder().read_timeout(SILENT_FOR).build()?, api })
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.api)
    }

    /// Whether a jumun takes requests there.
    pub async fn probe(&self) -> Listening {
        match self.http.get(self.url("/readyz")).timeout(PROBE_WITHIN).send().await {
            Ok(answer) if answer.status() == StatusCode::OK => Listening::Jumun,
            Ok(answer) => Listening::Other(answer.status().to_string()),
            Err(error) if error.is_connect() => Listening::Nobody,
            Err(error) => Listening::Other(root(&error)),
        }
    }

    /// Places an order. Not paying is an answer, too: the order is there, and rejected.
    pub async fn place(&self, key: &str, order: &Value) -> Result<(), ClientError> {
        loop {
            let request = self.http.post(self.url("/v1/orders")).header("Idempotency-Key", key).json(order);
            match request.send().await {
                Ok(answer) if answer.status() == StatusCode::PAYMENT_REQUIRED => return Ok(()),
                Ok(answer) => return accepted(answer).await.map(drop),
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    pub async fn order(&self, id: &OrderId) -> Result<OrderNow, ClientError> {
        Ok(self.send(self.http.get(self.url(&format!("/v1/orders/{id}")))).await?.json().await?)
    }

    pub async fn command(&self, id: &OrderId, command: Command) -> Result<(), ClientError> {
        self.send(self.http.post(self.url(&format!("/v1/orders/{id}/{command}")))).await.map(drop)
    }

    /// Whether there is any event after `position`.
    pub async fn has_events_after(&self, position: u64) -> Result<bool, ClientError> {
        #[derive(Deserialize)]
        struct Page {
            items: Vec<Value>,
        }
        let request = self.http.get(self.url(&format!("/v1/events?after={position}&limit=1")));
        let page: Page = self.send(request).await?.json().await?;
        Ok(!page.items.is_empty())
    }

    /// Opens the live stream of all events after `position`, or after the last one that came of it.
    pub async fn stream(&self, position: u64, last: Option<&str>) -> Result<Response, ClientError> {
        let url = self.url(&format!("/v1/events?after={position}"));
        let request = self.stream.get(url).header("Accept", "text/event-stream");
        let opening = self.send(last.into_iter().fold(request, |request, id| request.header("Last-Event-ID", id)));
        // The stream as a whole has no limit, so its beginning has one here.
        tokio::time::timeout(ANSWER_WITHIN, opening).await.unwrap_or_else(|_| {
            let status = StatusCode::GATEWAY_TIMEOUT;
            Err(ClientError::Refused { status, detail: "the live stream did not begin".to_owned() })
        })
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, ClientError> {
        accepted(request.send().await?).await
    }
}

async fn accepted(answer: Response) -> Result<Response, ClientError> {
    #[derive(Deserialize)]
    struct Problem {
        detail: String,
    }
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    let problem = answer.json::<Problem>().await;
    Err(ClientError::Refused {
        status,
        detail: problem.map_or_else(|_| "no reason given".to_owned(), |problem| problem.detail),
    })
}
