//! Decides which failures are retried, and when: the standard retry mode of the AWS SDKs in its [current form]. Does not depend
//! on HTTP. In the client, only this module and [`super::limit`] sleep.
//!
//! [current form]: https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

use super::error::{AttemptError, Class, RetryAfter};

/// The base of the exponential backoff, which is the maximum wait before the first retry.
const BASE_BACKOFF: Duration = Duration::from_millis(50);
/// The base of the exponential backoff after throttling.
const THROTTLED_BASE_BACKOFF: Duration = Duration::from_secs(1);
/// The cap of the exponential backoff.
const MAX_BACKOFF: Duration = Duration::from_secs(20);
/// `x-amz-retry-after` lengthens a wait by at most this.
const MAX_AMZ_EXTENSION: Duration = Duration::from_secs(5);

/// Longer than any refresh.
const FOREVER: Duration = Duration::from_hours(8760);

/// The capacity of the retry quota, in tokens.
const QUOTA_TOKENS: u32 = 500;
/// The cost of a retry.
const RETRY_COST: u32 = 14;
/// The cost of a retry after throttling.
const THROTTLED_RETRY_COST: u32 = 5;

/// The maximum number of requests in a retry at a time. A waiting listing keeps what it has read in memory, so one more fails
/// instead of waiting. If no request succeeds, the quota stops retries long before this limit.
const MAX_RETRYING: u32 = 500;

/// The token bucket for retries, shared by all calls to one API. Retries cost tokens and successes return them, so retries stop
/// while the API is down.
#[derive(Debug)]
pub(super) struct Quota(Mutex<QuotaState>);

#[derive(Debug)]
struct QuotaState {
    tokens: u32,
    retrying: u32,
}

/// Counts a request as being in a retry until it is dropped.
#[derive(Debug)]
struct Retrying<'a>(&'a Quota);

impl Default for Quota {
    fn default() -> Self {
        Self(Mutex::new(QuotaState { tokens: QUOTA_TOKENS, retrying: 0 }))
    }
}

impl Quota {
    fn state(&self) -> MutexGuard<'_, QuotaState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes `cost` tokens. Takes nothing and returns `false` if there are fewer.
    fn take(&self, cost: u32) -> bool {
        let mut state = self.state();
        let rest = state.tokens.checked_sub(cost);
        state.tokens = rest.unwrap_or(state.tokens);
        rest.is_some()
    }

    fn give(&self, tokens: u32) {
        let mut state = self.state();
        state.tokens = (state.tokens + tokens).min(QUOTA_TOKENS);
    }

    /// Starts a retry, unless too many requests are in one.
    fn retry(&self) -> Option<Retrying<'_>> {
        let mut state = self.state();
        (state.retrying < MAX_RETRYING).then(|| {
            state.retrying += 1;
            Retrying(self)
        })
    }
}

impl Drop for Retrying<'_> {
    fn drop(&mut self) {
        self.0.state().retrying -= 1;
    }
}

/// The time that a refresh may take. It starts with the first attempt. Waits for credentials or a permit before that do not
/// count, later waits do.
#[derive(Debug)]
pub(super) struct Budget {
    limit: Duration,
    end: Option<Instant>,
}

impl Budget {
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, end: None }
    }

    /// Records that an attempt starts. The first one sets the end. Returns the time that is left.
    pub(super) fn start_attempt(&mut self) -> Duration {
        let now = Instant::now();
        let limit = self.limit;
        self.end.get_or_insert_with(|| now + limit).saturating_duration_since(now)
    }

    /// The end of the budget, which is far in the future before the first attempt.
    pub(super) fn deadline(&self) -> Instant {
        self.end.unwrap_or_else(|| Instant::now() + FOREVER)
    }

    fn allows(&self, until: Instant) -> bool {
        self.end.is_none_or(|end| until < end)
    }
}

#[derive(Debug, Clone)]
pub(super) struct Policy {
    /// Including the first attempt.
    pub(super) max_attempts: u32,
    /// Returns uniform random numbers in `0.0..1.0` for the jitter.
    pub(super) random: fn() -> f64,
}

/// The attempts of one request. The caller makes them. A method that loops over an async closure would be simpler, but its
/// future cannot be shown to be `Send` yet.
#[derive(Debug)]
pub(super) struct Attempts<'a> {
    policy: &'a Policy,
    quota: &'a Quota,
    /// The number of the next or the last attempt, counted from 1.
    pub(super) number: u32,
    paid: Option<u32>,
    retrying: Option<Retrying<'a>>,
    renewed_credentials: bool,
}

impl Attempts<'_> {
    /// Records a success. It returns the cost of the last retry to the quota.
    pub(super) fn succeeded(self) {
        self.quota.give(self.paid.unwrap_or(1));
    }

    /// Records a failure and waits until the next attempt may start. Returns the failure if a retry is useless, not allowed or
    /// outside the budget.
    pub(super) async fn failed(
        &mut self,
        failure: AttemptError,
        budget: &Budget,
    ) -> Result<(), AttemptError> {
        if self.number >= self.policy.max_attempts {
            return Err(failure);
        }
        let cost = match failure.class {
            Class::Final => return Err(failure),
            Class::ExpiredCredentials if self.renewed_credentials => return Err(failure),
            Class::ExpiredCredentials => {
                // The API is not at fault, so the retry costs no tokens and does not wait.
                self.renewed_credentials = true;
                self.number += 1;
                return Ok(());
            }
            Class::Throttled => THROTTLED_RETRY_COST,
            Class::Transient | Class::ClockSkew => RETRY_COST,
        };
        let wait = self.policy.wait(self.number - 1, &failure);
        let until = Instant::now() + wait;
        self.retrying = self.retrying.take().or_else(|| self.quota.retry());
        if self.retrying.is_none() || !budget.allows(until) || !self.quota.take(cost) {
            return Err(failure);
        }
        self.paid = Some(cost);
        tracing::debug!(
            exception = failure.exception.name(),
            attempt = self.number,
            wait_seconds = wait.as_secs_f64(),
            "trying again: {failure}"
        );
        sleep_until(until).await;
        self.number += 1;
        Ok(())
    }
}

impl Policy {
    /// Starts the attempts of a request.
    pub(super) fn attempts<'a>(&'a self, quota: &'a Quota) -> Attempts<'a> {
        Attempts { policy: self, quota, number: 1, paid: None, retrying: None, renewed_credentials: false }
    }

    /// The wait before retry `index`, counted from 0: exponential backoff with full jitter, lengthened by the wait that the
    /// response asks for.
    fn wait(&self, index: u32, failure: &AttemptError) -> Duration {
        let base = if failure.class == Class::Throttled { THROTTLED_BASE_BACKOFF } else { BASE_BACKOFF };
        let ceiling = base.saturating_mul(2_u32.saturating_pow(index)).min(MAX_BACKOFF);
        let own = ceiling.mul_f64((self.random)());
        let RetryAfter { amz, http } = failure.retry_after;
        let amz = amz.map_or(own, |asked| asked.clamp(own, own + MAX_AMZ_EXTENSION));
        amz.max(http.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::exception::Exception;

    const WITHOUT_JITTER: Policy = Policy { max_attempts: 3, random: || 1.0 };

    fn failing(class: Class) -> AttemptError {
        AttemptError { class, ..AttemptError::new(Exception::Other, "test") }
    }

    fn wait(index: u32, class: Class, retry_after: RetryAfter) -> Duration {
        WITHOUT_JITTER.wait(index, &AttemptError { retry_after, ..failing(class) })
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
        let amz = |ms| RetryAfter { amz: Some(Duration::from_millis(ms)), http: None };
        let http = |s| RetryAfter { amz: None, http: Some(Duration::from_secs(s)) };
        assert_eq!(wait(0, Class::Throttled, amz(10)), Duration::from_secs(1));
        assert_eq!(wait(0, Class::Throttled, amz(3_000)), Duration::from_secs(3));
        assert_eq!(wait(0, Class::Throttled, amz(60_000)), Duration::from_secs(6), "5 s more at most");
        assert_eq!(wait(0, Class::Throttled, http(0)), Duration::from_secs(1));
        assert_eq!(wait(0, Class::Throttled, http(60)), Duration::from_mins(1));
    }

    /// Makes calls that always fail. Returns the number of attempts of each.
    async fn storm(quota: &Quota, class: Class, calls: usize) -> Vec<u32> {
        let policy = Policy { max_attempts: 3, random: || 0.0 };
        let budget = Budget::new(Duration::from_mins(1));
        let mut made = Vec::new();
        for _ in 0..calls {
            let mut attempts = policy.attempts(quota);
            while attempts.failed(failing(class), &budget).await.is_ok() {}
            made.push(attempts.number);
        }
        made
    }

    #[tokio::test]
    async fn retries_dry_up_when_everything_fails_and_successes_bring_them_back() {
        let quota = Quota::default();
        let made = storm(&quota, Class::Transient, 20).await;
        // 500 tokens pay for 35 retries at 14 tokens each, two per call.
        assert_eq!(made.iter().map(|made| made - 1).sum::<u32>(), 35);
        assert_eq!(made[19], 1, "no retry is left");
        // 10 tokens are left. Each success at the first attempt returns one.
        for _ in 0..4 {
            WITHOUT_JITTER.attempts(&quota).succeeded();
        }
        assert_eq!(storm(&quota, Class::Transient, 2).await, [2, 1]);
    }

    #[tokio::test]
    async fn a_retry_that_succeeds_gets_its_cost_back() {
        let quota = Quota::default();
        let policy = Policy { max_attempts: 3, random: || 0.0 };
        for _ in 0..100 {
            let mut attempts = policy.attempts(&quota);
            attempts.failed(failing(Class::Transient), &Budget::new(Duration::from_secs(1))).await.unwrap();
            attempts.succeeded();
        }
        assert_eq!(storm(&quota, Class::Transient, 1).await, [3]);
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_listings_wait_for_a_retry_than_allowed_and_one_more_fails_at_once() {
        let (quota, budget) = (Quota::default(), Budget::new(Duration::from_mins(1)));
        let mut waiting = Vec::new();
        for _ in 0..MAX_RETRYING {
            // Other requests succeed meanwhile, so the quota does not run out.
            (0..THROTTLED_RETRY_COST).for_each(|_| WITHOUT_JITTER.attempts(&quota).succeeded());
            let mut attempts = WITHOUT_JITTER.attempts(&quota);
            attempts.failed(failing(Class::Throttled), &budget).await.unwrap();
            waiting.push(attempts);
        }
        quota.give(QUOTA_TOKENS);
        let mut one_more = WITHOUT_JITTER.attempts(&quota);
        assert!(one_more.failed(failing(Class::Throttled), &budget).await.is_err());
        waiting.pop();
        assert!(one_more.failed(failing(Class::Throttled), &budget).await.is_ok());
    }

    #[tokio::test]
    async fn a_throttled_retry_costs_five() {
        let made = storm(&Quota::default(), Class::Throttled, 60).await;
        assert_eq!(made.iter().map(|made| made - 1).sum::<u32>(), 100);
    }

    #[tokio::test]
    async fn expired_credentials_are_renewed_once_at_no_cost() {
        let quota = Quota::default();
        assert_eq!(storm(&quota, Class::ExpiredCredentials, 1).await, [2]);
        assert_eq!(storm(&quota, Class::Transient, 20).await.iter().map(|made| made - 1).sum::<u32>(), 35);
    }

    #[tokio::test]
    async fn a_wait_beyond_the_budget_fails_at_once_with_the_real_error() {
        let quota = Quota::default();
        let mut budget = Budget::new(Duration::from_secs(10));
        budget.start_attempt();
        let retry_after = RetryAfter { amz: None, http: Some(Duration::from_hours(1)) };
        let failure = AttemptError { retry_after, ..failing(Class::Throttled) };
        let result = WITHOUT_JITTER.attempts(&quota).failed(failure, &budget).await;
        assert_eq!(result.unwrap_err().exception, Exception::Other);
    }
}
