//! A response as a value: status, headers and the steps of the body. Some steps are faults.

use std::{
    collections::VecDeque,
    io::{self, Write as _},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Sleep, sleep};

use crate::log::InFlight;

#[derive(Debug, Clone)]
pub(crate) enum Step {
    Send(Bytes),
    Pause(Duration),
    Hang,
    /// The connection ends here, with or without a reset.
    End {
        reset: bool,
    },
}

/// An HTTP response.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) steps: Vec<Step>,
    /// Whether a header gives the length.
    pub(crate) sized: bool,
    /// The name of the error, for the log.
    pub(crate) error: Option<String>,
}

impl Reply {
    pub(crate) fn json(status: u16, value: &serde_json::Value) -> Self {
        Self::new(status, "application/json", value.to_string())
    }

    pub(crate) fn new(status: u16, content_type: &str, body: impl Into<Bytes>) -> Self {
        let headers = vec![("content-type".to_owned(), content_type.to_owned())];
        Self { status, headers, steps: vec![Step::Send(body.into())], sized: true, error: None }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let sent = self.steps.iter().filter_map(|step| match step {
            Step::Send(bytes) => Some(&bytes[..]),
            _ => None,
        });
        sent.collect::<Vec<_>>().concat()
    }

    pub(crate) fn with_body(mut self, body: impl Into<Bytes>) -> Self {
        self.steps = vec![Step::Send(body.into())];
        self
    }

    pub(crate) fn with_header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.retain(|(known, _)| known != name);
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Half of the body, followed by a fault.
    pub(crate) fn broken(mut self, fault: Step) -> Self {
        let body = Bytes::from(self.bytes());
        let half = body.slice(..body.len() / 2);
        // The pause lets the client receive the half before the fault.
        let pause = Step::Pause(Duration::from_millis(20));
        self = self.with_header("content-length", body.len().max(1).to_string());
        self.steps = vec![Step::Send(half), pause, fault];
        self
    }

    pub(crate) fn gzipped(self) -> Self {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        for step in &self.steps {
            if let Step::Send(bytes) = step {
                // Writing to memory cannot fail.
                let _ = encoder.write_all(bytes);
            }
        }
        let body = encoder.finish().unwrap_or_default();
        self.with_header("content-encoding", "gzip").with_body(body)
    }
}

/// A body that is being sent.
#[derive(Debug)]
pub(crate) struct Steps {
    rest: VecDeque<Step>,
    pause: Option<Pin<Box<Sleep>>>,
    length: Option<u64>,
    /// Set to end the connection with a reset.
    reset: Arc<AtomicBool>,
    _in_flight: Option<InFlight>,
}

impl Steps {
    pub(crate) fn new(reply: &Reply, reset: Arc<AtomicBool>, in_flight: Option<InFlight>) -> Self {
        let sizes = reply.steps.iter().map(|step| match step {
            Step::Send(bytes) => Some(bytes.len() as u64),
            _ => None,
        });
        let length = if reply.sized { sizes.sum() } else { None };
        Self { rest: reply.steps.clone().into(), pause: None, length, reset, _in_flight: in_flight }
    }
}

impl Body for Steps {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        loop {
            if let Some(pause) = &mut self.pause {
                ready!(pause.as_mut().poll(cx));
                self.pause = None;
            }
            match self.rest.pop_front() {
                None => return Poll::Ready(None),
                Some(Step::Send(bytes)) if bytes.is_empty() => {}
                Some(Step::Send(bytes)) => {
                    self.length = self.length.map(|length| length - bytes.len() as u64);
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
                Some(Step::Pause(time)) => self.pause = Some(Box::pin(sleep(time))),
                Some(Step::Hang) => {
                    self.rest.push_front(Step::Hang);
                    return Poll::Pending;
                }
                Some(Step::End { reset }) => {
                    self.reset.fetch_or(reset, Ordering::SeqCst);
                    return Poll::Ready(Some(Err(io::Error::other("a fault that was asked for"))));
                }
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
