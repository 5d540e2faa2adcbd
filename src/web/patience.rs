//! How long a client may take: to begin a request, to finish its head, to take an answer. A wrapper around the socket, since
//! hyper's own limit cannot tell a connection that rests between two scrapes from one that sends a byte a second.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    sync::atomic::{AtomicU64, Ordering},
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

/// How long a client may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For a connection to rest between requests, or before the first.
    pub idle: Duration,
    /// For the head of a request, from its first byte.
    pub head: Duration,
    /// For an answer to make any progress.
    pub write: Duration,
}

/// What a connection is doing, and for which of its requests: a number, of which the last two bits are the doing. So the
/// time for one head is never that of another, however closely they follow each other.
#[derive(Debug, Default)]
pub(super) struct Phase(AtomicU64);

const RESTING: u64 = 0;
const HEAD: u64 = 1;
const ANSWERING: u64 = 2;
const DOING: u64 = 3;

impl Phase {
    /// A request's head is complete.
    pub(super) fn requested(&self) {
        let now = self.0.load(Ordering::Acquire);
        self.0.store((now & !DOING) | ANSWERING, Ordering::Release);
    }

    /// Its answer is on the way, whole: what comes next is another request.
    pub(super) fn answered(&self) {
        let now = self.0.load(Ordering::Acquire);
        self.0.store((now | DOING).wrapping_add(1), Ordering::Release);
    }

    /// Bytes came. Those of a new request begin its head; later ones do not gain it more time.
    fn received(&self) {
        let now = self.0.load(Ordering::Acquire);
        if now & DOING == RESTING {
            self.0.store(now | HEAD, Ordering::Release);
        }
    }

    /// Whether there is a request that wants an answer.
    pub(super) fn is_answering(&self) -> bool {
        self.0.load(Ordering::Acquire) & DOING == ANSWERING
    }
}

/// A socket whose client must not take too long.
#[derive(Debug)]
pub(super) struct Patient<T> {
    inner: T,
    patience: Patience,
    phase: Arc<Phase>,
    /// Ends the wait for what is to be read, in the phase it was set for.
    read_deadline: Option<(u64, Pin<Box<Sleep>>)>,
    write_deadline: Option<Pin<Box<Sleep>>>,
}

impl<T> Patient<T> {
    pub(super) fn new(inner: T, patience: Patience, phase: Arc<Phase>) -> Self {
        Self { inner, patience, phase, read_deadline: None, write_deadline: None }
    }

    /// Fails when the client has taken too long over what it is doing.
    fn poll_read_deadline(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let phase = self.phase.0.load(Ordering::Acquire);
        let limit = match phase & DOING {
            RESTING => self.patience.idle,
            HEAD => self.patience.head,
            _ => {
                self.read_deadline = None;
                return Poll::Pending;
            }
        };
        let deadline = match &mut self.read_deadline {
            Some((set_for, deadline)) if *set_for == phase => deadline,
            other => &mut other.insert((phase, Box::pin(sleep(limit)))).1,
        };
        ready!(deadline.as_mut().poll(cx));
        Poll::Ready(io::Error::new(io::ErrorKind::TimedOut, "the client took too long to send a request"))
    }

    /// Wraps the result of a write: waiting for the client is bounded, progress resets the bound.
    fn bounded<R>(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<R>>) -> Poll<io::Result<R>> {
        if result.is_ready() {
            self.write_deadline = None;
            return result;
        }
        let limit = self.patience.write;
        ready!(self.write_deadline.get_or_insert_with(|| Box::pin(sleep(limit))).as_mut().poll(cx));
        let error = io::Error::new(io::ErrorKind::TimedOut, "the client took too long to take an answer");
        Poll::Ready(Err(error))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Patient<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let filled = buffer.filled().len();
        if let Poll::Ready(result) = Pin::new(&mut self.inner).poll_read(cx, buffer) {
            if buffer.filled().len() > filled {
                self.phase.received();
            }
            // A client that sends all the time never makes the socket wait.
            return match self.poll_read_deadline(cx) {
                Poll::Ready(error) if result.is_ok() => Poll::Ready(Err(error)),
                _ => Poll::Ready(result),
            };
        }
        self.poll_read_deadline(cx).map(Err)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Patient<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.bounded(cx, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.inner).poll_write_vectored(cx, bytes);
        self.bounded(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.inner).poll_flush(cx);
        self.bounded(cx, result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.inner).poll_shutdown(cx);
        self.bounded(cx, result)
    }
}
