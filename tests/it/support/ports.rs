//! A port of loopback for a program that is started next. Chaos uses this file too.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// An address that no program listens on. The kernel never assigns a port of this range by itself, so no other program takes
/// the port before it is used.
pub(crate) fn free_address() -> Option<SocketAddr> {
    let ports = std::iter::repeat_with(|| fastrand::u16(20_000..30_000)).take(100);
    let mut addresses = ports.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    addresses.find(|address| TcpListener::bind(address).is_ok())
}
