//! The body of a response: a list of chunks that are sent without being copied together.

use std::{
    collections::VecDeque,
    convert::Infallible,
    io::IoSlice,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::{Buf, Bytes};
use http_body::{Frame, SizeHint};

use super::{
    connection_phase::ConnectionPhase, connections::ResponseHolder, responses_in_flight::TrackedResponse,
    streams::Stream,
};

/// HTTP/2 responses are sent in pieces of this size, so that the server notices each time the client takes one.
const PIECE_BYTES: usize = 64 * 1024;

/// Marks the request of an HTTP/1 connection as answered when it is dropped.
#[derive(Debug)]
struct AnsweringGuard(Arc<ConnectionPhase>);

impl Drop for AnsweringGuard {
    fn drop(&mut self) {
        self.0.answered();
    }
}

/// A response in flight. All of its bytes share this value, so it is dropped when the client has taken the last byte or has
/// disconnected.
#[derive(Debug)]
struct InFlight {
    /// `None` over HTTP/1.
    stream: Option<Stream>,
    _held: TrackedResponse,
}

#[derive(Debug)]
pub(super) struct Body {
    rest: Chunks,
    answering: Option<AnsweringGuard>,
}

impl From<Vec<Bytes>> for Body {
    fn from(chunks: Vec<Bytes>) -> Self {
        Self { rest: chunks.into(), answering: None }
    }
}

impl Body {
    /// Prepares the body to be sent over HTTP/1.
    pub(super) fn send_on_connection(&mut self, phase: Arc<ConnectionPhase>, holder: &ResponseHolder) {
        self.answering = Some(AnsweringGuard(phase));
        self.send(None, holder);
    }

    /// Prepares the body to be sent over HTTP/2.
    pub(super) fn send_on_stream(&mut self, stream: Stream, holder: &ResponseHolder) {
        self.send(Some(stream), holder);
    }

    fn send(&mut self, stream: Option<Stream>, holder: &ResponseHolder) {
        let held = holder.hold(self.rest.queue.iter());
        self.rest.in_flight = Some(Arc::new(InFlight { stream, _held: held }));
    }

    /// How many bytes are left to send.
    pub(super) fn length(&self) -> u64 {
        self.rest.left as u64
    }
}

impl http_body::Body for Body {
    type Data = Chunks;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Chunks>, Infallible>>> {
        let rest = &mut self.rest;
        let stream = rest.in_flight.as_ref().and_then(|it| it.stream.as_ref());
        let frame = if stream.is_some() { rest.split_to(PIECE_BYTES) } else { mem::take(rest) };
        if let Some(stream) = frame.in_flight.as_ref().and_then(|it| it.stream.as_ref())
            && frame.has_remaining()
        {
            stream.piece(frame.left);
        }
        Poll::Ready(frame.has_remaining().then(|| Ok(Frame::data(frame))))
    }

    fn is_end_stream(&self) -> bool {
        !self.rest.has_remaining()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.length())
    }
}

/// Consecutive chunks. hyper passes all of them to one `writev`. If each chunk were a frame, every large one would cost its own
/// system call.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    queue: VecDeque<Bytes>,
    left: usize,
    in_flight: Option<Arc<InFlight>>,
}

impl From<Vec<Bytes>> for Chunks {
    fn from(mut chunks: Vec<Bytes>) -> Self {
        chunks.retain(|chunk| !chunk.is_empty());
        let left = chunks.iter().map(Bytes::len).sum();
        Self { queue: chunks.into(), left, in_flight: None }
    }
}

impl Chunks {
    /// Takes at most `most` bytes off the front, from a single chunk.
    fn split_to(&mut self, most: usize) -> Self {
        let front = self.queue.pop_front().map(|mut front| {
            if front.len() > most {
                self.queue.push_front(front.split_off(most));
            }
            front
        });
        let piece = Self { in_flight: self.in_flight.clone(), ..Vec::from_iter(front).into() };
        self.left -= piece.left;
        piece
    }
}

impl Buf for Chunks {
    fn remaining(&self) -> usize {
        self.left
    }

    fn chunk(&self) -> &[u8] {
        self.queue.front().map_or(&[], Bytes::as_ref)
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        self.queue.iter().zip(slices).map(|(chunk, slice)| *slice = IoSlice::new(chunk)).count()
    }

    fn advance(&mut self, mut count: usize) {
        self.left -= count;
        while count > 0
            && let Some(front) = self.queue.front_mut()
        {
            let step = count.min(front.len());
            front.advance(step);
            count -= step;
            if front.is_empty() {
                self.queue.pop_front();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunks(texts: &[&'static str]) -> Chunks {
        texts.iter().map(|text| Bytes::from(*text)).collect::<Vec<_>>().into()
    }

    #[test]
    fn all_chunks_are_given_to_one_write_and_it_may_take_any_part_of_them() {
        for taken in 0..=9 {
            let mut chunks = chunks(&["", "abc", "d", "", "efghi"]);
            chunks.advance(taken);
            assert_eq!(chunks.remaining(), 9 - taken);
            assert_eq!(chunks.chunk().is_empty(), taken == 9);
            let mut slices = [IoSlice::new(&[]); 4];
            let filled = chunks.chunks_vectored(&mut slices);
            let given: Vec<u8> = slices[..filled].iter().flat_map(|slice| slice.to_vec()).collect();
            assert_eq!(given, b"abcdefghi"[taken..]);
        }
    }

    #[test]
    fn a_piece_is_of_one_chunk() {
        let mut chunks = chunks(&["abcde", "f"]);
        for (piece, left) in [("ab", 4), ("cd", 2), ("e", 1), ("f", 0), ("", 0)] {
            assert_eq!(chunks.split_to(2).chunk(), piece.as_bytes());
            assert_eq!(chunks.remaining(), left);
        }
    }
}
