//! A list of applications or of segments, as last read.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use super::{
    lane::Lane,
    schedule::{Lookup, Schedule},
};
use crate::{
    discovery::Catalog,
    metrics::exposition::{self, Block},
    overview::{ListState, Reading},
    pinpoint::Exception,
};

/// A list and what is known of it.
pub(super) struct Directory {
    pub(super) catalog: Catalog,
    pub(super) lane: Arc<Lane>,
    is_removed: AtomicBool,
    state: Mutex<State>,
    /// Whether parts of the last good reading could not be understood.
    is_flawed: AtomicBool,
}

struct State {
    schedule: Schedule,
    /// The last good list stays, however old.
    ids: Option<Arc<[String]>>,
    /// How the last reading ended, and the bytes that tell it; none has yet.
    last: Option<(Reading, Block)>,
}

impl Directory {
    pub(super) fn new(catalog: Catalog, lane: Arc<Lane>, now: Duration) -> Self {
        let state = State { schedule: Schedule::new(now, None), ids: None, last: None };
        Self {
            catalog,
            lane,
            is_removed: AtomicBool::new(false),
            is_flawed: AtomicBool::new(false),
            state: Mutex::new(state),
        }
    }

    /// Marks it as removed, so that it is no longer shown or logged.
    pub(super) fn remove(&self) {
        self.is_removed.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_removed(&self) -> bool {
        self.is_removed.load(Ordering::Relaxed)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks whether the list must be read.
    pub(super) fn look_up(&self, now: Duration) -> Lookup {
        self.state().schedule.look_up(now)
    }

    /// The ids of the last good reading.
    pub(super) fn ids(&self) -> Option<Arc<[String]>> {
        self.state().ids.clone()
    }

    /// How it is called in the log.
    pub(super) fn name(&self) -> String {
        match &self.catalog.application_id {
            Some(application) => format!("segments of {application}"),
            None => "applications".to_owned(),
        }
    }

    /// Takes note of what a good reading found.
    pub(super) fn learn(&self, ids: Vec<String>) {
        self.state().ids = Some(ids.into());
    }

    /// Notes whether parts of a good reading could not be understood, and gives what it was before.
    pub(super) fn swap_flawed(&self, is_flawed: bool) -> bool {
        self.is_flawed.swap(is_flawed, Ordering::Relaxed)
    }

    /// Takes note of how a reading ended. Gives the failure of the one before it.
    pub(super) fn finish(&self, reading: Reading, fresh_until: Duration) -> Option<Exception> {
        let block = exposition::discovery_status(&self.catalog, reading.error.is_none());
        let mut state = self.state();
        state.schedule.done(fresh_until, reading.error.is_some());
        let (before, _) = state.last.replace((reading, block))?;
        before.error.map(|error| error.exception)
    }

    /// What is known of it.
    pub(super) fn overview(&self) -> ListState {
        let state = self.state();
        ListState {
            catalog: self.catalog.clone(),
            found: state.ids.as_ref().map(|ids| ids.len()),
            reading: state.last.as_ref().map(|(reading, _)| reading.clone()),
        }
    }

    /// Its family; none before a reading has ended.
    pub(super) fn view(&self) -> Option<Block> {
        self.state().last.as_ref().map(|(_, block)| block.clone())
    }
}
