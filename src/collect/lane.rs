//! The queue of one account and region: what is due there waits in it, longest waiting first, and few are under way at a
//! time. A listing under way keeps its place to the end, so a long one is not overtaken at each of its pages.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use super::{cell::Cell, directory::Directory, schedule::Flight};
use crate::pinpoint::Client;

/// The client of an account and region, and what waits for it.
pub(super) struct Lane {
    pub(super) client: Arc<Client>,
    /// The most listings under way.
    places: usize,
    queue: Mutex<Queue>,
    /// Whether `CACHE_TTL` could not be held when last looked at.
    is_overloaded: AtomicBool,
}

#[derive(Default)]
struct Queue {
    waiting: BTreeMap<Turn, Work>,
    arrivals: u64,
    under_way: usize,
}

/// Who comes first: lists of applications and segments, since targets wait for them unseen; then what was due first; then
/// what came first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    is_target: bool,
    due: Duration,
    arrival: u64,
}

/// Something to read. Its flight ends when it is dropped.
pub(super) enum Work {
    List(Arc<Directory>, Flight),
    Refresh(Arc<Cell>, Flight),
}

/// A place among the listings under way.
pub(super) struct Place {
    lane: Arc<Lane>,
    is_held: bool,
}

impl Lane {
    pub(super) fn new(client: Arc<Client>, places: usize) -> Self {
        Self { client, places, queue: Mutex::default(), is_overloaded: AtomicBool::new(false) }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds what has been due since then. Gives a place for it, or for what waits longer, if one is free.
    pub(super) fn enter(self: &Arc<Self>, due: Duration, work: Work) -> Option<Place> {
        let mut queue = self.queue();
        queue.arrivals += 1;
        let turn = Turn { is_target: matches!(work, Work::Refresh(..)), due, arrival: queue.arrivals };
        queue.waiting.insert(turn, work);
        (queue.under_way < self.places).then(|| {
            queue.under_way += 1;
            Place { lane: Arc::clone(self), is_held: true }
        })
    }

    /// Notes whether `CACHE_TTL` cannot be held, and gives what it was before.
    pub(super) fn swap_overload(&self, overloaded: bool) -> bool {
        self.is_overloaded.swap(overloaded, Ordering::Relaxed)
    }
}

impl Place {
    /// What comes next. If nothing waits, the place is given up.
    pub(super) fn next(&mut self) -> Option<Work> {
        let mut queue = self.lane.queue();
        let next = queue.waiting.pop_first();
        if next.is_none() {
            // Under the same lock: what enters from now on gets a place of its own.
            queue.under_way -= 1;
            drop(queue);
            self.is_held = false;
        }
        next.map(|(_, work)| work)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.is_held {
            self.lane.queue().under_way -= 1;
        }
    }
}
