//! An account and region: its client, what its targets cost, and its log lines. One cause often hits many targets at once, so
//! each cause is logged once per round: when nothing is under way any more, or after [`LONGEST_DELAY`].

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{runtime::Handle, time::sleep};

use crate::{
    model::refresh_limits::RefreshLimits,
    pinpoint::{Client, SkippedParts},
};

/// What happened is logged after this time, even while more is under way.
const LONGEST_DELAY: Duration = Duration::from_secs(10);

pub(super) struct RegionClient {
    account_id: String,
    region: String,
    pub(super) client: Arc<Client>,
    /// The requests that refreshing each target once takes.
    requests: AtomicU64,
    /// Whether `CACHE_TTL` could not be held when last looked at.
    is_overloaded: AtomicBool,
    pending_log: Mutex<PendingLog>,
}

/// What has happened and is not logged yet.
#[derive(Default)]
struct PendingLog {
    /// In the order in which each first happened.
    notes: Vec<(Event, PendingLine)>,
    under_way: u64,
    /// Whether a task waits for [`LONGEST_DELAY`].
    is_timed: bool,
    /// Whether nothing may wait, since the process is about to end.
    is_closing: bool,
}

/// What the log says of targets and lists, in one line for all that it happened to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// A list was not read, for this exception.
    ListFailed(&'static str),
    ListRecovered,
    /// Parts of a list could not be understood.
    ListFlawed,
    /// A list that is read for its names alone was not read, for this exception.
    NamesFailed(&'static str),
    NamesRecovered,
    /// A target was not refreshed, for this exception.
    Failed(&'static str),
    /// Parts of a listing could not be understood.
    Flawed,
    Recovered,
    /// Data became older than `MAX_STALENESS`.
    Dropped,
}

/// To what it happened.
struct PendingLine {
    first: String,
    /// All of them. One that fails twice counts once.
    all: BTreeSet<String>,
    /// What there is to say of the first.
    detail: String,
    left_out: SkippedParts,
}

/// A reading in this region that is in progress.
pub(super) struct UnderWay(Arc<RegionClient>);

impl RegionClient {
    pub(super) fn new((account_id, region): (String, String), client: Arc<Client>) -> Self {
        Self {
            account_id,
            region,
            client,
            requests: AtomicU64::new(0),
            is_overloaded: AtomicBool::new(false),
            pending_log: Mutex::default(),
        }
    }

    /// The account and the region.
    pub(super) fn place(&self) -> (&str, &str) {
        (&self.account_id, &self.region)
    }

    /// Records that a target costs `now` requests instead of `before`.
    pub(super) fn learn_requests(&self, before: u32, now: u32) {
        self.requests.fetch_add(u64::from(now), Ordering::Relaxed);
        self.requests.fetch_sub(u64::from(before), Ordering::Relaxed);
    }

    /// Logs that `CACHE_TTL` cannot be met for the targets, or that it can again: once for each change.
    pub(super) fn warn_about_overload(&self, pace: RefreshLimits) {
        let Self { account_id, region, .. } = self;
        let overload = pace.overload(self.requests.load(Ordering::Relaxed));
        let before = self.is_overloaded.swap(overload.is_some(), Ordering::Relaxed);
        match overload {
            Some(overload) if !before => tracing::warn!(account_id, region, "{overload}"),
            None if before => tracing::info!(account_id, region, "CACHE_TTL can be met again"),
            _ => {}
        }
    }

    fn pending_log(&self) -> MutexGuard<'_, PendingLog> {
        self.pending_log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A reading begins.
    pub(super) fn begin(self: &Arc<Self>) -> UnderWay {
        self.pending_log().under_way += 1;
        UnderWay(Arc::clone(self))
    }

    /// Whether nothing is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.pending_log().under_way == 0
    }

    /// Records what happened to a target or list. [`RegionClient::settle`] logs it.
    pub(super) fn note(&self, event: Event, what: &impl ToString, detail: String, left_out: SkippedParts) {
        let mut pending_log = self.pending_log();
        let index = pending_log.notes.iter().position(|(noted, _)| *noted == event).unwrap_or_else(|| {
            let (first, all) = (what.to_string(), BTreeSet::new());
            pending_log
                .notes
                .push((event, PendingLine { first, all, detail, left_out: SkippedParts::default() }));
            pending_log.notes.len() - 1
        });
        let (_, note) = &mut pending_log.notes[index];
        note.all.insert(what.to_string());
        note.left_out.items += left_out.items;
        note.left_out.members += left_out.members;
    }

    /// Logs what was noted, if nothing is under way that could add to it; else later.
    pub(super) fn settle(self: &Arc<Self>) {
        let mut pending_log = self.pending_log();
        if pending_log.notes.is_empty() {
            return;
        }
        if pending_log.under_way == 0 || pending_log.is_closing {
            drop(pending_log);
            self.log();
        } else if !pending_log.is_timed
            && let Ok(runtime) = Handle::try_current()
        {
            pending_log.is_timed = true;
            let region_client = Arc::clone(self);
            runtime.spawn(async move {
                sleep(LONGEST_DELAY).await;
                region_client.pending_log().is_timed = false;
                region_client.log();
            });
        }
    }

    /// Logs at once what was noted, and from now on everything.
    pub(super) fn close(&self) {
        self.pending_log().is_closing = true;
        self.log();
    }

    fn log(&self) {
        let notes = std::mem::take(&mut self.pending_log().notes);
        for (event, note) in notes {
            self.log_note(event, &note);
        }
    }

    fn log_note(&self, event: Event, note: &PendingLine) {
        let Self { account_id, region, .. } = self;
        let PendingLine { first, all, detail, left_out } = note;
        let count = all.len();
        let is_one = count == 1;
        let message = match event {
            Event::ListFailed(_) if is_one => {
                format!("the list was not read, the last good one stays: {detail}")
            }
            Event::ListFailed(_) => format!(
                "{count} lists were not read, the last good ones stay; the first are the {first}: {detail}"
            ),
            Event::ListRecovered if is_one => "the list is read again".to_owned(),
            Event::ListRecovered => format!("{count} lists are read again; the first are the {first}"),
            Event::ListFlawed if is_one => {
                "parts of the list could not be understood and are left out".to_owned()
            }
            Event::ListFlawed => format!(
                "parts of {count} lists could not be understood and are left out; the first are the {first}"
            ),
            Event::NamesFailed(_) if is_one => {
                format!(
                    "names were not read, which affects no target; NAMES=discovered does without: {detail}"
                )
            }
            Event::NamesFailed(_) => format!(
                "names in {count} lists were not read, which affects no target; NAMES=discovered does without; the \
                 first are the {first}: {detail}"
            ),
            Event::NamesRecovered if is_one => "names are read again".to_owned(),
            Event::NamesRecovered => {
                format!("names in {count} lists are read again; the first are the {first}")
            }
            Event::Failed(_) if is_one => format!("not refreshed: {detail}"),
            Event::Failed(_) => format!("{count} targets were not refreshed; the first is {first}: {detail}"),
            Event::Flawed if is_one => {
                "parts of the listing could not be understood and are left out".to_owned()
            }
            Event::Flawed => format!(
                "parts of the listings of {count} targets could not be understood and are left out; the first is {first}"
            ),
            Event::Recovered if is_one => "the target is up again".to_owned(),
            Event::Recovered => format!("{count} targets are up again; the first is {first}"),
            Event::Dropped if is_one => format!("its data are no longer shown: {detail}"),
            Event::Dropped => {
                format!("the data of {count} targets are no longer shown: {detail}; the first is {first}")
            }
        };
        // A field without a value is left out of the line.
        let is_list = matches!(
            event,
            Event::ListFailed(_)
                | Event::ListRecovered
                | Event::ListFlawed
                | Event::NamesFailed(_)
                | Event::NamesRecovered
        );
        let [list, pinpoint_target] =
            [is_list, !is_list].map(|is_named| (is_one && is_named).then_some(first.as_str()));
        let [lists, targets] = [is_list, !is_list].map(|is_counted| (!is_one && is_counted).then_some(count));
        let items_left_out = matches!(event, Event::ListFlawed | Event::Flawed).then_some(left_out.items);
        let members_left_out = matches!(event, Event::ListFlawed | Event::Flawed).then_some(left_out.members);
        if matches!(event, Event::ListRecovered | Event::NamesRecovered | Event::Recovered) {
            tracing::info!(account_id, region, list, lists, pinpoint_target, targets, "{message}");
        } else {
            tracing::warn!(
                account_id,
                region,
                list,
                lists,
                pinpoint_target,
                targets,
                items_left_out,
                members_left_out,
                "{message}"
            );
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.pending_log().under_way -= 1;
        self.0.settle();
    }
}
