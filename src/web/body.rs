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

use super::patience::Phase;

/// Chunks, one after the other.
#[derive(Debug)]
pub(super) struct Chunks {
    rest: VecDeque<Bytes>,
    left: u64,
    /// Of the connection. Told when this is dropped, which is when all was taken, or the client is gone.
    pub(super) phase: Option<Arc<Phase>>,
}

impl From<Vec<Bytes>> for Chunks {
    fn from(chunks: Vec<Bytes>) -> Self {
        let left = chunks.iter().map(|chunk| chunk.remaining() as u64).sum();
        Self { rest: chunks.into(), left, phase: None }
    }
}

impl Drop for Chunks {
    fn drop(&mut self) {
        if let Some(phase) = &self.phase {
            phase.answered();
        }
    }
}

impl http_body::Body for Chunks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let chunk = self.rest.pop_front();
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
