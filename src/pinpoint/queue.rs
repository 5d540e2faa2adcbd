//! The queue of requests of one account and region. At most `MAX_CONCURRENT_REQUESTS` requests are under way, and the others
//! wait here in order of priority. A listing holds a permit only while one of its requests is under way, so a listing that
//! waits for a retry does not block others.
//!
//! A listing keeps its priority from page to page, so later listings do not overtake it. A new listing therefore begins only
//! when no listing under way can use the permit. This bounds the number of open listings, which keep in memory what they have
//! read. A listing is open if it holds a permit, if it waits for a retry, or if a list of applications or segments has
//! overtaken it. [`super::retry`] limits the listings that wait for a retry, and only a few are overtaken.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::oneshot;

/// The priority of a request: the smallest value goes first. The fields are compared in the order of their declaration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Priority {
    kind: Kind,
    /// The request that has been due for longest goes first. A time of the monotonic clock.
    due: Duration,
    /// Among requests with the same due time, those that failed go last.
    has_failed: bool,
    /// Among equal requests, the first to arrive goes first. Each listing has a different number.
    arrival: u64,
}

/// The kind of listing. The variants are in order of priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// A list of applications or segments. It goes first because it can name targets that are not shown yet.
    List,
    /// The jobs of a target.
    Target,
    /// A list that is read only for its names.
    Names,
}

impl Priority {
    /// The priority of a list of applications or segments.
    pub fn list(due: Duration) -> Self {
        Self { kind: Kind::List, due, has_failed: false, arrival: 0 }
    }

    /// The priority of a target's listing.
    pub fn target(due: Duration) -> Self {
        Self { kind: Kind::Target, due, has_failed: false, arrival: 0 }
    }

    /// The priority of a list that is read only for its names. It comes after every target.
    pub fn names(due: Duration) -> Self {
        Self { kind: Kind::Names, due, has_failed: false, arrival: 0 }
    }

    /// Lowers the priority after a failure. The request goes after everything of its kind that is due by now, and a list also
    /// goes after the targets. It still goes before those of the same kind that become due later, so it is not postponed
    /// forever.
    #[must_use]
    pub fn after_failure(self, now: Duration) -> Self {
        Self { kind: self.kind.max(Kind::Target), due: now, has_failed: true, ..self }
    }
}

/// The free permits of an account and region, and the requests that wait for one.
#[derive(Debug)]
pub(super) struct RequestQueue {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    free: usize,
    waiting: BTreeMap<Priority, oneshot::Sender<Slot>>,
    arrivals: u64,
}

/// One permit to send a request. Dropping it frees the permit.
#[derive(Debug)]
struct Slot(Arc<RequestQueue>);

/// A listing's place in the queue. It is granted once for each request.
#[derive(Debug)]
pub struct Permit {
    queue: Arc<RequestQueue>,
    priority: Priority,
    state: PermitState,
}

#[derive(Debug)]
enum PermitState {
    Released,
    Awaited(oneshot::Receiver<Slot>),
    Granted { _slot: Slot },
}

impl RequestQueue {
    pub(super) fn new(permits: usize) -> Self {
        let state = State { free: permits, waiting: BTreeMap::new(), arrivals: 0 };
        Self { state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Joins the queue. Call [`RequestQueue::grant_free_permits`] after everything that is due has joined, so that the order of
    /// priority applies.
    pub(super) fn join(self: &Arc<Self>, priority: Priority) -> Permit {
        let mut state = self.state();
        state.arrivals += 1;
        let priority = Priority { arrival: state.arrivals, ..priority };
        drop(state);
        let mut permit = Permit { queue: Arc::clone(self), priority, state: PermitState::Released };
        permit.request();
        permit
    }

    /// Grants the free permits in order of priority.
    pub(super) fn grant_free_permits(self: &Arc<Self>) {
        loop {
            let mut state = self.state();
            if state.free == 0 {
                return;
            }
            let Some((_, next)) = state.waiting.pop_first() else { return };
            state.free -= 1;
            drop(state);
            // If the receiver has stopped waiting, the slot is dropped and frees its permit at once.
            drop(next.send(Slot(Arc::clone(self))));
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.state().free += 1;
        self.0.grant_free_permits();
    }
}

impl Permit {
    /// Waits until the next request may be sent.
    pub async fn granted(&mut self) {
        if matches!(self.state, PermitState::Released) {
            self.request();
            self.queue.grant_free_permits();
        }
        if let PermitState::Awaited(slot) = &mut self.state
            && let Ok(slot) = slot.await
        {
            self.state = PermitState::Granted { _slot: slot };
        }
    }

    /// Asks for a permit for the next request. A permit that is held is freed only after that, so only listings of higher
    /// priority can go first.
    pub(super) fn request(&mut self) {
        let (sender, slot) = oneshot::channel();
        self.queue.state().waiting.insert(self.priority, sender);
        self.state = PermitState::Awaited(slot);
    }

    /// Frees the permit without asking for another one.
    pub(super) fn release(&mut self) {
        self.state = PermitState::Released;
    }

    /// Lowers the priority after a failed request: the listing goes after those that are due by now.
    pub(super) fn lower_priority(&mut self, now: Duration) {
        self.priority = self.priority.after_failure(now);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if matches!(self.state, PermitState::Awaited(_)) {
            self.queue.state().waiting.remove(&self.priority);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn is_granted(permit: &mut Permit) -> bool {
        permit.granted().now_or_never().is_some()
    }

    #[test]
    fn lists_go_first_then_targets_by_how_long_they_are_due_then_those_that_failed_and_names_last() {
        let queue = Arc::new(RequestQueue::new(1));
        let priorities = [
            ("failed", Priority::target(SECOND).after_failure(5 * SECOND)),
            ("failed list", Priority::list(SECOND).after_failure(5 * SECOND)),
            ("due now", Priority::target(5 * SECOND)),
            ("due now too", Priority::target(5 * SECOND)),
            ("due before", Priority::target(3 * SECOND)),
            ("due later", Priority::target(6 * SECOND)),
            ("list", Priority::list(9 * SECOND)),
            ("names", Priority::names(SECOND)),
            ("failed names", Priority::names(SECOND).after_failure(5 * SECOND)),
        ];
        let mut waiting =
            priorities.map(|(name, priority)| (name, queue.join(priority))).into_iter().collect::<Vec<_>>();
        let mut order = Vec::new();
        queue.grant_free_permits();
        while let Some(next) = waiting.iter_mut().position(|(_, permit)| is_granted(permit)) {
            assert_eq!(waiting.iter_mut().filter_map(|(_, it)| is_granted(it).then_some(())).count(), 1);
            order.push(waiting.remove(next).0);
        }
        let expected = [
            "list",
            "due before",
            "due now",
            "due now too",
            "failed",
            "failed list",
            "due later",
            "names",
            "failed names",
        ];
        assert_eq!(order, expected);
    }

    #[test]
    fn a_listing_keeps_its_turn_from_request_to_request_until_one_of_them_fails() {
        let queue = Arc::new(RequestQueue::new(1));
        let mut first = queue.join(Priority::target(2 * SECOND));
        let mut second = queue.join(Priority::target(2 * SECOND));
        queue.grant_free_permits();
        for _ in 0..3 {
            assert!(is_granted(&mut first) && !is_granted(&mut second));
            first.request();
        }
        let mut earlier = queue.join(Priority::target(SECOND));
        assert!(is_granted(&mut first) && !is_granted(&mut earlier), "it has the permit already");
        first.request();
        assert!(is_granted(&mut earlier) && !is_granted(&mut first));
        drop(earlier);
        assert!(is_granted(&mut first));
        first.lower_priority(2 * SECOND);
        first.release();
        assert!(is_granted(&mut second) && !is_granted(&mut first));
        drop(second);
        assert!(is_granted(&mut first));
    }

    #[test]
    fn whoever_stops_waiting_takes_no_permit_along() {
        let queue = Arc::new(RequestQueue::new(2));
        let waiting: Vec<_> = (0..5).map(|_| queue.join(Priority::target(SECOND))).collect();
        drop(waiting);
        assert!(queue.state().waiting.is_empty());
        // This permit is granted, but its owner never waits for it.
        let unnoticed = queue.join(Priority::target(SECOND));
        queue.grant_free_permits();
        drop(unnoticed);
        let mut permits = [(); 3].map(|()| queue.join(Priority::target(SECOND)));
        queue.grant_free_permits();
        assert_eq!(permits.each_mut().map(is_granted), [true, true, false]);
        let [first, mut second, third] = permits;
        second.release();
        drop((first, second, third));
        assert_eq!(queue.state().free, 2);
    }
}
