//! Why the exporter cannot be set up.

use crate::pinpoint;

/// Why the exporter cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The region does not make a host name.
    #[error("the region {region:?} makes no host name; check AWS_REGION")]
    Region {
        /// The region.
        region: String,
        /// Why not.
        #[source]
        source: url::ParseError,
    },
    /// There is no HTTP client.
    #[error(transparent)]
    Http(#[from] pinpoint::SetupError),
    /// The catalogue holds a name that Prometheus does not allow.
    #[error("the exporter's own metrics cannot be registered")]
    Telemetry(#[from] prometheus::Error),
    /// The file of `WEB_CONFIG_FILE` is wrong.
    #[error("the web configuration is wrong: {}", .0.join("; "))]
    WebConfig(Vec<String>),
    /// The file of `TARGETS_FILE` is wrong.
    #[error("the targets file is wrong: {}", .0.join("; "))]
    TargetsFile(Vec<String>),
    /// There is no thread to be had.
    #[error("cannot start the server")]
    Server(#[source] std::io::Error),
}
