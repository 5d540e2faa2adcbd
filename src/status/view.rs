//! What of the overview is asked for: filtered, sorted, and cut into pages.

use std::{cmp::Ordering, collections::BTreeMap};

use super::{
    ListState, Overview, TargetState,
    query::{Key, Number, Query, ROWS, Sort},
};
use crate::{
    job::{ExportJob, JobStatus, Timestamp},
    picture::Segment,
    target::Target,
};

/// What is shown.
#[derive(Debug)]
pub(super) struct View<'a> {
    pub(super) now: Timestamp,
    pub(super) lists: &'a [ListState],
    pub(super) totals: Totals,
    /// Those that fail come first.
    pub(super) targets: Page<&'a TargetState>,
    pub(super) segments: Page<SegmentRow<'a>>,
    pub(super) jobs: Page<JobRow<'a>>,
}

/// Of everything that is watched, whatever is asked for.
#[derive(Debug, Default)]
pub(super) struct Totals {
    pub(super) targets: usize,
    pub(super) up: usize,
    pub(super) waiting: usize,
    pub(super) segments: usize,
    /// Segments whose newest job failed.
    pub(super) failed_segments: usize,
    /// Jobs that are shown, by state.
    pub(super) jobs: BTreeMap<&'static str, usize>,
    pub(super) active_jobs: usize,
}

/// A part of a listing.
#[derive(Debug)]
pub(super) struct Page<T> {
    pub(super) rows: Vec<T>,
    pub(super) number: usize,
    pub(super) numbers: usize,
    pub(super) total: usize,
}

impl<T> Page<T> {
    fn cut(all: Vec<T>, Number(page): Number) -> Self {
        let total = all.len();
        let rows = all.into_iter().skip((page - 1) * ROWS).take(ROWS).collect();
        Self { rows, number: page, numbers: total.div_ceil(ROWS).max(1), total }
    }
}

/// A segment and the target that shows it.
#[derive(Debug, Clone, Copy)]
pub(super) struct SegmentRow<'a> {
    pub(super) target: &'a Target,
    pub(super) segment: &'a Segment,
}

/// A job and the target that shows it.
#[derive(Debug, Clone, Copy)]
pub(super) struct JobRow<'a> {
    pub(super) target: &'a Target,
    pub(super) job: &'a ExportJob,
}

impl TargetState {
    /// Whether `pinpoint_target_up` is 1.
    pub(super) fn is_up(&self) -> bool {
        self.reading.as_ref().is_some_and(|reading| reading.error.is_none()) && self.segments().is_some()
    }

    /// What is shown of it, unless that is too old.
    pub(super) fn segments(&self) -> Option<&[Segment]> {
        let (_, picture) = self.data.as_ref()?;
        Some(&picture.as_ref()?.segments)
    }
}

impl<'a> View<'a> {
    pub(super) fn of(overview: &'a Overview, query: &Query) -> Self {
        let application =
            |target: &Target| query.application.as_ref().is_none_or(|id| *id == target.application_id);
        let segment = |id: &str| query.segment.as_ref().is_none_or(|wanted| wanted == id);
        let mut totals = Totals { targets: overview.targets.len(), ..Totals::default() };
        let (mut targets, mut segments, mut jobs) = (Vec::new(), Vec::new(), Vec::new());
        for state in &overview.targets {
            totals.up += usize::from(state.is_up());
            totals.waiting += usize::from(state.reading.is_none());
            let (target, shown) = (&state.target, state.segments().unwrap_or_default());
            let wanted = application(target)
                && match &target.segment_id {
                    Some(id) => segment(id),
                    None => query.segment.is_none() || shown.iter().any(|it| segment(&it.id)),
                };
            if wanted {
                targets.push(state);
            }
            for it in shown {
                totals.add(it);
                if !application(target) || !segment(&it.id) {
                    continue;
                }
                segments.push(SegmentRow { target, segment: it });
                let in_state =
                    |job: &&ExportJob| query.statuses.is_empty() || query.statuses.contains(&job.status);
                jobs.extend(it.jobs.iter().filter(in_state).map(|job| JobRow { target, job }));
            }
        }
        targets.sort_by_key(|state| (state.is_up(), state.reading.is_none()));
        jobs.sort_by(|a, b| query.sort.compare(a, b));
        Self {
            now: overview.now,
            lists: &overview.lists,
            totals,
            targets: Page::cut(targets, query.targets_page),
            segments: Page::cut(segments, query.segments_page),
            jobs: Page::cut(jobs, query.page),
        }
    }
}

impl Totals {
    fn add(&mut self, segment: &Segment) {
        self.segments += 1;
        let failed = segment.latest.is_some_and(|latest| latest.status == JobStatus::Failed);
        self.failed_segments += usize::from(failed);
        for job in &segment.jobs {
            *self.jobs.entry(job.status.as_str()).or_default() += 1;
            self.active_jobs += usize::from(job.status.is_active());
        }
    }
}

impl Sort {
    /// Jobs that lack what they are sorted by come last, whichever way; of equals the newest comes first.
    fn compare(self, a: &JobRow<'_>, b: &JobRow<'_>) -> Ordering {
        let by = |value: fn(&ExportJob) -> Option<i64>| match (value(a.job), value(b.job)) {
            (Some(a), Some(b)) => self.turn(a.cmp(&b)),
            (a, b) => b.is_some().cmp(&a.is_some()),
        };
        let first = match self.key {
            Key::Created => by(|job| job.creation_date.map(|date| date.0)),
            Key::Completed => by(|job| job.completion_date.map(|date| date.0)),
            Key::Processed => by(|job| job.total_processed),
            Key::Failed => by(|job| job.total_failures),
            Key::Status => self.turn((a.job.status as u8).cmp(&(b.job.status as u8))),
            Key::Application => self.turn(a.target.application_id.cmp(&b.target.application_id)),
            Key::Segment => self.turn(a.job.segment_id.cmp(&b.job.segment_id)),
        };
        let newest = |row: &JobRow<'_>| std::cmp::Reverse(row.job.creation_date);
        first
            .then_with(|| newest(a).cmp(&newest(b)))
            .then_with(|| (a.target, &a.job.id).cmp(&(b.target, &b.job.id)))
    }

    fn turn(self, order: Ordering) -> Ordering {
        if self.descending { order.reverse() } else { order }
    }
}
