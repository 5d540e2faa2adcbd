//! The log: one line per event on standard error, as logfmt or JSON, written by a thread of its own, since whoever reads it may
//! have stopped: then lines are lost, and nobody waits. What may be logged is decided in
//! [`Config::parse`](crate::config::Config::parse), which keeps dependencies from logging secrets.

use std::io;

use tracing::Subscriber;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{
    filter::Targets,
    fmt::MakeWriter,
    layer::{Layer, SubscriberExt},
    registry::Registry,
    util::{SubscriberInitExt, TryInitError},
};

use crate::config::LogFormat;

/// So many lines wait to be written, at most.
const WAITING_LINES: usize = 1_000;

/// Starts the log of this process. What waits is written when the guard is dropped, which takes a second at most.
pub fn init(format: LogFormat, filter: Targets) -> Result<WorkerGuard, TryInitError> {
    let writer = NonBlockingBuilder::default().buffered_lines_limit(WAITING_LINES).lossy(true);
    let (writer, guard) = writer.thread_name("log").finish(io::stderr());
    subscriber(format, filter, writer).try_init()?;
    Ok(guard)
}

fn subscriber<W>(format: LogFormat, filter: Targets, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    // Without `log_internal_errors(false)` a reader of the log that goes away would make the next event panic.
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

    /// A log that is kept.
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

    /// The lines of two events with text that could break out of them, within a span, and of one that is filtered out.
    fn lines(format: LogFormat) -> Vec<String> {
        let kept = Kept::default();
        let writer = kept.clone();
        let filter = Targets::new().with_default(Level::INFO);
        with_default(subscriber(format, filter, move || writer.clone()), || {
            let span = tracing::info_span!("refresh", nasty = NASTY);
            let _entered = span.enter();
            tracing::info!(text = NASTY, shown = %NASTY, debugged = ?NASTY, count = 7, "{NASTY}");
            tracing::debug!("filtered out");
            tracing::warn!("plain");
        });
        let bytes = kept.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap().lines().map(ToOwned::to_owned).collect()
    }

    #[test]
    fn logfmt_is_one_escaped_line_per_event() {
        let lines = lines(LogFormat::Logfmt);
        assert_eq!(lines.len(), 2, "{lines:#?}");
        assert!(lines[0].starts_with("ts="), "{}", lines[0]);
        assert!(lines[0].contains(" level=info target=pinpoint_exporter::logging::tests "), "{}", lines[0]);
        assert!(
            lines[0].contains(
                r#" text="two\nlines, \"quotes\", \r\u{1b}[31mred, \\, = and é" shown="two\nlines"#
            ),
            "{}",
            lines[0]
        );
        assert!(lines.iter().all(|line| !line.contains(char::is_control)), "{lines:#?}");
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
        assert_eq!(events[1]["message"], "plain");
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
