//! The requests of a connection of HTTP/2, of which there may be many at once: whether the connection rests, and whether its
//! client still takes answers. hyper bounds neither.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time::timeout};

use super::patience::{Patience, Phase};

/// The requests of a connection.
#[derive(Debug)]
pub(super) struct Streams {
    phase: Arc<Phase>,
    state: watch::Sender<State>,
}

#[derive(Debug, Clone, Copy, Default)]
struct State {
    /// Requests without a whole answer.
    open: usize,
    /// Those of them whose answer is on its way.
    answering: usize,
    /// Pieces of answers that were taken.
    pieces: u64,
}

impl Streams {
    pub(super) fn new(phase: Arc<Phase>) -> Arc<Self> {
        Arc::new(Self { phase, state: watch::Sender::default() })
    }

    /// A request has come.
    pub(super) fn open(self: &Arc<Self>) -> Stream {
        self.state.send_modify(|state| {
            state.open += 1;
            self.phase.requested(false);
        });
        Stream { streams: Arc::clone(self), is_answering: false }
    }

    /// Resolves when the client has taken too long: to send a request, or to take a piece of an answer.
    pub(super) async fn overdue(&self, patience: Patience) {
        let mut changes = self.state.subscribe();
        loop {
            let state = *changes.borrow_and_update();
            let limit = match state {
                State { open: 0, .. } => patience.idle,
                State { answering: 0, .. } => Duration::MAX,
                _ => patience.write,
            };
            if timeout(limit, changes.changed()).await.is_err() {
                return;
            }
        }
    }
}

/// A request, until this is dropped.
#[derive(Debug)]
pub(super) struct Stream {
    streams: Arc<Streams>,
    is_answering: bool,
}

impl Stream {
    /// Its client is to take the next piece of the answer.
    pub(super) fn piece(&mut self) {
        let first = !std::mem::replace(&mut self.is_answering, true);
        self.streams.state.send_modify(|state| {
            state.answering += usize::from(first);
            state.pieces += 1;
        });
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.streams.state.send_modify(|state| {
            state.open -= 1;
            state.answering -= usize::from(self.is_answering);
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

    const PATIENCE: Patience = Patience {
        idle: Duration::from_mins(5),
        head: Duration::from_secs(10),
        write: Duration::from_secs(30),
    };

    async fn overdue_after(streams: &Streams) -> u64 {
        let started = Instant::now();
        streams.overdue(PATIENCE).await;
        started.elapsed().as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_is_overdue_when_it_takes_nothing_or_asks_nothing() {
        let streams = Streams::new(Arc::default());
        assert_eq!(overdue_after(&streams).await, 300);
        let [mut one, other] = [(); 2].map(|()| streams.open());
        assert!(streams.phase.is_answering());
        assert!(
            timeout(Duration::from_hours(1), streams.overdue(PATIENCE)).await.is_err(),
            "it waits for us"
        );
        one.piece();
        assert_eq!(overdue_after(&streams).await, 30);
        drop(other);
        assert!(streams.phase.is_answering());
        drop(one);
        assert!(!streams.phase.is_answering());
        assert_eq!(overdue_after(&streams).await, 300);
    }
}
