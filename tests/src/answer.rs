//! An HTTP answer, taken apart, with the checks that every test wants.

use reqwest::RequestBuilder;
use reqwest::header::HeaderMap;
use serde_json::Value;

#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Answer {
    /// # Errors
    /// Where the answer breaks off.
    pub async fn read(response: reqwest::Response) -> reqwest::Result<Self> {
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let text = response.text().await?;
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Ok(Self { status, headers, body })
    }

    /// The answer to a request.
    ///
    /// # Errors
    /// Where there is none.
    pub async fn of(request: RequestBuilder) -> reqwest::Result<Self> {
        Self::read(request.send().await?).await
    }

    /// A header as text; empty where it is absent.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The body of a success.
    #[must_use]
    pub fn ok(self) -> Value {
        assert!((200..300).contains(&self.status), "expected success, got {self:#?}");
        self.body
    }

    /// The body of a problem of this status and type.
    #[must_use]
    #[track_caller]
    pub fn problem(self, status: u16, name: &str) -> Value {
        assert_eq!(self.status, status, "{:#?}", self.body);
        assert_eq!(self.header("content-type"), "application/problem+json", "{:#?}", self.body);
        assert_eq!(self.body["type"], format!("/problems/{name}"), "{:#?}", self.body);
        for member in ["title", "detail"] {
            assert!(self.body[member].as_str().is_some_and(|text| !text.is_empty()), "{member}: {:#?}", self.body);
        }
        self.body
    }
}
