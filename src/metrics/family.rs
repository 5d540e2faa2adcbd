//! A metric family: its name, type and HELP, and how its samples are written.

use std::time::Duration;

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
    Scrape(ScrapeSample),
    /// A counter, gauge or histogram in the registry of [`super::telemetry`].
    Telemetry,
}

/// Writes the samples of a family about the scrape itself.
pub(super) type ScrapeSample = fn(&ScrapeFacts, &mut Samples<'_>);

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
    pub last_duration: Duration,
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

/// A text to which labels can be appended.
pub(super) trait Push {
    fn push_str(&mut self, text: &str);

    /// Appends `name="value"`, with a comma before it unless it is the first label.
    fn push_label(&mut self, is_first: bool, name: &str, value: &str) {
        if !is_first {
            self.push_str(",");
        }
        self.push_str(name);
        self.push_str("=\"");
        self.push_escaped(value);
        self.push_str("\"");
    }

    /// Appends the value of a label.
    fn push_escaped(&mut self, mut value: &str) {
        while let Some(at) = memchr::memchr3(b'\\', b'"', b'\n', value.as_bytes()) {
            self.push_str(&value[..at]);
            self.push_str(match value.as_bytes()[at] {
                b'\\' => "\\\\",
                b'"' => "\\\"",
                _ => "\\n",
            });
            value = &value[at + 1..];
        }
        self.push_str(value);
    }
}

impl Push for String {
    fn push_str(&mut self, text: &str) {
        Self::push_str(self, text);
    }
}

/// Samples in the text format.
#[derive(Debug)]
pub(super) enum Output {
    Text(String),
    /// Only the length of the text, which is much faster to find.
    Length(usize),
}

impl Output {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Length(length) => *length,
        }
    }

    pub(super) fn text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Length(_) => "",
        }
    }

    pub(super) fn into_text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Length(_) => String::new(),
        }
    }

    pub(super) fn truncate(&mut self, to: usize) {
        match self {
            Self::Text(text) => text.truncate(to),
            Self::Length(length) => *length = to.min(*length),
        }
    }
}

impl Push for Output {
    #[inline]
    fn push_str(&mut self, text: &str) {
        match self {
            Self::Text(all) => all.push_str(text),
            Self::Length(length) => *length += text.len(),
        }
    }
}

/// Writes the samples of one family for one set of labels.
#[derive(Debug)]
pub(super) struct Samples<'a> {
    out: &'a mut Output,
    /// The start of every line: `name{label="value",…`, without the closing brace. It ends with the brace if there are no
    /// labels.
    prefix: &'a str,
    status_series: StatusSeries,
    pub(super) series: usize,
}

impl<'a> Samples<'a> {
    pub(super) fn new(out: &'a mut Output, prefix: &'a str, status_series: StatusSeries) -> Self {
        Self { out, prefix, status_series, series: 0 }
    }

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
        if milliseconds < 0 {
            self.out.push_str("-");
        }
        let milliseconds = milliseconds.unsigned_abs();
        self.seconds(milliseconds / 1000, milliseconds % 1000, 1000);
    }

    /// Writes a duration in seconds.
    pub(super) fn duration(&mut self, duration: Duration) {
        self.start(&[]);
        self.seconds(duration.as_secs(), duration.subsec_nanos().into(), 1_000_000_000);
    }

    /// Writes seconds, and the rest in parts of which a second has so many. Formatting an `f64` takes four times as many instructions.
    fn seconds(&mut self, whole: u64, rest: u64, parts: u64) {
        self.out.push_str(itoa::Buffer::new().format(whole));
        if rest > 0 {
            // The leading 1 keeps the zeros.
            self.out.push_str(".");
            self.out.push_str(&itoa::Buffer::new().format(parts + rest)[1..]);
        }
        self.out.push_str("\n");
    }

    /// Writes a number with additional labels.
    pub(super) fn labelled(&mut self, labels: &[(&str, &str)], value: impl itoa::Integer) {
        self.start(labels);
        self.out.push_str(itoa::Buffer::new().format(value));
        self.out.push_str("\n");
    }

    /// Writes the nine states of AWS's model. Other states are written only while they are the current one.
    pub(super) fn state_set(&mut self, current: JobStatus) {
        if self.status_series == StatusSeries::All {
            for status in JobStatus::ALL.into_iter().filter(|status| status.is_modelled()) {
                self.state(status, status == current);
            }
        }
        if self.status_series == StatusSeries::Current || !current.is_modelled() {
            self.state(current, true);
        }
    }

    /// Writes one series of a state set. Half of all series are such, so it is written in as few parts as possible.
    fn state(&mut self, status: JobStatus, is_current: bool) {
        self.series += 1;
        self.out.push_str(self.prefix);
        self.out.push_str(",status=\"");
        self.out.push_str(status.as_str());
        self.out.push_str(if is_current { "\"} 1\n" } else { "\"} 0\n" });
    }

    /// Writes the part of a line before the value.
    fn start(&mut self, labels: &[(&str, &str)]) {
        self.series += 1;
        let name = self.prefix.strip_suffix('{');
        if let (Some(name), []) = (name, labels) {
            self.out.push_str(name);
            return self.out.push_str(" ");
        }
        self.out.push_str(self.prefix);
        for (at, (label, value)) in labels.iter().enumerate() {
            self.out.push_label(at == 0 && name.is_some(), label, value);
        }
        self.out.push_str("} ");
    }
}

pub(super) fn push_header(text: &mut impl Push, family: &Family) {
    let Family { name, help, kind, .. } = family;
    for part in ["# HELP ", name, " ", help, "\n# TYPE ", name, " ", kind.as_str(), "\n"] {
        text.push_str(part);
    }
}
