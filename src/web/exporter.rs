//! The interface between the server and what it serves.

use std::{fmt, time::Duration};

use bytes::Bytes;
use tokio::sync::watch;

/// The content of a response.
#[derive(Debug)]
pub enum Content {
    /// Consecutive chunks that are in memory.
    Chunks(Vec<Bytes>),
    Rendered(RenderedText),
}

/// Text that is rendered piece by piece while it is sent.
pub struct RenderedText {
    pub pieces: Box<dyn Iterator<Item = Bytes> + Send>,
    /// The length of all pieces.
    pub length: usize,
    /// The address of the values that the text is rendered from, and the memory that they take.
    pub source: (usize, usize),
}

impl fmt::Debug for RenderedText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RenderedText").field("length", &self.length).finish_non_exhaustive()
    }
}

impl From<Vec<Bytes>> for Content {
    fn from(chunks: Vec<Bytes>) -> Self {
        Self::Chunks(chunks)
    }
}

/// What the server serves.
pub trait Exporter: Send + Sync + 'static {
    /// Returns the exposition. It refreshes the data that are due and waits for them until `wait` has passed or `answer_now`
    /// resolves. Then it returns the data that are cached. If there is nothing to wait for, it does not poll `answer_now`. With
    /// `gzip`, the content is one gzip stream.
    fn scrape(
        &self,
        wait: Duration,
        answer_now: impl Future<Output = ()> + Send,
        gzip: bool,
    ) -> impl Future<Output = Content> + Send;

    /// The status page in HTML, for a query string. The error is a page that says what is wrong with the query.
    fn page(&self, query: &str) -> Result<String, String>;

    /// The `Content-Security-Policy` of the page.
    fn page_policy(&self) -> &'static str;

    /// The jobs in JSON, for a query string. The error is an object that says what is wrong with the query.
    fn jobs(&self, query: &str) -> Result<String, String>;

    /// Compresses a document into one gzip stream, in chunks.
    fn gzip(&self, document: String) -> Vec<Bytes>;

    /// Announces that the process is about to stop. From then on, every scrape returns cached data at once.
    fn stop_waiting(&self);

    /// Whether the first attempt to get credentials has ended, with or without success.
    fn is_ready(&self) -> bool;

    /// The maximum number of simultaneous requests to AWS. The server leaves file descriptors for their connections.
    fn requests_to_aws(&self) -> watch::Receiver<usize>;
}
