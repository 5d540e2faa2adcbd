//! The state of all targets and lists at a date. `collect` produces it; the status page and its JSON show it. Values only.

use std::{borrow::Cow, fmt, sync::Arc, time::Duration};

use serde::Serialize;

use super::{
    exception::Exception,
    list_id::ListId,
    names::NamedResource,
    snapshot::{Segment, Snapshot},
    target::Target,
    timestamp::Timestamp,
};

/// The state of all targets and lists at a date.
#[derive(Debug, Clone)]
pub struct Overview {
    /// The date of this overview.
    pub now: Timestamp,
    /// The lists of applications and segments, sorted by [`ListId`].
    pub lists: Vec<ListState>,
    /// The targets, sorted.
    pub targets: Vec<TargetState>,
}

/// The state of a list of applications or segments.
#[derive(Debug, Clone)]
pub struct ListState {
    pub list_id: ListId,
    /// The name of the application whose segments are listed, if it is known.
    pub application_name: Option<Arc<str>>,
    /// How many ids the last successful read found.
    pub found: Option<usize>,
    /// The last completed read. `None` before the first one ends.
    pub reading: Option<LastRead>,
}

/// The state of a target.
#[derive(Debug, Clone)]
pub struct TargetState {
    pub target: Target,
    pub names: KnownNames,
    /// The last completed refresh. `None` before the first one ends.
    pub reading: Option<LastRead>,
    /// The date of the data, and the data. The data are `None` when they are too old to be shown.
    pub data: Option<(Timestamp, Option<Arc<Snapshot>>)>,
}

/// The known names of an application and its segments.
#[derive(Debug, Clone, Default)]
pub struct KnownNames {
    pub application: Option<Arc<str>>,
    /// The segments, sorted by id.
    pub segments: Arc<[NamedResource]>,
}

impl KnownNames {
    /// Returns the name of a segment, if it is known.
    pub fn segment(&self, id: &str) -> Option<&str> {
        NamedResource::find(&self.segments, id)?.name.as_deref()
    }
}

/// The last read of a list or a target.
#[derive(Debug, Clone)]
pub struct LastRead {
    pub began: Timestamp,
    /// The duration of the read, including all waits.
    pub took: Duration,
    /// The first scrape after this date causes the next read.
    pub next: Timestamp,
    /// Why the read failed. `None` if it succeeded.
    pub error: Option<CallError>,
}

impl Overview {
    /// The account and region, if all lists and targets have the same.
    pub fn only_account_and_region(&self) -> Option<(&str, &str)> {
        let of_lists = self.lists.iter().map(|list| (&list.list_id.account_id, &list.list_id.region));
        let of_targets = self.targets.iter().map(|state| (&state.target.account_id, &state.target.region));
        let mut places = of_lists.chain(of_targets).map(|(account, region)| (&**account, &**region));
        let first = places.next()?;
        places.all(|place| place == first).then_some(first)
    }
}

impl ListState {
    /// Why the last read failed, if it did.
    pub fn last_error(&self) -> Option<&CallError> {
        self.reading.as_ref()?.error.as_ref()
    }
}

impl TargetState {
    /// Whether `pinpoint_target_up` is 1.
    pub fn is_up(&self) -> bool {
        self.reading.is_some() && self.last_error().is_none()
    }

    /// The error that `pinpoint_target_error` shows. `None` while the target is up or before the first refresh ends.
    pub fn last_error(&self) -> Option<Cow<'_, CallError>> {
        match &self.reading.as_ref()?.error {
            Some(error) => Some(Cow::Borrowed(error)),
            None => self.segments().is_none().then(|| Cow::Owned(CallError::stale())),
        }
    }

    /// How many jobs the listing contains. `None` if the data are too old.
    pub fn jobs_listed(&self) -> Option<u64> {
        Some(self.segments()?.iter().map(Segment::listed).sum())
    }

    /// The segments to show. `None` if the data are too old.
    pub fn segments(&self) -> Option<&[Segment]> {
        let (_, snapshot) = self.data.as_ref()?;
        Some(&snapshot.as_ref()?.segments)
    }
}

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CallError {
    /// The label in the metrics.
    pub exception: Exception,
    /// AWS's error message, or a description of what happened to the call.
    pub message: String,
    /// AWS's request id. AWS Support asks for it.
    pub request_id: Option<String>,
}

impl CallError {
    /// The error for a target whose calls all succeeded, but that was not refreshed before its data became too old.
    fn stale() -> Self {
        Self {
            exception: Exception::Timeout,
            message: "the data are older than MAX_STALENESS and not shown".to_owned(),
            request_id: None,
        }
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.exception.name(), self.message)?;
        self.request_id.iter().try_for_each(|id| write!(f, " (request {id})"))
    }
}
