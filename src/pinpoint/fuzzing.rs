//! A window onto what reads the API's answers, for the properties that the fuzz targets and the tests of their corpus hold it
//! to. Pure functions; the exporter itself does not look through it.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use aws_credential_types::Credentials;
use http::{HeaderMap, StatusCode, header::AUTHORIZATION};

use super::{
    clock_skew::ClockSkew,
    credentials::{expiration, provider_http},
    error::{AttemptError, RetryAfter},
    secrets::{Foreign, Secrets},
    send::Answer,
    wire,
};
use crate::model::{
    job::ExportJob,
    names::{NamedResource, TagLabels},
};

/// One page of a listing.
#[derive(Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// What could be understood.
    pub items: Vec<T>,
    /// Items left out.
    pub skipped: u64,
    /// Members that count as absent.
    pub bad_members: u64,
    /// The way to the next page.
    pub next_token: Option<String>,
}

/// Reads a body of export jobs, with `segment_id` as that segment's own listing.
pub fn export_jobs(body: &[u8], segment_id: Option<&str>) -> Result<Page<ExportJob>, String> {
    let segment_id: Option<Arc<str>> = segment_id.map(Arc::from);
    page(|sink| wire::export_jobs(body, segment_id.as_ref(), sink))
}

/// Reads a body of applications or segments, with the tags that are shown.
pub fn resources(body: &[u8], tags: &TagLabels) -> Result<Page<NamedResource>, String> {
    page(|sink| wire::resources(body, Some(tags), sink))
}

/// Collects the items of a page. A body that is refused must not have given any.
fn page<T>(
    read: impl FnOnce(&mut dyn FnMut(T)) -> Result<wire::Page, serde_json::Error>,
) -> Result<Page<T>, String> {
    let mut items = Vec::new();
    match read(&mut |item| items.push(item)) {
        Ok(wire::Page { skipped, bad_members, next_token }) => {
            Ok(Page { items, skipped, bad_members, next_token })
        }
        Err(error) => {
            assert!(items.is_empty(), "a body that is refused gave items");
            Err(error.to_string())
        }
    }
}

/// Reads an answer that is no success: `type_header` is `x-amzn-ErrorType`, the credentials those of the request.
pub fn failure(
    status: u16,
    type_header: Option<&str>,
    body: &[u8],
    credentials: &Credentials,
) -> AttemptError {
    AttemptError::of_answer(status, type_header.map(Foreign::new), body, &Secrets::of(credentials))
}

/// The waits that an answer with these headers asks for.
pub fn retry_after(headers: HeaderMap, now: SystemTime) -> RetryAfter {
    super::retry_after(&Answer { status: 503, headers, body: Vec::new() }, now)
}

/// When credentials expire, as their source writes it.
pub fn expiration(text: &str) -> Option<SystemTime> {
    expiration::parse(text)
}

/// The answer of a container or an instance as AWS's providers of credentials get it.
pub fn provider_answer(body: &[u8]) -> Result<Vec<u8>, String> {
    provider_http::with_utc_expiration(body.to_vec())
}

/// What is shown of an answer by which a source of credentials refuses a request with this token.
pub fn provider_refusal(body: &[u8], token: &str) -> String {
    let mut headers = HeaderMap::new();
    if let Ok(token) = token.try_into() {
        headers.insert(AUTHORIZATION, token);
    }
    let secrets = Secrets::default();
    secrets.learn_headers(&headers);
    let answer = Answer { status: 403, headers, body: body.to_vec() };
    match provider_http::outcome(StatusCode::FORBIDDEN, &answer, &secrets) {
        provider_http::Outcome::Refused { message, .. } => message.unwrap_or_default(),
        outcome => format!("{outcome:?}"),
    }
}

/// AWS's clock less ours in seconds, by the `Date` of an answer.
pub fn clock_skew(date: &str, sent: SystemTime, round_trip: Duration) -> Option<f64> {
    ClockSkew::default().learn(date, sent, round_trip)
}
