//! Starts a connection on a port that uses TLS.

use std::{future::poll_fn, pin::Pin, sync::Arc};

use http::{HeaderValue, Response, StatusCode, header::CONNECTION};
use rustls::ServerConfig;
use tokio::{io::AsyncWrite as _, net::TcpStream, time::timeout};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{
    body::Body,
    client_address::ClientAddress,
    client_timeouts::{ClientTimeouts, TimeoutStream},
    connection_phase::{ConnectionPhase, Unread},
    handshakes::FailedHandshakes,
    media_type::TEXT,
    refusal::HANDSHAKE,
    response::response,
};

/// How many bytes of a response are kept encrypted for a client that does not read.
const BUFFER_BYTES: usize = 16 * 1024;

/// The protocol that a client uses.
#[derive(Debug)]
pub(super) enum Accepted {
    /// HTTP/1 over TLS.
    Http1(TlsStream<TcpStream>),
    /// HTTP/2 over TLS.
    Http2(TlsStream<TcpStream>),
    /// The client does not use TLS.
    Plain(TcpStream),
    /// The client disconnected, took too long or was refused.
    Nothing,
}

impl Unread for TlsStream<TcpStream> {
    fn has_unread(&self) -> bool {
        self.get_ref().0.has_unread()
    }
}

/// Waits for the first byte and completes the handshake. Together they may take as long as the head of a request.
pub(super) async fn accept(
    socket: TcpStream,
    config: Arc<ServerConfig>,
    timeouts: ClientTimeouts,
    phase: &Arc<ConnectionPhase>,
    (failures, client): (&FailedHandshakes, ClientAddress),
) -> Accepted {
    let shake_hands = async {
        let mut first = [0];
        match socket.peek(&mut first).await {
            Ok(1) if first[0] == HANDSHAKE => {}
            Ok(1) => return Accepted::Plain(socket),
            _ => return Accepted::Nothing,
        }
        match TlsAcceptor::from(config).accept(socket).into_fallible().await {
            Ok(mut socket) => {
                let tls = socket.get_mut().1;
                tls.set_buffer_limit(Some(BUFFER_BYTES));
                let is_http2 = tls.alpn_protocol() == Some(b"h2");
                if is_http2 { Accepted::Http2(socket) } else { Accepted::Http1(socket) }
            }
            Err((error, socket)) => {
                failures.log(client, &error);
                // Closing with unread bytes would reset the connection, and the client would lose the alert that gives the
                // reason.
                phase.requested(true);
                let mut socket = TimeoutStream::new(socket, timeouts, Arc::clone(phase));
                _ = poll_fn(|cx| Pin::new(&mut socket).poll_shutdown(cx)).await;
                Accepted::Nothing
            }
        }
    };
    timeout(timeouts.head, shake_hands).await.unwrap_or(Accepted::Nothing)
}

/// The response to a client that does not use TLS.
pub(super) fn plain_refused() -> Response<Body> {
    let mut refusal =
        response(StatusCode::BAD_REQUEST, TEXT, "This port speaks TLS: write https, not http.\n");
    refusal.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    refusal
}
