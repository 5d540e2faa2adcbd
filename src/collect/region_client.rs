//! The client of one account and region, the number of requests that its targets take, and its log lines.
//!
//! One cause often affects many targets at once, so each cause is logged once per round. A round ends when no reading is under
//! way, or after [`MAX_LOG_DELAY`].

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

/// Events are logged after this time at the latest, even while readings are under way.
const MAX_LOG_DELAY: Duration = Duration::from_secs(10);

pub(super) struct RegionClient {
    account_id: String,
    region: String,
    pub(super) client: Arc<Client>,
    /// How many requests it takes to refresh each target once.
    requests: AtomicU64,
    /// Whether the last check found that `CACHE_TTL` cannot be met.
    is_overloaded: AtomicBool,
    pending_log: Mutex<PendingLog>,
}

/// Events that are not logged yet.
#[derive(Default)]
struct PendingLog {
    /// In the order in which each event first occurred.
    notes: Vec<(Event, PendingLine)>,
    under_way: u64,
    /// Whether a task waits for [`MAX_LOG_DELAY`].
    is_timed: bool,
    /// Whether to log at once, because the process is about to end.
    is_closing: bool,
}

/// A kind of log line about targets or lists. One line covers all of those that an event affects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// A list could not be read. Holds the name of the exception.
    ListFailed(&'static str),
    ListRecovered,
    /// Parts of a list could not be parsed.
    ListFlawed,
    /// A list that is read only for its names could not be read. Holds the name of the exception.
    NamesFailed(&'static str),
    NamesRecovered,
    /// A target could not be refreshed. Holds the name of the exception.
    Failed(&'static str),
    /// Parts of a listing could not be parsed.
    Flawed,
    Recovered,
    /// Data became older than `MAX_STALENESS`.
    Dropped,
}

/// The targets or lists that an event affects.
struct PendingLine {
    first: String,
    /// A target or list that fails twice counts once.
    all: BTreeSet<String>,
    /// The error or other detail of the first one.
    detail: String,
    left_out: SkippedParts,
}

/// A reading in this region that is under way.
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

    pub(super) fn account_and_region(&self) -> (&str, &str) {
        (&self.account_id, &self.region)
    }

    /// Records that a target takes `now` requests instead of `before`.
    pub(super) fn learn_requests(&self, before: u32, now: u32) {
        self.requests.fetch_add(u64::from(now), Ordering::Relaxed);
        self.requests.fetch_sub(u64::from(before), Ordering::Relaxed);
    }

    /// Logs, once per change, that `CACHE_TTL` cannot be met for the targets or can be met again.
    pub(super) fn warn_about_overload(&self, refresh_limits: RefreshLimits) {
        let Self { account_id, region, .. } = self;
        let overload = refresh_limits.overload(self.requests.load(Ordering::Relaxed));
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

    /// Records that a reading begins. It ends when the result is dropped.
    pub(super) fn begin(self: &Arc<Self>) -> UnderWay {
        self.pending_log().under_way += 1;
        UnderWay(Arc::clone(self))
    }

    pub(super) fn is_idle(&self) -> bool {
        self.pending_log().under_way == 0
    }

    /// Records an event of a target or list. [`RegionClient::flush_if_idle`] logs it.
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

    /// Logs the recorded events if no reading is under way. Otherwise a later call or the timer logs them.
    pub(super) fn flush_if_idle(self: &Arc<Self>) {
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
                sleep(MAX_LOG_DELAY).await;
                region_client.pending_log().is_timed = false;
                region_client.log();
            });
        }
    }

    /// Logs the recorded events at once, and later events without delay.
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
        // `tracing` omits a field whose value is `None`.
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

impl UnderWay {
    /// Ends the reading. Returns whether it was the last one under way.
    pub(super) fn end(self) -> bool {
        let region_client = Arc::clone(&self.0);
        drop(self);
        region_client.is_idle()
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.pending_log().under_way -= 1;
        self.0.flush_if_idle();
    }
}
