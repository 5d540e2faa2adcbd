//! The HTTP server: routes, limits against rude clients, graceful stop. It knows nothing of Pinpoint or of metrics.

mod body;
mod coding;
mod connections;
mod patience;
mod routes;

use std::{convert::Infallible, future::Future, sync::Arc, time::Duration};

use bytes::Bytes;
use http::Request;
use http_body::Body as _;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use rustix::{io::Errno, net::sockopt};
use tokio::{
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    connections::{Connections, Place},
    patience::Patient,
};
pub use self::{patience::Patience, routes::ScrapeTimeout};

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
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// What the kernel may hold of an answer. Left alone it takes 4 MiB for each client that does not read, and tells of room, which
/// is the progress of a client that reads slowly, in steps of a third of that.
const SEND_BUFFER_BYTES: usize = 128 * 1024;

/// How long the listener rests when it cannot accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// Serves until `shutdown`, and then finishes what is in flight.
pub async fn serve(
    listener: TcpListener,
    exporter: Arc<impl Exporter>,
    scrape_timeout: ScrapeTimeout,
    limits: Limits,
    shutdown: impl Future<Output = ()>,
) {
    let (tasks, cut) = (TaskTracker::new(), CancellationToken::new());
    let _cut = cut.clone().drop_guard();
    let connections = Arc::new(Connections::default());
    let accept = async {
        loop {
            match listener.accept().await {
                Ok((socket, _)) => {
                    if let Some(place) = connections.place(limits.connections) {
                        let exporter = Arc::clone(&exporter);
                        let connection = connection(socket, place, exporter, scrape_timeout, limits.patience);
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
    tokio::select! {
        () = accept => {}
        () = shutdown => {}
    }
    drop(listener);
    tracing::info!("stopping");
    exporter.stop_waiting();
    connections.leave();
    tasks.close();
    if timeout(limits.grace, tasks.wait()).await.is_err() {
        tracing::warn!(connections = tasks.len(), "some clients did not take their answer in time");
    }
}

/// Serves a connection to its end.
async fn connection(
    socket: TcpStream,
    place: Place,
    exporter: Arc<impl Exporter>,
    scrape_timeout: ScrapeTimeout,
    patience: Patience,
) {
    // An answer must not wait for the client to acknowledge the one before it.
    _ = socket.set_nodelay(true);
    _ = sockopt::set_socket_send_buffer_size(&socket, SEND_BUFFER_BYTES);
    let phase = &place.phase;
    let service = service_fn(|request: Request<Incoming>| {
        phase.requested(!request.body().is_end_stream());
        let exporter = Arc::clone(&exporter);
        async move {
            let mut response = routes::answer(request, exporter, scrape_timeout).await;
            response.body_mut().phase = Some(Arc::clone(phase));
            Ok::<_, Infallible>(response)
        }
    });
    let socket = TokioIo::new(Patient::new(socket, patience, Arc::clone(phase)));
    let served =
        http1::Builder::new().max_buf_size(MAX_HEAD_BYTES).half_close(true).serve_connection(socket, service);
    tokio::pin!(served);
    let ended = tokio::select! {
        ended = &mut served => ended,
        () = place.leave.cancelled() => {
            // Also when it has sent half a head. A request that came in the nick of time is answered.
            if !phase.is_answering() {
                return;
            }
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}
