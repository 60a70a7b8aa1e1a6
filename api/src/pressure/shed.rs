//! What is too much for this instance is turned away before anything is read or done.

use std::sync::Arc;

use poem::{Endpoint, Request, Response};

use super::Pressure;
use crate::access::is_protected;
use crate::console;
use crate::kind::Kind;
use crate::problem::Problem;

/// How large the head of a request may be. The server's own bounds are above these; it refuses without a body.
const HEAD_LIMIT: usize = 16 * 1024;
const MOST_HEADERS: usize = 64;

/// Answers requests of `/v1` and for pages while there is a place for them. Probes and metrics are answered whatever happens.
pub(crate) async fn shed<E: Endpoint<Output = Response>>(
    pressure: Arc<Pressure>,
    next: Arc<E>,
    request: Request,
) -> poem::Result<Response> {
    if head_size(&request) > HEAD_LIMIT || request.headers().len() > MOST_HEADERS {
        return Err(
            Problem::new(Kind::HeadTooLarge, "The URL and headers may have 16 KiB, in 64 headers at most.").into()
        );
    }
    let path = request.uri().path();
    let _slot = if is_protected(path) || console::is_page(path) { Some(pressure.request()?) } else { None };
    next.call(request).await
}

fn head_size(request: &Request) -> usize {
    let url = request.uri().path_and_query().map_or(0, |path| path.as_str().len());
    url + request.headers().iter().map(|(name, value)| name.as_str().len() + value.len()).sum::<usize>()
}
