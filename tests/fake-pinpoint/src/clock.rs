//! A clock of the fake: the machine's clock, shifted or stopped as a test needs.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

/// The fake's time, in milliseconds since the Unix epoch.
#[derive(Debug, Default)]
pub struct Clock(Mutex<Reading>);

#[derive(Debug, Clone, Copy)]
enum Reading {
    /// The machine's time plus this offset.
    Shifted(i64),
    /// Always this time.
    Stopped(i64),
}

impl Default for Reading {
    fn default() -> Self {
        Self::Shifted(0)
    }
}

impl Clock {
    pub fn now(&self) -> i64 {
        match *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Reading::Shifted(shift) => machine().saturating_add(shift),
            Reading::Stopped(at) => at,
        }
    }

    /// Moves the clock forward, or back if `milliseconds` is negative.
    pub fn advance(&self, milliseconds: i64) {
        let mut reading = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *reading = match *reading {
            Reading::Shifted(shift) => Reading::Shifted(shift.saturating_add(milliseconds)),
            Reading::Stopped(at) => Reading::Stopped(at.saturating_add(milliseconds)),
        };
    }

    pub fn stop_at(&self, milliseconds: i64) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Reading::Stopped(milliseconds);
    }

    /// Returns to the machine's time.
    pub fn reset(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Reading::default();
    }
}

#[expect(clippy::disallowed_methods, reason = "the fake's clock starts from the machine's")]
pub(crate) fn machine() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// A date in the format of AWS's responses.
pub(crate) fn iso(milliseconds: i64) -> String {
    let date = time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(milliseconds) * 1_000_000)
        .unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
    let format = time::macros::format_description!(
        "[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z"
    );
    date.format(&format).unwrap_or_default()
}

/// A date in the format of the `Date` header.
pub(crate) fn http_date(milliseconds: i64) -> String {
    let since = Duration::from_millis(u64::try_from(milliseconds).unwrap_or(0));
    httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + since)
}
