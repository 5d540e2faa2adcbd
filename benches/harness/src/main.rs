//! `make bench` and `make bench-peers`: the exporter beside its limits, and beside other programs, in turns on this machine.
//! Prints tables in Markdown; `docs/BENCHMARKS.md` explains them.

mod http1;
mod limit;
mod load;
mod measure;
mod peers;
mod process;
mod report;
mod servers;
mod world;

use std::{fmt, io::Write as _, path::Path, time::Duration};

use anyhow::{Context as _, bail};

use crate::{
    process::{now, own_cpu_milliseconds},
    world::Shape,
};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["api", applications, segments, jobs, delay, throttled] => {
            let shape = Shape::parse([applications, segments, jobs])?;
            servers::api(shape, Duration::from_millis(delay.parse()?), throttled.parse()?).await
        }
        ["bare", folder] => servers::bare(Path::new(folder)).await,
        ["own-metrics", folder] => servers::own_metrics(Path::new(folder)).await,
        ["by-hand", api, applications, segments, jobs, work] => {
            let shape = Shape::parse([applications, segments, jobs])?;
            // The exporter is idle for as long before its scrape, and a processor is slower at first after it has been idle.
            tokio::time::sleep(measure::IDLE).await;
            let (began, cpu) = (now(), own_cpu_milliseconds()?);
            limit::by_hand(api.parse()?, shape, measure::CONNECTIONS, work.parse()?).await?;
            let time = began.elapsed().as_secs_f64() * 1e3;
            say(format_args!("{time} {}", own_cpu_milliseconds()? - cpu));
            Ok(())
        }
        ["run", program, ref chapters @ ..] => measure::run(Path::new(program), rounds()?, chapters).await,
        ["peers", program, ref folders @ ..] => peers::run(Path::new(program), folders, rounds()?).await,
        _ => bail!(
            "usage: pinpoint-bench run PROGRAM [CHAPTER …], or pinpoint-bench peers PROGRAM FOLDER …; chapters: {}",
            measure::CHAPTERS.join(", ")
        ),
    }
}

fn rounds() -> anyhow::Result<usize> {
    std::env::var("ROUNDS").ok().map_or(Ok(7), |text| text.parse().context("ROUNDS"))
}

/// Prints a line at once.
fn say(line: fmt::Arguments<'_>) {
    let mut out = std::io::stdout().lock();
    // Nobody may be reading any more.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
