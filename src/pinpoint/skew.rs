//! How wrong this machine's clock is, by AWS's: measured at every answer, and put right in every signature, as the AWS SDKs
//! do.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::{Duration, SystemTime},
};

/// A signature whose date is this wrong may have been refused for it.
const SUSPECT: Duration = Duration::from_mins(4);
/// An answer that took longer says nothing about the clock.
const LONGEST_ROUND_TRIP: Duration = Duration::from_mins(15);

/// AWS's `Date` less our clock, in milliseconds; `i64::MIN` before the first answer.
#[derive(Debug)]
pub(super) struct Skew(AtomicI64);

impl Default for Skew {
    fn default() -> Self {
        Self(AtomicI64::new(i64::MIN))
    }
}

impl Skew {
    fn milliseconds(&self) -> Option<i64> {
        Some(self.0.load(Ordering::Relaxed)).filter(|skew| *skew != i64::MIN)
    }

    /// The date by AWS's clock when ours says `now`.
    pub(super) fn corrected(&self, now: SystemTime) -> SystemTime {
        let skew = self.milliseconds().unwrap_or(0);
        let shift = Duration::from_millis(skew.unsigned_abs());
        let corrected = if skew < 0 { now.checked_sub(shift) } else { now.checked_add(shift) };
        corrected.unwrap_or(now)
    }

    /// Learns from an answer: `date` is its `Date`, which counts as taken in the middle of the round trip that began at
    /// `sent`. Gives the skew in seconds.
    pub(super) fn learn(&self, date: &str, sent: SystemTime, round_trip: Duration) -> Option<f64> {
        if round_trip > LONGEST_ROUND_TRIP {
            return None;
        }
        let theirs = httpdate::parse_http_date(date).ok()?;
        let ours = sent + round_trip / 2;
        let (distance, sign) = match theirs.duration_since(ours) {
            Ok(ahead) => (ahead, 1),
            Err(behind) => (behind.duration(), -1),
        };
        let skew = sign * i64::try_from(distance.as_millis()).ok()?;
        self.0.store(skew, Ordering::Relaxed);
        #[expect(clippy::cast_precision_loss, reason = "milliseconds of centuries fit")]
        Some(skew as f64 / 1000.0)
    }

    /// Whether a signature dated `signed_at`, when our clock said `now`, was dated so wrongly that its refusal may be due to
    /// that.
    pub(super) fn explains(&self, signed_at: SystemTime, now: SystemTime) -> bool {
        let right = self.corrected(now);
        let off = right.duration_since(signed_at).unwrap_or_else(|early| early.duration());
        off > SUSPECT
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
        // 1994-11-06T08:49:37Z is 784111777.
        for ours in [784_111_777 - 3600, 784_111_777 + 3600] {
            let skew = Skew::default();
            assert_eq!(skew.corrected(at(ours)), at(ours));
            assert!(!skew.explains(at(ours), at(ours)), "nothing is known yet");
            skew.learn("Sun, 06 Nov 1994 08:49:37 GMT", at(ours), Duration::ZERO).unwrap();
            assert_eq!(skew.corrected(at(ours)), at(784_111_777));
            assert!(skew.explains(at(ours), at(ours)));
            assert!(!skew.explains(at(784_111_777), at(ours)), "it was signed with the right date");
        }
    }

    #[test]
    fn an_unreadable_date_and_a_long_round_trip_teach_nothing() {
        let skew = Skew::default();
        assert_eq!(skew.learn("yesterday", at(0), Duration::ZERO), None);
        assert_eq!(skew.learn("Sun, 06 Nov 1994 08:49:37 GMT", at(0), Duration::from_secs(1000)), None);
        assert_eq!(skew.corrected(at(5)), at(5));
    }
}
