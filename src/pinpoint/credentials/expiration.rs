//! Parses the expiration of credentials.
//!
//! AWS's documentation asks for ISO 8601, and AWS's own services write `2026-01-01T00:00:00Z`. Other sources write an offset or
//! `UTC`, which botocore accepts and `aws-config` rejects.

use std::time::{Duration, SystemTime};

use time::{
    PrimitiveDateTime, UtcOffset, format_description::BorrowedFormatItem, macros::format_description,
};

/// The date and time without an offset. Seconds and their fraction are optional.
const LOCAL: &[BorrowedFormatItem<'_>] = format_description!(
    version = 2,
    "[year]-[month]-[day]T[hour]:[minute][optional [:[second][optional [.[subsecond]]]]]"
);

/// The length of `YYYY-MM-DD`.
const DATE_LENGTH: usize = 10;

/// Parses a date with `Z`, `UTC`, `GMT`, an offset with or without a colon, or no zone, which means UTC. Returns `None` for any
/// other text.
pub(in crate::pinpoint) fn parse(text: &str) -> Option<SystemTime> {
    let text = text.trim();
    let (date, rest) = text.split_at_checked(DATE_LENGTH)?;
    let time = rest.strip_prefix(['T', 't', ' '])?;
    let is_of_the_zone = |c: char| !matches!(c, '0'..='9' | ':' | '.');
    let (time, zone) = time.split_at(time.find(is_of_the_zone).unwrap_or(time.len()));
    let local = PrimitiveDateTime::parse(&format!("{date}T{time}"), LOCAL).ok()?;
    let seconds = local.assume_offset(offset(zone.trim_start())?).unix_timestamp();
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let second = match seconds {
        0.. => SystemTime::UNIX_EPOCH.checked_add(whole),
        _ => SystemTime::UNIX_EPOCH.checked_sub(whole),
    };
    second?.checked_add(Duration::from_nanos(local.nanosecond().into()))
}

fn offset(zone: &str) -> Option<UtcOffset> {
    if matches!(zone, "" | "Z" | "z" | "UTC" | "GMT") {
        return Some(UtcOffset::UTC);
    }
    let (is_west, digits) = match zone.split_at_checked(1)? {
        ("+", digits) => (false, digits),
        ("-", digits) => (true, digits),
        _ => return None,
    };
    let number = |digits: &str| -> Option<i8> {
        (digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit()))
            .then(|| digits.parse().ok())?
    };
    let (hours, minutes) = digits.split_at_checked(2)?;
    let minutes = minutes.strip_prefix(':').unwrap_or(minutes);
    let hours = number(hours).filter(|hours| *hours < 24)?;
    let minutes = if digits.len() == 2 { 0 } else { number(minutes).filter(|minutes| *minutes < 60)? };
    let sign = if is_west { -1 } else { 1 };
    UtcOffset::from_hms(sign * hours, sign * minutes, 0).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_read_with_any_zone_that_sources_write() {
        for text in [
            "2026-01-02T03:04:05Z",
            "2026-01-02T03:04:05z",
            "2026-01-02 03:04:05 UTC",
            "2026-01-02T03:04:05UTC",
            "2026-01-02T03:04:05GMT",
            "2026-01-02T03:04:05",
            "2026-01-02T03:04:05.000000000Z",
            "2026-01-02T03:04:05+00:00",
            "2026-01-02T03:04:05+0000",
            "2026-01-02T03:04:05+00",
            "2026-01-02T05:34:05+0230",
            "2026-01-01T23:04:05-04:00",
            " 2026-01-02t03:04:05 +0000\n",
        ] {
            let expected = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_323_045);
            assert_eq!(parse(text), Some(expected), "{text:?}");
        }
        let minute = SystemTime::UNIX_EPOCH + Duration::from_mins(29_455_384);
        assert_eq!(parse("2026-01-02T03:04Z"), Some(minute));
        let before_1970 = SystemTime::UNIX_EPOCH - Duration::from_millis(500);
        assert_eq!(parse("1969-12-31T23:59:59.5Z"), Some(before_1970));
    }

    #[test]
    fn dates_at_the_ends_of_the_calendar_are_read() {
        for text in [
            "0001-01-01T00:00:00Z",
            "0000-01-01T00:00:00+23:59",
            "9999-12-31T23:59:59.999999999Z",
            "9999-12-31T23:59:59-23:59",
        ] {
            assert!(parse(text).is_some(), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_date_is_none() {
        for text in [
            "",
            "never",
            "1767323045",
            "2026-01-02",
            "2026-01-02T",
            "2026-02-30T00:00:00Z",
            "2026-01-02T25:00:00Z",
            "2026-01-02T03:04:05X",
            "2026-01-02T03:04:05CET",
            "2026-01-02T03:04:05+1",
            "2026-01-02T03:04:05+24:00",
            "2026-01-02T03:04:05+00:60",
            "2026-01-02T03:04:05+00:00:00",
            "2026-01-02T03:04:05++0",
            "2026-01-0é T03:04:05Z",
            "99999-01-02T03:04:05Z",
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}
