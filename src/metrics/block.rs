//! Renders the samples of a target, list or set of names, plain and compressed, once for each change.

use std::{cell::RefCell, ops::Range};

use bytes::Bytes;
use flate2::{Compress, Compression, FlushCompress};

use super::{
    catalogue::FAMILIES,
    family::{Info, Samples, ScrapeFacts, Source, push_header, push_label, samples},
};
use crate::model::{
    list_id::ListId,
    names::{NamedResource, TagLabels},
    snapshot::{Snapshot, TargetStatus},
    status_series::StatusSeries,
    target::Target,
};

/// Smaller pieces are copied together. Larger ones are sent without a copy.
pub(super) const COPIED_BELOW: usize = 8 * 1024;

/// Fast compression: level 6 takes three times as long and saves only a tenth.
pub(super) const LEVEL: Compression = Compression::fast();

/// The rendered samples of some families, as text and as deflated text.
#[derive(Debug, Clone, Default)]
pub struct Block {
    pub(super) text: Bytes,
    pub(super) deflated: Bytes,
    /// In the order of the catalogue.
    pub(super) families: Vec<Piece>,
    pub(super) series: usize,
}

/// The position of a family's samples in a block.
#[derive(Debug, Clone, Default)]
pub(super) struct Piece {
    pub(super) text: Range<usize>,
    pub(super) deflated: Range<usize>,
}

pub fn snapshot(target: &Target, snapshot: &Snapshot, status_series: StatusSeries) -> Block {
    let target_labels = labels(&[
        ("aws_account_id", &target.account_id),
        ("aws_region", &target.region),
        ("application_id", &target.application_id),
    ]);
    let segments: Vec<String> = snapshot
        .segments
        .iter()
        .map(|segment| with_label(&target_labels, "segment_id", &segment.id))
        .collect();
    let jobs: Vec<String> = snapshot
        .segments
        .iter()
        .zip(&segments)
        .flat_map(|(segment, labels)| {
            segment.jobs.iter().map(move |job| with_label(labels, "job_id", &job.id))
        })
        .collect();
    block(status_series, |source, write| match source {
        Source::Job(sample) => {
            let all = snapshot.segments.iter().flat_map(|segment| &segment.jobs);
            all.zip(&jobs).for_each(|(job, labels)| write(labels, &|out| sample(job, out)));
        }
        Source::Segment(sample) => snapshot
            .segments
            .iter()
            .zip(&segments)
            .for_each(|(segment, labels)| write(labels, &|out| sample(segment, out))),
        Source::ApplicationInfo(_)
        | Source::SegmentInfo(_)
        | Source::Target(_)
        | Source::Discovery(_)
        | Source::Scrape(_)
        | Source::Telemetry => {}
    })
}

/// Renders the families of a target's status.
pub fn target_status(target: &Target, status: &TargetStatus) -> Block {
    let labels = labels(&[
        ("aws_account_id", &target.account_id),
        ("aws_region", &target.region),
        ("application_id", &target.application_id),
        ("segment_id", target.segment_id.as_deref().unwrap_or_default()),
    ]);
    block(StatusSeries::All, |source, write| {
        if let Source::Target(sample) = source {
            write(&labels, &|out| sample(status, out));
        }
    })
}

/// Renders the info families of an application and its segments. The array holds the account, the region and the application.
pub fn names<'a>(
    [account_id, region, application_id]: [&str; 3],
    application: Option<&NamedResource>,
    segments: &(impl Iterator<Item = &'a NamedResource> + Clone),
    tag_labels: &TagLabels,
) -> Block {
    let labels =
        labels(&[("aws_account_id", account_id), ("aws_region", region), ("application_id", application_id)]);
    let block = block(StatusSeries::All, |source, write| match source {
        Source::ApplicationInfo(sample) => {
            if let Some(resource) = application {
                write(&labels, &|out| sample(&Info { resource, tag_labels }, out));
            }
        }
        Source::SegmentInfo(sample) => {
            for resource in segments.clone() {
                let labels = with_label(&labels, "segment_id", &resource.id);
                write(&labels, &|out| sample(&Info { resource, tag_labels }, out));
            }
        }
        _ => {}
    });
    // `pinpoint_exporter_series` counts only the series of jobs, segments and targets.
    Block { series: 0, ..block }
}

/// Renders whether a list of applications or segments was read.
pub fn discovery_status(list_id: &ListId, up: bool) -> Block {
    let labels = labels(&[
        ("aws_account_id", &list_id.account_id),
        ("aws_region", &list_id.region),
        ("application_id", list_id.application_id.as_deref().unwrap_or_default()),
    ]);
    block(StatusSeries::All, |source, write| {
        if let Source::Discovery(sample) = source {
            write(&labels, &|out| sample(up, out));
        }
    })
}

/// Renders the families about the scrape itself, with HELP and TYPE.
pub(super) fn scrape_facts(facts: &ScrapeFacts) -> String {
    let mut text = String::with_capacity(1024);
    for family in FAMILIES {
        if let Source::Scrape(sample) = family.source {
            let start = text.len();
            push_header(&mut text, family);
            let mut out = samples(&mut text, family, "", StatusSeries::All);
            sample(facts, &mut out);
            if out.series == 0 {
                text.truncate(start);
            }
        }
    }
    text
}

pub(super) fn labels(pairs: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (name, value) in pairs {
        push_label(&mut text, name, value);
    }
    text
}

pub(super) fn with_label(labels: &str, name: &str, value: &str) -> String {
    let mut text = String::with_capacity(labels.len() + name.len() + value.len() + 8);
    text.push_str(labels);
    push_label(&mut text, name, value);
    text
}

/// Calls the function to write samples with the given labels.
pub(super) type Write<'a> = dyn FnMut(&str, &dyn Fn(&mut Samples<'_>)) + 'a;

/// Builds a block. `fill` is called for each family and writes its samples.
pub(super) fn block(status_series: StatusSeries, fill: impl Fn(Source, &mut Write<'_>)) -> Block {
    BLOCK_WRITER.with_borrow_mut(|writer| {
        // A panic in an earlier call can leave text here.
        writer.text.clear();
        let mut series = 0;
        let mut ends = Vec::with_capacity(FAMILIES.len());
        for family in FAMILIES {
            fill(family.source, &mut |labels, sample| {
                let mut out = samples(&mut writer.text, family, labels, status_series);
                sample(&mut out);
                series += out.series;
            });
            ends.push(writer.text.len());
        }
        writer.block(ends, series)
    })
}

thread_local! {
    static BLOCK_WRITER: RefCell<BlockWriter> = RefCell::default();
}

/// Renders blocks. One writer is kept per thread, for two reasons. A compressor takes a quarter of a megabyte. Blocks that are
/// shrunk from growing buffers would leave holes in memory. With thousands of small targets, either effect would cost more memory
/// than the data.
#[derive(Default)]
pub(super) struct BlockWriter {
    pub(super) text: String,
    pub(super) deflater: Deflater,
}

impl BlockWriter {
    /// Compresses the text family by family. `ends` holds the end of each family's text.
    pub(super) fn block(&mut self, ends: Vec<usize>, series: usize) -> Block {
        let mut start = 0;
        let families = ends
            .into_iter()
            .map(|end| {
                let range = std::mem::replace(&mut start, end)..end;
                Piece { deflated: self.deflater.piece(&self.text.as_bytes()[range.clone()]), text: range }
            })
            .collect();
        let text = if self.text.len() > KEPT_BELOW {
            std::mem::take(&mut self.text).into_bytes().into_boxed_slice().into()
        } else {
            let text = Bytes::copy_from_slice(self.text.as_bytes());
            self.text.clear();
            text
        };
        Block { text, deflated: self.deflater.take(), families, series }
    }
}

impl Block {
    /// The number of series of each family.
    pub fn series_by_family(&self) -> impl Iterator<Item = (&'static str, usize)> {
        let lines = |piece: &Piece| self.text[piece.text.clone()].split(|byte| *byte == b'\n').count() - 1;
        FAMILIES.iter().zip(&self.families).map(move |(family, piece)| (family.name, lines(piece)))
    }

    /// An upper bound on its memory in bytes while it is replaced. During that time two blocks hold each piece, and two bodies
    /// hold copies of the small ones.
    pub fn memory(&self) -> usize {
        let times = |piece: &Range<usize>| piece.len() * if piece.len() < COPIED_BELOW { 4 } else { 2 };
        self.families.iter().map(|piece| times(&piece.text) + times(&piece.deflated)).sum()
    }
}

/// Larger buffers are handed over instead of being reused.
pub(super) const KEPT_BELOW: usize = 256 * 1024;

/// Compresses pieces that can later be joined in any order.
pub(super) struct Deflater {
    pub(super) compress: Compress,
    pub(super) out: Vec<u8>,
}

impl Default for Deflater {
    fn default() -> Self {
        Self { compress: Compress::new(LEVEL, false), out: Vec::new() }
    }
}

impl Deflater {
    /// Returns all pieces and resets the compressor.
    pub(super) fn take(&mut self) -> Bytes {
        self.compress.reset();
        if self.out.len() > KEPT_BELOW {
            return std::mem::take(&mut self.out).into_boxed_slice().into();
        }
        let out = Bytes::copy_from_slice(&self.out);
        self.out.clear();
        out
    }

    /// Appends a piece and returns its position.
    pub(super) fn piece(&mut self, mut input: &[u8]) -> Range<usize> {
        let start = self.out.len();
        while !input.is_empty() {
            // This is enough for incompressible input and the flush, so one call normally suffices.
            self.out.reserve(input.len() + input.len() / 8 + 64);
            let before = self.compress.total_in();
            let done = self.compress.compress_vec(input, &mut self.out, FlushCompress::Full);
            let taken = usize::try_from(self.compress.total_in() - before).unwrap_or(input.len());
            input = &input[taken.min(input.len())..];
            debug_assert!(done.is_ok(), "deflate has no error but misuse");
            if done.is_err() {
                break;
            }
        }
        start..self.out.len()
    }
}
