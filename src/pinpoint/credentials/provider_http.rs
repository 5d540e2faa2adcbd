//! The HTTP client of AWS's credential providers: metadata services, STS, SSO. It limits the time and size of each exchange. It
//! also records the last request and its outcome, because the providers' own errors name no URL.
//!
//! It rewrites the expiration in the responses of containers and instances. `aws-config` accepts only `Z`, while botocore
//! accepts any offset. Because only the date is replaced, `aws-config` handles
//! the rest of the protocol.

use std::{
    collections::BTreeMap,
    fmt,
    ops::Range,
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
use http::{StatusCode, Uri, header::CONTENT_LENGTH};
use humantime::format_duration;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::expiration;
use crate::{
    model::exception::Exception,
    pinpoint::{
        error::AttemptError,
        secrets::Secrets,
        send::{Http, HttpResponse},
    },
};

/// The time limit of a fetch at one source.
pub(in crate::pinpoint) const FETCH_TIMEOUT: Duration = Duration::from_secs(15);

/// The last request of a provider and its outcome. Clones share it.
#[derive(Clone, Default)]
pub(in crate::pinpoint) struct Trace {
    last: Arc<Mutex<Option<Exchange>>>,
    /// The secrets in the requests and responses of the fetch. An error can repeat them.
    pub(in crate::pinpoint) secrets: Secrets,
}

impl Trace {
    /// A trace of a fetch that adds what it learns to these secrets.
    pub(in crate::pinpoint) fn new(secrets: Secrets) -> Self {
        Self { last: Arc::default(), secrets }
    }
}

/// A request and its outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::pinpoint) struct Exchange {
    /// The method and the URL without its query.
    pub(in crate::pinpoint) request: String,
    pub(in crate::pinpoint) outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::pinpoint) enum Outcome {
    /// It has not ended.
    Pending,
    /// No readable response arrived.
    Failed(String),
    /// The response has a status other than success. Redirects are not followed.
    Refused {
        status: StatusCode,
        /// The error message in the response.
        message: Option<String>,
    },
    /// The response has a success status.
    Answered,
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Trace").field(&self.last()).finish()
    }
}

impl Trace {
    pub(in crate::pinpoint) fn last(&self) -> Option<Exchange> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn keep(&self, request: &str, outcome: Outcome) {
        let exchange = Exchange { request: request.to_owned(), outcome };
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(exchange);
    }

    /// The error of a fetch that exceeds `limit`.
    pub(in crate::pinpoint) fn timed_out(&self, limit: Duration) -> String {
        let limit = format_duration(limit);
        match self.last() {
            Some(Exchange { request, outcome: Outcome::Pending }) => {
                format!("{request} was not answered within {limit}")
            }
            Some(Exchange { request, outcome: Outcome::Failed(why) }) => format!("{request} failed: {why}"),
            _ => format!("no source of credentials answered within {limit}"),
        }
    }

    /// The error of a fetch that panicked.
    pub(in crate::pinpoint) fn panicked(&self) -> String {
        let location =
            self.last().map_or_else(String::new, |exchange| format!(" after {}", exchange.request));
        format!("the fetch of credentials ended with an internal error{location}, which the log describes")
    }
}

/// The HTTP client of one fetch.
#[derive(Debug, Clone)]
pub(in crate::pinpoint) struct ProviderHttp {
    http: Http,
    trace: Trace,
    /// Whether it calls a service of this machine. Such services are not reachable through a proxy.
    is_metadata: bool,
}

impl ProviderHttp {
    /// Creates a client of STS or SSO.
    pub(in crate::pinpoint) fn of_service(http: &Http, trace: &Trace) -> Self {
        Self { http: http.clone(), trace: trace.clone(), is_metadata: false }
    }

    /// Creates a client of the metadata of a container or an instance.
    pub(in crate::pinpoint) fn of_metadata(http: &Http, trace: &Trace) -> Self {
        Self { http: http.clone(), trace: trace.clone(), is_metadata: true }
    }
}

impl HttpClient for ProviderHttp {
    fn http_connector(&self, settings: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        // The exchange includes connecting, so its limit is the sum of both timeouts.
        let limit = settings.read_timeout().map(|read| {
            read.saturating_add(settings.connect_timeout().unwrap_or_default()).min(FETCH_TIMEOUT)
        });
        SharedHttpConnector::new(Connector { client: self.clone(), limit: limit.unwrap_or(FETCH_TIMEOUT) })
    }
}

#[derive(Debug)]
struct Connector {
    client: ProviderHttp,
    /// The time limit of an exchange.
    limit: Duration,
}

/// The reason that no response arrived.
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
            trace.secrets.learn_headers(request.headers());
            trace.secrets.learn_members(&String::from_utf8_lossy(request.body()));
            trace.keep(&asked, Outcome::Pending);
            let answer = tokio::time::timeout(limit, http.ask_provider(request, is_metadata))
                .await
                .unwrap_or_else(|_elapsed| {
                    let why = format!("no complete answer within {}", format_duration(limit));
                    Err(AttemptError::new(Exception::Timeout, why))
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
            if status.is_success() {
                trace.secrets.learn_members(&String::from_utf8_lossy(&answer.body));
            }
            trace.keep(&asked, outcome(status, &answer, &trace.secrets));
            let body = if status.is_success() { with_utc_expiration(answer.body) } else { Ok(answer.body) };
            let body = body.map_err(|why| {
                trace.keep(&asked, Outcome::Failed(why.clone()));
                ConnectorError::other(NoAnswer(why).into(), None)
            })?;
            let mut response = http::Response::new(SdkBody::from(body));
            *response.status_mut() = status;
            *response.headers_mut() = answer.headers;
            // The length of the body can have changed.
            response.headers_mut().remove(CONTENT_LENGTH);
            response.try_into().map_err(|error: aws_smithy_runtime_api::http::HttpError| {
                ConnectorError::other(error.into(), None)
            })
        })
    }
}

/// A URL without its password and query, which can be secret.
fn shown(uri: &Uri) -> String {
    let host = uri.host().unwrap_or_default();
    let port = uri.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{host}{port}{}", uri.scheme_str().unwrap_or("http"), uri.path())
}

pub(in crate::pinpoint) fn outcome(status: StatusCode, answer: &HttpResponse, secrets: &Secrets) -> Outcome {
    if status.is_success() {
        return Outcome::Answered;
    }
    let message = error_message(&answer.body).map(|message| secrets.show(&message));
    Outcome::Refused { status, message: message.filter(|message| !message.is_empty()) }
}

/// The error message in a response: the code and message from JSON, or one line of text. An HTML page gives none.
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

/// Rewrites the expiration in a response so that `aws-config` can read it. Other responses stay as they are.
pub(in crate::pinpoint) fn with_utc_expiration(mut body: Vec<u8>) -> Result<Vec<u8>, String> {
    let Some((range, text)) = expiration_of(&body) else { return Ok(body) };
    let date = expiration::parse(&text).and_then(|date| DateTime::from(date).fmt(Format::DateTime).ok());
    let date =
        date.ok_or("the Expiration in the answer is not an ISO 8601 date such as 2026-01-02T03:04:05Z")?;
    body.splice(range, format!("\"{date}\"").into_bytes());
    Ok(body)
}

/// The position and the text of the expiration in JSON credentials.
fn expiration_of(body: &[u8]) -> Option<(Range<usize>, String)> {
    let members: BTreeMap<String, &RawValue> = serde_json::from_slice(body).ok()?;
    let find = |names: &[&str]| {
        let is_named = |name: &str| names.iter().any(|known| known.eq_ignore_ascii_case(name));
        members.iter().find_map(|(name, value)| is_named(name).then_some(value.get()))
    };
    find(&["AccessKeyId"])?;
    let written = find(&["Expiration", "ExpiresAt"])?;
    let start = written.as_ptr() as usize - body.as_ptr() as usize;
    Some((start..start + written.len(), serde_json::from_str(written).ok()?))
}

#[cfg(test)]
mod tests {
    use aws_smithy_runtime_api::client::runtime_components::RuntimeComponentsBuilder;
    use tokio::{net::TcpListener, time::Instant};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_exchange_is_bounded_in_time_and_its_error_names_the_url() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let second = Duration::from_secs(1);
        let settings = HttpConnectorSettings::builder().connect_timeout(second).read_timeout(second).build();
        let http = Http::new(None, &crate::config::proxy::Proxies::default()).unwrap();
        for (settings, limit) in [(settings, 2), (HttpConnectorSettings::builder().build(), 15)] {
            let trace = Trace::default();
            let client = ProviderHttp::of_metadata(&http, &trace);
            let components = RuntimeComponentsBuilder::for_tests().build().unwrap();
            let connector = client.http_connector(&settings, &components);
            let mut request = HttpRequest::empty();
            request.set_uri(format!("{url}/creds?token=secret")).unwrap();
            let asked_at = Instant::now();
            assert!(connector.call(request).await.unwrap_err().is_timeout());
            assert_eq!(asked_at.elapsed(), limit * second);
            let expected = format!("GET {url}/creds failed: no complete answer within {limit}s");
            assert_eq!(trace.timed_out(second), expected);
        }
    }

    #[test]
    fn an_expiration_is_rewritten_as_utc_and_everything_else_stays() {
        let with =
            |expiration: &str| format!(r#"{{"AccessKeyId": "a", "b": 1e999, {expiration}}}"#).into_bytes();
        for expiration in [
            r#""Expiration": "2026-01-02T03:04:05+00:00", "c": {"Expiration": ""}"#,
            r#""expiration" : "2026-01-02T05:04:05+0200""#,
            r#""ExpiresAt":"\u0032026-01-02T03:04:05 UTC""#,
            r#""Expiration":"2026-01-02T03:04:05Z""#,
        ] {
            let written = String::from_utf8(with_utc_expiration(with(expiration)).unwrap()).unwrap();
            assert!(written.contains("\"2026-01-02T03:04:05Z\""), "{written}");
            assert!(written.starts_with(r#"{"AccessKeyId": "a", "b": 1e999, "#), "{written}");
        }
        assert!(with_utc_expiration(with(r#""Expiration": "tomorrow""#)).unwrap_err().contains("ISO 8601"));
        let nested = format!(r#"{{"AccessKeyId":{}"#, "[".repeat(1 << 20)).into_bytes();
        let others = ["", "[]", "{", r#"{"Expiration": "tomorrow"}"#, r#"["Expiration"]"#, "\u{0}"];
        let others = others.map(|text| text.as_bytes().to_vec());
        for other in others.into_iter().chain([nested, with(r#""Expiration": 5"#)]) {
            assert_eq!(with_utc_expiration(other.clone()), Ok(other));
        }
    }

    #[test]
    fn what_is_shown_of_a_url_holds_no_password_and_no_query() {
        let uri = "https://user:pass@host:8443/path?token=secret".parse().unwrap();
        assert_eq!(shown(&uri), "https://host:8443/path");
        assert_eq!(shown(&"http://[fd00:ec2::23]/v1".parse().unwrap()), "http://[fd00:ec2::23]/v1");
    }

    #[test]
    fn an_error_says_what_json_or_a_line_of_text_says() {
        for (body, expected) in [
            (r#"{"code": "c", "message": "m"}"#, Some("c: m")),
            (r#"{"__type": "t", "Message": "m"}"#, Some("t: m")),
            ("in plain words", Some("in plain words")),
            ("<html>", None),
            (r#"{"SecretAccessKey": "s"}"#, None),
            ("[1]", None),
        ] {
            assert_eq!(error_message(body.as_bytes()).as_deref(), expected, "{body}");
        }
        assert_eq!(error_message(&[0xff, 0xfe]), None);
    }
}
