//! A month of scrapes in minutes: the clocks turn between them. Twice jobs come, run, end and age out; what the exporter holds after
//! the second time must be what it held after the first.

use std::collections::BTreeSet;

use anyhow::ensure;
use fake_pinpoint::{
    FakePinpoint, Options,
    world::{End, Life, World},
};

use crate::{
    client::{self, Manner},
    model::{Key, REGION},
    process::{Exporter, Log, Plan, Program, Usage},
    report::say,
    text_format::{self, Scrape},
};

const DAY: i64 = 86_400_000;
/// Two waves of jobs, and the time in which they age out.
const DAYS: i64 = 36;
/// When the jobs of each wave are created, and when the last of them has aged out: its age is 7 days at most.
const WAVES: [(i64, i64); 2] = [(1, 18), (19, 36)];
/// How long jobs come in a wave.
const WAVE: i64 = 9 * DAY;
/// Memory may differ by so much.
const MEMORY: u64 = 8 * 1024 * 1024;

/// What the exporter holds.
struct ResourceUse {
    usage: Usage,
    tasks: u64,
    series: BTreeSet<Key>,
}

/// Segments with jobs in both waves, and one that has none.
fn world(start: i64) -> World {
    let mut world = World::default();
    for (application, segment, every_hours, end) in [
        ("app-fixed", "good", 12, End::Completed),
        ("app-fixed", "bad", 18, End::Failed),
        ("app-all", "often", 8, End::Completed),
        ("app-whole", "left", 24, End::Completed),
        ("app-whole", "right", 30, End::Failed),
    ] {
        let every = every_hours * DAY / 24;
        for (wave, (from, _)) in WAVES.into_iter().enumerate() {
            let mut life = Life::new(format!("{segment}-{wave}-"), start + from * DAY, every / 2);
            (life.every, life.times, life.end) = (Some(every), Some(WAVE / every), end);
            life.failed_endpoints = 3;
            world.segment(application, segment).jobs.push(life.into());
        }
    }
    world.segment("app-all", "empty");
    world
}

/// The soak. Gives whether everything came back.
pub(crate) async fn run(scrapes: u64) -> anyhow::Result<bool> {
    let start = fake_pinpoint::Clock::default().now();
    let fake = FakePinpoint::start_with(world(start), Options::default()).await?;
    let key = Options::default_key();
    let variables = [
        ("AWS_REGION", REGION.to_owned()),
        ("AWS_ENDPOINT_URL_PINPOINT", fake.url()),
        ("AWS_ACCESS_KEY_ID", key.access_key_id),
        ("AWS_SECRET_ACCESS_KEY", key.secret_access_key),
        ("PINPOINT_EXPORTER_TARGETS", "app-fixed/good app-fixed/bad app-all/* app-whole".to_owned()),
        ("PINPOINT_EXPORTER_FINISHED_JOBS_PER_SEGMENT", "8".to_owned()),
        ("PINPOINT_EXPORTER_MAX_REQUESTS_PER_SECOND", "0".to_owned()),
    ];
    let variables = variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let plan = Plan { program: Program::Turned, log: Log::Read, limits: "", variables };
    let mut exporter = Exporter::start(&plan).await?;
    let step = DAYS * DAY / i64::try_from(scrapes)?;
    ensure!((1..=DAY / 4).contains(&step), "CHAOS_SCRAPES={scrapes} is too few or too many for {DAYS} days");
    let (mut passed, mut kept, mut most, mut peak) = (0, Vec::new(), 0, Usage::default());
    let mut requests = 0;
    for number in 0..scrapes {
        passed += step;
        fake.clock().advance(step);
        fake.server_clock().advance(step);
        exporter.steer(&format!("pass {step}")).await?;
        let manner = Manner { gzip: number % 3 == 0, timeout: Some(60.0), ..Manner::default() };
        let answer = client::get(exporter.address, "/metrics", manner).await?;
        ensure!(answer.status == 200, "a scrape is answered with status {}", answer.status);
        let due = WAVES.get(kept.len()).is_some_and(|(_, until)| passed > until * DAY - DAY / 2);
        if number % 16 == 0 || due {
            let scrape = text_format::parse(&answer.text).map_err(anyhow::Error::msg)?;
            let down = scrape.samples("pinpoint_target_up", &[]).into_iter().find(|up| up.value < 1.0);
            ensure!(down.is_none(), "{down:?} after {number} scrapes");
            most = most.max(jobs(&scrape));
            peak = exporter.usage()?;
            if due {
                kept.push(resource_use(&exporter, &scrape).await?);
            }
        }
        if number % 500 == 0 {
            requests += fake.requests().len();
            fake.clear_requests();
            // Nobody needs its lines.
            exporter.take_log();
        }
    }
    requests += fake.requests().len();
    exporter.terminate()?;
    let (status, _) = exporter.end().await?;
    ensure!(status.success(), "it ended with {status}");
    let [first, second] = &kept[..] else { anyhow::bail!("{} of two waves have aged out", kept.len()) };
    Ok(compare(first, second, (scrapes, requests, most, peak)))
}

fn jobs(scrape: &Scrape) -> usize {
    scrape.family("pinpoint_export_job_info").map_or(0, |family| family.samples.len())
}

async fn resource_use(exporter: &Exporter, scrape: &Scrape) -> anyhow::Result<ResourceUse> {
    let all = scrape.families.iter().flat_map(|family| &family.samples);
    Ok(ResourceUse {
        usage: exporter.usage()?,
        tasks: exporter.steer("tasks").await?.parse()?,
        series: all.map(|sample| (sample.name.clone(), sample.labels.clone())).collect(),
    })
}

fn compare(first: &ResourceUse, second: &ResourceUse, run: (u64, usize, usize, Usage)) -> bool {
    let (scrapes, requests, most, peak) = run;
    let mebibytes = |bytes: u64| format!("{} MiB", bytes >> 20);
    say(format_args!(
        "{scrapes} scrapes in {DAYS} days, {requests} requests to the API, {most} jobs shown at most, most memory {}",
        mebibytes(peak.peak_memory)
    ));
    let mut all_back = true;
    let mut row = |what: &str, first: String, second: String, back: bool| {
        let verdict = if back { "back" } else { "NOT BACK" };
        say(format_args!("  {what:<12} {first:>12} {second:>12}  {verdict}"));
        all_back &= back;
    };
    let (one, two) = (&first.usage, &second.usage);
    row("memory", mebibytes(one.memory), mebibytes(two.memory), two.memory <= one.memory + MEMORY);
    // A connection more or less may rest in the pool, and a thread that blocks.
    for (what, one, two, more) in [
        ("descriptors", one.descriptors, two.descriptors, 2),
        ("threads", one.threads, two.threads, 2),
        ("tasks", first.tasks, second.tasks, 2),
        ("series", first.series.len() as u64, second.series.len() as u64, 0),
    ] {
        row(what, one.to_string(), two.to_string(), two <= one + more);
    }
    for (name, labels) in first.series.symmetric_difference(&second.series) {
        row("series", format!("{name} {labels:?}"), String::new(), false);
    }
    row("jobs shown", most.to_string(), "0".to_owned(), most > 25);
    all_back
}
