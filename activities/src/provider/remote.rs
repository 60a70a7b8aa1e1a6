//! Providers in processes of their own, seen from here: each is its context's port, over HTTP.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url, redirect};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use workflows::sandbox::{Mode, Sandbox};
use workflows::{Context, ProviderError};

use crate::{Modes, OpenError};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// A ceiling only: each step, and each question of the API, has a shorter limit of its own.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Shorter than the provider's, so that no call goes out on a connection that is being closed there.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// The client of one context's provider. `provider/contract.rs` makes it the port of each.
pub(crate) struct Remote {
    http: Client,
    context: Context,
    base: String,
}

impl Remote {
    fn new(context: Context, base: &str) -> Result<Self, OpenError> {
        let fits = |url: &Url| matches!(url.scheme(), "http" | "https") && url.query().or(url.fragment()).is_none();
        let url = Url::parse(base).ok().filter(fits);
        let url = url.ok_or_else(|| OpenError::Url { context, url: base.to_owned() })?;
        Ok(Self { http: client()?, context, base: url.as_str().trim_end_matches('/').to_owned() })
    }

    pub(super) async fn call<Q: Serialize + Sync, A: DeserializeOwned>(
        &self,
        verb: &str,
        request: &Q,
    ) -> Result<A, ProviderError> {
        let request = self.http.post(format!("{}/v1/{verb}", self.base)).json(request);
        let request = match workflows::traceparent() {
            Some(traceparent) => request.header(workflows::TRACEPARENT, traceparent),
            None => request,
        };
        self.answer(request).await
    }

    async fn mode(&self) -> Result<Mode, ProviderError> {
        self.answer(self.http.get(format!("{}/sandbox", self.base))).await
    }

    async fn set_mode(&self, mode: Mode) -> Result<Mode, ProviderError> {
        self.answer(self.http.put(format!("{}/sandbox", self.base)).json(&mode)).await
    }

    async fn answer<A: DeserializeOwned>(&self, request: RequestBuilder) -> Result<A, ProviderError> {
        let unheard = |error: reqwest::Error| self.unavailable(&root(&error));
        let response = request.send().await.map_err(unheard)?;
        match response.status() {
            StatusCode::OK => response.json().await.map_err(unheard),
            StatusCode::CONFLICT => Err(ProviderError::impossible(detail(response).await)),
            // Also what only says that the two processes do not understand each other, such as 400 or 404: that is a
            // fault of how they were put together, which somebody can mend. Orders wait for that, and none is ended.
            status => Err(self.unavailable(&format!("{status}: {}", detail(response).await))),
        }
    }

    fn unavailable(&self, why: &str) -> ProviderError {
        ProviderError::unavailable(format!("the {} provider: {why}", self.context))
    }
}

fn client() -> Result<Client, reqwest::Error> {
    Client::builder()
        .no_proxy()
        .redirect(redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(TIMEOUT)
        .pool_idle_timeout(POOL_IDLE_TIMEOUT)
        .tcp_nodelay(true)
        .build()
}

/// What a problem says, as far as it can be read.
async fn detail(response: Response) -> String {
    #[derive(Deserialize)]
    struct Problem {
        detail: String,
    }
    response.json().await.map_or_else(|_| "without a reason".to_owned(), |problem: Problem| problem.detail)
}

/// What is at the bottom of an error, whose own text tells little but the URL.
fn root(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let mut cause: &dyn Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

/// All remote providers, and the switches of all providers.
pub(crate) struct Remotes {
    remotes: BTreeMap<Context, Arc<Remote>>,
    /// The switches of the built-in ones.
    modes: Arc<Modes>,
}

impl Remotes {
    pub(crate) fn new(urls: &BTreeMap<Context, String>, modes: Arc<Modes>) -> Result<Self, OpenError> {
        let remote =
            |(context, url): (&Context, &String)| Remote::new(*context, url).map(|remote| (*context, Arc::new(remote)));
        Ok(Self { remotes: urls.iter().map(remote).collect::<Result<_, _>>()?, modes })
    }

    pub(crate) fn get(&self, context: Context) -> Option<Arc<Remote>> {
        self.remotes.get(&context).cloned()
    }
}

#[async_trait]
impl Sandbox for Remotes {
    async fn mode(&self, context: Context) -> Result<Mode, ProviderError> {
        match self.remotes.get(&context) {
            Some(remote) => remote.mode().await,
            None => self.modes.mode(context).await,
        }
    }

    async fn set_mode(&self, context: Context, mode: Mode) -> Result<(), ProviderError> {
        match self.remotes.get(&context) {
            Some(remote) => remote.set_mode(mode).await.map(drop),
            None => self.modes.set_mode(context, mode).await,
        }
    }
}
