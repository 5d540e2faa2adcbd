//! A Prometheus exporter for the export jobs of Amazon Pinpoint's segments.

pub mod clock;
pub mod config;
pub mod job;
pub mod pinpoint;
pub mod target;
pub mod web;
