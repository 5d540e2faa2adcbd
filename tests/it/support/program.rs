//! Runs the exporter as a program with its own environment.

use std::{
    ffi::OsStr,
    fs,
    io::{BufRead as _, BufReader, Read as _},
    net::SocketAddr,
    process::{Child, ChildStderr, Command, ExitStatus, Output, Stdio},
    sync::{Arc, Mutex, mpsc},
    thread,
    time::Duration,
};

use fake_pinpoint::HANG_LIMIT;
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::sleep;

use super::{
    harness::{HANG_SETTING, client},
    raw::within,
    text_format::{self, Scrape},
};

/// Settings that a request or a scrape exceeds only in a hang. A test about these timeouts sets its own values.
const UNHURRIED: [(&str, &str); 2] =
    [("PINPOINT_EXPORTER_REQUEST_TIMEOUT", HANG_SETTING), ("PINPOINT_EXPORTER_SCRAPE_TIMEOUT", HANG_SETTING)];

/// Runs an exporter command to its end, with only these variables.
pub(crate) fn command(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    prepared(arguments, variables).output().unwrap()
}

/// Like `command`, but does not block the task: the fake and other commands run meanwhile.
pub(crate) async fn command_async(arguments: &[&str], variables: &[(&str, impl AsRef<OsStr>)]) -> Output {
    let mut command = prepared(arguments, variables);
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

fn prepared(arguments: &[&str], variables: &[(&str, impl AsRef<OsStr>)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pinpoint-exporter"));
    command
        .args(arguments)
        .env_clear()
        .envs([("AWS_EC2_METADATA_DISABLED", "true"), ("NO_PROXY", "*")])
        .envs(UNHURRIED)
        .envs(variables.iter().map(|(name, value)| (name, value)));
    command
}

pub(crate) fn send(signal: Signal, process: u32) {
    let process = Pid::from_raw(process.try_into().unwrap()).unwrap();
    kill_process(process, signal).unwrap();
}

/// A running exporter. It is killed when this is dropped.
pub(crate) struct Program {
    child: Child,
    /// The address that it listens on.
    pub(crate) address: SocketAddr,
    /// The address as a URL.
    pub(crate) url: String,
    log: Arc<Mutex<String>>,
    /// Returns the unread rest of the log once the thread stops reading it.
    reader: Option<thread::JoinHandle<BufReader<ChildStderr>>>,
}

impl Program {
    /// Starts the exporter on a free port with only these variables, and waits until it serves.
    pub(crate) fn start(variables: &[(&str, &str)]) -> Self {
        Self::start_under("", variables)
    }

    /// Like `start`, but the log is no longer read once the exporter serves.
    pub(crate) fn start_unread(variables: &[(&str, &str)]) -> Self {
        Self::spawn("", variables, false)
    }

    /// Like `start`, with limits that a shell sets before it runs the exporter.
    pub(crate) fn start_under(limits: &str, variables: &[(&str, &str)]) -> Self {
        Self::spawn(limits, variables, true)
    }

    fn spawn(limits: &str, variables: &[(&str, &str)], reads_log: bool) -> Self {
        let mut child = Command::new("/bin/sh")
            .args(["-c", &format!("{limits} exec \"$0\""), env!("CARGO_BIN_EXE_pinpoint-exporter")])
            .env_clear()
            .envs([
                ("AWS_EC2_METADATA_DISABLED", "true"),
                ("AWS_REGION", "eu-west-1"),
                ("PINPOINT_EXPORTER_LISTEN_ADDRESS", "127.0.0.1:0"),
                ("NO_PROXY", "*"),
            ])
            .envs(UNHURRIED)
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        let log = Arc::new(Mutex::new(String::new()));
        let (found, serving) = mpsc::channel();
        let kept = Arc::clone(&log);
        let reader = thread::spawn(move || {
            for line in lines.by_ref().lines().map_while(Result::ok) {
                let address = line.split_whitespace().find_map(|word| word.strip_prefix("address="));
                let serves = address.is_some() && line.contains("serving");
                if let (Some(address), true) = (address, serves) {
                    let _ = found.send(address.parse().unwrap());
                }
                let mut log = kept.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
                if serves && !reads_log {
                    break;
                }
            }
            lines
        });
        let address = serving.recv_timeout(HANG_LIMIT);
        let address: SocketAddr =
            address.unwrap_or_else(|_| panic!("it does not serve:\n{}", log.lock().unwrap()));
        Self { child, address, url: format!("http://{address}"), log, reader: Some(reader) }
    }

    /// Waits until the exporter is ready.
    pub(crate) async fn ready(&self) {
        let url = format!("{}/-/ready", self.url);
        within("readiness", async {
            while client().get(&url).send().await.unwrap().status() != 200 {
                sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }

    /// Scrapes and waits until all refreshes have ended. The response must be valid.
    pub(crate) async fn scrape(&self) -> Scrape {
        self.scrape_within(HANG_LIMIT.as_secs_f64(), HANG_LIMIT).await
    }

    /// Scrapes with a scrape timeout of `seconds`, as Prometheus does, but waits `grace` longer. The response must be valid.
    pub(crate) async fn scrape_within(&self, seconds: f64, grace: Duration) -> Scrape {
        let timeouts = Duration::from_secs_f64(seconds) + grace;
        let request = client().get(format!("{}/metrics", self.url)).timeout(timeouts);
        let answer = request.header("X-Prometheus-Scrape-Timeout-Seconds", seconds.to_string()).send().await;
        let text = answer.unwrap().text().await.unwrap();
        // Parsing a long response takes time that another scrape in the same task would miss.
        let parsed = tokio::task::spawn_blocking(move || text_format::parse(&text));
        parsed.await.unwrap().unwrap_or_else(|problem| panic!("{problem}"))
    }

    /// What the exporter has written to standard error.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// A value in KiB of the process status, converted to bytes.
    pub(crate) fn memory(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1024
    }

    /// How many file descriptors the process has open.
    pub(crate) fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }

    /// The processor time that the process has used, in ticks of 10 ms.
    pub(crate) fn ticks(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    pub(crate) fn signal(&self, signal: Signal) {
        send(signal, self.child.id());
    }

    /// Waits until the process has ended and all of its log has been read. Checks that standard output is empty.
    pub(crate) async fn end(&mut self) -> ExitStatus {
        let status = within("the end of the process", async {
            loop {
                if let Some(status) = self.child.try_wait().unwrap() {
                    return status;
                }
                sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
        self.reader.take().into_iter().for_each(|reader| drop(reader.join().unwrap()));
        let mut printed = String::new();
        self.child.stdout.take().into_iter().for_each(|mut stdout| drop(stdout.read_to_string(&mut printed)));
        assert_eq!(printed, "");
        status
    }

    /// Stops the process and returns what it has written to standard error.
    pub(crate) async fn last_words(mut self) -> String {
        self.terminate();
        self.end().await;
        self.log()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
