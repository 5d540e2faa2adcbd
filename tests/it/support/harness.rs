//! Runs an exporter and a fake Pinpoint on clocks that advance together, with helpers that use real sockets.

use std::{
    ffi::OsString,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, SystemTime},
};

use aws_credential_types::Credentials;
use fake_pinpoint::{FakePinpoint, HANG_LIMIT, Key, Operation, Options, world::World};
use pinpoint_exporter::{
    Exporter, SetupError,
    config::Config,
    model::{clock::Clock, target},
    pinpoint::{self, Http},
    web::{self, ClientTimeouts, Limits, ScrapeTimeout},
};
use tokio::{
    net::{TcpListener, TcpSocket},
    sync::mpsc::{self, error::TrySendError},
    task::JoinHandle,
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    raw::within,
    text_format::{self, Scrape},
};

pub(crate) const APP: &str = "6e0b7591a90841d2b5d93fa11143e5a7";
pub(crate) const SEGMENT: &str = "b66c9e42f71444b2aa2e0ffc1df28f60";
pub(crate) const REGION: &str = "eu-west-1";

/// [`HANG_LIMIT`] as a setting.
pub(crate) const HANG_SETTING: &str = "2m";
const _: () = assert!(HANG_LIMIT.as_secs() == 120);

/// The exporter's clock. It stands still unless a test advances it.
#[derive(Debug)]
pub(crate) struct TestClock {
    start: SystemTime,
    turned: Mutex<Duration>,
    /// How far the date is off, in seconds.
    wrong: Mutex<i64>,
}

impl TestClock {
    fn starting_at(date: Option<SystemTime>) -> Self {
        #[expect(clippy::disallowed_methods, reason = "the fake's server lives by the machine's date")]
        let start = date.unwrap_or_else(SystemTime::now);
        Self { start, turned: Mutex::default(), wrong: Mutex::default() }
    }

    pub(crate) fn turn(&self, by: Duration) {
        *self.turned.lock().unwrap() += by;
    }

    /// Makes the date wrong by `seconds`.
    pub(crate) fn be_wrong_by(&self, seconds: i64) {
        *self.wrong.lock().unwrap() = seconds;
    }
}

impl Clock for TestClock {
    fn now(&self) -> SystemTime {
        let wrong = *self.wrong.lock().unwrap();
        let date = self.start + *self.turned.lock().unwrap();
        let by = Duration::from_secs(wrong.unsigned_abs());
        if wrong < 0 { date - by } else { date + by }
    }

    fn elapsed(&self) -> Duration {
        Duration::from_secs(1_000_000) + *self.turned.lock().unwrap()
    }
}

/// A source of credentials that a test fills. It counts how often it is called.
#[derive(Debug, Clone, Default)]
pub(crate) struct Source(Arc<SourceState>);

#[derive(Debug, Default)]
struct SourceState {
    credentials: Mutex<Option<Credentials>>,
    asked: AtomicUsize,
    panics: AtomicBool,
}

impl Source {
    pub(crate) fn give(&self, credentials: Option<Credentials>) {
        *self.0.credentials.lock().unwrap() = credentials;
    }

    /// Makes the source panic at the next call.
    pub(crate) fn panic(&self) {
        self.0.panics.store(true, Ordering::SeqCst);
    }

    pub(crate) fn asked(&self) -> usize {
        self.0.asked.load(Ordering::SeqCst)
    }

    /// Converts this into the source of an exporter's own credentials.
    pub(crate) fn into_own(self) -> Arc<pinpoint::Source> {
        pinpoint::Source::new(move |_| Box::pin(std::future::ready(self.ask())))
    }

    fn ask(&self) -> Result<Credentials, String> {
        self.0.asked.fetch_add(1, Ordering::SeqCst);
        assert!(!self.0.panics.load(Ordering::SeqCst), "a source that panics");
        self.0.credentials.lock().unwrap().clone().ok_or_else(|| "none here".to_owned())
    }
}

/// The fake's key as credentials.
pub(crate) fn credentials(key: &Key, expiry: Option<SystemTime>) -> Credentials {
    Credentials::new(&key.access_key_id, &key.secret_access_key, key.session_token.clone(), expiry, "test")
}

/// The configuration of the exporter and the fake to build.
pub(crate) struct Plan {
    world: World,
    fake: Options,
    endpoint: Option<String>,
    settings: Vec<(String, String)>,
    date: Option<SystemTime>,
}

impl Plan {
    /// Watches one segment without jobs. Requests are not retried.
    pub(crate) fn new() -> Self {
        let mut world = World::default();
        world.segment(APP, SEGMENT);
        Self { world, fake: Options::default(), endpoint: None, settings: Vec::new(), date: None }
            .set("TARGETS", &format!("{APP}/{SEGMENT}"))
            .set("MAX_ATTEMPTS", "1")
            .set("MAX_REQUESTS_PER_SECOND", "0")
            // Only a hang takes longer. A test about these timeouts sets its own values and runs in virtual time.
            .set("REQUEST_TIMEOUT", HANG_SETTING)
            .set("SCRAPE_TIMEOUT", HANG_SETTING)
    }

    /// Sets an exporter setting, given without its prefix.
    pub(crate) fn set(mut self, name: &str, value: &str) -> Self {
        self.settings.push((format!("PINPOINT_EXPORTER_{name}"), value.to_owned()));
        self
    }

    /// Sets an AWS environment variable.
    pub(crate) fn aws(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn world(mut self, change: impl FnOnce(&mut World)) -> Self {
        change(&mut self.world);
        self
    }

    pub(crate) fn fake(mut self, change: impl FnOnce(&mut Options)) -> Self {
        change(&mut self.fake);
        self
    }

    /// Stops every clock at a date, in milliseconds since the Unix epoch.
    pub(crate) fn at(mut self, milliseconds: u64) -> Self {
        self.date = Some(SystemTime::UNIX_EPOCH + Duration::from_millis(milliseconds));
        self
    }

    /// Uses another endpoint than the fake.
    pub(crate) fn endpoint(mut self, url: &str) -> Self {
        self.endpoint = Some(url.to_owned());
        self
    }

    pub(crate) async fn build(self) -> Harness {
        let source = Source::default();
        source.give(self.fake.keys.first().map(|key| credentials(key, None)));
        let fake = FakePinpoint::start_with(self.world, self.fake).await.unwrap();
        let mut variables: Vec<(OsString, OsString)> = vec![
            ("AWS_REGION".into(), REGION.into()),
            ("AWS_ENDPOINT_URL_PINPOINT".into(), self.endpoint.unwrap_or_else(|| fake.url()).into()),
        ];
        for (name, value) in self.settings {
            variables.retain(|(known, _)| *known != *name);
            variables.push((name.into(), value.into()));
        }
        let (config, _) = Config::parse(variables, None).unwrap_or_else(|problems| panic!("{problems}"));
        let clock = Arc::new(TestClock::starting_at(self.date));
        if let Some(date) = self.date {
            let date =
                i64::try_from(date.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis()).unwrap();
            fake.clock().stop_at(date);
            fake.server_clock().stop_at(date);
        }
        let http = Http::new(config.ca_bundle.as_deref(), &config.proxies).unwrap();
        let own = source.clone().into_own();
        let exporter = Exporter::new(&config, &http, own, Arc::clone(&clock) as _);
        let exporter = Arc::new(exporter.unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let timeout = ScrapeTimeout {
            default: config.scrape_timeout,
            offset: config.scrape_timeout_offset,
            longest: config.refresh_timeout,
        };
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        let web_config = exporter.web_config();
        let server = web::serve(listener, Arc::clone(&exporter), timeout, patient(), web_config, stopped);
        let server = tokio::spawn(async { server.await.unwrap() });
        Harness { exporter, fake, clock, source, url, client: client(), stop, server }
    }
}

/// A running exporter and its fake.
pub(crate) struct Harness {
    pub(crate) exporter: Arc<Exporter>,
    pub(crate) fake: FakePinpoint,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) source: Source,
    pub(crate) url: String,
    pub(crate) client: reqwest::Client,
    stop: CancellationToken,
    server: JoinHandle<()>,
}

impl Harness {
    /// Scrapes without a scrape timeout header.
    pub(crate) async fn scrape(&self) -> Scrape {
        self.scrape_within(None).await
    }

    /// Scrapes with a scrape timeout header, in seconds. The response must be valid.
    pub(crate) async fn scrape_within(&self, seconds: Option<&str>) -> Scrape {
        let text = self.text(seconds).await;
        text_format::parse(&text).unwrap_or_else(|problem| panic!("{problem}\n{text}"))
    }

    /// The text of a scrape.
    pub(crate) async fn text(&self, seconds: Option<&str>) -> String {
        let mut request = self.client.get(format!("{}/metrics", self.url));
        if let Some(seconds) = seconds {
            request = request.header("X-Prometheus-Scrape-Timeout-Seconds", seconds);
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 200);
        answer.text().await.unwrap()
    }

    /// Advances every clock.
    pub(crate) fn turn(&self, by: Duration) {
        self.clock.turn(by);
        let by = i64::try_from(by.as_millis()).unwrap();
        self.fake.clock().advance(by);
        self.fake.server_clock().advance(by);
    }

    /// Replaces the targets. The format is that of `TARGETS`.
    pub(crate) fn set_targets(&self, targets: &str) -> Result<(), SetupError> {
        let parsed = target::parse(targets, Some(REGION));
        self.exporter.set_targets(parsed.patterns.into_keys().collect())
    }

    /// How many requests for the export jobs of segments the fake received.
    pub(crate) fn listings(&self) -> usize {
        self.fake.count(Operation::GetSegmentExportJobs)
    }

    /// Checks for all operations that requests = successes + errors other than `CredentialsError`. `clean` is the number of
    /// requests that succeeded.
    pub(crate) async fn assert_equation(&self, clean: usize) {
        let scrape = self.scrape_within(Some("0.1")).await;
        let requests = scrape.sum("pinpoint_api_requests_total", &[]);
        let errors = scrape.sum("pinpoint_api_errors_total", &[]);
        let credentials = scrape.sum("pinpoint_api_errors_total", &[("exception", "CredentialsError")]);
        let counted = clean as u64 + errors - credentials;
        assert_eq!(
            requests, counted,
            "{clean} clean, {errors} errors, {credentials} for want of credentials"
        );
    }

    /// Stops the exporter and waits until it has stopped.
    pub(crate) async fn close(self) {
        self.stop.cancel();
        within("the end of the exporter", self.server).await.unwrap();
    }
}

/// Client limits that a busy machine does not exceed.
pub(crate) fn patient() -> Limits {
    let timeouts = ClientTimeouts { idle: HANG_LIMIT, head: HANG_LIMIT, write: HANG_LIMIT };
    Limits { timeouts, grace: HANG_LIMIT, ..Limits::default() }
}

/// An HTTP client for loopback addresses.
pub(crate) fn client() -> reqwest::Client {
    // An error means that another test has installed it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().timeout(HANG_LIMIT).build().unwrap()
}

/// Runs a test that must end. Each single wait has a shorter limit and names what it waits for.
pub(crate) fn run(test: impl Future<Output = ()>) {
    run_within(2 * HANG_LIMIT, test);
}

/// Runs a test that must end within `time`.
pub(crate) fn run_within(time: Duration, test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let ended = tokio::time::timeout(time, test).await;
        assert!(ended.is_ok(), "the test did not end");
    });
    runtime.shutdown_background();
}

/// How often each task of the exporter, the fake and the test can run in a millisecond of virtual time.
const TURNS_IN_A_MILLISECOND: usize = 20;

/// Runs a test about timeouts and waits in virtual time. Tokio's clock advances by a millisecond only when a real one has
/// passed and the runtime has had time to run its tasks. So no timeout fires early, however busy the machine is. Other
/// processes and threads do not use this clock.
pub(crate) fn run_in_virtual_time(test: impl Future<Output = ()>) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    // With this interval, the runtime checks its sockets between any two tasks.
    let runtime = runtime.enable_all().start_paused(true).event_interval(1).build().unwrap();
    runtime.block_on(async {
        let (tick, mut ticks) = mpsc::channel(1);
        // While a blocking task runs, tokio does not advance the clock by itself.
        tokio::task::spawn_blocking(move || {
            for _ in 0..(2 * HANG_LIMIT).as_millis() {
                thread::sleep(Duration::from_millis(1));
                if let Err(TrySendError::Closed(())) = tick.try_send(()) {
                    break;
                }
            }
        });
        let clockwork = async {
            while ticks.recv().await.is_some() {
                tokio::time::advance(Duration::from_millis(1)).await;
                for _ in 0..TURNS_IN_A_MILLISECOND {
                    tokio::task::yield_now().await;
                }
            }
        };
        tokio::select! {
            () = test => {}
            () = clockwork => panic!("the test did not end"),
        }
    });
    runtime.shutdown_background();
}

#[test]
fn virtual_time_waits_for_a_machine_that_is_slow() {
    run_in_virtual_time(async {
        let slow = async {
            thread::sleep(Duration::from_millis(100));
            tokio::task::yield_now().await;
        };
        let begin = Instant::now();
        tokio::time::timeout(Duration::from_millis(10), slow).await.expect("it is not too late");
        tokio::time::sleep(Duration::from_millis(20)).await;
        let took = begin.elapsed().as_millis();
        assert!((20..40).contains(&took), "{took} ms");
    });
}

/// An address that refuses every connection. It stays reserved until the tests end, so that no server gets it.
pub(crate) fn closed_address() -> SocketAddr {
    static RESERVED: LazyLock<TcpSocket> = LazyLock::new(|| {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        socket
    });
    RESERVED.local_addr().unwrap()
}
