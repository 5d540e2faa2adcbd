//! The metrics: the table of families, their rendering, and the exporter's own counters.

pub mod answer;
pub mod block;
pub mod catalogue;
mod deflate;
pub mod family;
pub mod telemetry;
