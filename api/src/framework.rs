//! What the framework itself answers, turned into problems, so that a caller meets one envelope only.

use std::any::Any;
use std::sync::Arc;

use poem::error::{MethodNotAllowedError, NotFoundError};
use poem::http::{Method, header};
use poem::{Endpoint, IntoResponse, Request, Response};
use poem_openapi::error::{ContentTypeError, ParseParamError, ParsePathError, ParseRequestPayloadError};
use tracing::error;

use crate::kind::Kind;
use crate::problem::Problem;

/// The answer to a request that no handler answered.
pub(crate) async fn told(error: poem::Error) -> Response {
    if error.is_from_response() { error.into_response() } else { problem(&error).into_response() }
}

/// The answer of an endpoint, whatever it is.
pub(crate) async fn answered<E: Endpoint<Output = Response>>(next: &E, request: Request) -> Response {
    match next.call(request).await {
        Ok(response) => response,
        Err(error) => told(error).await,
    }
}

fn problem(error: &poem::Error) -> Problem {
    if error.is::<NotFoundError>() || error.is::<poem::error::ParsePathError>() {
        return Problem::not_found("such path");
    }
    if let Some(malformed) = error.downcast_ref::<ParsePathError>() {
        return Problem::new(Kind::NotFound, format!("Nothing is there: {}.", readable(&malformed.reason)));
    }
    if let Some(malformed) = error.downcast_ref::<ParseParamError>() {
        let detail = format!("Parameter `{}` is not as documented: {}.", malformed.name, readable(&malformed.reason));
        return Problem::new(Kind::InvalidRequest, detail);
    }
    if let Some(malformed) = error.downcast_ref::<ParseRequestPayloadError>() {
        let detail = format!("The body is not as documented: {}.", readable(&malformed.reason));
        return Problem::new(Kind::InvalidRequest, detail);
    }
    if error.is::<ContentTypeError>() {
        return Problem::new(
            Kind::UnsupportedMediaType,
            "Send the body as JSON, with the header `Content-Type: application/json`.",
        );
    }
    if error.status().is_client_error() {
        return Problem::new(Kind::InvalidRequest, "The request is malformed.");
    }
    error!(%error, "request failed");
    Problem::internal()
}

/// The framework's reason without the names of our types and without what was sent. It reads `failed to parse "quantity": expected … (occurred
/// while parsing "OrderLine") (occurred while parsing "PlaceOrder")`.
pub(crate) fn readable(reason: &str) -> String {
    if reason.contains("Expected input type") || reason.contains("expects an input value") {
        return "a field is missing or of the wrong type".to_owned();
    }
    if reason.contains("Expect a valid enumeration value") {
        return "expected one of the documented values".to_owned();
    }
    let reason = reason.split(" (occurred while parsing").next().unwrap_or(reason);
    let reason = match reason.strip_prefix("failed to parse \"").and_then(|rest| rest.split_once("\": ")) {
        Some((name, reason)) => format!("{name}: {reason}"),
        None => reason.to_owned(),
    };
    reason.trim_end_matches('.').to_owned()
}

/// The answer to a request whose handler panicked.
#[allow(clippy::needless_pass_by_value, reason = "the framework passes it by value")]
pub(crate) fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let panic = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message");
    error!(panic, "handler panicked");
    Problem::internal().into_response()
}

/// Refuses a verb that the path does not take by naming those that it takes, which is its answer to OPTIONS.
pub(crate) async fn naming_verbs<E: Endpoint<Output = Response>>(
    next: Arc<E>,
    request: Request,
) -> poem::Result<Response> {
    let uri = request.uri().clone();
    match next.call(request).await {
        Err(error) if error.is::<MethodNotAllowedError>() => {
            let options = next.call(Request::builder().method(Method::OPTIONS).uri(uri).finish()).await?;
            let allow = options.header(header::ALLOW.as_str()).unwrap_or_default().to_owned();
            Err(Problem::method_not_allowed(allow).into())
        }
        answer => answer,
    }
}

#[cfg(test)]
mod tests {
    use poem::http::StatusCode;

    use super::*;

    #[test]
    fn reasons_are_readable() {
        for (reason, expected) in [
            (
                r#"failed to parse "quantity": expected 1 to 999 (occurred while parsing "OrderLine")"#,
                "quantity: expected 1 to 999",
            ),
            (r#"failed to parse "PlaceOrder": unknown field `x`."#, "PlaceOrder: unknown field `x`"),
            (r#"Expected input type "Customer", found "secret"."#, "a field is missing or of the wrong type"),
            ("EOF while parsing a value at line 1 column 0", "EOF while parsing a value at line 1 column 0"),
        ] {
            assert_eq!(readable(reason), expected);
        }
    }

    #[tokio::test]
    async fn no_cause_is_told() {
        let failed = poem::Error::from_string("secret", StatusCode::INTERNAL_SERVER_ERROR);
        for response in [told(failed).await, panicked(Box::new("secret"))] {
            assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
            let body = response.into_body().into_string().await.expect("text");
            assert!(body.contains("/problems/internal") && !body.contains("secret"), "{body}");
        }
    }
}
