//! Families → bytes, plain and compressed, in Prometheus's [text format 0.0.4].
//!
//! What a refresh showed becomes a [`Block`] once: the text of its families and the same text deflated, family by family.
//! An answer is put together from the blocks of all targets, a family at a time, without formatting or compressing them
//! again. The pieces can be put in any order because each ends with a full flush of the compressor: no piece refers to
//! bytes of another. Together they are one gzip member, which every client reads to its end (not all go on to a second).
//!
//! [text format 0.0.4]: https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format

use std::{cell::RefCell, fmt::Write as _, ops::Range, sync::LazyLock};

use bytes::{BufMut as _, Bytes, BytesMut};
use flate2::{Compress, Compression, FlushCompress};

use super::{
    catalogue::{FAMILIES, Family, ScrapeFacts, Source},
    family::Info,
};
use crate::model::{
    job_status::JobStatus,
    list_id::ListId,
    names::{NamedResource, TagLabels},
    snapshot::{Snapshot, TargetStatus},
    status_series::StatusSeries,
    target::Target,
    timestamp::Timestamp,
};

/// Speed over size: level 6 takes three times as long for a tenth less.
const LEVEL: Compression = Compression::fast();

/// Writes the samples of one family and one set of labels.
#[derive(Debug)]
pub(super) struct Samples<'a> {
    text: &'a mut String,
    name: &'static str,
    /// `name="value",…`, without braces.
    labels: &'a str,
    status_series: StatusSeries,
    series: usize,
}

impl Samples<'_> {
    /// A whole number; an absent one is an absent series.
    pub(super) fn integer(&mut self, value: Option<i64>) {
        if let Some(value) = value {
            self.labelled(&[], value);
        }
    }

    /// A date in seconds, milliseconds kept; an absent one is an absent series.
    pub(super) fn timestamp(&mut self, date: Option<Timestamp>) {
        if let Some(date) = date {
            self.labelled_timestamp(&[], date);
        }
    }

    /// A date with labels of its own.
    pub(super) fn labelled_timestamp(&mut self, labels: &[(&str, &str)], Timestamp(milliseconds): Timestamp) {
        self.start(labels);
        let sign = if milliseconds < 0 { "-" } else { "" };
        let (seconds, rest) = (milliseconds.unsigned_abs() / 1000, milliseconds.unsigned_abs() % 1000);
        let _ = match rest {
            0 => writeln!(self.text, "{sign}{seconds}"),
            rest => writeln!(self.text, "{sign}{seconds}.{rest:03}"),
        };
    }

    /// A duration.
    pub(super) fn seconds(&mut self, seconds: f64) {
        self.start(&[]);
        let _ = writeln!(self.text, "{seconds}");
    }

    /// A number with labels of its own.
    pub(super) fn labelled(&mut self, labels: &[(&str, &str)], value: impl itoa::Integer) {
        self.start(labels);
        self.text.push_str(itoa::Buffer::new().format(value));
        self.text.push('\n');
    }

    /// The nine states of AWS's models, and the others only where they are the state.
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

    /// Everything of a line before its value.
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

/// Appends `name="value"`, after a comma where it is not the first.
fn push_label(text: &mut String, name: &str, value: &str) {
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

/// The samples of some families of one target: text and deflated text.
#[derive(Debug, Clone, Default)]
pub struct Block {
    text: Bytes,
    deflated: Bytes,
    /// By the family's place in the catalogue.
    families: Vec<Piece>,
    series: usize,
}

/// Where a family's samples are in a block.
#[derive(Debug, Clone, Default)]
struct Piece {
    text: Range<usize>,
    deflated: Range<usize>,
}

/// The job and segment families of a target's snapshot.
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

/// The families of a target itself.
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

/// The families of the names of an application and its segments. `place` is the account, the region and the application.
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
    // `pinpoint_exporter_series` counts those of jobs, segments and targets.
    Block { series: 0, ..block }
}

/// The family of a list of applications or segments.
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

/// The text that a scrape tells of itself: families whole, with HELP and TYPE.
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

fn labels(pairs: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (name, value) in pairs {
        push_label(&mut text, name, value);
    }
    text
}

fn with_label(labels: &str, name: &str, value: &str) -> String {
    let mut text = String::with_capacity(labels.len() + name.len() + value.len() + 8);
    text.push_str(labels);
    push_label(&mut text, name, value);
    text
}

fn samples<'a>(
    text: &'a mut String,
    family: &Family,
    labels: &'a str,
    status_series: StatusSeries,
) -> Samples<'a> {
    Samples { text, name: family.name, labels, status_series, series: 0 }
}

/// Writes with the labels it is given what the function says.
type Write<'a> = dyn FnMut(&str, &dyn Fn(&mut Samples<'_>)) + 'a;

/// A block: `fill` is asked for the samples of every family in turn.
fn block(status_series: StatusSeries, fill: impl Fn(Source, &mut Write<'_>)) -> Block {
    BLOCK_WRITER.with_borrow_mut(|writer| {
        // What a crash left there, which a refresh survives.
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

/// Where blocks are made. It is kept from one to the next: a compressor takes a quarter of a megabyte, and blocks that are cut
/// to size from what had grown would leave holes between them. With thousands of small targets both cost more memory than all
/// that is shown.
#[derive(Default)]
struct BlockWriter {
    text: String,
    deflater: Deflater,
}

impl BlockWriter {
    /// Compresses the text family by family; each ends where `ends` says.
    fn block(&mut self, ends: Vec<usize>, series: usize) -> Block {
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
    /// How many series each family has.
    pub fn series_by_family(&self) -> impl Iterator<Item = (&'static str, usize)> {
        let lines = |piece: &Piece| self.text[piece.text.clone()].split(|byte| *byte == b'\n').count() - 1;
        FAMILIES.iter().zip(&self.families).map(move |(family, piece)| (family.name, lines(piece)))
    }

    /// What it takes in memory at most, in bytes, while it is replaced: small pieces are in two blocks and, copied together,
    /// in two bodies, the others in the blocks alone.
    pub fn memory(&self) -> usize {
        let times = |piece: &Range<usize>| piece.len() * if piece.len() < COPIED_BELOW { 4 } else { 2 };
        self.families.iter().map(|piece| times(&piece.text) + times(&piece.deflated)).sum()
    }
}

fn push_header(text: &mut String, family: &Family) {
    let Family { name, help, kind, .. } = family;
    for part in ["# HELP ", name, " ", help, "\n# TYPE ", name, " ", kind.as_str(), "\n"] {
        text.push_str(part);
    }
}

/// Larger buffers are given away, not kept.
const KEPT_BELOW: usize = 256 * 1024;

/// Compresses pieces that can be put in any order.
struct Deflater {
    compress: Compress,
    out: Vec<u8>,
}

impl Default for Deflater {
    fn default() -> Self {
        Self { compress: Compress::new(LEVEL, false), out: Vec::new() }
    }
}

impl Deflater {
    /// All pieces. It begins anew.
    fn take(&mut self) -> Bytes {
        self.compress.reset();
        if self.out.len() > KEPT_BELOW {
            return std::mem::take(&mut self.out).into_boxed_slice().into();
        }
        let out = Bytes::copy_from_slice(&self.out);
        self.out.clear();
        out
    }

    /// Appends a piece, and tells where it is.
    fn piece(&mut self, mut input: &[u8]) -> Range<usize> {
        let start = self.out.len();
        while !input.is_empty() {
            // Enough for incompressible input and the flush: one call does it, but for a compressor that knows better.
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

/// The HELP and TYPE lines of every family that comes from targets, plain and compressed.
static HEADERS: LazyLock<Block> = LazyLock::new(|| {
    let mut writer = BlockWriter::default();
    let ends = FAMILIES.iter().map(|family| {
        push_header(&mut writer.text, family);
        writer.text.len()
    });
    let ends = ends.collect();
    writer.block(ends, 0)
});

/// Smaller pieces are copied together; larger ones are sent from where they are.
const COPIED_BELOW: usize = 8 * 1024;

/// Pieces of an answer in their order.
#[derive(Debug)]
struct Chunks {
    whole: Vec<Bytes>,
    copied: BytesMut,
}

impl Chunks {
    /// With the room that the small ones of these pieces take: what grows by doubling takes up to twice that.
    fn of<'a>(pieces: impl Iterator<Item = &'a Range<usize>>) -> Self {
        let small = pieces.map(Range::len).filter(|length| *length < COPIED_BELOW).sum();
        Self { whole: Vec::new(), copied: BytesMut::with_capacity(small) }
    }

    /// Appends a part of `bytes`.
    fn push(&mut self, bytes: &Bytes, range: Range<usize>) {
        if range.len() < COPIED_BELOW {
            self.copied.extend_from_slice(&bytes[range]);
        } else {
            self.cut();
            self.whole.push(bytes.slice(range));
        }
    }

    fn cut(&mut self) {
        if !self.copied.is_empty() {
            self.whole.push(self.copied.split().freeze());
        }
    }

    fn finish(mut self) -> Vec<Bytes> {
        self.cut();
        self.whole
    }
}

/// The families of all targets, ready to be sent.
#[derive(Debug, Default)]
pub struct Body {
    plain: Vec<Bytes>,
    deflated: Vec<Bytes>,
    checksum: crc32fast::Hasher,
    /// Job, segment and target series.
    pub series: usize,
}

/// Puts the blocks of all targets together, a family at a time. A family without samples is left out.
pub fn body<'a>(blocks: impl Iterator<Item = &'a Block> + Clone) -> Body {
    let all = || blocks.clone().chain([&*HEADERS]).flat_map(|block| &block.families);
    let (mut plain, mut deflated) =
        (Chunks::of(all().map(|piece| &piece.text)), Chunks::of(all().map(|piece| &piece.deflated)));
    let mut checksum = crc32fast::Hasher::new();
    for family in 0..FAMILIES.len() {
        let pieces = blocks
            .clone()
            .filter_map(|block| Some((block, block.families.get(family)?)))
            .filter(|(_, piece)| !piece.text.is_empty());
        let mut header = HEADERS.families.get(family).map(|piece| (&*HEADERS, piece));
        for (block, piece) in pieces {
            for (block, piece) in header.take().into_iter().chain([(block, piece)]) {
                checksum.update(&block.text[piece.text.clone()]);
                plain.push(&block.text, piece.text.clone());
                deflated.push(&block.deflated, piece.deflated.clone());
            }
        }
    }
    Body {
        plain: plain.finish(),
        deflated: deflated.finish(),
        checksum,
        series: blocks.map(|block| block.series).sum(),
    }
}

/// Text that follows the targets' families.
#[derive(Debug, Clone, Default)]
pub struct Part {
    text: Bytes,
    deflated: Bytes,
    checksum: crc32fast::Hasher,
}

impl Part {
    /// Text that will be sent more than once.
    pub(super) fn compressed(text: String) -> Self {
        let mut deflater = Deflater::default();
        deflater.piece(text.as_bytes());
        Self::of(text, deflater.take())
    }

    /// Text that is sent once, wrapped in stored blocks: [RFC 1951, section 3.2.4].
    ///
    /// [RFC 1951, section 3.2.4]: https://www.rfc-editor.org/rfc/rfc1951#section-3.2.4
    pub(super) fn stored(text: String) -> Self {
        let mut deflated = Vec::with_capacity(text.len() + 16);
        for data in text.as_bytes().chunks(usize::from(u16::MAX)) {
            let length = u16::try_from(data.len()).unwrap_or(u16::MAX);
            deflated.put_u8(0);
            deflated.put_u16_le(length);
            deflated.put_u16_le(!length);
            deflated.extend_from_slice(data);
        }
        Self::of(text, deflated.into())
    }

    fn of(text: String, deflated: Bytes) -> Self {
        let mut checksum = crc32fast::Hasher::new();
        checksum.update(text.as_bytes());
        Self { text: text.into(), deflated, checksum }
    }
}

/// The member header of [RFC 1952](https://www.rfc-editor.org/rfc/rfc1952#section-2.3): deflate, no name, no date.
const GZIP_HEADER: &[u8] = &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
/// An empty stored block, which is the last one.
const LAST_BLOCK: &[u8] = &[1, 0, 0, 0xff, 0xff];

/// A whole answer.
pub fn answer(body: &Body, tail: &[Part], gzip: bool) -> Vec<Bytes> {
    if !gzip {
        return body.plain.iter().cloned().chain(tail.iter().map(|part| part.text.clone())).collect();
    }
    let mut checksum = body.checksum.clone();
    let mut length: usize = body.plain.iter().map(Bytes::len).sum();
    for part in tail {
        checksum.combine(&part.checksum);
        length += part.text.len();
    }
    let mut end = BytesMut::from(LAST_BLOCK);
    end.put_u32_le(checksum.finalize());
    #[expect(clippy::cast_possible_truncation, reason = "the format keeps the length modulo 2^32")]
    end.put_u32_le(length as u32);
    std::iter::once(Bytes::from_static(GZIP_HEADER))
        .chain(body.deflated.iter().cloned())
        .chain(tail.iter().map(|part| part.deflated.clone()))
        .chain([end.freeze()])
        .collect()
}

/// A text by itself, compressed as an answer is.
pub fn gzip(text: String) -> Vec<Bytes> {
    answer(&Body::default(), &[Part::compressed(text)], true)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use allocation_counter::measure;
    use flate2::read::GzDecoder;

    use super::*;
    use crate::model::snapshot::{Segment, StatusCounts};

    fn target() -> Target {
        Target {
            account_id: String::new(),
            region: "eu-west-1".to_owned(),
            application_id: "a\\b\"c\nd".to_owned(),
            segment_id: Some("日本".to_owned()),
        }
    }

    fn segment(suppressed_by_age: u64) -> Snapshot {
        Snapshot {
            segments: vec![Segment {
                id: "日本".into(),
                jobs: Vec::new(),
                by_status: StatusCounts::default(),
                latest: None,
                last_completed: Some(Timestamp(-1_500)),
                last_failed: Some(Timestamp(1_528_149_860_050)),
                suppressed_by_age,
                suppressed_by_count: 0,
            }],
        }
    }

    fn text_of(chunks: &[Bytes]) -> String {
        String::from_utf8(chunks.concat()).unwrap()
    }

    fn unzipped(chunks: &[Bytes]) -> String {
        let bytes = chunks.concat();
        let mut text = String::new();
        // Reads one member only: the whole answer must be in it.
        let mut decoder = GzDecoder::new(&bytes[..]);
        decoder.read_to_string(&mut text).unwrap();
        assert!(decoder.into_inner().is_empty(), "bytes after the member");
        text
    }

    #[test]
    fn label_values_are_escaped_and_dates_keep_their_milliseconds() {
        let block = snapshot(&target(), &segment(3), StatusSeries::All);
        let text = text_of(&answer(&body([block].iter()), &[], false));
        let labels =
            r#"{aws_account_id="",aws_region="eu-west-1",application_id="a\\b\"c\nd",segment_id="日本""#;
        for line in [
            format!("pinpoint_segment_last_completed_export_timestamp_seconds{labels}}} -1.500\n"),
            format!("pinpoint_segment_last_failed_export_timestamp_seconds{labels}}} 1528149860.050\n"),
            format!("pinpoint_segment_suppressed_export_jobs{labels},reason=\"age\"}} 3\n"),
        ] {
            assert!(text.contains(&line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn a_block_keeps_its_bytes_and_little_else() {
        for segments in [1, 400] {
            let all = Snapshot { segments: vec![segment(3).segments[0].clone(); segments] };
            // The first one sets up the writer.
            drop(snapshot(&target(), &all, StatusSeries::All));
            let mut block = Block::default();
            let allocated = measure(|| block = snapshot(&target(), &all, StatusSeries::All));
            let retained = usize::try_from(allocated.bytes_current).unwrap();
            let bytes = block.text.len() + block.deflated.len();
            let most = bytes + FAMILIES.len() * size_of::<Piece>() + 200;
            assert!((bytes..most).contains(&retained), "{bytes} bytes, {allocated:?}");
        }
    }

    #[test]
    fn a_family_without_samples_is_left_out() {
        let block = snapshot(&target(), &segment(0), StatusSeries::All);
        let text = text_of(&answer(&body([block].iter()), &[], false));
        assert!(!text.contains("pinpoint_export_job_pieces"));
        assert!(!text.contains("pinpoint_segment_latest_export_job_status"));
    }

    #[test]
    fn the_compressed_answer_is_the_plain_one_for_few_and_for_many_targets() {
        for targets in [0, 1, 2, 300] {
            let blocks: Vec<Block> = (0..targets)
                .map(|n| {
                    let target = Target { application_id: format!("application {n}"), ..target() };
                    snapshot(&target, &segment(n), StatusSeries::All)
                })
                .collect();
            let body = body(blocks.iter());
            let tail =
                [Part::compressed("# a\n".repeat(1000)), Part::stored("x".repeat(70_000)), Part::default()];
            let plain = text_of(&answer(&body, &tail, false));
            assert_eq!(unzipped(&answer(&body, &tail, true)), plain);
            assert_eq!(body.series, 13 * usize::try_from(targets).unwrap());
            assert_eq!(
                plain.matches("# HELP pinpoint_segment_export_jobs ").count(),
                usize::from(targets > 0)
            );
        }
    }

    #[test]
    fn a_state_set_has_one_series_at_one() {
        let one = |status, series| {
            let mut text = String::new();
            let family = &FAMILIES[0];
            samples(&mut text, family, "", series).state_set(status);
            (text.lines().count(), text.lines().filter(|line| line.ends_with(" 1")).count())
        };
        for status in JobStatus::ALL {
            let series = 9 + usize::from(!status.is_modelled());
            assert_eq!(one(status, StatusSeries::All), (series, 1), "{status:?}");
            assert_eq!(one(status, StatusSeries::Current), (1, 1), "{status:?}");
        }
    }
}
