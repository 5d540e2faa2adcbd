//! The process's credentials: asked for once for many requests, fetched anew before they expire.
//!
//! The providers of `aws-config` ask their source at every call; the cache around them is here.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, SystemTime},
};

use aws_config::{
    BehaviorVersion, ConfigLoader, Region,
    default_provider::credentials::DefaultCredentialsChain,
    meta::{ProviderAttempt, ProviderChainError},
    provider_config::ProviderConfig,
    sts::AssumeRoleProvider,
};
use aws_credential_types::{
    Credentials,
    provider::{self, ProvideCredentials, SharedCredentialsProvider, error::CredentialsError, future},
};
use aws_sdk_sts::operation::{
    assume_role::AssumeRoleError, assume_role_with_web_identity::AssumeRoleWithWebIdentityError,
};
use aws_smithy_types::error::{ErrorMetadata, display::DisplayErrorContext};
use futures_util::future::BoxFuture;
use time::OffsetDateTime;
use tokio::sync::Mutex;

use super::{
    error::{Exception, Failure},
    secrets::Secrets,
    send::Http,
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

/// How the exporter's sessions are named in AWS's audit log.
const SESSION_NAME: &str = "pinpoint-exporter";

/// Makes a provider of credentials. It is called for each look: some providers read a file once in their life, and some do
/// not get over a failure.
pub type MakeProvider = dyn Fn() -> BoxFuture<'static, SharedCredentialsProvider> + Send + Sync;

/// The standard provider chain of AWS: environment, profile, web identity, container, instance metadata. With a profile,
/// SSO and `credential_process` among its ways.
pub fn default_chain(http: Http, region: String) -> Arc<MakeProvider> {
    Arc::new(move || {
        let (http, region) = (http.clone(), Region::new(region.clone()));
        Box::pin(async move {
            let config = ProviderConfig::without_region()
                .with_region(Some(region.clone()))
                .with_behavior_version(Some(BehaviorVersion::v2026_01_12()))
                .with_sleep_impl(aws_smithy_async::rt::sleep::TokioSleep::new())
                .with_http_client(http);
            let chain = DefaultCredentialsChain::builder().region(region).configure(config).build().await;
            SharedCredentialsProvider::new(chain)
        })
    })
}

/// A role in another account, assumed through STS with the credentials of `base`.
pub fn assumed_role(
    http: Http,
    region: String,
    role_arn: String,
    external_id: Option<String>,
    base: Arc<CredentialsCache>,
) -> Arc<MakeProvider> {
    Arc::new(move || {
        let (http, region, base) = (http.clone(), Region::new(region.clone()), Arc::clone(&base));
        let mut role =
            AssumeRoleProvider::builder(&role_arn).session_name(SESSION_NAME).region(region.clone());
        if let Some(id) = &external_id {
            role = role.external_id(id);
        }
        Box::pin(async move {
            let config = sdk_config(http, region).credentials_provider(Base(Arc::clone(&base))).load().await;
            SharedCredentialsProvider::new(Role { role: role.configure(&config).build().await, base })
        })
    })
}

/// Credentials that others are got with.
#[derive(Debug)]
struct Base(Arc<CredentialsCache>);

/// There are none to get others with.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct NoBase(String);

impl ProvideCredentials for Base {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async {
            self.0.get().await.map(|issued| issued.credentials).map_err(no_base)
        })
    }
}

fn no_base(failure: Failure) -> CredentialsError {
    CredentialsError::provider_error(NoBase(failure.message))
}

/// A role, and the credentials that it is assumed with.
#[derive(Debug)]
struct Role {
    role: AssumeRoleProvider,
    base: Arc<CredentialsCache>,
}

impl Role {
    async fn assume(&self) -> provider::Result {
        let base = self.base.get().await.map_err(no_base)?;
        let assumed = self.role.provide_credentials().await;
        let code = assumed.as_ref().err().and_then(refusal).and_then(|refusal| refusal.meta().code());
        let is_of_the_base = code.is_some_and(|code| OF_THE_CALLER.contains(&code));
        if is_of_the_base && self.base.invalidate(&base).await {
            return self.role.provide_credentials().await;
        }
        assumed
    }
}

impl ProvideCredentials for Role {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.assume())
    }
}

/// What AWS's own clients need: here only STS's is used.
fn sdk_config(http: Http, region: Region) -> ConfigLoader {
    aws_config::defaults(BehaviorVersion::v2026_01_12()).http_client(http).region(region)
}

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

/// Whose credentials are, as `sts:GetCallerIdentity` tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The account.
    pub account_id: String,
    /// The user, or the session of a role.
    pub arn: String,
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

/// Asks STS whose the credentials are, which needs no permission.
async fn caller_identity(http: Http, region: String, credentials: &Credentials) -> Result<Identity, String> {
    let config = sdk_config(http, Region::new(region)).credentials_provider(credentials.clone()).load().await;
    let answer = aws_sdk_sts::Client::new(&config).get_caller_identity().send().await;
    let failed = |error: String| {
        let text = format!("sts:GetCallerIdentity, which tells whose the credentials are, failed: {error}");
        Secrets::of(credentials).mask(text)
    };
    let answer = answer.map_err(|error| failed(DisplayErrorContext(error).to_string()))?;
    let (Some(account_id), Some(arn)) = (answer.account, answer.arn) else {
        return Err(failed("the answer names no account".to_owned()));
    };
    Ok(Identity { account_id, arn })
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

/// What STS says when a policy forbids it.
const ACCESS_DENIED: &str = "AccessDenied";

/// What STS says when it does not take the credentials of the caller.
const OF_THE_CALLER: [&str; 4] =
    ["ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "SignatureDoesNotMatch"];

/// Why a role may not be assumed, if that is why there are no credentials.
fn refusal(error: &CredentialsError) -> Option<&AssumeRoleError> {
    causes(error).find_map(|cause| cause.downcast_ref())
}

fn causes(error: &CredentialsError) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error as &(dyn std::error::Error + 'static)), |cause| cause.source())
}

/// What went wrong, from the outermost cause to the innermost, in one line, and where to look. What a `credential_process`
/// wrote is left out: it may be what it should have kept to itself.
fn describe(error: &CredentialsError) -> String {
    if let Some(NoBase(why)) = causes(error).find_map(|cause| cause.downcast_ref()) {
        return why.clone();
    }
    // The advice comes first, for the rest may be long.
    if let Some(refusal) = refusal(error) {
        let advice = "check the policy of the caller, the trust policy of the role, and \
                      PINPOINT_EXPORTER_ROLE_EXTERNAL_ID";
        return refused("sts:AssumeRole", advice, refusal.meta());
    }
    if let Some(refusal) =
        causes(error).find_map(|cause| cause.downcast_ref::<AssumeRoleWithWebIdentityError>())
    {
        let advice = "check AWS_ROLE_ARN and the trust policy of the role";
        return refused("sts:AssumeRoleWithWebIdentity", advice, refusal.meta());
    }
    if let Some(chain) =
        causes(error).find_map(|cause| cause.downcast_ref::<ProviderChainError<CredentialsError>>())
    {
        let attempt = |attempt: &ProviderAttempt<CredentialsError>| {
            format!("{}: {}", attempt.name(), text_of(causes(attempt.error()).skip(1)))
        };
        let attempts: Vec<_> = chain.attempts().iter().map(attempt).collect();
        return format!(
            "no credentials were found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or give the \
             workload a role ({})",
            attempts.join("; ")
        );
    }
    let text = text_of(causes(error));
    let is_of_a_file = causes(error).nth(1).is_some_and(<dyn std::error::Error>::is::<std::io::Error>);
    let advice = match &text {
        text if text.contains("SSO token") => "; run aws sso login",
        _ if is_of_a_file => {
            "; check the file that AWS_WEB_IDENTITY_TOKEN_FILE or AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE names"
        }
        _ => "",
    };
    text + advice
}

fn refused(action: &str, advice: &str, why: &ErrorMetadata) -> String {
    let code = why.code().unwrap_or("no error code");
    let advice = if code == ACCESS_DENIED { format!("; {advice}") } else { String::new() };
    format!("{action} is refused{advice} ({code}: {})", why.message().unwrap_or("no message"))
}

/// What causes say, each thing once.
fn text_of<'a>(causes: impl Iterator<Item = &'a (dyn std::error::Error + 'static)>) -> String {
    let mut text = String::new();
    for cause in causes.map(ToString::to_string) {
        let cause = cause.split("Stderr:").next().unwrap_or_default();
        let cause = cause.split_whitespace().collect::<Vec<_>>().join(" ");
        if !text.contains(&cause) {
            let separator = if text.is_empty() { "" } else { ": " };
            text.push_str(separator);
            text.push_str(&cause);
        }
    }
    text
}
