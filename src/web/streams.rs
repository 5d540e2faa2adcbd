//! The concurrent requests of an HTTP/2 connection. Tracks whether the connection is idle and whether its client still reads
//! responses, since hyper limits neither.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{sync::watch, time::timeout};

use super::{client_timeouts::ClientTimeouts, connection_phase::ConnectionPhase};

/// The requests of an HTTP/2 connection.
#[derive(Debug)]
pub(super) struct Streams {
    phase: Arc<ConnectionPhase>,
    state: watch::Sender<State>,
}

#[derive(Debug, Clone, Copy, Default)]
struct State {
    /// Requests whose response is not complete.
    open: usize,
    /// How many of these have a response in flight.
    answering: usize,
}

impl Streams {
    pub(super) fn new(phase: Arc<ConnectionPhase>) -> Arc<Self> {
        Arc::new(Self { phase, state: watch::Sender::default() })
    }

    /// Records a new request.
    pub(super) fn open(self: &Arc<Self>) -> Stream {
        self.state.send_modify(|state| {
            state.open += 1;
            self.phase.requested(false);
        });
        Stream { streams: Arc::clone(self), is_answering: AtomicBool::new(false) }
    }

    /// Resolves when the client takes too long to send a request or to read a piece of a response.
    pub(super) async fn overdue(&self, timeouts: ClientTimeouts) {
        let mut changes = self.state.subscribe();
        loop {
            let state = *changes.borrow_and_update();
            let limit = match state {
                State { open: 0, .. } => timeouts.idle,
                State { answering: 0, .. } => Duration::MAX,
                _ => timeouts.write.saturating_sub(self.phase.behind()),
            };
            if timeout(limit, changes.changed()).await.is_err() {
                return;
            }
        }
    }
}

/// A request. It is dropped when the client has taken the whole response.
#[derive(Debug)]
pub(super) struct Stream {
    streams: Arc<Streams>,
    is_answering: AtomicBool,
}

impl Stream {
    /// Starts the wait for the client to take the next piece, of `bytes` bytes. hyper asks for it once the client has taken an
    /// earlier one.
    pub(super) fn piece(&self, bytes: usize) {
        let first = !self.is_answering.swap(true, Ordering::Relaxed);
        self.streams.state.send_modify(|state| {
            if state.answering > 0 {
                self.streams.phase.take(bytes);
            }
            state.answering += usize::from(first);
            self.streams.phase.block();
        });
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.streams.state.send_modify(|state| {
            state.open -= 1;
            if *self.is_answering.get_mut() {
                state.answering -= 1;
                self.streams.phase.take(0);
                if state.answering > 0 {
                    self.streams.phase.block();
                }
            }
            if state.open == 0 {
                self.streams.phase.answered();
                self.streams.phase.written();
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    const TIMEOUTS: ClientTimeouts = ClientTimeouts {
        idle: Duration::from_mins(5),
        head: Duration::from_secs(10),
        write: Duration::from_secs(30),
    };

    async fn overdue_after(streams: &Streams) -> u64 {
        let started = Instant::now();
        timeout(Duration::from_hours(1), streams.overdue(TIMEOUTS)).await.expect("it is bounded");
        started.elapsed().as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_is_overdue_when_it_takes_nothing_or_asks_nothing() {
        let streams = Streams::new(Arc::default());
        assert_eq!(overdue_after(&streams).await, 300);
        let [one, other] = [(); 2].map(|()| streams.open());
        assert!(streams.phase.is_answering());
        assert!(
            timeout(Duration::from_hours(1), streams.overdue(TIMEOUTS)).await.is_err(),
            "it waits for us"
        );
        one.piece(1);
        assert_eq!(overdue_after(&streams).await, 30);
        // The client took ten seconds' worth of bytes, so it is 20 seconds behind.
        one.piece(10 * 16 * 1024);
        assert_eq!(overdue_after(&streams).await, 10);
        drop(other);
        assert!(streams.phase.is_answering());
        drop(one);
        assert!(!streams.phase.is_answering());
        assert_eq!(overdue_after(&streams).await, 300);
    }
}
