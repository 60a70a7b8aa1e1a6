//! The worker's listener. The SDK ships one too, but it leaves Nagle's algorithm on (tens of milliseconds for every
//! step), stops accepting for good after one failed accept, and does not know SIGTERM.

use std::time::Duration;

use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use restate_sdk::endpoint::Endpoint;
use restate_sdk::hyper::HyperEndpoint;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

/// How long to wait after a failed accept, for example when the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// A connection on which the engine has gone silent is closed after this long without an answered ping.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// Serves the engine over HTTP/2 until `stop`; then invocations in flight get up to `grace` to reach a point at which
/// the engine can move them, and are cut off after that: it continues them elsewhere, or after a restart.
pub async fn serve(listener: TcpListener, endpoint: Endpoint, stop: CancellationToken, grace: Duration) {
    let endpoint = HyperEndpoint::new(endpoint);
    let connections = GracefulShutdown::new();
    let cut = CancellationToken::new();
    // Nothing is left behind, also when this is dropped.
    let _cut = cut.clone().drop_guard();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        match accepted.and_then(|(stream, peer)| stream.set_nodelay(true).map(|()| (stream, peer))) {
            Ok((stream, peer)) => {
                let connection = http2::Builder::new(TokioExecutor::new())
                    .timer(TokioTimer::new())
                    .keep_alive_interval(KEEP_ALIVE)
                    .serve_connection(TokioIo::new(stream), endpoint.clone());
                let connection = cut.clone().run_until_cancelled_owned(connections.watch(connection));
                tokio::spawn(async move {
                    if let Some(Err(error)) = connection.await {
                        debug!(%peer, %error, "connection of the engine ended");
                    }
                });
            }
            Err(error) => {
                warn!(%error, "cannot accept a connection of the engine");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    if tokio::time::timeout(grace, connections.shutdown()).await.is_err() {
        debug!("invocations in flight are cut off");
    }
}
