//! The whole of it: settings → a client, a cache, counters, and what a scrape does with them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use time::OffsetDateTime;
use tokio::{net::TcpListener, time::Instant};

use crate::{
    accounts::{Accounts, standard_sources},
    clock::Clock,
    collect::{self, Collector},
    config::{Config, Effective},
    metrics::{catalogue::ScrapeFacts, exposition, telemetry::Telemetry},
    picture::Bounds,
    pinpoint::{self, CredentialsCache, Http, MakeProvider, Observer},
    status,
    web::{self, Limits, ScrapeTimeout},
    web_config::Watched,
};

/// Answers scrapes.
pub struct Exporter {
    collector: Collector,
    /// Of each account.
    credentials: BTreeMap<String, Arc<CredentialsCache>>,
    telemetry: Arc<Telemetry>,
    /// Of the scrape that ended last, in seconds, as the bits of an `f64`.
    last_duration: AtomicU64,
    ready: AtomicBool,
    /// As the page shows them.
    settings: Vec<Effective>,
    /// How the port is protected.
    web_config: Option<Arc<Watched>>,
}

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
    /// There is no thread to be had.
    #[error("cannot start the server")]
    Server(#[source] std::io::Error),
}

impl Exporter {
    /// An exporter of the configured targets. `sources` gives the source of credentials for an account. Nothing is asked of AWS before
    /// the first scrape.
    pub fn new(
        config: &Config,
        http: &Http,
        sources: &dyn Fn(&str) -> Arc<MakeProvider>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, SetupError> {
        let web_config = config.web_config_file.as_deref();
        let web_config = web_config.map(|path| Watched::open(path, Arc::clone(&clock))).transpose();
        let web_config = web_config.map_err(SetupError::WebConfig)?.map(Arc::new);
        let telemetry = Arc::new(Telemetry::new()?);
        let observer: Arc<dyn Observer> = Arc::clone(&telemetry) as _;
        let Accounts { clients, credentials } = Accounts::new(config, http, sources, &clock, &observer)?;
        let settings = collect::Settings {
            pace: config.pace(),
            listings_under_way: config.max_concurrent_requests,
            shard: config.shard,
            discovery_ttl: config.discovery_ttl,
            bounds: Bounds {
                max_age: config.finished_job_max_age,
                per_segment: config.finished_jobs_per_segment,
            },
            status_series: config.status_series,
            keep_failures: config.show_failures,
        };
        Ok(Self {
            collector: Collector::new(config.targets.clone(), clients, settings, clock),
            credentials,
            telemetry,
            last_duration: AtomicU64::new(0),
            ready: AtomicBool::new(false),
            settings: config.effective.clone(),
            web_config,
        })
    }

    /// How the port is protected, as `WEB_CONFIG_FILE` says.
    pub fn web_config(&self) -> Option<Arc<Watched>> {
        self.web_config.clone()
    }

    /// Looks for credentials for the first time. The exporter is ready after it, found or not.
    pub async fn get_ready(&self) {
        for credentials in self.credentials.values() {
            if let Err(failure) = credentials.look_ahead().await {
                tracing::warn!("no credentials yet: {failure}");
            }
        }
        self.ready.store(true, Ordering::Release);
    }
}

/// Serves scrapes at `listener` until `shutdown`, with the standard credentials and the roles assumed with them. The first
/// look for them goes on meanwhile.
pub async fn run(
    config: &Config,
    listener: TcpListener,
    clock: Arc<dyn Clock>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), SetupError> {
    let http = Http::new(config.ca_bundle.as_deref())?;
    let sources = standard_sources(config, &http, &clock);
    let exporter = Arc::new(Exporter::new(config, &http, &sources, Arc::clone(&clock))?);
    let getting_ready = Arc::clone(&exporter);
    tokio::spawn(async move { getting_ready.get_ready().await });
    let timeout = ScrapeTimeout { default: config.scrape_timeout, offset: config.scrape_timeout_offset };
    let web_config = exporter.web_config();
    let clients: BTreeSet<_> =
        config.targets.iter().map(|target| (&target.account_id, &target.region)).collect();
    let limits = Limits::within_file_descriptors(clients.len() * config.max_concurrent_requests);
    let served = web::serve(listener, exporter, timeout, limits, web_config, shutdown).await;
    served.map_err(SetupError::Server)
}

impl web::Exporter for Exporter {
    async fn scrape(&self, wait: Duration, hurry: impl Future<Output = ()> + Send, gzip: bool) -> Vec<Bytes> {
        let started = Instant::now();
        tokio::select! {
            () = self.collector.refresh(wait) => {}
            () = hurry => {}
        }
        let body = self.collector.body();
        let (cache_lookups, cache_hits) = self.collector.lookups_and_hits();
        let expiry = |(account_id, credentials): (&String, &Arc<CredentialsCache>)| {
            Some((account_id.clone(), credentials.expiry()?))
        };
        let facts = ScrapeFacts {
            credentials_expiry: self.credentials.iter().filter_map(expiry).collect(),
            cache_lookups,
            cache_hits,
            last_duration_seconds: f64::from_bits(self.last_duration.load(Ordering::Relaxed)),
            series: body.series,
            certificate_expiry: self.web_config.as_ref().and_then(|it| it.current().certificate_expiry),
            config_reload: self.web_config.as_ref().map(|web_config| {
                let reload = web_config.reload();
                (reload.successful, OffsetDateTime::from(reload.last_success).into())
            }),
        };
        let answer = exposition::answer(&body, &self.telemetry.parts(&facts), gzip);
        self.last_duration.store(started.elapsed().as_secs_f64().to_bits(), Ordering::Relaxed);
        answer
    }

    fn page(&self, query: &str) -> Result<String, String> {
        status::page(&self.collector.overview(), &self.settings, query)
    }

    fn page_policy(&self) -> &'static str {
        status::content_security_policy()
    }

    fn jobs(&self, query: &str) -> Result<String, String> {
        status::json(&self.collector.overview(), &self.settings, query)
    }

    fn gzip(&self, document: String) -> Vec<Bytes> {
        exposition::gzip(document)
    }

    fn stop_waiting(&self) {
        self.collector.stop_waiting();
    }

    fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }
}
