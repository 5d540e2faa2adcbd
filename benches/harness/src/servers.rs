//! The servers that stand beside the exporter, each a process of its own: the API, and bare hyper.

use std::{
    collections::BTreeMap,
    io::Read as _,
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use bytes::{Buf as _, BufMut as _, Bytes};
use crc32fast::Hasher;
use flate2::read::GzDecoder;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;

use crate::{http1, process::now, world::Shape};

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

/// The last part of a response begins with this line. It differs in each response.
const OWN: &str = "# HELP pinpoint_exporter_cache_lookups_total";

/// Bare hyper, which sends compressed bytes from memory, but writes the exporter's own metrics and the checksum for each
/// response, and sends the exporter's headers. No exporter with these metrics can do less.
pub(crate) async fn own_metrics(folder: &Path) -> anyhow::Result<()> {
    let gzip = Bytes::from(std::fs::read(folder.join("gzip"))?);
    let mut text = String::new();
    GzDecoder::new(&gzip[..]).read_to_string(&mut text)?;
    let (shared, own) = text.split_at(text.rfind(OWN).context("no metrics of its own")?);
    // The text before each value, and whether the value is a duration.
    let (mut samples, mut before) = (Vec::new(), String::new());
    for line in own.lines() {
        match line.rsplit_once(' ') {
            Some((sample, _)) if !line.starts_with('#') => {
                let before = std::mem::replace(&mut before, "\n".to_owned());
                samples.push((format!("{before}{sample} "), sample.ends_with("_duration_seconds")));
            }
            _ => before.extend([line, "\n"]),
        }
    }
    // The header of a stored block has five bytes.
    let at =
        gzip.windows(OWN.len()).rposition(|bytes| bytes == OWN.as_bytes()).and_then(|at| at.checked_sub(5));
    let cached = gzip.slice(..at.context("they are compressed")?);
    let mut checksum = Hasher::new();
    checksum.update(shared.as_bytes());
    let length = shared.len();
    let (responses, last_duration) = (AtomicU64::new(0), AtomicU64::new(0));
    http1::serve(move |_| {
        let began = now();
        let count = responses.fetch_add(1, Ordering::Relaxed);
        let mut own = String::with_capacity(2048);
        for (before, is_duration) in &samples {
            own.push_str(before);
            if *is_duration {
                let nanoseconds = last_duration.load(Ordering::Relaxed);
                own.push_str("0.");
                own.push_str(&itoa::Buffer::new().format(1_000_000_000 + nanoseconds)[1..]);
            } else {
                own.push_str(itoa::Buffer::new().format(count));
            }
        }
        own.push('\n');
        let mut checksum = checksum.clone();
        checksum.update(own.as_bytes());
        let mut end = Vec::with_capacity(own.len() + 16);
        let block = u16::try_from(own.len()).unwrap_or(u16::MAX);
        end.put_u8(1);
        end.put_u16_le(block);
        end.put_u16_le(!block);
        end.extend_from_slice(own.as_bytes());
        end.put_u32_le(checksum.finalize());
        end.put_u32_le(u32::try_from(length + own.len()).unwrap_or(u32::MAX));
        last_duration.store(began.elapsed().subsec_nanos().into(), Ordering::Relaxed);
        let mut response = Response::new(Full::new(cached.clone().chain(Bytes::from(end))));
        for (name, value) in [
            (header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8"),
            (header::CACHE_CONTROL, "no-store"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::VARY, "Accept-Encoding"),
            (header::CONTENT_ENCODING, "gzip"),
        ] {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        async { response }
    })
    .await
}
