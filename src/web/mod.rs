//! The HTTP server: TLS, passwords, routes, limits against rude clients, graceful stop. It knows nothing of Pinpoint or of metrics.

mod body;
mod coding;
mod connections;
mod guard;
mod passwords;
mod patience;
mod routes;
mod streams;
mod tls;

use std::{
    convert::Infallible,
    future::{Future, pending, ready},
    io,
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as _;
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustix::{io::Errno, net::sockopt};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};
use tokio_rustls::server::TlsStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    body::{Carrier, Chunks},
    connections::{Connections, Place},
    guard::Guard,
    patience::Patient,
    streams::Streams,
    tls::Accepted,
};
pub use self::{patience::Patience, routes::ScrapeTimeout};
use crate::web_config::Watched;

/// What the server serves.
pub trait Exporter: Send + Sync + 'static {
    /// The exposition, as chunks to be sent one after the other: refreshes what is due, waits for it at most `wait`, and
    /// answers with what is there then. With `gzip` the chunks together are one gzip stream.
    fn scrape(&self, wait: Duration, gzip: bool) -> impl Future<Output = Vec<Bytes>> + Send;

    /// The status page in HTML, of what a query asks for; `Err` with a page that says what is wrong with the query.
    fn page(&self, query: &str) -> Result<String, String>;

    /// The `Content-Security-Policy` of the page.
    fn page_policy(&self) -> &'static str;

    /// The jobs in JSON, of what a query asks for; `Err` with an object that says what is wrong with the query.
    fn jobs(&self, query: &str) -> Result<String, String>;

    /// The process is about to stop: every scrape that waits, or comes later, answers at once with what is there.
    fn stop_waiting(&self);

    /// Whether the first look for credentials has ended, either way.
    fn is_ready(&self) -> bool;
}

/// What clients may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How long they may take.
    pub patience: Patience,
    /// How many connections may be open.
    pub connections: usize,
    /// How long the answers in flight may take when the server stops.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            patience: Patience {
                // Longer than any sensible scrape interval, for Prometheus to keep its connection.
                idle: Duration::from_secs(330),
                head: Duration::from_secs(10),
                write: Duration::from_secs(30),
            },
            connections: 512,
            grace: Duration::from_secs(9),
        }
    }
}

/// The largest head of a request, and the memory that reading one may take.
const MAX_HEAD_BYTES: u32 = 16 * 1024;

/// What the kernel may hold of an answer. Left alone it takes 4 MiB for each client that does not read, and tells of room, which
/// is the progress of a client that reads slowly, in steps of a third of that.
const SEND_BUFFER_BYTES: usize = 128 * 1024;

/// How many requests a connection of HTTP/2 may have at once.
const MAX_STREAMS: u32 = 16;

/// What a client of HTTP/2 may send of bodies, which nobody reads: the least that the protocol allows.
const BODY_WINDOW_BYTES: u32 = 65_535;

/// How long the listener rests when it cannot accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// Serves until `shutdown`, and then finishes what is in flight. `web_config` says how the port is protected. `Err` if there is
/// no thread to look at passwords.
pub async fn serve(
    listener: TcpListener,
    exporter: Arc<impl Exporter>,
    scrape_timeout: ScrapeTimeout,
    limits: Limits,
    web_config: Option<Arc<Watched>>,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let (tasks, cut) = (TaskTracker::new(), CancellationToken::new());
    let _cut = cut.clone().drop_guard();
    let connections = Arc::new(Connections::default());
    let guard = web_config.clone().map(Guard::new).transpose()?.map(Arc::new);
    let server = Arc::new(Server { exporter, scrape_timeout, patience: limits.patience, guard });
    let accept = async {
        loop {
            match listener.accept().await {
                Ok((socket, client)) => {
                    if let Some(place) = connections.place(limits.connections) {
                        let connection = connection(socket, client.ip(), place, Arc::clone(&server));
                        tasks.spawn(cut.clone().run_until_cancelled_owned(connection));
                    } else {
                        tracing::debug!("refused a connection: all of {} are busy", limits.connections);
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "cannot accept a connection");
                    if let Some(Errno::MFILE | Errno::NFILE) = Errno::from_io_error(&error) {
                        connections.make_room();
                    }
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    };
    let watch = async {
        match web_config {
            Some(web_config) => web_config.watch().await,
            None => pending().await,
        }
    };
    tokio::select! {
        () = accept => {}
        () = watch => {}
        () = shutdown => {}
    }
    drop(listener);
    tracing::info!("stopping");
    server.exporter.stop_waiting();
    connections.leave();
    tasks.close();
    if timeout(limits.grace, tasks.wait()).await.is_err() {
        tracing::warn!(connections = tasks.len(), "some clients did not take their answer in time");
    }
    Ok(())
}

/// What all connections share.
struct Server<E> {
    exporter: Arc<E>,
    scrape_timeout: ScrapeTimeout,
    patience: Patience,
    guard: Option<Arc<Guard>>,
}

impl<E: Exporter> Server<E> {
    async fn answer(&self, request: Request<Incoming>, client: IpAddr) -> Response<Chunks> {
        let Some(guard) = &self.guard else {
            return routes::answer(request, Arc::clone(&self.exporter), self.scrape_timeout).await;
        };
        let mut response = match guard.admit(request.headers(), client).await {
            Ok(()) => routes::answer(request, Arc::clone(&self.exporter), self.scrape_timeout).await,
            Err(refusal) => refusal,
        };
        guard.dress(response.headers_mut());
        response
    }
}

/// Serves a connection to its end.
async fn connection<E: Exporter>(socket: TcpStream, client: IpAddr, place: Place, server: Arc<Server<E>>) {
    // An answer must not wait for the client to acknowledge the one before it.
    _ = socket.set_nodelay(true);
    _ = sockopt::set_socket_send_buffer_size(&socket, SEND_BUFFER_BYTES);
    let tls = server.guard.as_ref().and_then(|guard| guard.web_config().tls.clone());
    let answer = |request| {
        let server = Arc::clone(&server);
        async move { server.answer(request, client).await }
    };
    let Some(tls) = tls else {
        return http1(socket, &place, server.patience, answer).await;
    };
    let accepted = tokio::select! {
        accepted = tls::accept(socket, tls, server.patience, &place.phase) => accepted,
        () = place.leave.cancelled() => return,
    };
    match accepted {
        Accepted::Nothing => {}
        Accepted::Plain(socket) => {
            http1(socket, &place, server.patience, |_| ready(tls::plain_refused())).await;
        }
        Accepted::Http1(socket) => http1(socket, &place, server.patience, answer).await,
        Accepted::Http2(socket) => http2(socket, &place, server.patience, answer).await,
    }
}

async fn http1<F: Future<Output = Response<Chunks>>>(
    socket: impl AsyncRead + AsyncWrite + Unpin,
    place: &Place,
    patience: Patience,
    answer: impl Fn(Request<Incoming>) -> F,
) {
    let phase = &place.phase;
    let service = service_fn(|request: Request<Incoming>| {
        phase.requested(!request.body().is_end_stream());
        let response = answer(request);
        async move {
            let mut response = response.await;
            response.body_mut().carrier = Some(Carrier::Connection(Arc::clone(phase)));
            Ok::<_, Infallible>(response)
        }
    });
    let socket = TokioIo::new(Patient::new(socket, patience, Arc::clone(phase)));
    let served = http1::Builder::new()
        .max_buf_size(MAX_HEAD_BYTES as usize)
        .half_close(true)
        .serve_connection(socket, service);
    finish(served, place, http1::Connection::graceful_shutdown).await;
}

async fn http2<F: Future<Output = Response<Chunks>> + Send + 'static>(
    socket: TlsStream<TcpStream>,
    place: &Place,
    patience: Patience,
    answer: impl Fn(Request<Incoming>) -> F,
) {
    let streams = Streams::new(Arc::clone(&place.phase));
    let service = service_fn(|request: Request<Incoming>| {
        let (stream, response) = (streams.open(), answer(request));
        async move {
            let mut response = response.await;
            response.body_mut().carrier = Some(Carrier::Stream(stream));
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
        .keep_alive_interval(patience.write)
        .keep_alive_timeout(patience.write)
        .serve_connection(TokioIo::new(socket), service);
    tokio::select! {
        () = finish(served, place, http2::Connection::graceful_shutdown) => {}
        () = streams.overdue(patience) => tracing::debug!("a client took too long over HTTP/2"),
    }
}

/// Serves a connection to its end, or until it is to leave.
async fn finish<C: Future<Output = hyper::Result<()>>>(
    served: C,
    place: &Place,
    graceful_shutdown: impl Fn(Pin<&mut C>),
) {
    tokio::pin!(served);
    let ended = tokio::select! {
        ended = &mut served => ended,
        () = place.leave.cancelled() => {
            // Also when it has sent half a head. A request that came in the nick of time is answered.
            if !place.phase.is_answering() {
                return;
            }
            graceful_shutdown(served.as_mut());
            served.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}
