//! Reads the file of `WEB_CONFIG_FILE`, in the format of Prometheus's [exporter-toolkit]: TLS, client certificates, headers,
//! users and rate limit. The module reads only that file and the files it names. The server asks it for the configuration in
//! force.
//!
//! Settings that the exporter cannot apply, such as TLS 1.0, are refused with the reason. All errors are reported at once.
//!
//! [exporter-toolkit]: https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md

mod certificate;
mod client_certificates;
mod document;
mod file;
mod tls;
mod watched;

pub use self::{
    file::{RateLimit, WebConfig, read},
    watched::WatchedWebConfig,
};
pub use crate::file_watch::Reload;
