//! Ports of loopback that no other program gets while a test needs them.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::LazyLock,
};

use tokio::net::TcpSocket;

/// An address that refuses every connection. It stays reserved until the tests end, so that no server gets it.
pub(crate) fn closed_address() -> SocketAddr {
    static RESERVED: LazyLock<TcpSocket> = LazyLock::new(|| {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        socket
    });
    RESERVED.local_addr().unwrap()
}

/// An address for a program that is started next. The kernel gives nobody a port of this range, so that only a program that
/// asks for the same port could take it first.
pub(crate) fn free_address() -> SocketAddr {
    let ports = std::iter::repeat_with(|| fastrand::u16(20_000..30_000));
    ports
        .map(|port| (Ipv4Addr::LOCALHOST, port).into())
        .find(|address| TcpListener::bind(address).is_ok())
        .unwrap()
}
