//! SIGTERM while a hundred scrapes wait for a refresh: each that was accepted is answered, and the process ends well and soon.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, ensure};
use fake_pinpoint::{FakePinpoint, HANG_LIMIT, fault::Fault, world::World};
use fastrand::Rng;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use crate::{
    client::{self, Answer, Manner, Unanswered},
    model::REGION,
    process::{Exporter, Log, Plan, Program},
    report::say,
    text_format,
};

const SCRAPES: u64 = 100;
/// How many more try to connect while it ends.
const LATECOMERS: u64 = 20;
const TARGETS: u64 = 5;
const LIMIT: Duration = Duration::from_secs(10);

/// What a round came to.
struct Round {
    took: Duration,
    late_answers: u64,
}

/// So many rounds. Gives whether all went well.
pub(crate) async fn run(rounds: u64, seed: u64) -> anyhow::Result<bool> {
    say(format_args!("seed {seed}, {rounds} rounds of {SCRAPES} scrapes"));
    let (mut good, mut longest, mut late) = (0, Duration::ZERO, 0);
    for number in 0..rounds {
        match round(&mut Rng::with_seed(seed.wrapping_add(number))).await {
            Ok(Round { took, late_answers }) => {
                good += 1;
                longest = longest.max(took);
                late += late_answers;
            }
            Err(problem) => say(format_args!("round {number}: VIOLATION {problem:#}")),
        }
    }
    say(format_args!(
        "{good} of {rounds} rounds: {} scrapes answered, exit status 0, {longest:?} at most; {late} of {} that came during the end \
         were answered",
        good * SCRAPES,
        rounds * LATECOMERS
    ));
    Ok(good == rounds)
}

async fn round(rng: &mut Rng) -> anyhow::Result<Round> {
    let mut world = World::default();
    for segment in 0..TARGETS {
        world.segment("app", &segment.to_string());
    }
    let fake = FakePinpoint::start(world).await?;
    let fault = match rng.u8(..3) {
        0 => Fault::Hang,
        1 => Fault::HangInBody,
        _ => Fault::Delay { milliseconds: 60_000 },
    };
    fake.fault(fault.always());
    let variables = [
        ("AWS_REGION", REGION.to_owned()),
        ("AWS_ENDPOINT_URL_PINPOINT", fake.url()),
        ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned()),
        ("PINPOINT_EXPORTER_TARGETS", (0..TARGETS).map(|n| format!("app/{n} ")).collect()),
        ("PINPOINT_EXPORTER_REQUEST_TIMEOUT", "100s".to_owned()),
    ];
    let variables = variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let plan = Plan { program: Program::Real, log: Log::Read, limits: "", variables };
    let mut exporter = Exporter::start(&plan).await?;
    let address = exporter.address;

    let mut scrapes = JoinSet::new();
    for number in 0..SCRAPES {
        let manner = Manner { gzip: number % 3 == 0, timeout: Some(90.0), ..Manner::default() };
        scrapes.spawn(client::get(address, "/metrics", manner));
    }
    all_wait(address).await?;
    sleep(Duration::from_millis(rng.u64(..20))).await;
    let mut latecomers = JoinSet::new();
    for number in 0..LATECOMERS {
        latecomers.spawn(come_late(address, Duration::from_micros(number * rng.u64(..300))));
    }
    exporter.terminate()?;
    let (status, took) = exporter.end().await?;
    ensure!(status.success(), "it ended with {status}");
    ensure!(took < LIMIT, "it took {took:?} to end");
    while let Some(answer) = scrapes.join_next().await {
        check(&answer?.context("an accepted scrape was not answered")?)?;
    }
    let mut late_answers = 0;
    while let Some(answer) = latecomers.join_next().await {
        late_answers += u64::from(answer??);
    }
    Ok(Round { took, late_answers })
}

/// Waits until every scrape has been accepted: the exporter counts a lookup for each of its targets.
async fn all_wait(address: SocketAddr) -> anyhow::Result<()> {
    let end = Instant::now() + HANG_LIMIT;
    for polls in 1.. {
        let manner = Manner { timeout: Some(0.01), ..Manner::default() };
        let answer = client::get(address, "/metrics", manner).await?;
        let scrape = text_format::parse(&answer.text).map_err(anyhow::Error::msg)?;
        if scrape.sum("pinpoint_exporter_cache_lookups_total", &[]) >= TARGETS * (SCRAPES + polls) {
            return Ok(());
        }
        ensure!(Instant::now() < end, "the scrapes are not accepted");
        sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

/// Who comes while the process ends gets a whole answer or none. Gives whether there was one.
async fn come_late(address: SocketAddr, after: Duration) -> anyhow::Result<bool> {
    sleep(after).await;
    let manner = Manner { timeout: Some(90.0), ..Manner::default() };
    let answer = timeout(HANG_LIMIT, client::get(address, "/metrics", manner)).await;
    match answer.context("a latecomer is left waiting")? {
        Ok(answer) => check(&answer).map(|()| true),
        Err(error) if error.is::<Unanswered>() => Ok(false),
        Err(error) => Err(error),
    }
}

fn check(answer: &Answer) -> anyhow::Result<()> {
    ensure!(answer.status == 200, "a scrape is answered with status {}", answer.status);
    text_format::parse(&answer.text).map_err(anyhow::Error::msg)?;
    Ok(())
}
