//! How many requests go out: at once, over all regions, and per second, in one account and region. A request waits for its
//! turn here, and nowhere else.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep_until},
};

/// The limits of one account and region.
#[derive(Debug)]
pub(super) struct Limits {
    /// Shared by every account and region.
    concurrent: Arc<Semaphore>,
    rate: Option<Bucket>,
}

/// A request's turn, which lasts until this is dropped.
pub(super) struct Turn {
    /// Holds its place among the concurrent requests.
    _permit: Option<OwnedSemaphorePermit>,
    /// The time that the rate limit cost.
    pub(super) rate_limit_wait: Duration,
}

impl Limits {
    /// At most the semaphore's number of requests at once, and `per_second` of them a second.
    pub(super) fn new(concurrent: Arc<Semaphore>, per_second: Option<u32>) -> Self {
        Self { concurrent, rate: per_second.map(Bucket::new) }
    }

    /// Waits for a request's turn: for a place, and then for a token. The place is given back while a token is awaited, so
    /// a region at its limit holds up no other; and a token is taken only with a place at hand, so none are saved up and
    /// then spent at once.
    pub(super) async fn turn(&self) -> Turn {
        let permit = self.permit().await;
        let Some(rate) = self.rate.as_ref().filter(|rate| !rate.take()) else {
            return Turn { _permit: permit, rate_limit_wait: Duration::ZERO };
        };
        drop(permit);
        let start = Instant::now();
        let _first_in_line = rate.line.lock().await;
        loop {
            sleep_until(rate.next()).await;
            let rate_limit_wait = start.elapsed();
            let permit = self.permit().await;
            if rate.take() {
                return Turn { _permit: permit, rate_limit_wait };
            }
        }
    }

    async fn permit(&self) -> Option<OwnedSemaphorePermit> {
        // The semaphore is never closed.
        Arc::clone(&self.concurrent).acquire_owned().await.ok()
    }
}

/// A token bucket that holds a tenth of a second's tokens, at least one. It keeps one number: the time at which it would be
/// full again.
#[derive(Debug)]
struct Bucket {
    interval: Duration,
    depth: Duration,
    full_at: Mutex<Instant>,
    /// Those that wait, in the order in which they came.
    line: tokio::sync::Mutex<()>,
}

impl Bucket {
    fn new(per_second: u32) -> Self {
        let interval = Duration::from_secs(1) / per_second.max(1);
        Self {
            interval,
            depth: interval * (per_second / 10).max(1),
            full_at: Mutex::new(Instant::now()),
            line: tokio::sync::Mutex::default(),
        }
    }

    /// Takes a token, if there is one.
    fn take(&self) -> bool {
        let now = Instant::now();
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        let after = (*full_at).max(now) + self.interval;
        let is_there = after <= now + self.depth;
        if is_there {
            *full_at = after;
        }
        is_there
    }

    /// When the next token will be there.
    fn next(&self) -> Instant {
        let full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        (*full_at + self.interval).checked_sub(self.depth).unwrap_or(*full_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn no_second_holds_more_than_the_rate_and_the_bucket() {
        let limits = Arc::new(Limits::new(Arc::new(Semaphore::new(8)), Some(50)));
        let start = Instant::now();
        let tasks: Vec<_> = (0..200)
            .map(|_| {
                let limits = Arc::clone(&limits);
                tokio::spawn(async move {
                    drop(limits.turn().await);
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
        // 5 at once, 195 at 20 ms each.
        let last = times[199];
        assert!((Duration::from_millis(3_880)..Duration::from_millis(4_200)).contains(&last), "{last:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn one_request_a_second_is_one_request_a_second() {
        let limits = Limits::new(Arc::new(Semaphore::new(8)), Some(1));
        let start = Instant::now();
        let mut waits = Vec::new();
        for _ in 0..3 {
            waits.push(limits.turn().await.rate_limit_wait.as_secs());
        }
        assert_eq!((start.elapsed().as_secs(), waits), (2, vec![0, 1, 1]));
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_requests_are_out_at_once_than_allowed() {
        let limits = Limits::new(Arc::new(Semaphore::new(2)), None);
        let (_first, second) = (limits.turn().await, limits.turn().await);
        let third = tokio::time::timeout(Duration::from_mins(1), limits.turn());
        assert!(third.await.is_err());
        drop(second);
        assert!(tokio::time::timeout(Duration::from_mins(1), limits.turn()).await.is_ok());
    }
}
