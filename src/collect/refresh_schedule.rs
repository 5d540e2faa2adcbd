//! Tracks when a reading is due, and lets many callers share one reading. Times are those of the monotonic clock.

use std::time::Duration;

use tokio::sync::watch;

/// Held by a reading while it runs. Dropping it signals the end, even after a panic. Before that the reading sends what it
/// started.
pub(super) type RefreshGuard = watch::Sender<Started>;
/// Waits for the end of a reading.
pub(super) type Completion = watch::Receiver<Started>;

/// The readings that a list started. A scrape that waits for the list also waits for these.
#[derive(Debug, Clone, Default)]
pub(super) struct Started {
    pub(super) lists: Vec<Completion>,
    pub(super) refreshes: Vec<Completion>,
}

/// When the next reading is due, and whether one is under way.
#[derive(Debug)]
pub(super) struct Schedule {
    completion: Option<Completion>,
    due: Duration,
    has_failed: bool,
}

#[derive(Debug)]
pub(super) enum Lookup {
    /// The result is fresh until this time.
    Fresh(Duration),
    UnderWay(Completion),
    /// A reading is due, and the caller must start it.
    Due(Due),
}

#[derive(Debug)]
pub(super) struct Due {
    pub(super) since: Duration,
    /// Whether the last reading failed.
    pub(super) has_failed: bool,
    pub(super) guard: RefreshGuard,
    pub(super) completion: Completion,
}

/// Returns whether the reading is still running, that is whether its sender still exists.
pub(super) fn is_under_way(completion: &Completion) -> bool {
    completion.has_changed().is_ok()
}

/// Waits for the end of a reading. Returns what it started.
pub(super) async fn end_of(completion: &mut Completion) -> Started {
    while completion.changed().await.is_ok() {}
    completion.borrow().clone()
}

impl Schedule {
    /// Due from now on, but only after an `earlier` reading of the same list or target has ended.
    pub(super) fn new(now: Duration, earlier: Option<Completion>) -> Self {
        Self { completion: earlier, due: now, has_failed: false }
    }

    pub(super) fn under_way(&self) -> Option<&Completion> {
        self.completion.as_ref().filter(|completion| is_under_way(completion))
    }

    /// Checks whether a reading is due. If it is, it counts as under way from now on.
    pub(super) fn look_up(&mut self, now: Duration) -> Lookup {
        if now < self.due {
            return Lookup::Fresh(self.due);
        }
        if let Some(completion) = self.under_way() {
            return Lookup::UnderWay(completion.clone());
        }
        let (guard, completion) = watch::channel(Started::default());
        self.completion = Some(completion.clone());
        Lookup::Due(Due { since: self.due, has_failed: self.has_failed, guard, completion })
    }

    /// Records that a reading has ended, and how long its result is fresh.
    pub(super) fn done(&mut self, fresh_until: Duration, has_failed: bool) {
        *self = Self { completion: None, due: fresh_until, has_failed };
    }
}
