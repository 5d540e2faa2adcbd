//! A Prometheus exporter for the export jobs of Amazon Pinpoint's segments.
//!
//! # Modules, from the bottom up
//!
//! Each module imports only from those above it in this list; a test keeps that true. Data flow one way: settings → targets →
//! Pinpoint client → cached snapshot of each target → metric families → HTTP.
//!
//! * [`model`]: values that all others speak of, such as targets, jobs and snapshots. No I/O.
//! * `suggest`, `file_watch`: the nearest known name; files that are read again when they change.
//! * [`web`]: the HTTP server, its limits, TLS and passwords, and the file of `WEB_CONFIG_FILE`. It knows nothing of Pinpoint.
//! * [`config`]: environment variables, AWS's files and the files that settings name → a validated [`config::Config`].
//! * [`pinpoint`]: the client of the API, and AWS's credentials.
//! * [`metrics`]: a snapshot becomes the bytes of its families, once. The exporter's own counters.
//! * [`collect`]: discovery, the cache of every target, and the queue of what is due.
//! * [`status`]: the status page and its JSON. They make no request.
//! * [`exporter`]: puts all of it together, and answers scrapes.
//! * [`cli`]: the command line: `serve`, `check`, `plan`, `healthcheck`, the log, signals.
//!
//! # What always holds
//!
//! * No half listing is shown, and no data older than `MAX_STALENESS`.
//! * Only a scrape makes requests, and never more than one refresh of a target at a time.
//! * Every attempt that is sent is counted, and every failure under one label of a closed list.
//! * An absent value is an absent series.
//! * Credentials and tokens stand in no log, error, metric or page.

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
