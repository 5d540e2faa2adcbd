//! The credentials of an account: asked for once for many requests, fetched anew before they expire.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, SystemTime},
};

use aws_credential_types::{Credentials, provider::ProvideCredentials as _};
use time::OffsetDateTime;
use tokio::sync::Mutex;

use super::{
    error::{Exception, Failure},
    send::Http,
    source::{Identity, MakeProvider, caller_identity, describe},
};
use crate::{clock::Clock, job::Timestamp};

/// Credentials are fetched anew this long before they expire.
const EXPIRY_MARGIN: Duration = Duration::from_mins(5);
/// This long before they expire they are used no more: a request needs time to arrive.
const LAST_MOMENTS: Duration = Duration::from_secs(5);
/// Credentials without a date of expiry are read again after this time, since a file may have changed.
const UNDATED_LIFE: Duration = Duration::from_mins(15);
/// How long a source may take.
const LOOK_TIMEOUT: Duration = Duration::from_secs(15);
/// A source that failed, or gave credentials that expire soon, is not asked again before this time has passed. Without any
/// that can be used it is asked as often as targets are refreshed, where that is more often, but not for each of them.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);

/// The credentials of one account, shared by every request in its name.
pub struct CredentialsCache {
    make_provider: Arc<MakeProvider>,
    clock: Arc<dyn Clock>,
    /// How long a look is not repeated while there are no credentials.
    pause: Duration,
    owner: Option<Owner>,
    /// When the current ones expire, in milliseconds since the Unix epoch; `i64::MIN` for never, and without any.
    expiry: AtomicI64,
    /// Held during a look, so that there is one at a time, which all requests wait for.
    state: Mutex<State>,
}

/// The account that the credentials must belong to. Pinpoint's requests name none: with another account's credentials its
/// data would be shown under a wrong name.
#[derive(Debug)]
pub struct Owner {
    /// The account.
    pub account_id: String,
    /// A region whose STS can tell the account of credentials that do not.
    pub region: String,
    /// What it is asked with.
    pub http: Http,
}

#[derive(Default)]
struct State {
    current: Option<Current>,
    /// Grows with every set of credentials.
    generation: u64,
    last_look: Option<Look>,
    /// When credentials were last given up before their time.
    given_up: Option<Duration>,
}

/// How the last look for credentials ended.
struct Look {
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
        make_provider: Arc<MakeProvider>,
        clock: Arc<dyn Clock>,
        cache_ttl: Duration,
        owner: Option<Owner>,
    ) -> Self {
        Self {
            make_provider,
            clock,
            pause: cache_ttl.clamp(SHORTEST_PAUSE, LONGEST_PAUSE),
            owner,
            expiry: AtomicI64::new(i64::MIN),
            state: Mutex::default(),
        }
    }

    /// When the credentials in use expire; `None` if they do not, or there are none.
    pub fn expiry(&self) -> Option<Timestamp> {
        Some(self.expiry.load(Ordering::Relaxed)).filter(|at| *at != i64::MIN).map(Timestamp)
    }

    /// Looks for credentials, for the first request to find them at hand.
    pub async fn look_ahead(&self) -> Result<(), Failure> {
        self.get().await.map(drop)
    }

    /// Whose the credentials are, asked of STS in that region. The error has no secrets in it.
    pub async fn identity(&self, http: &Http, region: &str) -> Result<Identity, String> {
        let issued = self.get().await.map_err(|failure| failure.message)?;
        let asked = caller_identity(http.clone(), region.to_owned(), &issued.credentials);
        tokio::time::timeout(LOOK_TIMEOUT, asked)
            .await
            .unwrap_or_else(|_| Err(format!("STS did not answer within {LOOK_TIMEOUT:?}")))
    }

    /// Credentials that do not expire before a request arrives.
    pub(super) async fn get(&self) -> Result<Issued, Failure> {
        let mut state = self.state.lock().await;
        let now = self.clock.now();
        let is_fresh = state.current.as_ref().is_some_and(|current| now < current.renew_at());
        if !is_fresh && !self.is_pausing(&state, now) {
            self.look(&mut state).await;
        }
        let generation = state.generation;
        match (state.usable(self.clock.now()), &state.last_look) {
            (Some(current), _) => Ok(Issued { credentials: current.credentials.clone(), generation }),
            (None, Some(Look { failure: Some(failure), .. })) => {
                Err(Failure::new(Exception::CredentialsError, failure))
            }
            (None, _) => Err(Failure::new(Exception::CredentialsError, "the credentials have expired")),
        }
    }

    /// Whether the last look is too recent for another one. If what it found has expired since, it is not.
    fn is_pausing(&self, state: &State, now: SystemTime) -> bool {
        let is_usable = state.usable(now).is_some();
        let pause = if is_usable { LONGEST_PAUSE } else { self.pause };
        state.last_look.as_ref().is_some_and(|look| {
            (is_usable || look.failure.is_some()) && self.clock.elapsed() < look.at + pause
        })
    }

    /// AWS does not take these credentials: the next request gets others. Not if the ones before them were given up just now
    /// too, for others like them are to be expected. Gives whether there are others.
    pub(super) async fn invalidate(&self, issued: &Issued) -> bool {
        let mut state = self.state.lock().await;
        if state.generation != issued.generation {
            return true;
        }
        let now = self.clock.elapsed();
        let is_due = state.given_up.is_none_or(|at| now >= at + LONGEST_PAUSE);
        if is_due {
            // Whoever else was refused with these learns that there will be others, before they have been looked for.
            state.generation += 1;
            state.current = None;
            state.last_look = None;
            state.given_up = Some(now);
        }
        is_due
    }

    async fn look(&self, state: &mut State) {
        let found = tokio::time::timeout(LOOK_TIMEOUT, async {
            let provider = (self.make_provider)().await;
            let credentials = provider.provide_credentials().await.map_err(|error| describe(&error))?;
            if let Some(owner) = &self.owner {
                owner.check(&credentials).await?;
            }
            Ok(Current { credentials, read_at: self.clock.now() })
        })
        .await;
        let found = found
            .unwrap_or_else(|_| Err(format!("no source of credentials answered within {LOOK_TIMEOUT:?}")))
            .and_then(Current::unless_expired);
        let failure = match found {
            Ok(current) => {
                let expiry = current.credentials.expiry();
                let expiry = expiry.map_or(i64::MIN, |at| Timestamp::from(OffsetDateTime::from(at)).0);
                self.expiry.store(expiry, Ordering::Relaxed);
                state.generation += 1;
                state.current = Some(current);
                None
            }
            Err(failure) => Some(failure),
        };
        let failed_before = state.last_look.as_ref().is_some_and(|look| look.failure.is_some());
        if let Some(failure) = &failure
            && !failed_before
            && state.usable(self.clock.now()).is_some()
        {
            tracing::warn!("no new credentials, those at hand are used until they expire: {failure}");
        }
        state.last_look = Some(Look { at: self.clock.elapsed(), failure });
    }
}

impl State {
    /// The credentials at hand, if a request with them arrives before they expire.
    fn usable(&self, now: SystemTime) -> Option<&Current> {
        self.current.as_ref().filter(|current| current.is_usable(now))
    }
}

impl Owner {
    /// Whether the credentials belong to the account: by their own account id, else by what `sts:GetCallerIdentity` says.
    async fn check(&self, credentials: &Credentials) -> Result<(), String> {
        let found = match credentials.account_id() {
            Some(account) => account.as_str().to_owned(),
            None => caller_identity(self.http.clone(), self.region.clone(), credentials).await?.account_id,
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

    fn unless_expired(self) -> Result<Self, String> {
        match self.credentials.expiry() {
            Some(expiry) if !self.is_usable(self.read_at) => {
                let date = |at: SystemTime| httpdate::fmt_http_date(at);
                Err(format!(
                    "the credentials found expire at {}, and it is {} by the clock of this machine: check the source and \
                     the clock",
                    date(expiry),
                    date(self.read_at)
                ))
            }
            _ => Ok(self),
        }
    }
}
