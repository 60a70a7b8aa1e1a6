//! What the engine can do on this machine: workflows of as many durable steps as an order has, with nothing in them. They are
//! served by the bench itself and asked for at the engine's ingress; no store takes part.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use reqwest::{Client, RequestBuilder, Response};
use restate_sdk::endpoint::Endpoint;
use restate_sdk::hyper::HyperEndpoint;
use restate_sdk::prelude::*;
use restate_sdk::serde::Json;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use crate::api::Failed;
use crate::load::{Done, Outcome};

const PATIENCE: Duration = Duration::from_secs(30);
/// How long an order's own matters may go on after it is closed.
const ENDS_WITHIN: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(100);

struct Empty;

#[restate_sdk::workflow(name = "bench_empty")]
impl Empty {
    /// So many steps, one after another.
    #[handler]
    async fn run(&self, ctx: WorkflowContext<'_>, steps: Json<u32>) -> HandlerResult<()> {
        let Json(steps) = steps;
        for _ in 0..steps {
            ctx.run(|| async { Ok(()) }).name("step").await?;
        }
        Ok(())
    }
}

/// An engine, directly.
#[derive(Clone)]
pub struct Engine {
    http: Client,
    ingress: String,
    admin: String,
}

/// The steps that an order took, by the service that took them.
#[derive(Debug, Deserialize)]
pub struct Steps {
    pub service: String,
    pub steps: u32,
}

impl Engine {
    pub fn at(ingress: String, admin: String) -> Result<Self> {
        let http = Client::builder().no_proxy().tcp_nodelay(true).pool_max_idle_per_host(usize::MAX).build()?;
        Ok(Self { http, ingress, admin })
    }

    /// The durable steps of an order that is closed, in all that was invoked for it, once nothing of that runs any more.
    pub async fn steps_of(&self, order_id: &str) -> Result<Vec<Steps>> {
        #[derive(Deserialize)]
        struct Open {
            open: u32,
        }
        let of_order = format!("target_service_key = '{order_id}'");
        let open = format!("SELECT count(*) AS open FROM sys_invocation WHERE {of_order} AND status <> 'completed'");
        let steps = format!(
            "SELECT i.target_service_name AS service, count(*) AS steps FROM sys_journal j \
             JOIN sys_invocation i ON j.id = i.id WHERE i.{of_order} AND j.entry_type = 'Command: Run' \
             GROUP BY i.target_service_name ORDER BY service"
        );
        let ended = async {
            while self.query::<Open>(&open).await?.iter().any(|count| count.open > 0) {
                tokio::time::sleep(POLL).await;
            }
            anyhow::Ok(())
        };
        tokio::time::timeout(ENDS_WITHIN, ended).await.context("an order is closed and goes on")??;
        let steps = self.query(&steps).await?;
        ensure!(!steps.is_empty(), "the engine has no journal of {order_id}");
        Ok(steps)
    }

    async fn query<T: DeserializeOwned>(&self, query: &str) -> Result<Vec<T>> {
        #[derive(Deserialize)]
        struct Rows<T> {
            rows: Vec<T>,
        }
        let request = self.http.post(format!("{}/query", self.admin)).header("accept", "application/json");
        let Rows { rows } = told(request.json(&json!({ "query": query }))).await?.json().await?;
        Ok(rows)
    }

    /// Serves empty workflows and makes them known, until what is returned is dropped.
    pub async fn serve(&self) -> Result<AbortOnDropHandle<()>> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let uri = format!("http://{}", listener.local_addr()?);
        let serving = AbortOnDropHandle::new(tokio::spawn(serve(listener)));
        let registered = self.http.post(format!("{}/deployments", self.admin)).json(&json!({ "uri": uri }));
        told(registered).await.context("the empty workflow cannot be registered")?;
        Ok(serving)
    }

    /// One workflow of so many steps, from when it is asked for until it has ended.
    pub async fn run(self, steps: u32) -> Outcome {
        let url = format!("{}/bench_empty/{}/run", self.ingress, uuid::Uuid::now_v7());
        let answer = self.http.post(url).timeout(PATIENCE).json(&steps).send().await?;
        let status = answer.status();
        answer.bytes().await?;
        if status.is_success() { Ok(Done::default()) } else { Err(Failed::Status(status.as_u16())) }
    }
}

async fn told(request: RequestBuilder) -> Result<Response> {
    let answer = request.timeout(PATIENCE).send().await?;
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    anyhow::bail!("the engine answered {status}: {}", answer.text().await.unwrap_or_default())
}

/// As jumun's worker is served: the SDK's own server leaves Nagle's algorithm on, which costs tens of milliseconds a step.
async fn serve(listener: TcpListener) {
    let endpoint = HyperEndpoint::new(Endpoint::builder().bind(Empty).build());
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .serve_connection(TokioIo::new(stream), endpoint.clone());
        // Why the engine ended a connection shows in what was asked through it.
        tokio::spawn(async move { drop(connection.await) });
    }
}
