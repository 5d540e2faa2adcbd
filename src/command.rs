//! The command line: which command is asked for, and what `--help` and `--version` print. It prints nothing itself.

use std::{ffi::OsString, fmt::Write as _};

use crate::{
    config::{AWS_VARIABLES, NotYet, SETTINGS, nearest},
    version::{REVISION, RUSTC_VERSION, VERSION},
};

/// What the command line asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Serve: the command without a name.
    Serve,
    /// Print [`help`].
    Help,
    /// Print [`version`].
    Version,
}

/// Why a command line is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// An argument that does not exist.
    #[error("there is no argument {argument:?}; the closest is {nearest} (--help lists all)")]
    Unknown {
        /// What was written.
        argument: String,
        /// The argument that is written most like it.
        nearest: &'static str,
    },
    /// A command that comes with a later release.
    #[error("the command {command} comes with a later release; this one serves, without an argument")]
    NotYet {
        /// The command.
        command: &'static str,
    },
}

const NOT_YET: [&str; 3] = ["check", "plan", "healthcheck"];
const HELP: [&str; 2] = ["--help", "-h"];
const VERSIONS: [&str; 2] = ["--version", "-V"];

/// Reads the arguments, the program's name not among them.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, Error> {
    let arguments: Vec<_> = arguments.into_iter().map(|it| it.to_string_lossy().into_owned()).collect();
    let is_any_of = |names: &[&str]| arguments.iter().any(|argument| names.contains(&argument.as_str()));
    if is_any_of(&HELP) {
        return Ok(Command::Help);
    }
    if is_any_of(&VERSIONS) {
        return Ok(Command::Version);
    }
    let Some(argument) = arguments.first() else {
        return Ok(Command::Serve);
    };
    if let Some(command) = NOT_YET.into_iter().find(|command| command == argument) {
        return Err(Error::NotYet { command });
    }
    let known = NOT_YET.into_iter().chain(HELP).chain(VERSIONS);
    let nearest = nearest(argument, known).unwrap_or(HELP[0]);
    Err(Error::Unknown { argument: argument.clone(), nearest })
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
        let not_yet = match setting.not_yet {
            None => "",
            Some(NotYet::Refused) => "\n      [comes with a later release; refused until then]",
            Some(NotYet::Ignored) => "\n      [comes with a later release; no effect until then]",
        };
        _ = writeln!(page, "  {}{default}\n      {}{not_yet}", setting.variable, setting.meaning);
    }
    page.push_str("\nAWS's own variables mean what they mean everywhere:\n");
    for variable in AWS_VARIABLES {
        _ = writeln!(page, "  {}\n      {}", variable.name, variable.meaning);
    }
    page.push_str(EXIT_STATUS);
    page
}

const USAGE: &str = "\
Prometheus exporter for the export jobs of Amazon Pinpoint's segments

Usage: pinpoint-exporter [COMMAND]

Commands:
  (none)         serve /metrics, /-/healthy and /-/ready, until SIGTERM or SIGINT
  check          try settings, credentials and targets [comes with a later release]
  plan           print targets, requests and series to expect [comes with a later release]
  healthcheck    ask the running server [comes with a later release]

Options:
  -h, --help     print this page
  -V, --version  print the version

Targets, separated by commas or white space:
  APP/SEGMENT    the export jobs of a segment
  APP            those of a whole application, with one listing
  arn:aws:mobiletargeting:REGION:ACCOUNT:apps/APP/segments/SEGMENT, or …:apps/APP
                 the same two, in that region and account
  APP/*, */*, *  every segment of an application, every segment, every application, also in
                 ARNs [comes with a later release, as do several regions or accounts]
  Special characters in ids are percent-encoded, such as / as %2F.

Settings, from the environment; an empty one is unset; durations as 500ms, 30s, 5m, 1h30m, 7d:
";

const EXIT_STATUS: &str = "
Exit status: 0 when stopped by a signal, 64 for wrong settings or arguments, 1 for other failures.
";

#[cfg(test)]
mod tests {
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
            assert_eq!(error, Error::Unknown { argument: word.into(), nearest: expected });
        }
        assert!(parse_words(&[""]).is_err());
    }

    #[test]
    fn help_fits_a_terminal() {
        for line in help().lines() {
            assert!(line.chars().count() <= 100, "{line}");
        }
    }
}
