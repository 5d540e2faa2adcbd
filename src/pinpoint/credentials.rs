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
    BehaviorVersion, ConfigLoader, Region, default_provider::credentials::DefaultCredentialsChain,
    provider_config::ProviderConfig, sts::AssumeRoleProvider,
};
use aws_credential_types::{
    Credentials,
    provider::{ProvideCredentials, SharedCredentialsProvider, error::CredentialsError},
};
use aws_sdk_sts::operation::assume_role::AssumeRoleError;
use aws_smithy_types::error::display::DisplayErrorContext;
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
/// Credentials without a date of expiry are read again after this time, since a file may have changed.
const UNDATED_LIFE: Duration = Duration::from_mins(15);
/// How long a source may take.
const LOOK_TIMEOUT: Duration = Duration::from_secs(15);
/// A source that failed, or gave credentials about to expire, is not asked again before this time has passed, or
/// `CACHE_TTL` where that is shorter.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// How the exporter's sessions are named in AWS's audit log.
const SESSION_NAME: &str = "pinpoint-exporter";

/// Makes a provider of credentials. It is called again after a failure, since some providers do not get over one.
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

/// A role in another account, assumed through STS with the credentials of the standard chain.
pub fn assumed_role(
    http: Http,
    region: String,
    role_arn: String,
    external_id: Option<String>,
) -> Arc<MakeProvider> {
    Arc::new(move || {
        let (http, region) = (http.clone(), Region::new(region.clone()));
        let mut role =
            AssumeRoleProvider::builder(&role_arn).session_name(SESSION_NAME).region(region.clone());
        if let Some(id) = &external_id {
            role = role.external_id(id);
        }
        Box::pin(async move {
            let config = sdk_config(http, region).load().await;
            SharedCredentialsProvider::new(role.configure(&config).build().await)
        })
    })
}

/// What AWS's own clients need: here only STS's is used.
fn sdk_config(http: Http, region: Region) -> ConfigLoader {
    aws_config::defaults(BehaviorVersion::v2026_01_12()).http_client(http).region(region)
}

/// The credentials of one account, shared by every request in its name.
pub struct CredentialsCache {
    make_provider: Arc<MakeProvider>,
    clock: Arc<dyn Clock>,
    /// How long a failed look is not repeated.
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
    provider: Option<SharedCredentialsProvider>,
    current: Option<Current>,
    /// Grows with every set of credentials.
    generation: u64,
    last_look: Option<Look>,
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
            pause: cache_ttl.min(LONGEST_PAUSE),
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

    /// Credentials that have not expired.
    pub(super) async fn get(&self) -> Result<Issued, Failure> {
        let mut state = self.state.lock().await;
        let now = self.clock.now();
        let fresh = state.current.as_ref().is_some_and(|current| now < current.renew_at());
        let pausing =
            state.last_look.as_ref().is_some_and(|look| self.clock.elapsed() < look.at + self.pause);
        if !fresh && !pausing {
            self.look(&mut state, now).await;
        }
        let generation = state.generation;
        let usable = state.current.as_ref().filter(|current| current.is_valid(now));
        match (usable, &state.last_look) {
            (Some(current), _) => Ok(Issued { credentials: current.credentials.clone(), generation }),
            (None, Some(Look { failure: Some(failure), .. })) => {
                Err(Failure::new(Exception::CredentialsError, failure))
            }
            (None, _) => Err(Failure::new(Exception::CredentialsError, "the credentials found have expired")),
        }
    }

    /// AWS called these credentials expired: the next request gets others, unless there are others already.
    pub(super) async fn invalidate(&self, issued: &Issued) {
        let mut state = self.state.lock().await;
        if state.generation == issued.generation {
            state.current = None;
            state.last_look = None;
        }
    }

    async fn look(&self, state: &mut State, now: SystemTime) {
        let found = tokio::time::timeout(LOOK_TIMEOUT, async {
            let provider = match &state.provider {
                Some(provider) => provider.clone(),
                None => state.provider.insert((self.make_provider)().await).clone(),
            };
            let credentials = provider.provide_credentials().await.map_err(|error| describe(&error))?;
            match &self.owner {
                Some(owner) => owner.check(&credentials).await.map(|()| credentials),
                None => Ok(credentials),
            }
        })
        .await;
        let found = found
            .unwrap_or_else(|_| Err(format!("no source of credentials answered within {LOOK_TIMEOUT:?}")));
        let failure = match found {
            Ok(credentials) => {
                state.generation += 1;
                let expiry =
                    credentials.expiry().map_or(i64::MIN, |at| Timestamp::from(OffsetDateTime::from(at)).0);
                self.expiry.store(expiry, Ordering::Relaxed);
                state.current = Some(Current { credentials, read_at: now });
                None
            }
            Err(failure) => {
                state.provider = None;
                Some(failure)
            }
        };
        state.last_look = Some(Look { at: self.clock.elapsed(), failure });
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

    fn is_valid(&self, now: SystemTime) -> bool {
        self.credentials.expiry().is_none_or(|expiry| now < expiry)
    }
}

/// What went wrong, from the outermost cause to the innermost, in one line, and where to look. What a `credential_process`
/// wrote is left out: it may be what it should have kept to itself.
fn describe(error: &CredentialsError) -> String {
    let causes = || std::iter::successors(Some(error as &dyn std::error::Error), |cause| cause.source());
    if let Some(refusal) = causes().find_map(|cause| cause.downcast_ref::<AssumeRoleError>()) {
        let code = refusal.meta().code().unwrap_or("no error code");
        let message = refusal.meta().message().unwrap_or("no message");
        // First, for the message may be long.
        let advice = match code {
            "AccessDenied" => {
                "; check the policy of the caller, the trust policy of the role, and PINPOINT_EXPORTER_ROLE_EXTERNAL_ID"
            }
            _ => "",
        };
        return format!("sts:AssumeRole is refused{advice} ({code}: {message})");
    }
    let mut text = String::new();
    for cause in causes().map(ToString::to_string) {
        let cause = cause.split("Stderr:").next().unwrap_or_default();
        let cause = cause.split_whitespace().collect::<Vec<_>>().join(" ");
        if !text.contains(&cause) {
            let separator = if text.is_empty() { "" } else { ": " };
            text.push_str(separator);
            text.push_str(&cause);
        }
    }
    if matches!(error, CredentialsError::CredentialsNotLoaded(_)) {
        // First, for the rest may be long.
        const ADVICE: &str =
            "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or give the workload a role";
        return format!("no credentials were found; {ADVICE} ({text})");
    }
    text
}
