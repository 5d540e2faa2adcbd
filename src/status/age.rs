//! Formats dates in UTC, ages and durations.

use std::time::Duration;

use time::{OffsetDateTime, format_description::BorrowedFormatItem, macros::format_description};

use crate::model::timestamp::Timestamp;

const FOR_PEOPLE: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
const FOR_PROGRAMS: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

fn written(date: Timestamp, format: &[BorrowedFormatItem<'_>]) -> Option<String> {
    let date = OffsetDateTime::from_unix_timestamp_nanos(i128::from(date.0) * 1_000_000).ok()?;
    date.format(format).ok()
}

/// Formats a date as `2026-01-31 23:59:59`, in UTC. `None` if no calendar date can express it.
pub(super) fn utc(date: Timestamp) -> Option<String> {
    written(date, FOR_PEOPLE)
}

/// Formats a date as [RFC 3339](https://www.rfc-editor.org/rfc/rfc3339), with milliseconds.
pub(super) fn rfc3339(date: Timestamp) -> Option<String> {
    written(date, FOR_PROGRAMS)
}

/// Formats the distance to `now`: `2h 5m ago`, `in 40s` or `now`.
pub(super) fn from_now(date: Timestamp, now: Timestamp) -> String {
    let seconds = now.0.saturating_sub(date.0) / 1000;
    match seconds {
        0 => "now".to_owned(),
        1.. => format!("{} ago", short(Duration::from_secs(seconds.unsigned_abs()))),
        _ => format!("in {}", short(Duration::from_secs(seconds.unsigned_abs()))),
    }
}

/// Formats a duration in its two largest units, which are those of the settings.
pub(super) fn short(duration: Duration) -> String {
    const UNITS: [(u128, &str); 5] =
        [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s"), (1, "ms")];
    let mut rest = duration.as_millis();
    let first = UNITS.iter().position(|(unit, _)| rest >= *unit).unwrap_or(UNITS.len() - 1);
    let counted = UNITS[first..].iter().take(2).map(|(unit, name)| {
        let count = rest / unit;
        rest %= unit;
        (count, name)
    });
    let counted = counted.enumerate().filter(|(at, (count, _))| *at == 0 || *count > 0);
    counted.map(|(_, (count, name))| format!("{count}{name}")).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_769_904_000_123);

    #[test]
    fn dates_are_in_utc_and_ages_by_two_units() {
        assert_eq!(utc(NOW).unwrap(), "2026-02-01 00:00:00");
        assert_eq!(rfc3339(NOW).unwrap(), "2026-02-01T00:00:00.123Z");
        assert_eq!(utc(Timestamp(i64::MAX)), None);
        for (milliseconds, expected) in [
            (0, "now"),
            (999, "now"),
            (1_000, "1s ago"),
            (125_000, "2m 5s ago"),
            (26 * 3_600_000 + 61_000, "1d 2h ago"),
            (26 * 3_600_000 - 1, "1d 1h ago"),
            (24 * 3_600_000 + 59_000, "1d ago"),
            (-40_000, "in 40s"),
        ] {
            assert_eq!(from_now(Timestamp(NOW.0 - milliseconds), NOW), expected);
        }
        assert_eq!(from_now(Timestamp(i64::MIN), Timestamp(i64::MAX)), "106751991167d 7h ago");
        assert_eq!(short(Duration::from_micros(1_234_567)), "1s 234ms");
        assert_eq!(short(Duration::from_micros(999)), "0ms");
    }
}
