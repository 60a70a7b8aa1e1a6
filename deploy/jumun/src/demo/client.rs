//! The demo's people at the REST API: they place, look, and ask commands. Every request has a time limit, and one that
//! was not answered is sent again, which changes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use api::Principal;
use reqwest::{RequestBuilder, Response, StatusCode};
use serde::Deserialize;
use serde_json::Value;
use workflows::{Command, OrderId, Role};

use super::plan::{OrderNow, PLANS};
use crate::access::Mint;
use crate::config::HttpUrl;

const CONNECT_WITHIN: Duration = Duration::from_secs(2);
/// Placing an order waits for its payment, a command for its effect.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
const PROBE_WITHIN: Duration = Duration::from_secs(3);
/// A live stream that is silent for so long is broken: the API keeps it from being silent.
const SILENT_FOR: Duration = Duration::from_secs(45);
/// For how much longer than the demo tokens are good.
const MARGIN: Duration = Duration::from_mins(5);
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

/// Whether a jumun takes requests there.
pub async fn probe(api: &HttpUrl) -> reqwest::Result<Listening> {
    let http = reqwest::Client::builder().no_proxy().connect_timeout(CONNECT_WITHIN).timeout(PROBE_WITHIN).build()?;
    Ok(match http.get(format!("{api}/readyz")).send().await {
        Ok(answer) if answer.status() == StatusCode::OK => Listening::Jumun,
        Ok(answer) => Listening::Other(answer.status().to_string()),
        Err(error) if error.is_connect() => Listening::Nobody,
        Err(error) => Listening::Other(root(&error)),
    })
}

#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    stream: reqwest::Client,
    api: HttpUrl,
    tokens: Arc<Tokens>,
}

/// The tokens of the demo's people.
struct Tokens {
    customer: String,
    courier: String,
    operator: String,
    merchants: BTreeMap<&'static str, String>,
}

impl Tokens {
    fn mint(mint: &Mint, lasting: Duration) -> Self {
        let token = |role, merchant: Option<&str>| {
            let merchant = merchant.map(|id| id.parse().expect("a demo merchant has a well-formed id"));
            let principal = Principal::new(role, "demo", merchant).expect("the demo's people are well formed");
            mint.token(&principal, lasting)
        };
        Self {
            customer: token(Role::Customer, None),
            courier: token(Role::Courier, None),
            operator: token(Role::Operator, None),
            merchants: PLANS.iter().map(|plan| (plan.shop, token(Role::Merchant, Some(plan.shop)))).collect(),
        }
    }

    fn of(&self, role: Role, shop: &str) -> &str {
        match role {
            Role::Customer => &self.customer,
            Role::Courier => &self.courier,
            Role::Operator => &self.operator,
            Role::Merchant => &self.merchants[shop],
        }
    }
}

impl Client {
    /// Its people's tokens are good for the whole demo.
    pub fn new(api: HttpUrl, mint: &Mint, lasting: Duration) -> reqwest::Result<Self> {
        let builder = || reqwest::Client::builder().no_proxy().connect_timeout(CONNECT_WITHIN);
        let http = builder().timeout(ANSWER_WITHIN).build()?;
        let tokens = Arc::new(Tokens::mint(mint, lasting + MARGIN));
        Ok(Self { http, stream: builder().read_timeout(SILENT_FOR).build()?, api, tokens })
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.api)
    }

    /// Places an order. Not paying is an answer, too: the order is there, and rejected.
    pub async fn place(&self, key: &str, order: &Value) -> Result<(), ClientError> {
        loop {
            let request = self.http.post(self.url("/v1/orders")).header("Idempotency-Key", key).json(order);
            let request = request.bearer_auth(&self.tokens.customer);
            match request.send().await {
                Ok(answer) if answer.status() == StatusCode::PAYMENT_REQUIRED => return Ok(()),
                Ok(answer) => return accepted(answer).await.map(drop),
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    /// The order as its customer sees it, with the commands that anybody around it may give now.
    pub async fn order(&self, id: &OrderId, shop: &str) -> Result<OrderNow, ClientError> {
        let mut now = self.order_as(Role::Customer, id, shop).await?;
        for role in [Role::Merchant, Role::Courier] {
            match self.order_as(role, id, shop).await {
                Ok(seen) if seen.status == now.status => now.allowed_commands.extend(seen.allowed_commands),
                // No courier sees it before there is something to take.
                Ok(_) | Err(ClientError::Refused { status: StatusCode::NOT_FOUND, .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(now)
    }

    async fn order_as(&self, role: Role, id: &OrderId, shop: &str) -> Result<OrderNow, ClientError> {
        let request = self.http.get(self.url(&format!("/v1/orders/{id}")));
        Ok(self.send(request.bearer_auth(self.tokens.of(role, shop))).await?.json().await?)
    }

    pub async fn command(&self, id: &OrderId, shop: &str, command: Command) -> Result<(), ClientError> {
        let role = command.roles().first().copied().unwrap_or(Role::Operator);
        let request = self.http.post(self.url(&format!("/v1/orders/{id}/{command}")));
        self.send(request.bearer_auth(self.tokens.of(role, shop))).await.map(drop)
    }

    /// Whether there is any event after `position`.
    pub async fn has_events_after(&self, position: u64) -> Result<bool, ClientError> {
        #[derive(Deserialize)]
        struct Page {
            items: Vec<Value>,
        }
        let request = self.http.get(self.url(&format!("/v1/events?after={position}&limit=1")));
        let request = request.bearer_auth(&self.tokens.operator);
        let page: Page = self.send(request).await?.json().await?;
        Ok(!page.items.is_empty())
    }

    /// Opens the live stream of all events after `position`, or after the last one that came of it.
    pub async fn stream(&self, position: u64, last: Option<&str>) -> Result<Response, ClientError> {
        let url = self.url(&format!("/v1/events?after={position}"));
        let request = self.stream.get(url).header("Accept", "text/event-stream");
        let request = request.bearer_auth(&self.tokens.operator);
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
