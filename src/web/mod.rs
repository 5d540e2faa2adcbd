//! The HTTP server: routes, limits against rude clients, graceful stop. It knows nothing of Pinpoint or of metrics.

use std::{future::Future, time::Duration};

use bytes::Bytes;

/// What the server serves.
pub trait Exporter: Send + Sync + 'static {
    /// The exposition, as chunks to be sent one after the other: refreshes what is due, waits for it at most `wait`, and
    /// answers with what is there then. With `gzip` the chunks together are one gzip stream.
    fn scrape(&self, wait: Duration, gzip: bool) -> impl Future<Output = Vec<Bytes>> + Send;

    /// The process is about to stop: every scrape that waits, or comes later, answers at once with what is there.
    fn stop_waiting(&self);

    /// Whether the first look for credentials has ended, either way.
    fn is_ready(&self) -> bool;
}
