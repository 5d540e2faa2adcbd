//! Measures the skew of the local clock against AWS's at every response, and corrects it in every signature, as the AWS SDKs
//! do.

use std::{
    ops::RangeInclusive,
    sync::atomic::{AtomicI64, Ordering},
    time::{Duration, SystemTime},
};

/// If the date of a refused signature is off by more than this, the date may be the reason.
const SUSPICIOUS_SKEW: Duration = Duration::from_mins(4);
/// A response that took longer is not used to measure the skew.
const MAX_ROUND_TRIP: Duration = Duration::from_mins(15);

/// A date before 2000 or after 2100 cannot be AWS's, so it is ignored. A clock corrected by it could not be written into a
/// signature.
const PLAUSIBLE_DATES: RangeInclusive<u64> = 946_684_800..=4_133_980_799;

/// AWS's `Date` minus the local clock, in milliseconds. `i64::MIN` before the first response.
#[derive(Debug)]
pub(super) struct ClockSkew(AtomicI64);

impl Default for ClockSkew {
    fn default() -> Self {
        Self(AtomicI64::new(i64::MIN))
    }
}

impl ClockSkew {
    fn milliseconds(&self) -> Option<i64> {
        Some(self.0.load(Ordering::Relaxed)).filter(|skew| *skew != i64::MIN)
    }

    /// The time of AWS's clock when the local clock says `now`.
    pub(super) fn corrected(&self, now: SystemTime) -> SystemTime {
        let skew = self.milliseconds().unwrap_or(0);
        let shift = Duration::from_millis(skew.unsigned_abs());
        let corrected = if skew < 0 { now.checked_sub(shift) } else { now.checked_add(shift) };
        corrected.unwrap_or(now)
    }

    /// Measures the skew from the `Date` of a response. That date is assumed to be from the middle of the round trip that began
    /// at `sent`. Returns the skew in seconds.
    pub(super) fn learn(&self, date: &str, sent: SystemTime, round_trip: Duration) -> Option<f64> {
        if round_trip > MAX_ROUND_TRIP {
            return None;
        }
        let theirs = httpdate::parse_http_date(date).ok()?;
        let seconds = theirs.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs();
        if !PLAUSIBLE_DATES.contains(&seconds) {
            return None;
        }
        let ours = sent.checked_add(round_trip / 2)?;
        let (distance, sign) = match theirs.duration_since(ours) {
            Ok(ahead) => (ahead, 1),
            Err(behind) => (behind.duration(), -1),
        };
        let skew = sign * i64::try_from(distance.as_millis()).ok()?;
        self.0.store(skew, Ordering::Relaxed);
        #[expect(clippy::cast_precision_loss, reason = "milliseconds of centuries fit")]
        Some(skew as f64 / 1000.0)
    }

    /// Whether a wrong date can explain that AWS refused a signature. `signed_at` is the date of the signature, and `now` the
    /// time of the local clock.
    pub(super) fn explains(&self, signed_at: SystemTime, now: SystemTime) -> bool {
        let right = self.corrected(now);
        let off = right.duration_since(signed_at).unwrap_or_else(|early| early.duration());
        off > SUSPICIOUS_SKEW
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn a_wrong_clock_is_learnt_and_put_right_either_way() {
        // 2023-11-06T08:49:37Z is 1699260577.
        for ours in [1_699_260_577 - 3600, 1_699_260_577 + 3600] {
            let skew = ClockSkew::default();
            assert_eq!(skew.corrected(at(ours)), at(ours));
            assert!(!skew.explains(at(ours), at(ours)), "nothing is known yet");
            skew.learn("Mon, 06 Nov 2023 08:49:37 GMT", at(ours), Duration::ZERO).unwrap();
            assert_eq!(skew.corrected(at(ours)), at(1_699_260_577));
            assert!(skew.explains(at(ours), at(ours)));
            assert!(!skew.explains(at(1_699_260_577), at(ours)), "it was signed with the right date");
        }
    }

    #[test]
    fn an_unreadable_date_and_a_long_round_trip_teach_nothing() {
        let skew = ClockSkew::default();
        assert_eq!(skew.learn("yesterday", at(0), Duration::ZERO), None);
        assert_eq!(skew.learn("Mon, 06 Nov 2023 08:49:37 GMT", at(0), Duration::from_secs(1000)), None);
        assert_eq!(skew.corrected(at(5)), at(5));
    }

    #[test]
    fn a_date_before_2000_or_after_2100_is_not_believed_and_the_last_correction_stays() {
        let skew = ClockSkew::default();
        skew.learn("Sat, 01 Jan 2000 00:00:00 GMT", at(946_684_800 - 60), Duration::ZERO).unwrap();
        for date in [
            "Fri, 31 Dec 1999 23:59:59 GMT",
            "Thu, 01 Jan 1970 00:00:00 GMT",
            "Sat, 01 Jan 2101 00:00:00 GMT",
            "Fri, 31 Dec 9999 23:59:59 GMT",
        ] {
            assert_eq!(skew.learn(date, at(1_700_000_000), Duration::ZERO), None, "{date}");
            assert_eq!(skew.corrected(at(100)), at(160), "{date}");
        }
        assert!(skew.learn("Fri, 31 Dec 2100 23:59:59 GMT", at(0), Duration::ZERO).is_some());
    }
}
