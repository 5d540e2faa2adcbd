//! A cached list of applications or of segments. Discovery finds targets in it, or it only provides names.

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

pub(super) struct CachedListing {
    pub(super) list_id: ListId,
    pub(super) purpose: Purpose,
    pub(super) region_client: Arc<RegionClient>,
    is_removed: AtomicBool,
    state: Mutex<State>,
    /// Whether parts of the last good reading could not be parsed.
    is_flawed: AtomicBool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Discovery,
    /// Only for the names in it. If it cannot be read, no target is affected.
    Names,
}

struct State {
    schedule: Schedule,
    /// The last good list, however old, sorted by id.
    resources: Option<Arc<[NamedResource]>>,
    /// How the last reading ended, if one has. For discovery also the rendered status.
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

    /// Marks the list as removed, so that it is no longer shown or logged.
    pub(super) fn remove(&self) {
        self.is_removed.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_removed(&self) -> bool {
        self.is_removed.load(Ordering::Relaxed)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Checks whether the list is due.
    pub(super) fn look_up(&self, now: Duration) -> Lookup {
        self.state().schedule.look_up(now)
    }

    /// The resources that the last good reading found. The allocation stays the same until one of them changes.
    pub(super) fn resources(&self) -> Option<Arc<[NamedResource]>> {
        self.state().resources.clone()
    }

    /// The name of the list in the log.
    pub(super) fn name(&self) -> String {
        match &self.list_id.application_id {
            Some(application) => format!("segments of {application}"),
            None => "applications".to_owned(),
        }
    }

    /// Stores the resources that a good reading found.
    pub(super) fn learn(&self, resources: Vec<NamedResource>) {
        let mut state = self.state();
        if state.resources.as_deref() != Some(&resources) {
            state.resources = Some(resources.into());
        }
    }

    /// Stores whether parts of a good reading could not be parsed. Returns the previous value.
    pub(super) fn swap_flawed(&self, is_flawed: bool) -> bool {
        self.is_flawed.swap(is_flawed, Ordering::Relaxed)
    }

    /// Stores how a reading ended. Returns the failure of the reading before it.
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

    pub(super) fn overview(&self, application_name: Option<Arc<str>>) -> ListState {
        let state = self.state();
        ListState {
            list_id: self.list_id.clone(),
            application_name,
            found: state.resources.as_ref().map(|resources| resources.len()),
            reading: state.last.as_ref().map(|(reading, _)| reading.clone()),
        }
    }

    /// The rendered status of a discovery list, or `None` before its first reading has ended.
    pub(super) fn view(&self) -> Option<Block> {
        self.state().last.as_ref()?.1.clone()
    }
}
