//! Which failures are tried again, and when: the standard mode of the AWS SDKs in its [current form], as a table of
//! figures and the wait they give. The only room that sleeps but [`super::limit`], where requests queue. Knows no HTTP.
//!
//! [current form]: https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

use super::error::{AttemptError, Class, RetryAfter};

/// The wait before the first retry, at most.
const BASE: Duration = Duration::from_millis(50);
/// The same after throttling.
const THROTTLED_BASE: Duration = Duration::from_secs(1);
/// The longest wait.
const CAP: Duration = Duration::from_secs(20);
/// `x-amz-retry-after` lengthens a wait by this at most.
const AMZ_EXTENSION: Duration = Duration::from_secs(5);

/// Further off than any refresh.
const FOREVER: Duration = Duration::from_hours(8760);

/// The tokens of a full quota.
const QUOTA: u32 = 500;
/// What a retry costs.
const COST: u32 = 14;
/// What a retry after throttling costs.
const THROTTLED_COST: u32 = 5;

/// So many requests may be in a retry, and wait for it, at a time. A listing that waits keeps what it has read, so one more
/// fails instead. Without successes in between the quota ends them long before.
const MOST_RETRYING: u32 = 500;

/// Tokens that retries cost and successes give back, shared by all calls to one API: while it is down, retries dry up.
#[derive(Debug)]
pub(super) struct Quota(Mutex<QuotaState>);

#[derive(Debug)]
struct QuotaState {
    tokens: u32,
    retrying: u32,
}

/// A request in a retry. It counts as one until this is dropped.
#[derive(Debug)]
struct Retrying<'a>(&'a Quota);

impl Default for Quota {
    fn default() -> Self {
        Self(Mutex::new(QuotaState { tokens: QUOTA, retrying: 0 }))
    }
}

impl Quota {
    fn state(&self) -> MutexGuard<'_, QuotaState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the cost of a retry, if it is there.
    fn take(&self, cost: u32) -> bool {
        let mut state = self.state();
        let rest = state.tokens.checked_sub(cost);
        state.tokens = rest.unwrap_or(state.tokens);
        rest.is_some()
    }

    fn give(&self, tokens: u32) {
        let mut state = self.state();
        state.tokens = (state.tokens + tokens).min(QUOTA);
    }

    /// Begins a retry, unless there are too many.
    fn retry(&self) -> Option<Retrying<'_>> {
        let mut state = self.state();
        (state.retrying < MOST_RETRYING).then(|| {
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

/// The time a refresh may take. It starts with the first attempt, so waiting for credentials or a permit before that does not
/// count. All waits after it do.
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
        self.end.get_or_insert_with(|| now + limit).saturating_duration_since(now)
    }

    /// When waiting is of no more use: the end, once there was an attempt.
    pub(super) fn deadline(&self) -> Instant {
        self.end.unwrap_or_else(|| Instant::now() + FOREVER)
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

/// The attempts of one request. The caller makes them; a loop over a closure would read better, but the future of an async
/// closure cannot be shown to be `Send` yet.
#[derive(Debug)]
pub(super) struct Attempts<'a> {
    policy: &'a Policy,
    quota: &'a Quota,
    /// Of the attempt that is to be made or was made last, from 1.
    pub(super) number: u32,
    paid: Option<u32>,
    retrying: Option<Retrying<'a>>,
    renewed_credentials: bool,
}

impl Attempts<'_> {
    /// The request succeeded: its last retry's cost comes back.
    pub(super) fn succeeded(self) {
        self.quota.give(self.paid.unwrap_or(1));
    }

    /// An attempt failed. Waits until the next one may be made; or gives the failure back if that is of no use, not allowed,
    /// or not within the budget.
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
                // Not the API's fault: costs nothing and waits for nothing.
                self.renewed_credentials = true;
                self.number += 1;
                return Ok(());
            }
            Class::Throttled => THROTTLED_COST,
            Class::Transient | Class::ClockSkew => COST,
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
    /// Begins a request.
    pub(super) fn attempts<'a>(&'a self, quota: &'a Quota) -> Attempts<'a> {
        Attempts { policy: self, quota, number: 1, paid: None, retrying: None, renewed_credentials: false }
    }

    /// The wait before retry `index`, counted from 0: full jitter over an exponential, lengthened by what the answer asks.
    fn wait(&self, index: u32, failure: &AttemptError) -> Duration {
        let base = if failure.class == Class::Throttled { THROTTLED_BASE } else { BASE };
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
    use crate::model::exception::Exception;

    const ALWAYS_LONGEST: Policy = Policy { max_attempts: 3, random: || 1.0 };

    fn failing(class: Class) -> AttemptError {
        AttemptError { class, ..AttemptError::new(Exception::Other, "test") }
    }

    fn wait(index: u32, class: Class, retry_after: RetryAfter) -> Duration {
        ALWAYS_LONGEST.wait(index, &AttemptError { retry_after, ..failing(class) })
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

    /// Makes calls that always fail, and tells how many attempts each took.
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
        // 500 tokens pay for 35 retries at 14 each, two per call.
        assert_eq!(made.iter().map(|made| made - 1).sum::<u32>(), 35);
        assert_eq!(made[19], 1, "no retry is left");
        // 10 tokens were left; each success at the first attempt brings one.
        for _ in 0..4 {
            ALWAYS_LONGEST.attempts(&quota).succeeded();
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
        for _ in 0..MOST_RETRYING {
            // Others succeed meanwhile, so the tokens would last.
            (0..THROTTLED_COST).for_each(|_| ALWAYS_LONGEST.attempts(&quota).succeeded());
            let mut attempts = ALWAYS_LONGEST.attempts(&quota);
            attempts.failed(failing(Class::Throttled), &budget).await.unwrap();
            waiting.push(attempts);
        }
        quota.give(QUOTA);
        let mut one_more = ALWAYS_LONGEST.attempts(&quota);
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
        let result = ALWAYS_LONGEST.attempts(&quota).failed(failure, &budget).await;
        assert_eq!(result.unwrap_err().exception, Exception::Other);
    }
}
