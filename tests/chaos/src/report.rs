//! What a run came to.

use std::{collections::BTreeMap, fmt, io::Write as _};

use crate::process::Usage;

/// The sums of a run.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// How often each kind of thing was done.
    pub(crate) faults: BTreeMap<String, u64>,
    /// Requests that faults of the API met, and pieces of traffic that those of the network met.
    pub(crate) requests_met: u64,
    pub(crate) pieces_met: u64,
    /// Answers by who asked for them.
    pub(crate) answers: BTreeMap<&'static str, u64>,
    pub(crate) requests: u64,
    pub(crate) runs: u64,
    pub(crate) violations: u64,
    pub(crate) peak_memory: u64,
    pub(crate) descriptors: u64,
    pub(crate) threads: u64,
    /// The longest that a scrape took beyond its timeout and the time that the machine lost, in milliseconds.
    pub(crate) latest: u128,
}

impl Report {
    /// Adds the counts of a run, without its violations.
    pub(crate) fn add(&mut self, run: Self) {
        for (name, count) in run.faults {
            *self.faults.entry(name).or_default() += count;
        }
        for (name, count) in run.answers {
            *self.answers.entry(name).or_default() += count;
        }
        self.requests_met += run.requests_met;
        self.pieces_met += run.pieces_met;
        self.requests += run.requests;
        self.runs += run.runs;
        self.peak_memory = self.peak_memory.max(run.peak_memory);
        self.descriptors = self.descriptors.max(run.descriptors);
        self.threads = self.threads.max(run.threads);
        self.latest = self.latest.max(run.latest);
    }

    pub(crate) fn used(&mut self, usage: Usage) {
        self.peak_memory = self.peak_memory.max(usage.peak_memory);
        self.descriptors = self.descriptors.max(usage.descriptors);
        self.threads = self.threads.max(usage.threads);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut row = |name: &str, value: &dyn fmt::Display| writeln!(f, "  {name:<42} {value:>12}");
        for (name, count) in &self.faults {
            row(name, count)?;
        }
        row("all of these", &self.faults.values().sum::<u64>())?;
        row("requests met by faults of the API", &self.requests_met)?;
        row("pieces met by faults of the network", &self.pieces_met)?;
        row("requests to the API", &self.requests)?;
        for (name, count) in &self.answers {
            row(&format!("answers to {name}"), count)?;
        }
        row("answers", &self.answers.values().sum::<u64>())?;
        row("runs of the exporter", &self.runs)?;
        row("latest answer, ms beyond its time", &self.latest)?;
        row("most memory, MiB", &(self.peak_memory / 1024 / 1024))?;
        row("most descriptors", &self.descriptors)?;
        row("most threads", &self.threads)?;
        row("violations", &self.violations)
    }
}

/// Prints a line.
pub(crate) fn say(line: impl fmt::Display) {
    // Whoever reads may have gone away.
    _ = writeln!(std::io::stdout().lock(), "{line}");
}
