//! Serving: our own way of accepting connections. Poem's does not set `TCP_NODELAY`, accepts any number of connections, and
//! waits for ever for a head that never ends and for a reader who has stopped reading. It is HTTP/1.1 only: HTTP/2 and TLS
//! are for what stands in front.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use poem::Endpoint;
use poem::endpoint::BoxEndpoint;
use poem::http::uri::Scheme;
use poem::web::{LocalAddr, RemoteAddr};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::pressure::{Patient, Pressure};
use crate::{Deps, app_with, live};

/// Out of file descriptors, most likely: trying again at once would only burn the processor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// After how long a connection on which no request comes is closed. Longer than proxies keep theirs, so that none is
/// closed just when they use it.
const IDLE_TIMEOUT: Duration = Duration::from_secs(75);
/// Above our own bounds, which refuse with a problem; these refuse with a bare 431.
const HEAD_LIMIT: usize = 64 * 1024;
const MOST_HEADERS: usize = 128;
const TIDY_EVERY: Duration = Duration::from_secs(5);

/// Serves the API on `listener` until `shutdown`, then ends open requests within `grace`.
///
/// # Errors
/// Where the listener cannot be used.
pub async fn serve(
    listener: TcpListener,
    deps: Deps,
    shutdown: impl Future<Output = ()>,
    grace: Duration,
) -> std::io::Result<()> {
    let pressure = Arc::new(Pressure::new(deps.limits, deps.metrics.clone()));
    let live = live(&deps);
    let app = Arc::new(app_with(deps, live.clone(), &pressure));
    let front = Front { app, local: listener.local_addr()?, pressure, cut: CancellationToken::new() };
    let _cut = front.cut.clone().drop_guard();
    let connections = GracefulShutdown::new();
    let mut tidying = interval(TIDY_EVERY);
    tidying.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            _ = tidying.tick() => front.pressure.tidy(),
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => front.receive(stream, peer, &connections),
                Err(error) => {
                    warn!(%error, "accepting a connection failed");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    // They would go on for ever.
    live.end();
    if timeout(grace, connections.shutdown()).await.is_err() {
        debug!("open requests were cut off");
    }
    Ok(())
}

/// What every connection needs.
struct Front {
    app: Arc<BoxEndpoint<'static>>,
    local: SocketAddr,
    pressure: Arc<Pressure>,
    /// Cuts connections off that are still open.
    cut: CancellationToken,
}

impl Front {
    /// Serves a connection, if there is a place for it; otherwise hangs up.
    fn receive(&self, stream: TcpStream, peer: SocketAddr, connections: &GracefulShutdown) {
        let Some(slot) = self.pressure.connection() else { return };
        // It fails only on a connection that is gone, which serving it will find out.
        let _ = stream.set_nodelay(true);
        let stream = Patient::new(stream, &self.pressure.limits);
        let (app, head, local) = (self.app.clone(), stream.head(), self.local);
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            let (app, head) = (app.clone(), head.clone());
            async move {
                head.arrived();
                let request = (request, LocalAddr(local.into()), RemoteAddr(peer.into()), Scheme::HTTP);
                let response = app.get_response(request.into()).await;
                head.awaited();
                Ok::<_, Infallible>(hyper::Response::from(response))
            }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(IDLE_TIMEOUT)
            .max_header_size(HEAD_LIMIT)
            .max_headers(MOST_HEADERS)
            .serve_connection(TokioIo::new(stream), service);
        let connection = self.cut.clone().run_until_cancelled_owned(connections.watch(connection));
        tokio::spawn(async move {
            let _slot = slot;
            if let Some(Err(error)) = connection.await {
                debug!(%peer, %error, "connection ended");
            }
        });
    }
}
