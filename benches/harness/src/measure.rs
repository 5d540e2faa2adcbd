//! What is measured, chapter by chapter. In each round the exporter and its limit take turns.

use std::{ffi::OsString, net::SocketAddr, path::Path, time::Duration};

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use tokio::time::sleep;

use crate::{
    http1::Connection,
    limit::{self, Work},
    load::load,
    process::{Process, now},
    report::{Goal, Samples, Values, cells, short, table},
    world::Shape,
};

pub(crate) const CHAPTERS: [&str; 9] =
    ["start", "first", "refresh", "cached", "targets", "discovery", "memory", "growth", "throttled"];

/// Requests at once, of the exporter and of its limit.
pub(crate) const CONNECTIONS: usize = 16;
/// How long each server is loaded in a round.
const LOAD_SECONDS: u64 = 2;

pub(crate) const TEN: Shape = Shape { applications: 1, segments: 1, jobs: 10 };
pub(crate) const THOUSAND: Shape = Shape { applications: 10, segments: 10, jobs: 10 };
pub(crate) const TEN_THOUSAND: Shape = Shape { applications: 10, segments: 10, jobs: 100 };
const HUNDRED_THOUSAND: Shape = Shape { applications: 10, segments: 10, jobs: 1000 };
const FIVE_THOUSAND_TARGETS: Shape = Shape { applications: 50, segments: 100, jobs: 10 };

/// Measures the chapters, all of them when none is named.
pub(crate) async fn run(program: &Path, rounds: usize, chapters: &[&str]) -> anyhow::Result<()> {
    if let Some(unknown) = chapters.iter().find(|chapter| !CHAPTERS.contains(chapter)) {
        bail!("there is no chapter {unknown:?}; there are {}", CHAPTERS.join(", "));
    }
    machine(rounds)?;
    for chapter in CHAPTERS.iter().filter(|chapter| chapters.is_empty() || chapters.contains(chapter)) {
        match *chapter {
            "start" => start(program, rounds).await,
            "first" => first(program, rounds).await,
            "refresh" => refresh(program, rounds).await,
            "cached" => cached(program, rounds).await,
            "targets" => targets(program, rounds).await,
            "discovery" => discovery(program, rounds).await,
            "memory" => memory(program, rounds).await,
            "growth" => growth(program).await,
            _ => throttled(program).await,
        }
        .with_context(|| format!("chapter {chapter}"))?;
    }
    Ok(())
}

/// Prints where and how the figures were measured.
pub(crate) fn machine(rounds: usize) -> anyhow::Result<()> {
    let cpu = std::fs::read_to_string("/proc/cpuinfo")?;
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let load = std::fs::read_to_string("/proc/loadavg")?;
    crate::say(format_args!(
        "{cores} cores of {model}, load {load} before the run, {rounds} rounds",
        cores = std::thread::available_parallelism()?,
        model = model.trim_start_matches([':', '\t', ' ']),
        load = load.split(' ').next().unwrap_or_default(),
    ));
    Ok(())
}

/// An exporter of a world, which shows every job and keeps what it has read.
pub(crate) struct Bench {
    pub(crate) api: Process,
    pub(crate) exporter: Process,
    shape: Shape,
}

impl Bench {
    pub(crate) async fn of(
        program: &Path,
        shape: Shape,
        delay: u64,
        more: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        Self::throttled(program, shape, delay, 0, more).await
    }

    async fn throttled(
        program: &Path,
        shape: Shape,
        delay: u64,
        throttled: u64,
        more: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let [applications, segments, jobs] = shape.arguments();
        let (delay, throttled) = (delay.to_string(), throttled.to_string());
        let api = Process::myself(&["api", &applications, &segments, &jobs, &delay, &throttled]).await?;
        let mut settings = vec![
            ("AWS_ENDPOINT_URL_PINPOINT", format!("http://{}", api.address)),
            ("PINPOINT_EXPORTER_TARGETS", shape.targets_setting()),
            ("PINPOINT_EXPORTER_CACHE_TTL", "3600s".to_owned()),
            ("PINPOINT_EXPORTER_DISCOVERY_TTL", "1h".to_owned()),
            ("PINPOINT_EXPORTER_MAX_STALENESS", "2h".to_owned()),
            ("PINPOINT_EXPORTER_SCRAPE_TIMEOUT", "5m".to_owned()),
            ("PINPOINT_EXPORTER_MAX_CONCURRENT_REQUESTS", CONNECTIONS.to_string()),
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
        let response = Connection::to(self.exporter.address).await?.get("/metrics", encoding).await?;
        ensure!(response.status() == 200, "the scrape was answered with {}", response.status());
        Ok(response.into_body())
    }

    /// Scrapes, keeps nothing of the response, and gives the milliseconds until its end.
    pub(crate) async fn timed_scrape(&self, encoding: &str) -> anyhow::Result<f64> {
        timed_scrape(self.exporter.address, encoding).await
    }

    /// Makes the jobs of the first targets differ.
    async fn change(&self, targets: usize) -> anyhow::Result<()> {
        Connection::to(self.api.address).await?.get(&format!("/_change/{targets}"), "identity").await?;
        Ok(())
    }

    /// Does the same by hand, in a process of its own. Gives milliseconds of time and of the processor.
    pub(crate) async fn by_hand(&self, work: &str) -> anyhow::Result<[f64; 2]> {
        let [applications, segments, jobs] = self.shape.arguments();
        let api = self.api.address.to_string();
        let line = Process::output(&["by-hand", &api, &applications, &segments, &jobs, work]).await?;
        let (time, cpu) = line.split_once(' ').context("no two figures")?;
        Ok([time.parse()?, cpu.parse()?])
    }

    /// A scrape as text. Fails unless it shows all jobs, once.
    pub(crate) async fn ensure_whole(&self) -> anyhow::Result<Bytes> {
        let plain = self.scrape("identity").await?;
        let jobs = count(&plain, b"\npinpoint_export_job_info{");
        ensure!(jobs == self.shape.all_jobs(), "{jobs} jobs are shown of {}", self.shape.all_jobs());
        Ok(plain)
    }

    /// Fails unless the limit makes the text that the exporter makes.
    async fn ensure_same_text(&self) -> anyhow::Result<()> {
        let plain = self.ensure_whole().await?;
        let by_hand = |work| limit::by_hand(self.api.address, self.shape, CONNECTIONS, work);
        limit::ensure_same_lines(&plain, &by_hand(Work::Plain).await?)?;
        limit::ensure_same_lines(&plain, &[limit::unzipped(&by_hand(Work::Gzip).await?)?])
    }
}

async fn timed_scrape(address: SocketAddr, encoding: &str) -> anyhow::Result<f64> {
    let began = now();
    let response = Connection::to(address).await?.read("/metrics", encoding).await?;
    ensure!(response.status() == 200, "the scrape was answered with {}", response.status());
    Ok(began.elapsed().as_secs_f64() * 1e3)
}

#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
pub(crate) fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

fn count(text: &[u8], wanted: &[u8]) -> usize {
    text.windows(wanted.len()).filter(|window| *window == wanted).count()
}

/// For how long nothing happens before a scrape is measured, and before the work by hand begins.
pub(crate) const IDLE: Duration = Duration::from_millis(300);

/// Waits until a process has nothing more to do. Gives the processor time that it has used, in milliseconds.
async fn settled(process: &Process) -> anyhow::Result<f64> {
    let mut before = process.cpu_milliseconds()?;
    loop {
        sleep(IDLE).await;
        let now = process.cpu_milliseconds()?;
        if now - before < 1.0 {
            return Ok(now);
        }
        before = now;
    }
}

/// The size, and the time from the start of the process to the end of the first response, with one target and an API that
/// answers at once.
async fn start(program: &Path, rounds: usize) -> anyhow::Result<()> {
    let mut samples = Samples::default();
    samples.add("size", megabytes(std::fs::metadata(program)?.len()));
    for _ in 0..rounds * 3 {
        let bench = Bench::of(program, TEN, 0, &[]).await?;
        bench.timed_scrape("identity").await?;
        samples.add("start", bench.exporter.started.elapsed().as_secs_f64() * 1e3);
    }
    let row = |what: &str, name, goal: Goal| {
        std::iter::once(what.to_owned()).chain(cells(samples.of(name), goal)).collect()
    };
    let rows = [
        row("size of the program, MB", "size", Goal::AtMost(6.0)),
        row("start to the end of the first `/metrics`, ms", "start", Goal::AtMost(15.0)),
    ];
    table("Size and start", &["what", "exporter", "goal", "result"], &rows);
    Ok(())
}

/// The columns of a table with cells of [`compared`]: those before them, and the parts of the work that are measured alone.
fn columns<'a>(first: &[&'a str], parts: &[&'a str]) -> Vec<&'a str> {
    [first, &["exporter, ms", "by hand, ms"], parts, &["exporter / by hand", "goal", "result"]].concat()
}

/// The exporter beside the same work by hand, and beside parts of the work.
fn compared(
    samples: &Samples,
    [exporter, by_hand]: [&str; 2],
    parts: &[&str],
    goal: Option<Goal>,
) -> Vec<String> {
    let names = [exporter, by_hand].into_iter().chain(parts.iter().copied());
    let medians = names.map(|name| short(samples.of(name).median()));
    medians.chain(cells(&samples.ratio(exporter, by_hand), goal)).collect()
}

/// The first scrape, beside the same work by hand.
async fn first(program: &Path, rounds: usize) -> anyhow::Result<()> {
    let (mut time, mut processor) = (Vec::new(), Vec::new());
    let most = |goal| Some(Goal::AtMost(goal));
    // Jobs, milliseconds of the API, the response, what is done by hand, goals of time and of the processor.
    for (jobs, shape, delay, encoding, work, time_goal, cpu_goal) in [
        ("10,000", TEN_THOUSAND, 0, "identity", "plain", most(3.0), most(2.0)),
        ("10,000", TEN_THOUSAND, 0, "gzip", "gzip", most(1.3), most(2.0)),
        ("10,000", TEN_THOUSAND, 20, "identity", "plain", most(1.08), most(2.0)),
        ("10,000", TEN_THOUSAND, 20, "gzip", "plain", most(1.08), None),
        ("1,000", THOUSAND, 0, "gzip", "gzip", most(3.0), None),
    ] {
        let mut samples = Samples::default();
        let mut bare = None;
        for _ in 0..rounds {
            let bench = Bench::of(program, shape, delay, &[]).await?;
            let before = settled(&bench.exporter).await?;
            samples.add("exporter", bench.timed_scrape(encoding).await?);
            samples.add("exporter cpu", settled(&bench.exporter).await? - before);
            let bare = if let Some(bare) = &bare {
                bare
            } else {
                bench.ensure_same_text().await?;
                bare.insert(Bare::of(&bench).await?)
            };
            samples.add("send", timed_scrape(bare.server.address, encoding).await?);
            for (name, work) in [("by hand", work), ("fetch", "fetch")] {
                let [time, cpu] = bench.by_hand(work).await?;
                samples.add(name, time);
                samples.add(format!("{name} cpu"), cpu);
            }
        }
        let row = |suffix: &str, parts: &[&str], goal: Option<Goal>| {
            let [exporter, by_hand] = ["exporter", "by hand"].map(|name| format!("{name}{suffix}"));
            let response = if encoding == "gzip" { "gzip" } else { "plain" };
            let mut row = vec![jobs.to_owned(), delay.to_string(), response.to_owned(), work.to_owned()];
            row.extend(compared(&samples, [&exporter, &by_hand], parts, goal));
            row
        };
        time.push(row("", &["fetch", "send"], time_goal));
        processor.push(row(" cpu", &["fetch cpu"], cpu_goal));
    }
    let first = ["jobs", "API, ms", "response", "by hand"];
    table("First scrape: time", &columns(&first, &["fetch only, ms", "send only, ms"]), &time);
    table("First scrape: processor time", &columns(&first, &["fetch only, ms"]), &processor);
    Ok(())
}

/// The processor time of a refresh of a hundred targets of which some have changed.
async fn refresh(program: &Path, rounds: usize) -> anyhow::Result<()> {
    const CHANGED: [usize; 4] = [0, 1, 10, 100];
    let bench = Bench::of(program, TEN_THOUSAND, 0, &[("CACHE_TTL", "0s")]).await?;
    let mut samples = Samples::default();
    bench.timed_scrape("gzip").await?;
    for _ in 0..rounds {
        for changed in CHANGED {
            bench.change(changed).await?;
            let before = settled(&bench.exporter).await?;
            bench.timed_scrape("gzip").await?;
            samples.add(changed.to_string(), settled(&bench.exporter).await? - before);
        }
        samples.add("by hand", bench.by_hand("plain").await?[1]);
        samples.add("fetch", bench.by_hand("fetch").await?[1]);
    }
    let row = |changed: usize| {
        let name = changed.to_string();
        let mut row = vec![name.clone()];
        let goal = (changed == 1).then_some(Goal::AtMost(1.3));
        row.extend(compared(&samples, [&name, "by hand"], &["fetch"], goal));
        row
    };
    let head = columns(&["targets changed of 100"], &["fetch only, ms"]);
    table("Refresh of 10,000 jobs: processor time", &head, &CHANGED.map(row));
    Ok(())
}

/// A bare server of what an exporter has cached.
pub(crate) struct Bare {
    pub(crate) server: Process,
    pub(crate) text_megabytes: f64,
    folder: Folder,
}

impl Bare {
    pub(crate) async fn of(bench: &Bench) -> anyhow::Result<Self> {
        let text = bench.ensure_whole().await?;
        let folder = Folder::new()?;
        std::fs::write(folder.0.join("plain"), &text)?;
        std::fs::write(folder.0.join("gzip"), bench.scrape("gzip").await?)?;
        let server = Process::myself(&["bare", folder.path()?]).await?;
        Ok(Self { server, text_megabytes: megabytes(text.len() as u64), folder })
    }

    /// Another bare server, which also writes the exporter's own metrics for each response.
    async fn own_metrics(&self) -> anyhow::Result<Process> {
        Process::myself(&["own-metrics", self.folder.path()?]).await
    }
}

/// Scrapes of what is cached, beside bare hyper sending the same bytes.
async fn cached(program: &Path, rounds: usize) -> anyhow::Result<()> {
    let mut rows = Vec::new();
    let mut memory = Vec::new();
    for (jobs, shape) in [("10", TEN), ("1,000", THOUSAND), ("10,000", TEN_THOUSAND)] {
        let bench = Bench::of(program, shape, 0, &[]).await?;
        let bare = Bare::of(&bench).await?;
        let own_metrics = bare.own_metrics().await?;
        let filled = bench.exporter.megabytes("VmRSS")?;
        for (name, gzip) in [("plain", false), ("gzip", true)] {
            for connections in [1, 16] {
                let mut samples = Samples::default();
                let mut servers = vec![("exporter", &bench.exporter), ("bare", &bare.server)];
                if gzip {
                    servers.push(("own metrics", &own_metrics));
                }
                for _ in 0..rounds {
                    for (who, server) in &servers {
                        let load = load(server, connections, gzip, LOAD_SECONDS).await?;
                        samples.add(format!("{who} rate"), load.answers_per_second);
                        samples.add(format!("{who} p99"), load.p99_milliseconds);
                        samples.add(format!("{who} cpu"), load.cpu_milliseconds);
                    }
                }
                let rate = if (jobs, gzip, connections) == ("10", true, 16) { 0.9 } else { 0.8 };
                let mut row = vec![jobs.to_owned(), name.to_owned(), connections.to_string()];
                row.extend(["bare rate", "exporter rate"].map(|name| short(samples.of(name).median())));
                row.push(if gzip {
                    samples.ratio("own metrics rate", "bare rate").to_string()
                } else {
                    String::new()
                });
                for (name, goal) in
                    [("rate", Goal::AtLeast(rate)), ("p99", Goal::AtMost(1.5)), ("cpu", Goal::AtMost(1.3))]
                {
                    let [ratio, goal, verdict] =
                        cells(&samples.ratio(&format!("exporter {name}"), &format!("bare {name}")), goal);
                    row.extend([ratio, format!("{goal}, {verdict}")]);
                }
                rows.push(row);
            }
        }
        let most = bench.exporter.megabytes("VmHWM")?;
        let mut row = vec![jobs.to_owned(), short(filled), short(most)];
        row.extend(cells(&Values::from(most - filled), Goal::AtMost(20.0)));
        memory.push(row);
    }
    let head = [
        "jobs",
        "response",
        "clients",
        "bare/s",
        "exporter/s",
        "own metrics / bare",
        "rate",
        "goal",
        "p99",
        "goal",
        "processor",
        "goal",
    ];
    table("Cached scrapes, beside bare hyper", &head, &rows);
    table("Memory under that load, MB", &["jobs", "filled", "most", "added", "goal", "result"], &memory);
    Ok(())
}

/// A cached scrape of thousands of small targets.
async fn targets(program: &Path, rounds: usize) -> anyhow::Result<()> {
    let bench = Bench::of(program, FIVE_THOUSAND_TARGETS, 0, &[]).await?;
    let bare = Bare::of(&bench).await?;
    let mut samples = Samples::default();
    for _ in 0..rounds * 5 {
        for encoding in ["identity", "gzip"] {
            samples.add(format!("exporter {encoding}"), bench.timed_scrape(encoding).await?);
            samples.add(format!("bare {encoding}"), timed_scrape(bare.server.address, encoding).await?);
        }
    }
    let row = |name: &str, encoding: &str, goal: Option<Goal>| {
        let mut row = vec![name.to_owned(), short(samples.of(&format!("bare {encoding}")).median())];
        row.extend(cells(samples.of(&format!("exporter {encoding}")), goal));
        row
    };
    let rows = [row("gzip", "gzip", Some(Goal::AtMost(5.0))), row("plain", "identity", None)];
    let head = ["response", "bare, ms", "exporter, ms", "goal", "result"];
    table("Cached scrape of 5,000 targets of 10 jobs", &head, &rows);
    Ok(())
}

/// The processor time until all segments are found, and of a first scrape, which also lists the jobs of each. There are none.
async fn discovery(program: &Path, rounds: usize) -> anyhow::Result<()> {
    const APPLICATIONS: [usize; 3] = [25, 50, 100];
    /// Lists of jobs that do not come leave only discovery to be measured.
    const NEVER: u64 = 3_600_000;
    let patience = [("REQUEST_TIMEOUT", "1h"), ("REFRESH_TIMEOUT", "1h"), ("SCRAPE_TIMEOUT", "1h")];
    let mut samples = Samples::default();
    for _ in 0..rounds {
        for applications in APPLICATIONS {
            let shape = Shape { applications, segments: 500, jobs: 0 };
            for (name, delay) in [("discovery", NEVER), ("scrape", 0)] {
                let bench = Bench::of(program, shape, delay, &patience).await?;
                let before = settled(&bench.exporter).await?;
                let address = bench.exporter.address;
                let scrape = tokio::spawn(async move { timed_scrape(address, "gzip").await });
                if delay == 0 {
                    scrape.await??;
                }
                samples.add(format!("{name} {applications}"), settled(&bench.exporter).await? - before);
            }
        }
    }
    let row = |applications: usize| {
        let scrape = samples.of(&format!("scrape {applications}"));
        let discovery = samples.of(&format!("discovery {applications}"));
        let mut row = vec![format!("{applications} × 500"), scrape.to_string()];
        row.extend(cells(discovery, (applications == 100).then_some(Goal::AtMost(300.0))));
        row
    };
    let mut rows = APPLICATIONS.map(row).to_vec();
    let mut growth = vec!["100 × 500 / 50 × 500".to_owned()];
    growth.push(samples.ratio("scrape 100", "scrape 50").to_string());
    growth.extend(cells(&samples.ratio("discovery 100", "discovery 50"), Goal::AtMost(2.2)));
    rows.push(growth);
    let head =
        ["applications × segments", "first scrape without jobs, ms", "discovery, ms", "goal", "result"];
    table("Discovery: processor time", &head, &rows);
    Ok(())
}

/// Resident memory beside the text that is shown, when only compressed responses were asked for, as by Prometheus.
async fn memory(program: &Path, rounds: usize) -> anyhow::Result<()> {
    let limits = [("FINISHED_JOBS_PER_SEGMENT", "20"), ("FINISHED_JOB_MAX_AGE", "7d")];
    let mut rows = Vec::new();
    for (name, shape, more, goal) in [
        ("10,000 in 100 segments", TEN_THOUSAND, &[][..], Some(Goal::AtMost(0.6))),
        ("100,000 in 100 segments", HUNDRED_THOUSAND, &[], Some(Goal::AtMost(0.6))),
        ("100,000 in 100 segments, default limits", HUNDRED_THOUSAND, &limits, None),
    ] {
        let mut samples = Samples::default();
        for _ in 0..rounds {
            let bench = Bench::of(program, shape, 0, more).await?;
            for _ in 0..3 {
                bench.timed_scrape("gzip").await?;
            }
            settled(&bench.exporter).await?;
            samples.add("gzip only", bench.exporter.megabytes("VmRSS")?);
            samples.add("most", bench.exporter.megabytes("VmHWM")?);
            samples.add("text", megabytes(bench.scrape("identity").await?.len() as u64));
            settled(&bench.exporter).await?;
            samples.add("plain too", bench.exporter.megabytes("VmRSS")?);
        }
        let mut row = vec![name.to_owned()];
        row.extend(["text", "most", "plain too", "gzip only"].map(|name| short(samples.of(name).median())));
        row.extend(cells(&samples.ratio("gzip only", "text"), goal));
        rows.push(row);
    }
    let head = [
        "jobs",
        "text",
        "highest until then",
        "after a plain scrape",
        "resident after gzip only",
        "to text",
        "goal",
        "result",
    ];
    table("Resident memory, MB", &head, &rows);
    Ok(())
}

/// Time and memory by jobs and by targets.
async fn growth(program: &Path) -> anyhow::Result<()> {
    let mut rows = Vec::new();
    for (applications, segments, jobs) in [
        (1, 1, 10),
        (1, 1, 100),
        (1, 1, 1_000),
        (1, 1, 10_000),
        (1, 1, 100_000),
        (1, 10, 10),
        (10, 10, 10),
        (10, 100, 10),
        (50, 100, 10),
    ] {
        let shape = Shape { applications, segments, jobs };
        let bench = Bench::of(program, shape, 0, &[]).await?;
        let first = bench.timed_scrape("gzip").await?;
        let mut samples = Samples::default();
        for _ in 0..9 {
            samples.add("cached", bench.timed_scrape("gzip").await?);
        }
        settled(&bench.exporter).await?;
        let resident = bench.exporter.megabytes("VmRSS")?;
        let text = megabytes(bench.ensure_whole().await?.len() as u64);
        rows.push(vec![
            shape.targets().to_string(),
            shape.all_jobs().to_string(),
            short(text),
            short(first),
            short(samples.of("cached").median()),
            short(resident),
        ]);
    }
    table(
        "Growth",
        &["targets", "jobs", "text, MB", "first scrape, ms", "cached scrape, gzip, ms", "resident, MB"],
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
    let head = ["responses that are 429", "all jobs shown after, s", "scrapes before", "scrapes in all"];
    table("Throttling: 10,000 jobs, API 20 ms, CACHE_TTL 1 s", &head, &rows);
    Ok(())
}

/// A folder for the bytes to send. It is removed when this is dropped.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new() -> anyhow::Result<Self> {
        let name: OsString = format!("pinpoint-bench-{}", std::process::id()).into();
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    fn path(&self) -> anyhow::Result<&str> {
        self.0.to_str().context("the name of the folder for temporary files is not valid UTF-8")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left is in the folder for temporary files.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
