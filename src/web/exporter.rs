//! What the server serves.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;

/// What the server serves.
pub trait Exporter: Send + Sync + 'static {
    /// The exposition, as chunks to be sent one after the other: refreshes what is due, waits for it at most `wait` and until
    /// `hurry` resolves, and answers with what is there then. With `gzip` the chunks together are one gzip stream.
    fn scrape(
        &self,
        wait: Duration,
        hurry: impl Future<Output = ()> + Send,
        gzip: bool,
    ) -> impl Future<Output = Vec<Bytes>> + Send;

    /// The status page in HTML, of what a query asks for; `Err` with a page that says what is wrong with the query.
    fn page(&self, query: &str) -> Result<String, String>;

    /// The `Content-Security-Policy` of the page.
    fn page_policy(&self) -> &'static str;

    /// The jobs in JSON, of what a query asks for; `Err` with an object that says what is wrong with the query.
    fn jobs(&self, query: &str) -> Result<String, String>;

    /// A document as one gzip stream, in chunks.
    fn gzip(&self, document: String) -> Vec<Bytes>;

    /// The process is about to stop: every scrape that waits, or comes later, answers at once with what is there.
    fn stop_waiting(&self);

    /// Whether the first look for credentials has ended, either way.
    fn is_ready(&self) -> bool;

    /// How many connections to AWS there may be at once. Clients leave file descriptors for them.
    fn connections_to_aws(&self) -> watch::Receiver<usize>;
}
