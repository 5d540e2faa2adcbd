//! When something is due, and that it is done once however many wait for it. Times are those of the clock that never goes
//! back.

use std::time::Duration;

use tokio::sync::watch;

/// Says by being dropped that a reading has ended, however it ended, and before that what it started in turn.
pub(super) type RefreshGuard = watch::Sender<Started>;
/// Waits for the end of a reading.
pub(super) type Completion = watch::Receiver<Started>;

/// The readings that a list started. A scrape that waits for the list waits for these too.
#[derive(Debug, Clone, Default)]
pub(super) struct Started {
    pub(super) lists: Vec<Completion>,
    pub(super) refreshes: Vec<Completion>,
}

/// How old a result is, and whether the next is under way.
#[derive(Debug)]
pub(super) struct Schedule {
    completion: Option<Completion>,
    due: Duration,
    has_failed: bool,
}

/// What a scrape finds.
#[derive(Debug)]
pub(super) enum Lookup {
    /// Young enough, until then.
    Fresh(Duration),
    /// A reading is under way.
    UnderWay(Completion),
    /// A reading is due, and is the caller's to start.
    Due(Due),
}

/// A reading that is due.
#[derive(Debug)]
pub(super) struct Due {
    pub(super) since: Duration,
    /// Whether the last one failed.
    pub(super) has_failed: bool,
    pub(super) guard: RefreshGuard,
    pub(super) completion: Completion,
}

/// Whether the reading has not ended: its sender lives.
pub(super) fn is_under_way(completion: &Completion) -> bool {
    completion.has_changed().is_ok()
}

/// Waits for the end of a reading. Gives what it started.
pub(super) async fn end_of(completion: &mut Completion) -> Started {
    while completion.changed().await.is_ok() {}
    completion.borrow().clone()
}

impl Schedule {
    /// Due from now on, but not before an earlier reading of the same thing has ended.
    pub(super) fn new(now: Duration, earlier: Option<Completion>) -> Self {
        Self { completion: earlier, due: now, has_failed: false }
    }

    /// The reading that is under way.
    pub(super) fn under_way(&self) -> Option<&Completion> {
        self.completion.as_ref().filter(|completion| is_under_way(completion))
    }

    /// Looks whether a reading is due. If it is, it counts as under way from now on.
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

    /// A reading has ended: its result is fresh until then.
    pub(super) fn done(&mut self, fresh_until: Duration, has_failed: bool) {
        *self = Self { completion: None, due: fresh_until, has_failed };
    }
}
