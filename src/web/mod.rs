//! The HTTP server: TLS, passwords, routes, limits against rude clients, graceful stop. It knows nothing of Pinpoint or of metrics.

mod body;
mod coding;
mod connection;
mod connections;
mod deadline;
mod guard;
mod passwords;
mod patience;
mod routes;
mod streams;
mod tls;

use std::{future::Future, io, sync::Arc, time::Duration};

use bytes::Bytes;
use rustix::io::Errno;
use tokio::{
    net::TcpListener,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    connection::{Server, connection},
    connections::Connections,
    guard::Guard,
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
    let guard = web_config.map(Guard::new).transpose()?;
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
    tokio::select! {
        () = accept => {}
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
