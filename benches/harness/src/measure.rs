//! What is measured, chapter by chapter. In each round the exporter and its limit take turns.

use std::{ffi::OsString, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use tokio::time::sleep;

use crate::{
    http1::Connection,
    limit,
    load::load,
    process::{Process, now},
    report::{Samples, short, table},
    world::Shape,
};

pub(crate) const CHAPTERS: [&str; 7] =
    ["start", "cached", "first", "changes", "memory", "growth", "throttled"];

/// As many as the exporter sends at once by default.
const CONNECTIONS: usize = 8;
/// How long each server is loaded in a round.
const LOAD_SECONDS: u64 = 2;

const TEN: Shape = Shape { applications: 1, segments: 1, jobs: 10 };
const THOUSAND: Shape = Shape { applications: 10, segments: 10, jobs: 10 };
const TEN_THOUSAND: Shape = Shape { applications: 10, segments: 10, jobs: 100 };
const HUNDRED_THOUSAND: Shape = Shape { applications: 10, segments: 10, jobs: 1000 };

/// Measures the chapters, all of them when none is named.
pub(crate) async fn run(program: &Path, rounds: usize, chapters: &[&str]) -> anyhow::Result<()> {
    if let Some(unknown) = chapters.iter().find(|chapter| !CHAPTERS.contains(chapter)) {
        bail!("there is no chapter {unknown:?}; there are {}", CHAPTERS.join(", "));
    }
    machine(program)?;
    for chapter in CHAPTERS.iter().filter(|chapter| chapters.is_empty() || chapters.contains(chapter)) {
        match *chapter {
            "start" => start(program, rounds).await,
            "cached" => cached(program, rounds).await,
            "first" => first(program, rounds).await,
            "changes" => changes(program, rounds).await,
            "memory" => memory(program).await,
            "growth" => growth(program).await,
            _ => throttled(program).await,
        }
        .with_context(|| format!("chapter {chapter}"))?;
    }
    Ok(())
}

fn machine(program: &Path) -> anyhow::Result<()> {
    let cpu = std::fs::read_to_string("/proc/cpuinfo")?;
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let cores = std::thread::available_parallelism()?;
    let size = std::fs::metadata(program)?.len();
    crate::say(format_args!(
        "{cores} cores,{model}; the program has {size} bytes",
        model = model.replace([':', '\t'], "")
    ));
    Ok(())
}

/// An exporter of a world, which shows every job and keeps what it has read.
struct Bench {
    api: Process,
    exporter: Process,
    shape: Shape,
}

impl Bench {
    async fn of(program: &Path, shape: Shape, delay: u64, more: &[(&str, &str)]) -> anyhow::Result<Self> {
        Self::throttled(program, shape, delay, 0, more).await
    }

    async fn throttled(
        program: &Path,
        shape: Shape,
        delay: u64,
        throttled: u64,
        more: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let Shape { applications, segments, jobs } = shape;
        let numbers = [applications, segments, jobs].map(|n| n.to_string());
        let (delay, throttled) = (delay.to_string(), throttled.to_string());
        let arguments = ["api", &numbers[0], &numbers[1], &numbers[2], &delay, &throttled];
        let api = Process::myself(&arguments.map(AsRef::as_ref)).await?;
        let mut settings = vec![
            ("AWS_ENDPOINT_URL_PINPOINT", format!("http://{}", api.address)),
            ("PINPOINT_EXPORTER_TARGETS", shape.targets_setting()),
            ("PINPOINT_EXPORTER_CACHE_TTL", "1h".to_owned()),
            ("PINPOINT_EXPORTER_DISCOVERY_TTL", "1h".to_owned()),
            ("PINPOINT_EXPORTER_MAX_STALENESS", "2h".to_owned()),
            ("PINPOINT_EXPORTER_SCRAPE_TIMEOUT", "5m".to_owned()),
            ("PINPOINT_EXPORTER_MAX_REQUESTS_PER_SECOND", "0".to_owned()),
            ("PINPOINT_EXPORTER_FINISHED_JOBS_PER_SEGMENT", "0".to_owned()),
            ("PINPOINT_EXPORTER_FINISHED_JOB_MAX_AGE", "0s".to_owned()),
        ];
        for (name, _) in more {
            settings.retain(|(known, _)| known.strip_prefix("PINPOINT_EXPORTER_") != Some(name));
        }
        let more: Vec<_> =
            more.iter().map(|(name, value)| (format!("PINPOINT_EXPORTER_{name}"), value)).collect();
        settings.extend(more.iter().map(|(name, value)| (name.as_str(), (**value).to_owned())));
        let mut exporter = Process::exporter(program, &settings)?;
        exporter.listens().await?;
        Ok(Self { api, exporter, shape })
    }

    async fn scrape(&self, encoding: &str) -> anyhow::Result<Bytes> {
        metrics(self.exporter.address, encoding).await
    }

    /// Makes the jobs of the first targets differ.
    async fn change(&self, targets: usize) -> anyhow::Result<()> {
        Connection::to(self.api.address).await?.get(&format!("/_change/{targets}"), "identity").await?;
        Ok(())
    }

    /// That all jobs are shown, once.
    fn assert_whole(&self, plain: &[u8]) -> anyhow::Result<()> {
        let jobs = count(plain, b"\npinpoint_export_job_info{");
        ensure!(jobs == self.shape.all_jobs(), "{jobs} jobs are shown of {}", self.shape.all_jobs());
        Ok(())
    }
}

async fn metrics(address: SocketAddr, encoding: &str) -> anyhow::Result<Bytes> {
    let answer = Connection::to(address).await?.get("/metrics", encoding).await?;
    ensure!(answer.status() == 200, "the scrape was answered with {}", answer.status());
    Ok(answer.into_body())
}

fn count(text: &[u8], wanted: &[u8]) -> usize {
    text.windows(wanted.len()).filter(|window| *window == wanted).count()
}

/// From the start of the process to the whole of the first answer, with one target and an API that answers at once.
async fn start(program: &Path, rounds: usize) -> anyhow::Result<()> {
    let mut samples = Samples::default();
    for _ in 0..rounds * 3 {
        let bench = Bench::of(program, TEN, 0, &[]).await?;
        bench.scrape("identity").await?;
        samples.add("start", bench.exporter.started.elapsed().as_secs_f64() * 1e3);
    }
    let row = vec!["start to first `/metrics`, ms".to_owned(), samples.cell("start"), "≤ 15".to_owned()];
    table("Start", &["what", "exporter", "goal"], &[row]);
    Ok(())
}

/// Scrapes of what is cached, beside bare hyper sending the same bytes.
async fn cached(program: &Path, rounds: usize) -> anyhow::Result<()> {
    let mut rows = Vec::new();
    let mut memory = Vec::new();
    for (jobs, shape) in [("10", TEN), ("1,000", THOUSAND), ("10,000", TEN_THOUSAND)] {
        let bench = Bench::of(program, shape, 0, &[]).await?;
        let plain = bench.scrape("identity").await?;
        bench.assert_whole(&plain)?;
        let folder = Folder::new()?;
        std::fs::write(folder.0.join("plain"), &plain)?;
        std::fs::write(folder.0.join("gzip"), bench.scrape("gzip").await?)?;
        let bare = Process::myself(&["bare".as_ref(), folder.0.as_os_str()]).await?;
        let filled = bench.exporter.megabytes("VmRSS")?;
        for (name, gzip) in [("plain", false), ("gzip", true)] {
            for connections in [1, 16] {
                let mut samples = Samples::default();
                for _ in 0..rounds {
                    for (who, server) in [("exporter", &bench.exporter), ("bare", &bare)] {
                        let load = load(server, connections, gzip, LOAD_SECONDS).await?;
                        samples.add(format!("{who} rate"), load.answers_per_second);
                        samples.add(format!("{who} p99"), load.p99_milliseconds);
                        samples.add(format!("{who} cpu"), load.cpu_milliseconds);
                    }
                }
                rows.push(vec![
                    jobs.to_owned(),
                    name.to_owned(),
                    connections.to_string(),
                    short(samples.median("bare rate")),
                    short(samples.median("exporter rate")),
                    samples.ratio("exporter rate", "bare rate"),
                    samples.ratio("exporter p99", "bare p99"),
                    samples.ratio("exporter cpu", "bare cpu"),
                ]);
            }
        }
        memory.push(vec![
            jobs.to_owned(),
            short(filled),
            short(bench.exporter.megabytes("VmHWM")?),
            short(bench.exporter.megabytes("VmHWM")? - filled),
        ]);
    }
    let head = [
        "jobs",
        "response",
        "clients",
        "bare/s",
        "exporter/s",
        "rate, ≥ 0.8",
        "p99, ≤ 1.5",
        "processor, ≤ 1.3",
    ];
    table("Cached scrapes, beside bare hyper", &head, &rows);
    table("Memory under that load, MB", &["jobs", "filled", "most", "added, ≤ 20"], &memory);
    Ok(())
}

/// The first scrape, beside a raw fetch of the same pages, and beside fetching, decoding, formatting and compressing by hand.
async fn first(program: &Path, rounds: usize) -> anyhow::Result<()> {
    let mut rows = Vec::new();
    for (jobs, shape, delay) in
        [("10,000", TEN_THOUSAND, 20), ("10,000", TEN_THOUSAND, 0), ("1,000", THOUSAND, 0)]
    {
        let paths = Arc::new(
            shape.pages(0, 0).into_keys().filter(|path| path.contains("/jobs/")).collect::<Vec<_>>(),
        );
        let mut samples = Samples::default();
        for _ in 0..rounds {
            let bench = Bench::of(program, shape, delay, &[]).await?;
            let api = bench.api.address;
            let began = now();
            bench.scrape("gzip").await?;
            samples.add("exporter", began.elapsed().as_secs_f64() * 1e3);
            bench.assert_whole(&bench.scrape("identity").await?)?;
            let began = now();
            limit::raw(api, Arc::clone(&paths), CONNECTIONS).await?;
            samples.add("raw", began.elapsed().as_secs_f64() * 1e3);
            let began = now();
            let (text, _) = limit::by_hand(api, Arc::clone(&paths), CONNECTIONS).await?;
            samples.add("by hand", began.elapsed().as_secs_f64() * 1e3);
            ensure!(text > 0, "nothing was formatted");
        }
        rows.push(vec![
            jobs.to_owned(),
            delay.to_string(),
            samples.cell("exporter"),
            samples.cell("raw"),
            samples.cell("by hand"),
            samples.ratio("exporter", "raw"),
            samples.ratio("exporter", "by hand"),
        ]);
    }
    let head = [
        "jobs",
        "API, ms",
        "exporter, ms",
        "raw fetch, ms",
        "by hand, ms",
        "to raw (20 ms: ≤ 1.15)",
        "to by hand (0 ms: ≤ 3)",
    ];
    table("First scrape, gzip, 8 connections", &head, &rows);
    Ok(())
}

/// The processor time of a refresh of a hundred targets of which so many have changed.
async fn changes(program: &Path, rounds: usize) -> anyhow::Result<()> {
    let bench = Bench::of(program, TEN_THOUSAND, 0, &[("CACHE_TTL", "0s")]).await?;
    let mut samples = Samples::default();
    bench.scrape("gzip").await?;
    for _ in 0..rounds {
        for changed in [0, 1, 10, 100] {
            // The hundredth of a second that the kernel counts in is too coarse for one.
            let mut cpu = 0.0;
            for _ in 0..5 {
                bench.change(changed).await?;
                let before = bench.exporter.cpu_seconds()?;
                bench.scrape("gzip").await?;
                cpu += bench.exporter.cpu_seconds()? - before;
            }
            samples.add(changed.to_string(), cpu * 1e3 / 5.0);
        }
    }
    let beyond = |changed: &str| {
        (samples.median(changed) - samples.median("0")) / (samples.median("100") - samples.median("0"))
    };
    let rows: Vec<_> = ["0", "1", "10", "100"]
        .iter()
        .map(|changed| {
            vec![
                (*changed).to_owned(),
                samples.cell(changed),
                format!("{} %", short(beyond(changed) * 100.0)),
            ]
        })
        .collect();
    table(
        "A refresh of 10,000 jobs in 100 targets",
        &["targets changed", "processor, ms", "beyond fetching and comparing (1: ≤ 5 %)"],
        &rows,
    );
    Ok(())
}

/// Resident memory beside the text that is shown.
async fn memory(program: &Path) -> anyhow::Result<()> {
    let limits = [("FINISHED_JOBS_PER_SEGMENT", "20"), ("FINISHED_JOB_MAX_AGE", "7d")];
    let mut rows = Vec::new();
    for (name, shape, more) in [
        ("10,000", TEN_THOUSAND, &[][..]),
        ("100,000", HUNDRED_THOUSAND, &[]),
        ("100,000, default limits", HUNDRED_THOUSAND, &limits),
    ] {
        let bench = Bench::of(program, shape, 0, more).await?;
        let gzip = bench.scrape("gzip").await?.len();
        let text = bench.scrape("identity").await?.len();
        let (rss, most) = (bench.exporter.megabytes("VmRSS")?, bench.exporter.megabytes("VmHWM")?);
        #[expect(clippy::cast_precision_loss, reason = "megabytes")]
        let (text, gzip) = (text as f64 / 1e6, gzip as f64 / 1e6);
        rows.push(vec![
            name.to_owned(),
            short(text),
            short(gzip),
            short(rss),
            short(most),
            short(rss / text),
        ]);
    }
    table("Memory, MB", &["jobs", "text", "gzip", "resident", "most", "to text, ≤ 2.5"], &rows);
    Ok(())
}

/// Time and memory by jobs and by targets.
async fn growth(program: &Path) -> anyhow::Result<()> {
    let mut rows = Vec::new();
    for shape in [
        TEN,
        Shape { applications: 1, segments: 1, jobs: 100 },
        Shape { applications: 1, segments: 1, jobs: 1_000 },
        Shape { applications: 1, segments: 1, jobs: 10_000 },
        Shape { applications: 1, segments: 1, jobs: 100_000 },
        Shape { applications: 1, segments: 10, jobs: 10 },
        Shape { applications: 10, segments: 10, jobs: 10 },
        Shape { applications: 10, segments: 100, jobs: 10 },
        Shape { applications: 50, segments: 100, jobs: 10 },
    ] {
        let bench = Bench::of(program, shape, 0, &[]).await?;
        let began = now();
        bench.scrape("gzip").await?;
        let first = began.elapsed().as_secs_f64() * 1e3;
        bench.assert_whole(&bench.scrape("identity").await?)?;
        let mut samples = Samples::default();
        for _ in 0..9 {
            let began = now();
            bench.scrape("gzip").await?;
            samples.add("cached", began.elapsed().as_secs_f64() * 1e3);
        }
        rows.push(vec![
            shape.targets().to_string(),
            shape.all_jobs().to_string(),
            short(first),
            short(samples.median("cached")),
            short(bench.exporter.megabytes("VmRSS")?),
        ]);
    }
    table(
        "Growth",
        &["targets", "jobs", "first scrape, ms", "cached scrape, gzip, ms", "resident, MB"],
        &rows,
    );
    Ok(())
}

/// The time to a whole snapshot while the API refuses three answers of ten, and that it stays whole.
async fn throttled(program: &Path) -> anyhow::Result<()> {
    let mut rows = Vec::new();
    for share in [0, 30] {
        let settings = [("CACHE_TTL", "1s"), ("SCRAPE_TIMEOUT", "10s")];
        let bench = Bench::throttled(program, TEN_THOUSAND, 20, share, &settings).await?;
        let began = now();
        let (mut scrapes, mut whole, mut partial) = (0, None, 0);
        while scrapes < 30 && began.elapsed() < Duration::from_mins(1) {
            let text = bench.scrape("identity").await?;
            scrapes += 1;
            let jobs = count(&text, b"\npinpoint_export_job_info{");
            ensure!(jobs.is_multiple_of(bench.shape.jobs), "half a listing is shown: {jobs} jobs");
            match (jobs == bench.shape.all_jobs(), whole) {
                (true, None) => whole = Some(began.elapsed().as_secs_f64()),
                (false, Some(_)) => bail!("{jobs} jobs are shown after all of them were"),
                (false, None) => partial += 1,
                (true, Some(_)) => {}
            }
            sleep(Duration::from_millis(200)).await;
        }
        let whole = whole.context("never whole")?;
        rows.push(vec![format!("{share} %"), short(whole), partial.to_string(), scrapes.to_string()]);
    }
    let head = [
        "answers that are 429",
        "whole snapshot after, s",
        "scrapes before it",
        "scrapes in all, whole since",
    ];
    table("Throttling: 10,000 jobs, API 20 ms, CACHE_TTL 1 s", &head, &rows);
    Ok(())
}

/// A folder for the bytes to send, which goes when this is dropped.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new() -> anyhow::Result<Self> {
        let name: OsString = format!("pinpoint-bench-{}", std::process::id()).into();
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left is in the folder for temporary files.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
