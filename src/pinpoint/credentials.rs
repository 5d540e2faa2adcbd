//! The credentials of an account, shared by every request in its name.
//!
//! A look for credentials is a task of its own, and there is one at a time. Requests wait for it only while there are no
//! credentials that can be used, so a slow source delays nobody while the present ones are valid.

use std::{
    fmt,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use aws_credential_types::Credentials;
use futures_util::{FutureExt as _, future::BoxFuture};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio::{
    sync::Notify,
    time::{Instant, timeout, timeout_at},
};

use super::{
    error::{Exception, Failure},
    provider_http::Trace,
    sts::{Identity, Sts},
};
use crate::{clock::Clock, job::Timestamp};

/// Credentials are renewed this long before they expire.
const EXPIRY_MARGIN: Duration = Duration::from_mins(5);
/// This long before they expire they are used no more: a request needs time to arrive.
const LAST_MOMENTS: Duration = Duration::from_secs(5);
/// Credentials without a date of expiry are read again after this time, since a file may have changed.
const UNDATED_LIFE: Duration = Duration::from_mins(15);
/// How long a source may take.
pub(super) const LOOK_TIMEOUT: Duration = Duration::from_secs(15);
/// A source that waits for another cache's look is given this much longer, so that the error of that look arrives.
const NESTED_LOOK_TIMEOUT: Duration = Duration::from_secs(16);
/// A look that has not ended this long after its limit blocks its thread. Requests fail then without waiting for it.
const OVERDUE: Duration = Duration::from_secs(1);
/// A source that failed, or gave credentials that expire soon, is not asked again before this time has passed. Without any
/// that can be used it is asked as often as targets are refreshed, where that is more often, but not for each of them.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
/// The longest key or token. AWS's session tokens have a few thousand bytes, and no server takes a header of this size.
const LONGEST_TOKEN: usize = 64 * 1024;

/// Where the credentials of an account come from. Each look starts anew, since some providers read a file once in their life,
/// and some do not recover from a failure.
pub struct Source {
    look: Box<Find>,
    limit: Duration,
}

/// Finds credentials. The error says in words why there are none, and holds no secret.
type Find = dyn Fn(Look) -> BoxFuture<'static, Result<Credentials, String>> + Send + Sync;

/// What a source is told about the look that it is asked for.
#[derive(Clone, Default)]
pub struct Look {
    /// Keeps the last request of the look, for its error to name.
    pub(super) trace: Trace,
    /// AWS refused these credentials.
    pub(super) refused: Option<Credentials>,
}

impl Source {
    /// A source that `look` asks.
    pub fn new(
        look: impl Fn(Look) -> BoxFuture<'static, Result<Credentials, String>> + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self { look: Box::new(look), limit: LOOK_TIMEOUT })
    }

    /// A source whose `look` also waits for that of another cache.
    pub(super) fn nested(
        look: impl Fn(Look) -> BoxFuture<'static, Result<Credentials, String>> + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self { look: Box::new(look), limit: NESTED_LOOK_TIMEOUT })
    }
}

/// The credentials of one account.
pub struct CredentialsCache {
    source: Arc<Source>,
    clock: Arc<dyn Clock>,
    /// How long a look is not repeated while there are no credentials.
    pause: Duration,
    owner: Option<Owner>,
    state: Mutex<State>,
    /// Told when a look has ended.
    look_ended: Notify,
}

/// The account that the credentials must belong to. Pinpoint's requests name none: with another account's credentials its
/// data would be shown under a wrong name.
#[derive(Debug)]
pub struct Owner {
    /// The account.
    pub account_id: String,
    /// Can tell the account of credentials that do not.
    pub sts: Sts,
}

#[derive(Default)]
struct State {
    current: Option<Current>,
    /// Grows with every set of credentials.
    generation: u64,
    /// When the look that is under way began.
    look_began: Option<Instant>,
    last_look: Option<EndedLook>,
    /// AWS refused the current credentials, and the look for others has not ended.
    is_refused: bool,
    /// When a refusal last started a look.
    refused_at: Option<Duration>,
}

/// How the last look for credentials ended.
struct EndedLook {
    /// By the clock that never goes back.
    at: Duration,
    failure: Option<String>,
}

struct Current {
    credentials: Credentials,
    read_at: SystemTime,
}

/// Credentials, and which set of them it is.
#[derive(Clone)]
pub(super) struct Issued {
    pub(super) credentials: Credentials,
    generation: u64,
}

impl fmt::Debug for CredentialsCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CredentialsCache").finish_non_exhaustive()
    }
}

impl CredentialsCache {
    /// An empty cache in front of a source. Without an `owner` any account's credentials will do.
    pub fn new(
        source: Arc<Source>,
        clock: Arc<dyn Clock>,
        cache_ttl: Duration,
        owner: Option<Owner>,
    ) -> Self {
        Self {
            source,
            clock,
            pause: cache_ttl.clamp(SHORTEST_PAUSE, LONGEST_PAUSE),
            owner,
            state: Mutex::default(),
            look_ended: Notify::new(),
        }
    }

    /// When the credentials expire; `None` if they do not, or there are none.
    pub fn expiry(&self) -> Option<Timestamp> {
        let expiry = self.state().current.as_ref()?.credentials.expiry()?;
        (self.clock.now() < expiry).then(|| expiry.into())
    }

    /// Looks for credentials, for the first request to find them at hand.
    pub async fn look_ahead(self: &Arc<Self>) -> Result<(), Failure> {
        self.get().await.map(drop)
    }

    /// Whose the credentials are, as STS says. The error has no secrets in it.
    pub async fn identity(self: &Arc<Self>, sts: &Sts) -> Result<Identity, String> {
        let issued = self.get().await.map_err(|failure| failure.message)?;
        let trace = Trace::default();
        let asked = sts.caller_identity(&issued.credentials, &trace);
        timeout(LOOK_TIMEOUT, asked).await.unwrap_or_else(|_elapsed| Err(trace.timed_out(LOOK_TIMEOUT)))
    }

    /// Credentials that do not expire before a request arrives. If there are some, this does not wait. If they are to be
    /// renewed, that goes on beside the request.
    pub(super) async fn get(self: &Arc<Self>) -> Result<Issued, Failure> {
        let ended = {
            let mut state = self.state();
            let now = self.clock.now();
            let is_fresh = state.usable(now).is_some_and(|current| now < current.renew_at());
            if !is_fresh && !self.is_pausing(&state, now) {
                self.start_look(&mut state);
            }
            match state.issued(now) {
                Some(issued) => return Ok(issued),
                None => self.look_end(state.look_began),
            }
        };
        if let Some(ended) = ended {
            ended.await.map_err(|overdue| Failure::new(Exception::CredentialsError, overdue))?;
        }
        let state = self.state();
        let failure = || match &state.last_look {
            Some(EndedLook { failure: Some(failure), .. }) => failure,
            _ => "the credentials have expired",
        };
        state.issued(self.clock.now()).ok_or_else(|| Failure::new(Exception::CredentialsError, failure()))
    }

    /// AWS refused these credentials as expired: the source is asked anew, once for all who were refused. Gives whether there
    /// are other credentials now. A source that has just given what AWS refused is not asked again so soon.
    pub(super) async fn replaced(self: &Arc<Self>, refused: &Issued) -> bool {
        let ended = {
            let mut state = self.state();
            let now = self.clock.elapsed();
            let is_due = state.refused_at.is_none_or(|at| now >= at + LONGEST_PAUSE);
            if state.generation == refused.generation && is_due {
                state.is_refused = true;
                state.refused_at = Some(now);
                self.start_look(&mut state);
            }
            if state.is_refused { self.look_end(state.look_began) } else { None }
        };
        if let Some(ended) = ended {
            // If it is overdue there are no others.
            let _ = ended.await;
        }
        let state = self.state();
        let others = state.usable(self.clock.now());
        others.is_some_and(|current| !are_same(&current.credentials, &refused.credentials))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the last look is too recent for another one. If what it found has expired since, it is not.
    fn is_pausing(&self, state: &State, now: SystemTime) -> bool {
        let is_usable = state.usable(now).is_some();
        let pause = if is_usable { LONGEST_PAUSE } else { self.pause };
        state.last_look.as_ref().is_some_and(|look| {
            (is_usable || look.failure.is_some()) && self.clock.elapsed() < look.at + pause
        })
    }

    /// Starts a look, unless one is under way.
    fn start_look(self: &Arc<Self>, state: &mut State) {
        if state.look_began.is_some() {
            return;
        }
        state.look_began = Some(Instant::now());
        let refused = state.current.as_ref().filter(|_| state.is_refused);
        let look =
            Look { trace: Trace::default(), refused: refused.map(|current| current.credentials.clone()) };
        let cache = Arc::clone(self);
        tokio::spawn(async move {
            // Providers do arithmetic on dates and numbers that others wrote, which can panic.
            let found = AssertUnwindSafe(timeout(cache.source.limit, cache.look(&look))).catch_unwind().await;
            let found = match found {
                Ok(Ok(found)) => found.and_then(Current::checked),
                Ok(Err(_elapsed)) => Err(look.trace.timed_out(cache.source.limit)),
                Err(_panic) => Err(look.trace.panicked()),
            };
            cache.end_look(found);
        });
    }

    /// The end of the look under way, if there is one. The error is for a look that is overdue.
    fn look_end(&self, began: Option<Instant>) -> Option<impl Future<Output = Result<(), String>> + use<'_>> {
        let deadline = began? + self.source.limit + OVERDUE;
        // From here on it is told of the end, even before it is polled.
        let ended = self.look_ended.notified();
        Some(async move {
            timeout_at(deadline, ended).await.map_err(|_elapsed| {
                "a source of credentials has not answered, and cannot be interrupted: check the files that AWS's \
                 variables and profile name"
                    .to_owned()
            })
        })
    }

    async fn look(&self, look: &Look) -> Result<Current, String> {
        let credentials = without_empty_token((self.source.look)(look.clone()).await?);
        if let Some(owner) = &self.owner {
            owner.check(&credentials, &look.trace).await?;
        }
        Ok(Current { credentials, read_at: self.clock.now() })
    }

    fn end_look(&self, found: Result<Current, String>) {
        let mut state = self.state();
        let failed_before = state.last_look.as_ref().is_some_and(|look| look.failure.is_some());
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
        state.look_began = None;
        state.last_look = Some(EndedLook { at: self.clock.elapsed(), failure });
        drop(state);
        self.look_ended.notify_waiters();
    }
}

impl State {
    /// The credentials at hand, if a request with them arrives before they expire.
    fn usable(&self, now: SystemTime) -> Option<&Current> {
        self.current.as_ref().filter(|current| !self.is_refused && current.is_usable(now))
    }

    fn issued(&self, now: SystemTime) -> Option<Issued> {
        let Current { credentials, .. } = self.usable(now)?;
        Some(Issued { credentials: credentials.clone(), generation: self.generation })
    }
}

impl Owner {
    /// Whether the credentials belong to the account: by their own account id, else by what `sts:GetCallerIdentity` says.
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
            Some(expiry) => expiry.checked_sub(EXPIRY_MARGIN).unwrap_or(expiry),
            None => self.read_at + UNDATED_LIFE,
        }
    }

    fn is_usable(&self, now: SystemTime) -> bool {
        self.credentials.expiry().is_none_or(|expiry| now + LAST_MOMENTS < expiry)
    }

    /// Refuses credentials that no request can be signed with.
    fn checked(self) -> Result<Self, String> {
        let Self { credentials, read_at } = &self;
        for (what, text) in [
            ("access key id", Some(credentials.access_key_id())),
            ("secret access key", Some(credentials.secret_access_key())),
            ("session token", credentials.session_token()),
        ] {
            let why = match text {
                None => continue,
                Some("") => "is empty".to_owned(),
                Some(text) if text.len() > LONGEST_TOKEN => {
                    format!("has {} bytes, more than {LONGEST_TOKEN}", text.len())
                }
                Some(text) if !text.bytes().all(|byte| byte.is_ascii_graphic()) => {
                    "contains white space, control characters or characters beyond ASCII".to_owned()
                }
                Some(_) => continue,
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

/// Whether both sign the same requests. What else is known about them may differ.
pub(super) fn are_same(one: &Credentials, other: &Credentials) -> bool {
    let parts = |credentials: &Credentials| {
        let (id, secret) = (credentials.access_key_id(), credentials.secret_access_key());
        (id.to_owned(), secret.to_owned(), credentials.session_token().map(ToOwned::to_owned))
    };
    parts(one) == parts(other)
}

/// Some sources write an empty token for credentials that have none.
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

/// A date as people read it, also one that no calendar has.
fn date(at: SystemTime) -> String {
    let seconds = Timestamp::from(at).0.div_euclid(1_000);
    let date = OffsetDateTime::from_unix_timestamp(seconds).ok().and_then(|date| date.format(&Rfc3339).ok());
    date.unwrap_or_else(|| {
        if seconds < 0 { "a date before the year 0" } else { "a date beyond the year 9999" }.to_owned()
    })
}
