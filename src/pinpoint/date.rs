//! Parses the dates of the API. Its model declares them as strings in ISO 8601, and all of AWS's samples have milliseconds and
//! `Z`. Does no I/O.
//!
//! Accepted forms, with optional white space around them:
//!
//! - The extended format `2018-06-04T22:04:20.585Z` or the basic format `20180604T220420.585Z`. `T` may be a space. `T` and `Z`
//!   may be in lower case (RFC 3339).
//! - Seconds are optional. A fraction has one to nine digits after a point or a comma, and is truncated to milliseconds.
//! - The zone is `Z`, `+02:00`, `+0200` or `+02`. Without a zone the date is UTC.
//! - A leap second, `23:59:60` UTC at the end of a month, becomes the last millisecond of that day.
//!
//! Anything else is rejected: a date without a time, week dates and ordinal dates, `24:00`, and years outside 0000 to 9999,
//! also after conversion to UTC.

use time::{Date, Month, OffsetDateTime, PrimitiveDateTime, Time, UtcOffset};

use crate::model::timestamp::Timestamp;

pub(super) fn parse(text: &str) -> Option<Timestamp> {
    let mut rest = Rest(text.trim().as_bytes());
    let year = rest.digits(4)?;
    let is_extended = rest.take(b"-").is_some();
    let month = rest.digits(2)?;
    rest.separator(is_extended, b"-")?;
    let day = rest.digits(2)?;
    rest.take(b"Tt ")?;
    let hour = rest.digits(2)?;
    rest.separator(is_extended, b":")?;
    let minute = rest.digits(2)?;
    let has_seconds = if is_extended { rest.take(b":").is_some() } else { rest.begins_with_digit() };
    let (second, nanosecond) = if has_seconds { (rest.digits(2)?, rest.fraction()?) } else { (0, 0) };
    let zone = rest.zone()?;

    let is_leap_second = second == 60;
    let (second, nanosecond) = if is_leap_second { (59, 999_999_999) } else { (second, nanosecond) };
    let month = Month::try_from(narrow(month)?).ok()?;
    let date = Date::from_calendar_date(i32::try_from(year).ok()?, month, narrow(day)?).ok()?;
    let time = Time::from_hms_nano(narrow(hour)?, narrow(minute)?, narrow(second)?, nanosecond).ok()?;
    let utc = PrimitiveDateTime::new(date, time).assume_offset(zone).checked_to_offset(UtcOffset::UTC)?;
    let is_credible = utc.year() >= 0 && (!is_leap_second || ends_a_month(utc));
    is_credible.then(|| utc.into())
}

/// Whether the date is in the last minute of a month.
fn ends_a_month(date: OffsetDateTime) -> bool {
    date.day() == date.month().length(date.year()) && (date.hour(), date.minute()) == (23, 59)
}

fn narrow(number: u32) -> Option<u8> {
    number.try_into().ok()
}

/// The text that is not parsed yet.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    /// Takes one of these bytes, if one of them is next.
    fn take(&mut self, allowed: &[u8]) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        if !allowed.contains(first) {
            return None;
        }
        self.0 = rest;
        Some(*first)
    }

    /// Takes the separator of the extended format. The basic format has none.
    fn separator(&mut self, is_extended: bool, separator: &[u8]) -> Option<()> {
        if is_extended { self.take(separator).map(drop) } else { Some(()) }
    }

    fn begins_with_digit(&self) -> bool {
        self.0.first().is_some_and(u8::is_ascii_digit)
    }

    /// Takes a number of exactly `count` digits.
    fn digits(&mut self, count: usize) -> Option<u32> {
        let (digits, rest) = self.0.split_at_checked(count)?;
        let number = digits.iter().try_fold(0, |number, digit| {
            digit.is_ascii_digit().then(|| number * 10 + u32::from(digit - b'0'))
        });
        self.0 = rest;
        number
    }

    /// Takes a fraction of a second. Returns its nanoseconds, or 0 if there is none.
    fn fraction(&mut self) -> Option<u32> {
        if self.take(b".,").is_none() {
            return Some(0);
        }
        let count = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let missing = 9_usize.checked_sub(count).filter(|_| count > 0)?;
        Some(self.digits(count)? * 10_u32.pow(u32::try_from(missing).ok()?))
    }

    /// Takes the offset from UTC, which must end the text.
    fn zone(&mut self) -> Option<UtcOffset> {
        let (mut hours, mut minutes) = (0, 0);
        let sign = self.take(b"Zz+-");
        if let Some(b'+' | b'-') = sign {
            hours = self.digits(2)?;
            if self.take(b":").is_some() || !self.0.is_empty() {
                minutes = self.digits(2)?;
            }
        }
        if !self.0.is_empty() || hours > 23 || minutes > 59 {
            return None;
        }
        let (hours, minutes) = (i8::try_from(hours).ok()?, i8::try_from(minutes).ok()?);
        let zone = UtcOffset::from_hms(hours, minutes, 0).ok()?;
        Some(if sign == Some(b'-') { -zone } else { zone })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_with_any_zone_and_up_to_nine_digits_of_a_fraction() {
        for (text, milliseconds) in [
            ("2018-06-04T22:04:20.585Z", 1_528_149_860_585),
            ("2018-06-04T22:04:20Z", 1_528_149_860_000),
            ("2018-06-04T22:04:20", 1_528_149_860_000),
            ("2018-06-04T22:04Z", 1_528_149_840_000),
            ("2018-06-04T22:04", 1_528_149_840_000),
            ("2018-06-04T22:04:20.5", 1_528_149_860_500),
            ("2018-06-04T22:04:20,585Z", 1_528_149_860_585),
            ("2018-06-04T22:04:20.585999999Z", 1_528_149_860_585),
            ("2018-06-05T00:04:20.585+02:00", 1_528_149_860_585),
            ("2018-06-05T00:04:20.585+0200", 1_528_149_860_585),
            ("2018-06-05T00:04:20.585+02", 1_528_149_860_585),
            ("2018-06-04T22:04:20.585+0000", 1_528_149_860_585),
            ("2018-06-04T18:34:20.585-03:30", 1_528_149_860_585),
            ("2018-06-04t22:04:20.585z", 1_528_149_860_585),
            (" 2018-06-04 22:04:20.585Z\n", 1_528_149_860_585),
            ("20180604T220420.585Z", 1_528_149_860_585),
            ("20180604T2204Z", 1_528_149_840_000),
            ("1969-12-31T23:59:59.999Z", -1),
            ("2016-12-31T23:59:60Z", 1_483_228_799_999),
            ("2017-01-01T00:59:60+01:00", 1_483_228_799_999),
            ("0000-01-01T00:00:00Z", -62_167_219_200_000),
            ("9999-12-31T23:59:59.999Z", 253_402_300_799_999),
        ] {
            assert_eq!(parse(text), Some(Timestamp(milliseconds)), "{text}");
        }
    }

    #[test]
    fn what_is_no_date_is_none() {
        for text in [
            "",
            "yesterday",
            "1528149860",
            "2018-06-04",
            "2018-W23-1T22:04:20Z",
            "2018-155T22:04:20Z",
            "2018-06-04T22Z",
            "2018-06-04T22:04:20.Z",
            "2018-06-04T22:04.5Z",
            "2018-06-04T22:04:20.0000000000Z",
            "2018-06-04T22:04:20 Z",
            "2018-06-04T22:04:20 UTC",
            "2018-06-04T22:04:20+24:00",
            "2018-06-04T22:04:20+02:60",
            "2018-06-04T22:04:20+02:",
            "2018-06-04T22:04:20+2",
            "2018-0604T22:04:20Z",
            "2018-06-04T2204:20Z",
            "2018-06-04T2204Z",
            "20180604T22:04Z",
            "2018-02-30T00:00:00Z",
            "2018-13-01T00:00:00Z",
            "2018-06-04T24:00:00Z",
            "2018-06-04T22:60:00Z",
            "2018-06-04T22:04:60Z",
            "2018-06-30T23:59:61Z",
            "+002018-06-04T22:04:20Z",
            "0000-01-01T00:00:00+00:01",
            "9999-12-31T23:59:59-00:01",
            "10000-01-01T00:00:00Z",
            "２０１８-06-04T22:04:20Z",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
