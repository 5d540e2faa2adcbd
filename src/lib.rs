//! A Prometheus exporter for the export jobs of Amazon Pinpoint's segments.

pub mod clock;
pub mod command;
pub mod config;
pub mod logging;
pub mod profile;
pub mod target;
pub mod version;
pub mod web;
