//! One trace for each order, as a collector sees it.

use std::collections::{BTreeMap, BTreeSet};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use prost::Message;
use reqwest::Method;
use serde_json::Value;
use tests::{Jumun, Providers, Receiver, Setup, Shop, expect_order, until};
use workflows::{Context, Step};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

/// The collected spans of the trace, each with the service that made it, by their ids.
fn collected(collector: &Receiver) -> BTreeMap<Vec<u8>, (String, Span)> {
    let mut spans = BTreeMap::new();
    for received in collector.received() {
        assert_eq!(received.path, "/v1/traces");
        let request = ExportTraceServiceRequest::decode(&*received.body).expect("OTLP");
        for of_service in request.resource_spans {
            let resource = of_service.resource.expect("who it was");
            let name = resource.attributes.iter().find(|attribute| attribute.key == "service.name").expect("a name");
            let service = format!("{:?}", name.value);
            for span in of_service.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                if hex(&span.trace_id) == TRACE {
                    spans.insert(span.span_id.clone(), (service.clone(), span));
                }
            }
        }
    }
    spans
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// The names of the spans around a span, from the inside out, to the one that the caller's is around.
fn path(spans: &BTreeMap<Vec<u8>, (String, Span)>, span: &Span) -> Vec<String> {
    let mut path = vec![span.name.clone()];
    let mut parent = &span.parent_span_id;
    while hex(parent) != CALLER {
        let (_, around) = spans.get(parent).unwrap_or_else(|| panic!("what is around {path:?} is missing"));
        path.push(around.name.clone());
        parent = &around.parent_span_id;
    }
    path
}

#[tokio::test]
async fn one_trace_holds_the_request_the_workflow_each_step_and_each_call_of_a_provider() {
    let collector = Receiver::start().await;
    let traced = ("JUMUN_TELEMETRY__TRACES_URL".to_owned(), collector.url.clone());
    let providers = Providers::in_memory_with(vec![traced]).await;
    let directory = tempfile::tempdir().expect("a temporary directory");
    let config = directory.path().join("jumun.toml");
    std::fs::write(&config, format!("[telemetry]\ntraces_url = \"{}\"\n", collector.url)).expect("writes");
    let arguments = providers.arguments();
    let config = config.to_str().expect("Unicode");
    let arguments: Vec<_> =
        ["--ephemeral", "--config", config].into_iter().chain(arguments.iter().map(|s| &**s)).collect();
    let jumun = Jumun::spawn(&arguments).await;
    let shop = Shop::open_with(&jumun, "street12").await;

    let place = jumun.request(Method::POST, "/v1/orders").header("traceparent", format!("00-{TRACE}-{CALLER}-01"));
    let placed = jumun.send(place.json(&shop.request_one())).await;
    let id = expect_order(&placed.body);
    jumun.drive(&id, "closed").await;
    jumun.settles(&id).await;
    let events = jumun.events(&id).await;
    let recorded: BTreeSet<_> = events.iter().filter_map(|event| event["step"].as_str()).map(str::to_owned).collect();
    let done: Vec<_> = Step::ALL.into_iter().filter(|step| recorded.contains(step.name())).collect();
    assert!(done.len() > 6, "{events:#?}");

    // They are sent in batches, every few seconds.
    let spans = until("the whole trace", async || {
        let spans = collected(&collector);
        let is_there = |service: &str, name: &str| {
            spans.values().any(|(by, span)| by.contains(&format!("\"{service}\"")) && span.name == name)
        };
        let whole = done.iter().chain([&Step::NotificationSend]).all(|step| {
            let asked = |context: Context| is_there(&format!("jumun-{context}"), step.name());
            is_there("jumun", step.name()) && step.context().is_none_or(asked)
        });
        whole.then_some(spans)
    })
    .await;

    for (_, span) in spans.values() {
        assert_eq!(path(&spans, span).last().map(String::as_str), Some("place_order"), "{}", span.name);
    }
    let charged = spans.values().find(|(by, span)| by.contains("jumun-payment") && span.name == "payment.charge");
    let (_, charged) = charged.expect("a call of the provider");
    assert_eq!(charged.kind(), SpanKind::Server);
    let expected = ["payment.charge", "payment.charge", "payment.charge", "order.run", "place_order"];
    assert_eq!(path(&spans, charged), expected, "call, its sender, step, workflow, request");
}

/// What is logged about an order, as objects, each with the order's id, whichever part it is of.
#[tokio::test]
async fn lines_of_a_log_for_machines_name_their_order() {
    let setup = Setup::new().configured("[telemetry]\nlog_format = \"json\"\n").logged("info");
    let jumun = setup.start().await;
    let shop = Shop::open(&jumun).await;
    let placed = jumun.post("/v1/orders", &shop.request_one()).await;
    let id = expect_order(&placed.body);
    jumun.drive(&id, "closed").await;
    jumun.settles(&id).await;
    let told = |line: &&Value| line["target"] == "notification" && line["status"] == "closed";
    let lines = until("the last notice", async || {
        let lines: Vec<Value> = setup.log().lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        lines.iter().any(|line| told(&line)).then_some(lines)
    });
    let lines = lines.await;
    let notices: Vec<_> = lines.iter().filter(|line| line["target"] == "notification").collect();
    let of_span =
        |line: &Value| line["spans"].as_array().is_some_and(|spans| spans.iter().any(|span| span["order_id"] == *id));
    assert!(notices.iter().all(|line| of_span(line) && line["order_id"] == *id), "{notices:#?}");
    // Each status is told once, though every step of the queue is replayed.
    assert_eq!(lines.iter().filter(told).count(), 1, "{notices:#?}");
}
