//! The body of an answer: chunks that are sent from where they are.

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::{Buf as _, Bytes};
use http_body::{Frame, SizeHint};

use super::{patience::Phase, streams::Stream};

/// Of HTTP/2 an answer is sent in pieces, so that it is seen when the client takes one.
const PIECE_BYTES: usize = 64 * 1024;

/// What is told how the answer goes. Dropped with the body, which is when all was taken, or the client is gone.
#[derive(Debug)]
pub(super) enum Carrier {
    /// A connection of HTTP/1.
    Connection(Arc<Phase>),
    /// A stream of HTTP/2.
    Stream(Stream),
}

impl Drop for Carrier {
    fn drop(&mut self) {
        if let Self::Connection(phase) = self {
            phase.answered();
        }
    }
}

/// Chunks, one after the other.
#[derive(Debug)]
pub(super) struct Chunks {
    rest: VecDeque<Bytes>,
    left: u64,
    pub(super) carrier: Option<Carrier>,
}

impl From<Vec<Bytes>> for Chunks {
    fn from(chunks: Vec<Bytes>) -> Self {
        let left = chunks.iter().map(|chunk| chunk.remaining() as u64).sum();
        Self { rest: chunks.into(), left, carrier: None }
    }
}

impl http_body::Body for Chunks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let mut chunk = self.rest.pop_front();
        if let Some(Carrier::Stream(stream)) = &mut self.carrier {
            stream.piece();
            if let Some(chunk) = &mut chunk
                && chunk.len() > PIECE_BYTES
            {
                let rest = chunk.split_off(PIECE_BYTES);
                self.rest.push_front(rest);
            }
        }
        self.left -= chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
        Poll::Ready(chunk.map(|chunk| Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
