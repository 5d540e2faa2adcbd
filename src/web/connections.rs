//! The open connections: no more than a number, and when that is reached the one that has kept the server waiting longest
//! makes room, so that clients which send nothing cannot keep out one that does.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio_util::sync::CancellationToken;

use super::patience::Phase;

/// The open connections in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Connections(Mutex<Open>);

#[derive(Debug, Default)]
struct Open {
    next: u64,
    by_age: BTreeMap<u64, (Arc<Phase>, CancellationToken)>,
}

/// A connection's place, which is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    connections: Arc<Connections>,
    number: u64,
    /// What the connection is doing.
    pub(super) phase: Arc<Phase>,
    /// Told when another connection needs the place.
    pub(super) evicted: CancellationToken,
}

impl Connections {
    fn open(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a new connection. `None` if all of them are taken by clients that wait for an answer.
    pub(super) fn place(self: &Arc<Self>, limit: usize) -> Option<Place> {
        let mut open = self.open();
        if open.by_age.len() >= limit {
            let (&oldest, _) = open.by_age.iter().find(|(_, (phase, _))| !phase.is_answering())?;
            let (_, evicted) = open.by_age.remove(&oldest)?;
            evicted.cancel();
        }
        let number = open.next;
        open.next += 1;
        let (phase, evicted) = (Arc::new(Phase::default()), CancellationToken::new());
        open.by_age.insert(number, (Arc::clone(&phase), evicted.clone()));
        Some(Place { connections: Arc::clone(self), number, phase, evicted })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.open().by_age.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_connection_without_a_request_makes_room() {
        let connections = Arc::new(Connections::default());
        let [first, second] = [(); 2].map(|()| connections.place(2).unwrap());
        first.phase.requested();
        let third = connections.place(2).unwrap();
        assert!(!first.evicted.is_cancelled() && second.evicted.is_cancelled());
        third.phase.requested();
        assert!(connections.place(2).is_none(), "everyone waits for an answer");
        drop(first);
        assert!(connections.place(2).is_some());
    }
}
