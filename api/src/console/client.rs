//! The API as the console uses it: its own operations, asked within this process as the one who is signed in. What they
//! answer is read here, and nowhere else.

use std::sync::Arc;

use futures::future::join_all;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use poem::endpoint::BoxEndpoint;
use poem::http::{HeaderName, Method, StatusCode, header};
use poem::{IntoResponse, Request, Response};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tracing::error;
use workflows::order::Language;

use super::visit;
use crate::access::Caller;
use crate::framework;
use crate::problem::Problem;

/// All but what means nothing in any part of a URL.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The API in this process, behind its doors: who calls has been found out, and is counted once for each page.
#[derive(Clone)]
pub(super) struct Api {
    pub endpoint: Arc<BoxEndpoint<'static>>,
    pub caller: Caller,
    pub language: Language,
}

/// A problem, as the API has told it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Told {
    #[serde(skip)]
    pub status: StatusCode,
    /// Which problem it is, if it is one of the API's.
    #[serde(default, rename = "type")]
    pub kind: Box<str>,
    pub title: String,
    pub detail: String,
    /// What is wrong with a lifecycle.
    #[serde(default)]
    pub faults: Vec<String>,
    #[serde(skip)]
    pub retry_after: Option<String>,
}

impl Told {
    /// One of the console's own.
    pub(super) fn own(status: StatusCode, title: &str, detail: &str) -> Self {
        Self {
            status,
            kind: "".into(),
            title: title.to_owned(),
            detail: detail.to_owned(),
            faults: Vec::new(),
            retry_after: None,
        }
    }

    /// Reads the problem that `response` is.
    pub(super) async fn read(response: Response) -> Self {
        let status = response.status();
        let retry_after = response.header(header::RETRY_AFTER.as_str()).map(str::to_owned);
        let body = response.into_body().into_vec().await.unwrap_or_default();
        let told = serde_json::from_slice::<Self>(&body).unwrap_or_else(|_| {
            let title = status.canonical_reason().unwrap_or("Something went wrong");
            Self::own(status, title, "The request could not be answered.")
        });
        Self { status, retry_after, ..told }
    }
}

impl Api {
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Told> {
        read(self.ask(Method::GET, path, &[], None).await?).await
    }

    /// All of them, asked side by side.
    pub(super) async fn get_all<T: DeserializeOwned>(&self, paths: &[String]) -> Vec<Result<T, Told>> {
        join_all(paths.iter().map(|path| self.get(path))).await
    }

    pub(super) async fn post<T: DeserializeOwned>(&self, path: &str, body: &Value) -> Result<T, Told> {
        read(self.ask(Method::POST, path, &[], Some(body)).await?).await
    }

    pub(super) async fn put<T: DeserializeOwned>(&self, path: &str, body: &Value) -> Result<T, Told> {
        read(self.ask(Method::PUT, path, &[], Some(body)).await?).await
    }

    /// What the operation answers, if it does not refuse.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: &[(HeaderName, &str)],
        body: Option<&Value>,
    ) -> Result<Response, Told> {
        let Ok(uri) = path.parse() else {
            return Err(Told::read(Problem::not_found("such path").into_response()).await);
        };
        let request = Request::builder()
            .method(method)
            .uri(uri)
            .header(header::ACCEPT, "application/json")
            .header(header::ACCEPT_LANGUAGE, visit::code(self.language))
            .extension(self.caller.clone());
        let request = headers.iter().fold(request, |request, (name, value)| request.header(name, *value));
        let request = match body {
            Some(body) => request.content_type("application/json").body(body.to_string()),
            None => request.finish(),
        };
        let response = framework::answered(&*self.endpoint, request).await;
        if response.status().is_success() { Ok(response) } else { Err(Told::read(response).await) }
    }
}

async fn read<T: DeserializeOwned>(response: Response) -> Result<T, Told> {
    let body = response.into_body().into_vec().await.unwrap_or_default();
    match serde_json::from_slice(&body) {
        Ok(answer) => Ok(answer),
        Err(error) => {
            error!(%error, what = std::any::type_name::<T>(), "the console does not understand the API");
            Err(Told::read(Problem::internal().into_response()).await)
        }
    }
}

/// A part of a path or query, with everything escaped that means something there.
pub(super) fn escaped(text: &str) -> String {
    utf8_percent_encode(text, ESCAPED).to_string()
}

/// `path` with those of the parameters that are there.
pub(super) fn with_query(path: &str, parameters: &[(&str, Option<&str>)]) -> String {
    let there =
        parameters.iter().filter_map(|(name, value)| Some((name, (*value)?))).filter(|(_, value)| !value.is_empty());
    let query: Vec<_> = there.map(|(name, value)| format!("{name}={}", escaped(value))).collect();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{}", query.join("&")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_something_in_a_url_is_escaped() {
        assert_eq!(escaped("a-1_.~"), "a-1_.~");
        assert_eq!(escaped("../x?y#z&한"), "..%2Fx%3Fy%23z%26%ED%95%9C");
        assert_eq!(with_query("/", &[("q", Some("a b")), ("status", None), ("cursor", Some(""))]), "/?q=a%20b");
        assert_eq!(with_query("/", &[]), "/");
    }
}
