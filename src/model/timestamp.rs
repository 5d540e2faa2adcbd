//! A date with milliseconds.

use std::time::{Duration, SystemTime};

use time::OffsetDateTime;

/// A date of the API, in milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Returns the date that is `time` later.
    #[must_use]
    pub fn after(self, time: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(time.as_millis()).unwrap_or(i64::MAX)))
    }
}

impl From<SystemTime> for Timestamp {
    /// Never fails: a date outside the range of 64 bits becomes the first or last date within it.
    fn from(date: SystemTime) -> Self {
        let since = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        Self(match date.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(after) => since(after),
            Err(before) => -since(before.duration()),
        })
    }
}

impl From<OffsetDateTime> for Timestamp {
    fn from(date: OffsetDateTime) -> Self {
        let milliseconds = date.unix_timestamp_nanos().div_euclid(1_000_000);
        // The range of years of `time` is far smaller than that of 64-bit milliseconds.
        Self(i64::try_from(milliseconds).unwrap_or(i64::MAX))
    }
}
