//! Environment strings → a validated [`Config`]. Pure: it reads no environment and no file, and reports every problem at
//! once.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use url::Url;

use crate::target::Target;

/// The exporter's settings, validated. Each field names its variable without the prefix `PINPOINT_EXPORTER_`.
#[derive(Debug, Clone)]
pub struct Config {
    /// `TARGETS`, without duplicates, in the order of their identity.
    pub targets: Vec<Target>,
    /// `LISTEN_ADDRESS`
    pub listen_address: SocketAddr,
    /// `CACHE_TTL`
    pub cache_ttl: Duration,
    /// `MAX_STALENESS`
    pub max_staleness: Duration,
    /// `DISCOVERY_TTL`
    pub discovery_ttl: Duration,
    /// `SCRAPE_TIMEOUT`
    pub scrape_timeout: Duration,
    /// `SCRAPE_TIMEOUT_OFFSET`
    pub scrape_timeout_offset: Duration,
    /// `PAGE_SIZE`
    pub page_size: u32,
    /// `MAX_PAGES`
    pub max_pages: u32,
    /// `MAX_CONCURRENT_REQUESTS`
    pub max_concurrent_requests: usize,
    /// `MAX_REQUESTS_PER_SECOND`; `None` for no limit.
    pub max_requests_per_second: Option<u32>,
    /// `REQUEST_TIMEOUT`
    pub request_timeout: Duration,
    /// `REFRESH_TIMEOUT`
    pub refresh_timeout: Duration,
    /// `MAX_ATTEMPTS`
    pub max_attempts: u32,
    /// `FINISHED_JOB_MAX_AGE`; `None` for no limit.
    pub finished_job_max_age: Option<Duration>,
    /// `FINISHED_JOBS_PER_SEGMENT`; `None` for no limit.
    pub finished_jobs_per_segment: Option<usize>,
    /// `STATUS_SERIES`
    pub status_series: StatusSeries,
    /// `SHOW_FAILURES`
    pub show_failures: bool,
    /// `LOG_LEVEL`
    pub log_filter: tracing_subscriber::filter::Targets,
    /// `LOG_FORMAT`
    pub log_format: LogFormat,
    /// `AWS_ENDPOINT_URL_PINPOINT`, else `AWS_ENDPOINT_URL`: replaces AWS's own address of the API.
    pub endpoint_url: Option<Url>,
    /// `AWS_USE_FIPS_ENDPOINT`
    pub use_fips_endpoint: bool,
    /// `AWS_USE_DUALSTACK_ENDPOINT`
    pub use_dualstack_endpoint: bool,
    /// `AWS_CA_BUNDLE`: the only certificates to trust, in PEM.
    pub ca_bundle: Option<PathBuf>,
}

/// Which series of a state set are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StatusSeries {
    /// One for each state.
    #[default]
    All,
    /// Only the one at 1.
    Current,
}

/// How a log line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// `key=value` pairs.
    #[default]
    Logfmt,
    /// One JSON object per line.
    Json,
}
