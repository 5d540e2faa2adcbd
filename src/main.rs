//! Runs the exporter: arguments, settings, logging, signals, exit status. The only file that touches the process.

mod console;

use std::{env, process::ExitCode, sync::Arc};

use anyhow::Context;
use pinpoint_exporter::{
    clock::SystemClock,
    command::{self, Command},
    config::Config,
    logging, stop,
};
use tokio::{net::TcpListener, runtime::Runtime};

use crate::console::{complain, print, progress};

/// `EX_USAGE` of BSD's `sysexits.h`.
const USAGE: u8 = 64;

fn main() -> ExitCode {
    match command::parse(env::args_os().skip(1)) {
        Ok(Command::Help) => print(&command::help()),
        Ok(Command::Version) => print(&command::version()),
        Ok(command) => configure(command).unwrap_or_else(|error| {
            complain(format_args!("{error:#}"));
            ExitCode::FAILURE
        }),
        Err(error) => {
            complain(error);
            ExitCode::from(USAGE)
        }
    }
}

fn configure(command: Command) -> anyhow::Result<ExitCode> {
    let runtime = Runtime::new().context("cannot start the threads")?;
    let mut variables: Vec<_> = env::vars_os().collect();
    if let Command::Plan { offline: Some(_), .. } = command {
        command::suppose_targets(&mut variables);
    }
    let (config, warnings) = match Config::read(variables, command != Command::Healthcheck) {
        Ok(parsed) => parsed,
        Err(problems) => {
            complain(format_args!("the settings are wrong\n{problems}"));
            return Ok(ExitCode::from(USAGE));
        }
    };
    let _log = logging::init(config.log_format, config.log_filter.clone()).context("cannot start the log")?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let done = runtime.block_on(run(command, &config));
    // Not for what may still be waiting for a name to be resolved.
    runtime.shutdown_background();
    done
}

async fn run(command: Command, config: &Config) -> anyhow::Result<ExitCode> {
    match command {
        Command::Healthcheck => command::healthcheck(config).await?,
        Command::Check { .. } | Command::Plan { .. } => {
            let report = command::report(command, config, &progress).await?;
            let printed = print(&report.text);
            return Ok(if report.ok { printed } else { ExitCode::FAILURE });
        }
        _ => serve(config).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn serve(config: &Config) -> anyhow::Result<()> {
    let address = config.listen_address;
    let listener = TcpListener::bind(address).await.with_context(|| format!("cannot listen at {address}"))?;
    let stopped = stop::signalled().context("cannot wait for signals")?;
    tracing::info!(address = %listener.local_addr()?, targets = config.targets.len(), "serving");
    pinpoint_exporter::run(config, listener, Arc::new(SystemClock), stopped).await?;
    Ok(())
}
