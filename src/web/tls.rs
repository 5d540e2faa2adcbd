//! The beginning of a connection where the port speaks TLS.

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

/// How much of an answer is kept encrypted for a client that does not take it.
const BUFFER_BYTES: usize = 16 * 1024;

/// What a client speaks.
#[derive(Debug)]
pub(super) enum Accepted {
    /// TLS, and within it HTTP/1.
    Http1(TlsStream<TcpStream>),
    /// TLS, and within it HTTP/2.
    Http2(TlsStream<TcpStream>),
    /// No TLS.
    Plain(TcpStream),
    /// It is gone, too slow, or refused.
    Nothing,
}

impl Unread for TlsStream<TcpStream> {
    fn has_unread(&self) -> bool {
        self.get_ref().0.has_unread()
    }
}

/// Waits for the client to begin, and shakes hands. All of it may take as long as the head of a request.
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
                // To close with bytes unread would reset the connection, and lose the alert that says why.
                phase.requested(true);
                let mut socket = TimeoutStream::new(socket, timeouts, Arc::clone(phase));
                _ = poll_fn(|cx| Pin::new(&mut socket).poll_shutdown(cx)).await;
                Accepted::Nothing
            }
        }
    };
    timeout(timeouts.head, shake_hands).await.unwrap_or(Accepted::Nothing)
}

/// The answer to who speaks no TLS.
pub(super) fn plain_refused() -> Response<Body> {
    let mut refusal =
        response(StatusCode::BAD_REQUEST, TEXT, "This port speaks TLS: write https, not http.\n");
    refusal.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    refusal
}
