//! The state of one target: the last good snapshot, how the last refresh ended, and whether one is under way.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use super::{
    refresh_schedule::{Completion, Lookup, Schedule},
    region_client::RegionClient,
};
use crate::{
    metrics::block::{self, Block},
    model::{
        exception::Exception,
        overview::{CallError, KnownNames, LastRead, TargetState},
        snapshot::{Snapshot, TargetStatus},
        target::Target,
        timestamp::Timestamp,
    },
};

/// Times are those of the monotonic clock.
pub(super) struct TargetEntry {
    pub(super) target: Target,
    pub(super) region_client: Arc<RegionClient>,
    /// The number of requests that the last good refresh took.
    requests: AtomicU32,
    is_removed: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    schedule: Schedule,
    /// The last refresh that ended, good or not.
    last: Option<Last>,
    /// The last good refresh.
    good: Option<Good>,
    /// The rendered status of the target, and the error that it shows.
    status: Option<(Option<&'static str>, Block)>,
}

#[derive(Debug)]
struct Last {
    reading: LastRead,
    flawed: bool,
}

#[derive(Debug)]
struct Good {
    started: Duration,
    date: Timestamp,
    /// `None` once it is too old.
    shown: Option<Shown>,
}

/// The snapshot of a good refresh, and its rendered families.
#[derive(Debug, Clone)]
pub(super) struct Shown {
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) block: Block,
}

#[derive(Debug)]
pub(super) struct Outcome {
    /// The start by the monotonic clock. `date` is the same moment by the wall clock.
    pub(super) started: Duration,
    pub(super) date: Timestamp,
    pub(super) took: Duration,
    pub(super) result: Result<Shown, CallError>,
    /// Whether parts of the listing could not be parsed.
    pub(super) flawed: bool,
}

/// The state of a target for the log, which reports only changes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Health {
    pub(super) failure: Option<Exception>,
    pub(super) flawed: bool,
    /// Whether its data became too old.
    pub(super) dropped: bool,
}

/// The rendered families of a target.
#[derive(Debug, Default)]
pub(super) struct View {
    /// The families of its status. `None` before a refresh has ended.
    pub(super) status: Option<Block>,
    /// The families of its jobs and segments, and when they become too old.
    pub(super) snapshot: Option<(Block, Duration)>,
    /// Whether this call found that the data have become too old.
    pub(super) dropped: bool,
}

impl TargetEntry {
    /// Creates a target without data. An `earlier` refresh of the same target may still be under way. Its result is discarded.
    pub(super) fn new(
        target: Target,
        region_client: Arc<RegionClient>,
        now: Duration,
        earlier: Option<Completion>,
    ) -> Self {
        let schedule = Schedule::new(now, earlier);
        let state = State { schedule, last: None, good: None, status: None };
        Self {
            target,
            region_client,
            requests: AtomicU32::new(1),
            is_removed: AtomicBool::new(false),
            state: Mutex::new(state),
        }
    }

    /// Marks the target as removed, so that it is no longer shown or logged. Returns the refresh that is still under way.
    pub(super) fn remove(&self) -> Option<Completion> {
        self.is_removed.store(true, Ordering::Relaxed);
        self.state().schedule.under_way().cloned()
    }

    pub(super) fn is_removed(&self) -> bool {
        self.is_removed.load(Ordering::Relaxed)
    }

    /// How many requests a refresh takes, without retries. It is 1 before the first good refresh.
    pub(super) fn requests(&self) -> u32 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Records how many pages a good refresh read. Returns the previous number.
    pub(super) fn learn_requests(&self, requests: u32) -> u32 {
        self.requests.swap(requests, Ordering::Relaxed)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The data of the last good refresh, unless they were dropped.
    pub(super) fn shown(&self) -> Option<Shown> {
        self.state().good.as_ref()?.shown.clone()
    }

    /// Checks whether a refresh is due.
    pub(super) fn look_up(&self, now: Duration) -> Lookup {
        self.state().schedule.look_up(now)
    }

    /// Stores how a refresh ended. Returns the health before it.
    pub(super) fn finish(&self, outcome: Outcome, ttl: Duration) -> Health {
        let Outcome { started, date, took, result, flawed } = outcome;
        let mut state = self.state();
        state.schedule.done(started + ttl, result.is_err());
        let dropped = state.good.as_ref().is_some_and(|good| good.shown.is_none());
        let error = match result {
            Ok(shown) => {
                state.good = Some(Good { started, date, shown: Some(shown) });
                None
            }
            Err(error) => Some(error),
        };
        state.status = None;
        let reading = LastRead { began: date, took, next: date.after(ttl), error };
        let before = state.last.replace(Last { reading, flawed });
        before.map(|before| Health { dropped, ..before.health() }).unwrap_or_default()
    }

    /// Returns what is shown now. It drops data that are older than `max_staleness`.
    pub(super) fn view(&self, now: Duration, max_staleness: Duration) -> View {
        let mut state = self.state();
        let dropped = state.drop_stale_data(now, max_staleness);
        let State { last, good, status, .. } = &mut *state;
        let Some(last) = last else { return View::default() };
        let last_success = good.as_ref().map(|good| good.date);
        let snapshot = good
            .as_ref()
            .and_then(|good| Some((good.shown.as_ref()?.block.clone(), good.started + max_staleness)));
        let error = match (last.health().failure, &snapshot) {
            (Some(exception), _) => Some(exception.name()),
            (None, None) => Some(Exception::Timeout.name()),
            (None, Some(_)) => None,
        };
        let block = match status.take() {
            Some((told, block)) if told == error => block,
            _ => {
                let told = TargetStatus { error, last_success, refresh_duration: last.reading.took };
                block::target_status(&self.target, told)
            }
        };
        *status = Some((error, block.clone()));
        View { status: Some(block), snapshot, dropped }
    }

    /// Whether the last refresh was good. `None` before one has ended.
    pub(super) fn is_up(&self) -> Option<bool> {
        self.state().last.as_ref().map(|last| last.health().failure.is_none())
    }

    /// Returns the state of the target without data that are too old. Only [`TargetEntry::view`] drops those.
    pub(super) fn overview(&self, now: Duration, max_staleness: Duration, names: KnownNames) -> TargetState {
        let state = self.state();
        let snapshot = |good: &Good| {
            let shown = good.shown.as_ref().filter(|_| !good.is_too_old(now, max_staleness));
            shown.map(|shown| Arc::clone(&shown.snapshot))
        };
        let data = state.good.as_ref().map(|good| (good.date, snapshot(good)));
        let reading = state.last.as_ref().map(|last| last.reading.clone());
        TargetState { target: self.target.clone(), names, reading, data }
    }
}

impl State {
    /// Drops data that are too old. Returns whether there were any.
    fn drop_stale_data(&mut self, now: Duration, max_staleness: Duration) -> bool {
        let too_old = self.good.as_mut().filter(|good| good.is_too_old(now, max_staleness));
        too_old.is_some_and(|good| good.shown.take().is_some())
    }
}

impl Good {
    fn is_too_old(&self, now: Duration, max_staleness: Duration) -> bool {
        now > self.started + max_staleness
    }
}

impl Last {
    fn health(&self) -> Health {
        let failure = self.reading.error.as_ref().map(|error| error.exception);
        Health { failure, flawed: self.flawed, dropped: false }
    }
}
