//! Why there are no credentials, in words: from the errors of AWS's providers, whose own text names no URL and shows the debug
//! form of its causes.

use std::{env::VarError, error::Error as StdError};

use aws_config::meta::{ProviderAttempt, ProviderChainError};
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_sts::operation::{
    assume_role::AssumeRoleError, assume_role_with_web_identity::AssumeRoleWithWebIdentityError,
    get_caller_identity::GetCallerIdentityError,
};
use aws_smithy_types::error::ErrorMetadata;

use super::provider_http::{Exchange, Outcome, Trace};

/// What STS says when a policy forbids it.
const ACCESS_DENIED: &str = "AccessDenied";

/// The last part of the URL by which SSO gives the credentials of a role.
const SSO_PATH: &str = "/federation/credentials";

/// What AWS's types say about an error that they only wrap.
const WRAPPERS: [&str; 16] = [
    "service error",
    "dispatch failure",
    "response error",
    "request has timed out",
    "failed to construct request",
    "timeout",
    "io error",
    "user error",
    "other",
    "the credential provider was not enabled",
    "the credentials provider was not properly configured",
    "an error occurred while loading credentials",
    "unexpected credentials error",
    "an error occurred while loading an access token",
    "unexpected access token providererror",
    "unhandled error",
];

/// What a provider says when nothing asks for it.
const NOT_CONFIGURED: [&str; 8] = [
    "the credential provider was not enabled",
    "environment variable not set",
    "No profiles were defined",
    "did not contain credential information",
    "AWS_WEB_IDENTITY_TOKEN_FILE was not set",
    "AWS_ROLE_ARN environment variable must be set",
    "ECS provider not configured",
    "IMDS disabled by",
];

/// What went wrong, in one line: first the cause, then the cure. What a `credential_process` wrote is left out: it may be
/// secret.
pub(super) fn describe(error: &CredentialsError, trace: &Trace) -> String {
    // The advice comes first, for the rest may be long.
    if let Some(refusal) = refusal(error) {
        let advice = "check the policy of the caller, the trust policy of the role, and \
                      PINPOINT_EXPORTER_ROLE_EXTERNAL_ID";
        return refused("sts:AssumeRole", advice, refusal.meta());
    }
    if let Some(refusal) = cause::<AssumeRoleWithWebIdentityError>(error)
        && refusal.meta().code().is_some()
    {
        let advice = "check AWS_ROLE_ARN and the trust policy of the role";
        return refused("sts:AssumeRoleWithWebIdentity", advice, refusal.meta());
    }
    if let Some(chain) = cause::<ProviderChainError<CredentialsError>>(error) {
        return nothing_found(chain, trace);
    }
    without_credentials(error, trace)
}

/// Why STS does not say whose credentials are.
pub(super) fn describe_identity(error: &(dyn StdError + 'static), trace: &Trace) -> String {
    match cause::<GetCallerIdentityError>(error) {
        Some(refusal) if refusal.meta().code().is_some() => {
            refused("sts:GetCallerIdentity, which tells whose the credentials are,", "", refusal.meta())
        }
        _ => format!("the account of the credentials is unknown: {}", without_credentials(error, trace)),
    }
}

/// The code by which STS refuses to assume a role, if that is why there are no credentials.
pub(super) fn refusal_code(error: &CredentialsError) -> Option<&str> {
    refusal(error)?.meta().code()
}

fn refusal(error: &CredentialsError) -> Option<&AssumeRoleError> {
    cause::<AssumeRoleError>(error).filter(|refusal| refusal.meta().code().is_some())
}

fn refused(action: &str, advice: &str, why: &ErrorMetadata) -> String {
    let code = why.code().unwrap_or("no error code");
    let advice =
        if code == ACCESS_DENIED && !advice.is_empty() { format!("; {advice}") } else { String::new() };
    format!("{action} is refused{advice} ({code}: {})", why.message().unwrap_or("no message"))
}

/// Every provider of the chain has nothing. What was tried comes first.
fn nothing_found(chain: &ProviderChainError<CredentialsError>, trace: &Trace) -> String {
    let attempt = |attempt: &ProviderAttempt<CredentialsError>| {
        let text = text_of(attempt.error());
        let is_configured = !text.is_empty() && !NOT_CONFIGURED.iter().any(|not| text.contains(not));
        is_configured.then(|| format!("{}: {text}", source_name(attempt.name())))
    };
    let mut tried: Vec<_> = chain.attempts().iter().filter_map(attempt).collect();
    if let Some(failed) = exchange_failure(trace) {
        // Instance metadata are the last in the chain, and the only ones that are asked without being configured.
        let last = chain.attempts().last().map_or("", |attempt| source_name(attempt.name()));
        tried.retain(|text| !text.starts_with(last));
        tried.push(format!("{last}: {failed}"));
    }
    let tried = if tried.is_empty() { String::new() } else { format!(" ({})", tried.join("; ")) };
    format!(
        "no credentials were found{tried}; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or give the \
         workload a role"
    )
}

/// What the operator calls a provider of the chain.
fn source_name(provider: &str) -> &str {
    match provider {
        "Environment" => "environment",
        "Profile" => "profile",
        "WebIdentityToken" => "web identity",
        "EcsContainer" => "container",
        "Ec2InstanceMetadata" => "instance metadata",
        other => other,
    }
}

/// How the last request failed.
fn exchange_failure(trace: &Trace) -> Option<String> {
    let Exchange { request, outcome } = trace.last()?;
    match outcome {
        Outcome::Failed(why) => Some(format!("{request} failed: {why}")),
        Outcome::Refused { status, message } => {
            let message = message.map(|message| format!(": {message}")).unwrap_or_default();
            let advice =
                if request.ends_with(SSO_PATH) && status == 401 { "; run aws sso login" } else { "" };
            Some(format!("{request} was answered with status {status}{message}{advice}"))
        }
        Outcome::Pending | Outcome::Answered => None,
    }
}

fn without_credentials(error: &(dyn StdError + 'static), trace: &Trace) -> String {
    if let Some(failed) = exchange_failure(trace) {
        return failed;
    }
    if cause::<VarError>(error).is_some() {
        return "a variable of AWS's is not UTF-8 (and not shown); write it anew".to_owned();
    }
    let text = text_of(error);
    if let Some(Exchange { request, outcome: Outcome::Answered }) = trace.last() {
        return format!("the answer to {request} cannot be used: {text}");
    }
    let is_of_a_file = causes(error).nth(1).is_some_and(<dyn StdError>::is::<std::io::Error>);
    let advice = match &text {
        text if text.contains("SSO token") => "; run aws sso login",
        _ if is_of_a_file => {
            "; check the file that AWS_WEB_IDENTITY_TOKEN_FILE or AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE names"
        }
        _ => "",
    };
    text + advice
}

/// What the causes say, each thing once, without wrappers and without debug forms.
fn text_of(error: &(dyn StdError + 'static)) -> String {
    let mut text = String::new();
    let mut first = None;
    for cause in causes(error).map(ToString::to_string) {
        let cause = cause.split("Stderr:").next().unwrap_or_default();
        let cause = without_structure(cause).split_whitespace().collect::<Vec<_>>().join(" ");
        if WRAPPERS.contains(&cause.as_str()) {
            first.get_or_insert(cause);
        } else if !text.contains(&cause) {
            let separator = if text.is_empty() { "" } else { ": " };
            text.push_str(separator);
            text.push_str(&cause);
        }
    }
    if text.is_empty() { first.unwrap_or_default() } else { text }
}

/// A text up to the debug form of a structure, which is for programmers.
fn without_structure(text: &str) -> &str {
    match text.split_once(" { ") {
        None => text,
        Some((before, _)) => {
            before.rsplit_once(' ').map_or("", |(before, _name)| before.trim_end_matches(" got"))
        }
    }
}

fn cause<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    causes(error).find_map(|cause| cause.downcast_ref())
}

fn causes<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&cause| cause.source())
}
