//! What jumun says of itself while it runs: lines on standard error, and, where a collector is configured, traces by
//! OpenTelemetry's protocol (OTLP over HTTP).

use std::error::Error;
use std::fmt::Debug;
use std::io::{self, IsTerminal};
use std::time::Duration;

use opentelemetry::trace::TracerProvider;
use opentelemetry::{KeyValue, global};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use restate_sdk::filter::ReplayAwareFilter;
use tracing::field::{Field, Visit};
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::field::{RecordFields, VisitOutput};
use tracing_subscriber::filter::{FilterExt, Targets, filter_fn};
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::{DefaultVisitor, Writer};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, fmt};

use crate::config::{TelemetrySettings, TraceSettings};
use crate::report;

/// Whose spans are traces'. The store and the libraries below have many more, which say nothing about orders.
const TRACED: [&str; 5] = ["activities", "api", "jumun", "worker", "workflows"];

/// How long the last of them may take, where nobody may be there any more.
const SENT_WITHIN: Duration = Duration::from_secs(2);

/// How lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// An object for each line, with the fields of the spans around it, such as an order's id.
    Json,
}

/// Sends what is left of the traces when it is dropped.
#[must_use]
pub struct Telemetry(Option<SdkTracerProvider>);

impl Drop for Telemetry {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.0.as_ref().map(|provider| provider.shutdown_with_timeout(SENT_WITHIN)) {
            report::progress(format_args!("the last traces were not sent: {error}"));
        }
    }
}

/// Starts both. It makes a client that blocks, so it comes before anything that does not.
///
/// `service` is the name under which a collector knows this process.
pub fn start(filter: &str, settings: &TelemetrySettings, service: &str) -> Telemetry {
    let provider = settings.traces.as_ref().and_then(|traces| match provider(service, traces) {
        Ok(provider) => Some(provider),
        Err(error) => {
            report::progress(format_args!("nothing is traced: {error}"));
            None
        }
    });
    let spans = provider.as_ref().map(|provider| {
        global::set_text_map_propagator(TraceContextPropagator::new());
        tracing_opentelemetry::layer()
            .with_tracer(provider.tracer("jumun"))
            .with_location(false)
            .with_threads(false)
            .with_filter(
                TRACED.into_iter().fold(Targets::new(), |targets, crate_| targets.with_target(crate_, Level::INFO)),
            )
    });
    tracing_subscriber::registry().with(lines(filter, settings.log_format)).with(spans).init();
    Telemetry(provider)
}

/// Lines alone, for people.
pub fn start_lines(filter: &str) {
    tracing_subscriber::registry().with(lines(filter, LogFormat::Text)).init();
}

fn lines<S>(filter: &str, format: LogFormat) -> impl Layer<S>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    let lines = fmt::layer().with_writer(io::stderr);
    let lines = match format {
        LogFormat::Text => lines.with_ansi(io::stderr().is_terminal()).compact().fmt_fields(ForPeople).boxed(),
        LogFormat::Json => lines.with_ansi(false).json().flatten_event(true).boxed(),
    };
    lines
        // What a workflow says is said once, not again by every replay. Two in one, since every filter that a layer has is asked by
        // itself at each step of a span.
        .with_filter(ReplayAwareFilter.and(filter_fn(|metadata| !is_suspension(metadata))))
        // The last one is asked first, and says which levels there are: were it any other, or one with those above, all spans of the
        // store's would be made, and then not looked at.
        .with_filter(EnvFilter::builder().parse_lossy(filter))
}

/// Fields without those that are said to collectors of traces alone.
struct ForPeople;

impl<'writer> FormatFields<'writer> for ForPeople {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'writer>, fields: R) -> std::fmt::Result {
        let mut visitor = WithoutOtel(DefaultVisitor::new(writer, true));
        fields.record(&mut visitor);
        visitor.0.finish()
    }
}

struct WithoutOtel<'writer>(DefaultVisitor<'writer>);

impl Visit for WithoutOtel<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if !field.name().starts_with("otel.") {
            self.0.record_debug(field, value);
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if !field.name().starts_with("otel.") {
            self.0.record_str(field, value);
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.0.record_error(field, value);
    }
}

/// The SDK warns, twice, whenever an order is put aside to wait, and nothing but the text tells that from a failure.
/// Failures are in the engine's log and UI.
fn is_suspension(metadata: &Metadata<'_>) -> bool {
    metadata.is_event() && *metadata.level() == Level::WARN && metadata.target().starts_with("restate_sdk")
}

fn provider(
    service: &str,
    traces: &TraceSettings,
) -> Result<SdkTracerProvider, opentelemetry_otlp::ExporterBuildError> {
    let exporter = SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(format!("{}/v1/traces", traces.url))
        .build()?;
    let resource = Resource::builder_empty()
        .with_attributes([
            KeyValue::new("service.name", service.to_owned()),
            KeyValue::new("service.namespace", "jumun"),
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("service.instance.id", format!("{}:{}", host(), std::process::id())),
        ])
        .build();
    Ok(SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(resource)
        // All processes decide alike, by the trace's id. What callers ask for is not heard: they may be anybody.
        .with_sampler(Sampler::TraceIdRatioBased(f64::from(traces.percent) / 100.0))
        .build())
}

fn host() -> String {
    nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
