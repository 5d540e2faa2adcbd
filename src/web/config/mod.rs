//! The file of `WEB_CONFIG_FILE`, in the format of Prometheus's [exporter-toolkit]: TLS, client certificates, headers, users,
//! rate limit. The room reads that file and those that it names, and nothing else; the server asks it what holds now.
//!
//! What cannot be done here, such as TLS 1.0, is refused with the reason, and every error is found at once.
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
