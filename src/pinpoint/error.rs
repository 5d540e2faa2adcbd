//! What can go wrong with a call, and the one table of it: the label it is counted under, and whether it is worth another
//! attempt.

use std::{borrow::Cow, time::Duration};

use super::{
    json,
    operation::Operation,
    secrets::{Foreign, Secrets, one_line},
};
use crate::model::{exception::Exception, overview::CallError};

/// Whether another attempt is worth while, as the [AWS SDKs] decide: by the name of the exception first.
///
/// [AWS SDKs]: https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// The API wants fewer requests: retried, after a longer wait.
    Throttled,
    /// The API, or the way to it, was out of order: retried.
    Transient,
    /// The request was signed with a wrong date, which is known by now: retried.
    ClockSkew,
    /// The credentials expired before they were expected to: retried once with new ones.
    ExpiredCredentials,
    /// Another attempt would end the same way.
    Final,
}

/// Names that mean throttling in the SDKs' standard retry mode.
const THROTTLING: [&str; 14] = [
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "RequestThrottledException",
    "TooManyRequestsException",
    "ProvisionedThroughputExceededException",
    "TransactionInProgressException",
    "RequestLimitExceeded",
    "BandwidthLimitExceeded",
    "LimitExceededException",
    "RequestThrottled",
    "SlowDown",
    "PriorRequestNotComplete",
    "EC2ThrottledException",
];

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.text())]
pub struct Error {
    /// The operation that was called.
    pub operation: Operation,
    /// The resource it was called on, in words.
    pub resource: String,
    /// What went wrong.
    #[source]
    pub failure: AttemptError,
}

impl Error {
    fn text(&self) -> String {
        let Self { operation, resource, failure } = self;
        let advice = failure
            .exception
            .advice()
            .filter(|_| !failure.is_foreign)
            .map(|advice| format!("; {advice}"))
            .unwrap_or_default();
        format!("{} of {resource} failed with {}{advice}", operation.name(), failure.exception.name())
    }
}

/// Why an attempt failed.
#[derive(Debug, thiserror::Error)]
#[error("{message}{}", self.where_from())]
pub struct AttemptError {
    /// The label it is counted under.
    pub exception: Exception,
    /// Whether it is worth another attempt.
    pub class: Class,
    /// AWS's or the cause's words: one line, cut short, without anything secret.
    pub message: String,
    /// The HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// `x-amzn-RequestId`, by which AWS's support finds a request.
    pub request_id: Option<String>,
    /// The wait that the answer asks for.
    pub retry_after: RetryAfter,
    /// Amazon Pinpoint did not answer: the connection failed, or something else answered. The message names the URL and says
    /// what to do.
    pub is_foreign: bool,
}

/// The waits an answer may ask for before the next attempt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RetryAfter {
    /// `x-amz-retry-after`, in milliseconds: AWS's own header, which the SDKs follow within 5 s of their own wait.
    pub amz: Option<Duration>,
    /// `Retry-After` of [RFC 9110](https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3).
    pub http: Option<Duration>,
}

json::object! {
    /// The body of an error.
    ErrorBody {
        code: "code",
        error_type: "__type",
        message: "message",
        capital_message: "Message",
    }
}

impl AttemptError {
    /// A failure without an answer.
    pub(super) fn new(exception: Exception, message: impl Into<String>) -> Self {
        let class = match exception {
            Exception::Timeout | Exception::ConnectionError => Class::Transient,
            _ => Class::Final,
        };
        Self {
            exception,
            class,
            message: one_line(&message.into()),
            status: None,
            request_id: None,
            retry_after: RetryAfter::default(),
            is_foreign: false,
        }
    }

    /// An answer of success that is no listing.
    pub(super) fn unreadable(status: u16, why: &str, secrets: &Secrets) -> Self {
        let message = format!("the body is no page of a listing: {}", secrets.show(why));
        Self { status: Some(status), ..Self::new(Exception::InvalidResponse, message) }
    }

    /// The failure that an answer tells of: `type_header` is `x-amzn-ErrorType`.
    pub(super) fn of_answer(
        status: u16,
        type_header: Option<Foreign<'_>>,
        body: &[u8],
        secrets: &Secrets,
    ) -> Self {
        let body: ErrorBody<'_> = json::parse_object(body).unwrap_or_default();
        let text = |member: Option<_>| member.and_then(json::text);
        // Of the two places in a body the SDKs look at `code` first.
        let names =
            [type_header.map(|name| Cow::Borrowed(name.unmasked())), text(body.code), text(body.error_type)];
        let name = names.iter().flatten().map(|name| sanitized(name)).find(|name| !name.is_empty());
        let exception = name.map_or(Exception::from_status(status), Exception::from_name);
        let message = [body.message, body.capital_message].into_iter().find_map(text);
        let message = match (message, name) {
            (Some(message), _) if exception != Exception::Other => message.into_owned(),
            (message, Some(name)) => format!("{name}: {}", message.as_deref().unwrap_or("no message")),
            (Some(message), None) => message.into_owned(),
            (None, None) => "the answer has no message".to_owned(),
        };
        Self {
            class: class_of(exception, name, status),
            status: Some(status),
            ..Self::new(exception, secrets.show(&message))
        }
    }

    /// Whether a body tells of an error as AWS's protocol does.
    pub(super) fn is_told_by(body: &[u8]) -> bool {
        let ErrorBody { code, error_type, message, capital_message } =
            json::parse_object(body).unwrap_or_default();
        [code, error_type, message, capital_message]
            .into_iter()
            .flatten()
            .any(|text| json::text(text).is_some())
    }

    fn where_from(&self) -> String {
        let request = self.request_id.as_deref().map(|id| format!(", request id {id}")).unwrap_or_default();
        self.status.map(|status| format!(" (status {status}{request})")).unwrap_or_default()
    }
}

fn class_of(exception: Exception, name: Option<&str>, status: u16) -> Class {
    let throttling = name.is_some_and(|name| THROTTLING.contains(&name));
    match exception {
        Exception::ExpiredTokenException => Class::ExpiredCredentials,
        Exception::TooManyRequestsException | Exception::ThrottlingException => Class::Throttled,
        _ if throttling => Class::Throttled,
        Exception::InternalServerErrorException
        | Exception::InternalFailure
        | Exception::ServiceUnavailableException => Class::Transient,
        _ if matches!(name, Some("RequestTimeout" | "RequestTimeoutException")) => Class::Transient,
        _ if (500..=599).contains(&status) => Class::Transient,
        _ => Class::Final,
    }
}

/// The name alone, as the [rest-json protocol] says: what is before the first `:`, and of that what is after the `#`.
///
/// [rest-json protocol]: https://smithy.io/2.0/aws/protocols/aws-restjson1-protocol.html#operation-error-serialization
fn sanitized(name: &str) -> &str {
    let name = name.split(':').next().unwrap_or_default();
    name.split_once('#').map_or(name, |(_namespace, name)| name).trim()
}

impl From<&Error> for CallError {
    fn from(Error { failure, .. }: &Error) -> Self {
        Self {
            exception: failure.exception,
            message: failure.message.clone(),
            request_id: failure.request_id.clone(),
        }
    }
}
