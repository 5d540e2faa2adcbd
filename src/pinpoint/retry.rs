//! Which failures are tried again, and when: the standard mode of the AWS SDKs in its [current form], as a loop over a
//! closure. Knows no HTTP.
//!
//! [current form]: https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html

use std::{sync::Mutex, time::Duration};

use tokio::time::{Instant, sleep_until};

use super::error::{Class, Failure, RetryAfter};

/// The wait before the first retry, at most.
const BASE: Duration = Duration::from_millis(50);
/// The same after throttling.
const THROTTLED_BASE: Duration = Duration::from_secs(1);
/// The longest wait.
const CAP: Duration = Duration::from_secs(20);
/// `x-amz-retry-after` lengthens a wait by this at most.
const AMZ_EXTENSION: Duration = Duration::from_secs(5);

/// The tokens of a full quota.
const QUOTA: u32 = 500;
/// What a retry costs.
const COST: u32 = 14;
/// What a retry after throttling costs.
const THROTTLED_COST: u32 = 5;

/// Tokens that retries cost and successes give back, shared by all calls to one API: while it is down, retries dry up.
#[derive(Debug)]
pub(super) struct Quota(Mutex<u32>);

impl Default for Quota {
    fn default() -> Self {
        Self(Mutex::new(QUOTA))
    }
}

impl Quota {
    /// Takes the cost of a retry, if it is there.
    fn take(&self, cost: u32) -> bool {
        let mut tokens = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match tokens.checked_sub(cost) {
            Some(rest) => {
                *tokens = rest;
                true
            }
            None => false,
        }
    }

    fn give(&self, tokens: u32) {
        let mut held = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *held = (*held + tokens).min(QUOTA);
    }
}

/// The time a refresh may take. It starts with the first attempt: waiting for credentials, or for one's turn, does not
/// count.
#[derive(Debug)]
pub(super) struct Budget {
    limit: Duration,
    end: Option<Instant>,
}

impl Budget {
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, end: None }
    }

    /// An attempt starts now: the first one sets the end. Gives the time that is left.
    pub(super) fn start_attempt(&mut self) -> Duration {
        let now = Instant::now();
        let limit = self.limit;
        self.end
            .get_or_insert_with(|| now + limit)
            .saturating_duration_since(now)
    }

    /// The end, once there was an attempt.
    pub(super) fn end(&self) -> Option<Instant> {
        self.end
    }

    fn allows(&self, until: Instant) -> bool {
        self.end.is_none_or(|end| until < end)
    }
}

/// How calls are retried.
#[derive(Debug, Clone)]
pub(super) struct Policy {
    /// The first one included.
    pub(super) max_attempts: u32,
    /// A number in `0.0..1.0`, even for every call: the jitter.
    pub(super) random: fn() -> f64,
}

impl Policy {
    /// Runs `attempt`, which gets the number of the attempt from 1, until it succeeds, or another one is of no use, not
    /// allowed, or not within the budget.
    pub(super) async fn run<T>(
        &self,
        quota: &Quota,
        budget: &mut Budget,
        mut attempt: impl AsyncFnMut(u32, &mut Budget) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let mut paid = None;
        let mut renewed_credentials = false;
        let mut number = 1;
        loop {
            let failure = match attempt(number, budget).await {
                Ok(success) => {
                    quota.give(paid.unwrap_or(1));
                    return Ok(success);
                }
                Err(failure) => failure,
            };
            if number >= self.max_attempts {
                return Err(failure);
            }
            let cost = match failure.class {
                Class::Final => return Err(failure),
                Class::ExpiredCredentials if renewed_credentials => return Err(failure),
                Class::ExpiredCredentials => {
                    // Not the API's fault: costs nothing and waits for nothing.
                    renewed_credentials = true;
                    number += 1;
                    continue;
                }
                Class::Throttled => THROTTLED_COST,
                Class::Transient | Class::ClockSkew => COST,
            };
            let until = Instant::now() + self.wait(number - 1, &failure);
            if !budget.allows(until) || !quota.take(cost) {
                return Err(failure);
            }
            paid = Some(cost);
            tracing::debug!(
                exception = failure.exception.name(),
                attempt = number,
                wait_seconds = (until - Instant::now()).as_secs_f64(),
                "trying again: {failure}"
            );
            sleep_until(until).await;
            number += 1;
        }
    }

    /// The wait before retry `index`, counted from 0: full jitter over an exponential, lengthened by what the answer asks.
    fn wait(&self, index: u32, failure: &Failure) -> Duration {
        let base = if failure.class == Class::Throttled {
            THROTTLED_BASE
        } else {
            BASE
        };
        let ceiling = base.saturating_mul(2_u32.saturating_pow(index)).min(CAP);
        let own = ceiling.mul_f64((self.random)());
        let RetryAfter { amz, http } = failure.retry_after;
        let amz = amz.map_or(own, |asked| asked.clamp(own, own + AMZ_EXTENSION));
        amz.max(http.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pinpoint::Exception;

    const ALWAYS_LONGEST: Policy = Policy {
        max_attempts: 3,
        random: || 1.0,
    };

    fn failing(class: Class) -> Failure {
        Failure {
            class,
            ..Failure::new(Exception::Other, "test")
        }
    }

    fn wait(index: u32, class: Class, retry_after: RetryAfter) -> Duration {
        ALWAYS_LONGEST.wait(
            index,
            &Failure {
                retry_after,
                ..failing(class)
            },
        )
    }

    #[test]
    fn waits_double_from_their_base_up_to_the_cap() {
        let none = RetryAfter::default();
        assert_eq!(wait(0, Class::Transient, none), Duration::from_millis(50));
        assert_eq!(wait(3, Class::Transient, none), Duration::from_millis(400));
        assert_eq!(wait(0, Class::Throttled, none), Duration::from_secs(1));
        assert_eq!(wait(4, Class::Throttled, none), Duration::from_secs(16));
        assert_eq!(wait(5, Class::Throttled, none), Duration::from_secs(20));
        assert_eq!(wait(u32::MAX, Class::Transient, none), Duration::from_secs(20));
    }

    #[test]
    fn answers_lengthen_a_wait_and_never_shorten_it() {
        let amz = |ms| RetryAfter {
            amz: Some(Duration::from_millis(ms)),
            http: None,
        };
        let http = |s| RetryAfter {
            amz: None,
            http: Some(Duration::from_secs(s)),
        };
        assert_eq!(wait(0, Class::Throttled, amz(10)), Duration::from_secs(1));
        assert_eq!(wait(0, Class::Throttled, amz(3_000)), Duration::from_secs(3));
        assert_eq!(
            wait(0, Class::Throttled, amz(60_000)),
            Duration::from_secs(6),
            "5 s more at most"
        );
        assert_eq!(wait(0, Class::Throttled, http(0)), Duration::from_secs(1));
        assert_eq!(wait(0, Class::Throttled, http(60)), Duration::from_secs(60));
    }

    /// Runs calls that always fail, and tells how many attempts each made.
    async fn storm(quota: &Quota, class: Class, calls: usize) -> Vec<u32> {
        let mut attempts = Vec::new();
        for _ in 0..calls {
            let mut made = 0;
            let result: Result<(), _> = Policy {
                max_attempts: 3,
                random: || 0.0,
            }
            .run(
                quota,
                &mut Budget::new(Duration::from_secs(60)),
                async |number, _: &mut Budget| {
                    made = number;
                    Err(failing(class))
                },
            )
            .await;
            assert!(result.is_err());
            attempts.push(made);
        }
        attempts
    }

    #[tokio::test]
    async fn retries_dry_up_when_everything_fails_and_successes_bring_them_back() {
        let quota = Quota::default();
        let attempts = storm(&quota, Class::Transient, 20).await;
        // 500 tokens pay for 35 retries at 14 each, two per call.
        assert_eq!(attempts.iter().map(|made| made - 1).sum::<u32>(), 35);
        assert_eq!(attempts[19], 1, "no retry is left");
        let succeed = async |_: u32, _: &mut Budget| Ok::<(), Failure>(());
        for _ in 0..4 {
            ALWAYS_LONGEST
                .run(&quota, &mut Budget::new(Duration::from_secs(1)), succeed)
                .await
                .unwrap();
        }
        // 10 tokens were left; each first-try success brings one.
        assert_eq!(storm(&quota, Class::Transient, 1).await, [2]);
    }

    #[tokio::test]
    async fn a_throttled_retry_costs_five() {
        let attempts = storm(&Quota::default(), Class::Throttled, 60).await;
        assert_eq!(attempts.iter().map(|made| made - 1).sum::<u32>(), 100);
    }

    #[tokio::test]
    async fn a_wait_beyond_the_budget_fails_at_once_with_the_real_error() {
        let mut made = 0;
        let mut budget = Budget::new(Duration::from_secs(10));
        let result: Result<(), _> = ALWAYS_LONGEST
            .run(&Quota::default(), &mut budget, async |_, budget: &mut Budget| {
                made += 1;
                budget.start_attempt();
                let retry_after = RetryAfter {
                    amz: None,
                    http: Some(Duration::from_secs(3600)),
                };
                Err(Failure {
                    retry_after,
                    ..failing(Class::Throttled)
                })
            })
            .await;
        assert_eq!((made, result.unwrap_err().exception), (1, Exception::Other));
    }
}
