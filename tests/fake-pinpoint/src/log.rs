//! The log of received requests, for tests to read.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use serde::Serialize;
use tokio::sync::Notify;

use crate::operation::Operation;

/// A received request and its response.
#[derive(Debug, Clone, Serialize)]
pub struct Request {
    /// When it arrived, in milliseconds of the machine's clock.
    pub at: i64,
    /// The operation, if the API has one for this request.
    pub operation: Option<Operation>,
    pub method: String,
    /// The path as received.
    pub path: String,
    /// The query as received.
    pub query: String,
    /// The application in the path, decoded.
    pub application: Option<String>,
    /// The segment in the path, decoded.
    pub segment: Option<String>,
    /// The page of the listing, from 1.
    pub page: Option<usize>,
    /// The token of the page, decoded.
    pub token: Option<String>,
    pub headers: Vec<(String, String)>,
    /// The request id in the response, unless a fault removes the response.
    pub request_id: String,
    /// The instant at which the response shows the jobs. `None` if a fault came first.
    pub shown_at: Option<i64>,
    /// The status of the response, once there is one.
    pub status: Option<u16>,
    /// The name of the error in the response.
    pub error: Option<String>,
    /// The fault that was applied.
    pub fault: Option<String>,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

#[derive(Debug, Default)]
pub(crate) struct Log {
    noted: Mutex<Noted>,
    came: Notify,
    in_flight: AtomicUsize,
    most_in_flight: AtomicUsize,
    pub(crate) connections: AtomicUsize,
}

/// The recorded requests. Numbers continue after the log is cleared, so that no two requests share one.
#[derive(Debug, Default)]
struct Noted {
    forgotten: usize,
    requests: Vec<Request>,
}

/// A request whose response is not complete.
#[derive(Debug)]
pub(crate) struct InFlight(std::sync::Arc<Log>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The request id for a request number.
pub(crate) fn request_id(number: usize) -> String {
    format!("fa4e0000-0000-4000-8000-{number:012x}")
}

impl Log {
    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records a request. Returns its number, from which its request id follows.
    pub(crate) fn note(self: &std::sync::Arc<Self>, mut request: Request) -> (usize, InFlight) {
        let now = self.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_in_flight.fetch_max(now, Ordering::SeqCst);
        let mut noted = self.noted();
        let number = noted.forgotten + noted.requests.len();
        request.request_id = request_id(number);
        noted.requests.push(request);
        self.came.notify_waiters();
        (number, InFlight(std::sync::Arc::clone(self)))
    }

    /// Changes the record of a request.
    pub(crate) fn amend(&self, number: usize, change: impl FnOnce(&mut Request)) {
        let mut noted = self.noted();
        let index = number.checked_sub(noted.forgotten);
        if let Some(request) = index.and_then(|index| noted.requests.get_mut(index)) {
            change(request);
        }
    }

    pub(crate) fn read<T>(&self, read: impl FnOnce(&[Request]) -> T) -> T {
        read(&self.noted().requests)
    }

    pub(crate) fn all(&self) -> Vec<Request> {
        self.noted().requests.clone()
    }

    pub(crate) fn clear(&self) {
        let mut noted = self.noted();
        noted.forgotten += noted.requests.len();
        noted.requests.clear();
        drop(noted);
        self.most_in_flight.store(self.in_flight.load(Ordering::SeqCst), Ordering::SeqCst);
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::SeqCst)
    }

    pub(crate) fn most_in_flight(&self) -> usize {
        self.most_in_flight.load(Ordering::SeqCst)
    }

    /// Waits until there are at least `count` requests.
    pub(crate) async fn wait_for(&self, count: usize) {
        loop {
            let came = self.came.notified();
            tokio::pin!(came);
            came.as_mut().enable();
            if self.noted().requests.len() >= count {
                return;
            }
            came.await;
        }
    }
}
