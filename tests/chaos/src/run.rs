//! One run of the exporter: it starts, faults occur for a while, the faults end and it recovers, and it stops. Three clients
//! scrape it throughout.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::Context as _;
use fake_pinpoint::{FakePinpoint, HANG_LIMIT, Options};
use fastrand::Rng;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    client::{self, Answer, Manner},
    credentials::{Endpoint, Supply},
    judge::{Judge, Rules, judge_secrets},
    lock,
    model::{Bounds, REGION},
    process::{Exporter, Log, Plan, Program},
    proxy::{Mode, Proxy},
    recorder::Recorder,
    report::{Report, say},
    schedule::{self, Action, Kind},
    starvation::Starvation,
    world,
};

/// How much later than its timeout a scraper may get its response, in addition to the time that the machine lost.
const TOLERANCE: Duration = Duration::from_secs(3);
/// How long the exporter may take to exit after SIGTERM.
const SHUTDOWN: Duration = Duration::from_secs(10);
/// The address from which idle connections come.
const OTHER_CLIENT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)), 0);
const MIB: u64 = 1024 * 1024;
/// The memory that the exporter may use without any data, in MiB. It is a debug build, and nobody reads its log.
const BASE_MEMORY_MIB: u64 = 96;
/// A run ends after this many violations. More of them would say nothing new.
const MAX_VIOLATIONS: usize = 8;

/// The state that the tasks of a run share.
struct RunState {
    judge: Judge,
    address: SocketAddr,
    report: Mutex<Report>,
    violations: Mutex<Vec<String>>,
    started: Instant,
    starvation: Arc<Starvation>,
    stop: CancellationToken,
}

impl RunState {
    fn add_violations(&self, problems: Vec<String>) {
        let at = self.started.elapsed().as_secs_f64();
        let mut violations = lock(&self.violations);
        for problem in problems {
            if violations.len() < MAX_VIOLATIONS {
                violations.push(format!("at {at:.3} s: {problem}"));
            }
        }
    }

    fn has_max_violations(&self) -> bool {
        lock(&self.violations).len() >= MAX_VIOLATIONS
    }

    /// Scrapes as a client and judges the answer, which gives what is in it.
    async fn scrape(&self, client: &'static str, manner: Manner) -> Option<crate::text_format::Scrape> {
        let before = self.judge.before();
        let seconds = manner.timeout.unwrap_or(1.0);
        let began = self.starvation.now();
        let answer = timeout(HANG_LIMIT, client::get(self.address, "/metrics", manner)).await;
        let mut wrong = Vec::new();
        let scrape = match answer {
            Err(_) => {
                wrong.push(format!("{client}: no answer within {HANG_LIMIT:?}"));
                None
            }
            Ok(Err(error)) => {
                wrong.push(format!("{client}: {error:#}"));
                None
            }
            Ok(Ok(answer)) => {
                // Who reads slowly is slow himself.
                if manner.pause.is_zero() {
                    self.judge_time(&answer, seconds, began, &mut wrong);
                }
                self.judge.judge(&before, &answer, &mut wrong)
            }
        };
        *lock(&self.report).answers.entry(client).or_default() += 1;
        self.add_violations(wrong.into_iter().map(|problem| format!("{client}: {problem}")).collect());
        scrape
    }

    fn judge_time(&self, answer: &Answer, seconds: f64, began: i64, wrong: &mut Vec<String>) {
        let (took, lost) = (answer.took, self.starvation.since(began));
        let over = took.saturating_sub(Duration::from_secs_f64(seconds) + lost);
        if over > TOLERANCE {
            wrong.push(format!("the answer took {took:?} of {seconds} s; the machine lost {lost:?}"));
        }
        let mut report = lock(&self.report);
        report.latest = report.latest.max(over.as_millis());
    }
}

/// Draws the settings of a run. Also returns what the judge must know about them.
fn settings(rng: &mut Rng, kind: Kind) -> (Vec<(&'static str, String)>, Rules, usize) {
    let pick = |rng: &mut Rng, choices: &[u64]| choices[rng.usize(..choices.len())];
    let ttl = pick(rng, &[0, 100, 300, 700]);
    let staleness = ttl.max(pick(rng, &[2_000, 3_000, 5_000]));
    // Huge answers need time to be huge.
    let request = if kind == Kind::LittleMemory { 5_000 } else { pick(rng, &[300, 800, 5_000]) };
    let refresh = request.max(pick(rng, &[1_500, 4_000, 12_000]));
    let attempts = rng.usize(1..4);
    let page_size = rng.usize(6..40);
    let bounds = Bounds {
        max_age: rng.i64(5..45) * 1_000,
        per_segment: rng.usize(2..12),
        current_status_only: rng.u8(..4) == 0,
    };
    let concurrent = if kind == Kind::LittleMemory { 2 } else { pick(rng, &[4, 8]) };
    let variables = vec![
        ("CACHE_TTL", format!("{ttl}ms")),
        ("MAX_STALENESS", format!("{staleness}ms")),
        ("DISCOVERY_TTL", format!("{}ms", pick(rng, &[200, 800]))),
        ("REQUEST_TIMEOUT", format!("{request}ms")),
        ("REFRESH_TIMEOUT", format!("{refresh}ms")),
        ("MAX_ATTEMPTS", attempts.to_string()),
        ("PAGE_SIZE", page_size.to_string()),
        ("MAX_CONCURRENT_REQUESTS", concurrent.to_string()),
        ("MAX_REQUESTS_PER_SECOND", pick(rng, &[0, 80, 200]).to_string()),
        ("FINISHED_JOB_MAX_AGE", format!("{}ms", bounds.max_age)),
        ("FINISHED_JOBS_PER_SEGMENT", bounds.per_segment.to_string()),
        ("STATUS_SERIES", if bounds.current_status_only { "current" } else { "all" }.to_owned()),
        ("SCRAPE_TIMEOUT_OFFSET", "50ms".to_owned()),
        ("SCRAPE_TIMEOUT", "1s".to_owned()),
        ("SHOW_FAILURES", rng.bool().to_string()),
        // Where nobody reads it, all the more.
        ("LOG_LEVEL", if kind.log() == Log::Read { "debug" } else { "trace" }.to_owned()),
        ("LOG_FORMAT", if rng.bool() { "json" } else { "logfmt" }.to_owned()),
        ("TARGETS", world::TARGETS.to_owned()),
    ];
    let rules = Rules {
        bounds,
        max_staleness: Duration::from_millis(staleness),
        refresh_timeout: Duration::from_millis(refresh),
        max_attempts: attempts,
        damages: kind.damages(),
        fails_unseen: !kind.is_accountable(),
    };
    (variables, rules, page_size)
}

/// The most memory that an exporter may take. Its answers are small, or they are of any size, of which it unpacks 64 MiB and may
/// take twice that for each request.
fn memory_limit(kind: Kind, variables: &[(&'static str, String)]) -> u64 {
    let concurrent = variables.iter().find(|(name, _)| *name == "MAX_CONCURRENT_REQUESTS");
    let concurrent: u64 = concurrent.and_then(|(_, value)| value.parse().ok()).unwrap_or(8);
    let huge = if kind.is_huge() { concurrent * 2 * 64 } else { 0 };
    (BASE_MEMORY_MIB + huge) * MIB
}

/// The environment of the exporter.
struct Environment {
    proxy: Proxy,
    endpoint: Endpoint,
    recorder: Arc<Recorder>,
    /// Segments that are deleted.
    gone: BTreeSet<String>,
    /// How wrong the API's date is.
    server_date: i64,
    /// The same of the exporter's date, and what has passed besides.
    date: i64,
    passed: i64,
    idle: Vec<TcpStream>,
}

impl Environment {
    async fn start(seed: u64, recorder: Arc<Recorder>) -> anyhow::Result<Self> {
        let mut environment = Self {
            proxy: Proxy::start(seed).await?,
            endpoint: Endpoint::start().await?,
            recorder,
            gone: BTreeSet::new(),
            server_date: 0,
            date: 0,
            passed: 0,
            idle: Vec::new(),
        };
        environment.start_api().await?;
        Ok(environment)
    }

    async fn start_api(&mut self) -> anyhow::Result<()> {
        let mut world = self.recorder.world.clone();
        if let Some(application) = world.applications.get_mut(world::ALL) {
            application.segments.retain(|segment, _| !self.gone.contains(segment));
        }
        let options = Options { keys: self.endpoint.keys(), pinned_pages: true, ..Options::default() };
        let fake = FakePinpoint::start_with(world, options).await?;
        fake.server_clock().advance(self.server_date);
        let address = fake.address();
        self.recorder.follow(fake);
        self.proxy.lead_to(Some(address));
        Ok(())
    }

    async fn restart_api(&mut self, after: Duration) -> anyhow::Result<()> {
        self.proxy.lead_to(None);
        sleep(after).await;
        self.start_api().await
    }

    async fn act(&mut self, action: &Action, exporter: &Exporter, judge: &Judge) -> anyhow::Result<()> {
        let fake = self.recorder.fake().context("there is no fake")?;
        match action {
            Action::Api(rule) => fake.fault(rule.clone()),
            Action::ApiIsWell => fake.clear_faults(),
            Action::Network(mode) => self.proxy.set(*mode),
            Action::Restart(after) => self.restart_api(*after).await?,
            Action::RotateKeys => fake.set_keys(self.endpoint.rotate()),
            Action::Credentials(supply) => self.endpoint.supply(*supply),
            Action::Date(wrong) => {
                self.date = *wrong;
                judge.date_turns(self.date + self.passed);
                exporter.steer(&format!("date {wrong}")).await?;
                judge.date_has_turned();
            }
            Action::Pass(time) => {
                let milliseconds = i64::try_from(time.as_millis())?;
                self.passed += milliseconds;
                judge.date_turns(self.date + self.passed);
                exporter.steer(&format!("pass {milliseconds}")).await?;
                judge.date_has_turned();
            }
            Action::ServerDate(wrong) => {
                fake.server_clock().advance(wrong - self.server_date);
                self.server_date = *wrong;
            }
            Action::Delete(segment) => {
                self.gone.insert((*segment).to_owned());
                let mut world = fake.world();
                world.applications.get_mut(schedule::CHANGING).and_then(|it| it.segments.remove(*segment));
            }
            Action::Restore(segment) => {
                self.gone.remove(*segment);
                let jobs = &self.recorder.world.applications[schedule::CHANGING].segments[*segment];
                *fake.world().segment(schedule::CHANGING, segment) = jobs.clone();
            }
            Action::Rename(segment, number) => {
                let mut world = fake.world();
                let changing = world.applications.get_mut(schedule::CHANGING);
                if let Some(it) = changing.and_then(|it| it.segments.get_mut(*segment)) {
                    it.name = world::name(segment, *number);
                }
            }
            Action::IdleConnections(count) => {
                self.idle.clear();
                for _ in 0..*count {
                    // Of another client: who has the most connections loses them first.
                    let socket = TcpSocket::new_v4()?;
                    socket.bind(OTHER_CLIENT)?;
                    let connection = socket.connect(exporter.address);
                    if let Ok(Ok(connection)) = timeout(Duration::from_millis(200), connection).await {
                        self.idle.push(connection);
                    }
                }
            }
        }
        Ok(())
    }

    /// All is well from now on.
    async fn calm_down(&mut self, exporter: &Exporter, judge: &Judge, turned: bool) -> anyhow::Result<()> {
        let well = [
            Action::Network(Mode::Pass),
            Action::ApiIsWell,
            Action::Credentials(Supply::Good(Duration::from_hours(1))),
            Action::ServerDate(0),
        ];
        for action in well {
            self.act(&action, exporter, judge).await?;
        }
        if turned {
            self.act(&Action::Date(0), exporter, judge).await?;
        }
        self.idle.clear();
        Ok(())
    }
}

/// Runs the exporter once under faults. Returns the report and the violations.
pub(crate) async fn run(seed: u64, number: u64, lasts: Duration) -> anyhow::Result<(Report, Vec<String>)> {
    let mut rng = Rng::with_seed(seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let kind = Kind::of_run(number);
    let (variables, rules, page_size) = settings(&mut rng, kind);
    let memory_limit = memory_limit(kind, &variables);
    let start = fake_pinpoint::Clock::default().now();
    let world = world::world(&mut rng, start);
    let targets = world::targets(&world);
    let actions = schedule::draw(kind, &mut rng, lasts);
    let recorder = Arc::new(Recorder::new(world, page_size));
    let mut environment = Environment::start(rng.u64(..), Arc::clone(&recorder)).await?;
    let own = variables.into_iter().map(|(name, value)| (format!("PINPOINT_EXPORTER_{name}"), value));
    let aws = [
        ("AWS_REGION", REGION.to_owned()),
        ("AWS_ENDPOINT_URL_PINPOINT", format!("http://{}", environment.proxy.address)),
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", format!("http://{}/", environment.endpoint.address)),
    ];
    let aws = aws.into_iter().map(|(name, value)| (name.to_owned(), value));
    let plan = Plan {
        program: kind.program(),
        log: kind.log(),
        limits: kind.limits(),
        variables: own.chain(aws).collect(),
    };
    let mut exporter = Exporter::start(&plan).await?;
    let run = Arc::new(RunState {
        judge: Judge::new(Arc::clone(&recorder), targets, rules, Arc::clone(&exporter.starvation)),
        address: exporter.address,
        report: Mutex::default(),
        violations: Mutex::default(),
        started: Instant::now(),
        starvation: Arc::clone(&exporter.starvation),
        stop: CancellationToken::new(),
    });
    let mut clients = JoinSet::new();
    for (client, gzip) in [("a plain client", false), ("a client with gzip", true)] {
        let rng = rng.fork();
        clients.spawn(scrape_steadily(Arc::clone(&run), client, gzip, rng));
    }
    clients.spawn(scrape_rudely(Arc::clone(&run), rng.fork()));

    for (at, action) in &actions {
        sleep_until(run.started + *at).await;
        if run.has_max_violations() || exporter.ended()?.is_some() {
            break;
        }
        environment.act(action, &exporter, &run.judge).await?;
        let mut report = lock(&run.report);
        *report.faults.entry(action.name()).or_default() += 1;
        report.used(exporter.usage().unwrap_or_default());
    }
    sleep_until(run.started + lasts).await;
    run.stop.cancel();
    while clients.join_next().await.is_some() {}
    if exporter.ended()?.is_none() {
        environment.calm_down(&exporter, &run.judge, kind.program() == Program::Turned).await?;
        recover(&run, &environment, kind).await;
        lock(&run.report).used(exporter.usage()?);
        exporter.terminate()?;
    }
    match exporter.end().await {
        Err(problem) => run.add_violations(vec![format!("{problem:#}")]),
        Ok((status, _)) if !status.success() => run.add_violations(vec![format!("it ended with {status}")]),
        Ok((_, took)) if took > SHUTDOWN => {
            run.add_violations(vec![format!("it ended {took:?} after SIGTERM")]);
        }
        Ok(_) => {}
    }
    judge_log(&run, &exporter.log());
    let peak = lock(&run.report).peak_memory;
    if peak > memory_limit {
        run.add_violations(vec![format!(
            "it took {} MiB, of {} MiB that it may",
            peak / MIB,
            memory_limit / MIB
        )]);
    }
    let mut report = std::mem::take(&mut *lock(&run.report));
    report.runs = 1;
    report.pieces_met = environment.proxy.met();
    recorder.each(|request| {
        report.requests += 1;
        report.requests_met += u64::from(request.fault.is_some());
    });
    let violations = std::mem::take(&mut *lock(&run.violations));
    if !violations.is_empty() {
        describe(&plan, &actions, &exporter);
    }
    Ok((report, violations))
}

/// What is of use to whoever looks for the cause.
fn describe(plan: &Plan, actions: &[(Duration, Action)], exporter: &Exporter) {
    let settings: BTreeMap<_, _> = plan.variables.iter().map(|(name, value)| (name, value)).collect();
    say(format_args!("settings: {settings:?}"));
    for (at, action) in actions {
        say(format_args!("{:>8.3} s  {action:?}", at.as_secs_f64()));
    }
    let log = exporter.log();
    let own: Vec<_> = log.iter().filter(|line| !line.contains("hyper_util")).collect();
    for line in own.iter().rev().take(15).rev() {
        say(format_args!("log: {line}"));
    }
}

/// Waits until everything is up again, and holds the exporter's account against the API's.
async fn recover(run: &RunState, environment: &Environment, kind: Kind) {
    let (calm, began) = (Instant::now(), run.starvation.now());
    let (since, mut well) = (run.judge.now() + environment.passed, BTreeSet::new());
    loop {
        let manner = Manner { timeout: Some(5.0), ..Manner::default() };
        let scrape = run.scrape("the last client", manner).await;
        if run.has_max_violations() {
            return;
        }
        let Some(scrape) = scrape else { continue };
        let mut wrong = run.judge.judge_calm(&scrape, &environment.gone, since, &mut well);
        if wrong.is_empty() {
            if kind.is_accountable() {
                run.judge.judge_account(&scrape, &mut wrong);
                run.add_violations(wrong);
            }
            return;
        }
        // While a machine has no processor for the exporter, all requests with a short timeout can fail.
        let lost = run.starvation.since(began);
        if calm.elapsed() > HANG_LIMIT + lost {
            wrong.truncate(3);
            let calm = calm.elapsed();
            wrong.insert(
                0,
                format!(
                    "all is well since {calm:?}, of which the machine lost {lost:?}, but the exporter is not"
                ),
            );
            return run.add_violations(wrong);
        }
        sleep(Duration::from_millis(50)).await;
    }
}

fn judge_log(run: &RunState, log: &[String]) {
    let mut wrong = Vec::new();
    for line in log {
        judge_secrets(line, "the log", &mut wrong);
        if line.contains("panicked at") || line.contains("is a bug") {
            wrong.push(format!("the log tells of a crash: {line}"));
        }
    }
    run.add_violations(wrong);
}

/// As Prometheus does it, and more often.
async fn scrape_steadily(run: Arc<RunState>, client: &'static str, gzip: bool, mut rng: Rng) {
    while !run.stop.is_cancelled() && !run.has_max_violations() {
        let timeout = Some([0.06, 0.1, 0.2, 0.5, 1.0][rng.usize(..5)]);
        run.scrape(client, Manner { gzip, timeout, ..Manner::default() }).await;
        sleep(Duration::from_millis(rng.u64(5..80))).await;
    }
}

/// As nobody should. What comes whole must be flawless all the same.
async fn scrape_rudely(run: Arc<RunState>, mut rng: Rng) {
    while !run.stop.is_cancelled() && !run.has_max_violations() {
        let manner = Manner { gzip: rng.bool(), timeout: Some(0.3), ..Manner::default() };
        match rng.u8(..5) {
            0 | 1 => {
                let pause = Duration::from_millis(rng.u64(1..4));
                run.scrape("a slow client", Manner { pause, ..manner }).await;
            }
            2 => {
                let path = ["/", "/api/v1/jobs", "/?page=1", "/-/healthy"][rng.usize(..4)];
                let mut wrong = Vec::new();
                match timeout(HANG_LIMIT, client::get(run.address, path, manner)).await {
                    Ok(Ok(answer)) => {
                        judge_secrets(&answer.text, path, &mut wrong);
                        if answer.status != 200 {
                            wrong.push(format!("{path} is answered with status {}", answer.status));
                        }
                    }
                    Ok(Err(error)) => wrong.push(format!("{path}: {error:#}")),
                    Err(_) => wrong.push(format!("{path}: no answer within {HANG_LIMIT:?}")),
                }
                *lock(&run.report).answers.entry("a reader of the pages").or_default() += 1;
                run.add_violations(wrong);
            }
            _ => {
                // Half a request, garbage, or a whole one whose answer is not wanted.
                let request = client::request("/metrics", manner);
                let bytes = match rng.u8(..3) {
                    0 => request.as_bytes()[..rng.usize(..request.len())].to_vec(),
                    1 => (0..rng.usize(1..200)).map(|_| rng.u8(..)).collect(),
                    _ => request.into_bytes(),
                };
                if let Ok(mut socket) = TcpStream::connect(run.address).await {
                    _ = socket.write_all(&bytes).await;
                    let mut few = [0; 100];
                    _ = timeout(Duration::from_millis(rng.u64(..60)), socket.read(&mut few)).await;
                    if rng.bool() {
                        _ = socket.set_zero_linger();
                    }
                }
            }
        }
        sleep(Duration::from_millis(rng.u64(5..100))).await;
    }
}
