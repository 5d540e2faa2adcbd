//! Durations of settings, dates of the API, dates of HTTP. The first byte says which of them the rest is.

use std::time::{Duration, SystemTime};

use aws_smithy_types::{DateTime, date_time::Format};
use http::{HeaderMap, HeaderValue};
use pinpoint_exporter::{config::Config, pinpoint::fuzzing};

/// The latest date to compare clocks with, in the year 9999.
const YEAR_9999: u64 = 253_370_764_800;
/// From 2000 to 2100 a `Date` may be AWS's.
const BELIEVED: std::ops::Range<f64> = 946_684_800.0..4_133_980_800.0;

pub(crate) fn check(data: &[u8]) {
    let Some((kind, text)) = data.split_first() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    match kind {
        b'd' => duration(text),
        b'a' => date_of_the_api(text),
        b'h' => date_of_http(text),
        _ => {}
    }
}

/// A duration that is read is within a hundred years and can be written and read again; one that is refused is quoted.
fn duration(text: &str) {
    let read = |text: &str| {
        let variables = [("TARGETS", "a"), ("DISCOVERY_TTL", text)];
        let variables =
            variables.map(|(name, text)| (format!("PINPOINT_EXPORTER_{name}").into(), text.into()));
        let variables = variables.into_iter().chain([("AWS_REGION".into(), "us-east-1".into())]);
        Config::parse(variables, None).map(|(config, _)| config.discovery_ttl)
    };
    match read(text) {
        Ok(duration) => {
            assert!(duration <= Duration::from_hours(100 * 365 * 24), "{text:?}");
            let written = humantime::format_duration(duration).to_string();
            assert_eq!(read(&written).as_ref(), Ok(&duration), "{text:?}: {written}");
            if let Some(expected) = plain_duration(text.trim()) {
                assert_eq!(duration, expected, "{text:?}");
            }
        }
        Err(problems) => {
            assert_eq!(problems.problems.len(), 1, "{text:?}");
            let problem = problems.problems[0].to_string();
            assert!(problem.starts_with("PINPOINT_EXPORTER_DISCOVERY_TTL=\""), "{problem}");
            assert!(problem.contains("write"), "it says what would be right: {problem}");
            let longest = Duration::from_hours(100 * 365 * 24);
            assert!(plain_duration(text.trim()).is_none_or(|it| it > longest), "{text:?} is one: {problem}");
        }
    }
}

/// A whole number and one of the units that the README writes.
fn plain_duration(text: &str) -> Option<Duration> {
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    let number: u64 = text[..end].parse().ok().filter(|number| *number < 1 << 40)?;
    let milliseconds = match &text[end..] {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    Some(Duration::from_millis(number.saturating_mul(milliseconds)))
}

/// A date is read as calendar and arithmetic have it, and one that is none counts as one bad member and no more.
fn date_of_the_api(text: &str) {
    let body = serde_json::json!({"Item": [{"Id": "j", "CreationDate": text}]}).to_string();
    let page = fuzzing::export_jobs(body.as_bytes(), None).expect("it is a page");
    let date = page.items[0].creation_date;
    assert_eq!(page.bad_members, u64::from(date.is_none()), "{text:?}");
    assert_eq!(date.map(|date| date.0), milliseconds(text.trim()), "{text:?}");
}

/// Milliseconds since 1970, from a date as ISO 8601 writes it: year to minute, in the extended or the basic format, then
/// seconds, a fraction and a zone, as far as they are there.
pub(super) fn milliseconds(text: &str) -> Option<i64> {
    let extended = text.get(4..5)? == "-";
    let shape = if extended { "dddd-dd-dd dd:dd" } else { "dddddddd dddd" };
    let (begin, rest) = text.split_at_checked(shape.len())?;
    let fits = |(byte, shape): (u8, u8)| match shape {
        b'd' => byte.is_ascii_digit(),
        b' ' => b"Tt ".contains(&byte),
        shape => byte == shape,
    };
    if !begin.bytes().zip(shape.bytes()).all(fits) {
        return None;
    }
    let digits: String = begin.chars().filter(char::is_ascii_digit).collect();
    let number = |from: usize, to: usize| -> Option<i64> { digits[from..to].parse().ok() };
    let (year, month, day) = (number(0, 4)?, number(4, 6)?, number(6, 8)?);
    let (hour, minute) = (number(8, 10)?, number(10, 12)?);

    let zone_begins = rest.find(|c: char| !c.is_ascii_digit() && !":.,".contains(c)).unwrap_or(rest.len());
    let (seconds, zone) = rest.split_at(zone_begins);
    let (second, thousandths) = if seconds.is_empty() {
        (0, 0)
    } else {
        let seconds = if extended { seconds.strip_prefix(':')? } else { seconds };
        let (second, fraction) = seconds.split_once(['.', ',']).unwrap_or((seconds, "0"));
        let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if second.len() != 2
            || !(1..=9).contains(&fraction.len())
            || !all_digits(second)
            || !all_digits(fraction)
        {
            return None;
        }
        (second.parse().ok()?, format!("{fraction:0<3}")[..3].parse::<i64>().ok()?)
    };
    let offset = match zone {
        "" | "Z" | "z" => 0,
        zone => {
            let sign = match zone.as_bytes().first() {
                Some(b'+') => 1,
                Some(b'-') => -1,
                _ => return None,
            };
            let zone = &zone[1..];
            let hours_and_minutes = match zone.len() {
                2 => format!("{zone}00"),
                4 => zone.to_owned(),
                5 if zone.as_bytes()[2] == b':' => zone.replacen(':', "", 1),
                _ => return None,
            };
            if hours_and_minutes.len() != 4 || !hours_and_minutes.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            let (hours, minutes): (i64, i64) =
                (hours_and_minutes[..2].parse().ok()?, hours_and_minutes[2..].parse().ok()?);
            (hours <= 23 && minutes <= 59).then_some(sign * (hours * 60 + minutes))?
        }
    };

    let month = usize::try_from(month).ok().filter(|month| (1..=12).contains(month))?;
    let length = days_before(year, month + 1) - days_before(year, month);
    ((1..=length).contains(&day) && hour <= 23 && minute <= 59 && second <= 60).then_some(())?;
    let days = days_before(year, month) + day - 1;
    let minutes = (days * 24 + hour) * 60 + minute - offset;
    // Years that the calendar's dates are written with.
    (days_before(0, 1) * 1440..days_before(10_000, 1) * 1440).contains(&minutes).then_some(())?;
    if second == 60 {
        // A leap second ends a month in UTC, and Unix time has none: the moment before it stands for it.
        let next = minutes + 1;
        let ends_a_month =
            (year - 1..=year + 1).any(|year| (1..=12).any(|month| days_before(year, month) * 1440 == next));
        return ends_a_month.then_some(next * 60_000 - 1);
    }
    Some((minutes * 60 + second) * 1000 + thousandths)
}

/// Days from 1970 to the first of a month; the thirteenth is the next January.
fn days_before(year: i64, month: usize) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let lengths = [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let before = year - 1;
    let leap_days = before.div_euclid(4) - before.div_euclid(100) + before.div_euclid(400);
    before * 365 + leap_days - 719_162 + lengths.iter().take(month - 1).sum::<i64>()
}

/// A `Date` of this century is read as AWS's own SDK reads it, and any other is ignored; a wait is never beyond a day, nor wrong when it is a plain number.
fn date_of_http(text: &str) {
    let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    if let Some(skew) = fuzzing::clock_skew(text, at(0), Duration::ZERO) {
        assert!(BELIEVED.contains(&skew), "{text:?}: {skew}");
        let sdk = DateTime::from_str(text, Format::HttpDate);
        assert!(sdk.is_err() || sdk.is_ok_and(|date| date.secs() as f64 == skew), "{text:?}: {skew}");
    }
    // The SDK lets pass a wrong day of the week, which the exporter does not: both read what the SDK writes.
    if let Ok(date) = DateTime::from_str(text, Format::HttpDate)
        && (0..YEAR_9999.cast_signed()).contains(&date.secs())
    {
        let whole = DateTime::from_secs(date.secs());
        let written = whole.fmt(Format::HttpDate).expect("it was read");
        let expected = Some(whole.as_secs_f64()).filter(|date| BELIEVED.contains(date));
        let skew = |at| fuzzing::clock_skew(&written, at, Duration::ZERO);
        assert_eq!(skew(at(0)), expected, "{written}");
        let late = skew(at(YEAR_9999));
        assert_eq!(late, expected.map(|date| date - YEAR_9999 as f64), "{written}, a clock ahead");
    }
    let Ok(value) = HeaderValue::from_str(text) else { return };
    let headers =
        ["x-amz-retry-after", "retry-after"].map(|name| (name.parse().expect("a name"), value.clone()));
    let waits = fuzzing::retry_after(HeaderMap::from_iter(headers), at(0));
    let day = Duration::from_hours(24);
    assert!([waits.amz, waits.http].into_iter().flatten().all(|wait| wait <= day), "{text:?}: {waits:?}");
    // Beyond ASCII there is white space too, which is none in a header.
    if let Ok(number) = text.trim().parse::<u32>()
        && text.is_ascii()
    {
        assert_eq!(waits.amz, Some(Duration::from_millis(number.into()).min(day)));
        assert_eq!(waits.http, Some(Duration::from_secs(number.into()).min(day)));
    }
}
