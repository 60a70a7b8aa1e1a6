//! The worker's own port for those who run it, over HTTP/1.1, which probes speak and the engine does not: `/livez` (restart
//! it?), `/readyz` (send it work?) and `/metrics`. It knows no callers, so it stays private.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};
use workflows::OrderId;
use workflows::order::OrderBook;

/// Probes are asked often and give up early.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long somebody who connects may take to ask.
const HEAD_WITHIN: Duration = Duration::from_secs(5);
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// What probes are told.
#[derive(Clone)]
pub struct Management {
    orders: Arc<dyn OrderBook>,
    metrics: Arc<dyn Fn() -> String + Send + Sync>,
    stopping: CancellationToken,
    /// Whether it can be made sick, to see what becomes of it.
    debug: bool,
    sick: Arc<AtomicBool>,
}

impl Management {
    /// Ready as long as `orders` can be read and `stopping` is not cancelled. `metrics` writes Prometheus' text format.
    #[must_use]
    pub fn new(
        orders: Arc<dyn OrderBook>,
        metrics: Arc<dyn Fn() -> String + Send + Sync>,
        stopping: CancellationToken,
        debug: bool,
    ) -> Self {
        Self { orders, metrics, stopping, debug, sick: Arc::default() }
    }

    /// Serves until `stop`; probes are answered to the end, so that whoever asks learns that it is on its way out.
    pub async fn serve(self, listener: TcpListener, stop: CancellationToken) {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stop.cancelled() => break,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    warn!(%error, "cannot accept a connection of a probe");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let this = self.clone();
            let answer = service_fn(move |request| {
                let this = this.clone();
                async move { Ok::<_, Infallible>(this.answer(&request).await) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_WITHIN)
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), answer);
            let connection = stop.clone().run_until_cancelled_owned(connection);
            tokio::spawn(async move {
                if let Some(Err(error)) = connection.await {
                    debug!(%error, "connection of a probe ended");
                }
            });
        }
    }

    async fn answer(&self, request: &Request<Incoming>) -> Response<String> {
        let get = matches!(*request.method(), Method::GET | Method::HEAD);
        match (get, request.uri().path()) {
            (true, "/livez") if self.sick.load(Ordering::Relaxed) => {
                told(StatusCode::INTERNAL_SERVER_ERROR, "sick, as it was asked to be")
            }
            (true, "/livez") => told(StatusCode::OK, "alive"),
            (true, "/readyz") => match self.missing().await {
                None => told(StatusCode::OK, "ready"),
                Some(missing) => told(StatusCode::SERVICE_UNAVAILABLE, missing),
            },
            (true, "/metrics") => told(StatusCode::OK, (self.metrics)()),
            (false, "/debug/sick") if self.debug && *request.method() == Method::POST => {
                info!("made sick by its debug switch");
                self.sick.store(true, Ordering::Relaxed);
                told(StatusCode::OK, "sick from now on")
            }
            _ => told(StatusCode::NOT_FOUND, "there are /livez, /readyz and /metrics"),
        }
    }

    /// Why it is not to be sent work. A store that does not answer is no reason to restart it: that would not mend the store.
    async fn missing(&self) -> Option<&'static str> {
        if self.stopping.is_cancelled() {
            return Some("stopping");
        }
        let nobody = OrderId::from_bits(0);
        match tokio::time::timeout(PATIENCE, self.orders.order(&nobody)).await {
            Ok(Ok(_)) => None,
            Ok(Err(_)) | Err(_) => Some("the store of orders does not answer"),
        }
    }
}

fn told(status: StatusCode, text: impl Into<String>) -> Response<String> {
    let mut response = Response::new(text.into() + "\n");
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, TEXT);
    response
}
