//! The threads of the process, and what signals do to it.

use std::{num::NonZero, process::exit, sync::Arc, thread, time::Duration};

use anyhow::Context as _;
use futures_util::FutureExt as _;
use pinpoint_exporter::signals::Signals;
use tokio::{
    runtime::{Builder, Runtime},
    signal::unix::SignalKind,
    sync::Notify,
    time::sleep,
};
use tokio_util::sync::CancellationToken;

/// How long the server may take to stop. It takes less unless something hangs that it does before it serves.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// Of each thread. Without it, `RUST_MIN_STACK` would decide.
const THREAD_STACK: usize = 2 * 1024 * 1024;

/// Threads and signal handlers.
pub(crate) struct Process {
    /// Of the thread that waits for signals, so that they are heard whatever the others do.
    listener: Runtime,
    signals: Signals,
    workers: Runtime,
}

/// What signals ask of the server.
#[derive(Clone, Default)]
pub(crate) struct Orders {
    /// To stop.
    pub(crate) stop: CancellationToken,
    /// To read the configuration files again.
    pub(crate) reload: Arc<Notify>,
}

impl Process {
    /// Installs the handlers and starts the threads.
    pub(crate) fn start() -> anyhow::Result<Self> {
        let listener = Builder::new_current_thread().enable_all().build();
        let listener = listener.context("cannot wait for signals")?;
        let signals = {
            let _entered = listener.enter();
            // Before there is any other runtime, which could take a signal from the kernel while nobody waits for it yet.
            Signals::handle().context("cannot install the signal handlers")?
        };
        let workers = Builder::new_multi_thread()
            // Without this, `TOKIO_WORKER_THREADS` would decide.
            .worker_threads(thread::available_parallelism().map_or(1, NonZero::get))
            .thread_stack_size(THREAD_STACK)
            .enable_all()
            .build();
        Ok(Self { listener, signals, workers: workers.context("cannot start the threads")? })
    }

    /// Runs the work to its end. If it serves, it gets signals as orders. Otherwise a signal ends the process, with the status
    /// that a shell reports for it.
    pub(crate) fn run<W: Future>(
        self,
        serves: bool,
        work: impl FnOnce(Orders) -> W,
    ) -> anyhow::Result<W::Output> {
        let Self { listener, signals, workers } = self;
        let orders = Orders::default();
        let obey = if serves { pass_on(signals, orders.clone()).boxed() } else { exit_at(signals).boxed() };
        let thread = thread::Builder::new().name("signals".to_owned()).stack_size(THREAD_STACK);
        thread.spawn(move || listener.block_on(obey)).context("cannot wait for signals")?;
        let ended = workers.block_on(work(orders));
        // Does not wait for what still waits for a name to be resolved.
        workers.shutdown_background();
        Ok(ended)
    }
}

async fn exit_at(mut signals: Signals) {
    let signal = signals.next().await;
    exit(128 + signal.as_raw_value());
}

async fn pass_on(mut signals: Signals, orders: Orders) {
    while signals.next().await == SignalKind::hangup() {
        orders.reload.notify_one();
    }
    orders.stop.cancel();
    sleep(STOP_LIMIT).await;
    exit(0);
}
