//! The HTTP client of AWS's credential providers: metadata services, STS, SSO. It bounds each exchange in time and size, and
//! keeps what was asked last and how that ended, since the providers' own errors name no URL.
//!
//! It also rewrites the date in the answer of a container or instance, because `aws-config` reads it with `Z` only, and
//! botocore with any offset. Replacing the date keeps the rest of the protocol in `aws-config`.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use aws_smithy_runtime_api::client::{
    http::{HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector},
    orchestrator::HttpRequest,
    result::ConnectorError,
    runtime_components::RuntimeComponents,
};
use aws_smithy_types::{DateTime, body::SdkBody, date_time::Format};
use http::{HeaderMap, StatusCode, Uri};
use humantime::format_duration;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    credentials::LOOK_TIMEOUT,
    error::{Exception, Failure, one_line},
    expiration,
    secrets::Secrets,
    send::{Answer, Http},
};

/// What a provider asked last, and how it ended. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Trace(Arc<Mutex<Option<Exchange>>>);

/// A request and its outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Exchange {
    /// The method and the URL without its query.
    pub(super) request: String,
    pub(super) outcome: Outcome,
}

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It has not.
    Pending,
    /// There was no answer that could be read.
    Failed(String),
    /// The answer has the status of an error.
    Refused {
        status: StatusCode,
        /// What the answer says about it.
        message: Option<String>,
    },
    /// The answer has the status of success.
    Answered,
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Trace").field(&self.last()).finish()
    }
}

impl Trace {
    pub(super) fn last(&self) -> Option<Exchange> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn keep(&self, request: &str, outcome: Outcome) {
        let exchange = Exchange { request: request.to_owned(), outcome };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(exchange);
    }

    /// Why a look has ended without a result after `limit`.
    pub(super) fn timed_out(&self, limit: Duration) -> String {
        let limit = format_duration(limit);
        match self.last() {
            Some(Exchange { request, outcome: Outcome::Pending }) => {
                format!("{request} was not answered within {limit}")
            }
            Some(Exchange { request, outcome: Outcome::Failed(why) }) => {
                format!("{request} failed, and was not answered within {limit}: {why}")
            }
            _ => format!("no source of credentials answered within {limit}"),
        }
    }

    /// Why a look has ended with a panic.
    pub(super) fn panicked(&self) -> String {
        let place = self.last().map_or_else(String::new, |exchange| format!(" after {}", exchange.request));
        format!(
            "the source of credentials could not be read: the program's reader failed{place}; the log says where"
        )
    }
}

/// The client for one look.
#[derive(Debug, Clone)]
pub(super) struct ProviderHttp {
    http: Http,
    trace: Trace,
    /// Whether it asks a service of this machine, which no proxy reaches.
    is_metadata: bool,
}

impl ProviderHttp {
    /// A client of STS or SSO.
    pub(super) fn of_service(http: &Http, trace: &Trace) -> Self {
        Self { http: http.clone(), trace: trace.clone(), is_metadata: false }
    }

    /// A client of a container's or an instance's metadata.
    pub(super) fn of_metadata(http: &Http, trace: &Trace) -> Self {
        Self { http: http.clone(), trace: trace.clone(), is_metadata: true }
    }
}

impl HttpClient for ProviderHttp {
    fn http_connector(&self, settings: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        // The time to connect is part of the exchange, so the two limits bound it together.
        let limit = settings.read_timeout().map(|read| {
            read.saturating_add(settings.connect_timeout().unwrap_or_default()).min(LOOK_TIMEOUT)
        });
        SharedHttpConnector::new(Connector { client: self.clone(), limit: limit.unwrap_or(LOOK_TIMEOUT) })
    }
}

#[derive(Debug)]
struct Connector {
    client: ProviderHttp,
    /// The longest that an exchange may take.
    limit: Duration,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct NoAnswer(String);

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let ProviderHttp { http, trace, is_metadata } = self.client.clone();
        let limit = self.limit;
        HttpConnectorFuture::new(async move {
            let request = request.try_into_http1x().map_err(|error| ConnectorError::user(error.into()))?;
            let request = request.map(|body| body.bytes().map(<[u8]>::to_vec).unwrap_or_default());
            let asked = format!("{} {}", request.method(), shown(request.uri()));
            let secrets = secrets_of(request.headers());
            trace.keep(&asked, Outcome::Pending);
            let answer = tokio::time::timeout(limit, http.ask_provider(request, is_metadata))
                .await
                .unwrap_or_else(|_elapsed| {
                    let why = format!("no whole answer within {}", format_duration(limit));
                    Err(Failure::new(Exception::Timeout, why))
                });
            let answer = answer.map_err(|failure| {
                trace.keep(&asked, Outcome::Failed(failure.message.clone()));
                let why = NoAnswer(failure.message).into();
                match failure.exception {
                    Exception::Timeout => ConnectorError::timeout(why),
                    Exception::InvalidResponse => ConnectorError::other(why, None),
                    _ => ConnectorError::io(why),
                }
            })?;
            let status = StatusCode::from_u16(answer.status).unwrap_or_default();
            trace.keep(&asked, outcome(status, &answer, &secrets));
            let body = if status.is_success() { with_utc_expiration(answer.body) } else { answer.body };
            let mut response = http::Response::new(SdkBody::from(body));
            *response.status_mut() = status;
            *response.headers_mut() = answer.headers;
            response.try_into().map_err(|error: aws_smithy_runtime_api::http::HttpError| {
                ConnectorError::other(error.into(), None)
            })
        })
    }
}

/// A URL without what may be secret in it: a password, or the query.
fn shown(uri: &Uri) -> String {
    let host = uri.host().unwrap_or_default();
    let port = uri.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{host}{port}{}", uri.scheme_str().unwrap_or("http"), uri.path())
}

/// What a request to a metadata service holds that an answer may repeat.
fn secrets_of(headers: &HeaderMap) -> Secrets {
    let names =
        ["authorization", "x-aws-ec2-metadata-token", "x-amz-security-token", "x-amz-sso_bearer_token"];
    Secrets::of_texts(names.into_iter().filter_map(|name| headers.get(name)?.to_str().ok()))
}

fn outcome(status: StatusCode, answer: &Answer, secrets: &Secrets) -> Outcome {
    if status.is_client_error() || status.is_server_error() {
        let message = error_message(&answer.body).map(|message| one_line(&secrets.mask(message)));
        Outcome::Refused { status, message: message.filter(|message| !message.is_empty()) }
    } else {
        Outcome::Answered
    }
}

/// What an answer says about its error: the code and the message of JSON, or a line of text. A page for people says nothing.
fn error_message(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct ErrorBody {
        #[serde(alias = "Code", alias = "__type")]
        code: Option<String>,
        #[serde(alias = "Message")]
        message: Option<String>,
    }
    if let Ok(ErrorBody { code, message }) = serde_json::from_slice(body) {
        let parts: Vec<_> = code.into_iter().chain(message).collect();
        return (!parts.is_empty()).then(|| parts.join(": "));
    }
    let text = std::str::from_utf8(body).ok()?.trim_start();
    (!text.starts_with(['<', '{', '['])).then(|| text.to_owned())
}

/// The answer with its date of expiry as `aws-config` reads it. Any other answer stays as it is.
pub(super) fn with_utc_expiration(mut body: Vec<u8>) -> Vec<u8> {
    let replaced = || {
        let members: BTreeMap<String, &RawValue> = serde_json::from_slice(&body).ok()?;
        let is_expiration =
            |name: &str| ["Expiration", "ExpiresAt"].iter().any(|it| it.eq_ignore_ascii_case(name));
        let (_, value) = members.iter().find(|(name, _)| is_expiration(name))?;
        let text: String = serde_json::from_str(value.get()).ok()?;
        let date = DateTime::from(expiration::parse(&text)?).fmt(Format::DateTime).ok()?;
        let start = value.get().as_ptr() as usize - body.as_ptr() as usize;
        Some((start..start + value.get().len(), format!("\"{date}\"")))
    };
    if let Some((range, date)) = replaced() {
        body.splice(range, date.into_bytes());
    }
    body
}
