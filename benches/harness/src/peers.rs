//! The exporter beside programs that do the same with common libraries, in the same rounds.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::Context as _;

use crate::{
    load::patient_load,
    measure::{Bare, Bench, TEN, TEN_THOUSAND, THOUSAND, machine, megabytes},
    process::Process,
    report::{Samples, short, table},
};

/// A program to compare, and what it is called.
struct Program {
    name: String,
    path: PathBuf,
    /// In bytes, with the packages that it needs and without an interpreter.
    size: u64,
}

/// Measures the exporter, and each folder's program `peer`.
pub(crate) async fn run(exporter: &Path, folders: &[&str], rounds: usize) -> anyhow::Result<()> {
    machine(rounds)?;
    let mut programs =
        vec![Program { name: "exporter".to_owned(), path: exporter.to_owned(), size: size(exporter)? }];
    for folder in folders.iter().map(Path::new) {
        let name = folder.file_name().context("a folder has no name")?.to_string_lossy().into_owned();
        programs.push(Program { name, path: folder.join("peer"), size: size(folder)? });
    }
    let mut rows = vec![row("size, MB", &programs, |program| short(megabytes(program.size)))];

    let mut samples = Samples::default();
    for _ in 0..rounds {
        for Program { name, path, .. } in &programs {
            let bench = Bench::of(path, TEN, 0, &[]).await?;
            bench.timed_scrape("identity").await?;
            samples.add(name, bench.exporter.started.elapsed().as_secs_f64() * 1e3);
        }
    }
    rows.push(row("start to the end of the first `/metrics`, ms", &programs, |program| {
        short(samples.of(&program.name).median())
    }));

    for (what, shape, delay, work) in [
        ("first scrape, 10,000 jobs, gzip, API 0 ms / by hand with gzip", TEN_THOUSAND, 0, "gzip"),
        ("the same, API 20 ms / by hand without compression", TEN_THOUSAND, 20, "plain"),
        ("first scrape, 1,000 jobs, gzip, API 0 ms / by hand with gzip", THOUSAND, 0, "gzip"),
    ] {
        let (mut samples, mut cpu) = (Samples::default(), Samples::default());
        for round in 0..rounds {
            for Program { name, path, .. } in &programs {
                let bench = Bench::of(path, shape, delay, &[]).await?;
                let before = bench.exporter.cpu_milliseconds()?;
                samples.add(name, bench.timed_scrape("gzip").await?);
                cpu.add(name, bench.exporter.cpu_milliseconds()? - before);
                if name == "exporter" {
                    let [time, processor] = bench.by_hand(work).await?;
                    samples.add("by hand", time);
                    cpu.add("by hand", processor);
                }
                if round == 0 {
                    bench.ensure_whole().await?;
                }
            }
        }
        for (what, samples) in [(what, &samples), ("… its processor time / by hand", &cpu)] {
            rows.push(row(what, &programs, |program| {
                short(samples.ratio(&program.name, "by hand").median())
            }));
        }
    }

    let (mut filled, mut most) = (Samples::default(), Samples::default());
    for (what, shape, gzip) in [
        ("cached scrapes, 10,000 jobs, gzip, 16 clients / bare hyper", TEN_THOUSAND, true),
        ("the same, plain", TEN_THOUSAND, false),
        ("cached scrapes, 1,000 jobs, gzip, 16 clients / bare hyper", THOUSAND, true),
    ] {
        let mut rate = Samples::default();
        for _ in 0..rounds {
            for Program { name, path, .. } in &programs {
                let bench = Bench::of(path, shape, 0, &[]).await?;
                bench.timed_scrape("gzip").await?;
                let resident = bench.exporter.megabytes("VmRSS")?;
                let bare = Bare::of(&bench).await?;
                let of_bare = rate_of(&bare.server, gzip).await?;
                rate.add(name, rate_of(&bench.exporter, gzip).await? / of_bare);
                if shape.all_jobs() == TEN_THOUSAND.all_jobs() && gzip {
                    filled.add(name, resident / bare.text_megabytes);
                    most.add(name, bench.exporter.megabytes("VmHWM")? / bare.text_megabytes);
                }
            }
        }
        rows.push(row(what, &programs, |program| short(rate.of(&program.name).median())));
    }
    for (what, samples) in [
        ("resident memory / text, 10,000 jobs, after a scrape with gzip", &filled),
        ("the highest under that load of 16 clients / text", &most),
    ] {
        rows.push(row(what, &programs, |program| short(samples.of(&program.name).median())));
    }
    let mut head = vec!["what"];
    head.extend(programs.iter().map(|program| program.name.as_str()));
    table("Peers", &head, &rows);
    Ok(())
}

async fn rate_of(server: &Process, gzip: bool) -> anyhow::Result<f64> {
    patient_load(server.address, 16, gzip).await
}

fn row(what: &str, programs: &[Program], cell: impl Fn(&Program) -> String) -> Vec<String> {
    std::iter::once(what.to_owned()).chain(programs.iter().map(cell)).collect()
}

/// The size of a file, or of all files in a folder.
fn size(path: &Path) -> io::Result<u64> {
    if !path.is_dir() {
        return Ok(fs::metadata(path)?.len());
    }
    fs::read_dir(path)?.map(|entry| size(&entry?.path())).sum()
}
