//! The addresses that jumun and its engine listen on: what each is for, and how a person moves it elsewhere.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio::time::Instant;
use workflows::Context;

/// A jumun that was killed a moment ago, or its engine, may still be on its way out.
const PATIENCE: Duration = Duration::from_secs(1);
const POLL: Duration = Duration::from_millis(20);

/// Somebody who listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listener {
    Api,
    Worker,
    EngineIngress,
    EngineAdmin,
    EngineNode,
    Management,
    Provider(Context),
}

impl Listener {
    /// Those of `jumun local`.
    #[cfg(test)]
    pub const LOCAL: [Self; 5] = [Self::Api, Self::Worker, Self::EngineIngress, Self::EngineAdmin, Self::EngineNode];

    const fn who(self) -> &'static str {
        match self {
            Self::Api => "the API",
            Self::Worker => "the worker",
            Self::EngineIngress => "the engine's ingress",
            Self::EngineAdmin => "the engine's admin API and UI",
            Self::EngineNode => "the engine's node port",
            Self::Management => "the worker's management port",
            Self::Provider(_) => "the provider",
        }
    }

    pub const fn flag(self) -> &'static str {
        match self {
            Self::Api => "api-listen",
            Self::Worker => "worker-listen",
            Self::EngineIngress => "engine-ingress-listen",
            Self::EngineAdmin => "engine-admin-listen",
            Self::EngineNode => "engine-node-listen",
            Self::Management => "management-listen",
            Self::Provider(_) => "listen",
        }
    }

    pub const fn variable(self) -> &'static str {
        match self {
            Self::Api => "JUMUN_API_LISTEN",
            Self::Worker => "JUMUN_WORKER_LISTEN",
            Self::EngineIngress => "JUMUN_ENGINE_INGRESS_LISTEN",
            Self::EngineAdmin => "JUMUN_ENGINE_ADMIN_LISTEN",
            Self::EngineNode => "JUMUN_ENGINE_NODE_LISTEN",
            Self::Management => "JUMUN_MANAGEMENT_LISTEN",
            Self::Provider(_) => "JUMUN_PROVIDER_LISTEN",
        }
    }

    const fn default_port(self) -> u16 {
        match self {
            Self::Api => 8088,
            Self::Worker => 9080,
            Self::EngineIngress => 8080,
            Self::EngineAdmin => 9070,
            Self::EngineNode => 5122,
            Self::Management => 9081,
            Self::Provider(Context::Payment) => 9101,
            Self::Provider(Context::Stock) => 9102,
            Self::Provider(Context::Delivery) => 9103,
            Self::Provider(Context::Promotion) => 9104,
            Self::Provider(Context::Kitchen) => 9105,
            Self::Provider(Context::Notification) => 9106,
        }
    }

    /// Where it listens unless told otherwise; `free`: any free port.
    pub const fn default_address(self, free: bool) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), if free { 0 } else { self.default_port() })
    }
}

#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen on {address} for {}: {}; choose another address with --{} (or {})",
    .listener.who(), Reason(.cause), .listener.flag(), .listener.variable()
)]
pub struct ListenError {
    listener: Listener,
    address: SocketAddr,
    cause: io::Error,
}

struct Reason<'a>(&'a io::Error);

impl std::fmt::Display for Reason<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.kind() {
            io::ErrorKind::AddrInUse => f.write_str("the port is taken by another program"),
            _ => self.0.fmt(f),
        }
    }
}

/// Listens from now on: whoever connects waits until the connection is taken up.
pub async fn bind(listener: Listener, address: SocketAddr) -> Result<TcpListener, ListenError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match TcpListener::bind(address).await {
            Ok(bound) => return Ok(bound),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < deadline => {
                tokio::time::sleep(POLL).await;
            }
            Err(cause) => return Err(ListenError { listener, address, cause }),
        }
    }
}

/// An address for another process to listen on. As far as the system allows it, nobody else gets it meanwhile.
#[derive(Debug)]
pub struct Reserved {
    pub address: SocketAddr,
    _socket: Option<TcpSocket>,
}

/// Sees to it that all the addresses are free, and different from each other.
pub async fn reserve<const N: usize>(wanted: [(Listener, SocketAddr); N]) -> Result<[Reserved; N], ListenError> {
    let mut probes = Vec::with_capacity(N);
    for (listener, address) in wanted {
        probes.push((listener, bind(listener, address).await?));
    }
    let reserved = probes
        .into_iter()
        .map(|(listener, probe)| {
            let address = probe.local_addr().map_err(|cause| ListenError { listener, address: UNKNOWN, cause })?;
            drop(probe);
            let socket = hold(address).map_err(|cause| ListenError { listener, address, cause })?;
            Ok(Reserved { address, _socket: socket })
        })
        .collect::<Result<Vec<_>, _>>()?;
    Ok(reserved.try_into().expect("as many as there were wanted"))
}

const UNKNOWN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// On Linux a socket that is bound but does not listen keeps the system from handing the port to anybody who asks for
/// a free one, and yet lets the engine, which sets `SO_REUSEADDR` as we do, listen there. Other systems would refuse it.
fn hold(address: SocketAddr) -> io::Result<Option<TcpSocket>> {
    if !cfg!(target_os = "linux") {
        return Ok(None);
    }
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(Some(socket))
}

/// How to reach whoever listens at `address` from this machine.
pub fn url(address: SocketAddr) -> String {
    let ip = match address.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    format!("http://{}", SocketAddr::new(ip, address.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_taken_port_is_named_with_the_setting_that_moves_it() {
        let taken = TcpListener::bind(Listener::Api.default_address(true)).await.expect("binds");
        let address = taken.local_addr().expect("has an address");
        let error = bind(Listener::Api, address).await.expect_err("is taken").to_string();
        let expected = format!(
            "cannot listen on {address} for the API: the port is taken by another program; \
             choose another address with --api-listen (or JUMUN_API_LISTEN)"
        );
        assert_eq!(error, expected);
    }

    #[tokio::test]
    async fn a_port_that_is_let_go_at_once_is_waited_for() {
        let taken = TcpListener::bind(Listener::Api.default_address(true)).await.expect("binds");
        let address = taken.local_addr().expect("has an address");
        let (bound, ()) = tokio::join!(bind(Listener::Api, address), async { drop(taken) });
        bound.expect("binds");
    }

    #[tokio::test]
    async fn a_reserved_address_can_be_listened_on() {
        let free = Listener::EngineAdmin.default_address(true);
        let [reserved] = reserve([(Listener::EngineAdmin, free)]).await.expect("reserves");
        assert_ne!(reserved.address.port(), 0);
        TcpListener::bind(reserved.address).await.expect("binds, as the engine does");
    }

    #[tokio::test]
    async fn two_listeners_do_not_share_an_address() {
        let free = Listener::EngineNode.default_address(true);
        let [Reserved { address, _socket }] = reserve([(Listener::EngineNode, free)]).await.expect("reserves");
        let error = reserve([(Listener::EngineIngress, address), (Listener::EngineAdmin, address)]).await;
        assert_eq!(error.expect_err("the same address twice").listener, Listener::EngineAdmin);
    }

    #[test]
    fn a_url_can_be_connected_to() {
        assert_eq!(url("0.0.0.0:80".parse().expect("an address")), "http://127.0.0.1:80");
        assert_eq!(url("[::]:80".parse().expect("an address")), "http://[::1]:80");
        assert_eq!(url("127.0.0.1:8088".parse().expect("an address")), "http://127.0.0.1:8088");
    }
}
