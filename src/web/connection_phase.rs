//! The phase of a connection, and how long its client has kept the server waiting.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
    time::Duration,
};

use rustix::io::ioctl_fionread;
use tokio::{net::TcpStream, time::Instant};

use super::read_lag::ReadLag;

/// The phase of a connection.
#[derive(Debug)]
pub(super) struct ConnectionPhase {
    phase: AtomicU8,
    waits: Mutex<Waits>,
    /// Whether the last request had a body. hyper does not report how much of it was read.
    has_body: AtomicBool,
    /// Whether the connection was told to leave. From then on, each read also updates `unread`.
    pub(super) is_leaving: AtomicBool,
    /// Whether the kernel held unread bytes when the last read had to wait.
    pub(super) unread: AtomicBool,
}

/// What the server waits for.
#[derive(Debug)]
pub(super) struct Waits {
    /// When the wait for a request began.
    since: Instant,
    /// Whether this is the wait for the first request.
    is_first: bool,
    /// How far the client is behind in reading responses.
    read_lag: ReadLag,
}

impl Default for ConnectionPhase {
    fn default() -> Self {
        let waits = Waits { since: Instant::now(), is_first: true, read_lag: ReadLag::default() };
        let (phase, has_body, is_leaving, unread) = Default::default();
        Self { phase, waits: Mutex::new(waits), has_body, is_leaving, unread }
    }
}

/// The server has received no byte of the next request.
pub(super) const IDLE: u8 = 0;

/// The server has received a part of a request's head.
pub(super) const HEAD: u8 = 1;

/// A request is being answered.
pub(super) const ANSWERING: u8 = 2;

/// hyper has the whole response, and the client has not taken all of it.
pub(super) const WRITING: u8 = 3;

impl ConnectionPhase {
    pub(super) fn waits(&self) -> MutexGuard<'_, Waits> {
        self.waits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn current(&self) -> u8 {
        self.phase.load(Ordering::Acquire)
    }

    /// Changes the phase if it is `from`. Returns whether it was.
    pub(super) fn transition(&self, from: u8, to: u8) -> bool {
        self.phase.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Records that the head of a request is complete.
    pub(super) fn requested(&self, has_body: bool) {
        self.has_body.store(has_body, Ordering::Relaxed);
        self.phase.store(ANSWERING, Ordering::Release);
    }

    /// Records that hyper has the whole response.
    pub(super) fn answered(&self) {
        self.transition(ANSWERING, WRITING);
    }

    /// Records that the socket has accepted all pending bytes. Returns whether a response is complete now.
    pub(super) fn written(&self) -> bool {
        let whole = self.transition(WRITING, IDLE);
        if whole {
            let mut waits = self.waits();
            (waits.since, waits.is_first) = (Instant::now(), false);
        }
        whole
    }

    /// Whether the client may be sending bytes that nobody will read: a body, or a head that cannot be parsed.
    pub(super) fn may_be_sending(&self) -> bool {
        self.current() == HEAD || self.has_body.load(Ordering::Relaxed)
    }

    /// Whether a request is being answered or its response is being sent.
    pub(super) fn is_answering(&self) -> bool {
        matches!(self.current(), ANSWERING | WRITING)
    }

    /// Makes later reads record whether unread bytes have arrived.
    pub(super) fn start_leaving(&self) {
        self.is_leaving.store(true, Ordering::Relaxed);
    }

    /// Whether bytes have arrived that hyper has yet to read.
    pub(super) fn has_unread(&self) -> bool {
        self.unread.load(Ordering::Relaxed)
    }

    /// Records that the server waits for the client to read more.
    pub(super) fn block(&self) {
        self.waits().read_lag.block();
    }

    /// Records that the client took `bytes` bytes. Returns how far it is still behind.
    pub(super) fn take(&self, bytes: usize) -> Duration {
        let read_lag = &mut self.waits().read_lag;
        read_lag.take(bytes);
        read_lag.behind()
    }

    /// How far the client is behind in reading responses.
    pub(super) fn behind(&self) -> Duration {
        self.waits().read_lag.behind()
    }

    /// Whether the connection is new and its first request may be on the way.
    pub(super) fn is_new(&self) -> bool {
        let waits = self.waits();
        waits.is_first && !self.is_answering() && waits.since.elapsed() < NEW
    }

    /// How long the client has kept the server waiting. This is the wait for a request, or how far the client is behind in
    /// reading a response. `None` while the server works on a request.
    pub(super) fn waited(&self) -> Option<Duration> {
        let waits = self.waits();
        match self.current() {
            _ if waits.read_lag.is_blocked() => Some(waits.read_lag.behind()),
            ANSWERING => None,
            WRITING => Some(waits.read_lag.behind()),
            _ => Some(waits.since.elapsed()),
        }
    }
}

/// How long a new connection may take to send its first request before it counts as idle.
const NEW: Duration = Duration::from_secs(1);

/// A socket that can tell whether the kernel holds unread bytes.
pub(super) trait Unread {
    /// Whether bytes have arrived. The runtime learns of them later.
    fn has_unread(&self) -> bool;
}

impl Unread for TcpStream {
    fn has_unread(&self) -> bool {
        ioctl_fionread(self).is_ok_and(|bytes| bytes > 0)
    }
}
