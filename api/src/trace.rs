//! A span for each request: part of its caller's trace, if that sends `traceparent`, and where an order is placed, the
//! beginning of the order's.

use poem::{Request, Response};
use tracing::field::Empty;
use tracing::{Span, info_span};
use workflows::{OrderId, TRACEPARENT, continue_trace};

/// What is asked for by machines, every few seconds, and is part of nothing.
const NOT_TRACED: [&str; 3] = ["livez", "readyz", "metrics"];

/// The span of a request, before it begins.
pub(crate) fn request(operation: &'static str, request: &Request) -> Span {
    if NOT_TRACED.contains(&operation) {
        return Span::none();
    }
    let span = info_span!(
        "request",
        "otel.name" = operation,
        "otel.kind" = "server",
        "otel.status_code" = Empty,
        "http.request.method" = %request.method(),
        "http.response.status_code" = Empty,
        operation,
        order_id = Empty,
    );
    if let Some(id) = order(request.uri().path()) {
        span.record("order_id", id.as_str());
    }
    continue_trace(&span, request.header(TRACEPARENT));
    span
}

/// The order that a path is about.
fn order(path: &str) -> Option<OrderId> {
    path.strip_prefix("/v1/orders/")?.split('/').next()?.parse().ok()
}

/// What came of it.
pub(crate) fn answer(span: &Span, response: &Response) {
    let status = response.status();
    span.record("http.response.status_code", status.as_u16());
    if status.is_server_error() {
        span.record("otel.status_code", "ERROR");
    }
}
