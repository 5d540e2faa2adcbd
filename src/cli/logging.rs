//! The log: one line per event on standard error, as logfmt or JSON. A separate thread writes it, because the reader of
//! standard error may have stopped reading. Then lines are dropped, and no other thread blocks. Panics are logged as events
//! too. [`Config::parse`](crate::config::Config::parse) decides what may be logged, so that dependencies log no secrets.

use std::{
    collections::VecDeque,
    io::{self, Write},
    panic,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use tracing::{Subscriber, dispatcher};
use tracing_subscriber::{
    filter::Targets,
    layer::{Layer, SubscriberExt},
    registry::Registry,
    util::{SubscriberInitExt, TryInitError},
};

use crate::{config::LogFormat, model::printable};

/// The maximum number of lines in the queue.
const MAX_WAITING_LINES: usize = 1_000;

/// The maximum time that the end of the process waits for queued lines to be written.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// The maximum length of a logged panic message, in characters.
const MAX_PANIC_MESSAGE: usize = 500;

/// Why the log cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// The operating system could not start the thread.
    #[error("could not start the log thread")]
    Thread(#[source] io::Error),
    /// A log is already installed.
    #[error(transparent)]
    Twice(#[from] TryInitError),
}

/// The log of this process. Dropping it waits until all queued lines are written, for at most one second.
#[derive(Debug)]
pub struct Log(Arc<Queue>);

/// Starts the log of this process.
pub fn init(format: LogFormat, filter: Targets) -> Result<Log, InitError> {
    let queue = Arc::new(Queue::default());
    let writing = Arc::clone(&queue);
    let thread = thread::Builder::new().name("log".to_owned()).stack_size(THREAD_STACK);
    thread.spawn(move || writing.write_to(io::stderr())).map_err(InitError::Thread)?;
    let lines = Lines(Arc::clone(&queue));
    subscriber(format, filter, move || lines.clone()).try_init()?;
    Ok(Log(queue))
}

/// The stack size of the writing thread. Without it, `RUST_MIN_STACK` would decide.
const THREAD_STACK: usize = 256 * 1024;

impl Drop for Log {
    fn drop(&mut self) {
        self.0.close(LAST_WAIT);
    }
}

/// The lines that are waiting to be written.
#[derive(Debug, Default)]
struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Vec<u8>>,
    /// Whether the writing thread ends when the queue is empty.
    is_closed: bool,
    /// Whether the writing thread has ended.
    is_done: bool,
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a line. Drops it if the queue is full.
    fn push(&self, line: &[u8]) {
        let mut state = self.state();
        if state.waiting.len() < MAX_WAITING_LINES {
            state.waiting.push_back(line.to_owned());
            self.changed.notify_all();
        }
    }

    /// Writes lines until the queue is closed and empty. A line that cannot be written is dropped.
    fn write_to(&self, mut writer: impl Write) {
        while let Some(line) = self.next() {
            _ = writer.write_all(&line);
        }
        self.state().is_done = true;
        self.changed.notify_all();
    }

    fn next(&self) -> Option<Vec<u8>> {
        let is_idle = |state: &mut State| state.waiting.is_empty() && !state.is_closed;
        let state = self.changed.wait_while(self.state(), is_idle);
        state.unwrap_or_else(PoisonError::into_inner).waiting.pop_front()
    }

    /// Closes the queue, and waits until the queued lines are written, for at most the duration `longest`.
    fn close(&self, longest: Duration) {
        let mut state = self.state();
        state.is_closed = true;
        self.changed.notify_all();
        drop(self.changed.wait_timeout_while(state, longest, |state| !state.is_done));
    }
}

/// A writer that puts each line into the queue.
#[derive(Debug, Clone)]
struct Lines(Arc<Queue>);

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Logs panics as events. Before the log is started, a panic is written to standard error as one line.
pub fn log_panics() {
    panic::set_hook(Box::new(|panic| {
        let location = panic.location().map_or_else(|| "an unknown location".to_owned(), ToString::to_string);
        let message = panic.payload_as_str().unwrap_or("no message");
        let message: String = message.chars().take(MAX_PANIC_MESSAGE).collect();
        if dispatcher::has_been_set() {
            tracing::error!("panicked at {location}, which is a bug; please report it: {message}");
        } else {
            let message = printable::line(&message);
            _ = writeln!(
                io::stderr(),
                "pinpoint-exporter: panicked at {location}, which is a bug; please report it: {message}"
            );
        }
    }));
}

/// A writer that escapes the control characters in lines.
struct Printable<W> {
    writer: W,
    format: LogFormat,
}

impl<W: Write> Write for Printable<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        let text = text.strip_suffix('\n').unwrap_or(&text);
        // JSON allows such characters only in strings.
        let escape = match self.format {
            LogFormat::Logfmt => |c: char| c.escape_unicode().to_string(),
            LogFormat::Json => |c: char| format!("\\u{:04x}", u32::from(c)),
        };
        let mut text = printable::escape(text, escape);
        if self.format == LogFormat::Logfmt && text.contains("\\'") {
            text = without_escaped_apostrophes(&text).into();
        }
        self.writer.write_all(format!("{text}\n").as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// Removes the backslashes that the logfmt library puts before apostrophes. Logfmt does not need them.
fn without_escaped_apostrophes(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match (c, chars.as_str().chars().next()) {
            ('\\', Some('\'')) => {}
            // The character after a backslash belongs to the escape, even if it is another backslash.
            ('\\', Some(_)) => text.extend([c].into_iter().chain(chars.next())),
            _ => text.push(c),
        }
    }
    text
}

fn subscriber<W: Write>(
    format: LogFormat,
    filter: Targets,
    writer: impl Fn() -> W + Send + Sync + 'static,
) -> impl Subscriber + Send + Sync {
    let writer = move || Printable { writer: writer(), format };
    // Without `log_internal_errors(false)`, a closed standard error would make the next event panic.
    let layer = match format {
        LogFormat::Logfmt => tracing_logfmt::builder()
            .with_span_path(false)
            .layer()
            .with_writer(writer)
            .log_internal_errors(false)
            .boxed(),
        LogFormat::Json => tracing_subscriber::fmt::layer()
            .json()
            .flatten_event(true)
            .with_writer(writer)
            .log_internal_errors(false)
            .boxed(),
    };
    Registry::default().with(layer.with_filter(filter))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex, PoisonError};

    use tracing::{Level, subscriber::with_default};

    use super::*;

    /// A log in memory.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    const NASTY: &str = "two\nlines, \"quotes\", \r\u{1b}[31mred, \\, = and é";

    /// A terminal sequence that prints in red, in a word that needs no quotes.
    const BARE: &str = "\u{9b}31m\u{7f}\u{202e}";

    /// Logs three events and returns their lines. Two are in a span and contain text that could break out of the line. The
    /// filter drops the third.
    fn lines(format: LogFormat) -> Vec<String> {
        let kept = Kept::default();
        let writer = kept.clone();
        let filter = Targets::new().with_default(Level::INFO);
        with_default(subscriber(format, filter, move || writer.clone()), || {
            let span = tracing::info_span!("refresh", nasty = NASTY);
            let _entered = span.enter();
            tracing::info!(text = NASTY, shown = %NASTY, debugged = ?NASTY, count = 7, "{NASTY}");
            tracing::debug!("filtered out");
            tracing::warn!(bare = BARE, "plain");
        });
        let bytes = kept.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap().lines().map(ToOwned::to_owned).collect()
    }

    #[test]
    fn an_apostrophe_has_no_backslash_in_logfmt_and_all_else_keeps_its_own() {
        for (written, text) in [
            (r#"message="it\'s""#, r#"message="it's""#),
            (r#"message="\\'""#, r#"message="\\'""#),
            (r#"message="\"it\'s\" \\\'""#, r#"message="\"it's\" \\'""#),
            ("\\", "\\"),
        ] {
            assert_eq!(without_escaped_apostrophes(written), text);
        }
    }

    #[test]
    fn logfmt_is_one_escaped_line_per_event() {
        let lines = lines(LogFormat::Logfmt);
        assert_eq!(lines.len(), 2, "{lines:#?}");
        assert!(lines[0].starts_with("ts="), "{}", lines[0]);
        assert!(
            lines[0].contains(" level=info target=pinpoint_exporter::cli::logging::tests "),
            "{}",
            lines[0]
        );
        assert!(
            lines[0].contains(
                r#" text="two\nlines, \"quotes\", \r\u{1b}[31mred, \\, = and é" shown="two\nlines"#
            ),
            "{}",
            lines[0]
        );
        assert!(lines.iter().all(|line| printable::line(line) == line.as_str()), "{lines:#?}");
        assert!(lines[1].contains(r" bare=\u{9b}31m\u{7f}\u{202e}"), "{}", lines[1]);
        assert!(lines[1].contains(" level=warn ") && lines[1].contains(" message=plain "), "{}", lines[1]);
    }

    #[test]
    fn json_is_one_object_per_line() {
        let lines = lines(LogFormat::Json);
        assert_eq!(lines.len(), 2, "{lines:#?}");
        let events: Vec<serde_json::Value> =
            lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        for field in ["message", "text", "shown"] {
            assert_eq!(events[0][field], NASTY, "{field}");
        }
        assert_eq!(events[0]["count"], 7);
        assert_eq!(events[0]["level"], "INFO");
        assert_eq!(events[0]["span"]["nasty"], NASTY);
        assert_eq!((&events[1]["message"], &events[1]["bare"]), (&"plain".into(), &BARE.into()));
        assert!(lines.iter().all(|line| printable::line(line) == line.as_str()), "{lines:#?}");
    }

    #[test]
    fn a_log_that_cannot_be_written_does_no_harm() {
        struct Full;

        impl io::Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }

        for format in [LogFormat::Logfmt, LogFormat::Json] {
            let filter = Targets::new().with_default(Level::INFO);
            with_default(subscriber(format, filter, || Full), || tracing::info!("lost"));
        }
    }
}
