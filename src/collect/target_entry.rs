//! What is known of one target: the last good snapshot, how the last refresh ended, and whether one is under way.

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

/// A target and what is known of it. Times are those of the clock that never goes back.
pub(super) struct TargetEntry {
    pub(super) target: Target,
    pub(super) region_client: Arc<RegionClient>,
    /// What a refresh costs, as of the last good one.
    requests: AtomicU32,
    is_removed: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    schedule: Schedule,
    /// The last refresh that ended.
    last: Option<Last>,
    /// The last good one.
    good: Option<Good>,
    /// The bytes of the target's status, and the error they tell of.
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
    /// Absent once it is too old.
    shown: Option<Shown>,
}

/// What a good refresh has read, and the bytes of it.
#[derive(Debug, Clone)]
pub(super) struct Shown {
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) block: Block,
}

/// How a refresh ended.
#[derive(Debug)]
pub(super) struct Outcome {
    /// When it started: by the clock that never goes back, and the date.
    pub(super) started: Duration,
    pub(super) date: Timestamp,
    pub(super) took: Duration,
    pub(super) result: Result<Shown, CallError>,
    /// Whether parts of it could not be understood.
    pub(super) flawed: bool,
}

/// What the log says of a target, and says again only when it changes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Health {
    pub(super) failure: Option<Exception>,
    pub(super) flawed: bool,
    /// Whether its data became too old.
    pub(super) dropped: bool,
}

/// What a target shows.
#[derive(Debug, Default)]
pub(super) struct View {
    /// Its own families; none before a refresh has ended.
    pub(super) status: Option<Block>,
    /// Those of its jobs and segments, and when they will be too old.
    pub(super) snapshot: Option<(Block, Duration)>,
    /// Whether its data have become too old just now.
    pub(super) dropped: bool,
}

impl TargetEntry {
    /// A target of which nothing is known. An `earlier` refresh of the same one may still be under way, whose result will be lost.
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

    /// Marks it as removed, so that it is no longer shown or logged. Returns the refresh that is still under way.
    pub(super) fn remove(&self) -> Option<Completion> {
        self.is_removed.store(true, Ordering::Relaxed);
        self.state().schedule.under_way().cloned()
    }

    pub(super) fn is_removed(&self) -> bool {
        self.is_removed.load(Ordering::Relaxed)
    }

    /// How many requests a refresh takes, without retries; 1 before the first good one.
    pub(super) fn requests(&self) -> u32 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Records how many pages a good refresh read. Returns the number before.
    pub(super) fn learn_requests(&self, requests: u32) -> u32 {
        self.requests.swap(requests, Ordering::Relaxed)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the last good refresh has read, unless that is gone.
    pub(super) fn shown(&self) -> Option<Shown> {
        self.state().good.as_ref()?.shown.clone()
    }

    /// Looks whether a refresh is due.
    pub(super) fn look_up(&self, now: Duration) -> Lookup {
        self.state().schedule.look_up(now)
    }

    /// Takes note of how a refresh ended. Gives the health before it.
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

    /// What is shown now: data older than `max_staleness` never are, and are let go.
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
                block::target_status(&self.target, &told)
            }
        };
        *status = Some((error, block.clone()));
        View { status: Some(block), snapshot, dropped }
    }

    /// Whether a refresh has ended, and the last one was good.
    pub(super) fn is_up(&self) -> Option<bool> {
        self.state().last.as_ref().map(|last| last.health().failure.is_none())
    }

    /// What is known of it, without data that are too old. Only [`TargetEntry::view`] drops those.
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
    /// Lets data go that are too old. Gives whether there were any.
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
