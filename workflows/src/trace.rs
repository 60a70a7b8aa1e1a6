//! One trace for each order. It begins with the request that places the order, which may be part of a trace of its caller's, and
//! goes by the header `traceparent` (W3C Trace Context): to the engine, which keeps it with the order's workflow, from there
//! with every attempt at a step to its provider, and with what is made known to those who keep trying. Whoever hosts the
//! workflows says where spans go; where nobody does, there is no such header.

use opentelemetry::global;
use opentelemetry::propagation::{Extractor, Injector};
use restate_sdk::context::{HeaderMap, Request};
use tracing::{Span, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// The name of the header.
pub const TRACEPARENT: &str = "traceparent";

/// The header's value, if there is one.
struct Carrier(Option<String>);

impl Extractor for Carrier {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.as_deref().filter(|_| key.eq_ignore_ascii_case(TRACEPARENT))
    }

    fn keys(&self) -> Vec<&str> {
        self.0.iter().map(|_| TRACEPARENT).collect()
    }
}

impl Injector for Carrier {
    fn set(&mut self, key: &str, value: String) {
        if key.eq_ignore_ascii_case(TRACEPARENT) {
            self.0 = Some(value);
        }
    }
}

/// Makes a span that has not begun part of the trace of that header.
pub fn continue_trace(span: &Span, traceparent: Option<&str>) {
    let Some(traceparent) = traceparent else { return };
    let carrier = Carrier(Some(traceparent.to_owned()));
    // Where nothing is traced, the span can have no parent.
    let _ = span.set_parent(global::get_text_map_propagator(|propagator| propagator.extract(&carrier)));
}

/// The header for what is asked of others within the current span; `None` where that is not traced.
#[must_use]
pub fn traceparent() -> Option<String> {
    let mut carrier = Carrier(None);
    let context = Span::current().context();
    global::get_text_map_propagator(|propagator| propagator.inject_context(&context, &mut carrier));
    carrier.0
}

/// One run of a handler, from its start, or from where it goes on, until it ends or is put aside.
pub(crate) fn handling(name: &'static str, key: &str, headers: &HeaderMap) -> Span {
    // Every key begins with its order's id, but for that of a message which somebody has sent again.
    let order_id = key.split('/').next().filter(|id| id.starts_with("ord_"));
    let span = info_span!("handler", "otel.name" = name, "otel.kind" = "consumer", handler = name, order_id);
    continue_trace(&span, headers.get(TRACEPARENT).map(String::as_str));
    span
}

/// What is asked of other workflows, as part of the same trace.
pub(crate) trait Within {
    /// With the header of the handler that asks, which is the same in every replay.
    #[must_use]
    fn within(self, headers: &HeaderMap) -> Self;
}

impl<Req, Res> Within for Request<'_, Req, Res> {
    fn within(self, headers: &HeaderMap) -> Self {
        match headers.get(TRACEPARENT) {
            Some(traceparent) => self.header(TRACEPARENT.to_owned(), traceparent.clone()),
            None => self,
        }
    }
}
