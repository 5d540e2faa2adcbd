//! Where credentials come from: AWS's standard chain, roles assumed through STS, and whose they are. Each look asks the source
//! anew; the cache is another room. What goes wrong is put in words here.

use std::sync::Arc;

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

use super::{credentials::CredentialsCache, error::Failure, secrets::Secrets, send::Http};

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

/// Whose credentials are, as `sts:GetCallerIdentity` tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The account.
    pub account_id: String,
    /// The user, or the session of a role.
    pub arn: String,
}

/// Asks STS whose the credentials are, which needs no permission.
pub(super) async fn caller_identity(
    http: Http,
    region: String,
    credentials: &Credentials,
) -> Result<Identity, String> {
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
pub(super) fn describe(error: &CredentialsError) -> String {
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
        // Without the words that all of them begin with.
        let attempt = |attempt: &ProviderAttempt<CredentialsError>| {
            let why = text_of(causes(attempt.error()).skip(1));
            (!why.is_empty()).then(|| format!("{}: {why}", attempt.name()))
        };
        let attempts: Vec<_> = chain.attempts().iter().filter_map(attempt).collect();
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
