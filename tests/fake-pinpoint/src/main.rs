//! The fake Pinpoint as a program.

use std::{env, fs, net::SocketAddr, process::ExitCode};

use fake_pinpoint::{FakePinpoint, Options, control::print, demo_world};
use serde::de::DeserializeOwned;
use tokio::signal::unix::{SignalKind, signal};

const HELP: &str = "\
fake-pinpoint: a stand-in for Amazon Pinpoint's export-job API

  --listen ADDRESS           where to listen (127.0.0.1:9788)
  --world FILE               the world, as JSON
  --demo                     the demo's world, which is that without --world
  --region REGION            the only region that signatures may name; may be repeated (any)
  --access-key-id ID         whose signatures to accept (AKIAIOSFODNN7EXAMPLE)
  --secret-access-key KEY    and with which key (that of AWS's documentation)
  --session-token TOKEN      and with which session token (none)
  --account-id ID            whose that key is (123456789012)
  --policy FILE              an IAM policy of that key; may be repeated (without it everything is allowed)
  --no-verify                accept any signature, and none
  --verbose                  print a line for each request
  --help                     this
";

#[tokio::main]
async fn main() -> ExitCode {
    match run(env::args().skip(1)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprint(&problem);
            ExitCode::from(64)
        }
    }
}

async fn run(mut arguments: impl Iterator<Item = String>) -> Result<(), String> {
    let mut key = Options::default_key();
    let mut options = Options { address: SocketAddr::from(([127, 0, 0, 1], 9788)), ..Options::default() };
    let (mut world, mut demo, mut verify) = (None, false, true);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{argument} wants a value; see --help"));
        match argument.as_str() {
            "--listen" => {
                let address = value()?;
                options.address =
                    address.parse().map_err(|_| format!("--listen {address}: write 127.0.0.1:9788"))?;
            }
            "--world" => world = Some(value()?),
            "--demo" => demo = true,
            "--region" => options.regions.push(value()?),
            "--access-key-id" => key.access_key_id = value()?,
            "--secret-access-key" => key.secret_access_key = value()?,
            "--session-token" => key.session_token = Some(value()?),
            "--account-id" => key.account_id = Some(value()?),
            "--policy" => key.policies.get_or_insert_default().push(read_json("--policy", &value()?)?),
            "--no-verify" => verify = false,
            "--verbose" => options.verbose = true,
            "--help" => {
                print(HELP.trim_end());
                return Ok(());
            }
            other => return Err(format!("unknown argument {other}; see --help")),
        }
    }
    options.keys = if verify { vec![key] } else { Vec::new() };
    let world = match world {
        Some(file) if demo => return Err(format!("--demo and --world {file}: leave one of them away")),
        Some(file) => read_json("--world", &file)?,
        None => demo_world(),
    };
    let cannot = |error: std::io::Error| format!("cannot listen at {}: {error}", options.address);
    let fake = FakePinpoint::start_with(world, options.clone()).await.map_err(cannot)?;
    print(&format!("listening at {}", fake.url()));
    for (id, application) in &fake.world().applications {
        print(&format!("application {id} has {} segments", application.segments.len()));
    }
    let terminated = async {
        match signal(SignalKind::terminate()) {
            Ok(mut signal) => drop(signal.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        () = terminated => {}
    }
    Ok(())
}

fn read_json<T: DeserializeOwned>(argument: &str, file: &str) -> Result<T, String> {
    let text = fs::read_to_string(file).map_err(|error| format!("{argument} {file}: {error}"))?;
    serde_json::from_str(&text).map_err(|error| format!("{argument} {file}: {error}"))
}

#[expect(clippy::print_stderr, reason = "a program's complaint")]
fn eprint(text: &str) {
    eprintln!("fake-pinpoint: {text}");
}
