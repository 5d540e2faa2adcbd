//! The requests that came, for tests to read.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use serde::Serialize;
use tokio::sync::Notify;

use crate::operation::Operation;

/// A request as it came, and what it got.
#[derive(Debug, Clone, Serialize)]
pub struct Request {
    /// When it came, in milliseconds of the machine's clock.
    pub at: i64,
    /// What it asks for, if anything.
    pub operation: Option<Operation>,
    /// Its method.
    pub method: String,
    /// Its path, as it came.
    pub path: String,
    /// Its query, as it came.
    pub query: String,
    /// The application that it names, decoded.
    pub application: Option<String>,
    /// The segment that it names, decoded.
    pub segment: Option<String>,
    /// The page of its listing, from 1.
    pub page: Option<usize>,
    /// The token of its page, decoded.
    pub token: Option<String>,
    /// Its headers.
    pub headers: Vec<(String, String)>,
    /// The request id that its answer carries, unless a fault takes the answer away.
    pub request_id: String,
    /// The instant that its answer shows the jobs of, unless a fault comes before.
    pub shown_at: Option<i64>,
    /// The status of its answer, once there is one.
    pub status: Option<u16>,
    /// The name of the error it got, if it did.
    pub error: Option<String>,
    /// The fault that was done to it.
    pub fault: Option<String>,
}

impl Request {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// The log.
#[derive(Debug, Default)]
pub(crate) struct Log {
    noted: Mutex<Noted>,
    came: Notify,
    in_flight: AtomicUsize,
    most_in_flight: AtomicUsize,
    pub(crate) connections: AtomicUsize,
}

/// What is remembered. Numbers go on when the log is forgotten, so that no request is taken for another.
#[derive(Debug, Default)]
struct Noted {
    forgotten: usize,
    requests: Vec<Request>,
}

/// A request that has not got all of its answer.
#[derive(Debug)]
pub(crate) struct InFlight(std::sync::Arc<Log>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The request id of a request.
pub(crate) fn request_id(number: usize) -> String {
    format!("fa4e0000-0000-4000-8000-{number:012x}")
}

impl Log {
    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a request. Gives its number, from which its request id follows.
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

    /// Changes what is noted of a request.
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

    /// Waits until there are so many requests.
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
