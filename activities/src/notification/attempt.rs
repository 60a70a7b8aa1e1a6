//! One HTTP request to whoever is to know, and what follows from its answer. It follows no redirect, uses no proxy, reads
//! no body and waits for no second try.
//!
//! Any 2xx is success. After the n-th failure the next attempt waits as the schedule says, up to a tenth longer, so that
//! what failed together is not tried again together; longer where a 429 or 503 asks for it with `Retry-After`, up to a
//! day. 410 means that nobody wants the message any more: it is given up at once.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use rand::Rng;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Client, RequestBuilder, StatusCode, redirect};
use workflows::Step;
use workflows::notification::MessageAttempt;

use super::address::{self, Public};
use super::now;
use crate::setup::WebhooksTo;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const LONGEST_RETRY_AFTER: Duration = Duration::from_hours(24);
/// What the step needs around the request.
const MARGIN: Duration = Duration::from_secs(5);

/// Also said of a host that there is, but for nobody from outside.
const NO_HOST: &str = "the host is not known";

/// How an attempt went.
pub struct Answer {
    pub attempt: MessageAttempt,
    retry_after: Option<Duration>,
}

impl Answer {
    pub fn is_success(&self) -> bool {
        self.attempt.error.is_none()
    }
}

/// Makes attempts.
pub struct Sender {
    pub client: Client,
    to: WebhooksTo,
}

impl Sender {
    /// One attempt takes at most `timeout`, from connecting to the answer, and always less than its step may take: else it would
    /// be repeated without ever being counted.
    pub fn new(timeout: Duration, to: WebhooksTo) -> Self {
        let step = Step::NotificationDeliver.default_policy().attempt_timeout();
        let client = Client::builder()
            .no_proxy()
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(timeout.min(step.saturating_sub(MARGIN)))
            .user_agent(concat!("jumun/", env!("CARGO_PKG_VERSION")));
        let client = match to {
            WebhooksTo::Public => client.dns_resolver(Public),
            WebhooksTo::Anywhere => client,
        };
        Self { client: client.build().expect("a client of constant settings can be built"), to }
    }

    /// Sends the request and tells how it went.
    pub async fn make(&self, request: RequestBuilder) -> Answer {
        let (at, started) = (now(), Instant::now());
        let answer = match request.build() {
            Ok(request) if self.to == WebhooksTo::Public && address::is_literally_private(request.url()) => {
                Err(NO_HOST)
            }
            Ok(request) => self.client.execute(request).await.map_err(|error| in_words(&error)),
            Err(error) => Err(in_words(&error)),
        };
        let duration_ms = u32::try_from(started.elapsed().as_millis()).unwrap_or(u32::MAX);
        let (status, error, retry_after) = match &answer {
            Ok(answer) if answer.status().is_success() => (Some(answer.status()), None, None),
            Ok(answer) => {
                let status = answer.status();
                let asked = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
                let retry_after = asked.then(|| retry_after(answer.headers(), at)).flatten();
                (Some(status), Some(format!("the answer was {status}")), retry_after)
            }
            Err(error) => (None, Some((*error).to_owned()), None),
        };
        let status_code = status.map(|status| status.as_u16());
        Answer { attempt: MessageAttempt { at, duration_ms, status_code, error }, retry_after }
    }
}

/// When to try again after this failure, which `failures` went before; `None`: not any more.
pub fn retry_in_ms(answer: &Answer, failures: u32, schedule: &[Duration]) -> Option<u64> {
    if answer.attempt.status_code == Some(StatusCode::GONE.as_u16()) {
        return None;
    }
    let delay = schedule.get(failures as usize)?.mul_f64(1.0 + rand::rng().random_range(0.0..0.1));
    let asked_for = answer.retry_after.unwrap_or_default().min(LONGEST_RETRY_AFTER);
    Some(u64::try_from(delay.max(asked_for).as_millis()).unwrap_or(u64::MAX))
}

/// How long the receiver wants to be left alone: seconds, or until a date.
fn retry_after(headers: &HeaderMap, at: DateTime<Utc>) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    (DateTime::parse_from_rfc2822(text).ok()?.to_utc() - at).to_std().ok()
}

/// Short, and nothing that would describe our network to whoever named the URL.
fn in_words(error: &reqwest::Error) -> &'static str {
    if error.is_builder() {
        "the request cannot be made"
    } else if error.is_dns() {
        NO_HOST
    } else if error.is_connect() {
        "could not connect"
    } else if error.is_timeout() {
        "no answer in time"
    } else {
        "the connection broke"
    }
}
