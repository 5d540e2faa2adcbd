//! Parses durations as settings and files write them: `500ms`, `30s`, `1h30m`, `7d`. Converts durations for atomic variables.

use std::time::Duration;

use humantime::{DurationError, parse_duration};

/// A longer duration is a mistake. The limit also keeps additions to dates and instants from overflowing.
const MAX_DURATION: Duration = Duration::from_hours(100 * 365 * 24);

pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    if text.starts_with('-') {
        return Err("a duration cannot be negative; write one such as 30s".into());
    }
    let duration = parse_duration(text).map_err(|error| match error {
        DurationError::UnknownUnit { unit, value, .. } if unit.is_empty() => {
            format!(
                "the duration lacks a unit; write {value}s for seconds, or another such as 500ms, 5m or 7d"
            )
        }
        DurationError::UnknownUnit { unit, .. } => {
            format!("{unit:?} is not a unit of time; write a duration such as 500ms, 30s, 5m, 2h or 7d")
        }
        DurationError::NumberOverflow => too_long(),
        _ => "this is not a valid duration; write one such as 500ms, 30s, 5m, 2h or 7d".into(),
    })?;
    if has_unit_month(text) {
        return Err("M means months; write m for minutes, or days such as 30d".into());
    }
    if duration > MAX_DURATION {
        return Err(too_long());
    }
    Ok(duration)
}

/// The whole duration in nanoseconds, or the greatest value if it is longer than 584 years.
pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn too_long() -> String {
    "the duration is too long; write one of at most 100 years (36500d)".into()
}

fn has_unit_month(text: &str) -> bool {
    text.split(|c: char| !c.is_alphabetic()).any(|unit| unit == "M")
}
