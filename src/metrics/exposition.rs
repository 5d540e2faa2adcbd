//! Assembles responses from the families of targets, plain or compressed, in Prometheus's [text format 0.0.4].
//!
//! A large plain response is rendered while it is sent, so it takes no memory for its text. The text is kept only from the
//! second time that it is asked for. A compressed response joins the compressed families of all targets, one family at a time.
//! They are kept until a target changes, because every scrape of Prometheus asks for them. The response is a single gzip
//! member, because some clients stop after the first one.
//!
//! [text format 0.0.4]: https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format

use std::{
    collections::HashMap,
    ops::Range,
    sync::{
        Arc, LazyLock, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    vec,
};

use bytes::{BufMut as _, Bytes, BytesMut};
use crc32fast::Hasher;

use super::{
    block::{Block, Cursor, RENDERED_AT_ONCE},
    catalogue::FAMILIES,
    deflate::{Deflated, SHARED_FROM, deflated},
    family::{Output, Push as _, push_header},
};

/// Smaller pieces are copied together. Larger ones are sent without a copy.
const COPIED_BELOW: usize = 8 * 1024;

/// How many neighbouring blocks are compressed together, unless they are large.
const TOGETHER: usize = 64;

/// Plain text of at most this size is kept from the first request on, because rendering it takes longer than sending it.
const KEPT_BELOW: usize = 1024 * 1024;

/// The HELP and TYPE lines of every family that comes from targets.
static HEADERS: LazyLock<Vec<(String, Part)>> = LazyLock::new(|| {
    let header = |family| {
        let mut text = String::new();
        push_header(&mut text, family);
        (text.clone(), Part::new(text))
    };
    FAMILIES.iter().map(header).collect()
});

/// The families of all targets.
#[derive(Debug, Default)]
pub struct Body {
    groups: Arc<Groups>,
    /// The number of job, segment and target series.
    pub series: usize,
    /// Whether large plain text was asked for.
    is_asked_plain: AtomicBool,
    plain: OnceLock<Bytes>,
    gzip: OnceLock<Gzip>,
}

/// What text is rendered from. A response that is still being sent keeps only this of an older body.
#[derive(Debug, Default)]
struct Groups {
    list: Vec<Arc<Group>>,
    /// The length of each family's text, without its header.
    lengths: Box<[usize]>,
    /// What the values of all blocks take.
    held: usize,
}

/// Neighbouring blocks that are compressed together.
#[derive(Debug)]
struct Group {
    blocks: Vec<Block>,
    deflated: OnceLock<Deflated>,
}

impl Group {
    fn deflated(&self) -> &Deflated {
        match &self.blocks[..] {
            [block] => block.deflated(),
            blocks => self.deflated.get_or_init(|| Deflated::of(blocks)),
        }
    }
}

/// The beginning of a gzip member, with the compressed families of a body in order.
#[derive(Debug)]
struct Gzip {
    chunks: Vec<Bytes>,
    checksum: Hasher,
}

/// The pieces of a compressed body in order. Small pieces are copied together.
#[derive(Debug, Default)]
struct Chunks {
    whole: Vec<Bytes>,
    copied: BytesMut,
}

impl Chunks {
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
            // A buffer that grows by doubling can take up to twice what is in it.
            self.whole.push(Bytes::copy_from_slice(&self.copied));
            self.copied.clear();
        }
    }

    fn finish(mut self) -> Vec<Bytes> {
        self.cut();
        self.whole
    }
}

/// Joins the families of all targets. Each section holds blocks of the same families. `earlier` is the body before the last
/// change: blocks that have not changed stay compressed.
pub fn body(sections: &[Vec<Option<Block>>], earlier: Option<&Body>) -> Body {
    let earlier = earlier.map(|body| body.groups.list.as_slice()).unwrap_or_default();
    let earlier = earlier.iter().filter_map(|group| Some((group.blocks.first()?.address(), group))).collect();
    let (mut groups, mut series) =
        (Groups { lengths: vec![0; FAMILIES.len()].into(), ..Groups::default() }, 0);
    for blocks in sections.iter().flat_map(|section| section.chunks(TOGETHER)) {
        let mut together = Vec::new();
        for block in blocks.iter().flatten() {
            series += block.series();
            if block.is_alone() {
                groups.add(std::mem::take(&mut together), &earlier);
                groups.add(vec![block.clone()], &earlier);
            } else {
                together.push(block.clone());
            }
        }
        groups.add(together, &earlier);
    }
    Body { groups: Arc::new(groups), series, ..Body::default() }
}

impl Groups {
    fn add(&mut self, blocks: Vec<Block>, earlier: &HashMap<usize, &Arc<Group>>) {
        let Some(first) = blocks.first() else { return };
        for block in &blocks {
            self.held += block.held();
            for (family, length) in self.lengths.iter_mut().enumerate() {
                *length += block.length(family);
            }
        }
        let same = |group: &&&Arc<Group>| {
            group.blocks.len() == blocks.len()
                && group.blocks.iter().zip(&blocks).all(|(one, other)| one.is(other))
        };
        let group = earlier.get(&first.address()).filter(same).map(|group| Arc::clone(group));
        self.list.push(group.unwrap_or_else(|| Arc::new(Group { blocks, deflated: OnceLock::new() })));
    }

    /// The families that have samples, with the length of their text.
    fn families(&self) -> impl Iterator<Item = (usize, usize)> {
        self.lengths.iter().copied().enumerate().filter(|(_, length)| *length > 0)
    }

    /// The length of the whole text.
    fn length(&self) -> usize {
        self.families().map(|(family, length)| HEADERS[family].0.len() + length).sum()
    }
}

impl Body {
    /// Whether [`Self::prepare`] takes so long that other connections would notice.
    pub fn takes_long_to_prepare(&self, gzip: bool) -> bool {
        if gzip {
            self.gzip.get().is_none() && self.groups.length() >= SHARED_FROM
        } else {
            self.plain.get().is_none() && self.is_asked_plain.load(Ordering::Relaxed)
        }
    }

    /// Makes the bytes that responses share, unless they are made already.
    pub fn prepare(&self, gzip: bool) {
        if gzip {
            self.gzip();
        } else {
            self.plain();
        }
    }

    fn plain(&self) -> &Bytes {
        self.plain.get_or_init(|| {
            let mut text = Output::Text(String::with_capacity(self.groups.length()));
            Rendered::new(Arc::clone(&self.groups), 0, Vec::new()).fill(&mut text, usize::MAX);
            text.into_text().into()
        })
    }

    fn gzip(&self) -> &Gzip {
        self.gzip.get_or_init(|| {
            let (mut chunks, mut checksum) = (Chunks::default(), Hasher::new());
            chunks.copied.extend_from_slice(GZIP_HEADER);
            for (family, _) in self.groups.families() {
                let (_, header) = &HEADERS[family];
                checksum.combine(&header.checksum);
                chunks.push(&header.deflated, 0..header.deflated.len());
                for group in &self.groups.list {
                    let length = group.blocks.iter().map(|block| block.length(family)).sum();
                    if length > 0 {
                        let (bytes, range, of_piece) = group.deflated().family(family, length);
                        checksum.combine(&of_piece);
                        chunks.push(bytes, range);
                    }
                }
            }
            Gzip { chunks: chunks.finish(), checksum }
        })
    }
}

/// A plain response. It is rendered piece by piece, so that it takes little memory however slowly it is sent.
#[derive(Debug)]
pub struct Rendered {
    groups: Arc<Groups>,
    /// What the compressed families take that the groups keep.
    compressed: usize,
    tail: vec::IntoIter<Bytes>,
    length: usize,
    family: usize,
    /// Whether the header of the family is rendered.
    is_begun: bool,
    group: usize,
    block: usize,
    cursor: Cursor,
}

impl Rendered {
    fn new(groups: Arc<Groups>, compressed: usize, tail: Vec<Bytes>) -> Self {
        let length = groups.length() + tail.iter().map(Bytes::len).sum::<usize>();
        Self {
            groups,
            compressed,
            tail: tail.into_iter(),
            length,
            family: 0,
            is_begun: false,
            group: 0,
            block: 0,
            cursor: Cursor::default(),
        }
    }

    /// The length of the whole text.
    pub fn length(&self) -> usize {
        self.length
    }

    /// What the text is rendered from: its address, and the memory that it takes.
    pub fn source(&self) -> (usize, usize) {
        (Arc::as_ptr(&self.groups) as usize, self.groups.held + self.compressed)
    }

    /// Renders samples until `out` has at least `limit` bytes or the families end.
    fn fill(&mut self, out: &mut Output, limit: usize) {
        while let Some(length) = self.groups.lengths.get(self.family) {
            let groups = if *length > 0 { &self.groups.list[..] } else { &[] };
            if *length > 0 && !self.is_begun {
                out.push_str(&HEADERS[self.family].0);
                self.is_begun = true;
            }
            while let Some(group) = groups.get(self.group) {
                while let Some(block) = group.blocks.get(self.block) {
                    if block.length(self.family) > 0
                        && !block.render(self.family, &mut self.cursor, out, limit)
                    {
                        return;
                    }
                    self.block += 1;
                    self.cursor = Cursor::default();
                }
                self.group += 1;
                self.block = 0;
            }
            self.family += 1;
            self.group = 0;
            self.is_begun = false;
        }
    }
}

impl Iterator for Rendered {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let mut out = Output::Text(String::with_capacity(RENDERED_AT_ONCE + 4 * 1024));
        self.fill(&mut out, RENDERED_AT_ONCE);
        if out.len() > 0 { Some(out.into_text().into()) } else { self.tail.next() }
    }
}

/// A response to a scrape.
#[derive(Debug)]
pub enum Exposition {
    /// Consecutive chunks.
    Chunks(Vec<Bytes>),
    Rendered(Rendered),
}

/// Text that responses share, with its compressed form.
#[derive(Debug, Clone, Default)]
pub struct Part {
    text: Bytes,
    deflated: Bytes,
    checksum: Hasher,
}

impl Part {
    pub(super) fn new(text: String) -> Self {
        let mut checksum = Hasher::new();
        checksum.update(text.as_bytes());
        Self { deflated: deflated(&text), text: text.into(), checksum }
    }
}

/// The member header of [RFC 1952](https://www.rfc-editor.org/rfc/rfc1952#section-2.3): deflate, no name, no date.
const GZIP_HEADER: &[u8] = &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

/// A complete response: the families of the targets, then `shared`, then `own`, the text of this response alone.
pub fn render(body: &Body, shared: &Part, own: String, gzip: bool) -> Exposition {
    if gzip {
        return Exposition::Chunks(compressed(body, shared, &own));
    }
    let tail = [shared.text.clone(), own.into()];
    if body.plain.get().is_none() && body.groups.length() > KEPT_BELOW {
        body.is_asked_plain.store(true, Ordering::Relaxed);
        let compressed = body.gzip.get().map(|gzip| gzip.chunks.iter().map(Bytes::len).sum());
        return Exposition::Rendered(Rendered::new(
            Arc::clone(&body.groups),
            compressed.unwrap_or(0_usize),
            tail.into(),
        ));
    }
    Exposition::Chunks(std::iter::once(body.plain().clone()).chain(tail).collect())
}

fn compressed(body: &Body, shared: &Part, own: &str) -> Vec<Bytes> {
    let Gzip { chunks, checksum } = body.gzip();
    let mut checksum = checksum.clone();
    checksum.combine(&shared.checksum);
    checksum.update(own.as_bytes());
    let length = body.groups.length() + shared.text.len() + own.len();
    let end = end_of_member(own, checksum.finalize(), length);
    let mut response = Vec::with_capacity(chunks.len() + 2);
    response.extend_from_slice(chunks);
    response.extend([shared.deflated.clone(), end]);
    response
}

/// The end of a gzip member: the last text in stored blocks, without compression ([RFC 1951, section 3.2.4]), and the checksum
/// and the length of the whole text.
///
/// [RFC 1951, section 3.2.4]: https://www.rfc-editor.org/rfc/rfc1951#section-3.2.4
fn end_of_member(text: &str, checksum: u32, length: usize) -> Bytes {
    let mut end = Vec::with_capacity(text.len() + 16);
    let mut rest = text.as_bytes();
    loop {
        let (block, others) = rest.split_at(rest.len().min(u16::MAX.into()));
        let length = u16::try_from(block.len()).unwrap_or(u16::MAX);
        end.put_u8(others.is_empty().into());
        end.put_u16_le(length);
        end.put_u16_le(!length);
        end.extend_from_slice(block);
        rest = others;
        if rest.is_empty() {
            break;
        }
    }
    end.put_u32_le(checksum);
    #[expect(clippy::cast_possible_truncation, reason = "the format keeps the length modulo 2^32")]
    end.put_u32_le(length as u32);
    end.into()
}

/// Compresses a single text in the same format.
pub fn gzip(text: String) -> Vec<Bytes> {
    compressed(&Body::default(), &Part::new(text), "")
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use allocation_counter::measure;
    use flate2::read::GzDecoder;

    use super::*;
    use crate::metrics::block::{self, snapshot};
    use crate::metrics::family::Samples;
    use crate::model::job::ExportJob;
    use crate::model::job_status::JobStatus;
    use crate::model::snapshot::{FinishedJobLimits, Segment, Snapshot, SnapshotBuilder, StatusCounts};
    use crate::model::status_series::StatusSeries;
    use crate::model::target::Target;
    use crate::model::timestamp::Timestamp;

    fn target() -> Target {
        Target {
            account_id: String::new(),
            region: "eu-west-1".to_owned(),
            application_id: "a\\b\"c\nd".to_owned(),
            segment_id: Some("日本".to_owned()),
        }
    }

    fn segment(suppressed_by_age: u64) -> Arc<Snapshot> {
        Arc::new(Snapshot {
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
        })
    }

    fn jobs(count: usize) -> Arc<Snapshot> {
        let job = |n| ExportJob {
            id: format!("job \"{n}\"").into(),
            segment_id: "日本".into(),
            status: JobStatus::ALL[n % JobStatus::ALL.len()],
            total_pieces: i64::try_from(n).ok(),
            creation_date: Some(Timestamp(i64::try_from(n).unwrap())),
            role_arn: Some("\\".into()),
            ..ExportJob::default()
        };
        let mut builder = SnapshotBuilder::begin(FinishedJobLimits::default(), Timestamp(0), Some("日本"));
        builder.add((0..count).map(job));
        Arc::new(builder.finish())
    }

    fn body_of(blocks: impl IntoIterator<Item = Block>) -> Arc<Body> {
        Arc::new(body(&[blocks.into_iter().map(Some).collect()], None))
    }

    fn plain(body: &Arc<Body>, shared: &Part, own: &str) -> String {
        let (length, pieces): (_, Vec<Bytes>) = match render(body, shared, own.to_owned(), false) {
            Exposition::Chunks(chunks) => (chunks.iter().map(Bytes::len).sum(), chunks),
            Exposition::Rendered(text) => (text.length(), text.collect()),
        };
        let text = String::from_utf8(pieces.concat()).unwrap();
        assert_eq!(text.len(), length, "the length that the response announces");
        text
    }

    fn unzipped(body: &Body, shared: &Part, own: &str) -> String {
        let bytes = compressed(body, shared, own).concat();
        let mut text = String::new();
        // The decoder reads one member only, so this fails if the response has more.
        let mut decoder = GzDecoder::new(&bytes[..]);
        decoder.read_to_string(&mut text).unwrap();
        assert!(decoder.into_inner().is_empty(), "bytes after the member");
        text
    }

    #[test]
    fn label_values_are_escaped_and_dates_keep_their_milliseconds() {
        let block = snapshot(&target(), &segment(3), StatusSeries::All);
        let text = plain(&body_of([block]), &Part::default(), "");
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
    fn a_block_keeps_its_compressed_bytes_and_no_text() {
        // So few that one thread compresses them.
        let snapshot = jobs(300);
        for compresses in [false, true] {
            // The first call allocates the buffers of the compressor.
            block::snapshot(&target(), &snapshot, StatusSeries::All).deflated();
            let mut block = Block::default();
            let allocated = measure(|| {
                block = block::snapshot(&target(), &snapshot, StatusSeries::All);
                if compresses {
                    block.compress_ahead();
                }
            });
            let retained = usize::try_from(allocated.bytes_current).unwrap();
            let bytes = if compresses { block.deflated().len() } else { 0 };
            let most = bytes + 2_500;
            assert!((bytes..most).contains(&retained), "{bytes} bytes, {allocated:?}");
        }
    }

    #[test]
    fn plain_text_is_rendered_while_it_is_sent_and_takes_the_memory_of_one_piece() {
        let body = body_of([snapshot(&target(), &jobs(10_000), StatusSeries::All)]);
        let Exposition::Rendered(mut text) = render(&body, &Part::default(), "x".to_owned(), false) else {
            panic!("it is kept");
        };
        let mut sent = 0;
        let allocated = measure(|| sent = text.by_ref().map(|piece| piece.len()).sum());
        assert_eq!(sent, text.length());
        assert!(sent > 10_000_000 && allocated.bytes_max < 50_000, "{sent} bytes, {allocated:?}");
    }

    #[test]
    fn large_plain_text_is_kept_from_the_second_request_on_but_not_by_older_responses() {
        let body = body_of([snapshot(&target(), &jobs(1_000), StatusSeries::All)]);
        assert!(!body.takes_long_to_prepare(false), "nobody has asked");
        let Exposition::Rendered(sent_slowly) = render(&body, &Part::default(), String::new(), false) else {
            panic!("it is kept at once")
        };
        assert!(body.takes_long_to_prepare(false), "it is asked for again");
        body.prepare(false);
        let Exposition::Chunks(kept) = render(&body, &Part::default(), String::new(), false) else {
            panic!("it is rendered again")
        };
        assert!(!body.takes_long_to_prepare(false), "it is kept");
        drop(body);
        assert!(kept[0].is_unique(), "only a response that sends the text keeps it");
        assert_eq!(sent_slowly.collect::<Vec<_>>().concat(), kept[0]);
    }

    #[test]
    fn small_plain_text_is_rendered_once() {
        let body = body_of([snapshot(&target(), &jobs(10), StatusSeries::All)]);
        let first = |exposition| match exposition {
            Exposition::Chunks(chunks) => chunks[0].as_ptr(),
            Exposition::Rendered(_) => panic!("it is rendered again"),
        };
        assert_eq!(
            first(render(&body, &Part::default(), String::new(), false)),
            first(render(&body, &Part::default(), String::new(), false))
        );
    }

    #[test]
    fn what_has_not_changed_stays_compressed() {
        let block = |n: u64, jobs: &Arc<Snapshot>| {
            let target = Target { application_id: format!("application {n:04}"), ..target() };
            Some(snapshot(&target, jobs, StatusSeries::All))
        };
        let (few, many) = (jobs(1), jobs(100));
        let mut blocks: Vec<_> = (0..200).map(|n| block(n, if n % 50 == 7 { &many } else { &few })).collect();
        let first = body(&[blocks.clone()], None);
        blocks[70] = block(70, &segment(1));
        blocks[107] = block(107, &segment(2));
        let second = body(&[blocks], Some(&first));
        let groups = |body: &Body| body.groups.list.iter().map(Arc::as_ptr).collect::<Vec<_>>();
        let kept = groups(&second).iter().filter(|group| groups(&first).contains(group)).count();
        // Of each 64 targets, those between two large ones form a group. The large one that became small joins two groups.
        assert_eq!((groups(&first).len(), groups(&second).len(), kept), (12, 10, 9));
        let none = Part::default();
        assert_eq!(unzipped(&second, &none, ""), plain(&Arc::new(second), &none, ""));
    }

    #[test]
    fn a_family_without_samples_is_left_out() {
        let block = snapshot(&target(), &segment(0), StatusSeries::All);
        let text = plain(&body_of([block]), &Part::default(), "");
        assert!(!text.contains("pinpoint_export_job_pieces"));
        assert!(!text.contains("pinpoint_segment_latest_export_job_status"));
    }

    #[test]
    fn the_compressed_answer_is_the_plain_one_for_few_and_for_many_targets() {
        for (targets, shown) in [(0, 0), (1, 0), (2, 3), (300, 0), (70, 100), (2, 5_000)] {
            let blocks = (0..targets).map(|n| {
                let target = Target { application_id: format!("application {n}"), ..target() };
                let snapshot = if shown == 0 { segment(n) } else { jobs(shown) };
                block::snapshot(&target, &snapshot, StatusSeries::All)
            });
            let body = body_of(blocks);
            let shared = Part::new("# a\n".repeat(1000));
            // 65,535 bytes fill a stored block.
            for own in [0, 1, 65_535, 65_536, 2 * 65_535, 200_000] {
                let own = "x".repeat(own);
                assert_eq!(unzipped(&body, &shared, &own), plain(&body, &shared, &own));
            }
            let plain = plain(&body, &shared, "");
            if shown == 0 {
                assert_eq!(body.series, 13 * usize::try_from(targets).unwrap());
            }
            assert_eq!(
                plain.matches("# HELP pinpoint_segment_export_jobs ").count(),
                usize::from(targets > 0)
            );
        }
    }

    #[test]
    fn a_state_set_has_one_series_at_one() {
        let one = |status, series| {
            let mut out = Output::Text(String::new());
            Samples::new(&mut out, "name{job=\"1\"", series).state_set(status);
            let text = out.text();
            (text.lines().count(), text.lines().filter(|line| line.ends_with(" 1")).count())
        };
        for status in JobStatus::ALL {
            let series = 9 + usize::from(!status.is_modelled());
            assert_eq!(one(status, StatusSeries::All), (series, 1), "{status:?}");
            assert_eq!(one(status, StatusSeries::Current), (1, 1), "{status:?}");
        }
    }
}
