//! The body of a response: a list of chunks that are sent without being copied together, or text that is rendered while it is
//! sent.

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
    connection_phase::ConnectionPhase,
    connections::ResponseHolder,
    exporter::{Content, RenderedText},
    responses_in_flight::TrackedResponse,
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
    /// Text that is rendered when `rest` has been sent.
    text: Option<RenderedText>,
    answering: Option<AnsweringGuard>,
}

impl From<Content> for Body {
    fn from(content: Content) -> Self {
        let (chunks, text) = match content {
            Content::Chunks(chunks) => (chunks, None),
            Content::Rendered(text) => (Vec::new(), Some(text)),
        };
        Self { rest: chunks.into(), text, answering: None }
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
        let chunks = self.rest.queue.iter().map(|chunk| (chunk.as_ptr() as usize, chunk.len()));
        let held = holder.hold(chunks.chain(self.text.as_ref().map(|text| text.source)));
        self.rest.in_flight = Some(Arc::new(InFlight { stream, _held: held }));
    }

    /// How many bytes are left to send.
    pub(super) fn length(&self) -> u64 {
        let rendered = self.text.as_ref().map_or(0, |text| text.length);
        (self.rest.left + rendered) as u64
    }

    /// Renders the next piece of the text. The one before it has been taken.
    fn render(&mut self) {
        if let Some(text) = self.text.as_mut().filter(|_| !self.rest.has_remaining()) {
            let piece = text.pieces.next();
            text.length = text.length.saturating_sub(piece.as_ref().map_or(0, Bytes::len));
            let in_flight = self.rest.in_flight.take();
            self.rest = Chunks { in_flight, ..Chunks::from(Vec::from_iter(piece)) };
            if !self.rest.has_remaining() {
                self.text = None;
            }
        }
    }
}

impl http_body::Body for Body {
    type Data = Chunks;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Chunks>, Infallible>>> {
        self.render();
        let is_rendered = self.text.is_some();
        let rest = &mut self.rest;
        let stream = rest.in_flight.as_ref().and_then(|it| it.stream.as_ref());
        let frame = if stream.is_some() {
            rest.split_to(PIECE_BYTES)
        } else {
            // The next piece of a rendered text belongs to the same response.
            let in_flight = rest.in_flight.clone().filter(|_| is_rendered);
            mem::replace(rest, Chunks { in_flight, ..Chunks::default() })
        };
        if let Some(stream) = frame.in_flight.as_ref().and_then(|it| it.stream.as_ref())
            && frame.has_remaining()
        {
            stream.piece(frame.left);
        }
        Poll::Ready(frame.has_remaining().then(|| Ok(Frame::data(frame))))
    }

    fn is_end_stream(&self) -> bool {
        self.length() == 0
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
    use std::task::Waker;

    use http_body::Body as _;

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
    fn rendered_text_is_sent_piece_by_piece_and_its_length_is_known() {
        let pieces = ["abc", "de", "f"].map(Bytes::from);
        let text = RenderedText { pieces: Box::new(pieces.into_iter()), length: 6, source: (0, 0) };
        let mut body = Body::from(Content::Rendered(text));
        let context = &mut Context::from_waker(Waker::noop());
        for (sent, left) in [("abc", 6), ("de", 3), ("f", 1)] {
            assert_eq!((body.length(), body.is_end_stream()), (left, false));
            let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut body).poll_frame(context) else {
                panic!("{sent}")
            };
            assert_eq!(frame.into_data().unwrap().chunk(), sent.as_bytes());
        }
        assert!(body.is_end_stream());
        assert!(matches!(Pin::new(&mut body).poll_frame(context), Poll::Ready(None)));
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
