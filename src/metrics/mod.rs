//! What a scrape is told: the table of families, their bytes, and the exporter's own counters.

pub mod catalogue;
pub mod exposition;
pub mod telemetry;
