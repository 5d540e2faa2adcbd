//! The rate limit of one account and region. Requests wait here for a token.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

/// A token bucket. Its capacity is the tokens of a tenth of a second, at least one. It stores only the time at which it would
/// be full again.
#[derive(Debug)]
pub(super) struct Bucket {
    interval: Duration,
    depth: Duration,
    full_at: Mutex<Instant>,
    /// Held by the first waiter. The others wait for it in order of arrival.
    line: tokio::sync::Mutex<()>,
}

impl Bucket {
    pub(super) fn new(per_second: u32) -> Self {
        let interval = Duration::from_secs(1) / per_second.max(1);
        Self {
            interval,
            depth: interval * (per_second / 10).max(1),
            full_at: Mutex::new(Instant::now()),
            line: tokio::sync::Mutex::default(),
        }
    }

    /// Waits for a token in order of arrival.
    pub(super) async fn turn(&self) {
        let _first_in_line = self.line.lock().await;
        while !self.take() {
            sleep_until(self.next()).await;
        }
    }

    /// Takes a token, if one is available.
    pub(super) fn take(&self) -> bool {
        let now = Instant::now();
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        let after = (*full_at).max(now) + self.interval;
        let is_there = after <= now + self.depth;
        if is_there {
            *full_at = after;
        }
        is_there
    }

    /// When the next token is available.
    fn next(&self) -> Instant {
        let full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        (*full_at + self.interval).checked_sub(self.depth).unwrap_or(*full_at)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn no_second_holds_more_than_the_rate_and_the_bucket() {
        let bucket = Arc::new(Bucket::new(50));
        let start = Instant::now();
        let tasks: Vec<_> = (0..200)
            .map(|_| {
                let bucket = Arc::clone(&bucket);
                tokio::spawn(async move {
                    bucket.turn().await;
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
        let bucket = Bucket::new(1);
        let start = Instant::now();
        let mut waits = Vec::new();
        for _ in 0..3 {
            bucket.turn().await;
            waits.push(start.elapsed().as_secs());
        }
        assert_eq!(waits, [0, 1, 2]);
    }
}
