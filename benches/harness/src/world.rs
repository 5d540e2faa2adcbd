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
    pub(crate) fn parse(counts: [&str; 3]) -> anyhow::Result<Self> {
        let [applications, segments, jobs] = counts.map(str::parse);
        Ok(Self { applications: applications?, segments: segments?, jobs: jobs? })
    }

    pub(crate) fn targets(self) -> usize {
        self.applications * self.segments
    }

    pub(crate) fn all_jobs(self) -> usize {
        self.targets() * self.jobs
    }

    /// The counts, as arguments of a program.
    pub(crate) fn arguments(self) -> [String; 3] {
        [self.applications, self.segments, self.jobs].map(|count| count.to_string())
    }

    /// What the exporter is told to watch: by name while the names fit into a variable of the environment.
    pub(crate) fn targets_setting(self) -> String {
        if self.targets() > 1000 {
            return "*/*".to_owned();
        }
        let mut text = String::new();
        for (application, segment) in self.all_segments() {
            let _ = write!(text, "{}/{} ", application_id(application), segment_id(application, segment));
        }
        text
    }

    fn all_segments(self) -> impl Iterator<Item = (usize, usize)> {
        (0..self.applications)
            .flat_map(move |application| (0..self.segments).map(move |segment| (application, segment)))
    }

    /// Every page by its path and query.
    pub(crate) fn pages(self) -> BTreeMap<String, Bytes> {
        let mut pages = self.pages_of_jobs(self.targets(), 0);
        let applications: Vec<_> = (0..self.applications)
            .map(|n| format!(r#"{{"Id":"{}","Name":"Application {n}"}}"#, application_id(n)))
            .collect();
        put(&mut pages, "/v1/apps", &applications);
        for application in 0..self.applications {
            let segments: Vec<_> = (0..self.segments).map(|n| segment(application, n)).collect();
            put(&mut pages, &segments_path(application), &segments);
        }
        pages
    }

    /// The pages of jobs of the first targets. The jobs differ from one `version` to the next.
    pub(crate) fn pages_of_jobs(self, targets: usize, version: usize) -> BTreeMap<String, Bytes> {
        let mut pages = BTreeMap::new();
        for (application, segment) in self.all_segments().take(targets) {
            let id = segment_id(application, segment);
            let jobs: Vec<_> = (0..self.jobs).map(|n| job(application, &id, n, version)).collect();
            put(&mut pages, &jobs_path(application, segment), &jobs);
        }
        pages
    }

    /// The path and query of every page of jobs.
    pub(crate) fn job_paths(self) -> Vec<String> {
        let segments = self.all_segments().map(|(application, segment)| jobs_path(application, segment));
        let pages = move |path: String| (0..pages_of(self.jobs)).map(move |page| page_path(&path, page));
        segments.flat_map(pages).collect()
    }
}

/// Cuts a listing into pages.
fn put(pages: &mut BTreeMap<String, Bytes>, path: &str, items: &[String]) {
    let count = pages_of(items.len());
    for page in 0..count {
        let rows = &items[page * PAGE..items.len().min((page + 1) * PAGE)];
        let next = if page + 1 < count { format!(r#","NextToken":"{}""#, page + 1) } else { String::new() };
        let body = format!(r#"{{"Item":[{}]{next}}}"#, rows.join(","));
        pages.insert(page_path(path, page), body.into());
    }
}

fn pages_of(items: usize) -> usize {
    items.div_ceil(PAGE).max(1)
}

fn page_path(path: &str, page: usize) -> String {
    let token = if page == 0 { String::new() } else { format!("&token={page}") };
    format!("{path}?page-size={PAGE}{token}")
}

fn segments_path(application: usize) -> String {
    format!("/v1/apps/{}/segments", application_id(application))
}

fn jobs_path(application: usize, segment: usize) -> String {
    format!("{}/{}/jobs/export", segments_path(application), segment_id(application, segment))
}

fn application_id(n: usize) -> String {
    format!("6e0b7591a90841d2b5d93fa1{n:08x}")
}

fn segment_id(application: usize, n: usize) -> String {
    format!("b66c9e42f71444b2{application:08x}{n:08x}")
}

/// A segment as AWS's guide shows it, with a small condition: 0.4 kB.
fn segment(application: usize, n: usize) -> String {
    format!(
        concat!(
            r#"{{"ApplicationId":"{app}","Arn":"arn:aws:mobiletargeting:eu-west-1:123456789012:apps/{app}/segments/{id}","#,
            r#""CreationDate":"2026-11-01T00:00:00.000Z","Dimensions":{{"Attributes":{{}},"Location":{{"Country":{{"#,
            r#""DimensionType":"INCLUSIVE","Values":["DE"]}}}}}},"Id":"{id}","LastModifiedDate":"2026-11-01T00:00:00.000Z","#,
            r#""Name":"Segment {n}","SegmentType":"DIMENSIONAL","Version":1}}"#
        ),
        app = application_id(application),
        id = segment_id(application, n),
        n = n,
    )
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
