//! Limits how long a client may take to begin a request, to finish its head and to read a response. The limits are set on a
//! wrapper around the socket. hyper's own limit cannot tell a connection that is idle between two scrapes from one that sends a
//! byte a second.

use std::{
    io,
    mem::MaybeUninit,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    connection_phase::{ConnectionPhase, HEAD, IDLE, Unread},
    deadline::Deadline,
    refusal,
};

/// How long a client may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientTimeouts {
    /// For how long a connection may be idle before the first request or between requests.
    pub idle: Duration,
    /// How long the head of a request may take from its first byte.
    pub head: Duration,
    /// How far a client may be behind in reading responses. A client falls behind while it reads nothing, or reads below a
    /// minimum rate averaged over the connection's life.
    pub write: Duration,
}

/// How many bytes the server reads and discards, and for how long, before it closes a connection. Closing with unread bytes
/// would reset the connection, and the client would lose the rest of its response.
const LINGER_BYTES: usize = 256 * 1024;
const LINGER: Duration = Duration::from_secs(1);

/// What remains of these limits.
#[derive(Debug)]
struct LingeringClose {
    bytes: usize,
    deadline: Deadline,
}

const REQUEST: &str = "to send a request";

/// A socket that enforces [`ClientTimeouts`].
#[derive(Debug)]
pub(super) struct TimeoutStream<T> {
    inner: T,
    timeouts: ClientTimeouts,
    phase: Arc<ConnectionPhase>,
    /// The deadline for the next read, and the phase that it was set for.
    read_deadline: (u8, Deadline),
    write_deadline: Deadline,
    /// Whether the client is behind in reading responses, as of the last write.
    is_behind: bool,
    /// Set once the write side is shut down.
    lingering_close: Option<LingeringClose>,
    /// The beginning of the last request.
    head: Vec<u8>,
    /// What is left to send of a refusal that replaces hyper's.
    refusal: Option<Bytes>,
}

/// How many bytes of a head are kept to explain what is wrong with it.
const KEPT_HEAD_BYTES: usize = 2 * 1024;

impl<T> TimeoutStream<T> {
    pub(super) fn new(inner: T, timeouts: ClientTimeouts, phase: Arc<ConnectionPhase>) -> Self {
        let (read_deadline, write_deadline) = Default::default();
        Self {
            inner,
            timeouts,
            phase,
            read_deadline,
            write_deadline,
            is_behind: false,
            lingering_close: None,
            head: Vec::new(),
            refusal: None,
        }
    }

    /// The deadline for the current phase.
    fn read_deadline(&mut self) -> &mut Deadline {
        let phase = self.phase.current();
        let (set_for, deadline) = &mut self.read_deadline;
        if std::mem::replace(set_for, phase) != phase {
            deadline.clear();
        }
        match phase {
            IDLE => deadline.begin(self.timeouts.idle),
            HEAD => deadline.begin(self.timeouts.head),
            _ => {}
        }
        deadline
    }

    /// Applies the limit on how far a client may be behind to the result of a write. `taken` gives the number of bytes written.
    fn bounded<R: Copy>(
        &mut self,
        cx: &mut Context<'_>,
        result: Poll<io::Result<R>>,
        taken: impl Fn(R) -> usize,
    ) -> Poll<io::Result<R>> {
        if let Poll::Ready(result) = result {
            if self.is_behind {
                self.write_deadline.clear();
                self.is_behind = !self.phase.take(result.as_ref().map_or(0, |done| taken(*done))).is_zero();
            }
            return Poll::Ready(result);
        }
        self.is_behind = true;
        self.phase.block();
        self.write_deadline.begin(self.timeouts.write.saturating_sub(self.phase.behind()));
        self.write_deadline.poll_over(cx).map(|()| Err(too_long("to read its responses")))
    }
}

/// The number of bytes for a flush or shutdown, which writes none of its own.
fn nothing((): ()) -> usize {
    0
}

fn too_long(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("the client took too long {what}"))
}

impl<T: AsyncRead + Unread + Unpin> AsyncRead for TimeoutStream<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let filled = buffer.filled().len();
        if let Poll::Ready(result) = Pin::new(&mut self.inner).poll_read(cx, buffer) {
            let new = &buffer.filled()[filled..];
            if !self.phase.is_answering() {
                if self.phase.current() == IDLE {
                    self.head.clear();
                }
                let room = KEPT_HEAD_BYTES.saturating_sub(self.head.len()).min(new.len());
                self.head.extend_from_slice(&new[..room]);
            }
            // These are the first bytes of a request, so the deadline for idle connections no longer applies. Later bytes do
            // not extend the deadline for the head.
            if buffer.filled().len() > filled && self.phase.transition(IDLE, HEAD) {
                self.read_deadline.1.clear();
            }
            // A client that sends without a pause never makes the read wait, so the deadline is checked here too.
            let is_over = self.read_deadline().is_over();
            return Poll::Ready(result.and_then(|()| if is_over { Err(too_long(REQUEST)) } else { Ok(()) }));
        }
        if self.phase.is_leaving.load(Ordering::Relaxed) {
            self.phase.unread.store(self.inner.has_unread(), Ordering::Relaxed);
        }
        self.read_deadline().poll_over(cx).map(|()| Err(too_long(REQUEST)))
    }
}

impl<T: AsyncWrite + Unpin> TimeoutStream<T> {
    /// Replaces the refusal that hyper writes when it cannot parse a request by one that gives the reason. hyper writes its
    /// refusal in a single call. `None` if `bytes` is no refusal.
    fn poll_refusal(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Option<Poll<io::Result<usize>>> {
        if self.phase.is_answering() {
            return None;
        }
        if self.refusal.is_none() {
            self.refusal = Some(refusal::with_reason(bytes, &self.head)?.into());
        }
        let refusal = self.refusal.as_mut()?;
        while refusal.has_remaining() {
            match Pin::new(&mut self.inner).poll_write(cx, refusal) {
                Poll::Ready(Ok(written)) if written > 0 => refusal.advance(written),
                Poll::Pending => return Some(self.bounded(cx, Poll::Pending, |taken| taken)),
                result @ Poll::Ready(_) => return Some(result),
            }
        }
        self.refusal = None;
        Some(self.bounded(cx, Poll::Ready(Ok(bytes.len())), |taken| taken))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TimeoutStream<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if let Some(refused) = self.poll_refusal(cx, bytes) {
            return refused;
        }
        let result = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.bounded(cx, result, |taken| taken)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let [only] = bytes
            && let Some(refused) = self.poll_refusal(cx, only)
        {
            return refused;
        }
        let result = Pin::new(&mut self.inner).poll_write_vectored(cx, bytes);
        self.bounded(cx, result, |taken| taken)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.inner).poll_flush(cx);
        // hyper flushes when it has nothing left to write. It may already wait for the next request and not read again, so this
        // starts the deadline for that request.
        if matches!(result, Poll::Ready(Ok(()))) && self.phase.written() {
            _ = self.read_deadline().poll_over(cx);
        }
        self.bounded(cx, result, nothing)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.lingering_close.is_none() {
            let result = Pin::new(&mut this.inner).poll_shutdown(cx);
            ready!(this.bounded(cx, result, nothing))?;
            if !this.phase.may_be_sending() {
                return Poll::Ready(Ok(()));
            }
        }
        let lingering_close = this
            .lingering_close
            .get_or_insert_with(|| LingeringClose { bytes: LINGER_BYTES, deadline: Deadline::default() });
        lingering_close.deadline.begin(LINGER);
        let mut scratch = [MaybeUninit::uninit(); 8 * 1024];
        loop {
            let mut buffer = ReadBuf::uninit(&mut scratch);
            let Poll::Ready(result) = Pin::new(&mut this.inner).poll_read(cx, &mut buffer) else {
                return lingering_close.deadline.poll_over(cx).map(Ok);
            };
            let read = buffer.filled().len();
            lingering_close.bytes = lingering_close.bytes.saturating_sub(read);
            if result.is_err() || read == 0 || lingering_close.bytes == 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        time::{sleep, timeout},
    };

    use super::*;
    use tokio::time::Instant;

    impl Unread for tokio::io::DuplexStream {
        fn has_unread(&self) -> bool {
            false
        }
    }

    /// Like hyper, the test does not read again before it is woken.
    #[tokio::test(start_paused = true)]
    async fn a_wait_that_began_before_the_answer_was_written_is_bounded_from_then() {
        let timeouts = ClientTimeouts {
            idle: Duration::from_secs(5),
            head: Duration::from_secs(1),
            write: Duration::from_secs(1),
        };
        let phase = Arc::new(ConnectionPhase::default());
        let (near, _far) = tokio::io::duplex(1);
        let mut socket = TimeoutStream::new(near, timeouts, Arc::clone(&phase));
        phase.requested(true);
        phase.answered();
        let mut flushed = false;
        let mut byte = [0];
        let waited = poll_fn(|cx| {
            let result = Pin::new(&mut socket).poll_read(cx, &mut ReadBuf::new(&mut byte));
            if !flushed {
                flushed = true;
                assert!(result.is_pending() && phase.is_answering());
                assert!(Pin::new(&mut socket).poll_flush(cx).is_ready());
                assert!(!phase.is_answering());
            }
            result
        });
        let started = Instant::now();
        let waited = timeout(4 * timeouts.idle, waited).await.expect("somebody wakes it");
        assert_eq!(waited.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(started.elapsed(), timeouts.idle);
    }

    /// How long a connection lasts if its client reads `bytes_per_second`. The server sends responses of `answer` bytes one
    /// after the other.
    async fn lasts(bytes_per_second: usize, answer: usize) -> Option<Duration> {
        let minute = Duration::from_mins(1);
        let timeouts = ClientTimeouts { idle: minute, head: minute, write: minute / 2 };
        let phase = Arc::new(ConnectionPhase::default());
        let (near, mut far) = tokio::io::duplex(4 * 1024);
        let client = async move {
            let mut taken = vec![0; bytes_per_second];
            loop {
                sleep(Duration::from_secs(1)).await;
                far.read_exact(&mut taken).await.unwrap();
            }
        };
        let mut socket = TimeoutStream::new(near, timeouts, Arc::clone(&phase));
        let started = Instant::now();
        let server = async {
            loop {
                phase.requested(false);
                socket.write_all(&vec![b'#'; answer]).await?;
                phase.answered();
                socket.flush().await?;
            }
        };
        let error: io::Error = tokio::select! {
            () = client => return None,
            result = timeout(3 * minute, server) => match result {
                Ok(result) => { let result: Result<(), _> = result; result.unwrap_err() }
                Err(_) => return None,
            },
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        Some(started.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_its_answers_too_slowly_is_cut_however_small_they_are() {
        for answer in [1_000, 50_000, 10_000_000] {
            let lasted = lasts(8 * 1024, answer).await.expect("it is cut");
            assert!((55..70).contains(&lasted.as_secs()), "{answer}: {lasted:?}");
            assert_eq!(lasts(32 * 1024, answer).await, None, "{answer}");
        }
    }
}
