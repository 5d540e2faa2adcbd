//! The HTTP server: TLS, passwords, routes, limits on what clients may use, and graceful shutdown. It depends on neither
//! Pinpoint nor the metrics.

mod access_control;
mod body;
mod client_address;
mod client_timeouts;
pub mod config;
mod connection;
mod connection_phase;
mod connections;
mod content_coding;
mod deadline;
mod exporter;
mod handshakes;
mod malformed;
mod media_type;
mod passwords;
mod read_lag;
mod refusal;
mod response;
mod responses_in_flight;
mod routes;
mod streams;
mod tls;
mod waiting_scrapes;

use std::{
    future::{Future, pending},
    io,
    sync::Arc,
    time::Duration,
};

use rustix::{
    io::Errno,
    process::{Resource, getrlimit},
};
use tokio::{
    net::TcpListener,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use self::{
    client_timeouts::ClientTimeouts,
    exporter::{Content, Exporter, RenderedText},
    routes::ScrapeTimeout,
};

use self::{
    access_control::AccessControl,
    config::WatchedWebConfig,
    connection::{Server, connection},
    connections::Connections,
    handshakes::FailedHandshakes,
    waiting_scrapes::WaitingScrapes,
};

/// Limits on what clients may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub timeouts: ClientTimeouts,
    /// The most open connections. The limit is lower if the process may not open enough file descriptors.
    pub connections: usize,
    /// How long responses in flight may take when the server stops.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            timeouts: ClientTimeouts {
                // This is longer than any usual scrape interval, so that Prometheus keeps its connection.
                idle: Duration::from_secs(330),
                head: Duration::from_secs(10),
                write: Duration::from_secs(30),
            },
            connections: MAX_CONNECTIONS,
            grace: Duration::from_secs(9),
        }
    }
}

/// The most open connections if the process may open enough file descriptors.
const MAX_CONNECTIONS: usize = 512;

/// File descriptors that the process needs beside the connections to clients and to AWS. They are for the standard streams, the
/// listener, the runtime, open files, credential sources and connections that are about to close.
const OTHER_DESCRIPTORS: usize = 24;

/// The most client connections for a process that may open `descriptors` file descriptors (`ulimit -n`). The others are
/// reserved for the connections of `to_aws` simultaneous requests to AWS, for files and for the log. Clients always keep a
/// quarter of all descriptors.
fn connections(descriptors: Option<u64>, to_aws: usize) -> usize {
    let descriptors = descriptors.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX));
    // A request that finds no idle connection opens one. If another becomes idle first, the request takes that one, and the
    // HTTP client keeps both.
    let left = descriptors.saturating_sub(OTHER_DESCRIPTORS).saturating_sub(to_aws.saturating_mul(2));
    left.max(descriptors / 4).clamp(1, MAX_CONNECTIONS)
}

/// How long the server waits after it fails to accept a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// Serves until `shutdown` resolves, and then finishes the responses in flight. `web_config` sets TLS, passwords and the rate
/// limit. Returns an error if the threads that verify passwords cannot start.
pub async fn serve(
    listener: TcpListener,
    exporter: Arc<impl Exporter>,
    scrape_timeout: ScrapeTimeout,
    limits: Limits,
    web_config: Option<Arc<WatchedWebConfig>>,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let (tasks, cut) = (TaskTracker::new(), CancellationToken::new());
    let _cut = cut.clone().drop_guard();
    let mut to_aws = exporter.requests_to_aws();
    let descriptors = getrlimit(Resource::Nofile).current;
    let limit = |to_aws| connections(descriptors, to_aws).min(limits.connections);
    let connections = Connections::new(limit(*to_aws.borrow_and_update()), &cut);
    // The other connections stay free for health checks and for scrapes that need no refresh.
    let waiting = WaitingScrapes::new((connections.limit() / 4).max(1));
    let guard = web_config.map(AccessControl::new).transpose()?;
    let server = Arc::new(Server {
        exporter,
        scrape_timeout,
        timeouts: limits.timeouts,
        waiting,
        handshakes: FailedHandshakes::default(),
        guard,
    });
    let accept = async {
        loop {
            match listener.accept().await {
                Ok((socket, client)) => {
                    let client = client.ip().into();
                    let slot = connections.slot(client).await;
                    let cut = slot.cut.clone();
                    let connection = connection(socket, client, slot, Arc::clone(&server));
                    tasks.spawn(cut.run_until_cancelled_owned(connection));
                }
                Err(error) => {
                    tracing::debug!(%error, "cannot accept a connection");
                    if let Some(Errno::MFILE | Errno::NFILE) = Errno::from_io_error(&error) {
                        connections.evict_one();
                    }
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    };
    let leave_descriptors = async {
        while to_aws.changed().await.is_ok() {
            connections.set_limit(limit(*to_aws.borrow_and_update()));
        }
        pending::<()>().await;
    };
    tokio::select! {
        () = accept => {}
        () = leave_descriptors => {}
        () = shutdown => {}
    }
    drop(listener);
    tracing::info!("stopping");
    server.exporter.stop_waiting();
    connections.leave();
    tasks.close();
    if timeout(limits.grace, tasks.wait()).await.is_err() {
        tracing::warn!(
            connections = tasks.len(),
            "some clients had not read their response when the grace period ended"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_file_descriptors_for_aws_and_files() {
        for (descriptors, to_aws, expected) in [
            (None, 8, 512),
            (Some(1_048_576), 8, 512),
            (Some(1024), 8, 512),
            (Some(1024), 300, 400),
            (Some(1024), 100_000, 256),
            (Some(64), 8, 24),
            (Some(48), 8, 12),
            (Some(16), 8, 4),
            (Some(0), 8, 1),
            (Some(u64::MAX), usize::MAX, 512),
        ] {
            assert_eq!(connections(descriptors, to_aws), expected, "{descriptors:?} {to_aws}");
        }
    }
}
