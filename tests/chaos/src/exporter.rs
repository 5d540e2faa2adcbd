//! The exporter behind clocks that its standard input turns. It differs from the real program in nothing else: the same library,
//! settings, log and signals.
//!
//! Each line is answered with one:
//!
//! | line | |
//! | --- | --- |
//! | `date MILLISECONDS` | the date is wrong by so much from now on |
//! | `pass MILLISECONDS` | so much time passes at once, as on a machine that slept |
//! | `tasks` | how many tasks there are |

use std::{
    io::{BufRead as _, Write as _},
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, SystemTime},
};

use anyhow::Context as _;
use pinpoint_exporter::{
    cli::{logging, signals::Signals},
    config::Config,
    model::clock::{Clock, SystemClock},
};
use tokio::{net::TcpListener, runtime::Runtime, signal::unix::SignalKind, sync::Notify};

/// The system's clocks, turned.
#[derive(Debug, Default)]
struct TurnedClock {
    system: SystemClock,
    /// How wrong the date is, in milliseconds.
    wrong: AtomicI64,
    /// What has passed besides, in milliseconds.
    passed: AtomicU64,
}

impl Clock for TurnedClock {
    fn now(&self) -> SystemTime {
        let date = self.system.now() + Duration::from_millis(self.passed.load(Ordering::SeqCst));
        let wrong = self.wrong.load(Ordering::SeqCst);
        let by = Duration::from_millis(wrong.unsigned_abs());
        if wrong < 0 { date - by } else { date + by }
    }

    fn elapsed(&self) -> Duration {
        self.system.elapsed() + Duration::from_millis(self.passed.load(Ordering::SeqCst))
    }
}

impl TurnedClock {
    fn run_command(&self, line: &str, runtime: &tokio::runtime::Handle) -> anyhow::Result<String> {
        match line.split_once(' ') {
            Some(("date", by)) => self.wrong.store(by.parse()?, Ordering::SeqCst),
            Some(("pass", by)) => drop(self.passed.fetch_add(by.parse()?, Ordering::SeqCst)),
            _ => return Ok(runtime.metrics().num_alive_tasks().to_string()),
        }
        Ok("done".to_owned())
    }
}

/// Serves until it is asked to end.
pub(crate) fn run() -> anyhow::Result<()> {
    let runtime = Runtime::new()?;
    logging::log_panics();
    let variables: Vec<_> = std::env::vars_os().collect();
    let (config, _) = Config::parse(variables, None).map_err(|problems| anyhow::anyhow!("{problems}"))?;
    let _log = logging::init(config.log_format, config.log_filter.clone())?;
    let clock = Arc::new(TurnedClock::default());
    let (turned, handle) = (Arc::clone(&clock), runtime.handle().clone());
    thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            let answer =
                turned.run_command(&line, &handle).unwrap_or_else(|error| format!("{line:?}: {error}"));
            _ = writeln!(std::io::stdout().lock(), "{answer}");
        }
    });
    let served = runtime.block_on(async {
        let listener = TcpListener::bind(config.listen_address).await.context("cannot listen")?;
        let (mut signals, reload) = (Signals::handle()?, Notify::new());
        let stopped = async move { while signals.next().await == SignalKind::hangup() {} };
        Ok(pinpoint_exporter::run(&config, listener, clock, stopped, &reload).await?)
    });
    runtime.shutdown_background();
    served
}
