//! The exporter under random faults, over a long time, and at its end.
//!
//! | command | what it does |
//! | --- | --- |
//! | `faults` | runs of the exporter under random faults; [`judge`] checks every response |
//! | `soak` | a month of scrapes: what was used must be given back |
//! | `shutdown` | SIGTERM under load, again and again |
//! | `exporter` | the exporter behind clocks that can be turned: see [`exporter`] |
//!
//! Settings come from the environment: `CHAOS_SECONDS`, `CHAOS_SEED`, `CHAOS_RUN` (only the run with this number), `CHAOS_SCRAPES`,
//! `CHAOS_ROUNDS`.

mod client;
mod credentials;
mod exporter;
mod judge;
mod model;
#[path = "../../it/support/ports.rs"]
mod ports;
mod process;
mod proxy;
mod recorder;
mod report;
mod run;
mod schedule;
mod shutdown;
mod soak;
mod starvation;
#[path = "../../it/support/text_format.rs"]
mod text_format;
mod world;

use std::{
    env,
    process::ExitCode,
    str::FromStr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::Context as _;
use tokio::{runtime::Runtime, time::Instant};

use crate::report::{Report, say};

fn main() -> ExitCode {
    let command = env::args().nth(1).unwrap_or_default();
    let done = match command.as_str() {
        "exporter" => exporter::run().map(|()| true),
        "faults" => on_runtime(faults()),
        "soak" => setting("CHAOS_SCRAPES", 100_000).and_then(|scrapes| on_runtime(soak::run(scrapes))),
        "shutdown" => on_runtime(async {
            shutdown::run(setting("CHAOS_ROUNDS", 200)?, setting("CHAOS_SEED", fastrand::u64(..1_000_000))?)
                .await
        }),
        other => Err(anyhow::anyhow!("{other:?} is none of faults, soak, shutdown, exporter")),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(format_args!("chaos {command}: {error:#}"));
            ExitCode::from(2)
        }
    }
}

fn on_runtime(work: impl Future<Output = anyhow::Result<bool>>) -> anyhow::Result<bool> {
    Runtime::new()?.block_on(work)
}

/// A setting.
fn setting<T: FromStr>(name: &str, default: T) -> anyhow::Result<T> {
    match env::var(name) {
        Err(_) => Ok(default),
        Ok(value) => value.parse().ok().with_context(|| format!("{name}={value} is not a number")),
    }
}

/// How long the faults of a run last.
const RUN: Duration = Duration::from_secs(8);

/// Lives, one after the other, until the time is up or something is wrong.
async fn faults() -> anyhow::Result<bool> {
    let seconds = setting("CHAOS_SECONDS", 60)?;
    let seed: u64 = setting("CHAOS_SEED", fastrand::u64(..1_000_000))?;
    let only: i64 = setting("CHAOS_RUN", -1)?;
    say(format_args!("seed {seed}, {seconds} s"));
    let end = Instant::now() + Duration::from_secs(seconds);
    let (mut sum, mut number) = (Report::default(), u64::try_from(only).unwrap_or(0));
    while sum.violations == 0 && (Instant::now() < end || sum.runs == 0) {
        let began = Instant::now();
        let (report, violations) = run::run(seed, number, RUN).await?;
        let kind = schedule::Kind::of_run(number);
        let took = began.elapsed().as_secs_f64();
        say(format_args!(
            "run {number}, {kind:?}: {} faults, {} answers, {} requests, {took:.1} s",
            report.faults.values().sum::<u64>(),
            report.answers.values().sum::<u64>(),
            report.requests
        ));
        for violation in &violations {
            say(format_args!("VIOLATION {violation}"));
        }
        sum.violations += u64::try_from(violations.len())?;
        sum.add(report);
        if sum.violations > 0 {
            say(format_args!("again: CHAOS_SEED={seed} CHAOS_RUN={number} make chaos"));
        }
        if only >= 0 {
            break;
        }
        number += 1;
    }
    say(format_args!("seed {seed}\n{sum}"));
    Ok(sum.violations == 0)
}

/// The value, whoever panicked with it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
