//! The jobs that are measured: as many applications, segments and jobs as asked for, in the pages of Pinpoint's API.

use std::{collections::BTreeMap, fmt::Write as _};

use bytes::Bytes;

/// How many jobs, and how they are spread.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) applications: usize,
    /// Of each application.
    pub(crate) segments: usize,
    /// Of each segment.
    pub(crate) jobs: usize,
}

/// Jobs a page holds, the exporter's default.
const PAGE: usize = 100;

impl Shape {
    pub(crate) fn targets(self) -> usize {
        self.applications * self.segments
    }

    pub(crate) fn all_jobs(self) -> usize {
        self.targets() * self.jobs
    }

    /// What the exporter is told to watch: by name while they fit into a variable of the environment.
    pub(crate) fn targets_setting(self) -> String {
        let mut text = String::new();
        for application in 0..self.applications {
            if self.targets() > 1000 {
                let _ = write!(text, "{}/* ", application_id(application));
                continue;
            }
            for segment in 0..self.segments {
                let _ = write!(text, "{}/{} ", application_id(application), segment_id(application, segment));
            }
        }
        text
    }

    /// Every page by its path and query. Jobs of the first `changed` targets differ from one `version` to the next.
    pub(crate) fn pages(self, version: usize, changed: usize) -> BTreeMap<String, Bytes> {
        let mut pages = BTreeMap::new();
        for application in 0..self.applications {
            let path = format!("/v1/apps/{}/segments", application_id(application));
            let list = (0..self.segments)
                .map(|segment| format!(r#"{{"Id":"{}"}}"#, segment_id(application, segment)));
            put(&mut pages, &path, &list.collect::<Vec<_>>());
            for segment in 0..self.segments {
                let version = if application * self.segments + segment < changed { version } else { 0 };
                let id = segment_id(application, segment);
                let jobs: Vec<_> = (0..self.jobs).map(|n| job(application, &id, n, version)).collect();
                put(&mut pages, &format!("{path}/{id}/jobs/export"), &jobs);
            }
        }
        pages
    }
}

/// Cuts a listing into pages.
fn put(pages: &mut BTreeMap<String, Bytes>, path: &str, items: &[String]) {
    let count = items.len().div_ceil(PAGE).max(1);
    for page in 0..count {
        let rows = &items[page * PAGE..items.len().min((page + 1) * PAGE)];
        let next = if page + 1 < count { format!(r#","NextToken":"{}""#, page + 1) } else { String::new() };
        let token = if page == 0 { String::new() } else { format!("&token={page}") };
        let body = format!(r#"{{"Item":[{}]{next}}}"#, rows.join(","));
        pages.insert(format!("{path}?page-size={PAGE}{token}"), body.into());
    }
}

fn application_id(n: usize) -> String {
    format!("6e0b7591a90841d2b5d93fa1{n:08x}")
}

fn segment_id(application: usize, n: usize) -> String {
    format!("b66c9e42f71444b2{application:08x}{n:08x}")
}

/// A job as AWS's guide shows it, with some messages about failures: 1.2 kB.
fn job(application: usize, segment: &str, n: usize, version: usize) -> String {
    let app = application_id(application);
    // Few are under way, as in life: those are shown whatever the limits.
    let status = match n % 100 {
        50 => "PROCESSING",
        n if n % 5 == 3 => "FAILED",
        _ => "COMPLETED",
    };
    let processed = 217 + 1_000 * n + version;
    let (hour, minute, second) = (n / 3600 % 24, n / 60 % 60, n % 60);
    let failures: Vec<_> = (0..6)
        .map(|line| format!(r#""endpoint {n:06}-{line}: the address user-{line}@example.com is not valid in this channel""#))
        .collect();
    format!(
        concat!(
            r#"{{"ApplicationId":"{app}","CompletedPieces":{pieces},"CompletionDate":"2026-11-20T{h:02}:{m:02}:{s:02}.141Z","#,
            r#""CreationDate":"2026-11-19T{h:02}:{m:02}:{s:02}.271Z","Definition":{{"RoleArn":"arn:aws:iam::123456789012:role/pinpoint-export","#,
            r#""S3UrlPrefix":"s3://exports.example.com/nightly/{segment}/","SegmentId":"{segment}","SegmentVersion":3}},"FailedPieces":1,"#,
            r#""Failures":[{failures}],"Id":"{id}","JobStatus":"{status}","TotalFailures":6,"TotalPieces":24,"#,
            r#""TotalProcessed":{processed},"Type":"EXPORT"}}"#
        ),
        app = app,
        pieces = n % 24,
        h = hour,
        m = minute,
        s = second,
        segment = segment,
        id = format_args!("{}{n:08x}", &segment[8..]),
        failures = failures.join(","),
        status = status,
        processed = processed,
    )
}
