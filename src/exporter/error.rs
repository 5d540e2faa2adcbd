use crate::pinpoint;

/// Why the exporter cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    #[error("the region {region:?} makes no host name; check AWS_REGION")]
    Region {
        region: String,
        #[source]
        source: url::ParseError,
    },
    #[error(transparent)]
    Http(#[from] pinpoint::SetupError),
    /// The catalogue holds a name that Prometheus does not allow.
    #[error("the exporter's own metrics cannot be registered")]
    Telemetry(#[from] prometheus::Error),
    #[error("the web configuration is wrong: {}", .0.join("; "))]
    WebConfig(Vec<String>),
    #[error("the targets file is wrong: {}", .0.join("; "))]
    TargetsFile(Vec<String>),
    #[error("cannot start the server")]
    Server(#[source] std::io::Error),
}
