//! A provider as others see it: the verbs of its contract, its document, its health, and its switch where it has one.

use std::sync::Arc;
use std::time::Duration;

use poem::endpoint::BoxEndpoint;
use poem::error::ReadBodyError;
use poem::http::Method;
use poem::middleware::CatchPanic;
use poem::{Endpoint, EndpointExt, IntoResponse, Request, Response};
use serde_json::{Value, json};
use tracing::Instrument;
use workflows::sandbox::Sandbox;
use workflows::{Context, ProviderError};

use super::contract::{self, Serve};
use super::problem::{self, Kind, Problem};
use crate::Modes;
use crate::store::Database;

/// Bytes.
const BODY_LIMIT: usize = 256 * 1024;
const BODY_TIME: Duration = Duration::from_secs(10);
/// Probes are asked often and give up early.
const PROBE_TIME: Duration = Duration::from_secs(2);

const JSON: &str = "application/json";

pub(super) struct Server {
    pub context: Context,
    pub port: Box<dyn Serve>,
    /// Absent where it is kept in PostgreSQL.
    pub database: Option<Database>,
    /// Absent: nobody can make it misbehave.
    pub sandbox: Option<Arc<Modes>>,
    pub document: String,
}

/// What a path leads to.
enum Place<'a> {
    Live,
    Ready,
    Document,
    Sandbox(&'a Arc<Modes>),
    Verb(&'static str),
}

impl Place<'_> {
    const fn methods(&self) -> &'static str {
        match self {
            Self::Live | Self::Ready | Self::Document => "GET, HEAD",
            Self::Sandbox(_) => "GET, HEAD, PUT",
            Self::Verb(_) => "POST",
        }
    }
}

impl Endpoint for Server {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        let answer = self.answer(request).await;
        Ok(answer.map_or_else(Problem::into_response, |json| Response::builder().content_type(JSON).body(json)))
    }
}

impl Server {
    /// A panic ends no connection.
    pub(super) fn guarded(self) -> BoxEndpoint<'static> {
        self.with(CatchPanic::new().with_handler(problem::panicked)).boxed()
    }

    fn place(&self, path: &str) -> Option<Place<'_>> {
        match path {
            "/livez" => Some(Place::Live),
            "/readyz" => Some(Place::Ready),
            "/openapi.json" => Some(Place::Document),
            "/sandbox" => self.sandbox.as_ref().map(Place::Sandbox),
            _ => {
                let name = path.strip_prefix("/v1/")?;
                contract::of(self.context)
                    .verbs
                    .iter()
                    .find(|verb| verb.name == name)
                    .map(|verb| Place::Verb(verb.name))
            }
        }
    }

    async fn answer(&self, mut request: Request) -> Result<Vec<u8>, Problem> {
        let place = self.place(request.uri().path());
        let place = place.ok_or_else(|| Problem::new(Kind::NotFound, "There is no such path."))?;
        let method = request.method();
        if !place.methods().split(", ").any(|allowed| allowed == method.as_str()) {
            return Err(Problem::method_not_allowed(place.methods()));
        }
        match place {
            Place::Live => Ok(healthy()),
            Place::Ready => self.ready().await,
            Place::Document => Ok(self.document.clone().into_bytes()),
            Place::Sandbox(modes) => {
                if method == Method::PUT {
                    let mode = contract::read(&body(&mut request).await?)?;
                    modes.set_mode(self.context, mode).await?;
                }
                contract::written(&modes.mode(self.context).await?)
            }
            Place::Verb(verb) => {
                let name = format!("{}.{verb}", self.context);
                let span = tracing::info_span!("provider", "otel.name" = name, "otel.kind" = "server", step = name);
                let traceparent = request.headers().get(workflows::TRACEPARENT);
                workflows::continue_trace(&span, traceparent.and_then(|value| value.to_str().ok()));
                let answer = async { self.port.answer(verb, &body(&mut request).await?).await };
                answer.instrument(span).await
            }
        }
    }

    /// Whether its store answers, and nobody has switched it off.
    async fn ready(&self) -> Result<Vec<u8>, Problem> {
        let probe = async {
            if let Some(modes) = &self.sandbox {
                modes.pass(self.context).await?;
            }
            match &self.database {
                Some(database) => drop(database.run("RETURN true", &Value::Null).await.map_err(ProviderError::from)?),
                None => drop(self.port.answer("payments", br#"{"limit":1}"#).await?),
            }
            Ok(healthy())
        };
        let in_time = tokio::time::timeout(PROBE_TIME, probe).await;
        in_time.unwrap_or_else(|_| Err(Problem::new(Kind::Unavailable, "The store does not answer in time.")))
    }
}

fn healthy() -> Vec<u8> {
    json!({ "status": "ok" }).to_string().into_bytes()
}

/// The request's body, if it is JSON, neither too large, whether its length was declared or not, nor too slow.
async fn body(request: &mut Request) -> Result<Vec<u8>, Problem> {
    let media_type = request.content_type().and_then(|declared| declared.split(';').next());
    if !media_type.is_some_and(|media_type| media_type.trim().eq_ignore_ascii_case(JSON)) {
        return Err(Problem::new(Kind::UnsupportedMediaType, "Send JSON, with `Content-Type: application/json`."));
    }
    let read = tokio::time::timeout(BODY_TIME, request.take_body().into_bytes_limit(BODY_LIMIT)).await;
    let read = read.map_err(|_| Problem::new(Kind::RequestTimeout, "The body did not arrive in time."))?;
    read.map(Vec::from).map_err(|error| match error {
        ReadBodyError::PayloadTooLarge => Problem::new(Kind::BodyTooLarge, "A body may have 256 KiB at most."),
        _ => Problem::new(Kind::InvalidRequest, "The body broke off before its end."),
    })
}
