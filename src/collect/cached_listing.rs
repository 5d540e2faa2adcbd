//! A list of applications or of segments, as last read: for targets to be found in it, or for its names alone.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use super::{
    refresh_schedule::{Lookup, Schedule},
    region_client::RegionClient,
};
use crate::{
    metrics::block::{self, Block},
    model::{
        exception::Exception,
        list_id::ListId,
        names::NamedResource,
        overview::{LastRead, ListState},
    },
};

/// A list and what is known of it.
pub(super) struct CachedListing {
    pub(super) list_id: ListId,
    pub(super) purpose: Purpose,
    pub(super) region_client: Arc<RegionClient>,
    is_removed: AtomicBool,
    state: Mutex<State>,
    /// Whether parts of the last good reading could not be understood.
    is_flawed: AtomicBool,
}

/// What a list is read for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To find targets.
    Discovery,
    /// For the names in it alone: its failure has nothing to do with any target.
    Names,
}

struct State {
    schedule: Schedule,
    /// The last good list stays, however old. In the order of the ids.
    resources: Option<Arc<[NamedResource]>>,
    /// How the last reading ended, and for discovery the bytes that tell it; none has yet.
    last: Option<(LastRead, Option<Block>)>,
}

impl CachedListing {
    pub(super) fn new(
        list_id: ListId,
        purpose: Purpose,
        region_client: Arc<RegionClient>,
        now: Duration,
    ) -> Self {
        let state = State { schedule: Schedule::new(now, None), resources: None, last: None };
        Self {
            list_id,
            purpose,
            region_client,
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

    /// What the last good reading found. It is the same allocation until something in it changes.
    pub(super) fn resources(&self) -> Option<Arc<[NamedResource]>> {
        self.state().resources.clone()
    }

    /// How it is called in the log.
    pub(super) fn name(&self) -> String {
        match &self.list_id.application_id {
            Some(application) => format!("segments of {application}"),
            None => "applications".to_owned(),
        }
    }

    /// Takes note of what a good reading found.
    pub(super) fn learn(&self, resources: Vec<NamedResource>) {
        let mut state = self.state();
        if state.resources.as_deref() != Some(&resources) {
            state.resources = Some(resources.into());
        }
    }

    /// Notes whether parts of a good reading could not be understood, and gives what it was before.
    pub(super) fn swap_flawed(&self, is_flawed: bool) -> bool {
        self.is_flawed.swap(is_flawed, Ordering::Relaxed)
    }

    /// Takes note of how a reading ended. Gives the failure of the one before it.
    pub(super) fn finish(&self, reading: LastRead, fresh_until: Duration) -> Option<Exception> {
        let block = match self.purpose {
            Purpose::Discovery => Some(block::discovery_status(&self.list_id, reading.error.is_none())),
            Purpose::Names => None,
        };
        let mut state = self.state();
        state.schedule.done(fresh_until, reading.error.is_some());
        let (before, _) = state.last.replace((reading, block))?;
        before.error.map(|error| error.exception)
    }

    /// What is known of it.
    pub(super) fn overview(&self, application_name: Option<Arc<str>>) -> ListState {
        let state = self.state();
        ListState {
            list_id: self.list_id.clone(),
            application_name,
            found: state.resources.as_ref().map(|resources| resources.len()),
            reading: state.last.as_ref().map(|(reading, _)| reading.clone()),
        }
    }

    /// Its family; none before a reading has ended.
    pub(super) fn view(&self) -> Option<Block> {
        self.state().last.as_ref()?.1.clone()
    }
}
