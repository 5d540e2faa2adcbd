//! The values of `Content-Type`.

pub(super) const TEXT: &str = "text/plain; charset=utf-8";
/// [Prometheus's text format]: https://prometheus.io/docs/instrumenting/exposition_formats/#basic-info
pub(super) const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";
pub(super) const JSON: &str = "application/json";
pub(super) const HTML: &str = "text/html; charset=utf-8";
