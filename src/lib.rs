//! A Prometheus exporter for the export jobs of Amazon Pinpoint's segments.
//!
//! # The map of the house
//!
//! Data flow one way, and each step can be read and tested alone:
//!
//! 1. [`config`]: environment strings, AWS's files ([`profile`]) and the files that settings name → validated settings, among
//!    them the targets ([`target`]) and the proxies ([`proxy`]). `main` finds the strings, starts the [`logging`] and handles
//!    [`signals`]. Files that settings name are watched (`watch`).
//! 2. [`pinpoint`]: the client of the API, one for each account and region ([`accounts`]). Its listings are [`job`]s.
//! 3. [`discovery`]: patterns among the targets, and what was found → the listings to poll.
//! 4. [`collect`]: the cache, and the queue of what is due ([`pace`]). A listing becomes a [`snapshot`] of the target, whole or not at all.
//! 5. [`metrics`]: a snapshot becomes the bytes of its families, once; the exporter's own counters are beside it.
//! 6. [`web`]: the server. A scrape ([`Exporter`]) refreshes what is due and sends the bytes that are there. [`web_config`] says
//!    who may ask, and how the port is protected.
//!
//! What is cached is also told as values ([`overview`]), which the page and its JSON ([`status`]) show in words. They make no
//! request.
//!
//! [`command`] is the other way through the same rooms: the command line, and what `check` and `plan` find.
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
