//! A date with milliseconds.

use std::time::{Duration, SystemTime};

use time::OffsetDateTime;

/// A date of the API, in milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// So much later.
    #[must_use]
    pub fn after(self, time: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(time.as_millis()).unwrap_or(i64::MAX)))
    }
}

impl From<SystemTime> for Timestamp {
    /// Every date has one: what 64 bits cannot hold is the first or last that they can.
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
        // The years that `time` knows lie far within 64 bits of milliseconds.
        Self(i64::try_from(milliseconds).unwrap_or(i64::MAX))
    }
}
