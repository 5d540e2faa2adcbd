//! Compresses families. Each compressed piece ends with a full flush of the compressor, so no piece refers to bytes of another
//! and any order works. Several threads compress a large text.

use std::{
    cell::RefCell,
    cmp::Reverse,
    ops::Range,
    panic::resume_unwind,
    sync::{
        LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use bytes::Bytes;
use crc32fast::Hasher;
use flate2::{Compress, Compression, FlushCompress};

use super::catalogue::FAMILIES;

/// Fast compression: level 6 takes three times as long and saves only a tenth.
const LEVEL: Compression = Compression::fast();

/// A text of at least this size is compressed by several threads. Starting one takes as long as compressing 50 kB.
pub(super) const SHARED_FROM: usize = 1024 * 1024;

/// The compressor's window holds 64 KiB, less a few hundred bytes. When it is full, the compressor moves it and its hash tables,
/// which takes several times as long as finding the matches in the text. So the window starts over before it is full.
const WINDOW: usize = 64 * 1024 - 512;

/// How much of the text remains in a window that starts over. A line mostly repeats one that is a few lines before it.
const KEPT_IN_WINDOW: usize = 2 * 1024;

/// How much text can be compressed before the window starts over again.
pub(super) const BETWEEN_STARTS: usize = WINDOW - KEPT_IN_WINDOW;

/// Larger buffers are handed over instead of being reused.
const KEPT_BELOW: usize = 256 * 1024;

static CORES: LazyLock<usize> = LazyLock::new(|| thread::available_parallelism().map_or(1, usize::from));

/// The text of families, rendered when it is needed.
pub(super) trait Text: Sync {
    /// The length of a family's text.
    fn length(&self, family: usize) -> usize;

    /// Renders a family and passes on its text piece by piece. `buffer` is empty, and is returned empty to be used again.
    fn render(&self, family: usize, buffer: String, pass_on: &mut dyn FnMut(&str)) -> String;
}

/// The compressed families of some blocks.
#[derive(Debug)]
pub(super) struct Deflated {
    bytes: Bytes,
    /// In the order of the catalogue.
    pieces: Box<[Piece]>,
}

/// The position of a compressed family, and the checksum of its text.
#[derive(Debug, Clone, Default)]
struct Piece {
    range: Range<usize>,
    checksum: u32,
}

impl Deflated {
    /// Renders and compresses the families, each as one piece.
    pub(super) fn of(text: &(impl Text + ?Sized)) -> Self {
        let length = |family: usize| text.length(family);
        let mut families: Vec<usize> = (0..FAMILIES.len()).filter(|family| length(*family) > 0).collect();
        let all: usize = families.iter().map(|family| length(*family)).sum();
        let threads = if all < SHARED_FROM { 1 } else { families.len().min(*CORES) };
        if threads > 1 {
            families.sort_by_key(|family| Reverse(length(*family)));
        }
        let next = AtomicUsize::new(0);
        let work = || {
            DEFLATER.with_borrow_mut(|deflater| {
                deflater.start();
                let mut pieces = Vec::new();
                while let Some(family) = families.get(next.fetch_add(1, Ordering::Relaxed)) {
                    pieces.push((*family, deflater.family(text, *family)));
                }
                (pieces, deflater.take())
            })
        };
        let parts: Vec<_> = thread::scope(|scope| {
            let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
            let own = work();
            let others = others.into_iter().map(|it| it.join().unwrap_or_else(|panic| resume_unwind(panic)));
            std::iter::once(own).chain(others).collect()
        });
        let mut pieces = vec![Piece::default(); FAMILIES.len()];
        let mut bytes = Vec::new();
        let mut start = 0;
        for (families, part) in &parts {
            for (family, Piece { range, checksum }) in families {
                pieces[*family] =
                    Piece { range: start + range.start..start + range.end, checksum: *checksum };
            }
            start += part.len();
            if parts.len() > 1 {
                bytes.extend_from_slice(part);
            }
        }
        let bytes = match &parts[..] {
            [(_, part)] => part.clone(),
            _ => bytes.into_boxed_slice().into(),
        };
        Self { bytes, pieces: pieces.into() }
    }

    /// The length of all pieces.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The piece of a family, and the checksum of its text, which has this length.
    pub(super) fn family(&self, family: usize, length: usize) -> (&Bytes, Range<usize>, Hasher) {
        let Piece { range, checksum } = self.pieces.get(family).cloned().unwrap_or_default();
        (&self.bytes, range, Hasher::new_with_initial_len(checksum, length as u64))
    }
}

/// Compresses a text as one piece.
pub(super) fn deflated(text: &str) -> Bytes {
    DEFLATER.with_borrow_mut(|deflater| {
        deflater.start();
        deflater.push(text.as_bytes(), FlushCompress::Full);
        deflater.take()
    })
}

thread_local! {
    static DEFLATER: RefCell<Deflater> = RefCell::default();
}

/// Compresses pieces that can later be joined in any order. One is kept per thread, for two reasons. A compressor takes a
/// quarter of a megabyte. Pieces that are shrunk from growing buffers would leave holes in memory. With thousands of small
/// targets, either effect would cost more memory than the data.
struct Deflater {
    compress: Compress,
    /// How much text is in the compressor's window.
    in_window: usize,
    /// The end of that text.
    tail: Vec<u8>,
    out: Vec<u8>,
    text: String,
}

impl Default for Deflater {
    fn default() -> Self {
        let compress = Compress::new(LEVEL, false);
        Self { compress, in_window: 0, tail: Vec::new(), out: Vec::new(), text: String::new() }
    }
}

impl Deflater {
    /// Drops what a panic in an earlier call can have left here.
    fn start(&mut self) {
        // A reset keeps the state of a block that is open.
        if self.in_window > 0 || !self.out.is_empty() {
            *self = Self::default();
        }
        self.compress.reset();
    }

    /// Renders and compresses a family as one piece.
    fn family(&mut self, text: &(impl Text + ?Sized), family: usize) -> Piece {
        let start = self.out.len();
        self.in_window = 0;
        let mut checksum = Hasher::new();
        let buffer = std::mem::take(&mut self.text);
        self.text = text.render(family, buffer, &mut |piece| {
            checksum.update(piece.as_bytes());
            self.part(piece.as_bytes());
        });
        self.push(&[], FlushCompress::Full);
        Piece { range: start..self.out.len(), checksum: checksum.finalize() }
    }

    /// Compresses a part of a family.
    fn part(&mut self, part: &[u8]) {
        if part.is_empty() {
            return;
        }
        if self.in_window > 0 && self.in_window + part.len() > WINDOW {
            // The flush empties the window. The end of the text can be put back, because the reader still has it.
            self.push(&[], FlushCompress::Full);
            let kept = self.compress.set_dictionary(&self.tail);
            debug_assert!(kept.is_ok(), "the compressor holds no text back after a flush");
            self.in_window = self.tail.len();
        }
        self.push(part, FlushCompress::None);
        self.in_window += part.len();
        self.tail.clear();
        self.tail.extend_from_slice(&part[part.len().saturating_sub(KEPT_IN_WINDOW)..]);
    }

    fn push(&mut self, mut input: &[u8], flush: FlushCompress) {
        loop {
            self.out.reserve(input.len() / 8 + 1024);
            let before = self.compress.total_in();
            let done = self.compress.compress_vec(input, &mut self.out, flush);
            debug_assert!(done.is_ok(), "deflate has no error but misuse");
            let taken = usize::try_from(self.compress.total_in() - before).unwrap_or(input.len());
            input = &input[taken.min(input.len())..];
            // While the buffer is full, the compressor may hold back more.
            if done.is_err() || (input.is_empty() && self.out.len() < self.out.capacity()) {
                return;
            }
        }
    }

    /// Returns all pieces.
    fn take(&mut self) -> Bytes {
        self.in_window = 0;
        if self.out.len() > KEPT_BELOW {
            return std::mem::take(&mut self.out).into_boxed_slice().into();
        }
        let pieces = Bytes::copy_from_slice(&self.out);
        self.out.clear();
        pieces
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::DeflateDecoder;

    use super::*;

    /// The pieces of the first family.
    struct Pieces(Vec<String>);

    impl Text for Pieces {
        fn length(&self, family: usize) -> usize {
            if family == 0 { self.0.iter().map(String::len).sum() } else { 0 }
        }

        fn render(&self, _family: usize, buffer: String, pass_on: &mut dyn FnMut(&str)) -> String {
            self.0.iter().for_each(|piece| pass_on(piece));
            buffer
        }
    }

    #[test]
    fn pieces_of_any_size_are_compressed_whole() {
        let piece = |length: usize| ('a'..='z').cycle().step_by(7).take(length).collect::<String>();
        for lengths in [
            vec![WINDOW],
            vec![WINDOW + 1],
            vec![5 * WINDOW],
            vec![1, 5 * WINDOW, 1],
            vec![0, WINDOW / 2, WINDOW / 2 + 1, 0, WINDOW, KEPT_IN_WINDOW - 1, BETWEEN_STARTS],
        ] {
            let text = Pieces(lengths.iter().map(|length| piece(*length)).collect());
            let deflated = Deflated::of(&text);
            let whole = text.0.concat();
            let (bytes, range, checksum) = deflated.family(0, whole.len());
            let mut unpacked = Vec::new();
            let last_block: &[u8] = &[1, 0, 0, 0xff, 0xff];
            DeflateDecoder::new(bytes[range].chain(last_block)).read_to_end(&mut unpacked).unwrap();
            assert!(unpacked == whole.as_bytes(), "{lengths:?}");
            assert_eq!(checksum.finalize(), crc32fast::hash(whole.as_bytes()), "{lengths:?}");
        }
    }
}
