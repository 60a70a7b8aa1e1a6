//! The doctor's questions to a running system.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use reqwest::header::DATE;
use reqwest::{Response, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::config::HttpUrl;

const CONNECT_WITHIN: Duration = Duration::from_secs(2);
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// Something that goes through all orders takes its time.
const PROVE_WITHIN: Duration = Duration::from_mins(15);

/// A token for the API. Never shown.
#[derive(Clone)]
pub struct Token(String);

impl FromStr for Token {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Why a question brought no answer.
#[derive(Debug, thiserror::Error)]
pub enum Unanswered {
    #[error("no answer: {}", root(.0))]
    Silent(#[from] reqwest::Error),
    #[error("not let in ({0}): give the token of an operator with --token or JUMUN_TOKEN")]
    NotLetIn(StatusCode),
    #[error("{status}: {detail}")]
    Refused { status: StatusCode, detail: String },
}

impl Unanswered {
    /// Whether it says that something is wrong there, rather than that we cannot look.
    pub fn is_trouble(&self) -> bool {
        matches!(self, Self::Refused { status, .. } if status.is_server_error())
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

#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    api: HttpUrl,
    token: Option<Token>,
}

impl Client {
    pub fn new(api: HttpUrl, token: Option<Token>) -> reqwest::Result<Self> {
        let http = reqwest::Client::builder().no_proxy().connect_timeout(CONNECT_WITHIN).build()?;
        Ok(Self { http, api, token })
    }

    pub fn api(&self) -> &HttpUrl {
        &self.api
    }

    /// Whether anybody listens there.
    pub async fn is_there(&self) -> bool {
        match self.ask("/livez", ANSWER_WITHIN).await {
            Err(Unanswered::Silent(error)) => !error.is_connect(),
            _ => true,
        }
    }

    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Unanswered> {
        Ok(self.ask(path, ANSWER_WITHIN).await?.json().await?)
    }

    pub async fn text(&self, path: &str) -> Result<String, Unanswered> {
        Ok(self.ask(path, ANSWER_WITHIN).await?.text().await?)
    }

    /// The time by its own clock, in the words of HTTP.
    pub async fn date(&self) -> Result<Option<String>, Unanswered> {
        let answer = self.ask("/livez", ANSWER_WITHIN).await?;
        Ok(answer.headers().get(DATE).and_then(|date| date.to_str().ok()).map(str::to_owned))
    }

    /// An answer that takes longer the more orders there are.
    pub async fn get_patiently<T: DeserializeOwned>(&self, path: &str) -> Result<T, Unanswered> {
        Ok(self.ask(path, PROVE_WITHIN).await?.json().await?)
    }

    async fn ask(&self, path: &str, within: Duration) -> Result<Response, Unanswered> {
        #[derive(Deserialize)]
        struct Problem {
            detail: String,
        }
        let request = self.http.get(format!("{}{path}", self.api)).timeout(within);
        let request = self.token.iter().fold(request, |request, token| request.bearer_auth(&token.0));
        let answer = request.send().await?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            return Err(Unanswered::NotLetIn(status));
        }
        let problem = answer.json::<Problem>().await;
        let detail = problem.map_or_else(|_| "no reason given".to_owned(), |problem| problem.detail);
        Err(Unanswered::Refused { status, detail })
    }
}
