//! What is known of everything that is watched, as of a date: what `collect` tells, and the page and its JSON show. Values only.

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

/// What is known of everything that is watched, at a date.
#[derive(Debug, Clone)]
pub struct Overview {
    /// When it was looked at.
    pub now: Timestamp,
    /// The lists of applications and segments, in their order.
    pub lists: Vec<ListState>,
    /// The targets, in their order.
    pub targets: Vec<TargetState>,
}

/// A list of applications or segments.
#[derive(Debug, Clone)]
pub struct ListState {
    /// Which one.
    pub list_id: ListId,
    /// The name of the application whose segments are listed, if it is known.
    pub application_name: Option<Arc<str>>,
    /// How many ids the last good reading found.
    pub found: Option<usize>,
    /// The last reading; none has ended yet.
    pub reading: Option<Reading>,
}

/// A target.
#[derive(Debug, Clone)]
pub struct TargetState {
    /// Which one.
    pub target: Target,
    /// The names of its application and segments.
    pub names: KnownNames,
    /// The last refresh; none has ended yet.
    pub reading: Option<Reading>,
    /// When the data are as of, and the data unless they are too old to be shown.
    pub data: Option<(Timestamp, Option<Arc<Snapshot>>)>,
}

/// What is known of the names of an application and its segments.
#[derive(Debug, Clone, Default)]
pub struct KnownNames {
    /// That of the application.
    pub application: Option<Arc<str>>,
    /// The segments, in the order of their ids.
    pub segments: Arc<[NamedResource]>,
}

impl KnownNames {
    /// The name of a segment.
    pub fn segment(&self, id: &str) -> Option<&str> {
        NamedResource::find(&self.segments, id)?.name.as_deref()
    }
}

/// How something was read the last time.
#[derive(Debug, Clone)]
pub struct Reading {
    /// When that began.
    pub began: Timestamp,
    /// How long it took, with all waits.
    pub took: Duration,
    /// A scrape after this reads it anew.
    pub next: Timestamp,
    /// Why it failed, if it did.
    pub error: Option<CallError>,
}

impl Overview {
    /// The account and region, if everything is in one.
    pub fn only_place(&self) -> Option<(&str, &str)> {
        let of_lists = self.lists.iter().map(|list| (&list.list_id.account_id, &list.list_id.region));
        let of_targets = self.targets.iter().map(|state| (&state.target.account_id, &state.target.region));
        let mut places = of_lists.chain(of_targets).map(|(account, region)| (&**account, &**region));
        let first = places.next()?;
        places.all(|place| place == first).then_some(first)
    }
}

impl ListState {
    /// Why the last reading failed, if it did.
    pub fn trouble(&self) -> Option<&CallError> {
        self.reading.as_ref()?.error.as_ref()
    }
}

impl TargetState {
    /// Whether `pinpoint_target_up` is 1.
    pub fn is_up(&self) -> bool {
        self.reading.is_some() && self.trouble().is_none()
    }

    /// What `pinpoint_target_error` is about, if a refresh has ended.
    pub fn trouble(&self) -> Option<Cow<'_, CallError>> {
        match &self.reading.as_ref()?.error {
            Some(error) => Some(Cow::Borrowed(error)),
            None => self.segments().is_none().then(|| Cow::Owned(CallError::stale())),
        }
    }

    /// How many jobs the listing held, unless that is too old.
    pub fn jobs_listed(&self) -> Option<u64> {
        Some(self.segments()?.iter().map(Segment::listed).sum())
    }

    /// What is shown of it, unless that is too old.
    pub fn segments(&self) -> Option<&[Segment]> {
        let (_, snapshot) = self.data.as_ref()?;
        Some(&snapshot.as_ref()?.segments)
    }
}

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CallError {
    /// Its label in the metrics.
    pub exception: Exception,
    /// What AWS said, or what became of the call.
    pub message: String,
    /// AWS's id of the request, which its support asks for.
    pub request_id: Option<String>,
}

impl CallError {
    /// Every call worked, and nobody asked for another one in time.
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
