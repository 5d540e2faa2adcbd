//! Gives the fuzz targets and the tests of their corpus access to the parsers of API responses. Does no I/O. The exporter
//! itself does not use it.

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
    secrets::{Secrets, UntrustedText},
    send::HttpResponse,
    wire,
};
use crate::model::{
    job::ExportJob,
    names::{NamedResource, TagLabels},
};

#[derive(Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// The items that could be parsed.
    pub items: Vec<T>,
    /// The number of items that were left out.
    pub skipped: u64,
    /// The number of members that count as absent.
    pub bad_members: u64,
    pub next_token: Option<String>,
}

/// Parses a body of export jobs. With `segment_id` it is the listing of that segment.
pub fn export_jobs(body: &[u8], segment_id: Option<&str>) -> Result<Page<ExportJob>, String> {
    let segment_id: Option<Arc<str>> = segment_id.map(Arc::from);
    page(|sink| wire::export_jobs(body, segment_id.as_ref(), true, sink))
}

/// Parses a body of applications or segments with the given tags.
pub fn resources(body: &[u8], tags: &TagLabels) -> Result<Page<NamedResource>, String> {
    page(|sink| wire::resources(body, Some(tags), sink))
}

/// Collects the items of a page.
fn page<T>(
    read: impl FnOnce(&mut dyn FnMut(T)) -> Result<wire::Page, serde_json::Error>,
) -> Result<Page<T>, String> {
    let mut items = Vec::new();
    let wire::Page { skipped, bad_members, next_token } =
        read(&mut |item| items.push(item)).map_err(|error| error.to_string())?;
    Ok(Page { items, skipped, bad_members, next_token })
}

/// Parses an error response. `type_header` is `x-amzn-ErrorType`, and the credentials are those of the request.
pub fn failure(
    status: u16,
    type_header: Option<&str>,
    body: &[u8],
    credentials: &Credentials,
) -> AttemptError {
    AttemptError::of_answer(status, type_header.map(UntrustedText::new), body, &Secrets::of(credentials))
}

/// The waits that a response with these headers asks for.
pub fn retry_after(headers: HeaderMap, now: SystemTime) -> RetryAfter {
    super::retry_after(&HttpResponse { status: 503, headers, body: Vec::new() }, now)
}

/// Parses the expiration of credentials.
pub fn expiration(text: &str) -> Option<SystemTime> {
    expiration::parse(text)
}

/// Rewrites the response of a container or an instance for AWS's credential providers.
pub fn provider_answer(body: &[u8]) -> Result<Vec<u8>, String> {
    provider_http::with_utc_expiration(body.to_vec())
}

/// The message for a response that refuses a request with this token to a source of credentials.
pub fn provider_refusal(body: &[u8], token: &str) -> String {
    let mut headers = HeaderMap::new();
    if let Ok(token) = token.try_into() {
        headers.insert(AUTHORIZATION, token);
    }
    let secrets = Secrets::default();
    secrets.learn_headers(&headers);
    let answer = HttpResponse { status: 403, headers, body: body.to_vec() };
    match provider_http::outcome(StatusCode::FORBIDDEN, &answer, &secrets) {
        provider_http::Outcome::Refused { message, .. } => message.unwrap_or_default(),
        outcome => format!("{outcome:?}"),
    }
}

/// AWS's clock minus the local clock in seconds, from the `Date` of a response.
pub fn clock_skew(date: &str, sent: SystemTime, round_trip: Duration) -> Option<f64> {
    ClockSkew::default().learn(date, sent, round_trip)
}
