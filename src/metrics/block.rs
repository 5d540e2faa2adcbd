//! The families of a target, a list or a set of names. They are rendered when a response needs them.
//!
//! A block keeps the values and the length of their text, but not the text: it is many times as large as the values, and
//! Prometheus always asks for the compressed form.

use std::sync::{Arc, LazyLock, OnceLock};

use super::{
    catalogue::FAMILIES,
    deflate::{self, Deflated},
    family::{Family, Info, Output, Push as _, Samples, ScrapeFacts, ScrapeSample, Source, push_header},
};
use crate::model::{
    job::ExportJob,
    list_id::ListId,
    names::{NamedResource, TagLabels},
    snapshot::{Snapshot, TargetStatus},
    status_series::StatusSeries,
    target::Target,
};

/// Blocks with at least this much text are compressed on their own. Smaller ones are compressed together with their
/// neighbours, because the first line of each compressed piece takes as many bytes as a hundred later ones.
const ALONE_FROM: usize = 128 * 1024;

/// How much text is rendered before it is compressed or sent. It is then still in the processor's cache, and the compressor's
/// window has room for two such parts. A connection that reads slowly keeps about this much text in memory.
pub(super) const RENDERED_AT_ONCE: usize = 29 * 1024;

const _: () =
    assert!(2 * RENDERED_AT_ONCE <= deflate::BETWEEN_STARTS, "the window has no room for two parts");

/// The samples of some families.
#[derive(Debug, Clone, Default)]
pub struct Block(Arc<Families>);

#[derive(Debug, Default)]
struct Families {
    /// The labels that all samples have, without braces.
    labels: String,
    values: Values,
    status_series: StatusSeries,
    /// The length of each family's text, in the order of the catalogue.
    lengths: Box<[usize]>,
    series: usize,
    deflated: OnceLock<Deflated>,
}

#[derive(Debug, Default)]
enum Values {
    #[default]
    None,
    Snapshot(Arc<Snapshot>),
    Target(TargetStatus),
    Names(Names),
    /// Whether the list was read.
    Discovery(bool),
}

/// The shown names of an application and its segments.
#[derive(Debug, Clone, Default)]
pub struct Names {
    pub application: Option<NamedResource>,
    pub segments: Arc<[NamedResource]>,
    /// The indices of the segments that are shown.
    pub shown: Vec<usize>,
    pub tag_labels: Arc<TagLabels>,
}

/// Where the rendering of a family continues.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Cursor {
    outer: usize,
    inner: usize,
}

/// The families of a target's jobs and segments.
pub fn snapshot(target: &Target, snapshot: &Arc<Snapshot>, status_series: StatusSeries) -> Block {
    let labels = labels(&[
        ("aws_account_id", &target.account_id),
        ("aws_region", &target.region),
        ("application_id", &target.application_id),
    ]);
    Block::new(labels, Values::Snapshot(Arc::clone(snapshot)), status_series)
}

/// The families of a target's status.
pub fn target_status(target: &Target, status: TargetStatus) -> Block {
    let labels = labels(&[
        ("aws_account_id", &target.account_id),
        ("aws_region", &target.region),
        ("application_id", &target.application_id),
        ("segment_id", target.segment_id.as_deref().unwrap_or_default()),
    ]);
    Block::new(labels, Values::Target(status), StatusSeries::All)
}

/// The info families of an application and its segments. The array holds the account, the region and the application.
pub fn names([account_id, region, application_id]: [&str; 3], names: Names) -> Block {
    let labels =
        labels(&[("aws_account_id", account_id), ("aws_region", region), ("application_id", application_id)]);
    Block::new(labels, Values::Names(names), StatusSeries::All)
}

/// The family that shows whether a list of applications or segments was read.
pub fn discovery_status(list_id: &ListId, up: bool) -> Block {
    let labels = labels(&[
        ("aws_account_id", &list_id.account_id),
        ("aws_region", &list_id.region),
        ("application_id", list_id.application_id.as_deref().unwrap_or_default()),
    ]);
    Block::new(labels, Values::Discovery(up), StatusSeries::All)
}

/// The families about the scrape itself: HELP and TYPE, the start of every line, and what writes the samples.
static SCRAPE_FAMILIES: LazyLock<Vec<(String, String, ScrapeSample)>> = LazyLock::new(|| {
    let of_scrape = |family: &Family| {
        let Source::Scrape(sample) = family.source else { return None };
        let (mut header, mut prefix) = (String::new(), String::new());
        push_header(&mut header, family);
        start(&mut prefix, family, "");
        Some((header, prefix, sample))
    };
    FAMILIES.iter().filter_map(of_scrape).collect()
});

/// Renders the families about the scrape itself, with HELP and TYPE.
pub fn scrape_facts(facts: &ScrapeFacts) -> String {
    let mut out = Output::Text(String::with_capacity(2048));
    for (header, prefix, sample) in SCRAPE_FAMILIES.iter() {
        let before = out.len();
        out.push_str(header);
        let mut samples = Samples::new(&mut out, prefix, StatusSeries::All);
        sample(facts, &mut samples);
        if samples.series == 0 {
            out.truncate(before);
        }
    }
    out.into_text()
}

fn labels(pairs: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (at, (name, value)) in pairs.iter().enumerate() {
        text.push_label(at == 0, name, value);
    }
    text
}

/// Begins the part of a line that all samples of a family share.
fn start(prefix: &mut String, family: &Family, labels: &str) {
    prefix.clear();
    prefix.push_str(family.name);
    prefix.push('{');
    prefix.push_str(labels);
}

impl Block {
    fn new(labels: String, values: Values, status_series: StatusSeries) -> Self {
        let mut families = Families { labels, values, status_series, ..Families::default() };
        let mut series = 0;
        let lengths = (0..FAMILIES.len()).map(|family| {
            let mut out = Output::Length(0);
            series += families.count(family, &mut out);
            out.len()
        });
        families.lengths = lengths.collect();
        // `pinpoint_exporter_series` counts only the series of jobs, segments and targets.
        families.series = if matches!(families.values, Values::Names(_)) { 0 } else { series };
        Self(Arc::new(families))
    }

    /// Whether it is compressed on its own.
    pub(super) fn is_alone(&self) -> bool {
        self.0.lengths.iter().sum::<usize>() >= ALONE_FROM
    }

    /// Compresses the block now if it is compressed on its own.
    pub fn compress_ahead(&self) {
        if self.is_alone() {
            self.deflated();
        }
    }

    /// Its compressed text. It is compressed at the first call.
    pub(super) fn deflated(&self) -> &Deflated {
        self.0.deflated.get_or_init(|| Deflated::of(std::slice::from_ref(self)))
    }

    /// The length of a family's text.
    pub(super) fn length(&self, family: usize) -> usize {
        self.0.lengths.get(family).copied().unwrap_or_default()
    }

    /// The number of job, segment and target series.
    pub(super) fn series(&self) -> usize {
        self.0.series
    }

    /// The place of the block in memory.
    pub(super) fn address(&self) -> usize {
        Arc::as_ptr(&self.0) as usize
    }

    /// Whether both are the same block.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Renders a family from the cursor on, until `out` has at least `limit` bytes. Returns whether the family is complete.
    pub(super) fn render(&self, family: usize, cursor: &mut Cursor, out: &mut Output, limit: usize) -> bool {
        self.0.render(family, cursor, out, limit).1
    }

    /// The number of series of each family.
    pub fn series_by_family(&self) -> impl Iterator<Item = (&'static str, usize)> {
        let count = |family| self.0.count(family, &mut Output::Length(0));
        FAMILIES.iter().enumerate().map(move |(at, family)| (family.name, count(at)))
    }

    /// An upper bound on its memory in bytes while it is replaced, in addition to its values. During that time two blocks hold
    /// each compressed piece, and two responses hold a copy of it.
    pub fn memory(&self) -> usize {
        4 * self.deflated().len() + FAMILIES.len() * size_of::<usize>() + self.0.labels.len()
    }

    /// The memory that its values take, in bytes. Text that is rendered while it is sent keeps them.
    pub(super) fn held(&self) -> usize {
        match &self.0.values {
            Values::Snapshot(snapshot) => {
                // The texts that only one job has take less than the job itself.
                let jobs: usize = snapshot.segments.iter().map(|segment| segment.jobs.len()).sum();
                jobs * 2 * size_of::<ExportJob>()
            }
            _ => size_of::<Families>(),
        }
    }
}

impl deflate::Text for [Block] {
    fn length(&self, family: usize) -> usize {
        self.iter().map(|block| block.length(family)).sum()
    }

    fn render(&self, family: usize, buffer: String, pass_on: &mut dyn FnMut(&str)) -> String {
        let mut out = Output::Text(buffer);
        for block in self {
            let mut cursor = Cursor::default();
            while !block.render(family, &mut cursor, &mut out, RENDERED_AT_ONCE) {
                pass_on(out.text());
                out.truncate(0);
            }
        }
        pass_on(out.text());
        out.truncate(0);
        out.into_text()
    }
}

impl Families {
    /// Renders a whole family. Returns the number of its series.
    fn count(&self, family: usize, out: &mut Output) -> usize {
        self.render(family, &mut Cursor::default(), out, usize::MAX).0
    }

    /// Returns the number of series that were rendered, and whether the family is complete.
    fn render(&self, family: usize, cursor: &mut Cursor, out: &mut Output, limit: usize) -> (usize, bool) {
        let family = &FAMILIES[family];
        let mut lines =
            Lines { family, series: 0, prefix: String::new(), of_all: 0, block: self, out, limit };
        let is_complete = lines.render(cursor);
        (lines.series, is_complete)
    }
}

/// Renders a family of a block.
struct Lines<'a> {
    family: &'static Family,
    block: &'a Families,
    out: &'a mut Output,
    limit: usize,
    series: usize,
    /// The part of a line that several samples share.
    prefix: String,
    /// Its length without the labels of a segment.
    of_all: usize,
}

impl Lines<'_> {
    fn render(&mut self, cursor: &mut Cursor) -> bool {
        match (self.family.source, &self.block.values) {
            (Source::Job(sample), Values::Snapshot(snapshot)) => {
                while let Some(segment) = snapshot.segments.get(cursor.outer) {
                    self.start(&[("segment_id", &segment.id)]);
                    self.prefix.push_str(",job_id=\"");
                    let of_segment = self.prefix.len();
                    while let Some(job) = segment.jobs.get(cursor.inner) {
                        if self.is_full() {
                            return false;
                        }
                        self.prefix.truncate(of_segment);
                        self.prefix.push_escaped(&job.id);
                        self.prefix.push('"');
                        self.samples(|out| sample(job, out));
                        cursor.inner += 1;
                    }
                    *cursor = Cursor { outer: cursor.outer + 1, inner: 0 };
                }
            }
            (Source::Segment(sample), Values::Snapshot(snapshot)) => {
                while let Some(segment) = snapshot.segments.get(cursor.outer) {
                    if self.is_full() {
                        return false;
                    }
                    self.start(&[("segment_id", &segment.id)]);
                    self.samples(|out| sample(segment, out));
                    cursor.outer += 1;
                }
            }
            (Source::ApplicationInfo(sample), Values::Names(names)) => {
                if let Some(resource) = &names.application {
                    self.start(&[]);
                    self.samples(|out| sample(&Info { resource, tag_labels: &names.tag_labels }, out));
                }
            }
            (Source::SegmentInfo(sample), Values::Names(names)) => {
                while let Some(at) = names.shown.get(cursor.outer) {
                    if self.is_full() {
                        return false;
                    }
                    if let Some(resource) = names.segments.get(*at) {
                        self.start(&[("segment_id", &resource.id)]);
                        self.samples(|out| sample(&Info { resource, tag_labels: &names.tag_labels }, out));
                    }
                    cursor.outer += 1;
                }
            }
            (Source::Target(sample), Values::Target(status)) => {
                self.start(&[]);
                self.samples(|out| sample(status, out));
            }
            (Source::Discovery(sample), Values::Discovery(up)) => {
                self.start(&[]);
                self.samples(|out| sample(*up, out));
            }
            _ => {}
        }
        true
    }

    fn is_full(&self) -> bool {
        self.out.len() >= self.limit
    }

    fn start(&mut self, labels: &[(&str, &str)]) {
        if self.of_all == 0 {
            start(&mut self.prefix, self.family, &self.block.labels);
            self.of_all = self.prefix.len();
        }
        self.prefix.truncate(self.of_all);
        for (name, value) in labels {
            self.prefix.push_label(false, name, value);
        }
    }

    fn samples(&mut self, sample: impl FnOnce(&mut Samples<'_>)) {
        let mut samples = Samples::new(self.out, &self.prefix, self.block.status_series);
        sample(&mut samples);
        self.series += samples.series;
    }
}
