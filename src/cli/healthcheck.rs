//! `healthcheck`: requests the health of the exporter in the same container, for containers without a shell.
//!
//! It uses no password and no client certificate. A server that asks for one is alive, so it counts as healthy. It reads only
//! the setting of the address, and detects whether the port uses TLS.

use std::{
    error::Error,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use http::{HeaderValue, Request, StatusCode, Uri, header};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::{
    AlertDescription, ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::ring,
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

const PATH: &str = "/-/healthy";

/// The time limit for the response. Probes of Docker and Kubernetes have a shorter timeout of their own, so this limit only
/// matters when you run the command by hand.
const TIMEOUTS: Duration = Duration::from_mins(1);

/// Why the server is not healthy.
#[derive(Debug, thiserror::Error)]
pub enum Unhealthy {
    /// No server listens at the address.
    #[error("no server listens at {address}; check PINPOINT_EXPORTER_LISTEN_ADDRESS")]
    Connect {
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
    /// The server uses TLS, but no handshake succeeds.
    #[error("the TLS handshake with the server at {address} failed")]
    Tls {
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
    /// The server does not use HTTP/1.1.
    #[error("the server at {address} does not use HTTP/1.1")]
    Http {
        address: SocketAddr,
        #[source]
        source: hyper::Error,
    },
    /// The server responds that it is not healthy, or it is another server.
    #[error("the server at {address} answers {status} to {PATH}")]
    Status {
        address: SocketAddr,
        /// The status of its response.
        status: StatusCode,
    },
    /// The server does not respond in time.
    #[error("the server at {address} does not answer within {TIMEOUTS:?}")]
    Silent {
        /// The address that was requested.
        address: SocketAddr,
    },
}

/// Succeeds if the server at this address responds that it is healthy, or asks for a password or a certificate.
pub async fn healthcheck(listen_address: SocketAddr) -> Result<(), Unhealthy> {
    let address = reachable(listen_address);
    let asked = async {
        let plain = ask(connect(address).await?, address).await;
        match plain {
            // This is how a TLS port responds to a plain HTTP request.
            Err(Unhealthy::Status { status: StatusCode::BAD_REQUEST, .. }) => {
                ask_over_tls(address).await.unwrap_or(plain)
            }
            plain => plain,
        }
    };
    timeout(TIMEOUTS, asked).await.unwrap_or(Err(Unhealthy::Silent { address }))
}

async fn connect(address: SocketAddr) -> Result<TcpStream, Unhealthy> {
    TcpStream::connect(address).await.map_err(|source| Unhealthy::Connect { address, source })
}

/// Returns `None` if the server does not use TLS.
async fn ask_over_tls(address: SocketAddr) -> Option<Result<(), Unhealthy>> {
    let tls = |source| Unhealthy::Tls { address, source };
    let connect = async {
        let config = client_config().map_err(|error| tls(io::Error::other(error)))?;
        let name = ServerName::IpAddress(address.ip().into());
        let stream = connect(address).await?;
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(tls)?;
        ask(stream, address).await
    };
    let asked = connect.await;
    match asked.as_ref().err().and_then(|error| rustls_error(error)) {
        Some(rustls::Error::AlertReceived(AlertDescription::CertificateRequired)) => Some(Ok(())),
        Some(rustls::Error::InvalidMessage(_)) => None,
        _ => Some(asked),
    }
}

/// The error of rustls among the causes of an error.
fn rustls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(found) = inner.and_then(|inner| inner.downcast_ref()) {
            return Some(found);
        }
        next = error.source();
    }
    None
}

async fn ask(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    address: SocketAddr,
) -> Result<(), Unhealthy> {
    let http = |source| Unhealthy::Http { address, source };
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(http)?;
    let connection = tokio::spawn(connection);
    let mut request = Request::new(String::new());
    *request.uri_mut() = Uri::from_static(PATH);
    let host = HeaderValue::from_str(&address.to_string());
    request.headers_mut().extend(host.ok().map(|host| (header::HOST, host)));
    let status = match sender.send_request(request).await {
        Ok(response) => response.status(),
        // The error of the connection is more specific.
        Err(error) => match connection.await {
            Ok(Err(cause)) => return Err(http(cause)),
            _ => return Err(http(error)),
        },
    };
    let asks_who = [StatusCode::UNAUTHORIZED, StatusCode::TOO_MANY_REQUESTS].contains(&status);
    if status.is_success() || asks_who { Ok(()) } else { Err(Unhealthy::Status { address, status }) }
}

/// TLS without verification of the certificate. The connection stays on the same host, and it transfers nothing secret.
fn client_config() -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(ring::default_provider());
    let schemes = provider.signature_verification_algorithms.supported_schemes();
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let verifier = Arc::new(AnyCertificate { schemes });
    Ok(config.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

#[derive(Debug)]
struct AnyCertificate {
    schemes: Vec<SignatureScheme>,
}

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }
}

/// The address to connect to. For a server that listens on all addresses, it is the loopback address.
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
