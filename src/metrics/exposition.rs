//! Assembles responses from rendered families, plain or compressed, in Prometheus's [text format 0.0.4].
//!
//! A refresh renders its families into a [`Block`] once, as text and as deflated text. A response joins the blocks of all
//! targets, one family at a time, without formatting or compressing them again. Each piece ends with a full flush of the
//! compressor, so no piece refers to bytes of another and any order works. The response is a single gzip member, because some
//! clients stop after the first one.
//!
//! [text format 0.0.4]: https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format

use std::{ops::Range, sync::LazyLock};

use bytes::{BufMut as _, Bytes, BytesMut};

use super::{
    block::{Block, BlockWriter, COPIED_BELOW, Deflater},
    catalogue::FAMILIES,
    family::push_header,
};

/// The HELP and TYPE lines of every family that comes from targets.
static HEADERS: LazyLock<Block> = LazyLock::new(|| {
    let mut writer = BlockWriter::default();
    let ends = FAMILIES.iter().map(|family| {
        push_header(&mut writer.text, family);
        writer.text.len()
    });
    let ends = ends.collect();
    writer.block(ends, 0)
});

/// The pieces of a response in order. Small pieces are copied together.
#[derive(Debug)]
struct Chunks {
    whole: Vec<Bytes>,
    copied: BytesMut,
}

impl Chunks {
    /// Allocates exactly the capacity that the small pieces need. A buffer that grows by doubling can take up to twice that.
    fn of<'a>(pieces: impl Iterator<Item = &'a Range<usize>>) -> Self {
        let small = pieces.map(Range::len).filter(|length| *length < COPIED_BELOW).sum();
        Self { whole: Vec::new(), copied: BytesMut::with_capacity(small) }
    }

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
    /// The number of job, segment and target series.
    pub series: usize,
}

/// Joins the blocks of all targets, one family at a time. Omits families without samples.
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

/// Text that follows the families of the targets.
#[derive(Debug, Clone, Default)]
pub struct Part {
    text: Bytes,
    deflated: Bytes,
    checksum: crc32fast::Hasher,
}

impl Part {
    /// Compresses text that is sent more than once.
    pub(super) fn compressed(text: String) -> Self {
        let mut deflater = Deflater::default();
        deflater.piece(text.as_bytes());
        Self::of(text, deflater.take())
    }

    /// Wraps text that is sent once in stored blocks, without compression: [RFC 1951, section 3.2.4].
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
/// An empty stored block with the flag of the last block.
const LAST_BLOCK: &[u8] = &[1, 0, 0, 0xff, 0xff];

/// A complete response. `tail` follows the families of the targets.
pub fn render(body: &Body, tail: &[Part], gzip: bool) -> Vec<Bytes> {
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

/// Compresses a single text in the same format.
pub fn gzip(text: String) -> Vec<Bytes> {
    render(&Body::default(), &[Part::compressed(text)], true)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use allocation_counter::measure;
    use flate2::read::GzDecoder;

    use super::*;
    use crate::metrics::block::Piece;
    use crate::metrics::block::snapshot;
    use crate::metrics::family::samples;
    use crate::model::job_status::JobStatus;
    use crate::model::snapshot::Snapshot;
    use crate::model::snapshot::{Segment, StatusCounts};
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
        // The decoder reads one member only, so this fails if the response has more.
        let mut decoder = GzDecoder::new(&bytes[..]);
        decoder.read_to_string(&mut text).unwrap();
        assert!(decoder.into_inner().is_empty(), "bytes after the member");
        text
    }

    #[test]
    fn label_values_are_escaped_and_dates_keep_their_milliseconds() {
        let block = snapshot(&target(), &segment(3), StatusSeries::All);
        let text = text_of(&render(&body([block].iter()), &[], false));
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
            // The first call allocates the buffers of the writer.
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
        let text = text_of(&render(&body([block].iter()), &[], false));
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
            let plain = text_of(&render(&body, &tail, false));
            assert_eq!(unzipped(&render(&body, &tail, true)), plain);
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
