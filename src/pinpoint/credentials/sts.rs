//! The client of AWS's Security Token Service: assumes roles and returns the caller identity. No other module uses the STS
//! crate, so every request goes to the configured endpoint.

use std::time::SystemTime;

use aws_credential_types::{
    Credentials,
    attributes::AccountId,
    provider::{self, error::CredentialsError},
};
use aws_sdk_sts::{
    Client,
    config::{BehaviorVersion, Config, Region, retry::RetryConfig},
    types,
};
use aws_smithy_async::rt::sleep::TokioSleep;
use url::Url;

use super::{
    provider_error::{Reason, describe_identity},
    provider_http::{ProviderHttp, Trace},
};
use crate::pinpoint::send::Http;

/// The session name of the exporter in AWS's audit log.
const SESSION_NAME: &str = "pinpoint-exporter";

#[derive(Debug, Clone)]
pub struct Sts {
    pub http: Http,
    pub region: String,
    /// A custom endpoint instead of AWS's own.
    pub endpoint: Option<Url>,
    /// Whether to use AWS's FIPS endpoint.
    pub use_fips: bool,
    /// Whether to use AWS's dual-stack endpoint.
    pub use_dualstack: bool,
}

#[derive(Debug, Clone, Default)]
pub(in crate::pinpoint) struct Role {
    pub(in crate::pinpoint) arn: String,
    /// The session name. `None` means [`SESSION_NAME`].
    pub(in crate::pinpoint) session_name: Option<String>,
    pub(in crate::pinpoint) external_id: Option<String>,
    /// How long the credentials are valid, in seconds.
    pub(in crate::pinpoint) duration: Option<i32>,
}

impl Role {
    fn session_name(&self) -> &str {
        self.session_name.as_deref().unwrap_or(SESSION_NAME)
    }
}

/// The caller identity that `sts:GetCallerIdentity` returns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub account_id: String,
    /// The ARN of the user or of the role session.
    pub arn: String,
}

impl Sts {
    /// Assumes a role with the credentials of `base`.
    pub(in crate::pinpoint) async fn assume_role(
        &self,
        role: &Role,
        base: Credentials,
        trace: &Trace,
    ) -> provider::Result {
        let asked = self
            .client(Some(base), trace)
            .assume_role()
            .role_arn(&role.arn)
            .role_session_name(role.session_name())
            .set_external_id(role.external_id.clone())
            .set_duration_seconds(role.duration);
        let answer = asked.send().await.map_err(CredentialsError::provider_error)?;
        credentials(answer.credentials, answer.assumed_role_user.as_ref())
    }

    /// Assumes a role with a web identity token. This needs no credentials.
    pub(in crate::pinpoint) async fn assume_role_with_web_identity(
        &self,
        role: &Role,
        token: String,
        trace: &Trace,
    ) -> provider::Result {
        let asked = self
            .client(None, trace)
            .assume_role_with_web_identity()
            .role_arn(&role.arn)
            .role_session_name(role.session_name())
            .set_duration_seconds(role.duration)
            .web_identity_token(token);
        let answer = asked.send().await.map_err(CredentialsError::provider_error)?;
        credentials(answer.credentials, answer.assumed_role_user.as_ref())
    }

    /// Returns the caller identity. This needs no permission.
    pub(in crate::pinpoint) async fn caller_identity(
        &self,
        credentials: &Credentials,
        trace: &Trace,
    ) -> Result<Identity, String> {
        let answer = self.client(Some(credentials.clone()), trace).get_caller_identity().send().await;
        let answer = answer.map_err(|error| describe_identity(&error, trace))?;
        let (Some(account_id), Some(arn)) = (answer.account, answer.arn) else {
            return Err("the answer of sts:GetCallerIdentity names no account".to_owned());
        };
        Ok(Identity { account_id, arn })
    }

    fn client(&self, credentials: Option<Credentials>, trace: &Trace) -> Client {
        if let Some(credentials) = &credentials {
            trace.secrets.learn_credentials(credentials);
        }
        let mut config = Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .http_client(ProviderHttp::of_service(&self.http, trace))
            .sleep_impl(TokioSleep::new())
            .retry_config(RetryConfig::standard())
            .region(Region::new(self.region.clone()))
            .use_fips(self.use_fips)
            .use_dual_stack(self.use_dualstack);
        config.set_endpoint_url(self.endpoint.as_ref().map(ToString::to_string));
        config.set_credentials_provider(
            credentials.map(aws_credential_types::provider::SharedCredentialsProvider::new),
        );
        Client::from_conf(config.build())
    }
}

/// The credentials in a response, with the account of the role.
fn credentials(found: Option<types::Credentials>, user: Option<&types::AssumedRoleUser>) -> provider::Result {
    let unusable = |why: &str| CredentialsError::provider_error(Reason(format!("the answer of STS {why}")));
    let found = found.ok_or_else(|| unusable("holds no credentials"))?;
    let expiry = SystemTime::try_from(found.expiration)
        .map_err(|_| unusable("has an expiration date that is not valid"))?;
    let account = user.and_then(|user| user.arn.split(':').nth(4)).filter(|account| !account.is_empty());
    let mut credentials = Credentials::builder()
        .access_key_id(found.access_key_id)
        .secret_access_key(found.secret_access_key)
        .session_token(found.session_token)
        .expiry(expiry)
        .provider_name("STS");
    credentials.set_account_id(account.map(AccountId::from));
    Ok(credentials.build())
}
