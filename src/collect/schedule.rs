//! When something is due, and that it is done once however many wait for it. Times are those of the clock that never goes
//! back.

use std::time::Duration;

use tokio::sync::watch;

/// Says by being dropped that a reading has ended, however it ended, and before that what it started in turn.
pub(super) type Flight = watch::Sender<Started>;
/// Waits for the end of a reading.
pub(super) type Landing = watch::Receiver<Started>;

/// The readings that a list started. A scrape that waits for the list waits for these too.
#[derive(Debug, Clone, Default)]
pub(super) struct Started {
    pub(super) lists: Vec<Landing>,
    pub(super) refreshes: Vec<Landing>,
}

/// How old a result is, and whether the next is under way.
#[derive(Debug)]
pub(super) struct Schedule {
    landing: Option<Landing>,
    due: Duration,
    has_failed: bool,
}

/// What a scrape finds.
#[derive(Debug)]
pub(super) enum Lookup {
    /// Young enough, until then.
    Fresh(Duration),
    /// A reading is under way.
    UnderWay(Landing),
    /// A reading is due, and is the caller's to start.
    Due(Due),
}

/// A reading that is due.
#[derive(Debug)]
pub(super) struct Due {
    pub(super) since: Duration,
    /// Whether the last one failed.
    pub(super) has_failed: bool,
    pub(super) flight: Flight,
    pub(super) landing: Landing,
}

/// Whether the reading has not ended: its sender lives.
pub(super) fn is_under_way(landing: &Landing) -> bool {
    landing.has_changed().is_ok()
}

/// Waits for the end of a reading. Gives what it started.
pub(super) async fn end_of(landing: &mut Landing) -> Started {
    while landing.changed().await.is_ok() {}
    landing.borrow().clone()
}

impl Schedule {
    /// Due from now on, but not before an earlier reading of the same thing has ended.
    pub(super) fn new(now: Duration, earlier: Option<Landing>) -> Self {
        Self { landing: earlier, due: now, has_failed: false }
    }

    /// The reading that is under way.
    pub(super) fn under_way(&self) -> Option<&Landing> {
        self.landing.as_ref().filter(|landing| is_under_way(landing))
    }

    /// Looks whether a reading is due. If it is, it counts as under way from now on.
    pub(super) fn look_up(&mut self, now: Duration) -> Lookup {
        if now < self.due {
            return Lookup::Fresh(self.due);
        }
        if let Some(landing) = self.under_way() {
            return Lookup::UnderWay(landing.clone());
        }
        let (flight, landing) = watch::channel(Started::default());
        self.landing = Some(landing.clone());
        Lookup::Due(Due { since: self.due, has_failed: self.has_failed, flight, landing })
    }

    /// A reading has ended: its result is fresh until then.
    pub(super) fn done(&mut self, fresh_until: Duration, has_failed: bool) {
        *self = Self { landing: None, due: fresh_until, has_failed };
    }
}
