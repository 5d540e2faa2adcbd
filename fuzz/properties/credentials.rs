//! What gives credentials: dates of expiry, documents of instances and containers, answers of STS, refusals. The first byte
//! says which of them the rest is.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use aws_config::{BehaviorVersion, Region, SdkConfig, sts::AssumeRoleProvider};
use aws_credential_types::{
    Credentials,
    provider::{ProvideCredentials as _, SharedCredentialsProvider},
};
use aws_smithy_async::{
    rt::sleep::{SharedAsyncSleep, TokioSleep},
    time::TimeSource,
};
use aws_smithy_runtime_api::{
    client::{
        http::{HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector},
        orchestrator::HttpRequest,
        runtime_components::RuntimeComponents,
    },
    http::{Response, StatusCode},
};
use aws_smithy_types::{DateTime, body::SdkBody, date_time::Format};
use pinpoint_exporter::{
    model::clock::Clock,
    pinpoint::{CredentialsCache, Source, fuzzing},
};
use serde_json::Value;
use tokio::runtime;

use super::errors::with_secrets;

/// The date of every look: 2026-11-28.
const NOW: Duration = Duration::from_hours(498_840);
/// The years 0 and 10000, in seconds since 1970.
const YEARS: std::ops::Range<i64> = -62_167_219_200..253_402_300_800;

pub(crate) fn check(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else { return };
    match kind {
        b'd' => date(rest),
        b'i' => document(rest),
        b's' => answer_of_sts(rest, 200),
        b'e' => answer_of_sts(rest, 403),
        b'r' => refusal(rest),
        _ => {}
    }
}

/// A date that is read is one of the calendar, is written and read again as the same, and is the one that AWS's SDK reads.
fn date(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else { return };
    let Some(date) = fuzzing::expiration(text) else { return };
    let date = DateTime::from(date);
    // An offset can lead beyond the years that can be written.
    let day = 86_400;
    assert!((YEARS.start - day..YEARS.end + day).contains(&date.secs()), "{text:?}: {date:?}");
    // The SDK does not write the year 0.
    if YEARS.contains(&date.secs())
        && let Ok(written) = date.fmt(Format::DateTime)
    {
        // AWS's SDK writes no more than microseconds.
        let microseconds = |date: DateTime| date.as_nanos().div_euclid(1_000);
        let again = fuzzing::expiration(&written).map(DateTime::from);
        assert_eq!(again.map(microseconds), Some(microseconds(date)), "{text:?}: {written}");
    }
    if let Ok(theirs) = DateTime::from_str(text.trim(), Format::DateTimeWithOffset) {
        assert_eq!(theirs.secs(), date.secs(), "{text:?}");
    }
}

/// The document is refused in words, or its date is what AWS's providers read, and stays so.
fn document(body: &[u8]) {
    let body = match fuzzing::provider_answer(body) {
        Ok(body) => body,
        Err(why) => return assert!(why.contains("Expiration") && why.len() < 200, "{why}"),
    };
    assert_eq!(fuzzing::provider_answer(&body).as_deref(), Ok(&body[..]), "what is read stays as it is");
    let Ok(Value::Object(members)) = serde_json::from_slice(&body) else { return };
    let text = |name| members.get(name).and_then(Value::as_str);
    if let (Some(key), Some(expiration)) = (text("AccessKeyId"), text("Expiration")) {
        let expiry =
            DateTime::from_str(expiration, Format::DateTime).expect("a date that AWS's providers read");
        let expiry = SystemTime::try_from(expiry).expect("a date of this system");
        let credentials = Credentials::new(key, "secret", None, Some(expiry), "fuzzing");
        on_runtime(hold(credentials));
    }
}

/// What a service repeats of the token of a request does not come through, whatever it is encoded in.
fn refusal(body: &[u8]) {
    const TOKEN: &str = "hush/authorization+token==of/the+container";
    let (body, form) = (String::from_utf8_lossy(body), ("@1", TOKEN.to_owned()));
    let mut hidden = vec![TOKEN.to_owned()];
    let body = with_secrets(&body, &[form], &mut hidden);
    let shown = fuzzing::provider_refusal(body.as_bytes(), &format!("Bearer {TOKEN}"));
    for form in &hidden {
        assert!(!shown.contains(form.as_str()), "{form:?} of a secret in {shown}");
    }
    assert!(!shown.chars().any(char::is_control) && shown.chars().count() <= 501, "{shown:?}");
}

/// The answer is an error, or credentials.
fn answer_of_sts(body: &[u8], status: u16) {
    let client = Canned { status, body: body.into() };
    on_runtime(async {
        let caller = Credentials::new("AKIACALLER", "of the caller", None, None, "fuzzing");
        let config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::from_static("eu-west-1"))
            .sleep_impl(SharedAsyncSleep::new(TokioSleep::new()))
            .time_source(Still)
            .credentials_provider(SharedCredentialsProvider::new(caller))
            .http_client(client)
            .build();
        let role =
            AssumeRoleProvider::builder("arn:aws:iam::123456789012:role/reader").session_name("fuzzing");
        if let Ok(credentials) = role.configure(&config).build().await.provide_credentials().await {
            hold(credentials).await;
        }
    });
}

fn on_runtime(work: impl Future<Output = ()>) {
    let runtime = runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(work);
}

/// Credentials are given out by the cache if and only if they are still of use; else it says in words why not.
async fn hold(credentials: Credentials) {
    let expiry = credentials.expiry();
    let now = SystemTime::UNIX_EPOCH + NOW;
    let source = Source::new(move |_| {
        let credentials = credentials.clone();
        Box::pin(async move { Ok(credentials) })
    });
    let cache = Arc::new(CredentialsCache::new(source, Arc::new(Still), Duration::from_secs(50), None));
    match cache.prefetch().await {
        Ok(()) => {
            assert!(expiry.is_none_or(|at| at > now), "{expiry:?} is over");
            assert_eq!(cache.expiry().is_some(), expiry.is_some(), "{expiry:?}");
        }
        Err(failure) => {
            assert!(!failure.message.is_empty() && failure.message.len() < 500, "{}", failure.message);
            assert!(!failure.message.contains("SystemTime"), "{}", failure.message);
        }
    }
}

/// A clock that stands still.
#[derive(Debug)]
struct Still;

impl Clock for Still {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + NOW
    }

    fn elapsed(&self) -> Duration {
        Duration::from_secs(1_000_000)
    }
}

impl TimeSource for Still {
    fn now(&self) -> SystemTime {
        Clock::now(self)
    }
}

/// An HTTP client that gives the same answer to every request.
#[derive(Debug, Clone)]
struct Canned {
    status: u16,
    body: Arc<[u8]>,
}

impl HttpClient for Canned {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Canned {
    fn call(&self, _: HttpRequest) -> HttpConnectorFuture {
        let status = StatusCode::try_from(self.status).expect("a status");
        HttpConnectorFuture::ready(Ok(Response::new(status, SdkBody::from(self.body.to_vec()))))
    }
}
