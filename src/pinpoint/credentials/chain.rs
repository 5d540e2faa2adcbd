//! AWS's standard chain: environment, profile, web identity, container, instance metadata. Only the first configured source is
//! used. If it fails, no other source is tried.

use std::collections::BTreeSet;

use aws_config::{
    BehaviorVersion, Region,
    ecs::EcsCredentialsProvider,
    environment::EnvironmentVariableCredentialsProvider,
    imds::{self, credentials::ImdsCredentialsProvider},
    meta::credentials::CredentialsProviderChain,
    provider_config::ProviderConfig,
    sso::SsoCredentialsProvider,
};
use aws_credential_types::{
    Credentials,
    attributes::AccountId,
    provider::{ProvideCredentials, error::CredentialsError},
};
use aws_smithy_async::rt::sleep::TokioSleep;

use super::{
    process,
    provider_error::describe,
    provider_http::{ProviderHttp, Trace},
    sts::{Role, Sts},
};
use crate::{
    config::profile::{
        AwsEnvironment, CONTAINER_TOKEN_FILE, Profile, Profiles, Value, WebIdentity, escaped, read_file,
        reason, shown,
    },
    model::printable,
};

/// The maximum size of a web identity token.
const MAX_TOKEN_BYTES: usize = 256 * 1024;

/// The inputs of the standard chain.
#[derive(Debug, Clone)]
pub struct ProviderChain {
    /// The values of AWS's environment variables.
    pub environment: AwsEnvironment,
    /// The STS client that assumes roles.
    pub sts: Sts,
}

/// The source of a profile's first credentials, before any role is assumed.
enum FirstSource<'a> {
    Key(Credentials),
    /// The account applies if the program's output names none.
    Process(Value, Option<AccountId>),
    WebIdentity(WebIdentity),
    Sso(&'a Profile),
    Named(Value),
}

/// Resolves credentials once, from the files as they were at its start.
pub(in crate::pinpoint) struct ChainResolver<'a> {
    chain: &'a ProviderChain,
    trace: &'a Trace,
    profiles: Profiles,
}

impl ProviderChain {
    /// Reads AWS's files as they are now, and asks the configured source.
    pub(in crate::pinpoint) async fn find(&self, trace: &Trace) -> Result<Credentials, String> {
        if self.environment.has_key()? {
            return resolve_environment().await.map_err(|error| describe(&error, trace));
        }
        let profiles = self.environment.read().map_err(|errors| {
            let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
            errors.join("; ")
        })?;
        let resolver = ChainResolver { chain: self, trace, profiles };
        if let Some(credentials) = resolver.resolve_profile().await? {
            return Ok(credentials);
        }
        if let Some(identity) = self.environment.web_identity()? {
            return resolver.resolve_web_identity(&identity).await;
        }
        if self.environment.container_uri().is_some() {
            return resolver.resolve_container().await;
        }
        resolver.resolve_instance_metadata().await
    }
}

async fn resolve_environment() -> Result<Credentials, CredentialsError> {
    EnvironmentVariableCredentialsProvider::new().provide_credentials().await
}

impl ChainResolver<'_> {
    /// Returns `None` if the profile configures no credentials.
    async fn resolve_profile(&self) -> Result<Option<Credentials>, String> {
        let Some(first) = self.profiles.selected() else { return Ok(None) };
        let (base, roles) = self.steps(first)?;
        let Some(base) = base else { return Ok(None) };
        let mut credentials = match base {
            FirstSource::Key(key) => key,
            FirstSource::Process(command, account_id) => process::credentials(&command, account_id).await?,
            FirstSource::WebIdentity(identity) => self.resolve_web_identity(&identity).await?,
            FirstSource::Sso(profile) => self.resolve_sso(profile).await?,
            FirstSource::Named(source) => self.resolve_named_source(&source).await?,
        };
        for role in roles.iter().rev() {
            let assumed = self.chain.sts.assume_role(role, credentials, self.trace).await;
            credentials = assumed.map_err(|error| self.describe(&error))?;
        }
        Ok(Some(credentials))
    }

    /// The base of the profile, and the roles to assume from there. The last role comes first.
    fn steps<'a>(&'a self, first: &'a Profile) -> Result<(Option<FirstSource<'a>>, Vec<Role>), String> {
        let mut roles = Vec::new();
        let mut seen = BTreeSet::new();
        let mut profile = first;
        loop {
            if !seen.insert(&profile.name) {
                return Err(format!(
                    "{} is a source of itself; let the last source_profile name one with credentials",
                    named(profile)
                ));
            }
            // The keys of a source profile take precedence over its role.
            if !roles.is_empty()
                && let Some(key) = key(profile)?
            {
                return Ok((Some(FirstSource::Key(key)), roles));
            }
            let Some(role) = role(profile)? else { break };
            roles.push(role);
            profile = match (profile.get("source_profile"), profile.get("credential_source")) {
                (Some(source), None) if source.text == profile.name => break,
                (Some(source), None) => self.profiles.get(&source.text).ok_or_else(|| {
                    format!(
                        "source_profile ({}): the profile {} does not exist; correct the name",
                        source.position,
                        escaped(&source.text)
                    )
                })?,
                (None, Some(source)) => return Ok((Some(FirstSource::Named(source)), roles)),
                (Some(source), Some(_)) => {
                    return Err(format!(
                        "source_profile ({}) and credential_source cannot be combined; remove one",
                        source.position
                    ));
                }
                (None, None) => {
                    return Err(format!(
                        "{} has role_arn without its source; add source_profile or credential_source",
                        named(profile)
                    ));
                }
            };
        }
        let base = base(profile)?;
        if base.is_none() && !roles.is_empty() {
            return Err(format!("{} has no credentials to assume a role with; add them", named(profile)));
        }
        Ok((base, roles))
    }

    async fn resolve_named_source(&self, source: &Value) -> Result<Credentials, String> {
        match source.text.to_lowercase().as_str() {
            "environment" => resolve_environment().await.map_err(|error| self.describe(&error)),
            "ecscontainer" => self.resolve_container().await,
            "ec2instancemetadata" => self.resolve_instance_metadata().await,
            _ => Err(format!(
                "credential_source ({}): unknown source; write Environment, EcsContainer or Ec2InstanceMetadata",
                source.position
            )),
        }
    }

    async fn resolve_web_identity(&self, identity: &WebIdentity) -> Result<Credentials, String> {
        let WebIdentity { token_file, role_arn, session_name } = identity;
        let unusable = |why: String| {
            format!(
                "the token of web identity in {} cannot be read ({why}); check the file that AWS_WEB_IDENTITY_TOKEN_FILE or \
                 web_identity_token_file names",
                shown(token_file)
            )
        };
        let token = read_file(token_file, MAX_TOKEN_BYTES + 1).map_err(|error| unusable(reason(&error)))?;
        if token.len() > MAX_TOKEN_BYTES {
            return Err(unusable("it is larger than 256 KiB".to_owned()));
        }
        let token = String::from_utf8(token).map_err(|_| unusable("it is not UTF-8".to_owned()))?;
        let role = Role { arn: role_arn.clone(), session_name: session_name.clone(), ..Role::default() };
        let token = token.trim().to_owned();
        let assumed = self.chain.sts.assume_role_with_web_identity(&role, token, self.trace).await;
        assumed.map_err(|error| self.describe(&error))
    }

    async fn resolve_sso(&self, profile: &Profile) -> Result<Credentials, String> {
        let session = match profile.get("sso_session") {
            None => None,
            Some(name) => Some(self.profiles.sso_session(&name.text).ok_or_else(|| {
                format!(
                    "sso_session ({}): the section [sso-session {}] does not exist; add it",
                    name.position,
                    escaped(&name.text)
                )
            })?),
        };
        let lacks = |profile: &Profile, name: &str| format!("{} lacks {name}; add it", named(profile));
        let need = |profile: &Profile, name: &str| {
            profile.get(name).map(|value| value.text).ok_or_else(|| lacks(profile, name))
        };
        let of_session = session.unwrap_or(profile);
        let mut sso = SsoCredentialsProvider::builder()
            .account_id(need(profile, "sso_account_id")?)
            .role_name(need(profile, "sso_role_name")?)
            .start_url(need(of_session, "sso_start_url")?)
            .region(Region::new(need(of_session, "sso_region")?));
        sso.set_session_name(session.map(|session| session.name.clone()));
        let http = ProviderHttp::of_service(&self.chain.sts.http, self.trace);
        let found = sso.configure(&self.provider_config(http)).build().provide_credentials().await;
        found.map_err(|error| self.describe(&error))
    }

    async fn resolve_container(&self) -> Result<Credentials, String> {
        if let Some(name) = self.chain.environment.hides_container() {
            return Err(format!(
                "{name} is set, but empty, so the container cannot be asked for credentials; unset it"
            ));
        }
        if let Some(file) = self.chain.environment.container_token_file() {
            let unusable = |why: &str| {
                let file = shown(file);
                format!("{CONTAINER_TOKEN_FILE}={file}: the token cannot be read ({why}); check the file")
            };
            // `aws-config` reads a file without a size limit, and would block on a pipe.
            let token = read_file(file, MAX_TOKEN_BYTES + 1).map_err(|error| unusable(&reason(&error)))?;
            if token.len() > MAX_TOKEN_BYTES {
                return Err(unusable("it is larger than 256 KiB"));
            }
        }
        // `aws-config` shows a URI that it rejects, so the mask must know the secrets in it.
        let uri = self.chain.environment.container_uri().unwrap_or_default();
        for secret in printable::secrets_of_url(uri) {
            self.trace.secrets.learn(secret);
        }
        let container = EcsCredentialsProvider::builder().configure(&self.metadata_config()).build();
        container.provide_credentials().await.map_err(|error| self.describe(&error))
    }

    async fn resolve_instance_metadata(&self) -> Result<Credentials, String> {
        let config = self.metadata_config();
        let endpoint = self.chain.environment.metadata_endpoint(self.profiles.selected());
        let unusable = |why: &str| {
            let shown = escaped(&printable::url(&endpoint));
            format!(
                "AWS_EC2_METADATA_SERVICE_ENDPOINT={shown}: this is not a valid URL ({why}); correct or unset it"
            )
        };
        // An error of `aws-config` would show the address.
        if !endpoint.contains("://") {
            return Err(unusable("it lacks http://"));
        }
        let client = imds::Client::builder().configure(&config).endpoint(&endpoint);
        let client = client.map_err(|error| unusable(&error.to_string()))?;
        let instance =
            ImdsCredentialsProvider::builder().configure(&config).imds_client(client.build()).build();
        // The error of a chain explains what can be configured.
        let chain = CredentialsProviderChain::first_try("Ec2InstanceMetadata", instance);
        chain.provide_credentials().await.map_err(|error| self.describe(&error))
    }

    fn metadata_config(&self) -> ProviderConfig {
        self.provider_config(ProviderHttp::of_metadata(&self.chain.sts.http, self.trace))
    }

    fn provider_config(&self, http: ProviderHttp) -> ProviderConfig {
        let Sts { region, use_fips, use_dualstack, .. } = &self.chain.sts;
        ProviderConfig::without_region()
            .with_region(Some(Region::new(region.clone())))
            .with_use_fips(Some(*use_fips))
            .with_use_dual_stack(Some(*use_dualstack))
            .with_behavior_version(Some(BehaviorVersion::v2026_01_12()))
            .with_sleep_impl(TokioSleep::new())
            .with_http_client(http)
    }

    fn describe(&self, error: &CredentialsError) -> String {
        describe(error, self.trace)
    }
}

fn named(profile: &Profile) -> String {
    format!("the AWS profile {} ({})", profile.shown_name(), profile.position)
}

/// The role of a profile that uses the credentials of another source.
fn role(profile: &Profile) -> Result<Option<Role>, String> {
    let text = |name: &str| profile.get(name).map(|value| value.text);
    let Some(arn) = text("role_arn").filter(|_| text("web_identity_token_file").is_none()) else {
        return Ok(None);
    };
    if let Some(serial) = profile.get("mfa_serial") {
        return Err(format!(
            "mfa_serial ({}) asks for a code that nobody can enter here; use a role without it",
            serial.position
        ));
    }
    Ok(Some(Role {
        arn,
        session_name: text("role_session_name"),
        external_id: text("external_id"),
        // botocore also ignores a value that is not a number.
        duration: text("duration_seconds").and_then(|seconds| seconds.parse().ok()),
    }))
}

/// The credentials of a profile without a role, in botocore's order.
fn base(profile: &Profile) -> Result<Option<FirstSource<'_>>, String> {
    let text = |name: &str| profile.get(name).map(|value| value.text);
    if let Some(token_file) = text("web_identity_token_file") {
        let Some(role_arn) = text("role_arn") else {
            return Err(format!("{} has web_identity_token_file without role_arn; add it", named(profile)));
        };
        let session_name = text("role_session_name");
        return Ok(Some(FirstSource::WebIdentity(WebIdentity {
            token_file: token_file.into(),
            role_arn,
            session_name,
        })));
    }
    if text("sso_session").or_else(|| text("sso_start_url")).is_some() {
        return Ok(Some(FirstSource::Sso(profile)));
    }
    let is_of_credentials_file = profile.get("aws_access_key_id").is_some_and(|id| id.is_of_credentials_file);
    if !is_of_credentials_file && let Some(command) = profile.verbatim("credential_process") {
        return Ok(Some(FirstSource::Process(command, text("aws_account_id").map(AccountId::from))));
    }
    if let Some(key) = key(profile)? {
        return Ok(Some(FirstSource::Key(key)));
    }
    match profile.get("login_session") {
        Some(session) => Err(format!(
            "login_session ({}) is not supported; use sso_session, credential_process or a role",
            session.position
        )),
        None => Ok(None),
    }
}

fn key(profile: &Profile) -> Result<Option<Credentials>, String> {
    let text = |name: &str| profile.get(name).map(|value| value.text);
    let (id, secret) = match (text("aws_access_key_id"), text("aws_secret_access_key")) {
        (None, None) => return Ok(None),
        (Some(id), Some(secret)) => (id, secret),
        (Some(_), None) => return Err(format!("{} lacks aws_secret_access_key; add it", named(profile))),
        (None, Some(_)) => return Err(format!("{} lacks aws_access_key_id; add it", named(profile))),
    };
    let mut credentials =
        Credentials::builder().access_key_id(id).secret_access_key(secret).provider_name("profile");
    credentials.set_session_token(text("aws_session_token"));
    credentials.set_account_id(text("aws_account_id").map(AccountId::from));
    Ok(Some(credentials.build()))
}
