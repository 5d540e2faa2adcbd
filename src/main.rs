//! Starts the exporter: arguments, logging, signals, exit status.
fn main() {}
