//! The limit of a first scrape: the same pages fetched, decoded and written as the same lines, by hand and on all cores. It
//! does not sign, cache, retry or check anything.

use std::{
    io::Write as _,
    net::SocketAddr,
    ops::Range,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use anyhow::{bail, ensure};
use bytes::Bytes;
use flate2::{Compress, Compression, FlushCompress};
use serde::{Deserialize, de::IgnoredAny};
use tokio::task::JoinSet;

use crate::{http1::Connection, world::Shape};

/// What is done with the pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// Nothing: they are only fetched.
    Fetch,
    /// They become the lines of the jobs.
    Plain,
    /// The lines are also compressed.
    Gzip,
}

impl FromStr for Work {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        match text {
            "fetch" => Ok(Self::Fetch),
            "plain" => Ok(Self::Plain),
            "gzip" => Ok(Self::Gzip),
            _ => bail!("{text:?} is no work; there are fetch, plain and gzip"),
        }
    }
}

/// Fetches the pages over connections that each send one request after the other, and makes something of each page.
async fn fetch<T: Send + 'static>(
    api: SocketAddr,
    shape: Shape,
    connections: usize,
    make: impl Fn(&str, &Bytes) -> T + Copy + Send + 'static,
) -> anyhow::Result<Vec<T>> {
    let next = Arc::new((AtomicUsize::new(0), shape.job_paths()));
    let mut tasks = JoinSet::new();
    for _ in 0..connections {
        let next = Arc::clone(&next);
        tasks.spawn(async move {
            let (next, paths) = &*next;
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

/// Does the work. Gives the response in parts.
pub(crate) async fn by_hand(
    api: SocketAddr,
    shape: Shape,
    connections: usize,
    work: Work,
) -> anyhow::Result<Vec<Bytes>> {
    if work == Work::Fetch {
        return fetch(api, shape, connections, |_, page| page.clone()).await;
    }
    let pages = fetch(api, shape, connections, |path, page| {
        let application = path.split('/').nth(3).unwrap_or_default();
        anyhow::Ok(lines(application, &serde_json::from_slice::<Page<'_>>(page)?.jobs))
    });
    let pages = pages.await?.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    let families = 0..FAMILIES.len();
    let plain = families.flat_map(|family| pages.iter().map(move |page| page[family].clone())).collect();
    if work == Work::Gzip { compressed(plain) } else { Ok(plain) }
}

/// Compresses with level 1 on all cores, in parts of which none refers to another, as pigz does.
fn compressed(plain: Vec<Bytes>) -> anyhow::Result<Vec<Bytes>> {
    /// Enough for the compressor's window to be worth its while.
    const PART: usize = 256 << 10;
    let (mut parts, mut part, mut length) = (Vec::new(), Vec::new(), 0);
    for bytes in plain {
        length += bytes.len();
        part.push(bytes);
        if length >= PART {
            parts.push((std::mem::take(&mut part), std::mem::take(&mut length)));
        }
    }
    parts.push((part, length));
    let next = AtomicUsize::new(0);
    let mut done = thread::scope(|scope| {
        let worker = || {
            let (mut deflate, mut done) = (Compress::new(Compression::fast(), false), Vec::new());
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let Some((part, length)) = parts.get(number) else { return Ok(done) };
                let mut checksum = crc32fast::Hasher::new();
                let mut out = Vec::with_capacity(length / 4);
                deflate.reset();
                for bytes in part {
                    checksum.update(bytes);
                    let before = deflate.total_in();
                    while deflate.total_in() - before < bytes.len() as u64 {
                        let rest = &bytes[usize::try_from(deflate.total_in() - before)?..];
                        out.reserve(rest.len() / 8 + 64);
                        deflate.compress_vec(rest, &mut out, FlushCompress::None)?;
                    }
                }
                loop {
                    out.reserve(1 << 10);
                    deflate.compress_vec(&[], &mut out, FlushCompress::Sync)?;
                    if out.len() < out.capacity() {
                        break;
                    }
                }
                done.push((number, Bytes::from(out), checksum));
            }
        };
        let cores = thread::available_parallelism()?.get();
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(worker)).collect();
        let done = workers.into_iter().map(|worker| worker.join().expect("a worker does not panic"));
        done.collect::<anyhow::Result<Vec<_>>>()
    })?
    .concat();
    done.sort_by_key(|(number, ..)| *number);
    let mut checksum = crc32fast::Hasher::new();
    let mut response = vec![Bytes::from_static(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff])];
    for (_, bytes, of_part) in done {
        checksum.combine(&of_part);
        response.push(bytes);
    }
    let length: usize = parts.iter().map(|(_, length)| length).sum();
    let mut end = vec![1, 0, 0, 0xff, 0xff];
    end.extend(checksum.finalize().to_le_bytes());
    end.extend(u32::try_from(length)?.to_le_bytes());
    response.push(end.into());
    Ok(response)
}

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow, rename = "Item")]
    jobs: Vec<Job<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Job<'a> {
    id: &'a str,
    #[serde(rename = "JobStatus")]
    status: &'a str,
    #[serde(borrow)]
    definition: Definition<'a>,
    total_pieces: u64,
    completed_pieces: u64,
    failed_pieces: u64,
    total_processed: u64,
    total_failures: u64,
    creation_date: &'a str,
    completion_date: &'a str,
    failures: Vec<IgnoredAny>,
    r#type: &'a str,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Definition<'a> {
    role_arn: &'a str,
    s3_url_prefix: &'a str,
    segment_id: &'a str,
    segment_version: u64,
}

/// The families of jobs, in the exporter's order.
const FAMILIES: [&str; 10] = [
    "pieces",
    "completed_pieces",
    "failed_pieces",
    "processed_endpoints",
    "failed_endpoints",
    "failure_samples",
    "created_timestamp_seconds",
    "completed_timestamp_seconds",
    "status",
    "info",
];

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

/// The lines of a page, by family.
fn lines(application: &str, jobs: &[Job<'_>]) -> [Bytes; FAMILIES.len()] {
    let mut labels = Vec::with_capacity(jobs.len() * 256);
    let labels_of: Vec<Range<usize>> = jobs
        .iter()
        .map(|job| {
            let start = labels.len();
            append(
                &mut labels,
                [
                    r#"{aws_account_id="",aws_region="eu-west-1",application_id=""#,
                    application,
                    r#"",segment_id=""#,
                    job.definition.segment_id,
                    r#"",job_id=""#,
                    job.id,
                    "\"",
                ],
            );
            start..labels.len()
        })
        .collect();
    let mut text = Vec::with_capacity(jobs.len() * 24 * 256);
    let mut number = itoa::Buffer::new();
    let ends: [usize; FAMILIES.len()] = std::array::from_fn(|family| {
        for (job, labels_of) in jobs.iter().zip(&labels_of) {
            let start = |text: &mut Vec<u8>| {
                append(text, ["pinpoint_export_job_", FAMILIES[family]]);
                text.extend_from_slice(&labels[labels_of.clone()]);
            };
            match family {
                8 => {
                    for status in STATUSES {
                        start(&mut text);
                        let value = if status == job.status { "\"} 1\n" } else { "\"} 0\n" };
                        append(&mut text, [",status=\"", status, value]);
                    }
                    continue;
                }
                9 => {
                    start(&mut text);
                    let definition = &job.definition;
                    append(
                        &mut text,
                        [
                            ",job_type=\"",
                            job.r#type,
                            "\",segment_version=\"",
                            number.format(definition.segment_version),
                            "\",s3_url_prefix=\"",
                            definition.s3_url_prefix,
                            "\",role_arn=\"",
                            definition.role_arn,
                            "\"} 1\n",
                        ],
                    );
                    continue;
                }
                _ => start(&mut text),
            }
            text.extend_from_slice(b"} ");
            let (value, fraction) = match family {
                0 => (job.total_pieces, ""),
                1 => (job.completed_pieces, ""),
                2 => (job.failed_pieces, ""),
                3 => (job.total_processed, ""),
                4 => (job.total_failures, ""),
                5 => (job.failures.len() as u64, ""),
                6 => seconds(job.creation_date),
                _ => seconds(job.completion_date),
            };
            append(&mut text, [number.format(value), fraction, "\n"]);
        }
        text.len()
    });
    let text = Bytes::from(text);
    std::array::from_fn(|family| {
        text.slice(family.checked_sub(1).map_or(0, |before| ends[before])..ends[family])
    })
}

fn append<const N: usize>(text: &mut Vec<u8>, parts: [&str; N]) {
    for part in parts {
        text.extend_from_slice(part.as_bytes());
    }
}

/// The whole seconds since 1970 and the fraction of a date such as `2026-11-20T01:02:03.141Z`.
fn seconds(date: &str) -> (u64, &str) {
    let digits = |range: Range<usize>| {
        date.as_bytes()[range].iter().fold(0, |n, digit| n * 10 + u64::from(digit - b'0'))
    };
    // The year begins in March, so that the day that comes and goes is its last.
    let (year, month, day) = match (digits(0..4), digits(5..7), digits(8..10)) {
        (year, month @ 1..=2, day) => (year - 1, month + 9, day),
        (year, month, day) => (year, month - 3, day),
    };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1 - 719_468;
    let seconds = days * 86400 + digits(11..13) * 3600 + digits(14..16) * 60 + digits(17..19);
    (seconds, date[19..].trim_end_matches('Z'))
}

/// Fails unless a scrape of the exporter has exactly these lines of jobs, in any order.
pub(crate) fn ensure_same_lines(of_exporter: &[u8], by_hand: &[Bytes]) -> anyhow::Result<()> {
    let lines = |text: &[u8]| {
        let lines =
            text.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"pinpoint_export_job_"));
        let mut lines: Vec<_> = lines.map(<[u8]>::to_vec).collect();
        lines.sort_unstable();
        lines
    };
    let (of_exporter, by_hand) = (lines(of_exporter), lines(&by_hand.concat()));
    let different = of_exporter.iter().zip(&by_hand).find(|(one, other)| one != other);
    if let Some((one, other)) = different {
        let [one, other] = [one, other].map(|line| String::from_utf8_lossy(line));
        bail!("by hand is not the text of the exporter: {one} is {other}");
    }
    ensure!(of_exporter.len() == by_hand.len(), "{} lines, by hand {}", of_exporter.len(), by_hand.len());
    Ok(())
}

/// The text of a gzip response.
pub(crate) fn unzipped(parts: &[Bytes]) -> anyhow::Result<Bytes> {
    let mut decoder = flate2::write::GzDecoder::new(Vec::new());
    for part in parts {
        decoder.write_all(part)?;
    }
    Ok(decoder.finish()?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_become_the_seconds_since_1970() {
        for (date, expected) in [
            ("1970-01-01T00:00:00Z", (0, "")),
            ("2000-02-29T23:59:59.5Z", (951_868_799, ".5")),
            ("2026-11-20T01:02:03.141Z", (1_795_136_523, ".141")),
        ] {
            assert_eq!(seconds(date), expected, "{date}");
        }
    }

    #[test]
    fn parts_that_are_compressed_side_by_side_are_one_gzip_response() {
        let plain: Vec<_> = (0..3000_usize).map(|n| Bytes::from(n.to_string().repeat(n % 200))).collect();
        assert!(unzipped(&compressed(plain.clone()).unwrap()).unwrap() == plain.concat());
    }

    #[test]
    fn a_line_more_or_another_value_is_not_the_same_text() {
        let line = b"pinpoint_export_job_pieces{job_id=\"a\"} 1\n".as_slice();
        let by_hand = [Bytes::from_static(line)];
        assert!(ensure_same_lines(&[b"# HELP x\n", line].concat(), &by_hand).is_ok());
        assert!(ensure_same_lines(&line.repeat(2), &by_hand).is_err());
        assert!(ensure_same_lines(b"pinpoint_export_job_pieces{job_id=\"a\"} 2\n", &by_hand).is_err());
    }
}
