//! A Prometheus exporter for the export jobs of Amazon Pinpoint's segments.
//!
//! # Modules, from the bottom up
//!
//! Each module imports only from modules above it in this list. A test enforces this. Data flows one way: settings → targets →
//! Pinpoint client → cached snapshot of each target → metric families → HTTP.
//!
//! * [`model`]: values that all other modules use, such as targets, jobs and snapshots. No I/O.
//! * `suggest`, `file_watch`: the nearest known name; files that are reloaded when they change.
//! * [`web`]: the HTTP server, its limits, TLS and passwords, and the file of `WEB_CONFIG_FILE`. It knows nothing about
//!   Pinpoint.
//! * [`config`]: environment variables, AWS's files and the files that settings name → a validated [`config::Config`].
//! * [`pinpoint`]: the API client and AWS credentials.
//! * [`metrics`]: renders a snapshot to the bytes of its metric families, once per snapshot. It also holds the exporter's own
//!   counters.
//! * [`collect`]: discovery, the cached state of every target, and the queue of refreshes.
//! * [`status`]: the status page and its JSON. They make no request.
//! * [`exporter`]: connects the modules and answers scrapes.
//! * [`cli`]: the command line (`serve`, `check`, `plan`, `healthcheck`), the log and signals.
//!
//! # Invariants
//!
//! * An incomplete listing is never shown, and neither are data older than `MAX_STALENESS`.
//! * Only scrapes cause requests. A target has at most one refresh at a time.
//! * Every attempt that is sent is counted. Every failure is counted under one label of a closed list.
//! * An absent value has no series.
//! * No log, error, metric or page contains credentials or tokens.

pub mod cli;
pub mod collect;
pub mod config;
pub mod exporter;
mod file_watch;
pub mod metrics;
pub mod model;
pub mod pinpoint;
pub mod status;
mod suggest;
pub mod web;

pub use exporter::{Exporter, SetupError, run};
