//! The signals that the process handles. SIGUSR1, SIGUSR2, SIGALRM and SIGXFSZ are ignored, because they would end the process
//! by default.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that arrive after [`Signals::handle`] returns.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// Installs the signal handlers for the rest of the process's life. Must be called within a runtime, and before anything
    /// else, because the kernel drops signals for PID 1 that have no handler. No other runtime may run yet, because a signal
    /// that arrives at this moment could be lost.
    pub fn handle() -> io::Result<Self> {
        let signals = Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        };
        // A handler stays installed after its listener is dropped, so these signals have no effect. The standard library
        // already ignores SIGPIPE.
        let file_too_large = SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw());
        for ignored in
            [SignalKind::user_defined1(), SignalKind::user_defined2(), SignalKind::alarm(), file_too_large]
        {
            drop(signal(ignored)?);
        }
        Ok(signals)
    }

    /// Waits for the next SIGTERM, SIGINT or SIGHUP.
    pub async fn next(&mut self) -> SignalKind {
        tokio::select! {
            _ = self.terminate.recv() => SignalKind::terminate(),
            _ = self.interrupt.recv() => SignalKind::interrupt(),
            _ = self.hangup.recv() => SignalKind::hangup(),
        }
    }
}
