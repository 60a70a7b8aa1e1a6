//! What is measured, and `GET /metrics`, which tells it in Prometheus' text format. Names begin with `jumun_` and end in
//! their unit; labels have few values: an operation's id, never a path with an order's. Something new is measured with the
//! macros of the `metrics` crate, inside [`Metrics::within`].

use std::sync::Arc;
use std::time::Instant;

use chrono::{DateTime, Utc};
use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use poem::{Endpoint, Request, Response};
use poem_openapi::OpenApi;
use poem_openapi::payload::PlainText;
use tracing::{Instrument, warn};

use crate::framework;
use crate::operations::Operations;
use crate::pressure::{BreakerState, Pressure};
use crate::problem::{Refused, refusals};
use crate::standings::Standings;
use crate::tags::Tag;
use crate::trace;

/// Upper bounds of the histograms' buckets, in seconds. Placing may take as long as its caller waits.
const BUCKETS_SECONDS: [f64; 13] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// What one process measures. Cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    recorder: Arc<PrometheusRecorder>,
    handle: PrometheusHandle,
}

impl Metrics {
    #[must_use]
    #[allow(clippy::missing_panics_doc, reason = "there are buckets")]
    pub fn new() -> Self {
        let (waits, bounds) = workflows::GATE_WAITS;
        let builder = PrometheusBuilder::new()
            .set_buckets(&BUCKETS_SECONDS)
            .and_then(|builder| builder.set_buckets_for_metric(Matcher::Full(waits.to_owned()), &bounds))
            .expect("there are buckets");
        let recorder = Arc::new(builder.build_recorder());
        let metrics = Self { handle: recorder.handle(), recorder };
        metrics.within(|| {
            describe();
            workflows::describe_measures();
        });
        metrics
    }

    /// Has what `measure` measures counted here. It is no global state, so that tests do not see each other's.
    pub fn within<T>(&self, measure: impl FnOnce() -> T) -> T {
        metrics::with_local_recorder(&*self.recorder, measure)
    }

    /// The same of a whole process, and for all of it: what the workflows measure is counted here, too.
    #[must_use]
    pub fn of_process() -> Self {
        let metrics = Self::new();
        // Somebody was first, in a test that starts two.
        if metrics::set_global_recorder(metrics.recorder.clone()).is_err() {
            warn!("another recorder counts what the workflows measure");
        }
        metrics
    }

    /// All of it in Prometheus' text format.
    #[must_use]
    pub fn render(&self) -> String {
        self.handle.run_upkeep();
        self.handle.render()
    }

    /// Readers of the feed are told now of what was written then.
    pub(crate) fn told_of(&self, written: DateTime<Utc>) {
        let lag = (Utc::now() - written).to_std().unwrap_or_default();
        self.within(|| histogram!("jumun_projection_lag_seconds").record(lag));
    }

    /// Sums up what histograms were told since. Without it they grow until somebody looks.
    pub fn sum_up(&self) {
        self.handle.run_upkeep();
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

fn describe() {
    describe_counter!("jumun_http_requests_total", "Requests that were answered, by operation and status.");
    describe_histogram!("jumun_http_request_duration_seconds", Unit::Seconds, "How long requests took to be answered.");
    describe_counter!("jumun_rate_limited_total", "Requests answered 429: the principal's, or a stranger's.");
    describe_counter!("jumun_shed_total", "What was turned away because too much was open, or payment does not work.");
    describe_gauge!("jumun_open_connections", "Connections that are open.");
    describe_gauge!("jumun_open_requests", "Requests that are being answered.");
    describe_gauge!("jumun_open_placements", "Orders of which it is not decided yet whether they stand.");
    describe_gauge!("jumun_breaker_state", "1 for the state that the breaker on card payments is in.");
    describe_counter!("jumun_breaker_transitions_total", "How often the breaker on card payments came to a state.");
    describe_histogram!(
        "jumun_projection_lag_seconds",
        Unit::Seconds,
        "From when events were written until readers of the feed were told, while there are any."
    );
    crate::standings::describe();
}

refusals! {
    GetMetrics: InvalidRequest;
}

pub(crate) struct MetricsApi {
    pub standing: Standings,
    pub metrics: Metrics,
    pub pressure: Arc<Pressure>,
}

#[OpenApi(tag = "Tag::Health")]
impl MetricsApi {
    /// Read the metrics
    ///
    /// In Prometheus' text format: requests by operation and status, how long they took, what is open, what was turned
    /// away, and the state of the breaker on card payments.
    #[oai(path = "/metrics", method = "get", operation_id = "metrics")]
    async fn metrics(&self) -> Result<PlainText<String>, Refused<GetMetrics>> {
        let pressure = &self.pressure;
        let state = pressure.breaker.state();
        self.metrics.within(|| {
            gauge!("jumun_open_connections").set(number(pressure.open_connections()));
            gauge!("jumun_open_requests").set(number(pressure.open_requests()));
            gauge!("jumun_open_placements").set(number(pressure.open_placements()));
            for each in BreakerState::ALL {
                gauge!("jumun_breaker_state", "state" => each.as_str()).set(f64::from(u8::from(each == state)));
            }
        });
        self.standing.refresh(&self.metrics).await;
        Ok(PlainText(self.metrics.handle.render()))
    }
}

#[allow(clippy::cast_precision_loss, reason = "there are not so many of anything")]
pub(crate) const fn number(count: usize) -> f64 {
    count as f64
}

/// Counts the request and its answer, in a span of its own.
pub(crate) async fn measured<E: Endpoint<Output = Response>>(
    metrics: Metrics,
    operations: Arc<Operations>,
    next: Arc<E>,
    request: Request,
) -> poem::Result<Response> {
    let operation = operations.name(request.method(), request.uri().path());
    let began = Instant::now();
    let span = trace::request(operation, &request);
    let response = framework::answered(&*next, request).instrument(span.clone()).await;
    trace::answer(&span, &response);
    let (status, took) = (response.status().as_u16().to_string(), began.elapsed());
    metrics.within(|| {
        counter!("jumun_http_requests_total", "operation" => operation, "status" => status).increment(1);
        histogram!("jumun_http_request_duration_seconds", "operation" => operation).record(took);
    });
    Ok(response)
}
