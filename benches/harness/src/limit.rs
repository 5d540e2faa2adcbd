//! What the first scrape costs at least: the same pages fetched over as many connections, and, on top of that, decoded,
//! formatted and compressed by hand, without signing, caching, retrying or checking anything.

use std::{
    fmt::Write as _,
    io::Write as _,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use serde::Deserialize;
use tokio::task::JoinSet;

use crate::http1::Connection;

/// Fetches pages, each connection one after the other, and makes something of each.
async fn fetch<T: Send + 'static>(
    api: SocketAddr,
    paths: Arc<Vec<String>>,
    connections: usize,
    make: impl Fn(&str, &Bytes) -> T + Copy + Send + 'static,
) -> anyhow::Result<Vec<T>> {
    let next = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    for _ in 0..connections {
        let (paths, next) = (Arc::clone(&paths), Arc::clone(&next));
        tasks.spawn(async move {
            let mut connection = Connection::to(api).await?;
            let mut results = Vec::new();
            while let Some(path) = paths.get(next.fetch_add(1, Ordering::Relaxed)) {
                let page = connection.get(path, "gzip").await?.into_body();
                results.push(make(path, &page));
            }
            anyhow::Ok(results)
        });
    }
    let mut all = Vec::new();
    while let Some(made) = tasks.join_next().await {
        all.extend(made??);
    }
    Ok(all)
}

/// Only fetches. Gives the bytes.
pub(crate) async fn raw(
    api: SocketAddr,
    paths: Arc<Vec<String>>,
    connections: usize,
) -> anyhow::Result<usize> {
    Ok(fetch(api, paths, connections, |_, body| body.len()).await?.into_iter().sum())
}

/// Fetches, decodes, formats, and compresses all of it in one pass. Gives the bytes of the text and of the answer.
pub(crate) async fn by_hand(
    api: SocketAddr,
    paths: Arc<Vec<String>>,
    connections: usize,
) -> anyhow::Result<(usize, usize)> {
    let texts = fetch(api, paths, connections, |path, body| {
        let application = path.split('/').nth(3).unwrap_or_default();
        let page: Page<'_> = serde_json::from_slice(body)?;
        let mut text = String::new();
        page.jobs.iter().for_each(|job| format(&mut text, application, job));
        anyhow::Ok(text)
    })
    .await?;
    let texts = texts.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    for text in &texts {
        encoder.write_all(text.as_bytes())?;
    }
    Ok((texts.iter().map(String::len).sum(), encoder.finish()?.len()))
}

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow, rename = "Item")]
    jobs: Vec<Item<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Item<'a> {
    id: &'a str,
    job_status: &'a str,
    #[serde(borrow)]
    definition: Definition<'a>,
    total_pieces: u64,
    completed_pieces: u64,
    failed_pieces: u64,
    total_processed: u64,
    total_failures: u64,
    creation_date: &'a str,
    completion_date: &'a str,
    #[serde(borrow)]
    failures: Vec<&'a str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Definition<'a> {
    role_arn: &'a str,
    s3_url_prefix: &'a str,
    segment_id: &'a str,
    segment_version: u32,
}

const STATUSES: [&str; 9] = [
    "CREATED",
    "PREPARING_FOR_INITIALIZATION",
    "INITIALIZING",
    "PROCESSING",
    "PENDING_JOB",
    "COMPLETING",
    "COMPLETED",
    "FAILING",
    "FAILED",
];

/// The lines of a job. Dates are hashed instead of read, which costs about the same and needs no calendar here.
fn format(text: &mut String, application: &str, job: &Item<'_>) {
    let mut labels = String::with_capacity(256);
    let _ = write!(
        labels,
        "aws_account_id=\"\",aws_region=\"eu-west-1\",application_id=\"{application}\",segment_id=\"{}\",job_id=\"{}\"",
        job.definition.segment_id, job.id
    );
    let date = |text: &str| text.bytes().fold(0_u64, |sum, byte| sum.wrapping_mul(31) + u64::from(byte));
    for (name, value) in [
        ("pieces", job.total_pieces),
        ("completed_pieces", job.completed_pieces),
        ("failed_pieces", job.failed_pieces),
        ("processed_endpoints", job.total_processed),
        ("failed_endpoints", job.total_failures),
        ("failure_samples", job.failures.len() as u64),
        ("created_timestamp_seconds", date(job.creation_date) % 10_000_000_000),
        ("completed_timestamp_seconds", date(job.completion_date) % 10_000_000_000),
    ] {
        let _ = writeln!(text, "pinpoint_export_job_{name}{{{labels}}} {value}");
    }
    for status in STATUSES {
        let value = u8::from(status == job.job_status);
        let _ = writeln!(text, "pinpoint_export_job_status{{{labels},status=\"{status}\"}} {value}");
    }
    let Definition { role_arn, s3_url_prefix, segment_version, .. } = &job.definition;
    let _ = writeln!(
        text,
        "pinpoint_export_job_info{{{labels},job_type=\"EXPORT\",segment_version=\"{segment_version}\",s3_url_prefix=\"{s3_url_prefix}\",role_arn=\"{role_arn}\"}} 1"
    );
}
