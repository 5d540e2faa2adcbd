//! The exporter as a process: with limits, with a log that can be written or not, with clocks that can be turned.

use std::{
    fs,
    net::SocketAddr,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use fake_pinpoint::HANG_LIMIT;
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command},
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use crate::{
    client::{self, Manner},
    lock,
    ports::free_address,
    starvation::Starvation,
};

/// Where the exporter's log goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Log {
    /// To us.
    Read,
    /// To a disk that is full.
    FullDisk,
    /// Into a pipe that nobody reads.
    Unread,
}

/// Which exporter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    /// The one that users run.
    Real,
    /// The same behind clocks that can be turned: see [`crate::exporter`].
    Turned,
}

/// How it runs.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) program: Program,
    pub(crate) log: Log,
    /// What a shell does before it becomes the exporter, such as `ulimit -n 64;`
    pub(crate) limits: &'static str,
    pub(crate) variables: Vec<(String, String)>,
}

/// A running exporter. It is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Exporter {
    child: Child,
    pid: Pid,
    pub(crate) address: SocketAddr,
    pub(crate) starvation: Arc<Starvation>,
    log: Arc<Mutex<Vec<String>>>,
    reader: Option<JoinHandle<()>>,
    steering: Option<tokio::sync::Mutex<(ChildStdin, Lines<BufReader<ChildStdout>>)>>,
    _unread: Option<ChildStderr>,
}

/// What the kernel tells of it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    /// Resident memory now and at its most, in bytes.
    pub(crate) memory: u64,
    pub(crate) peak_memory: u64,
    pub(crate) descriptors: u64,
    pub(crate) threads: u64,
}

/// The program beside this one, where Cargo puts all of them.
fn beside(name: &str) -> anyhow::Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name(name);
    ensure!(path.exists(), "{} is not there: build the whole workspace first", path.display());
    Ok(path)
}

impl Exporter {
    /// Starts it on a free port, and waits until it serves.
    pub(crate) async fn start(plan: &Plan) -> anyhow::Result<Self> {
        let address = free_address().context("no port between 20000 and 30000 is free")?;
        let (program, argument) = match plan.program {
            Program::Real => (beside("pinpoint-exporter")?, ""),
            Program::Turned => (std::env::current_exe()?, "exporter"),
        };
        let turned = plan.program == Program::Turned;
        let piped = |wanted: bool| if wanted { Stdio::piped() } else { Stdio::null() };
        let mut child = Command::new("/bin/sh")
            .args(["-c", &format!("{} exec \"$0\" {argument}", plan.limits)])
            .arg(program)
            .env_clear()
            .envs([
                ("AWS_EC2_METADATA_DISABLED", "true"),
                ("NO_PROXY", "*"),
                ("PINPOINT_EXPORTER_LISTEN_ADDRESS", &address.to_string()),
            ])
            .envs(plan.variables.iter().map(|(name, value)| (name, value)))
            .stdin(piped(turned))
            .stdout(piped(turned))
            .stderr(match plan.log {
                Log::FullDisk => Stdio::from(fs::OpenOptions::new().write(true).open("/dev/full")?),
                Log::Read | Log::Unread => Stdio::piped(),
            })
            .kill_on_drop(true)
            .spawn()
            .context("cannot start the exporter")?;
        let pid = child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?)).context("it has no id")?;
        let steering = child.stdin.take().zip(child.stdout.take());
        let steering = steering.map(|(to, from)| tokio::sync::Mutex::new((to, BufReader::new(from).lines())));
        let log = Arc::default();
        let (mut reader, mut unread) = (None, None);
        match (plan.log, child.stderr.take()) {
            (Log::Read, Some(stderr)) => reader = Some(tokio::spawn(keep(stderr, Arc::clone(&log)))),
            (_, stderr) => unread = stderr,
        }
        let starvation = Starvation::measure(pid);
        let mut exporter = Self { child, pid, address, starvation, log, reader, steering, _unread: unread };
        exporter.wait_until_ready().await?;
        Ok(exporter)
    }

    async fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let end = Instant::now() + HANG_LIMIT;
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended at its start, {status}:\n{}", self.log().join("\n"));
            }
            let ready = timeout(HANG_LIMIT, client::get(self.address, "/-/ready", Manner::default()));
            if let Ok(Ok(answer)) = ready.await
                && answer.status == 200
            {
                return Ok(());
            }
            ensure!(Instant::now() < end, "it does not get ready:\n{}", self.log().join("\n"));
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// The lines of its log so far.
    pub(crate) fn log(&self) -> Vec<String> {
        lock(&self.log).clone()
    }

    /// Takes the lines of its log.
    pub(crate) fn take_log(&self) -> Vec<String> {
        std::mem::take(&mut *lock(&self.log))
    }

    /// Turns its clocks, as [`crate::exporter`] understands it. Gives what it answers.
    pub(crate) async fn steer(&self, line: &str) -> anyhow::Result<String> {
        let steering = self.steering.as_ref().context("the real exporter cannot be steered")?;
        let mut steering = steering.lock().await;
        let (to, from) = &mut *steering;
        to.write_all(format!("{line}\n").as_bytes()).await?;
        let answer = timeout(HANG_LIMIT, from.next_line()).await;
        answer.context("it does not take its steering")??.context("it closed its steering")
    }

    pub(crate) fn usage(&self) -> anyhow::Result<Usage> {
        let pid = self.pid.as_raw_nonzero();
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0)
        };
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd"))?.count();
        Ok(Usage {
            memory: field("VmRSS") * 1024,
            peak_memory: field("VmHWM") * 1024,
            descriptors: descriptors.try_into()?,
            threads: field("Threads"),
        })
    }

    /// Whether it has ended, which it must not by itself.
    pub(crate) fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&self) -> anyhow::Result<()> {
        Ok(kill_process(self.pid, Signal::TERM)?)
    }

    /// Waits until the process and its log end. Returns the status, and how long it took without the time that the machine lost.
    pub(crate) async fn end(&mut self) -> anyhow::Result<(ExitStatus, Duration)> {
        let (started, since) = (Instant::now(), self.starvation.now());
        let took = || started.elapsed().saturating_sub(self.starvation.since(since));
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            ensure!(took() < HANG_LIMIT, "it does not end");
            sleep(Duration::from_millis(5)).await;
        };
        let took = took();
        if let Some(reader) = self.reader.take() {
            timeout(HANG_LIMIT, reader).await.context("its log does not end")??;
        }
        Ok((status, took))
    }
}

async fn keep(stderr: ChildStderr, log: Arc<Mutex<Vec<String>>>) {
    let mut lines = BufReader::new(stderr).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        lock(&log).push(line);
    }
}
