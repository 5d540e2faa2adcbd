//! When something is due, and that it is done once however many wait for it. Times are those of the clock that never goes
//! back.

use std::time::Duration;

use tokio::sync::watch;

/// Says by being dropped that a refresh has ended, however it ended.
pub(super) type Flight = watch::Sender<()>;
/// Waits for the end of a refresh.
pub(super) type Landing = watch::Receiver<()>;

/// How old a result is, and whether the next is under way.
#[derive(Debug)]
pub(super) struct Schedule {
    landing: Option<Landing>,
    due: Duration,
}

/// What a scrape finds.
#[derive(Debug)]
pub(super) enum Lookup {
    /// Young enough, until then.
    Fresh(Duration),
    /// A refresh is under way.
    UnderWay(Landing),
    /// A refresh has been due since then, and is the caller's to start.
    Due(Duration, Flight, Landing),
}

/// Whether the refresh has not ended: its sender lives.
pub(super) fn is_under_way(landing: &Landing) -> bool {
    landing.has_changed().is_ok()
}

impl Schedule {
    /// Due from now on.
    pub(super) fn new(now: Duration) -> Self {
        Self { landing: None, due: now }
    }

    /// Looks whether a refresh is due. If it is, it counts as under way from now on.
    pub(super) fn look_up(&mut self, now: Duration) -> Lookup {
        if now < self.due {
            return Lookup::Fresh(self.due);
        }
        match &self.landing {
            Some(landing) if is_under_way(landing) => Lookup::UnderWay(landing.clone()),
            _ => {
                let (flight, landing) = watch::channel(());
                self.landing = Some(landing.clone());
                Lookup::Due(self.due, flight, landing)
            }
        }
    }

    /// A refresh has ended: its result is fresh until then.
    pub(super) fn done(&mut self, fresh_until: Duration) {
        self.due = fresh_until;
    }
}
