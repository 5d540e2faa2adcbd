//! Standard output and standard error, as people and programs read them.

use std::{
    fmt::Display,
    io::{self, IsTerminal as _, Write as _},
    process::ExitCode,
};

/// To standard output, whose reader may have seen enough.
pub(crate) fn print(text: &str) -> ExitCode {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    }
}

/// To standard error, also before there is a log; there is nobody to tell if that fails.
pub(crate) fn complain(message: impl Display) {
    _ = writeln!(io::stderr().lock(), "pinpoint-exporter: {message}");
}

/// Shows on a terminal how far a command is, in a line that vanishes in the end.
pub(crate) fn progress(what: &str, done: usize, total: usize) {
    let mut terminal = io::stderr().lock();
    if terminal.is_terminal() {
        let line = if done < total { format!("{what}: {done} of {total}") } else { String::new() };
        _ = write!(terminal, "\r\x1b[K{line}");
        _ = terminal.flush();
    }
}
