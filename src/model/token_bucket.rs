//! A token bucket, for limits on the rate of requests.

use std::time::Duration;

use tokio::time::Instant;

/// A bucket that gains a token in each interval and holds a limited number of them. It is full at first.
///
/// It keeps one number: the time at which it would be full again.
#[derive(Debug)]
pub(crate) struct TokenBucket {
    interval: Duration,
    /// The time that an empty bucket needs to become full.
    depth: Duration,
    full_at: Instant,
}

impl TokenBucket {
    pub(crate) fn new(interval: Duration, tokens: u32) -> Self {
        Self { interval, depth: interval.saturating_mul(tokens), full_at: Instant::now() }
    }

    /// Takes a token, if there is one.
    pub(crate) fn take(&mut self) -> bool {
        let now = Instant::now();
        let after = self.full_at.max(now) + self.interval;
        let is_there = after.duration_since(now) <= self.depth;
        if is_there {
            self.full_at = after;
        }
        is_there
    }

    /// When the next token will be there.
    pub(crate) fn next(&self) -> Instant {
        (self.full_at + self.interval).checked_sub(self.depth).unwrap_or(self.full_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_full_bucket_gives_its_tokens_at_once_and_then_one_in_each_interval() {
        let second = Duration::from_secs(1);
        let mut bucket = TokenBucket::new(second, 3);
        assert_eq!([(); 4].map(|()| bucket.take()), [true, true, true, false]);
        assert_eq!(bucket.next().duration_since(Instant::now()), second);
        tokio::time::advance(second).await;
        assert_eq!([(); 2].map(|()| bucket.take()), [true, false]);
        tokio::time::advance(second * 100).await;
        assert_eq!([(); 4].map(|()| bucket.take()), [true, true, true, false]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_bucket_of_any_size_is_total() {
        let years = Duration::from_hours(100 * 365 * 24);
        assert!(!TokenBucket::new(Duration::from_secs(1), 0).take());
        assert!(TokenBucket::new(years, u32::MAX).take());
        let mut bucket = TokenBucket::new(Duration::ZERO, 1);
        assert_eq!([(); 3].map(|()| bucket.take()), [true; 3]);
    }
}
