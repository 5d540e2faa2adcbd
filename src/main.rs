//! Runs the exporter: arguments, settings, log and exit status. Only this file and the `cli` modules that it calls use the
//! process's arguments, environment, output and signals.

use std::{env, process::ExitCode, sync::Arc};

use anyhow::Context;
use pinpoint_exporter::{
    cli::{
        self, Command,
        console::{fail, fail_to_serve, print, progress, refuse},
        logging,
        process::{Process, SignalRequests},
    },
    config::Config,
    model::clock::SystemClock,
};
use tokio::net::TcpListener;

fn main() -> ExitCode {
    // Must come first: the kernel does not deliver a signal to PID 1 before a handler is installed.
    let process = Process::start();
    logging::log_panics();
    match cli::parse(env::args_os().skip(1)) {
        Ok(Command::Help) => print(&cli::help()),
        Ok(Command::Version) => print(&cli::version()),
        Ok(command) => {
            let serves = command == Command::Serve;
            let run = |process: Process| process.run(serves, |requests| execute(command, requests));
            process.map_err(Into::into).and_then(run).unwrap_or_else(|error| fail(&error))
        }
        Err(error) => refuse(error),
    }
}

async fn execute(command: Command, requests: SignalRequests) -> anyhow::Result<ExitCode> {
    let mut variables: Vec<_> = env::vars_os().collect();
    match command {
        Command::Healthcheck => {
            return Ok(match Config::read_listen_address(variables) {
                Ok(address) => cli::healthcheck(address).await.map(|()| ExitCode::SUCCESS)?,
                Err(problems) => refuse(problems),
            });
        }
        Command::Plan { offline: Some(_), .. } => cli::assume_targets(&mut variables),
        _ => {}
    }
    let (config, warnings) = match Config::read(variables) {
        Ok(read) => read,
        Err(problems) => return Ok(refuse(format_args!("the settings are invalid\n{problems}"))),
    };
    let _log = logging::init(config.log_format, config.log_filter.clone()).context("cannot start the log")?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    if command == Command::Serve {
        let served = serve(&config, requests).await;
        return Ok(served.map_or_else(|error| fail_to_serve(&error), |()| ExitCode::SUCCESS));
    }
    let report = cli::report(command, &config, &progress).await?;
    let printed = print(&report.text);
    Ok(if report.ok { printed } else { ExitCode::FAILURE })
}

async fn serve(config: &Config, SignalRequests { stop, reload }: SignalRequests) -> anyhow::Result<()> {
    let address = config.listen_address;
    let listener = TcpListener::bind(address).await.with_context(|| format!("cannot listen at {address}"))?;
    tracing::info!(address = %listener.local_addr()?, targets = config.targets.len(), "serving");
    pinpoint_exporter::run(config, listener, Arc::new(SystemClock), stop.cancelled_owned(), &reload).await?;
    Ok(())
}
