//! The servers that stand beside the exporter, each a process of its own: the API, and bare hyper.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;

use crate::{http1, world::Shape};

/// Serves the pages of a world: lists of jobs after a delay, others at once. Of a hundred responses `throttled` are 429. It
/// verifies nothing, so that it takes little of the processor. `/_change/N` changes the jobs of the first N targets.
pub(crate) async fn api(shape: Shape, delay: Duration, throttled: u64) -> anyhow::Result<()> {
    let pages: &'static Mutex<BTreeMap<String, Bytes>> = Box::leak(Box::new(Mutex::new(shape.pages())));
    let (version, requests) = (AtomicUsize::new(0), AtomicU64::new(0));
    http1::serve(move |request| {
        let path = request.uri().path_and_query().map_or("", |it| it.as_str());
        let mut status = StatusCode::OK;
        let body = if let Some(changed) = path.strip_prefix("/_change/") {
            let version = version.fetch_add(1, Ordering::Relaxed) + 1;
            let changed = shape.pages_of_jobs(changed.parse().unwrap_or_default(), version);
            pages.lock().unwrap_or_else(PoisonError::into_inner).extend(changed);
            Bytes::new()
        } else if scattered(requests.fetch_add(1, Ordering::Relaxed)) % 100 < throttled {
            status = StatusCode::TOO_MANY_REQUESTS;
            Bytes::from_static(br#"{"__type":"TooManyRequestsException","Message":"slow down"}"#)
        } else {
            let page = pages.lock().unwrap_or_else(PoisonError::into_inner).get(path).cloned();
            page.unwrap_or_else(|| {
                status = StatusCode::NOT_FOUND;
                Bytes::new()
            })
        };
        let delayed = path.contains("/jobs/") && !delay.is_zero();
        async move {
            if delayed {
                tokio::time::sleep(delay).await;
            }
            let mut response = Response::new(Full::new(body));
            *response.status_mut() = status;
            response
        }
    })
    .await
}

/// A number that looks random and is the same in every run.
fn scattered(n: u64) -> u64 {
    let n = (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    n ^ (n >> 27)
}

/// Bare hyper, which sends the bytes of two files, plain or compressed as the client asks.
pub(crate) async fn bare(folder: &Path) -> anyhow::Result<()> {
    let plain = Bytes::from(std::fs::read(folder.join("plain"))?);
    let gzip = Bytes::from(std::fs::read(folder.join("gzip"))?);
    http1::serve(move |request| {
        let wants_gzip = request.headers().get(header::ACCEPT_ENCODING).is_some_and(|it| it == "gzip");
        let mut response = Response::new(Full::new(if wants_gzip { gzip.clone() } else { plain.clone() }));
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"),
        );
        if wants_gzip {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        async { response }
    })
    .await
}
