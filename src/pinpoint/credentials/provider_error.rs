//! Explains why there are no credentials. The errors of AWS's providers name no URL and print their causes in debug form, so
//! their text is not used as it is.

use std::{env::VarError, error::Error as StdError};

use aws_config::meta::ProviderChainError;
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_sts::operation::{
    assume_role::AssumeRoleError, assume_role_with_web_identity::AssumeRoleWithWebIdentityError,
    get_caller_identity::GetCallerIdentityError,
};
use aws_smithy_types::error::ErrorMetadata;

use super::provider_http::{Exchange, Outcome, Trace};
use crate::pinpoint::secrets::Secrets;

/// The error code of STS if a policy denies the request.
const ACCESS_DENIED: &str = "AccessDenied";

/// The end of the path of the SSO request for the credentials of a role.
const SSO_PATH: &str = "/federation/credentials";

/// A reason in the exporter's own words.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(in crate::pinpoint) struct Reason(pub(in crate::pinpoint) String);

/// The texts of AWS's error types that only wrap another error.
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

/// The error in one line, the cause before the cure. Secrets that the look knows are masked.
pub(in crate::pinpoint) fn describe(error: &CredentialsError, trace: &Trace) -> String {
    trace.secrets.show(&explain(error, trace))
}

fn explain(error: &CredentialsError, trace: &Trace) -> String {
    if let Some(Reason(why)) = cause(error) {
        return why.clone();
    }
    // The advice comes first because the rest can be long.
    if let Some(refusal) = refusal(error) {
        let advice = "check the policy of the caller, the trust policy of the role, and \
                      PINPOINT_EXPORTER_ROLE_EXTERNAL_ID";
        return refused("sts:AssumeRole", advice, refusal.meta(), &trace.secrets);
    }
    if let Some(refusal) = cause::<AssumeRoleWithWebIdentityError>(error)
        && refusal.meta().code().is_some()
    {
        let advice = "check AWS_ROLE_ARN and the trust policy of the role";
        return refused("sts:AssumeRoleWithWebIdentity", advice, refusal.meta(), &trace.secrets);
    }
    if let Some(chain) = cause::<ProviderChainError<CredentialsError>>(error) {
        return nothing_found(chain, trace);
    }
    without_credentials(error, trace)
}

/// Explains why STS did not return the caller identity.
pub(in crate::pinpoint) fn describe_identity(error: &(dyn StdError + 'static), trace: &Trace) -> String {
    let why = match cause::<GetCallerIdentityError>(error) {
        Some(refusal) if refusal.meta().code().is_some() => refused(
            "sts:GetCallerIdentity, which tells whose the credentials are,",
            "",
            refusal.meta(),
            &trace.secrets,
        ),
        _ => format!("the account of the credentials is unknown: {}", without_credentials(error, trace)),
    };
    trace.secrets.show(&why)
}

/// The error code if STS refused to assume a role.
pub(in crate::pinpoint) fn refusal_code(error: &CredentialsError) -> Option<&str> {
    refusal(error)?.meta().code()
}

fn refusal(error: &CredentialsError) -> Option<&AssumeRoleError> {
    cause::<AssumeRoleError>(error).filter(|refusal| refusal.meta().code().is_some())
}

fn refused(action: &str, advice: &str, why: &ErrorMetadata, secrets: &Secrets) -> String {
    let code = why.code().unwrap_or("no error code");
    let message = why.message().map_or_else(|| "no message".to_owned(), |message| secrets.show(message));
    let advice =
        if code == ACCESS_DENIED && !advice.is_empty() { format!("; {advice}") } else { String::new() };
    format!("{action} is refused{advice} ({}: {message})", secrets.show(code))
}

/// Explains that no source is configured and that the instance metadata, which need no configuration, hold no credentials.
fn nothing_found(chain: &ProviderChainError<CredentialsError>, trace: &Trace) -> String {
    let why = || {
        let text = text_of(chain.attempts().last()?.error());
        (!text.starts_with("IMDS disabled by")).then_some(text)
    };
    let why = exchange_failure(trace).or_else(why);
    let why = why.map(|why| format!(" (instance metadata: {why})")).unwrap_or_default();
    format!(
        "no credentials were found{why}; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or give the \
         workload a role"
    )
}

/// Explains how the last request failed.
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
        return "a variable of AWS's is not UTF-8 (and not shown); set it again".to_owned();
    }
    let text = trace.secrets.show(&text_of(error));
    if let Some(Exchange { request, outcome: Outcome::Answered }) = trace.last() {
        return format!("the answer to {request} cannot be used: {text}");
    }
    let advice = if text.contains("SSO token") { "; run aws sso login" } else { "" };
    text + advice
}

/// Joins the texts of all causes, without repetitions, wrappers and debug forms.
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

/// Cuts a text before the debug form of a struct.
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
