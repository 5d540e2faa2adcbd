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
    pace::Pace,
    pinpoint::{Client, LeftOut},
};

/// What happened is logged after this time, even while more is under way.
const LONGEST_DELAY: Duration = Duration::from_secs(10);

pub(super) struct Lane {
    account_id: String,
    region: String,
    pub(super) client: Arc<Client>,
    /// The requests that refreshing each target once takes.
    requests: AtomicU64,
    /// Whether `CACHE_TTL` could not be held when last looked at.
    is_overloaded: AtomicBool,
    journal: Mutex<Journal>,
}

/// What has happened and is not logged yet.
#[derive(Default)]
struct Journal {
    /// In the order in which each first happened.
    notes: Vec<(Event, Note)>,
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
struct Note {
    first: String,
    /// All of them. One that fails twice counts once.
    all: BTreeSet<String>,
    /// What there is to say of the first.
    detail: String,
    left_out: LeftOut,
}

/// A reading of the lane that is under way.
pub(super) struct UnderWay(Arc<Lane>);

impl Lane {
    pub(super) fn new((account_id, region): (String, String), client: Arc<Client>) -> Self {
        Self {
            account_id,
            region,
            client,
            requests: AtomicU64::new(0),
            is_overloaded: AtomicBool::new(false),
            journal: Mutex::default(),
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

    /// Logs that `CACHE_TTL` cannot be held for the targets, or that it can again: once for each change.
    pub(super) fn judge_pace(&self, pace: Pace) {
        let Self { account_id, region, .. } = self;
        let overload = pace.overload(self.requests.load(Ordering::Relaxed));
        let before = self.is_overloaded.swap(overload.is_some(), Ordering::Relaxed);
        match overload {
            Some(overload) if !before => tracing::warn!(account_id, region, "{overload}"),
            None if before => tracing::info!(account_id, region, "CACHE_TTL can be held again"),
            _ => {}
        }
    }

    fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A reading begins.
    pub(super) fn begin(self: &Arc<Self>) -> UnderWay {
        self.journal().under_way += 1;
        UnderWay(Arc::clone(self))
    }

    /// Whether nothing is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.journal().under_way == 0
    }

    /// Records what happened to a target or list. [`Lane::settle`] logs it.
    pub(super) fn note(&self, event: Event, what: &impl ToString, detail: String, left_out: LeftOut) {
        let mut journal = self.journal();
        let index = journal.notes.iter().position(|(noted, _)| *noted == event).unwrap_or_else(|| {
            let (first, all) = (what.to_string(), BTreeSet::new());
            journal.notes.push((event, Note { first, all, detail, left_out: LeftOut::default() }));
            journal.notes.len() - 1
        });
        let (_, note) = &mut journal.notes[index];
        note.all.insert(what.to_string());
        note.left_out.items += left_out.items;
        note.left_out.members += left_out.members;
    }

    /// Logs what was noted, if nothing is under way that could add to it; else later.
    pub(super) fn settle(self: &Arc<Self>) {
        let mut journal = self.journal();
        if journal.notes.is_empty() {
            return;
        }
        if journal.under_way == 0 || journal.is_closing {
            drop(journal);
            self.log();
        } else if !journal.is_timed
            && let Ok(runtime) = Handle::try_current()
        {
            journal.is_timed = true;
            let lane = Arc::clone(self);
            runtime.spawn(async move {
                sleep(LONGEST_DELAY).await;
                lane.journal().is_timed = false;
                lane.log();
            });
        }
    }

    /// Logs at once what was noted, and from now on everything.
    pub(super) fn close(&self) {
        self.journal().is_closing = true;
        self.log();
    }

    fn log(&self) {
        let notes = std::mem::take(&mut self.journal().notes);
        for (event, note) in notes {
            self.log_note(event, &note);
        }
    }

    fn log_note(&self, event: Event, note: &Note) {
        let Self { account_id, region, .. } = self;
        let Note { first, all, detail, left_out } = note;
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
        self.0.journal().under_way -= 1;
        self.0.settle();
    }
}
