//! The exporter's own counters, histograms and gauges, as ordinary instrumentation in a separate registry.

use std::{
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use prometheus::{
    Counter, Gauge, GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry, TextEncoder,
    core::Collector,
};
use tokio::time::Instant;

use super::{catalogue, exposition::Part, family::Family};
use crate::{
    model::{exception::Exception, version},
    pinpoint::{Observer, Operation},
};

/// Upper bounds of the duration histogram, in seconds.
const BUCKETS: [f64; 9] = [0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// The process metrics are read at most this often.
const PROCESS_METRICS_AGE: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub struct Telemetry {
    registry: Registry,
    requests: IntCounterVec,
    errors: IntCounterVec,
    skipped_items: IntCounterVec,
    durations: HistogramVec,
    retries: IntCounterVec,
    rate_limit_wait: Counter,
    clock_skew: OnceLock<Gauge>,
    /// Increases with every change of these metrics.
    version: AtomicU64,
    process: Registry,
    rendered: Mutex<Option<Rendered>>,
}

/// The text of both registries.
#[derive(Debug)]
struct Rendered {
    /// The version of the metrics.
    version: u64,
    process: String,
    /// When the process metrics were read.
    process_read: Instant,
    part: Part,
}

impl Telemetry {
    /// Creates the metrics, with every combination of operation and exception at 0.
    ///
    /// # Errors
    /// If the catalogue holds a name or label that Prometheus does not allow.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let counter = |family: Family| register(&registry, IntCounterVec::new(opts(&family), family.labels));
        let requests = counter(catalogue::API_REQUESTS)?;
        let errors = counter(catalogue::API_ERRORS)?;
        let skipped_items = counter(catalogue::API_SKIPPED_ITEMS)?;
        let retries = counter(catalogue::API_RETRIES)?;
        let duration = catalogue::API_REQUEST_DURATION;
        let buckets = HistogramOpts::new(duration.name, duration.help).buckets(BUCKETS.to_vec());
        let durations = register(&registry, HistogramVec::new(buckets, duration.labels))?;
        let rate_limit_wait = register(&registry, Counter::with_opts(opts(&catalogue::API_RATE_LIMIT_WAIT)))?;
        let info = catalogue::BUILD_INFO;
        let info = register(&registry, GaugeVec::new(opts(&info), info.labels))?;
        info.with_label_values(&[version::VERSION, version::REVISION, version::RUSTC_VERSION]).set(1.0);
        for operation in Operation::ALL.map(Operation::name) {
            for vector in [&requests, &skipped_items, &retries] {
                vector.with_label_values(&[operation]);
            }
            durations.with_label_values(&[operation]);
            for exception in Exception::ALL {
                errors.with_label_values(&[operation, exception.name()]);
            }
        }
        let process = Registry::new();
        #[cfg(target_os = "linux")]
        process.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        Ok(Self {
            registry,
            requests,
            errors,
            skipped_items,
            durations,
            retries,
            rate_limit_wait,
            clock_skew: OnceLock::new(),
            version: AtomicU64::new(0),
            process,
            rendered: Mutex::default(),
        })
    }

    /// The text of the registries.
    pub fn part(&self) -> Part {
        let mut kept = self.rendered.lock().unwrap_or_else(PoisonError::into_inner);
        // The version is read before the text is rendered. The next scrape then sees a change that happens in between.
        let version = self.version.load(Ordering::Acquire);
        let recent = kept.take().filter(|rendered| rendered.process_read.elapsed() < PROCESS_METRICS_AGE);
        let rendered = match recent {
            Some(rendered) if rendered.version == version => rendered,
            recent => {
                let process = recent.map(|rendered| (rendered.process, rendered.process_read));
                let (process, process_read) =
                    process.unwrap_or_else(|| (encode(&self.process), Instant::now()));
                let part = Part::new(encode(&self.registry) + &process);
                Rendered { version, process, process_read, part }
            }
        };
        kept.insert(rendered).part.clone()
    }

    fn changed(&self) {
        self.version.fetch_add(1, Ordering::Release);
    }
}

fn opts(family: &Family) -> Opts {
    Opts::new(family.name, family.help)
}

fn register<T: Collector + Clone + 'static>(
    registry: &Registry,
    collector: Result<T, prometheus::Error>,
) -> Result<T, prometheus::Error> {
    let collector = collector?;
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}

fn encode(registry: &Registry) -> String {
    TextEncoder::new().encode_to_string(&registry.gather()).unwrap_or_else(|error| {
        tracing::error!(%error, "the exporter's own metrics cannot be encoded");
        String::new()
    })
}

impl Observer for Telemetry {
    fn attempt(&self, operation: Operation, retry: bool) {
        self.requests.with_label_values(&[operation.name()]).inc();
        if retry {
            self.retries.with_label_values(&[operation.name()]).inc();
        }
        self.changed();
    }

    fn attempt_ended(&self, operation: Operation, duration: Duration) {
        self.durations.with_label_values(&[operation.name()]).observe(duration.as_secs_f64());
        self.changed();
    }

    fn error(&self, operation: Operation, exception: Exception) {
        self.errors.with_label_values(&[operation.name(), exception.name()]).inc();
        self.changed();
    }

    fn skipped_items(&self, operation: Operation, items: u64) {
        self.skipped_items.with_label_values(&[operation.name()]).inc_by(items);
        self.changed();
    }

    fn rate_limit_wait(&self, duration: Duration) {
        self.rate_limit_wait.inc_by(duration.as_secs_f64());
        self.changed();
    }

    fn clock_skew(&self, seconds: f64) {
        if self.clock_skew.get().is_none() {
            // The gauge is registered with its first value, so it is absent until then.
            match register(&self.registry, Gauge::with_opts(opts(&catalogue::CLOCK_SKEW))) {
                Ok(gauge) => drop(self.clock_skew.set(gauge)),
                // Another response registered it first.
                Err(error) => tracing::trace!(%error, "the clock skew is registered already"),
            }
        }
        if let Some(gauge) = self.clock_skew.get() {
            gauge.set(seconds);
        }
        self.changed();
    }
}
