//! The rate limit of one account and region. Requests wait here for a token.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::sleep_until;

use crate::model::token_bucket::TokenBucket;

/// A token bucket that requests wait for. Its capacity is the tokens of a tenth of a second, at least one.
#[derive(Debug)]
pub(super) struct RateLimit {
    bucket: Mutex<TokenBucket>,
    /// Held by the first waiter. The others wait for it in order of arrival.
    line: tokio::sync::Mutex<()>,
}

impl RateLimit {
    pub(super) fn new(per_second: u32) -> Self {
        let interval = Duration::from_secs(1) / per_second.max(1);
        let bucket = TokenBucket::new(interval, (per_second / 10).max(1));
        Self { bucket: Mutex::new(bucket), line: tokio::sync::Mutex::default() }
    }

    /// Waits for a token in order of arrival.
    pub(super) async fn acquire(&self) {
        let _first_in_line = self.line.lock().await;
        while !self.take() {
            let next = self.bucket().next();
            sleep_until(next).await;
        }
    }

    /// Takes a token, if one is available.
    pub(super) fn take(&self) -> bool {
        self.bucket().take()
    }

    fn bucket(&self) -> MutexGuard<'_, TokenBucket> {
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn no_second_holds_more_than_the_rate_and_the_bucket() {
        let bucket = Arc::new(RateLimit::new(50));
        let start = Instant::now();
        let tasks: Vec<_> = (0..200)
            .map(|_| {
                let bucket = Arc::clone(&bucket);
                tokio::spawn(async move {
                    bucket.acquire().await;
                    start.elapsed()
                })
            })
            .collect();
        let mut times = Vec::new();
        for task in tasks {
            times.push(task.await.unwrap());
        }
        times.sort();
        for (i, from) in times.iter().enumerate() {
            let within = times[i..]
                .iter()
                .take_while(|at| (**at).checked_sub(*from).unwrap() < Duration::from_secs(1))
                .count();
            assert!(within <= 55, "{within} in the second from {from:?}");
        }
        // 5 tokens at once, then 195 at 20 ms each.
        let last = times[199];
        assert!((Duration::from_millis(3_880)..Duration::from_millis(4_200)).contains(&last), "{last:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn one_request_a_second_is_one_request_a_second() {
        let bucket = RateLimit::new(1);
        let start = Instant::now();
        let mut waits = Vec::new();
        for _ in 0..3 {
            bucket.acquire().await;
            waits.push(start.elapsed().as_secs());
        }
        assert_eq!(waits, [0, 1, 2]);
    }
}
