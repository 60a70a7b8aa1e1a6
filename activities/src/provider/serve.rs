//! Serving a provider: our own way of accepting connections, because Poem's neither sets `TCP_NODELAY` nor waits after
//! a failure.

use std::time::Duration;

use poem::endpoint::BoxEndpoint;
use poem::http::uri::Scheme;
use poem::listener::{Acceptor, TcpAcceptor};
use poem::web::{LocalAddr, RemoteAddr};
use tokio::net::{TcpListener, TcpStream};
use tracing::warn;

/// Out of file descriptors, most likely: trying again at once would only burn the processor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// After how long a connection on which nothing comes or goes is closed. Longer than the client keeps one.
const IDLE_TIMEOUT: Duration = Duration::from_secs(75);

/// Serves a provider on `listener` until `stop`, then ends open requests within `grace`.
///
/// # Errors
/// Where the listener cannot be used.
pub async fn serve(
    listener: TcpListener,
    endpoint: BoxEndpoint<'static>,
    stop: impl Future<Output = ()> + Send + 'static,
    grace: Duration,
) -> std::io::Result<()> {
    let acceptor = Prompt(TcpAcceptor::from_tokio(listener)?);
    let server = poem::Server::new_with_acceptor(acceptor).idle_timeout(IDLE_TIMEOUT);
    server.run_with_graceful_shutdown(endpoint, stop, Some(grace)).await
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
