//! The open connections: no more than a number, and when that is reached the one that has kept the server waiting longest
//! makes room, so that clients which send nothing cannot keep out one that does.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicU64},
};

use tokio_util::sync::CancellationToken;

use super::patience::Phase;

/// The open connections.
#[derive(Debug, Default)]
pub(super) struct Connections {
    turns: Arc<AtomicU64>,
    open: Mutex<Open>,
    /// Told when all are to leave.
    leave: CancellationToken,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    by_number: HashMap<u64, (Arc<Phase>, CancellationToken)>,
}

/// A connection's place, which is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    connections: Arc<Connections>,
    number: u64,
    /// What the connection is doing.
    pub(super) phase: Arc<Phase>,
    /// Told when another connection needs the place, or the server stops.
    pub(super) leave: CancellationToken,
}

impl Open {
    /// Whether there was one that could leave.
    fn make_room(&mut self) -> bool {
        let waiting = self.by_number.iter();
        let waiting = waiting.filter_map(|(number, (phase, _))| Some((phase.waiting_since()?, *number)));
        let longest = waiting.min().and_then(|(_, number)| self.by_number.remove(&number));
        if let Some((_, leave)) = &longest {
            leave.cancel();
        }
        longest.is_some()
    }
}

impl Connections {
    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells all of them to leave.
    pub(super) fn leave(&self) {
        self.leave.cancel();
    }

    /// Tells the one that has kept the server waiting longest to leave.
    pub(super) fn make_room(&self) {
        self.open().make_room();
    }

    /// A place for a new connection. `None` if all of them are taken by clients that wait for an answer.
    pub(super) fn place(self: &Arc<Self>, limit: usize) -> Option<Place> {
        let mut open = self.open();
        if open.by_number.len() >= limit && !open.make_room() {
            return None;
        }
        let number = open.next;
        open.next += 1;
        let phase = Arc::new(Phase::new(Arc::clone(&self.turns)));
        let leave = self.leave.child_token();
        open.by_number.insert(number, (Arc::clone(&phase), leave.clone()));
        Some(Place { connections: Arc::clone(self), number, phase, leave })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.open().by_number.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_connection_that_has_kept_the_server_waiting_longest_makes_room() {
        let connections = Arc::new(Connections::default());
        let [first, second, third] = [(); 3].map(|()| connections.place(3).unwrap());
        // The first has been served meanwhile, as Prometheus is; the third waits for its answer.
        first.phase.requested(false);
        first.phase.answered();
        third.phase.requested(false);
        let fourth = connections.place(3).unwrap();
        assert!(second.leave.is_cancelled() && !first.leave.is_cancelled());
        assert!(first.phase.is_answering(), "its answer is still on the way");
        fourth.phase.requested(false);
        assert!(connections.place(3).is_none(), "everyone waits for an answer");
        assert!(first.phase.written());
        let fifth = connections.place(3).unwrap();
        assert!(first.leave.is_cancelled() && !third.leave.is_cancelled());
        drop(fifth);
        assert!(connections.place(3).is_some() && !third.leave.is_cancelled());
    }
}
