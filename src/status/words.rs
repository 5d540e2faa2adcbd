//! How a call ended, in the words of the page and of `check`.

use std::fmt;

use serde::Serialize;

use crate::pinpoint::{Error, Exception};

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CallError {
    /// Its label in the metrics.
    pub exception: Exception,
    /// What AWS said, or what became of the call.
    pub message: String,
    /// AWS's id of the request, which its support asks for.
    pub request_id: Option<String>,
}

impl CallError {
    /// Every call worked, and nobody asked for another one in time.
    pub(super) fn stale() -> Self {
        Self {
            exception: Exception::Timeout,
            message: "the data are older than MAX_STALENESS and not shown".to_owned(),
            request_id: None,
        }
    }
}

impl From<&Error> for CallError {
    fn from(Error { failure, .. }: &Error) -> Self {
        Self {
            exception: failure.exception,
            message: failure.message.clone(),
            request_id: failure.request_id.clone(),
        }
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.exception.name(), self.message)?;
        self.request_id.iter().try_for_each(|id| write!(f, " (request {id})"))
    }
}

/// What a call that worked has found.
pub fn found(count: u64, one: &str) -> String {
    format!("ok, {}", counted(count, one))
}

/// A number of things.
pub fn counted(count: u64, one: &str) -> String {
    format!("{count} {one}{}", if count == 1 { "" } else { "s" })
}
