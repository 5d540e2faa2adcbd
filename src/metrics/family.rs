//! A metric family: its name, type and HELP, and how its samples are written.

use std::fmt::Write;

use crate::model::{
    job::ExportJob,
    job_status::JobStatus,
    names::{NamedResource, TagLabels},
    snapshot::{Segment, TargetStatus},
    status_series::StatusSeries,
    timestamp::Timestamp,
};

#[derive(Debug)]
pub struct Family {
    pub name: &'static str,
    pub help: &'static str,
    pub kind: Kind,
    /// The names of all labels, in order.
    pub labels: &'static [&'static str],
    pub(super) source: Source,
}

/// The type of a metric, as in the text format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Kind {
    /// The word in the TYPE line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// The source of a family's samples.
#[derive(Debug, Clone, Copy)]
pub(super) enum Source {
    /// Called for each exported job.
    Job(fn(&ExportJob, &mut Samples<'_>)),
    /// Called for each application that was found in a list.
    ApplicationInfo(fn(&Info<'_>, &mut Samples<'_>)),
    /// Called for each segment that was found in a list.
    SegmentInfo(fn(&Info<'_>, &mut Samples<'_>)),
    Segment(fn(&Segment, &mut Samples<'_>)),
    Target(fn(&TargetStatus, &mut Samples<'_>)),
    /// Called for each list of applications or segments, with whether it was read.
    Discovery(fn(bool, &mut Samples<'_>)),
    /// Called once for each scrape.
    Scrape(fn(&ScrapeFacts, &mut Samples<'_>)),
    /// A counter, gauge or histogram in the registry of [`super::telemetry`].
    Telemetry,
}

/// What a scrape reports about the exporter.
#[derive(Debug, Clone, Default)]
pub struct ScrapeFacts {
    /// When the credentials expire, by account. Credentials without an expiration are left out.
    pub credentials_expiry: Vec<(String, Timestamp)>,
    /// Lookups of cached targets so far.
    pub cache_lookups: u64,
    /// Lookups that neither started nor joined a refresh.
    pub cache_hits: u64,
    /// The duration of the last scrape that ended.
    pub last_duration_seconds: f64,
    /// The number of job, segment and target series in this response.
    pub series: usize,
    /// Whether the last reload of the configuration files succeeded, and when one last did. `None` without such files.
    pub config_reload: Option<(bool, Timestamp)>,
    /// When the served certificate expires. `None` without TLS.
    pub certificate_expiry: Option<Timestamp>,
}

/// An application or segment as found in a list.
#[derive(Debug, Clone, Copy)]
pub struct Info<'a> {
    pub(super) resource: &'a NamedResource,
    pub(super) tag_labels: &'a TagLabels,
}

impl Info<'_> {
    /// The label of the name, the `others`, and the labels of the tags. The value of a missing name or tag is `""`.
    pub(super) fn labels<'a>(
        &'a self,
        name: &'a str,
        others: &[(&'a str, &'a str)],
    ) -> Vec<(&'a str, &'a str)> {
        let Self { resource, tag_labels } = *self;
        let tags = tag_labels.labels.iter().zip(&resource.tags);
        let tags = tags.map(|(label, value)| (label.as_str(), value.as_deref().unwrap_or_default()));
        let name = (name, resource.name.as_deref().unwrap_or_default());
        std::iter::once(name).chain(others.iter().copied()).chain(tags).collect()
    }
}

/// Writes the samples of one family for one set of labels.
#[derive(Debug)]
pub(super) struct Samples<'a> {
    pub(super) text: &'a mut String,
    name: &'static str,
    /// `name="value",…`, without braces.
    labels: &'a str,
    pub(super) status_series: StatusSeries,
    pub(super) series: usize,
}

impl Samples<'_> {
    /// Writes an integer. `None` writes no series.
    pub(super) fn integer(&mut self, value: Option<i64>) {
        if let Some(value) = value {
            self.labelled(&[], value);
        }
    }

    /// Writes a date in seconds, with its milliseconds. `None` writes no series.
    pub(super) fn timestamp(&mut self, date: Option<Timestamp>) {
        if let Some(date) = date {
            self.labelled_timestamp(&[], date);
        }
    }

    /// Writes a date with additional labels.
    pub(super) fn labelled_timestamp(&mut self, labels: &[(&str, &str)], Timestamp(milliseconds): Timestamp) {
        self.start(labels);
        let sign = if milliseconds < 0 { "-" } else { "" };
        let (seconds, rest) = (milliseconds.unsigned_abs() / 1000, milliseconds.unsigned_abs() % 1000);
        let _ = match rest {
            0 => writeln!(self.text, "{sign}{seconds}"),
            rest => writeln!(self.text, "{sign}{seconds}.{rest:03}"),
        };
    }

    pub(super) fn seconds(&mut self, seconds: f64) {
        self.start(&[]);
        let _ = writeln!(self.text, "{seconds}");
    }

    /// Writes a number with additional labels.
    pub(super) fn labelled(&mut self, labels: &[(&str, &str)], value: impl itoa::Integer) {
        self.start(labels);
        self.text.push_str(itoa::Buffer::new().format(value));
        self.text.push('\n');
    }

    /// Writes the nine states of AWS's model. Other states are written only while they are the current one.
    pub(super) fn state_set(&mut self, current: JobStatus) {
        if self.status_series == StatusSeries::All {
            for status in JobStatus::ALL.into_iter().filter(|status| status.is_modelled()) {
                self.labelled(&[("status", status.as_str())], u8::from(status == current));
            }
        }
        if self.status_series == StatusSeries::Current || !current.is_modelled() {
            self.labelled(&[("status", current.as_str())], 1_u8);
        }
    }

    /// Writes the part of a line before the value.
    fn start(&mut self, labels: &[(&str, &str)]) {
        self.series += 1;
        self.text.push_str(self.name);
        if !self.labels.is_empty() || !labels.is_empty() {
            self.text.push('{');
            self.text.push_str(self.labels);
            for (name, value) in labels {
                push_label(self.text, name, value);
            }
            self.text.push('}');
        }
        self.text.push(' ');
    }
}

/// Appends `name="value"`, with a comma before it unless it is the first label.
pub(super) fn push_label(text: &mut String, name: &str, value: &str) {
    if !text.is_empty() && !text.ends_with('{') {
        text.push(',');
    }
    text.push_str(name);
    text.push_str("=\"");
    for part in value.split_inclusive(['\\', '"', '\n']) {
        match part.as_bytes().last() {
            Some(b'\\') => push_escaped(text, part, "\\\\"),
            Some(b'"') => push_escaped(text, part, "\\\""),
            Some(b'\n') => push_escaped(text, part, "\\n"),
            _ => text.push_str(part),
        }
    }
    text.push('"');
}

fn push_escaped(text: &mut String, part: &str, escape: &str) {
    text.push_str(&part[..part.len() - 1]);
    text.push_str(escape);
}

pub(super) fn samples<'a>(
    text: &'a mut String,
    family: &Family,
    labels: &'a str,
    status_series: StatusSeries,
) -> Samples<'a> {
    Samples { text, name: family.name, labels, status_series, series: 0 }
}

pub(super) fn push_header(text: &mut String, family: &Family) {
    let Family { name, help, kind, .. } = family;
    for part in ["# HELP ", name, " ", help, "\n# TYPE ", name, " ", kind.as_str(), "\n"] {
        text.push_str(part);
    }
}
