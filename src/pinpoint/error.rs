//! The errors of a call. One table decides the exception label of each error and whether it is retried.

use std::{borrow::Cow, time::Duration};

use super::{
    json,
    operation::Operation,
    secrets::{Secrets, UntrustedText, one_line},
};
use crate::model::{exception::Exception, overview::CallError};

/// Whether to retry a failed attempt, by the rules of the [AWS SDKs]: the exception name decides first.
///
/// [AWS SDKs]: https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// The API asks for fewer requests. Retried after a longer wait.
    Throttled,
    /// The API or the connection failed temporarily. Retried.
    Transient,
    /// The signature had a wrong date, and the skew is now known. Retried.
    ClockSkew,
    /// The credentials expired earlier than expected. Retried once with new ones.
    ExpiredCredentials,
    /// Another attempt would fail in the same way. Not retried.
    Final,
}

/// Exception names that the SDKs' standard retry mode treats as throttling.
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
    pub operation: Operation,
    /// A description of the resource.
    pub resource: String,
    #[source]
    pub failure: AttemptError,
}

impl Error {
    fn text(&self) -> String {
        let Self { operation, resource, failure } = self;
        let advice = failure
            .exception
            .advice()
            .filter(|_| !failure.is_from_intermediary)
            .map(|advice| format!("; {advice}"))
            .unwrap_or_default();
        format!("{} of {resource} failed with {}{advice}", operation.name(), failure.exception.name())
    }
}

/// Why an attempt failed.
#[derive(Debug, thiserror::Error)]
#[error("{message}{}", self.where_from())]
pub struct AttemptError {
    /// The exception label in metrics.
    pub exception: Exception,
    pub class: Class,
    /// The message of AWS or of the cause: one line, truncated, with secrets masked.
    pub message: String,
    /// The HTTP status, if there was a response.
    pub status: Option<u16>,
    /// `x-amzn-RequestId`, which AWS's support uses to find a request.
    pub request_id: Option<String>,
    /// The wait that the response asks for.
    pub retry_after: RetryAfter,
    /// Whether Amazon Pinpoint did not respond: the connection failed, or something else responded. The message then names the
    /// URL and says what to do.
    pub is_from_intermediary: bool,
}

/// The waits that a response asks for before the next attempt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RetryAfter {
    /// `x-amz-retry-after`, in milliseconds. This is AWS's own header. The SDKs follow it within 5 s of their own wait.
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
    /// Creates a failure without a response.
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
            is_from_intermediary: false,
        }
    }

    /// Creates the failure of a success response whose body is not a page of a listing.
    pub(super) fn unreadable(status: u16, why: &str, secrets: &Secrets) -> Self {
        let message = format!("the body is not a page of a listing: {}", secrets.show(why));
        Self { status: Some(status), ..Self::new(Exception::InvalidResponse, message) }
    }

    /// Creates the failure of an error response. `type_header` is `x-amzn-ErrorType`.
    pub(super) fn of_answer(
        status: u16,
        type_header: Option<UntrustedText<'_>>,
        body: &[u8],
        secrets: &Secrets,
    ) -> Self {
        let body: ErrorBody<'_> = json::parse_object(body).unwrap_or_default();
        let text = |member: Option<_>| member.and_then(json::text);
        // Like the SDKs, it checks `code` first in the body.
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

    /// Whether the body is an error in AWS's protocol.
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

/// The bare exception name by the [rest-json protocol]: the text before the first `:` and after the `#`.
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
