//! Starts the exporter: arguments, settings, logging, signals, exit status. The only file that touches the process.

use std::io::{self, Write};
use std::{env, fmt::Display, process::ExitCode, sync::Arc};

use anyhow::Context;
use pinpoint_exporter::{
    clock::SystemClock,
    command::{self, Command},
    config::Config,
    logging, profile, stop,
};
use tokio::net::TcpListener;

/// `EX_USAGE` of BSD's `sysexits.h`.
const USAGE: u8 = 64;

fn main() -> ExitCode {
    match command::parse(env::args_os().skip(1)) {
        Ok(Command::Help) => print(&command::help()),
        Ok(Command::Version) => print(&command::version()),
        Ok(Command::Serve) => serve().unwrap_or_else(|error| {
            complain(format_args!("{error:#}"));
            ExitCode::FAILURE
        }),
        Err(error) => {
            complain(error);
            ExitCode::from(USAGE)
        }
    }
}

fn serve() -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the threads of the server")?;
    let variables: Vec<_> = env::vars_os().collect();
    let profile_region = runtime.block_on(profile::region(&variables));
    let (config, warnings) = match Config::parse(variables, profile_region) {
        Ok(parsed) => parsed,
        Err(problems) => {
            complain(format_args!("the settings are wrong\n{problems}"));
            return Ok(ExitCode::from(USAGE));
        }
    };
    logging::init(config.log_format, config.log_filter.clone()).context("cannot start the log")?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }

    let served = runtime.block_on(serve_until_stopped(&config));
    // Not for what may still be waiting for a name to be resolved.
    runtime.shutdown_background();
    served.map(|()| ExitCode::SUCCESS)
}

async fn serve_until_stopped(config: &Config) -> anyhow::Result<()> {
    let address = config.listen_address;
    let listener = TcpListener::bind(address).await.with_context(|| format!("cannot listen at {address}"))?;
    let stopped = stop::signalled().context("cannot wait for signals")?;
    tracing::info!(address = %listener.local_addr()?, targets = config.targets.len(), "serving");
    pinpoint_exporter::run(config, listener, Arc::new(SystemClock), stopped).await?;
    Ok(())
}

/// To standard output, whose reader may have seen enough.
fn print(text: &str) -> ExitCode {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    }
}

/// To standard error, also before there is a log; there is nobody to tell if that fails.
fn complain(message: impl Display) {
    _ = writeln!(io::stderr().lock(), "pinpoint-exporter: {message}");
}
