//! The command line: parses the command, renders `--help` and `--version`, and runs the commands other than `serve`. It prints
//! nothing itself.

mod check;
pub mod console;
mod discovered;
mod healthcheck;
mod layout;
pub mod logging;
mod permission;
mod plan;
pub mod process;
mod progress;
pub mod signals;

mod table;

use std::{
    ffi::OsString,
    fmt::{Display, Write as _},
    sync::Arc,
    time::Duration,
};

use lexopt::Arg::{Long, Short, Value};
use serde::Serialize;

pub use self::{
    healthcheck::{Unhealthy, healthcheck},
    plan::{Assumptions, Offline, assume_targets},
};

use self::{
    check::{Check, ListCall},
    discovered::Survey,
    layout::{printable_json, wrapped},
    plan::{Load, Plan},
    progress::Progress,
};
use crate::{
    config::{AWS_VARIABLES, Config, Explanation, SETTINGS, close, number, quoted, variable_of},
    exporter::{
        SetupError,
        accounts::{Accounts, own_source},
    },
    metrics::telemetry::Telemetry,
    model::{
        clock::{Clock, SystemClock},
        duration::duration,
        printable::without_keys,
        version::{REVISION, RUSTC_VERSION, VERSION},
    },
    pinpoint::{Http, Observer, ProcessCleanup},
};

/// The command to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Serve. This is the default without a command.
    Serve,
    /// Print [`help`].
    Help,
    /// Print [`version`].
    Version,
    /// Print whether everything works.
    Check {
        /// Print JSON.
        json: bool,
    },
    /// Print the expected load.
    Plan {
        /// Values that the settings do not contain.
        assumptions: Assumptions,
        /// Assume these targets instead of the configured ones, and make no requests.
        offline: Option<Offline>,
        /// Print JSON.
        json: bool,
    },
    /// Check the running server with [`healthcheck()`].
    Healthcheck,
}

/// Why a command line is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The command has no such argument.
    #[error("unknown argument {argument:?}; {advice}")]
    Unknown {
        /// The argument as written.
        argument: String,
        /// What to write instead.
        advice: String,
    },
    /// An option with an invalid value, or without a required value.
    #[error("{0}")]
    Value(String),
    /// Options that need each other.
    #[error("--offline needs --segments, and --segments and --applications need --offline")]
    Offline,
}

const COMMANDS: [&str; 3] = ["check", "plan", "healthcheck"];
const HELP: [&str; 2] = ["--help", "-h"];
const VERSIONS: [&str; 2] = ["--version", "-V"];
const PLAN_OPTIONS: [&str; 6] =
    ["--json", "--scrape-interval", "--jobs-per-segment", "--offline", "--segments", "--applications"];

/// Parses the arguments, without the program's name.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, Error> {
    let arguments: Vec<_> = arguments.into_iter().collect();
    let is_any_of =
        |names: &[&str]| arguments.iter().any(|argument| names.iter().any(|name| argument == name));
    if is_any_of(&HELP) {
        return Ok(Command::Help);
    }
    if is_any_of(&VERSIONS) {
        return Ok(Command::Version);
    }
    let Some((command, options)) = arguments.split_first() else {
        return Ok(Command::Serve);
    };
    let options = lexopt::Parser::from_args(options);
    match command.to_str() {
        Some("check") => parse_check(options),
        Some("plan") => parse_plan(options),
        Some("healthcheck") => parse_healthcheck(options),
        _ => Err(unknown(&command.to_string_lossy(), &COMMANDS)),
    }
}

fn parse_check(mut options: lexopt::Parser) -> Result<Command, Error> {
    let mut json = false;
    while let Some(option) = options.next()? {
        match option {
            Long("json") => json = true,
            other => return Err(unexpected(other, &["--json"])),
        }
    }
    Ok(Command::Check { json })
}

fn parse_plan(mut options: lexopt::Parser) -> Result<Command, Error> {
    let (mut assumptions, mut json, mut is_offline) = (Assumptions::default(), false, false);
    let (mut segments, mut applications) = (None, None);
    while let Some(option) = options.next()? {
        match option {
            Long("json") => json = true,
            Long("offline") => is_offline = true,
            Long("scrape-interval") => {
                assumptions.scrape_interval =
                    value(&mut options, "--scrape-interval", |text| match duration(text)? {
                        Duration::ZERO => {
                            Err("Prometheus scrapes at an interval above 0s; write one such as 1m".into())
                        }
                        interval => Ok(interval),
                    })?;
            }
            Long("jobs-per-segment") => {
                assumptions.jobs_per_segment = value(&mut options, "--jobs-per-segment", number)?;
            }
            Long("segments") => segments = Some(value(&mut options, "--segments", number)?),
            Long("applications") => applications = Some(value(&mut options, "--applications", number)?),
            other => return Err(unexpected(other, &PLAN_OPTIONS)),
        }
    }
    let offline = match (is_offline, segments, applications) {
        (true, Some(segments), applications) => {
            Some(Offline { segments, applications: applications.unwrap_or(1) })
        }
        (false, None, None) => None,
        _ => return Err(Error::Offline),
    };
    Ok(Command::Plan { assumptions, offline, json })
}

fn parse_healthcheck(mut options: lexopt::Parser) -> Result<Command, Error> {
    match options.next()? {
        None => Ok(Command::Healthcheck),
        Some(other) => Err(unexpected(other, &[])),
    }
}

/// Parses the value of the last option.
fn value<T>(
    options: &mut lexopt::Parser,
    option: &str,
    read: impl FnOnce(&str) -> Result<T, Explanation>,
) -> Result<T, Error> {
    let text = options.value()?.to_string_lossy().into_owned();
    read(&text).map_err(|explanation| Error::Value(format!("{option} {}: {explanation}", quoted(&text))))
}

fn unexpected(argument: lexopt::Arg<'_>, known: &[&'static str]) -> Error {
    match argument {
        Long(name) => unknown(&format!("--{name}"), known),
        Short(letter) => unknown(&format!("-{letter}"), known),
        Value(text) => unknown(&text.to_string_lossy(), known),
    }
}

/// Arguments of other exporters that do not exist here, and what to do instead.
const NO_ARGUMENTS: [(&[&str], &str); 4] = [
    (&["serve", "server", "start", "run"], "without arguments, the exporter serves"),
    (&["--web.telemetry-path", "--telemetry-path", "--metrics-path"], "the metrics are always at /metrics"),
    (
        &["--config.file", "--config-file", "--config", "-c"],
        "there is no configuration file: settings are environment variables, which --help lists",
    ),
    (&["--help-long", "--help-man", "help", "-?", "/?"], "write --help"),
];

fn unknown(argument: &str, known: &[&'static str]) -> Error {
    let name = argument.split('=').next().unwrap_or_default();
    let known = known.iter().copied().chain(HELP).chain(VERSIONS);
    let fixed =
        NO_ARGUMENTS.iter().find(|(names, _)| names.contains(&name)).map(|(_, advice)| (*advice).to_owned());
    let setting = || {
        let variable = variable_of(argument).filter(|_| !known.clone().any(|known| known == name))?;
        let is_bare = !argument.starts_with('-') && !argument.contains('=');
        (!is_bare).then(|| format!("settings are environment variables: set {variable}"))
    };
    let advice = fixed
        .or_else(setting)
        .or_else(|| {
            close(name, known.clone()).map(|close| format!("the closest is {close} (--help lists all)"))
        })
        .unwrap_or_else(|| "--help lists all arguments and settings".to_owned());
    // The argument's value may be secret, so only its name is shown.
    Error::Unknown { argument: without_keys(name).chars().take(80).collect(), advice }
}

impl From<lexopt::Error> for Error {
    fn from(error: lexopt::Error) -> Self {
        Self::Value(match error {
            lexopt::Error::UnexpectedValue { option, .. } => {
                format!("the option {option} takes no value; write {option} alone")
            }
            error => error.to_string(),
        })
    }
}

/// The result of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The text to print.
    pub text: String,
    /// Whether the command succeeded.
    pub ok: bool,
}

/// Runs `check` or `plan`. Other commands have no report. `check` tests settings, credentials and targets. `plan` calculates
/// the cost of the settings. It makes only the requests that discovery needs, or none with `offline`.
pub async fn report(
    command: Command,
    config: &Config,
    progress: &Progress<'_>,
) -> Result<Report, SetupError> {
    let _end_processes = ProcessCleanup;
    match command {
        Command::Check { json } => {
            let (http, accounts) = api(config)?;
            let check = Check::make(config, &http, &accounts, progress).await;
            Ok(Report { text: rendered(&check, json), ok: check.ok })
        }
        Command::Plan { assumptions, offline, json } => {
            let (loads, unread) = if let Some(offline) = offline {
                (vec![Load::supposed(offline, config)], Vec::new())
            } else {
                let (_, accounts) = api(config)?;
                let survey = Survey::make(config, &accounts.clients, progress).await;
                let unread = survey.lists.iter().filter(|(_, ids)| ids.is_err());
                let unread = unread.map(|(list_id, ids)| ListCall::new(list_id, ids, &survey)).collect();
                (Load::found(&survey, config), unread)
            };
            let plan = Plan::new(config, &loads, unread, assumptions);
            Ok(Report { text: rendered(&plan, json), ok: plan.is_whole() })
        }
        _ => Ok(Report { text: String::new(), ok: true }),
    }
}

/// Renders the report as text or as JSON.
fn rendered(report: &(impl Display + Serialize), json: bool) -> String {
    // Serializing cannot fail, because the report contains only text and numbers.
    if json {
        printable_json(&serde_json::to_string_pretty(report).unwrap_or_default()) + "\n"
    } else {
        report.to_string()
    }
}

/// Creates the same clients as the exporter.
fn api(config: &Config) -> Result<(Http, Accounts), SetupError> {
    let http = Http::new(config.ca_bundle.as_deref(), &config.proxies)?;
    let observer: Arc<dyn Observer> = Arc::new(Telemetry::new()?);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let accounts = Accounts::new(config, &http, own_source(config, &http), &clock, &observer)?;
    Ok((http, accounts))
}

/// The line that `--version` prints.
pub fn version() -> String {
    format!("pinpoint-exporter {VERSION} (revision {REVISION}, rustc {RUSTC_VERSION})\n")
}

/// The page that `--help` prints.
pub fn help() -> String {
    let mut page = String::from(USAGE);
    for setting in SETTINGS {
        let default = match setting.default {
            "" => String::new(),
            default => format!(" (default: {default})"),
        };
        _ = writeln!(page, "  {}{default}", setting.variable);
        _ = wrapped(&mut page, 6, setting.meaning);
    }
    page.push_str("\nAWS's own variables, with the same meaning as in AWS's clients:\n");
    for variable in AWS_VARIABLES {
        _ = writeln!(page, "  {}", variable.name);
        _ = wrapped(&mut page, 6, variable.meaning);
    }
    page.push_str(EXIT_STATUS);
    page
}

const USAGE: &str = "\
Prometheus exporter for the export jobs of Amazon Pinpoint's segments

Usage: pinpoint-exporter [COMMAND]

Commands:
  (none)         serve /metrics and the status page until SIGTERM or SIGINT
  check          test settings, credentials and every target, and print missing
                 permissions
      --json                    print JSON
  plan           print the expected requests, share of AWS's quota, series and
                 memory
      --json                    print JSON
      --scrape-interval 1m      assume this scrape interval of Prometheus
      --jobs-per-segment 10     assume this many finished jobs in each segment
      --offline --segments N [--applications N]
                                assume this many segments, and do not call AWS
  healthcheck    test whether the exporter at LISTEN_ADDRESS is alive, for a
                 container without a shell

Options:
  -h, --help     print this page
  -V, --version  print the version

Targets, separated by commas or white space:
  APP/SEGMENT    the export jobs of a segment
  APP/*          the export jobs of every segment of an application
  */*            the export jobs of every segment of the region
  APP            all export jobs of an application, with one listing
  *              all export jobs of every application of the region, with one
                 listing for each application
  arn:aws:mobiletargeting:REGION:ACCOUNT:apps/APP/segments/SEGMENT, and so on
                 the same in that region and account
  Percent-encode special characters in ids, such as / as %2F.

Settings, from environment variables; an empty variable counts as unset; write
durations as 500ms, 30s, 5m, 1h30m or 7d:
";

const EXIT_STATUS: &str = "
Exit status: 0 if a signal stopped the exporter, or if everything that the
command tried worked; 64 for wrong settings or arguments; 1 otherwise.
";

#[cfg(test)]
mod tests {
    use super::layout::COLUMNS;
    use super::*;

    fn parse_words(words: &[&str]) -> Result<Command, Error> {
        parse(words.iter().map(OsString::from))
    }

    #[test]
    fn no_argument_serves() {
        assert_eq!(parse_words(&[]), Ok(Command::Serve));
    }

    #[test]
    fn help_and_version_are_heard_wherever_they_stand() {
        for words in [&["--help"][..], &["-h"], &["check", "--help"], &["--version", "-h"]] {
            assert_eq!(parse_words(words), Ok(Command::Help), "{words:?}");
        }
        for words in [&["--version"][..], &["-V"], &["nonsense", "-V"]] {
            assert_eq!(parse_words(words), Ok(Command::Version), "{words:?}");
        }
    }

    #[test]
    fn an_unknown_argument_is_answered_with_the_nearest() {
        for (word, expected) in [
            ("chek", "check"),
            ("plans", "plan"),
            ("health", "healthcheck"),
            ("--hlep", "--help"),
            ("--verison", "--version"),
            ("-v", "-V"),
        ] {
            let error = parse_words(&[word]).unwrap_err();
            let advice = format!("the closest is {expected} (--help lists all)");
            assert_eq!(error, Error::Unknown { argument: word.into(), advice });
        }
        for (word, expected) in [
            ("serve", "without arguments, the exporter serves"),
            ("help", "write --help"),
            ("version", "the closest is --version (--help lists all)"),
            (
                "--web.listen-address=:9787",
                "settings are environment variables: set PINPOINT_EXPORTER_LISTEN_ADDRESS",
            ),
            ("--web.telemetry-path=/x", "the metrics are always at /metrics"),
            (
                "PINPOINT_EXPORTER_TARGETS=a/b",
                "settings are environment variables: set PINPOINT_EXPORTER_TARGETS",
            ),
            (
                "--config.file",
                "there is no configuration file: settings are environment variables, which --help lists",
            ),
            ("xyzzy", "--help lists all arguments and settings"),
            ("", "--help lists all arguments and settings"),
        ] {
            let error = parse_words(&[word]).unwrap_err();
            let argument = word.split('=').next().unwrap_or_default().into();
            assert_eq!(error, Error::Unknown { argument, advice: expected.into() }, "{word}");
        }
        let error = parse_words(&["check", "--region", "eu-west-1"]).unwrap_err().to_string();
        assert!(error.ends_with("settings are environment variables: set AWS_REGION"), "{error}");
    }

    #[test]
    fn help_fits_a_terminal_of_80_columns() {
        for line in help().lines() {
            assert!(line.chars().count() <= COLUMNS, "{line}");
        }
    }
}
