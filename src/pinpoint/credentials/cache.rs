//! Caches the credentials of an account for all of its requests.
//!
//! Each fetch of credentials is a task, and only one runs at a time. Requests wait for it only if there are no usable
//! credentials. A slow source therefore delays no request while the current credentials are valid.

use std::{
    fmt,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use aws_credential_types::Credentials;
use futures_util::{
    FutureExt as _,
    future::{BoxFuture, join_all},
};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio::{
    sync::Notify,
    time::{Instant, timeout, timeout_at},
};

use super::{
    provider_http::{FETCH_TIMEOUT, Trace},
    sts::{Identity, Sts},
};
use crate::{
    model::{clock::Clock, exception::Exception, timestamp::Timestamp},
    pinpoint::{error::AttemptError, secrets::Secrets},
};

/// Credentials are renewed this long before they expire.
const RENEWAL_MARGIN: Duration = Duration::from_mins(5);
/// Credentials are no longer used this long before they expire, because a request takes time to arrive.
const EXPIRY_MARGIN: Duration = Duration::from_secs(5);
/// Credentials without an expiration are read again after this time, because their file may have changed.
const UNDATED_LIFETIME: Duration = Duration::from_mins(15);
/// A source that waits for the fetch of another cache has a longer time limit, so that the error of that fetch still arrives.
const NESTED_FETCH_TIMEOUT: Duration = Duration::from_secs(16);
/// A fetch that runs this much longer than its limit is blocking its thread. Requests then fail without waiting for it.
const OVERDUE: Duration = Duration::from_secs(1);
/// The minimum time between two fetches after a failure, or if the credentials expire soon. Without usable credentials the time
/// is `CACHE_TTL`, limited to the range of these two values. A fetch then happens once per refresh and not once per target.
const MAX_PAUSE: Duration = Duration::from_secs(10);
const MIN_PAUSE: Duration = Duration::from_secs(1);
/// The maximum length of a key or token. AWS's session tokens have a few thousand bytes, and no server accepts a header of this
/// size.
const MAX_TOKEN_BYTES: usize = 64 * 1024;

/// Where the credentials of an account come from. Each fetch creates a new provider, because some providers read a file only
/// once and some do not recover from a failure.
pub struct Source {
    fetch: Box<FetchFn>,
    limit: Duration,
}

/// Finds credentials. The error says why there are none and holds no secret.
type FetchFn = dyn Fn(Fetch) -> BoxFuture<'static, Result<Credentials, String>> + Send + Sync;

/// The context of one fetch.
#[derive(Clone, Default)]
pub struct Fetch {
    /// Records the last request of the fetch, so that an error can name it.
    pub(in crate::pinpoint) trace: Trace,
    /// The credentials that AWS refused, if that caused the fetch.
    pub(in crate::pinpoint) refused: Option<Credentials>,
}

impl Source {
    pub fn new(
        fetch: impl Fn(Fetch) -> BoxFuture<'static, Result<Credentials, String>> + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self { fetch: Box::new(fetch), limit: FETCH_TIMEOUT })
    }

    /// Creates a source whose `fetch` also waits for the fetch of another cache.
    pub(in crate::pinpoint) fn nested(
        fetch: impl Fn(Fetch) -> BoxFuture<'static, Result<Credentials, String>> + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self { fetch: Box::new(fetch), limit: NESTED_FETCH_TIMEOUT })
    }
}

/// Looks for the credentials of all accounts concurrently, so that one slow source does not delay the others. Returns the
/// accounts without credentials, with the reason.
pub async fn prefetch<'a>(
    accounts: impl IntoIterator<Item = (&'a String, &'a Arc<CredentialsCache>)>,
) -> Vec<(&'a String, AttemptError)> {
    let fetches =
        accounts.into_iter().map(async |(account_id, cache)| Some((account_id, cache.get().await.err()?)));
    join_all(fetches).await.into_iter().flatten().collect()
}

pub struct CredentialsCache {
    source: Arc<Source>,
    clock: Arc<dyn Clock>,
    /// The minimum time between two fetches while there are no credentials.
    pause: Duration,
    owner: Option<Owner>,
    state: Mutex<State>,
    /// Notified when a fetch has ended.
    fetch_finished: Notify,
}

/// The account that the credentials must belong to. Pinpoint's requests name no account. With credentials of another account,
/// its data would appear under the wrong account.
#[derive(Debug)]
pub struct Owner {
    pub account_id: String,
    /// Determines the account of credentials that do not name one.
    pub sts: Sts,
}

#[derive(Default)]
struct State {
    current: Option<Current>,
    /// The secrets of the last credentials. An error of the source can repeat them.
    secrets: Secrets,
    /// Increases with every new set of credentials.
    generation: u64,
    /// When the current fetch started. `None` if no fetch is running.
    fetch_started: Option<Instant>,
    last_fetch: Option<FinishedFetch>,
    /// Whether AWS refused the current credentials and the fetch of new ones still runs.
    is_refused: bool,
    /// When a refusal last started a fetch.
    refused_at: Option<Duration>,
}

struct FinishedFetch {
    /// A time of the monotonic clock.
    at: Duration,
    failure: Option<String>,
}

struct Current {
    credentials: Credentials,
    read_at: SystemTime,
}

/// Credentials and their generation.
#[derive(Clone)]
pub(in crate::pinpoint) struct Issued {
    pub(in crate::pinpoint) credentials: Credentials,
    generation: u64,
}

impl fmt::Debug for CredentialsCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CredentialsCache").finish_non_exhaustive()
    }
}

impl CredentialsCache {
    /// Creates an empty cache for a source. Without an `owner`, credentials of any account are accepted.
    pub fn new(
        source: Arc<Source>,
        clock: Arc<dyn Clock>,
        cache_ttl: Duration,
        owner: Option<Owner>,
    ) -> Self {
        Self {
            source,
            clock,
            pause: cache_ttl.clamp(MIN_PAUSE, MAX_PAUSE),
            owner,
            state: Mutex::default(),
            fetch_finished: Notify::new(),
        }
    }

    /// When the credentials expire. `None` if they do not expire or there are none.
    pub fn expiry(&self) -> Option<Timestamp> {
        let expiry = self.state().current.as_ref()?.credentials.expiry()?;
        (self.clock.now() < expiry).then(|| expiry.into())
    }

    /// Looks for credentials in advance, so that the first request does not wait.
    pub async fn prefetch(self: &Arc<Self>) -> Result<(), AttemptError> {
        self.get().await.map(drop)
    }

    /// Asks STS who the credentials belong to. The error holds no secret.
    pub async fn identity(self: &Arc<Self>, sts: &Sts) -> Result<Identity, String> {
        let issued = self.get().await.map_err(|failure| failure.message)?;
        let trace = Trace::default();
        let asked = sts.caller_identity(&issued.credentials, &trace);
        timeout(FETCH_TIMEOUT, asked).await.unwrap_or_else(|_elapsed| Err(trace.timed_out(FETCH_TIMEOUT)))
    }

    /// Returns credentials that stay valid until a request arrives. It waits only if there are none. A renewal runs in the
    /// background.
    pub(in crate::pinpoint) async fn get(self: &Arc<Self>) -> Result<Issued, AttemptError> {
        let ended = {
            let mut state = self.state();
            let now = self.clock.now();
            let is_fresh = state.usable(now).is_some_and(|current| now < current.renew_at());
            if !is_fresh && !self.is_pausing(&state, now) {
                self.start_fetch(&mut state);
            }
            match state.issued(now) {
                Some(issued) => return Ok(issued),
                None => self.fetch_end(state.fetch_started),
            }
        };
        if let Some(ended) = ended {
            ended.await.map_err(|overdue| AttemptError::new(Exception::CredentialsError, overdue))?;
        }
        let state = self.state();
        let failure = || match &state.last_fetch {
            Some(FinishedFetch { failure: Some(failure), .. }) => failure,
            _ => "the credentials have expired",
        };
        state
            .issued(self.clock.now())
            .ok_or_else(|| AttemptError::new(Exception::CredentialsError, failure()))
    }

    /// Handles credentials that AWS refused as expired. It starts one fetch for all requests that were refused. Returns whether
    /// there are other credentials now. Refusals start at most one fetch per [`MAX_PAUSE`].
    pub(in crate::pinpoint) async fn replaced(self: &Arc<Self>, refused: &Issued) -> bool {
        let ended = {
            let mut state = self.state();
            let now = self.clock.elapsed();
            let is_due = state.refused_at.is_none_or(|at| now >= at + MAX_PAUSE);
            if state.generation == refused.generation && is_due {
                state.is_refused = true;
                state.refused_at = Some(now);
                self.start_fetch(&mut state);
            }
            if state.is_refused { self.fetch_end(state.fetch_started) } else { None }
        };
        if let Some(ended) = ended {
            // An overdue fetch has found no other credentials.
            let _ = ended.await;
        }
        let state = self.state();
        let others = state.usable(self.clock.now());
        others.is_some_and(|current| !are_same(&current.credentials, &refused.credentials))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the last fetch is too recent to start another. It does not count if the credentials that it found have expired
    /// since.
    fn is_pausing(&self, state: &State, now: SystemTime) -> bool {
        let is_usable = state.usable(now).is_some();
        let pause = if is_usable { MAX_PAUSE } else { self.pause };
        state.last_fetch.as_ref().is_some_and(|fetch| {
            (is_usable || fetch.failure.is_some()) && self.clock.elapsed() < fetch.at + pause
        })
    }

    /// Starts a fetch, unless one is running.
    fn start_fetch(self: &Arc<Self>, state: &mut State) {
        if state.fetch_started.is_some() {
            return;
        }
        state.fetch_started = Some(Instant::now());
        let refused = state.current.as_ref().filter(|_| state.is_refused);
        let fetch = Fetch {
            trace: Trace::new(state.secrets.clone()),
            refused: refused.map(|current| current.credentials.clone()),
        };
        let cache = Arc::clone(self);
        tokio::spawn(async move {
            // Providers compute with dates and numbers from outside, which can panic.
            let found =
                AssertUnwindSafe(timeout(cache.source.limit, cache.fetch(&fetch))).catch_unwind().await;
            let found = match found {
                Ok(Ok(found)) => found.and_then(Current::checked),
                Ok(Err(_elapsed)) => Err(fetch.trace.timed_out(cache.source.limit)),
                Err(_panic) => Err(fetch.trace.panicked()),
            };
            cache.finish_fetch(found);
        });
    }

    /// Returns a future that waits for the current fetch, if there is one. It fails if the fetch is overdue.
    fn fetch_end(
        &self,
        began: Option<Instant>,
    ) -> Option<impl Future<Output = Result<(), String>> + use<'_>> {
        let deadline = began? + self.source.limit + OVERDUE;
        // A `Notified` future gets notifications from its creation on, so an end before its first poll is not missed.
        let ended = self.fetch_finished.notified();
        Some(async move {
            timeout_at(deadline, ended).await.map_err(|_elapsed| {
                "a source of credentials has not answered, and cannot be interrupted: check the files that AWS's \
                 variables and profile name"
                    .to_owned()
            })
        })
    }

    async fn fetch(&self, fetch: &Fetch) -> Result<Current, String> {
        let credentials = without_empty_token((self.source.fetch)(fetch.clone()).await?);
        fetch.trace.secrets.learn_credentials(&credentials);
        if let Some(owner) = &self.owner {
            owner.check(&credentials, &fetch.trace).await?;
        }
        Ok(Current { credentials, read_at: self.clock.now() })
    }

    fn finish_fetch(&self, found: Result<Current, String>) {
        let mut state = self.state();
        let failed_before = state.last_fetch.as_ref().is_some_and(|fetch| fetch.failure.is_some());
        let failure = match found {
            Ok(found) => {
                let is_same = |current: &Current| are_same(&current.credentials, &found.credentials);
                if !state.current.as_ref().is_some_and(is_same) {
                    state.generation += 1;
                }
                state.current = Some(found);
                None
            }
            Err(failure) => {
                let failure = state.secrets.mask(&failure);
                if state.is_refused {
                    state.generation += 1;
                    state.current = None;
                }
                if !failed_before && state.usable(self.clock.now()).is_some() {
                    tracing::warn!(
                        "the credentials could not be renewed; they are used until they expire: {failure}"
                    );
                }
                Some(failure)
            }
        };
        state.is_refused = false;
        state.fetch_started = None;
        state.last_fetch = Some(FinishedFetch { at: self.clock.elapsed(), failure });
        drop(state);
        self.fetch_finished.notify_waiters();
    }
}

impl State {
    /// The current credentials, if a request with them arrives before they expire.
    fn usable(&self, now: SystemTime) -> Option<&Current> {
        self.current.as_ref().filter(|current| !self.is_refused && current.is_usable(now))
    }

    fn issued(&self, now: SystemTime) -> Option<Issued> {
        let Current { credentials, .. } = self.usable(now)?;
        Some(Issued { credentials: credentials.clone(), generation: self.generation })
    }
}

impl Owner {
    /// Checks that the credentials belong to the account. Asks `sts:GetCallerIdentity` if they do not name one.
    async fn check(&self, credentials: &Credentials, trace: &Trace) -> Result<(), String> {
        let found = match credentials.account_id() {
            Some(account) => account.as_str().to_owned(),
            None => self.sts.caller_identity(credentials, trace).await?.account_id,
        };
        if found == self.account_id {
            return Ok(());
        }
        Err(format!("the credentials belong to account {found}, the target to account {}", self.account_id))
    }
}

impl Current {
    fn renew_at(&self) -> SystemTime {
        match self.credentials.expiry() {
            Some(expiry) => expiry.checked_sub(RENEWAL_MARGIN).unwrap_or(expiry),
            None => self.read_at + UNDATED_LIFETIME,
        }
    }

    fn is_usable(&self, now: SystemTime) -> bool {
        self.credentials.expiry().is_none_or(|expiry| now + EXPIRY_MARGIN < expiry)
    }

    /// Rejects credentials that cannot sign a request.
    fn checked(self) -> Result<Self, String> {
        let Self { credentials, read_at } = &self;
        for (what, text) in [
            ("access key id", Some(credentials.access_key_id())),
            ("secret access key", Some(credentials.secret_access_key())),
            ("session token", credentials.session_token()),
        ] {
            let why = match text.map(str::len) {
                None => continue,
                Some(0) => "is empty".to_owned(),
                Some(length @ MAX_TOKEN_BYTES..) => {
                    format!("has {length} bytes, more than any request can carry")
                }
                Some(_) if text.is_some_and(|text| text.bytes().all(|byte| byte.is_ascii_graphic())) => {
                    continue;
                }
                Some(_) => "contains white space, control characters or characters beyond ASCII".to_owned(),
            };
            return Err(format!("the {what} that was found {why}: check the source of the credentials"));
        }
        match credentials.expiry() {
            Some(expiry) if !self.is_usable(*read_at) => Err(format!(
                "the credentials that were found expire at {}, and it is {} by the clock of this machine: check the \
                 source and the clock",
                date(expiry),
                date(*read_at)
            )),
            _ => Ok(self),
        }
    }
}

/// Whether both produce the same signatures. Other data, such as the expiration, may differ.
pub(in crate::pinpoint) fn are_same(one: &Credentials, other: &Credentials) -> bool {
    let parts = |credentials: &Credentials| {
        let (id, secret) = (credentials.access_key_id(), credentials.secret_access_key());
        (id.to_owned(), secret.to_owned(), credentials.session_token().map(ToOwned::to_owned))
    };
    parts(one) == parts(other)
}

/// Removes an empty session token, which some sources write for credentials without a token.
fn without_empty_token(credentials: Credentials) -> Credentials {
    if credentials.session_token() != Some("") {
        return credentials;
    }
    let (id, secret) = (credentials.access_key_id(), credentials.secret_access_key());
    let mut without =
        Credentials::builder().access_key_id(id).secret_access_key(secret).provider_name("without token");
    without.set_expiry(credentials.expiry());
    without.set_account_id(credentials.account_id().cloned());
    without.build()
}

/// A date for messages. It also handles dates outside the range of the calendar.
fn date(at: SystemTime) -> String {
    let seconds = Timestamp::from(at).0.div_euclid(1_000);
    let date = OffsetDateTime::from_unix_timestamp(seconds).ok().and_then(|date| date.format(&Rfc3339).ok());
    date.unwrap_or_else(|| {
        if seconds < 0 { "a date before the year 0" } else { "a date beyond the year 9999" }.to_owned()
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// A clock that follows tokio's time, which these tests pause.
    #[derive(Debug)]
    struct PausedClock(Instant);

    impl Clock for PausedClock {
        fn now(&self) -> SystemTime {
            SystemTime::UNIX_EPOCH + seconds(1_800_000_000) + self.0.elapsed()
        }

        fn elapsed(&self) -> Duration {
            self.0.elapsed()
        }
    }

    #[derive(Clone)]
    enum Answer {
        Credentials(Credentials),
        Nothing,
        Hang,
        PanicAtOnce,
        PanicLater,
    }

    /// A source with a configurable answer, which counts its fetches.
    struct Script {
        answer: Mutex<Answer>,
        asked: AtomicUsize,
        under_way: AtomicUsize,
    }

    impl Script {
        fn answer(&self, answer: Answer) {
            *self.answer.lock().unwrap() = answer;
        }

        fn asked(&self) -> usize {
            self.asked.load(Ordering::SeqCst)
        }
    }

    /// Counts a fetch until it ends or is cancelled.
    struct UnderWay(Arc<Script>);

    impl Drop for UnderWay {
        fn drop(&mut self) {
            self.0.under_way.fetch_sub(1, Ordering::SeqCst);
        }
    }

    fn cache(answer: Answer) -> (Arc<CredentialsCache>, Arc<Script>) {
        let script = Arc::new(Script {
            answer: Mutex::new(answer),
            asked: AtomicUsize::new(0),
            under_way: AtomicUsize::new(0),
        });
        let own = Arc::clone(&script);
        let source = Source::new(move |_| {
            own.asked.fetch_add(1, Ordering::SeqCst);
            assert_eq!(own.under_way.fetch_add(1, Ordering::SeqCst), 0, "one fetch at a time");
            let (under_way, answer) = (UnderWay(Arc::clone(&own)), own.answer.lock().unwrap().clone());
            assert!(!matches!(answer, Answer::PanicAtOnce));
            Box::pin(async move {
                let _under_way = under_way;
                tokio::task::yield_now().await;
                match answer {
                    Answer::Credentials(credentials) => Ok(credentials),
                    Answer::Nothing => Err("nothing there".to_owned()),
                    Answer::Hang => std::future::pending().await,
                    Answer::PanicAtOnce | Answer::PanicLater => panic!("a date that overflows"),
                }
            })
        });
        let clock = Arc::new(PausedClock(Instant::now()));
        (Arc::new(CredentialsCache::new(source, clock, seconds(50), None)), script)
    }

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn numbered(cache: &CredentialsCache, number: u32, life: Duration) -> Answer {
        let expiry = cache.clock.now() + life;
        Answer::Credentials(Credentials::new(format!("ASIA{number}"), "secret", None, Some(expiry), "test"))
    }

    async fn key(cache: &Arc<CredentialsCache>) -> Result<String, String> {
        let issued = cache.get().await;
        issued.map(|issued| issued.credentials.access_key_id().to_owned()).map_err(|failure| failure.message)
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_of_a_source_does_not_show_the_credentials_that_it_gave_before() {
        // Credentials that live for 20 s, and some that expired long ago and are never used.
        for (life, found) in [(20, Ok("ASIANUMBER1")), (-3600, Err(()))] {
            let asked = AtomicUsize::new(0);
            let source = Source::new(move |_| {
                let is_first = asked.fetch_add(1, Ordering::SeqCst) == 0;
                Box::pin(async move {
                    let token = Some("session/token==".to_owned());
                    let expiry = OffsetDateTime::from_unix_timestamp(1_800_000_000 + life).unwrap();
                    let given =
                        Credentials::new("ASIANUMBER1", "the+secret/key", token, Some(expiry.into()), "test");
                    if is_first {
                        Ok(given)
                    } else {
                        Err("denied: ASIANUMBER1 the+secret/key session/token==".into())
                    }
                })
            });
            let clock = Arc::new(PausedClock(Instant::now()));
            let cache = Arc::new(CredentialsCache::new(source, clock, seconds(50), None));
            assert_eq!(key(&cache).await.map_err(|_| ()).as_deref(), found.as_deref());
            tokio::time::advance(seconds(20)).await;
            for _ in 0..3 {
                assert_eq!(key(&cache).await.unwrap_err(), "denied: *** *** ***");
                tokio::time::advance(seconds(20)).await;
            }
        }
    }

    /// Lets other tasks run until they wait.
    async fn settle() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_a_source_that_hangs_while_the_credentials_are_valid() {
        let (cache, script) = cache(Answer::Nothing);
        script.answer(numbered(&cache, 1, seconds(240)));
        assert_eq!(key(&cache).await.as_deref(), Ok("ASIA1"));
        script.answer(Answer::Hang);
        tokio::time::advance(seconds(10)).await;
        let begin = Instant::now();
        // Each fetch takes 15 s and a pause 10 s. Nine fetches fit in before the credentials can no longer be used.
        while begin.elapsed() < seconds(220) {
            let asked_at = Instant::now();
            assert_eq!(key(&cache).await.as_deref(), Ok("ASIA1"));
            assert_eq!(asked_at.elapsed(), Duration::ZERO);
            tokio::time::sleep(seconds(1)).await;
        }
        assert_eq!(script.asked(), 10);
        tokio::time::sleep(seconds(30)).await;
        let asked_at = Instant::now();
        let failures = join_all((0..10).map(|_| key(&cache))).await;
        assert!(asked_at.elapsed() <= seconds(15), "{:?}", asked_at.elapsed());
        assert_eq!(script.asked(), 11);
        for failure in failures {
            assert_eq!(failure.unwrap_err(), "no source of credentials answered within 15s");
        }
        assert_eq!(cache.expiry(), None);
        script.answer(numbered(&cache, 2, seconds(3_600)));
        tokio::time::sleep(seconds(10)).await;
        assert_eq!(key(&cache).await.as_deref(), Ok("ASIA2"));
    }

    #[tokio::test(start_paused = true)]
    async fn accounts_whose_sources_hang_are_looked_at_side_by_side() {
        let caches: std::collections::BTreeMap<_, _> =
            ["1", "2", "3"].map(|account| (account.to_owned(), cache(Answer::Hang).0)).into();
        let asked_at = Instant::now();
        let failures = prefetch(&caches).await;
        assert_eq!((failures.len(), asked_at.elapsed()), (3, FETCH_TIMEOUT));
    }

    #[tokio::test(start_paused = true)]
    async fn credentials_are_renewed_before_they_expire_and_not_without_a_request() {
        let (cache, script) = cache(Answer::Nothing);
        script.answer(numbered(&cache, 1, seconds(3_600)));
        assert_eq!(key(&cache).await.as_deref(), Ok("ASIA1"));
        tokio::time::sleep(seconds(3_299)).await;
        script.answer(numbered(&cache, 2, seconds(3_600)));
        assert_eq!((key(&cache).await.as_deref(), script.asked()), (Ok("ASIA1"), 1));
        tokio::time::sleep(seconds(100)).await;
        assert_eq!(script.asked(), 1, "nobody asked for credentials");
        assert_eq!(key(&cache).await.as_deref(), Ok("ASIA1"));
        settle().await;
        assert_eq!((key(&cache).await.as_deref(), script.asked()), (Ok("ASIA2"), 2));
    }

    #[tokio::test(start_paused = true)]
    async fn credentials_that_live_shortly_are_asked_for_every_ten_seconds_and_before_they_end() {
        for (life, expected) in [(60, [1, 1, 2, 2, 3, 3]), (9, [1, 2, 3, 4, 5, 6])] {
            let (cache, script) = cache(Answer::Nothing);
            for asked in expected {
                script.answer(numbered(&cache, 1, seconds(life)));
                assert!(key(&cache).await.is_ok());
                settle().await;
                assert_eq!(script.asked(), asked, "{life} s");
                tokio::time::sleep(seconds(5)).await;
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_source_that_fails_is_asked_every_ten_seconds_until_the_credentials_expire() {
        let (cache, script) = cache(Answer::Nothing);
        script.answer(numbered(&cache, 1, seconds(3_600)));
        assert!(key(&cache).await.is_ok());
        script.answer(Answer::Nothing);
        tokio::time::sleep(seconds(3_540)).await;
        for asked in [2, 2, 3, 3] {
            assert!(key(&cache).await.is_ok());
            settle().await;
            assert_eq!(script.asked(), asked);
            tokio::time::sleep(seconds(5)).await;
        }
        assert!(cache.expiry().is_some());
        tokio::time::sleep(seconds(40)).await;
        assert_eq!(key(&cache).await.unwrap_err(), "nothing there");
        assert_eq!(cache.expiry(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_source_that_panics_fails_in_words_and_is_asked_again() {
        for panic in [Answer::PanicAtOnce, Answer::PanicLater] {
            let (cache, script) = cache(panic);
            let failure = key(&cache).await.unwrap_err();
            assert!(failure.contains("an internal error"), "{failure}");
            tokio::time::sleep(seconds(10)).await;
            script.answer(numbered(&cache, 1, seconds(3_600)));
            assert_eq!(key(&cache).await.as_deref(), Ok("ASIA1"));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn any_date_of_expiry_is_either_used_or_refused_in_words() {
        let epoch = SystemTime::UNIX_EPOCH;
        let year_1 = epoch - seconds(62_135_596_800);
        let longest = seconds(i64::MAX.unsigned_abs() / 2);
        for (expiry, refusal) in [
            (year_1, Some("expire at 0001-01-01T00:00:00Z, and it is 2027-01-15T08:00:00Z")),
            (epoch - seconds(1), Some("expire at 1969-12-31T23:59:59Z")),
            (epoch - seconds(1 << 40), Some("a date before the year 0")),
            (epoch - longest, Some("a date before the year 0")),
            (epoch + seconds(253_402_300_799), None),
            (epoch + seconds(253_402_300_800), None),
            (epoch + longest, None),
        ] {
            let credentials = Credentials::new("ASIA", "secret", None, Some(expiry), "test");
            let (cache, _) = cache(Answer::Credentials(credentials));
            match (key(&cache).await, refusal) {
                (Err(failure), Some(refusal)) => assert!(failure.contains(refusal), "{failure}"),
                (found, refusal) => assert_eq!((found.is_ok(), refusal), (true, None), "{expiry:?}"),
            }
            assert_eq!(cache.expiry().is_some(), refusal.is_none(), "{expiry:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn credentials_that_no_request_can_carry_are_refused_in_words() {
        let long = "x".repeat(MAX_TOKEN_BYTES);
        for (id, secret, token, expected) in [
            ("", "hush/hush", "quiet/quiet", "the access key id that was found is empty"),
            ("id", "", "quiet/quiet", "the secret access key that was found is empty"),
            ("i\nd", "hush/hush", "quiet/quiet", "the access key id that was found contains white space"),
            (
                "id",
                "hush\u{1b}hush",
                "quiet/quiet",
                "the secret access key that was found contains white space",
            ),
            ("id", "hush/hush", "tökén", "the session token that was found contains white space"),
            (
                "id",
                "secret",
                &long,
                "the session token that was found has 65536 bytes, more than any request can carry",
            ),
        ] {
            let credentials = Credentials::new(id, secret, Some(token.to_owned()), None, "test");
            let (cache, _) = cache(Answer::Credentials(credentials));
            let failure = key(&cache).await.unwrap_err();
            assert!(failure.starts_with(expected), "{failure}");
            assert!(failure.ends_with("check the source of the credentials"), "{failure}");
        }
        let credentials = Credentials::new("id", "hush/hush", Some(String::new()), None, "test");
        let (cache, _) = cache(Answer::Credentials(credentials));
        assert_eq!(cache.get().await.unwrap().credentials.session_token(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn refused_credentials_are_asked_for_anew_once_for_all_requests() {
        let (cache, script) = cache(Answer::Nothing);
        script.answer(numbered(&cache, 1, seconds(3_600)));
        let refused = join_all((0..10).map(|_| cache.get())).await;
        let refused: Vec<_> = refused.into_iter().map(Result::unwrap).collect();
        let replaced = || join_all(refused.iter().map(|issued| cache.replaced(issued)));
        // The source still has only these credentials, though their expiration may differ.
        script.answer(numbered(&cache, 1, seconds(7_200)));
        assert_eq!((replaced().await, script.asked()), (vec![false; 10], 2));
        assert_eq!((replaced().await, script.asked()), (vec![false; 10], 2), "not so soon");
        assert_eq!(key(&cache).await.as_deref(), Ok("ASIA1"));
        tokio::time::sleep(seconds(10)).await;
        script.answer(numbered(&cache, 2, seconds(3_600)));
        assert_eq!((replaced().await, script.asked()), (vec![true; 10], 3));
        assert_eq!((key(&cache).await.as_deref(), script.asked()), (Ok("ASIA2"), 3));
    }

    #[tokio::test(start_paused = true)]
    async fn refused_credentials_without_successor_are_given_up() {
        for answer in [Answer::Nothing, Answer::Hang] {
            let (cache, script) = cache(Answer::Nothing);
            script.answer(numbered(&cache, 1, seconds(3_600)));
            let refused = cache.get().await.unwrap();
            assert!(cache.expiry().is_some());
            script.answer(answer);
            assert!(!cache.replaced(&refused).await);
            assert_eq!(cache.expiry(), None);
            assert!(key(&cache).await.is_err());
            assert_eq!(script.asked(), 2);
            script.answer(numbered(&cache, 2, seconds(3_600)));
            tokio::time::sleep(seconds(10)).await;
            assert_eq!(key(&cache).await.as_deref(), Ok("ASIA2"));
        }
    }
}
