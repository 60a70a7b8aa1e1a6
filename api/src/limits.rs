//! The limit of a request's body. Poem's own middleware would refuse every request without a Content-Length.

use poem::error::ReadBodyError;
use poem::http::header::CONTENT_LENGTH;
use poem::{Body, Request};

use crate::kind::Kind;
use crate::problem::Problem;

const BODY_LIMIT: usize = 64 * 1024;

/// The request with its body read, if that is not too large, whether its length was declared or not.
pub(crate) async fn bounded(mut request: Request) -> poem::Result<Request> {
    let declared = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if declared.is_some_and(|length: usize| length > BODY_LIMIT) {
        return Err(too_large().into());
    }
    let body = request.take_body().into_bytes_limit(BODY_LIMIT).await.map_err(|error| match error {
        ReadBodyError::PayloadTooLarge => too_large(),
        _ => Problem::new(Kind::InvalidRequest, "The body broke off before its end. Please send it again."),
    })?;
    request.set_body(Body::from_bytes(body));
    Ok(request)
}

fn too_large() -> Problem {
    Problem::new(Kind::BodyTooLarge, "A body may have 64 KiB at most. Please send less at once.")
}
