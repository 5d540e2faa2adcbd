//! Builds the exporter from its settings and answers scrapes: clients, cache, the exporter's own metrics, web server.

pub mod accounts;
mod error;

use std::{
    collections::BTreeMap,
    convert::Infallible,
    panic::AssertUnwindSafe,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

pub use self::error::SetupError;

use bytes::Bytes;
use futures_util::FutureExt as _;
use tokio::{
    net::TcpListener,
    sync::{Notify, watch},
    task::spawn_blocking,
    time::{Instant, sleep},
};

use self::accounts::{Accounts, own_source};
use crate::{
    collect::{self, Collector},
    config::{Config, EffectiveSetting, TargetsFile},
    file_watch::{Files, Reload, WatchedFile},
    metrics::{
        block,
        exposition::{self, Exposition},
        family::ScrapeFacts,
        telemetry::Telemetry,
    },
    model::{clock::Clock, duration::nanoseconds, snapshot::FinishedJobLimits, target::TargetPattern},
    pinpoint::{self, Http, Observer, ProcessCleanup, Source},
    status,
    web::{self, Content, Limits, RenderedText, ScrapeTimeout, config::WatchedWebConfig},
};

pub struct Exporter {
    collector: Collector,
    accounts: Mutex<Accounts>,
    telemetry: Arc<Telemetry>,
    /// The duration of the last scrape that ended, in nanoseconds.
    last_duration: AtomicU64,
    ready: AtomicBool,
    /// The settings that the status page shows.
    settings: Vec<EffectiveSetting>,
    /// The configuration of TLS and passwords for the port.
    web_config: Option<Arc<WatchedWebConfig>>,
    targets_file: Option<(TargetsFile, WatchedFile)>,
    /// The maximum number of simultaneous requests to Pinpoint.
    requests_to_aws: watch::Sender<usize>,
}

impl Exporter {
    /// Creates an exporter of the configured targets. `own` is the source of the process's own credentials. The first scrape
    /// sends the first request to AWS.
    pub fn new(
        config: &Config,
        http: &Http,
        own: Arc<Source>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, SetupError> {
        let web_config = config.web_config_file.as_deref();
        let web_config = web_config.map(|path| WatchedWebConfig::open(path, Arc::clone(&clock))).transpose();
        let web_config = web_config.map_err(SetupError::WebConfig)?.map(Arc::new);
        // The file is read again here, because it is watched from now on.
        let mut files = Files::default();
        let targets = config.targets_file.as_ref().map(|file| file.read(&mut files)).transpose();
        let targets = targets.map_err(SetupError::TargetsFile)?.unwrap_or_else(|| config.targets.clone());
        let config = &Config { targets, ..config.clone() };
        let targets_file = config.targets_file.clone().map(|file| {
            let watched = WatchedFile::new(file.path.clone(), "TARGETS_FILE", files, Arc::clone(&clock));
            (file, watched)
        });
        let telemetry = Arc::new(Telemetry::new()?);
        let observer: Arc<dyn Observer> = Arc::clone(&telemetry) as _;
        let accounts = Accounts::new(config, http, own, &clock, &observer)?;
        let settings = collect::Settings {
            refresh_limits: config.refresh_limits(),
            shard: config.shard,
            discovery_ttl: config.discovery_ttl,
            finished_job_limits: FinishedJobLimits {
                max_age: config.finished_job_max_age,
                per_segment: config.finished_jobs_per_segment,
            },
            status_series: config.status_series,
            names: config.names,
            tag_labels: Arc::clone(&config.tag_labels),
        };
        Ok(Self {
            requests_to_aws: watch::Sender::new(accounts.simultaneous_requests()),
            collector: Collector::new(config.targets.clone(), &accounts.clients, settings, clock),
            accounts: Mutex::new(accounts),
            telemetry,
            last_duration: AtomicU64::new(0),
            ready: AtomicBool::new(false),
            settings: config.effective.clone(),
            web_config,
            targets_file,
        })
    }

    /// Replaces the targets. Targets, accounts and regions that stay keep their data. The series of removed targets disappear
    /// at once. The next scrape reads the new targets. An error changes nothing.
    pub fn set_targets(&self, targets: Vec<TargetPattern>) -> Result<(), SetupError> {
        // The lock is held to the end, so that concurrent changes are applied one after the other.
        let mut accounts = self.accounts();
        accounts.set_targets(&targets)?;
        self.requests_to_aws.send_replace(accounts.simultaneous_requests());
        self.collector.set_targets(targets, &accounts.clients);
        Ok(())
    }

    fn accounts(&self) -> MutexGuard<'_, Accounts> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The configuration of TLS and passwords for the port, from `WEB_CONFIG_FILE`.
    pub fn web_config(&self) -> Option<Arc<WatchedWebConfig>> {
        self.web_config.clone()
    }

    /// Reads the configuration files that have changed.
    pub fn reload_changed_files(&self) {
        if let Some(web_config) = &self.web_config {
            web_config.reload_if_changed();
        }
        if let Some((file, watched)) = &self.targets_file {
            watched.reload_if_changed(|files| self.apply(file, files));
        }
    }

    /// Reads the configuration files again, whether or not they have changed.
    pub fn reload_files(&self) {
        if self.web_config.is_none() && self.targets_file.is_none() {
            tracing::info!("there is no file to read again: TARGETS_FILE and WEB_CONFIG_FILE are not set");
        }
        if let Some(web_config) = &self.web_config {
            web_config.reload();
        }
        if let Some((file, watched)) = &self.targets_file {
            watched.reload(|files| self.apply(file, files));
        }
    }

    fn apply(&self, file: &TargetsFile, files: &mut Files) -> Result<(), Vec<String>> {
        let targets = file.read(files)?;
        self.set_targets(targets).map_err(|error| vec![error.to_string()])
    }

    /// The result of the last reload of the configuration files. `None` without such files.
    fn last_reload(&self) -> Option<Reload> {
        let web_config = self.web_config.as_ref().map(|web_config| web_config.last_reload());
        let targets_file = self.targets_file.as_ref().map(|(_, watched)| watched.last_reload());
        web_config.into_iter().chain(targets_file).reduce(Reload::and)
    }

    /// Looks for the credentials of every account for the first time. Afterwards the exporter is ready, even if there are none.
    pub async fn get_ready(&self) {
        // A panic is already logged, and scrapes report the missing credentials.
        _ = AssertUnwindSafe(self.fetch_credentials()).catch_unwind().await;
        self.ready.store(true, Ordering::Release);
    }

    async fn fetch_credentials(&self) {
        let credentials = self.accounts().credentials.clone();
        let mut failures: BTreeMap<String, Vec<&String>> = BTreeMap::new();
        for (account_id, failure) in pinpoint::prefetch(&credentials).await {
            failures.entry(failure.to_string()).or_default().push(account_id);
        }
        for (failure, accounts) in failures {
            tracing::warn!(account = accounts[0], accounts = accounts.len(), "no credentials yet: {failure}");
        }
    }
}

/// Serves scrapes at `listener` until `shutdown`, with credentials of the standard chain and the roles assumed with them. The
/// first look for credentials runs in the background.
pub async fn run(
    config: &Config,
    listener: TcpListener,
    clock: Arc<dyn Clock>,
    shutdown: impl Future<Output = ()>,
    reload: &Notify,
) -> Result<(), SetupError> {
    let _end_processes = ProcessCleanup;
    if std::process::id() == 1 {
        tokio::spawn(pinpoint::reap_orphans());
    }
    let http = Http::new(config.ca_bundle.as_deref(), &config.proxies)?;
    let own = own_source(config, &http);
    let exporter = Arc::new(Exporter::new(config, &http, own, Arc::clone(&clock))?);
    let getting_ready = Arc::clone(&exporter);
    tokio::spawn(async move { getting_ready.get_ready().await });
    let timeout = ScrapeTimeout {
        default: config.scrape_timeout,
        offset: config.scrape_timeout_offset,
        longest: config.refresh_timeout,
    };
    let web_config = exporter.web_config();
    let watching = watch(Arc::clone(&exporter), reload);
    tokio::select! {
        served = web::serve(listener, exporter, timeout, Limits::default(), web_config, shutdown) => {
            served.map_err(SetupError::Server)
        }
        never = watching => match never {},
    }
}

/// How often the configuration files are checked for changes.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Checks the configuration files forever. A file system that hangs does not block anything else.
async fn watch(exporter: Arc<Exporter>, reload: &Notify) -> Infallible {
    loop {
        let reload = tokio::select! {
            () = sleep(CHECK_INTERVAL) => Exporter::reload_changed_files,
            () = reload.notified() => Exporter::reload_files,
        };
        let exporter = Arc::clone(&exporter);
        _ = spawn_blocking(move || reload(&exporter)).await;
    }
}

impl web::Exporter for Exporter {
    async fn scrape(
        &self,
        wait: Duration,
        answer_now: impl Future<Output = ()> + Send,
        gzip: bool,
    ) -> Content {
        let started = Instant::now();
        tokio::select! {
            biased;
            () = self.collector.refresh(wait, gzip) => {}
            () = answer_now => {}
        }
        let body = self.collector.body();
        if body.takes_long_to_prepare(gzip) {
            // The threads that serve connections go on meanwhile. A panic would happen again below.
            let body = Arc::clone(&body);
            _ = spawn_blocking(move || body.prepare(gzip)).await;
        }
        let (cache_lookups, cache_hits) = self.collector.lookups_and_hits();
        let facts = ScrapeFacts {
            credentials_expiry: self.accounts().expiries(),
            cache_lookups,
            cache_hits,
            last_duration: Duration::from_nanos(self.last_duration.load(Ordering::Relaxed)),
            series: body.series,
            certificate_expiry: self.web_config.as_ref().and_then(|it| it.current().certificate_expiry),
            config_reload: self.last_reload().map(|reload| (reload.successful, reload.last_success.into())),
        };
        let answer = exposition::render(&body, &self.telemetry.part(), block::scrape_facts(&facts), gzip);
        self.last_duration.store(nanoseconds(started.elapsed()), Ordering::Relaxed);
        match answer {
            Exposition::Chunks(chunks) => chunks.into(),
            Exposition::Rendered(text) => {
                let (length, source) = (text.length(), text.source());
                Content::Rendered(RenderedText { pieces: Box::new(text), length, source })
            }
        }
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

    fn requests_to_aws(&self) -> watch::Receiver<usize> {
        self.requests_to_aws.subscribe()
    }
}
