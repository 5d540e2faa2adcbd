//! `healthcheck`: asks the server that runs beside it, for a container without a shell.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use http::{HeaderValue, Request, StatusCode, Uri, header};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};

const PATH: &str = "/-/healthy";

/// How long the server may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why the server is not healthy.
#[derive(Debug, thiserror::Error)]
pub enum Unhealthy {
    /// Nobody listens there.
    #[error("no server listens at {address}; check PINPOINT_EXPORTER_LISTEN_ADDRESS")]
    Connect {
        /// The address that was tried.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// What listens there does not speak HTTP.
    #[error("what listens at {address} does not speak HTTP/1.1")]
    Http {
        /// The address that was asked.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: hyper::Error,
    },
    /// It says that it is not, or is something else.
    #[error("the server at {address} answers {status} to {PATH}")]
    Status {
        /// The address that was asked.
        address: SocketAddr,
        /// Its answer.
        status: StatusCode,
    },
    /// It says nothing.
    #[error("the server at {address} does not answer within {PATIENCE:?}")]
    Silent {
        /// The address that was asked.
        address: SocketAddr,
    },
}

/// Makes sure that the server which listens at `address` says that it is healthy.
pub async fn healthcheck(address: SocketAddr) -> Result<(), Unhealthy> {
    let address = reachable(address);
    timeout(PATIENCE, ask(address)).await.unwrap_or(Err(Unhealthy::Silent { address }))
}

async fn ask(address: SocketAddr) -> Result<(), Unhealthy> {
    let stream =
        TcpStream::connect(address).await.map_err(|source| Unhealthy::Connect { address, source })?;
    let http = |source| Unhealthy::Http { address, source };
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(http)?;
    tokio::spawn(connection);
    let mut request = Request::new(String::new());
    *request.uri_mut() = Uri::from_static(PATH);
    let host = HeaderValue::from_str(&address.to_string());
    request.headers_mut().extend(host.ok().map(|host| (header::HOST, host)));
    let status = sender.send_request(request).await.map_err(http)?.status();
    if status.is_success() { Ok(()) } else { Err(Unhealthy::Status { address, status }) }
}

/// The address to ask a server that listens at all addresses.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_at_all_addresses_is_asked_at_loopback() {
        for (listens, asked) in
            [("0.0.0.0:9787", "127.0.0.1:9787"), ("[::]:9787", "[::1]:9787"), ("192.0.2.1:1", "192.0.2.1:1")]
        {
            assert_eq!(reachable(listens.parse().unwrap()).to_string(), asked);
        }
    }
}
