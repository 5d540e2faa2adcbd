//! What a connection is doing, and how long its client has kept the server waiting.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
    time::Duration,
};

use rustix::io::ioctl_fionread;
use tokio::{net::TcpStream, time::Instant};

use super::progress::Progress;

/// What a connection is doing.
#[derive(Debug)]
pub(super) struct ConnectionPhase {
    doing: AtomicU8,
    waits: Mutex<Waits>,
    /// Whether the last request had a body, of which nobody knows how much was read.
    has_body: AtomicBool,
    /// Whether it matters if bytes have come of which the runtime has not heard.
    pub(super) is_leaving: AtomicBool,
    /// Whether there were such bytes when the socket was last read.
    pub(super) unread: AtomicBool,
}

/// What the server waits for.
#[derive(Debug)]
pub(super) struct Waits {
    /// Since when for a request.
    since: Instant,
    /// For the client to take its answers.
    progress: Progress,
}

impl Default for ConnectionPhase {
    fn default() -> Self {
        let waits = Waits { since: Instant::now(), progress: Progress::default() };
        let (doing, has_body, is_leaving, unread) = Default::default();
        Self { doing, waits: Mutex::new(waits), has_body, is_leaving, unread }
    }
}

/// No byte of a request has come.
pub(super) const RESTING: u8 = 0;

/// Some have.
pub(super) const HEAD: u8 = 1;

/// A request is being answered.
pub(super) const ANSWERING: u8 = 2;

/// hyper has the whole answer, and the client has not taken all of it.
pub(super) const WRITING: u8 = 3;

impl ConnectionPhase {
    pub(super) fn waits(&self) -> MutexGuard<'_, Waits> {
        self.waits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> u8 {
        self.doing.load(Ordering::Acquire)
    }

    /// Goes from one to the other; tells whether it was that one.
    pub(super) fn step(&self, from: u8, to: u8) -> bool {
        self.doing.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// A request's head is complete.
    pub(super) fn requested(&self, has_body: bool) {
        self.has_body.store(has_body, Ordering::Relaxed);
        self.doing.store(ANSWERING, Ordering::Release);
    }

    /// There is nothing more to be made of its answer.
    pub(super) fn answered(&self) {
        self.step(ANSWERING, WRITING);
    }

    /// The socket has taken all that there was to write.
    pub(super) fn written(&self) -> bool {
        let whole = self.step(WRITING, RESTING);
        if whole {
            self.waits().since = Instant::now();
        }
        whole
    }

    /// Whether the client may be sending what nobody will read: a body, or a head that cannot be understood.
    pub(super) fn may_be_sending(&self) -> bool {
        self.now() == HEAD || self.has_body.load(Ordering::Relaxed)
    }

    /// Whether there is a request that wants an answer, or an answer on its way.
    pub(super) fn is_answering(&self) -> bool {
        matches!(self.now(), ANSWERING | WRITING)
    }

    /// From now on it is known whether there are bytes that are about to be read.
    pub(super) fn leaves(&self) {
        self.is_leaving.store(true, Ordering::Relaxed);
    }

    /// Whether bytes have come that are about to be read.
    pub(super) fn has_unread(&self) -> bool {
        self.unread.load(Ordering::Relaxed)
    }

    /// The server waits for the client to take more of its answers.
    pub(super) fn block(&self) {
        self.waits().progress.block();
    }

    /// The client took so many bytes of its answers. How far it is behind now.
    pub(super) fn take(&self, bytes: usize) -> Duration {
        let progress = &mut self.waits().progress;
        progress.take(bytes);
        progress.behind()
    }

    /// How far the client is behind with taking its answers.
    pub(super) fn behind(&self) -> Duration {
        self.waits().progress.behind()
    }

    /// How long the client has kept the server waiting: for a request, or how far it is behind with taking an answer. `None`
    /// if the server is at work for it.
    pub(super) fn waited(&self) -> Option<Duration> {
        let waits = self.waits();
        match self.now() {
            _ if waits.progress.is_blocked() => Some(waits.progress.behind()),
            ANSWERING => None,
            WRITING => Some(waits.progress.behind()),
            _ => Some(waits.since.elapsed()),
        }
    }
}

/// A socket of which the kernel can be asked.
pub(super) trait Unread {
    /// Whether bytes have come. The runtime hears of them later.
    fn has_unread(&self) -> bool;
}

impl Unread for TcpStream {
    fn has_unread(&self) -> bool {
        ioctl_fionread(self).is_ok_and(|bytes| bytes > 0)
    }
}
