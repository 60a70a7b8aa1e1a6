//! Addresses for processes that are started again on the same ones.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// Below those that systems hand out by themselves, so that nobody's outgoing connection takes one while the process that
/// listens there is dead.
const PORTS: std::ops::Range<u16> = 10_000..32_000;

/// So many addresses that are free now, and differ.
#[must_use]
pub(crate) fn free<const N: usize>() -> [SocketAddr; N] {
    // All are held until each is chosen.
    let held = [(); N].map(|()| {
        let free = (0..1_000).find_map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, rand::random_range(PORTS))).ok());
        free.expect("a free port")
    });
    held.map(|listener| listener.local_addr().expect("bound"))
}
