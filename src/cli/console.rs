//! Writes to standard output and standard error, for people and programs.

use std::{
    fmt::Display,
    io::{self, IsTerminal as _, Write as _},
    process::ExitCode,
};

use tracing::Level;

use crate::model::printable;

/// `EX_USAGE` of BSD's `sysexits.h`.
const USAGE: u8 = 64;

/// Writes to standard output. A closed pipe is no error, because the reader may have read enough.
pub fn print(text: &str) -> ExitCode {
    match io::stdout().lock().write_all(printable::lines(text).as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    }
}

/// Reports why the process fails.
pub fn fail(error: &impl Display) -> ExitCode {
    complain(format_args!("{error:#}"));
    ExitCode::FAILURE
}

/// Reports why the server fails. The report goes to the log, so that standard error has one format. If the log drops errors, it
/// goes to standard error directly.
pub fn fail_to_serve(error: &impl Display) -> ExitCode {
    if !tracing::enabled!(Level::ERROR) {
        return fail(error);
    }
    tracing::error!("{error:#}");
    ExitCode::FAILURE
}

/// Reports what is wrong with the arguments or settings.
pub fn refuse(message: impl Display) -> ExitCode {
    complain(message);
    ExitCode::from(USAGE)
}

/// Writes to standard error. A failure is ignored, because it cannot be reported.
fn complain(message: impl Display) {
    let message = format!("pinpoint-exporter: {message}\n");
    _ = io::stderr().lock().write_all(printable::lines(&message).as_bytes());
}

/// Shows the progress of a command on a terminal, in a line that disappears when the command is done.
pub fn progress(what: &str, done: usize, total: usize) {
    let mut terminal = io::stderr().lock();
    if terminal.is_terminal() {
        let what = printable::line(what);
        let line = if done < total { format!("{what}: {done} of {total}") } else { String::new() };
        _ = write!(terminal, "\r\x1b[K{line}");
        _ = terminal.flush();
    }
}
