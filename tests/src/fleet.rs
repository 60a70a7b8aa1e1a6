//! A worker on this test's runtime, which can go and come back.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use workflows::Capacity;
use workflows::order::Ports;

/// How long what is in flight may take when it stops.
const GRACE: Duration = Duration::from_secs(1);

/// A version of the worker. It outlives this, and stops with the test's runtime or when it is told to.
pub struct Worker {
    pub url: String,
    address: SocketAddr,
    ports: Ports,
    serving: Option<(CancellationToken, JoinHandle<()>)>,
}

impl Worker {
    /// On a free port, answering everybody.
    pub async fn start(ports: &Ports) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let serving = Some(serve(listener, ports.clone()));
        Self { url: format!("http://{address}"), address, ports: ports.clone(), serving }
    }

    /// As a rolling update stops it; nobody listens any more afterwards.
    pub async fn stop(&mut self) {
        let (stop, serving) = self.serving.take().expect("it runs");
        stop.cancel();
        serving.await.expect("no panic");
    }

    /// The same again, at the same address.
    pub async fn start_again(&mut self) {
        assert!(self.serving.is_none(), "it runs");
        let listener = TcpListener::bind(self.address).await.expect("its port is free again");
        self.serving = Some(serve(listener, self.ports.clone()));
    }
}

fn serve(listener: TcpListener, ports: Ports) -> (CancellationToken, JoinHandle<()>) {
    let stop = CancellationToken::new();
    let serving = worker::serve(listener, worker::endpoint(ports, &Capacity::default(), &[]), stop.clone(), GRACE);
    (stop, tokio::spawn(serving))
}
