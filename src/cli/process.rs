//! The threads of the process, and what signals do to it.

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

/// How long the server may take to stop. It takes less unless something hangs that it does before it serves.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// How long a thread may take to hear that it must end. One that waits for a file system does not hear it.
const STUCK: Duration = Duration::from_secs(1);

/// Of each thread. Without it, `RUST_MIN_STACK` would decide.
const THREAD_STACK: usize = 2 * 1024 * 1024;

/// Threads and signal handlers.
pub struct Process {
    /// Of the thread that waits for signals, so that they are heard whatever the others do.
    listener: Runtime,
    signals: Signals,
    workers: Runtime,
}

/// What signals ask of the server.
#[derive(Clone, Default)]
pub struct Orders {
    /// To stop.
    pub stop: CancellationToken,
    /// To read the configuration files again.
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
    /// Installs the handlers and starts the threads.
    pub fn start() -> Result<Self, StartError> {
        let listener = Builder::new_current_thread().enable_all().build();
        let listener = listener.map_err(StartError::SignalThread)?;
        let signals = {
            let _entered = listener.enter();
            // No other runtime may exist yet: it could receive a signal before a handler waits for it.
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

    /// Runs the work to its end. If it serves, it gets signals as orders. Otherwise a signal ends it, with the status that a
    /// shell reports for the signal.
    pub fn run<W, E>(self, serves: bool, work: impl FnOnce(Orders) -> W) -> Result<ExitCode, E>
    where
        W: Future<Output = Result<ExitCode, E>>,
        E: From<StartError>,
    {
        let Self { listener, signals, workers } = self;
        let orders = Orders::default();
        let (end, ended_by) = oneshot::channel();
        let obey =
            if serves { pass_on(signals, orders.clone()).boxed() } else { end_at_once(signals, end).boxed() };
        let thread = thread::Builder::new().name("signals".to_owned()).stack_size(THREAD_STACK);
        thread.spawn(move || listener.block_on(obey)).map_err(StartError::SignalThread)?;
        let ended = workers.block_on(async {
            tokio::select! {
                ended = work(orders) => ended,
                Ok(status) = ended_by => Ok(status),
            }
        });
        // Does not wait for what still waits for a name to be resolved.
        workers.shutdown_background();
        ended
    }
}

/// Ends the work at a signal, and the process if the work is stuck.
async fn end_at_once(mut signals: Signals, end: oneshot::Sender<ExitCode>) {
    let status = 128 + signals.next().await.as_raw_value();
    _ = end.send(ExitCode::from(u8::try_from(status).unwrap_or(1)));
    sleep(STUCK).await;
    exit(status);
}

/// Passes signals on to the server, and ends the process if the server is stuck.
async fn pass_on(mut signals: Signals, orders: Orders) {
    while signals.next().await == SignalKind::hangup() {
        orders.reload.notify_one();
    }
    orders.stop.cancel();
    sleep(STOP_LIMIT).await;
    exit(0);
}
