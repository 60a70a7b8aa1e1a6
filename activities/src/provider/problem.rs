//! What a provider answers instead of what it was asked for (RFC 9457). A 5xx never shows its cause: that is logged.

use std::any::Any;
use std::borrow::Cow;
use std::fmt::Display;

use poem::http::{StatusCode, header};
use poem::{IntoResponse, Response};
use serde_json::json;
use tracing::{error, warn};
use workflows::ProviderError;

pub(super) const CONTENT_TYPE: &str = "application/problem+json";

#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    InvalidRequest,
    NotFound,
    MethodNotAllowed,
    RequestTimeout,
    Impossible,
    BodyTooLarge,
    UnsupportedMediaType,
    Internal,
    Unavailable,
}

impl Kind {
    /// Its status, the relative URI in `type`, and its title.
    pub(super) const fn profile(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::InvalidRequest => {
                (StatusCode::BAD_REQUEST, "/problems/invalid-request", "The body is not as documented.")
            }
            Self::NotFound => (StatusCode::NOT_FOUND, "/problems/not-found", "There is no such path."),
            Self::MethodNotAllowed => {
                (StatusCode::METHOD_NOT_ALLOWED, "/problems/method-not-allowed", "The path takes other methods.")
            }
            Self::RequestTimeout => {
                (StatusCode::REQUEST_TIMEOUT, "/problems/request-timeout", "The body did not arrive in time.")
            }
            Self::Impossible => {
                (StatusCode::CONFLICT, "/problems/impossible", "The request contradicts what was done before.")
            }
            Self::BodyTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "/problems/body-too-large", "The body is too large."),
            Self::UnsupportedMediaType => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "/problems/unsupported-media-type", "The body is not JSON.")
            }
            Self::Internal => {
                (StatusCode::INTERNAL_SERVER_ERROR, "/problems/internal", "Something failed that should not.")
            }
            Self::Unavailable => {
                (StatusCode::SERVICE_UNAVAILABLE, "/problems/unavailable", "Whether it took effect is unknown.")
            }
        }
    }
}

#[derive(Debug)]
pub(super) struct Problem {
    kind: Kind,
    detail: Cow<'static, str>,
    allow: &'static str,
}

impl Problem {
    pub(super) fn new(kind: Kind, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, detail: detail.into(), allow: "" }
    }

    pub(super) fn method_not_allowed(allow: &'static str) -> Self {
        Self { allow, ..Self::new(Kind::MethodNotAllowed, format!("This path takes {allow}.")) }
    }

    /// What failed on our side is logged here and goes no further.
    pub(super) fn internal(cause: &dyn Display) -> Self {
        error!(%cause, "answering failed");
        Self::new(Kind::Internal, "Something went wrong on our side. It has been recorded.")
    }
}

/// The answer to a request whose handling panicked.
#[allow(clippy::needless_pass_by_value, reason = "the framework passes it by value")]
pub(super) fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let panic = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message");
    Problem::internal(&panic).into_response()
}

impl From<ProviderError> for Problem {
    fn from(error: ProviderError) -> Self {
        match error {
            ProviderError::Impossible(cause) => Self::new(Kind::Impossible, cause.to_string()),
            ProviderError::Unavailable(cause) => {
                warn!(%cause, "unavailable");
                Self::new(Kind::Unavailable, "Please try again.")
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, uri, title) = self.kind.profile();
        let mut response = Response::builder().status(status);
        if !self.allow.is_empty() {
            response = response.header(header::ALLOW, self.allow);
        }
        let body = json!({ "type": uri, "title": title, "detail": self.detail });
        response.content_type(CONTENT_TYPE).body(body.to_string())
    }
}
