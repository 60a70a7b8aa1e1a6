//! The engine's admin API, as far as workers need it.

use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder, Response};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

const TIMEOUT: Duration = Duration::from_secs(20);

/// The engine did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    #[error("the engine's admin API at {admin_url} was not reached: {cause}")]
    Unreachable {
        admin_url: String,
        #[source]
        cause: reqwest::Error,
    },
    #[error("the engine refused ({status}): {answer}")]
    Refused { status: u16, answer: String },
}

pub(crate) struct Admin {
    url: String,
    client: Client,
}

impl Admin {
    pub(crate) fn new(url: &str) -> Result<Self, AdminError> {
        let url = url.trim_end_matches('/').to_owned();
        match Client::builder().no_proxy().timeout(TIMEOUT).build() {
            Ok(client) => Ok(Self { url, client }),
            Err(cause) => Err(AdminError::Unreachable { admin_url: url, cause }),
        }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url))
    }

    /// An answer that is no refusal.
    pub(crate) async fn send(&self, request: RequestBuilder) -> Result<Response, AdminError> {
        let response = request.send().await.map_err(|cause| self.unreachable(cause))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let answer = response.text().await.unwrap_or_default();
        Err(AdminError::Refused { status: status.as_u16(), answer })
    }

    pub(crate) async fn json<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, AdminError> {
        self.send(request).await?.json().await.map_err(|cause| self.unreachable(cause))
    }

    /// Rows of the engine's own tables.
    pub(crate) async fn query<T: DeserializeOwned>(&self, query: &str) -> Result<Vec<T>, AdminError> {
        #[derive(Deserialize)]
        struct Rows<T> {
            rows: Vec<T>,
        }
        let request = self.request(Method::POST, "/query").header("accept", "application/json");
        let Rows { rows } = self.json(request.json(&json!({ "query": query }))).await?;
        Ok(rows)
    }

    fn unreachable(&self, cause: reqwest::Error) -> AdminError {
        AdminError::Unreachable { admin_url: self.url.clone(), cause }
    }
}
