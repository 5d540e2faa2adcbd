//! The signals that the process receives. Those that mean nothing to it do not end it.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals, from the moment that [`Signals::handle`] returns.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// Installs the handlers, for the rest of the process's life. Must be called within a runtime. Call it first of all: the
    /// kernel drops signals for PID 1 that have no handler. No other runtime may run yet, or a signal that comes at this moment
    /// can be lost.
    pub fn handle() -> io::Result<Self> {
        let signals = Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        };
        // A handler stays installed without a listener, so these signals are ignored. The standard library ignores
        // SIGPIPE.
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
