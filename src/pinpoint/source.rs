//! Where credentials come from: AWS's standard chain, roles assumed through STS, and whose they are. Each look asks the source
//! anew; the cache is [`super::credentials`].

use std::sync::Arc;

use aws_config::{
    BehaviorVersion, ConfigLoader, Region, default_provider::credentials::DefaultCredentialsChain,
    provider_config::ProviderConfig, sts::AssumeRoleProvider,
};
use aws_credential_types::{
    Credentials,
    provider::{self, ProvideCredentials as _},
};

use super::{
    credentials::{CredentialsCache, Source, are_same},
    provider_error::{describe, describe_identity, refusal_code},
    provider_http::{ProviderHttp, Trace},
    secrets::Secrets,
    send::Http,
};

/// How the exporter's sessions are named in AWS's audit log.
const SESSION_NAME: &str = "pinpoint-exporter";

/// What STS says when it does not take the credentials of the caller.
const OF_THE_CALLER: [&str; 4] =
    ["ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "SignatureDoesNotMatch"];

/// The standard provider chain of AWS: environment, profile, web identity, container, instance metadata. With a profile,
/// SSO and `credential_process` among its ways.
pub fn default_chain(http: Http, region: String) -> Arc<Source> {
    Source::new(move |look| {
        let (http, region) = (traced(&http, &look.trace), Region::new(region.clone()));
        Box::pin(async move {
            let config = ProviderConfig::without_region()
                .with_region(Some(region.clone()))
                .with_behavior_version(Some(BehaviorVersion::v2026_01_12()))
                .with_sleep_impl(aws_smithy_async::rt::sleep::TokioSleep::new())
                .with_http_client(http);
            let chain = DefaultCredentialsChain::builder().region(region).configure(config).build().await;
            chain.provide_credentials().await.map_err(|error| describe(&error, &look.trace))
        })
    })
}

/// The credentials of `base`, for an account that has no role.
pub fn shared(base: Arc<CredentialsCache>) -> Arc<Source> {
    Source::nested(move |look| {
        let base = Arc::clone(&base);
        Box::pin(async move {
            let issued = base.get().await.map_err(|failure| failure.message)?;
            if look.refused.is_some_and(|refused| are_same(&refused, &issued.credentials))
                && base.replaced(&issued).await
            {
                return base.get().await.map(|issued| issued.credentials).map_err(|failure| failure.message);
            }
            Ok(issued.credentials)
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
) -> Arc<Source> {
    let role = Arc::new(Role { http, region, arn: role_arn, external_id });
    Source::nested(move |look| {
        let (role, base) = (Arc::clone(&role), Arc::clone(&base));
        Box::pin(async move {
            let mut issued = base.get().await.map_err(|failure| failure.message)?;
            let mut assumed = role.assume(issued.credentials.clone(), &look.trace).await;
            let code = assumed.as_ref().err().and_then(refusal_code);
            if code.is_some_and(|code| OF_THE_CALLER.contains(&code)) && base.replaced(&issued).await {
                issued = base.get().await.map_err(|failure| failure.message)?;
                assumed = role.assume(issued.credentials.clone(), &look.trace).await;
            }
            assumed.map_err(|error| Secrets::of(&issued.credentials).mask(describe(&error, &look.trace)))
        })
    })
}

/// A role to assume.
struct Role {
    http: Http,
    region: String,
    arn: String,
    external_id: Option<String>,
}

impl Role {
    async fn assume(&self, base: Credentials, trace: &Trace) -> provider::Result {
        let region = Region::new(self.region.clone());
        let config =
            sdk_config(traced(&self.http, trace), region.clone()).credentials_provider(base).load().await;
        let mut role = AssumeRoleProvider::builder(&self.arn).session_name(SESSION_NAME).region(region);
        if let Some(id) = &self.external_id {
            role = role.external_id(id);
        }
        role.configure(&config).build().await.provide_credentials().await
    }
}

fn traced(http: &Http, trace: &Trace) -> ProviderHttp {
    ProviderHttp { http: http.clone(), trace: trace.clone() }
}

/// What AWS's own clients need: here only STS's is used.
fn sdk_config(http: ProviderHttp, region: Region) -> ConfigLoader {
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
    http: &Http,
    region: String,
    credentials: &Credentials,
    trace: &Trace,
) -> Result<Identity, String> {
    let config =
        sdk_config(traced(http, trace), Region::new(region)).credentials_provider(credentials.clone());
    let config = config.load().await;
    let answer = aws_sdk_sts::Client::new(&config).get_caller_identity().send().await;
    let answer = answer.map_err(|error| Secrets::of(credentials).mask(describe_identity(&error, trace)))?;
    let (Some(account_id), Some(arn)) = (answer.account, answer.arn) else {
        return Err("the answer of sts:GetCallerIdentity names no account".to_owned());
    };
    Ok(Identity { account_id, arn })
}
