//! Renders the view as JSON, as `docs/jobs.schema.json` describes it. It contains dates and no ages, so that the same data
//! always give the same bytes.

use std::{borrow::Cow, collections::BTreeMap};

use serde::Serialize;

use super::{
    age::rfc3339,
    view::{JobRow, Page, RowNames, SegmentRow, Totals, View},
};
use crate::{
    config::EffectiveSetting,
    model::{
        overview::{CallError, LastRead, ListState, TargetState},
        timestamp::Timestamp,
    },
};

#[derive(Serialize)]
struct Document<'a> {
    totals: TotalsItem<'a>,
    lists: Rows<ListItem<'a>>,
    targets: Rows<TargetItem<'a>>,
    segments: Rows<SegmentItem<'a>>,
    jobs: Rows<JobItem<'a>>,
    settings: &'a [EffectiveSetting],
}

#[derive(Serialize)]
struct TotalsItem<'a> {
    targets: usize,
    targets_up: usize,
    targets_not_read: usize,
    lists_failing: usize,
    segments: usize,
    segments_failed: usize,
    jobs_active: usize,
    jobs_by_status: &'a BTreeMap<&'static str, usize>,
}

#[derive(Serialize)]
struct Rows<T> {
    total: usize,
    page: usize,
    pages: usize,
    items: Vec<T>,
}

impl<T> Rows<T> {
    fn of<'a, R>(page: &'a Page<R>, item: impl Fn(&'a R) -> T) -> Self {
        Self {
            total: page.total,
            page: page.number,
            pages: page.numbers,
            items: page.rows.iter().map(item).collect(),
        }
    }
}

#[derive(Serialize)]
struct ListItem<'a> {
    account_id: &'a str,
    region: &'a str,
    application_id: Option<&'a str>,
    application_name: Option<&'a str>,
    up: bool,
    error: Option<&'a CallError>,
    found: Option<usize>,
    last_reading: Option<ReadingItem>,
}

#[derive(Serialize)]
struct TargetItem<'a> {
    account_id: &'a str,
    region: &'a str,
    application_id: &'a str,
    segment_id: Option<&'a str>,
    application_name: Option<&'a str>,
    segment_name: Option<&'a str>,
    up: bool,
    error: Option<Cow<'a, CallError>>,
    data_as_of: Option<String>,
    jobs_listed: Option<u64>,
    last_reading: Option<ReadingItem>,
}

#[derive(Serialize)]
struct ReadingItem {
    began: Option<String>,
    seconds: f64,
    next: Option<String>,
}

#[derive(Serialize)]
struct SegmentItem<'a> {
    account_id: &'a str,
    region: &'a str,
    application_id: &'a str,
    segment_id: &'a str,
    application_name: Option<&'a str>,
    segment_name: Option<&'a str>,
    latest_status: Option<&'static str>,
    latest_created: Option<String>,
    last_completed: Option<String>,
    last_failed: Option<String>,
    jobs_listed: u64,
    jobs_shown: usize,
}

#[derive(Serialize)]
struct JobItem<'a> {
    account_id: &'a str,
    region: &'a str,
    application_id: &'a str,
    segment_id: &'a str,
    application_name: Option<&'a str>,
    segment_name: Option<&'a str>,
    job_id: &'a str,
    status: &'static str,
    created: Option<String>,
    completed: Option<String>,
    pieces: Option<i64>,
    completed_pieces: Option<i64>,
    failed_pieces: Option<i64>,
    processed_endpoints: Option<i64>,
    failed_endpoints: Option<i64>,
    failure_samples: Option<usize>,
    /// Present only with `SHOW_FAILURES`.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    failures: &'a [String],
    job_type: Option<&'a str>,
    segment_version: Option<i64>,
    s3_url_prefix: Option<&'a str>,
    role_arn: Option<&'a str>,
}

fn date(date: Option<Timestamp>) -> Option<String> {
    date.and_then(rfc3339)
}

pub(super) fn json(view: &View<'_>, settings: &[EffectiveSetting]) -> String {
    written(&Document {
        totals: totals(&view.totals),
        lists: Rows::of(&view.lists, |state| list(state)),
        targets: Rows::of(&view.targets, |state| target(state)),
        segments: Rows::of(&view.segments, segment),
        jobs: Rows::of(&view.jobs, job),
        settings,
    })
}

pub(super) fn problem(problem: &str) -> String {
    written(&serde_json::json!({ "error": problem }))
}

fn written(value: &impl Serialize) -> String {
    // Serialization cannot fail: all keys are text, and every number is valid in JSON.
    let mut text = serde_json::to_string(value).unwrap_or_default();
    text.push('\n');
    text
}

fn totals(totals: &Totals) -> TotalsItem<'_> {
    TotalsItem {
        targets: totals.targets,
        targets_up: totals.up,
        targets_not_read: totals.waiting,
        lists_failing: totals.failing_lists,
        segments: totals.segments,
        segments_failed: totals.failed_segments,
        jobs_active: totals.active_jobs,
        jobs_by_status: &totals.jobs,
    }
}

fn reading(LastRead { began, took, next, .. }: &LastRead) -> ReadingItem {
    ReadingItem { began: rfc3339(*began), seconds: took.as_secs_f64(), next: rfc3339(*next) }
}

fn list(state: &ListState) -> ListItem<'_> {
    ListItem {
        account_id: &state.list_id.account_id,
        region: &state.list_id.region,
        application_id: state.list_id.application_id.as_deref(),
        application_name: state.application_name.as_deref(),
        up: state.reading.is_some() && state.last_error().is_none(),
        error: state.last_error(),
        found: state.found,
        last_reading: state.reading.as_ref().map(reading),
    }
}

fn target(state: &TargetState) -> TargetItem<'_> {
    let names = RowNames::of(&state.names, state.target.segment_id.as_deref());
    TargetItem {
        account_id: &state.target.account_id,
        region: &state.target.region,
        application_id: &state.target.application_id,
        segment_id: state.target.segment_id.as_deref(),
        application_name: names.application,
        segment_name: names.segment,
        up: state.is_up(),
        error: state.last_error(),
        data_as_of: date(state.data.as_ref().map(|(as_of, _)| *as_of)),
        jobs_listed: state.jobs_listed(),
        last_reading: state.reading.as_ref().map(reading),
    }
}

fn segment<'a>(SegmentRow { target, names, segment }: &SegmentRow<'a>) -> SegmentItem<'a> {
    SegmentItem {
        account_id: &target.account_id,
        region: &target.region,
        application_id: &target.application_id,
        segment_id: &segment.id,
        application_name: names.application,
        segment_name: names.segment,
        latest_status: segment.latest.map(|latest| latest.status.as_str()),
        latest_created: date(segment.latest.and_then(|latest| latest.created)),
        last_completed: date(segment.last_completed),
        last_failed: date(segment.last_failed),
        jobs_listed: segment.listed(),
        jobs_shown: segment.jobs.len(),
    }
}

fn job<'a>(JobRow { target, names, job }: &JobRow<'a>) -> JobItem<'a> {
    JobItem {
        account_id: &target.account_id,
        region: &target.region,
        application_id: &target.application_id,
        segment_id: &job.segment_id,
        application_name: names.application,
        segment_name: names.segment,
        job_id: &job.id,
        status: job.status.as_str(),
        created: date(job.creation_date),
        completed: date(job.completion_date),
        pieces: job.total_pieces,
        completed_pieces: job.completed_pieces,
        failed_pieces: job.failed_pieces,
        processed_endpoints: job.total_processed,
        failed_endpoints: job.total_failures,
        failure_samples: job.failure_samples,
        failures: &job.failures,
        job_type: job.job_type.as_deref(),
        segment_version: job.segment_version,
        s3_url_prefix: job.s3_url_prefix.as_deref(),
        role_arn: job.role_arn.as_deref(),
    }
}
