//! The public REST API, as a careful client asks it: one pool of connections for each role, a time limit for each request,
//! nothing repeated, and no answer parsed further than it has to be.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use reqwest::header::{ACCEPT, CONTENT_TYPE, LOCATION};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::Value;

/// How long a request may take. A placement is answered within 10 s even where it is not decided, a command within 15 s.
const PATIENCE: Duration = Duration::from_secs(30);

/// Somebody who asks.
#[derive(Clone)]
pub struct Caller {
    http: Client,
    base: String,
    token: String,
    asked: Arc<AtomicU64>,
}

/// Why something was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Failed {
    /// The answer was no success.
    Status(u16),
    /// There was no answer in time, or none at all.
    NoAnswer,
    /// The order did not get to where it was waited for.
    NotReached,
    /// The command was accepted, and the order is not closed.
    NotClosed,
}

/// A placement that was acknowledged.
pub struct Placed {
    pub id: String,
    /// Whether it stands (201), or is not decided yet (202).
    pub stands: bool,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => status.fmt(f),
            Self::NoAnswer => f.write_str("no answer"),
            Self::NotReached => f.write_str("not reached"),
            Self::NotClosed => f.write_str("not closed"),
        }
    }
}

impl From<reqwest::Error> for Failed {
    fn from(_: reqwest::Error) -> Self {
        Self::NoAnswer
    }
}

impl Caller {
    /// `asked` counts the requests.
    pub fn new(base: &str, token: &str, asked: Arc<AtomicU64>) -> Result<Self> {
        // A proxy from the environment has no business between the bench and what it measures.
        let http = Client::builder().no_proxy().tcp_nodelay(true).pool_max_idle_per_host(usize::MAX).build()?;
        Ok(Self { http, base: base.to_owned(), token: token.to_owned(), asked })
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.http.request(method, format!("{}{path}", self.base)).bearer_auth(&self.token)
    }

    /// The head of a success.
    async fn send(&self, request: RequestBuilder) -> Result<Response, Failed> {
        let answer = request.timeout(PATIENCE).send().await?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        // Its connection can be used again once it is read.
        let _ = answer.bytes().await;
        Err(Failed::Status(status.as_u16()))
    }

    /// Places an order, under a key of its own, as who might have to repeat it would.
    pub async fn place(&self, order: String) -> Result<Placed, Failed> {
        let request = self
            .request(Method::POST, "/v1/orders")
            .header("idempotency-key", uuid::Uuid::now_v7().to_string())
            .header(CONTENT_TYPE, "application/json")
            .body(order);
        let answer = self.send(request).await?;
        let stands = answer.status() == StatusCode::CREATED;
        let location = answer.headers().get(LOCATION).and_then(|location| location.to_str().ok());
        let id = location.and_then(|location| Some(location.rsplit_once('/')?.1.to_owned()));
        answer.bytes().await?;
        Ok(Placed { id: id.ok_or(Failed::NotReached)?, stands })
    }

    /// Reports that an order was delivered, which closes it before it is answered.
    pub async fn complete_delivery(&self, order_id: &str) -> Result<(), Failed> {
        let request = self.request(Method::POST, &format!("/v1/orders/{order_id}/complete-delivery"));
        let order = self.send(request).await?.bytes().await?;
        let closed = br#""status":"closed""#;
        if order.windows(closed.len()).any(|window| window == closed) { Ok(()) } else { Err(Failed::NotClosed) }
    }

    /// Reads something, and throws it away.
    pub async fn read(&self, path: &str) -> Result<(), Failed> {
        self.send(self.request(Method::GET, path)).await?.bytes().await?;
        Ok(())
    }

    /// Whether all is well and orders are taken.
    pub async fn is_ready(&self) -> bool {
        self.read("/readyz").await.is_ok()
    }

    /// What is there.
    pub async fn get(&self, path: &str) -> Result<Value> {
        self.told(self.request(Method::GET, path)).await
    }

    /// Sets something up.
    pub async fn put(&self, path: &str, body: &Value) -> Result<Value> {
        self.told(self.request(Method::PUT, path).json(body)).await
    }

    async fn told(&self, request: RequestBuilder) -> Result<Value> {
        let answer = request.timeout(PATIENCE).send().await?;
        let (status, path) = (answer.status(), answer.url().path().to_owned());
        let text = answer.text().await?;
        if !status.is_success() {
            bail!("{path}: {status} {text}");
        }
        serde_json::from_str(&text).with_context(|| format!("{path}: {text}"))
    }

    /// The events of all orders after a position, as a stream without an end.
    pub async fn events(&self, after: u64) -> Result<Response, Failed> {
        let path = format!("/v1/events?after={after}");
        let answer = self.request(Method::GET, &path).header(ACCEPT, "text/event-stream").send().await?;
        if answer.status().is_success() { Ok(answer) } else { Err(Failed::Status(answer.status().as_u16())) }
    }
}
