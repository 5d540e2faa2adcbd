//! Selects the part of the overview that a query asks for. The part is filtered, sorted and split into pages.

use std::{
    cmp::{Ordering, Reverse},
    collections::BTreeMap,
};

use super::query::{Key, Number, Query, ROWS, Sort};
use crate::model::{
    job::ExportJob,
    job_status::JobStatus,
    overview::{KnownNames, ListState, Overview, TargetState},
    snapshot::Segment,
    target::Target,
    timestamp::Timestamp,
};

/// The part that is shown.
#[derive(Debug)]
pub(super) struct View<'a> {
    pub(super) now: Timestamp,
    /// The account and region, if all lists and targets share one.
    pub(super) only_account_and_region: Option<(&'a str, &'a str)>,
    pub(super) totals: Totals,
    /// Failing lists come first, then the ones that have not been read.
    pub(super) lists: Page<&'a ListState>,
    /// In the same order as the lists.
    pub(super) targets: Page<&'a TargetState>,
    /// Segments whose newest export failed come first.
    pub(super) segments: Page<SegmentRow<'a>>,
    pub(super) jobs: Page<JobRow<'a>>,
}

/// Totals of everything that the exporter watches. The query does not affect them.
#[derive(Debug, Default)]
pub(super) struct Totals {
    pub(super) targets: usize,
    pub(super) up: usize,
    /// Targets that have not been read.
    pub(super) waiting: usize,
    pub(super) failing_lists: usize,
    pub(super) segments: usize,
    pub(super) failed_segments: usize,
    /// Number of shown jobs by status.
    pub(super) jobs: BTreeMap<&'static str, usize>,
    pub(super) active_jobs: usize,
}

/// One page of a listing.
#[derive(Debug)]
pub(super) struct Page<T> {
    pub(super) rows: Vec<T>,
    pub(super) number: usize,
    pub(super) numbers: usize,
    pub(super) total: usize,
}

impl<T> Page<T> {
    /// Selects one page. `order` must not treat any two items as equal. Only the items of the page are sorted.
    fn cut(mut all: Vec<T>, Number(page): Number, order: impl Fn(&T, &T) -> Ordering) -> Self {
        let total = all.len();
        let begin = (page - 1).saturating_mul(ROWS).min(total);
        let end = (begin + ROWS).min(total);
        if end < total {
            all.select_nth_unstable_by(end, &order);
            all.truncate(end);
        }
        if begin < end {
            all.select_nth_unstable_by(begin, &order);
        }
        let mut rows = all.split_off(begin);
        rows.sort_unstable_by(order);
        Self { rows, number: page, numbers: total.div_ceil(ROWS).max(1), total }
    }
}

/// The names of an application and of a segment in it, if they are known.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct RowNames<'a> {
    pub(super) application: Option<&'a str>,
    pub(super) segment: Option<&'a str>,
}

impl<'a> RowNames<'a> {
    pub(super) fn of(names: &'a KnownNames, segment_id: Option<&str>) -> Self {
        Self {
            application: names.application.as_deref(),
            segment: names.segment(segment_id.unwrap_or_default()),
        }
    }

    /// Whether one of the names contains `part`, which is in lower case. Ignores the case of the names.
    fn hold(self, part: &str) -> bool {
        let names = [self.application, self.segment];
        names.into_iter().flatten().any(|name| name.to_lowercase().contains(part))
    }
}

/// A segment, and the target that it belongs to.
#[derive(Debug, Clone, Copy)]
pub(super) struct SegmentRow<'a> {
    pub(super) target: &'a Target,
    pub(super) names: RowNames<'a>,
    pub(super) segment: &'a Segment,
}

/// A job, and the target that it belongs to.
#[derive(Debug, Clone, Copy)]
pub(super) struct JobRow<'a> {
    pub(super) target: &'a Target,
    pub(super) names: RowNames<'a>,
    pub(super) job: &'a ExportJob,
}

impl SegmentRow<'_> {
    pub(super) fn failed(&self) -> bool {
        self.segment.latest.is_some_and(|latest| latest.status == JobStatus::Failed)
    }
}

impl<'a> View<'a> {
    pub(super) fn of(overview: &'a Overview, query: &Query) -> Self {
        let application = |id: &str| query.application.as_ref().is_none_or(|wanted| wanted == id);
        let segment = |id: &str| query.segment.as_ref().is_none_or(|wanted| wanted == id);
        let part = query.name.as_ref().map(|name| name.to_lowercase());
        let has_name = |names: RowNames<'_>| part.as_ref().is_none_or(|part| names.hold(part));
        let mut totals = Totals { targets: overview.targets.len(), ..Totals::default() };
        let (mut targets, mut segments, mut jobs) = (Vec::new(), Vec::new(), Vec::new());
        for state in &overview.targets {
            totals.up += usize::from(state.is_up());
            totals.waiting += usize::from(state.reading.is_none());
            let (target, shown) = (&state.target, state.segments().unwrap_or_default());
            let of_application = application(&target.application_id);
            let names = |id: Option<&str>| RowNames::of(&state.names, id);
            let is_meant = |id: &str| segment(id) && has_name(names(Some(id)));
            let of_segment = match &target.segment_id {
                Some(id) => is_meant(id),
                None if query.segment.is_none() && has_name(names(None)) => true,
                None => shown.iter().any(|it| is_meant(&it.id)),
            };
            if of_application && of_segment {
                targets.push(state);
            }
            for it in shown {
                let names = names(Some(&it.id));
                let row = SegmentRow { target, names, segment: it };
                totals.add(row);
                if !of_application || !segment(&it.id) || !has_name(names) {
                    continue;
                }
                segments.push(row);
                let in_state =
                    |job: &&ExportJob| query.statuses.is_empty() || query.statuses.contains(&job.status);
                jobs.extend(it.jobs.iter().filter(in_state).map(|job| JobRow { target, names, job }));
            }
        }
        let lists = overview.lists.iter();
        totals.failing_lists = lists.clone().filter(|list| list.last_error().is_some()).count();
        let lists = lists.filter(|list| {
            let names = RowNames { application: list.application_name.as_deref(), segment: None };
            list.list_id.application_id.as_deref().is_none_or(|id| application(id) && has_name(names))
        });
        Self {
            now: overview.now,
            only_account_and_region: overview.only_account_and_region(),
            totals,
            lists: Page::cut(lists.collect(), query.lists_page, |a, b| {
                let key = |it: &ListState| (it.last_error().is_none(), it.reading.is_some());
                key(a).cmp(&key(b)).then_with(|| a.list_id.cmp(&b.list_id))
            }),
            targets: Page::cut(targets, query.targets_page, |a, b| {
                let key = |it: &TargetState| (it.last_error().is_none(), it.reading.is_some());
                key(a).cmp(&key(b)).then_with(|| a.target.cmp(&b.target))
            }),
            segments: Page::cut(segments, query.segments_page, |a, b| {
                let place = |it: &SegmentRow<'a>| (!it.failed(), it.target, &it.segment.id);
                place(a).cmp(&place(b))
            }),
            jobs: Page::cut(jobs, query.page, |a, b| query.sort.compare(a, b)),
        }
    }
}

impl Totals {
    fn add(&mut self, row: SegmentRow<'_>) {
        self.segments += 1;
        self.failed_segments += usize::from(row.failed());
        for job in &row.segment.jobs {
            *self.jobs.entry(job.status.as_str()).or_default() += 1;
            self.active_jobs += usize::from(job.status.is_active());
        }
    }
}

impl Sort {
    /// Jobs that lack the sort value come last in both directions. Among equal jobs, the newest comes first.
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
        let newest = |row: &JobRow<'_>| Reverse(row.job.creation_date);
        first
            .then_with(|| newest(a).cmp(&newest(b)))
            .then_with(|| (a.target, &a.job.id).cmp(&(b.target, &b.job.id)))
    }

    fn turn(self, order: Ordering) -> Ordering {
        if self.descending { order.reverse() } else { order }
    }
}
