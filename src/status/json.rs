//! The view as JSON, as `docs/api/jobs.schema.json` describes it. The same data are the same bytes, whenever they are asked for.

use serde::Serialize;

use super::{
    Reading, TargetState,
    age::rfc3339,
    view::{JobRow, Page, SegmentRow, View},
    words::CallError,
};
use crate::job::Timestamp;

#[derive(Serialize)]
struct Document<'a> {
    targets: Rows<TargetItem<'a>>,
    segments: Rows<SegmentItem<'a>>,
    jobs: Rows<JobItem<'a>>,
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
struct TargetItem<'a> {
    account_id: &'a str,
    region: &'a str,
    application_id: &'a str,
    segment_id: Option<&'a str>,
    up: bool,
    last_success: Option<String>,
    last_refresh: Option<ReadingItem<'a>>,
}

#[derive(Serialize)]
struct ReadingItem<'a> {
    began: Option<String>,
    seconds: f64,
    next: Option<String>,
    error: Option<&'a CallError>,
}

#[derive(Serialize)]
struct SegmentItem<'a> {
    account_id: &'a str,
    region: &'a str,
    application_id: &'a str,
    segment_id: &'a str,
    latest_status: Option<&'static str>,
    latest_created: Option<String>,
    last_completed: Option<String>,
    last_failed: Option<String>,
    jobs_shown: usize,
    jobs_left_out: u64,
}

#[derive(Serialize)]
struct JobItem<'a> {
    account_id: &'a str,
    region: &'a str,
    application_id: &'a str,
    segment_id: &'a str,
    id: &'a str,
    status: &'static str,
    created: Option<String>,
    completed: Option<String>,
    pieces: Option<i64>,
    completed_pieces: Option<i64>,
    failed_pieces: Option<i64>,
    processed_endpoints: Option<i64>,
    failed_endpoints: Option<i64>,
    failure_samples: Option<usize>,
    /// With `SHOW_FAILURES` alone.
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

pub(super) fn json(view: &View<'_>) -> String {
    let document = Document {
        targets: Rows::of(&view.targets, |state| target(state)),
        segments: Rows::of(&view.segments, segment),
        jobs: Rows::of(&view.jobs, job),
    };
    written(&document)
}

pub(super) fn problem(problem: &str) -> String {
    written(&serde_json::json!({ "error": problem }))
}

fn written(value: &impl Serialize) -> String {
    // There is no map with other keys than texts in it, and no number that JSON lacks.
    let mut text = serde_json::to_string(value).unwrap_or_default();
    text.push('\n');
    text
}

fn target(state: &TargetState) -> TargetItem<'_> {
    let reading = |reading: &'_ Reading| -> (Option<String>, f64, Option<String>) {
        (rfc3339(reading.began), reading.took.as_secs_f64(), rfc3339(reading.next))
    };
    TargetItem {
        account_id: &state.target.account_id,
        region: &state.target.region,
        application_id: &state.target.application_id,
        segment_id: state.target.segment_id.as_deref(),
        up: state.is_up(),
        last_success: date(state.data.as_ref().map(|(as_of, _)| *as_of)),
        last_refresh: state.reading.as_ref().map(|it| {
            let (began, seconds, next) = reading(it);
            ReadingItem { began, seconds, next, error: it.error.as_ref() }
        }),
    }
}

fn segment<'a>(SegmentRow { target, segment }: &SegmentRow<'a>) -> SegmentItem<'a> {
    SegmentItem {
        account_id: &target.account_id,
        region: &target.region,
        application_id: &target.application_id,
        segment_id: &segment.id,
        latest_status: segment.latest.map(|latest| latest.status.as_str()),
        latest_created: date(segment.latest.and_then(|latest| latest.created)),
        last_completed: date(segment.last_completed),
        last_failed: date(segment.last_failed),
        jobs_shown: segment.jobs.len(),
        jobs_left_out: segment.suppressed_by_age + segment.suppressed_by_count,
    }
}

fn job<'a>(JobRow { target, job }: &JobRow<'a>) -> JobItem<'a> {
    JobItem {
        account_id: &target.account_id,
        region: &target.region,
        application_id: &target.application_id,
        segment_id: &job.segment_id,
        id: &job.id,
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
