//! Serving: our own way of accepting connections, because Poem's neither sets `TCP_NODELAY` nor waits after a failure.

use std::time::Duration;

use poem::Server;
use poem::http::uri::Scheme;
use poem::listener::{Acceptor, TcpAcceptor};
use poem::web::{LocalAddr, RemoteAddr};
use tokio::net::{TcpListener, TcpStream};
use tracing::warn;

use crate::orders::Live;
use crate::{Deps, app_with};

/// Out of file descriptors, most likely: trying again at once would only burn the processor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// After how long a connection on which nothing comes or goes is closed. A request on it is still answered.
const IDLE_TIMEOUT: Duration = Duration::from_secs(75);

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
    let acceptor = Prompt(TcpAcceptor::from_tokio(listener)?);
    let server = Server::new_with_acceptor(acceptor).idle_timeout(IDLE_TIMEOUT);
    let live = Live::new(deps.orders.clone());
    let streams = live.clone();
    let shutdown = async move {
        shutdown.await;
        // They would go on for ever.
        streams.end();
    };
    server.run_with_graceful_shutdown(app_with(deps, live), shutdown, Some(grace)).await
}

/// Sends every answer at once instead of waiting for more to send with it.
struct Prompt(TcpAcceptor);

impl Acceptor for Prompt {
    type Io = TcpStream;

    fn local_addr(&self) -> Vec<LocalAddr> {
        self.0.local_addr()
    }

    async fn accept(&mut self) -> std::io::Result<(TcpStream, LocalAddr, RemoteAddr, Scheme)> {
        match self.0.accept().await {
            Ok(accepted) => {
                // It fails only on a connection that is gone, which serving it will find out.
                let _ = accepted.0.set_nodelay(true);
                Ok(accepted)
            }
            Err(error) => {
                warn!(%error, "accepting a connection failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                Err(error)
            }
        }
    }
}
