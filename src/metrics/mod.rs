//! The metrics: the table of families, their rendering, and the exporter's own counters.

pub mod block;
pub mod catalogue;
mod deflate;
pub mod exposition;
pub mod family;
pub mod telemetry;
