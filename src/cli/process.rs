//! The threads of the process, and the effects of signals on it.

use std::{
    io,
    num::NonZero,
    process::{ExitCode, exit},
    sync::Arc,
    thread,
    time::Duration,
};

use futures_util::FutureExt as _;
use tokio::{
    runtime::{Builder, Runtime},
    signal::unix::SignalKind,
    sync::{Notify, oneshot},
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use super::signals::Signals;

/// The time limit for stopping the server. It is reached only if something that runs before serving hangs.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// The time limit for work to stop after a signal. A thread that is blocked in the file system does not notice the signal.
const END_TIMEOUT: Duration = Duration::from_secs(1);

/// The stack size of each thread. Without it, `RUST_MIN_STACK` would decide.
const THREAD_STACK: usize = 2 * 1024 * 1024;

/// The threads and the signal handlers.
pub struct Process {
    /// The runtime of the thread that waits for signals. It has its own thread so that signals are handled even if all others
    /// are busy.
    listener: Runtime,
    signals: Signals,
    workers: Runtime,
}

/// The requests of signals to the server.
#[derive(Clone, Default)]
pub struct SignalRequests {
    /// Tells the server to stop.
    pub stop: CancellationToken,
    /// Tells the server to reload the configuration files.
    pub reload: Arc<Notify>,
}

/// Why the process cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("cannot wait for signals")]
    SignalThread(#[source] io::Error),
    #[error("cannot install the signal handlers")]
    SignalHandlers(#[source] io::Error),
    #[error("cannot start the threads")]
    Workers(#[source] io::Error),
}

impl Process {
    /// Installs the signal handlers and starts the threads.
    pub fn start() -> Result<Self, StartError> {
        let listener = Builder::new_current_thread().enable_all().build();
        let listener = listener.map_err(StartError::SignalThread)?;
        let signals = {
            let _entered = listener.enter();
            // No other runtime may exist yet, because it could receive a signal before a handler waits for it.
            Signals::handle().map_err(StartError::SignalHandlers)?
        };
        let workers = Builder::new_multi_thread()
            // Without this, `TOKIO_WORKER_THREADS` would decide.
            .worker_threads(thread::available_parallelism().map_or(1, NonZero::get))
            .thread_stack_size(THREAD_STACK)
            .enable_all()
            .build();
        Ok(Self { listener, signals, workers: workers.map_err(StartError::Workers)? })
    }

    /// Runs the work to its end. If it serves, signals are passed to it as requests. Otherwise a signal ends it, with the exit
    /// status that a shell reports for the signal.
    pub fn run<W, E>(self, serves: bool, work: impl FnOnce(SignalRequests) -> W) -> Result<ExitCode, E>
    where
        W: Future<Output = Result<ExitCode, E>>,
        E: From<StartError>,
    {
        let Self { listener, signals, workers } = self;
        let requests = SignalRequests::default();
        let (end, ended_by) = oneshot::channel();
        let obey = if serves {
            pass_on(signals, requests.clone()).boxed()
        } else {
            end_at_once(signals, end).boxed()
        };
        let thread = thread::Builder::new().name("signals".to_owned()).stack_size(THREAD_STACK);
        thread.spawn(move || listener.block_on(obey)).map_err(StartError::SignalThread)?;
        let ended = workers.block_on(async {
            tokio::select! {
                ended = work(requests) => ended,
                Ok(status) = ended_by => Ok(status),
            }
        });
        // Does not wait for threads that are blocked in name resolution.
        workers.shutdown_background();
        ended
    }
}

/// Ends the work at a signal. Ends the process if the work does not stop.
async fn end_at_once(mut signals: Signals, end: oneshot::Sender<ExitCode>) {
    let status = 128 + signals.next().await.as_raw_value();
    _ = end.send(ExitCode::from(u8::try_from(status).unwrap_or(1)));
    sleep(END_TIMEOUT).await;
    exit(status);
}

/// Passes signals to the server. Ends the process if the server does not stop.
async fn pass_on(mut signals: Signals, requests: SignalRequests) {
    while signals.next().await == SignalKind::hangup() {
        requests.reload.notify_one();
    }
    requests.stop.cancel();
    sleep(STOP_LIMIT).await;
    exit(0);
}
