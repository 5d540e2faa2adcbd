//! Maps paths to responses.

use std::{sync::LazyLock, time::Duration};

use aws_smithy_types::base64;
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode,
    header::{
        ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, ETAG, HeaderName, IF_NONE_MATCH,
        REFERRER_POLICY, VARY,
    },
};
use percent_encoding::percent_decode_str;
use sha2::{Digest as _, Sha256};

use super::{
    body::Body,
    content_coding,
    exporter::Exporter,
    media_type::{HTML, JSON, METRICS, TEXT},
    response::{response, with_content},
};

/// The header with Prometheus's scrape timeout.
static SCRAPE_TIMEOUT: HeaderName = HeaderName::from_static("x-prometheus-scrape-timeout-seconds");

/// How long a scrape waits for refreshes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScrapeTimeout {
    /// The timeout of a scraper that does not send one.
    pub default: Duration,
    /// How much earlier than the scraper's timeout the response is sent.
    pub offset: Duration,
    /// The longest wait of a scrape: `REFRESH_TIMEOUT`, after which every refresh has ended.
    pub longest: Duration,
}

impl ScrapeTimeout {
    /// The timeout from the header less the offset, and at least 0. If the header is no positive number, the default applies.
    fn of(self, headers: &HeaderMap) -> Duration {
        let seconds: Option<f64> =
            headers.get(&SCRAPE_TIMEOUT).and_then(|value| value.to_str().ok()?.trim().parse().ok());
        match seconds {
            Some(seconds) if seconds > 0.0 && seconds.is_finite() => {
                // What does not fit into a duration is longer than the longest wait too.
                let announced = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
                announced.saturating_sub(self.offset).min(self.longest)
            }
            _ => self.default.min(self.longest),
        }
    }
}

/// Answers a request. The request body is not read. A scrape stops waiting for refreshes when `answer_now` resolves.
pub(super) async fn answer<B>(
    request: Request<B>,
    exporter: &impl Exporter,
    timeout: ScrapeTimeout,
    answer_now: impl Future<Output = ()> + Send,
) -> Response<Body> {
    let path = percent_decode_str(request.uri().path()).decode_utf8_lossy();
    let path = path.as_ref();
    if !["/", "/api/v1/jobs", "/metrics", "/-/healthy", "/-/ready"].contains(&path) {
        let text = "Not found. The paths are: /, /api/v1/jobs, /metrics, /-/healthy, /-/ready\n";
        return response(StatusCode::NOT_FOUND, TEXT, text);
    }
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut refusal =
            response(StatusCode::METHOD_NOT_ALLOWED, TEXT, "Only GET and HEAD are allowed here.\n");
        refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refusal;
    }
    let (headers, query) = (request.headers(), request.uri().query().unwrap_or_default());
    match path {
        "/metrics" => metrics(headers, exporter, timeout, answer_now).await,
        "/-/healthy" => response(StatusCode::OK, TEXT, "Healthy.\n"),
        "/-/ready" if exporter.is_ready() => response(StatusCode::OK, TEXT, "Ready.\n"),
        "/-/ready" => response(StatusCode::SERVICE_UNAVAILABLE, TEXT, "Looking for credentials.\n"),
        "/api/v1/jobs" => jobs(headers, exporter, query),
        _ => page(headers, exporter, query),
    }
}

async fn metrics(
    headers: &HeaderMap,
    exporter: &impl Exporter,
    timeout: ScrapeTimeout,
    answer_now: impl Future<Output = ()> + Send,
) -> Response<Body> {
    let gzip = content_coding::prefers_gzip(headers);
    let content = exporter.scrape(timeout.of(headers), answer_now, gzip).await;
    let mut response = Response::new(Body::from(content));
    *response.headers_mut() = SCRAPE_HEADERS[usize::from(gzip)].clone();
    response
}

/// The headers of plain and of compressed responses to scrapes. Copying them takes a third of the instructions of making them.
static SCRAPE_HEADERS: LazyLock<[HeaderMap; 2]> = LazyLock::new(|| {
    [false, true].map(|gzip| {
        let response = coded(with_content(StatusCode::OK, METRICS, Vec::new().into()), gzip);
        response.into_parts().0.headers
    })
});

fn page(headers: &HeaderMap, exporter: &impl Exporter, query: &str) -> Response<Body> {
    let gzip = content_coding::prefers_gzip(headers);
    let mut response = document(HTML, exporter.page(query), exporter, gzip);
    let policy = HeaderValue::from_static(exporter.page_policy());
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, policy);
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

/// Returns 304 if the client already has the current document, which its [entity tag] shows. The plain and the compressed
/// document have different tags.
///
/// [entity tag]: https://www.rfc-editor.org/rfc/rfc9110#section-13.1.2
fn jobs(headers: &HeaderMap, exporter: &impl Exporter, query: &str) -> Response<Body> {
    let gzip = content_coding::prefers_gzip(headers);
    let jobs = exporter.jobs(query);
    let Ok(text) = &jobs else {
        return document(JSON, jobs, exporter, gzip);
    };
    let tag = format!("\"{}{}\"", base64::encode(Sha256::digest(text)), if gzip { "-gzip" } else { "" });
    let known = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut known = known.flat_map(|value| value.split(',')).map(str::trim);
    let is_known = known.any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag);
    let mut response = if is_known {
        coded(with_content(StatusCode::NOT_MODIFIED, JSON, Vec::new().into()), false)
    } else {
        document(JSON, jobs, exporter, gzip)
    };
    let headers = response.headers_mut();
    // A client may store the document but must revalidate it each time.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(ETAG, tag);
    }
    response
}

fn document(
    content_type: &'static str,
    document: Result<String, String>,
    exporter: &impl Exporter,
    gzip: bool,
) -> Response<Body> {
    let (status, text) = match document {
        Ok(text) => (StatusCode::OK, text),
        Err(problem) => (StatusCode::BAD_REQUEST, problem),
    };
    let chunks = if gzip { exporter.gzip(text) } else { vec![text.into()] };
    coded(with_content(status, content_type, chunks.into()), gzip)
}

/// Sets the headers of a response that exists in a compressed and a plain form.
fn coded(mut response: Response<Body>, gzip: bool) -> Response<Body> {
    response.headers_mut().insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    if gzip {
        response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scrape_waits_as_long_as_its_header_says_less_the_offset() {
        let timeout = ScrapeTimeout {
            default: Duration::from_secs(10),
            offset: Duration::from_millis(500),
            longest: Duration::from_mins(2),
        };
        for (header, milliseconds) in [
            ("5", 4_500),
            (" 1.5 ", 1_000),
            ("0.25", 0),
            ("60.0", 59_500),
            ("1e1", 9_500),
            ("0", 10_000),
            ("-3", 10_000),
            ("NaN", 10_000),
            ("inf", 10_000),
            ("86400", 120_000),
            ("1e19", 120_000),
            ("1e300", 120_000),
            ("soon", 10_000),
            ("", 10_000),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(&SCRAPE_TIMEOUT, header.parse().unwrap());
            assert_eq!(timeout.of(&headers), Duration::from_millis(milliseconds), "{header:?}");
        }
        assert_eq!(timeout.of(&HeaderMap::new()), Duration::from_secs(10));
        let hurried = ScrapeTimeout { longest: Duration::from_secs(3), ..timeout };
        assert_eq!(hurried.of(&HeaderMap::new()), Duration::from_secs(3));
    }
}
