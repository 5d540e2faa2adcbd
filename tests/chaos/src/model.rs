//! What a listing must look like in a scrape: sections 1, 3 and 5 of the exporter's contract once more, from the JSON of the API to
//! series, sharing nothing with the exporter.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// A series: name and labels.
pub(crate) type Key = (String, BTreeMap<String, String>);
/// Series with their values.
pub(crate) type Series = BTreeMap<Key, f64>;

/// The region of every target.
pub(crate) const REGION: &str = "eu-west-1";

const STATUSES: [&str; 9] = [
    "CREATED",
    "PREPARING_FOR_INITIALIZATION",
    "INITIALIZING",
    "PROCESSING",
    "PENDING_JOB",
    "COMPLETING",
    "COMPLETED",
    "FAILING",
    "FAILED",
];

/// Those that have series only while a job is in them.
const OTHER_STATUSES: [&str; 3] = ["CANCELLING", "CANCELLED", "UNKNOWN"];

/// What can stand in `exception`, and which of them no answer of the API names.
const EXCEPTIONS: [&str; 26] = [
    "BadRequestException",
    "InternalServerErrorException",
    "PayloadTooLargeException",
    "ForbiddenException",
    "NotFoundException",
    "MethodNotAllowedException",
    "TooManyRequestsException",
    "AccessDeniedException",
    "ExpiredTokenException",
    "UnrecognizedClientException",
    "InvalidSignatureException",
    "SignatureDoesNotMatch",
    "MissingAuthenticationTokenException",
    "IncompleteSignatureException",
    "RequestExpired",
    "RequestTimeTooSkewed",
    "OptInRequired",
    "UnknownOperationException",
    "ThrottlingException",
    "InternalFailure",
    "ServiceUnavailableException",
    "Timeout",
    "ConnectionError",
    "TlsError",
    "InvalidResponse",
    "CredentialsError",
];

/// Failures that have no exception of AWS's.
pub(crate) const WITHOUT_ANSWER: [&str; 5] =
    ["Timeout", "ConnectionError", "TlsError", "InvalidResponse", "CredentialsError"];

/// The label of an error that the API answered with that name and status.
pub(crate) fn exception(name: &str, status: u16) -> &'static str {
    let bare = |name: &str| name.strip_suffix("Exception").unwrap_or(name).to_owned();
    if name.is_empty() {
        return match status {
            400 => "BadRequestException",
            403 => "ForbiddenException",
            404 => "NotFoundException",
            405 => "MethodNotAllowedException",
            413 => "PayloadTooLargeException",
            429 => "TooManyRequestsException",
            503 => "ServiceUnavailableException",
            500..600 => "InternalServerErrorException",
            _ => "Other",
        };
    }
    let known = EXCEPTIONS.iter().filter(|known| !WITHOUT_ANSWER.contains(known));
    known.copied().find(|known| bare(known) == bare(name)).unwrap_or("Other")
}

/// How the exporter bounds what it shows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// In milliseconds.
    pub(crate) max_age: i64,
    pub(crate) per_segment: usize,
    /// Whether a state set is only the series at 1.
    pub(crate) current_status_only: bool,
}

/// A job as it can be shown.
struct Job {
    id: String,
    segment: String,
    status: &'static str,
    counts: Vec<(&'static str, Option<i64>)>,
    created: Option<i64>,
    completed: Option<i64>,
    info: [(&'static str, String); 4],
}

impl Job {
    fn is_finished(&self) -> bool {
        ["COMPLETED", "FAILED", "CANCELLED", "UNKNOWN"].contains(&self.status)
    }

    fn date(&self) -> Option<i64> {
        self.completed.or(self.created)
    }
}

/// Reads members, and notes whether one was of no use.
struct Members<'a> {
    item: &'a Value,
    clean: bool,
}

impl Members<'_> {
    fn get<T>(&mut self, name: &str, read: impl FnOnce(&Value) -> Option<T>) -> Option<T> {
        let value = self.item.get(name).filter(|value| !value.is_null())?;
        let read = read(value);
        self.clean &= read.is_some();
        read
    }

    fn text(&mut self, name: &str) -> Option<String> {
        self.get(name, |value| value.as_str().map(str::to_owned))
    }

    fn count(&mut self, name: &str) -> Option<i64> {
        self.get(name, |value| value.as_i64().filter(|count| *count >= 0))
    }

    fn date(&mut self, name: &str) -> Option<i64> {
        self.get(name, |value| {
            let date = OffsetDateTime::parse(value.as_str()?, &Rfc3339).ok()?;
            i64::try_from(date.unix_timestamp_nanos().div_euclid(1_000_000)).ok()
        })
    }
}

/// An item as a job, if it can be one, and whether all of it was of use.
fn job(item: &Value, own_segment: Option<&str>) -> (Option<Job>, bool) {
    let mut members = Members { item, clean: true };
    let Some(id) = members.text("Id").filter(|id| !id.is_empty()) else { return (None, false) };
    let definition = members.get("Definition", |value| value.is_object().then(|| value.clone()));
    let definition = definition.unwrap_or(Value::Null);
    let mut inner = Members { item: &definition, clean: true };
    let status = members.text("JobStatus");
    let known = STATUSES.into_iter().chain(OTHER_STATUSES).find(|known| Some(*known) == status.as_deref());
    let version = inner.count("SegmentVersion");
    let failures = members.get("Failures", |value| {
        let list = value.as_array()?;
        list.iter().all(Value::is_string).then(|| i64::try_from(list.len()).ok())?
    });
    let job = Job {
        segment: own_segment.map(str::to_owned).or_else(|| inner.text("SegmentId")).unwrap_or_default(),
        status: known.unwrap_or("UNKNOWN"),
        counts: vec![
            ("pieces", members.count("TotalPieces")),
            ("completed_pieces", members.count("CompletedPieces")),
            ("failed_pieces", members.count("FailedPieces")),
            ("processed_endpoints", members.count("TotalProcessed")),
            ("failed_endpoints", members.count("TotalFailures")),
            ("failure_samples", failures),
        ],
        created: members.date("CreationDate"),
        completed: members.date("CompletionDate"),
        info: [
            ("job_type", members.text("Type").unwrap_or_default()),
            ("segment_version", version.map(|version| version.to_string()).unwrap_or_default()),
            ("s3_url_prefix", inner.text("S3UrlPrefix").unwrap_or_default()),
            ("role_arn", inner.text("RoleArn").unwrap_or_default()),
        ],
        id,
    };
    let clean = members.clean & inner.clean;
    (Some(job), clean)
}

/// Whether every item of a page can be understood whole.
pub(crate) fn is_clean(items: &[Value]) -> bool {
    items.iter().all(|item| matches!(job(item, None), (Some(_), true)))
}

/// Every series of a listing, read by an exporter when its date was `date`.
pub(crate) fn series(
    application: &str,
    own_segment: Option<&str>,
    items: &[Value],
    date: i64,
    bounds: Bounds,
) -> Series {
    // Of an id met twice the later one counts.
    let jobs = items.iter().filter_map(|item| job(item, own_segment).0);
    let jobs: BTreeMap<String, Job> = jobs.map(|job| (job.id.clone(), job)).collect();
    let mut segments: BTreeMap<String, Vec<&Job>> = BTreeMap::new();
    segments.extend(own_segment.map(|id| (id.to_owned(), Vec::new())));
    for job in jobs.values() {
        segments.entry(job.segment.clone()).or_default().push(job);
    }
    let mut out = Out { application, bounds, series: Series::new() };
    for (segment, jobs) in &segments {
        out.segment(segment, jobs, date);
    }
    out.series
}

struct Out<'a> {
    application: &'a str,
    bounds: Bounds,
    series: Series,
}

impl Out<'_> {
    fn put(&mut self, name: &str, segment: &str, more: &[(&str, &str)], value: f64) {
        let labels = [
            ("aws_account_id", ""),
            ("aws_region", REGION),
            ("application_id", self.application),
            ("segment_id", segment),
        ];
        let labels = labels.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        self.series.insert((format!("pinpoint_{name}"), labels.collect()), value);
    }

    fn timestamp(&mut self, name: &str, segment: &str, more: &[(&str, &str)], date: Option<i64>) {
        if let Some(date) = date {
            self.put(name, segment, more, number(date) / 1000.0);
        }
    }

    fn state_set(&mut self, name: &str, segment: &str, more: &[(&str, &str)], status: &str) {
        for candidate in STATUSES.into_iter().chain(OTHER_STATUSES) {
            let is_it = candidate == status;
            if is_it || (STATUSES.contains(&candidate) && !self.bounds.current_status_only) {
                let labels: Vec<_> = more.iter().copied().chain([("status", candidate)]).collect();
                self.put(name, segment, &labels, f64::from(u8::from(is_it)));
            }
        }
    }

    fn segment(&mut self, segment: &str, jobs: &[&Job], now: i64) {
        for status in STATUSES.into_iter().chain(OTHER_STATUSES) {
            let count = jobs.iter().filter(|job| job.status == status).count();
            if count > 0 || STATUSES.contains(&status) {
                self.put("segment_export_jobs", segment, &[("status", status)], whole(count));
            }
        }
        let latest = jobs.iter().max_by_key(|job| (job.created, &job.id));
        if let Some(latest) = latest {
            self.state_set("segment_latest_export_job_status", segment, &[], latest.status);
            let name = "segment_latest_export_job_created_timestamp_seconds";
            self.timestamp(name, segment, &[], latest.created);
        }
        for (status, name) in [
            ("COMPLETED", "segment_last_completed_export_timestamp_seconds"),
            ("FAILED", "segment_last_failed_export_timestamp_seconds"),
        ] {
            let newest = jobs.iter().filter(|job| job.status == status).filter_map(|job| job.completed).max();
            self.timestamp(name, segment, &[], newest);
        }
        let mut finished: Vec<_> = jobs.iter().filter(|job| job.is_finished()).collect();
        finished.sort_by_key(|job| std::cmp::Reverse((job.date(), &job.id)));
        let oldest = now.saturating_sub(self.bounds.max_age);
        let too_old = |job: &Job| job.date().is_some_and(|date| date < oldest);
        let by_age = finished.iter().filter(|job| too_old(job)).count();
        let shown = finished.iter().take(self.bounds.per_segment).filter(|job| !too_old(job));
        let shown: BTreeSet<&str> = shown.map(|job| job.id.as_str()).collect();
        let by_count = finished.len() - by_age - shown.len();
        for (reason, count) in [("age", by_age), ("count", by_count)] {
            self.put("segment_suppressed_export_jobs", segment, &[("reason", reason)], whole(count));
        }
        for job in jobs.iter().filter(|job| !job.is_finished() || shown.contains(job.id.as_str())) {
            self.job(segment, job);
        }
    }

    fn job(&mut self, segment: &str, job: &Job) {
        let id = [("job_id", job.id.as_str())];
        for (name, count) in &job.counts {
            if let Some(count) = count {
                self.put(&format!("export_job_{name}"), segment, &id, number(*count));
            }
        }
        self.timestamp("export_job_created_timestamp_seconds", segment, &id, job.created);
        self.timestamp("export_job_completed_timestamp_seconds", segment, &id, job.completed);
        self.state_set("export_job_status", segment, &id, job.status);
        let info = job.info.iter().map(|(name, value)| (*name, value.as_str()));
        let labels: Vec<_> = id.into_iter().chain(info).collect();
        self.put("export_job_info", segment, &labels, 1.0);
    }
}

#[expect(clippy::cast_precision_loss, reason = "the worlds of the harness hold no such numbers")]
fn number(count: i64) -> f64 {
    count as f64
}

fn whole(count: usize) -> f64 {
    number(i64::try_from(count).unwrap_or(i64::MAX))
}
