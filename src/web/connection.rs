//! Serves one connection from start to end, with or without TLS, over HTTP/1 or HTTP/2.

use std::{
    convert::Infallible,
    future::{Future, poll_fn, ready},
    pin::Pin,
    sync::Arc,
    task::Poll,
};

use http::{Method, Request, Response};
use http_body::Body as _;
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustix::net::sockopt;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;

use super::{
    access_control::AccessControl,
    body::Body,
    client_address::ClientAddress,
    client_timeouts::{ClientTimeouts, TimeoutStream},
    connection_phase::{ConnectionPhase, Unread},
    connections::ConnectionSlot,
    exporter::Exporter,
    handshakes::FailedHandshakes,
    malformed,
    response::without_body,
    routes::{self, ScrapeTimeout},
    streams::Streams,
    tls::{self, Accepted},
    waiting_scrapes::WaitingScrapes,
};

/// The largest head of a request, and the memory that reading one may take.
const MAX_HEAD_BYTES: u32 = 16 * 1024;

/// The size of the kernel's send buffer. By default, the kernel holds 4 MiB for each client that does not read. It reports free
/// space in steps of a third of the buffer, so a slow client's progress shows only in such steps.
const SEND_BUFFER_BYTES: usize = 128 * 1024;

/// The most concurrent requests on an HTTP/2 connection.
const MAX_STREAMS: u32 = 16;

/// How many bytes of request bodies an HTTP/2 client may send. Bodies are never read, so this is the smallest value that the
/// protocol allows.
const BODY_WINDOW_BYTES: u32 = 65_535;

/// What all connections share.
pub(super) struct Server<E> {
    pub(super) exporter: Arc<E>,
    pub(super) scrape_timeout: ScrapeTimeout,
    pub(super) timeouts: ClientTimeouts,
    pub(super) waiting: Arc<WaitingScrapes>,
    pub(super) handshakes: FailedHandshakes,
    /// `None` admits every request.
    pub(super) guard: Option<AccessControl>,
}

impl<E: Exporter> Server<E> {
    async fn answer(&self, request: Request<Incoming>, client: ClientAddress) -> Response<Body> {
        let is_head = request.method() == Method::HEAD;
        let admitted = match &self.guard {
            Some(guard) => guard.admit(request.headers(), client).await,
            None => Ok(()),
        };
        let mut response = if let Err(refusal) = admitted {
            refusal
        } else if let Some(refusal) = malformed::refuse(&request) {
            refusal
        } else {
            let answer_now = self.waiting.wait(client);
            routes::answer(request, &*self.exporter, self.scrape_timeout, answer_now).await
        };
        if let Some(guard) = &self.guard {
            guard.add_headers(response.headers_mut());
        }
        if is_head { without_body(response) } else { response }
    }
}

pub(super) async fn connection<E: Exporter>(
    socket: TcpStream,
    client: ClientAddress,
    slot: ConnectionSlot,
    server: Arc<Server<E>>,
) {
    // A response must not wait until the client acknowledges the one before it.
    _ = socket.set_nodelay(true);
    _ = sockopt::set_socket_send_buffer_size(&socket, SEND_BUFFER_BYTES);
    let tls = server.guard.as_ref().and_then(|guard| guard.web_config().tls.clone());
    let answer = |request| {
        let server = Arc::clone(&server);
        async move { server.answer(request, client).await }
    };
    let Some(tls) = tls else {
        return http1(socket, &slot, server.timeouts, answer).await;
    };
    let accepted = tokio::select! {
        accepted = tls::accept(socket, tls, server.timeouts, &slot.phase, (&server.handshakes, client)) => accepted,
        () = slot.leave.cancelled() => return,
    };
    match accepted {
        Accepted::Nothing => {}
        Accepted::Plain(socket) => {
            http1(socket, &slot, server.timeouts, |_| ready(tls::plain_refused())).await;
        }
        Accepted::Http1(socket) => http1(socket, &slot, server.timeouts, answer).await,
        Accepted::Http2(socket) => http2(socket, &slot, server.timeouts, answer).await,
    }
}

async fn http1<F: Future<Output = Response<Body>>>(
    socket: impl AsyncRead + AsyncWrite + Unread + Unpin,
    slot: &ConnectionSlot,
    timeouts: ClientTimeouts,
    answer: impl Fn(Request<Incoming>) -> F,
) {
    let phase = &slot.phase;
    let service = service_fn(|request: Request<Incoming>| {
        phase.requested(!request.body().is_end_stream());
        let response = answer(request);
        async move {
            let mut response = response.await;
            response.body_mut().send_on_connection(Arc::clone(phase), &slot.holder);
            Ok::<_, Infallible>(response)
        }
    });
    let socket = TokioIo::new(TimeoutStream::new(socket, timeouts, Arc::clone(phase)));
    let served = http1::Builder::new()
        .max_buf_size(MAX_HEAD_BYTES as usize)
        .half_close(true)
        .serve_connection(socket, service);
    finish(served, slot, http1::Connection::graceful_shutdown).await;
}

async fn http2<F: Future<Output = Response<Body>> + Send + 'static>(
    socket: TlsStream<TcpStream>,
    slot: &ConnectionSlot,
    timeouts: ClientTimeouts,
    answer: impl Fn(Request<Incoming>) -> F,
) {
    let streams = Streams::new(Arc::clone(&slot.phase));
    let service = service_fn(|request: Request<Incoming>| {
        let (stream, response, holder) = (streams.open(), answer(request), slot.holder.clone());
        async move {
            let mut response = response.await;
            response.body_mut().send_on_stream(stream, &holder);
            Ok::<_, Infallible>(response)
        }
    });
    let served = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEAD_BYTES)
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .initial_stream_window_size(BODY_WINDOW_BYTES)
        .initial_connection_window_size(BODY_WINDOW_BYTES)
        .keep_alive_interval(timeouts.write)
        .keep_alive_timeout(timeouts.write)
        .serve_connection(TokioIo::new(socket), service);
    tokio::select! {
        () = finish(served, slot, http2::Connection::graceful_shutdown) => {}
        () = streams.overdue(timeouts) => tracing::debug!("a client took too long over HTTP/2"),
    }
}

/// Serves a connection until it ends or is told to leave.
async fn finish<C: Future<Output = hyper::Result<()>>>(
    served: C,
    slot: &ConnectionSlot,
    graceful_shutdown: impl Fn(Pin<&mut C>),
) {
    tokio::pin!(served);
    let ended = tokio::select! {
        ended = &mut served => ended,
        () = slot.leave.cancelled() => match drain_pending_reads(served.as_mut(), &slot.phase).await {
            Some(ended) => ended,
            // The client is idle or has sent only a part of a head. If a request arrived just in time, it is answered below.
            None if !slot.phase.is_answering() => return,
            None => {
                graceful_shutdown(served.as_mut());
                served.await
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// Reads the bytes that have already arrived, so that a request among them is not reset. Returns how the connection ended, if
/// it did.
async fn drain_pending_reads<C: Future>(
    mut served: Pin<&mut C>,
    phase: &ConnectionPhase,
) -> Option<C::Output> {
    phase.start_leaving();
    poll_fn(|cx| match served.as_mut().poll(cx) {
        Poll::Ready(ended) => Poll::Ready(Some(ended)),
        Poll::Pending if phase.has_unread() && !phase.is_answering() => Poll::Pending,
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::{IpAddr, Ipv4Addr, TcpStream as Client},
        time::Duration,
    };

    use http::StatusCode;
    use tokio::{net::TcpListener, time::timeout};
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::web::connections::Connections;
    use crate::web::response;

    const MINUTE: Duration = Duration::from_mins(1);

    #[tokio::test]
    async fn a_request_that_has_come_is_answered_though_its_connection_is_to_make_room() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        // tokio picks at random whether the connection reads its socket or is told to leave first.
        for _ in 0..16 {
            let mut client = Client::connect(listener.local_addr().unwrap()).unwrap();
            client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
            client.set_read_timeout(Some(MINUTE)).unwrap();
            let slot = Connections::new(1, &CancellationToken::new())
                .slot(IpAddr::from(Ipv4Addr::LOCALHOST).into())
                .await;
            let timeouts = ClientTimeouts { idle: MINUTE, head: MINUTE, write: MINUTE };
            let (socket, _) = listener.accept().await.unwrap();
            // The runtime has not been notified of the request yet.
            slot.leave.cancel();
            let answer =
                |_| ready(response::response(StatusCode::OK, super::super::media_type::TEXT, "here\n"));
            timeout(MINUTE, http1(socket, &slot, timeouts, answer)).await.unwrap();
            let mut answer = String::new();
            client.read_to_string(&mut answer).unwrap();
            assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("here\n"), "{answer}");
        }
    }
}
