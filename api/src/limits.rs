//! The limits of a request's body: how large it may be, and how slow. Poem's own middleware would refuse every request without a Content-Length.

use std::time::Duration;

use poem::error::ReadBodyError;
use poem::http::header::CONTENT_LENGTH;
use poem::{Body, Request};

use crate::kind::Kind;
use crate::problem::Problem;

const BODY_LIMIT: usize = 64 * 1024;

/// The request with its body read, if that is neither too large, whether its length was declared or not, nor slower than
/// `limit`.
pub(crate) async fn bounded(limit: Duration, mut request: Request) -> poem::Result<Request> {
    let declared = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if declared.is_some_and(|length: usize| length > BODY_LIMIT) {
        return Err(too_large().into());
    }
    let body = tokio::time::timeout(limit, request.take_body().into_bytes_limit(BODY_LIMIT)).await;
    let body = body.map_err(|_| too_slow(limit))?.map_err(|error| match error {
        ReadBodyError::PayloadTooLarge => too_large(),
        _ => Problem::new(Kind::InvalidRequest, "The body broke off before its end. Please send it again."),
    })?;
    request.set_body(Body::from_bytes(body));
    Ok(request)
}

fn too_large() -> Problem {
    Problem::new(Kind::BodyTooLarge, "A body may have 64 KiB at most. Please send less at once.")
}

fn too_slow(limit: Duration) -> Problem {
    let detail = format!("The body did not arrive within {limit:?}. Please send it again.");
    Problem::new(Kind::RequestTimeout, detail)
}

#[cfg(test)]
mod tests {
    use poem::http::StatusCode;

    use super::*;

    #[tokio::test]
    async fn a_body_that_does_not_arrive_is_not_waited_for() {
        let (_open, body) = tokio::io::duplex(1);
        let request = Request::builder().body(Body::from_async_read(body));
        let refused = bounded(Duration::from_millis(10), request).await.expect_err("in time");
        assert_eq!(refused.status(), StatusCode::REQUEST_TIMEOUT);
    }
}
