//! A child process that serves, and what the kernel says that it has cost.

use std::{
    net::SocketAddr,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use nix::{time::ClockId, unistd::Pid};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    time::timeout,
};

/// A server. It is killed when this is dropped.
pub(crate) struct Process {
    child: Child,
    pub(crate) address: SocketAddr,
    /// When it was started.
    pub(crate) started: Instant,
}

impl Process {
    /// Starts this program as a server, which prints its address.
    pub(crate) async fn myself(arguments: &[&str]) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(arguments).stdout(Stdio::piped());
        let started = now();
        let mut child = command.kill_on_drop(true).spawn()?;
        let mut lines = BufReader::new(child.stdout.take().context("no output")?).lines();
        let line = timeout(Duration::from_secs(20), lines.next_line()).await??;
        Ok(Self { child, address: line.context("it does not serve")?.parse()?, started })
    }

    /// Runs this program to its end. Gives the line that it prints.
    pub(crate) async fn output(arguments: &[&str]) -> anyhow::Result<String> {
        let output = Command::new(std::env::current_exe()?).args(arguments).output().await?;
        ensure!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    /// Starts the exporter, or a program with its settings, at a free port with only these settings. It may not listen yet.
    pub(crate) fn exporter(program: &Path, settings: &[(&str, String)]) -> anyhow::Result<Self> {
        let address = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("AWS_REGION", "eu-west-1")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
            .env("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
            .env("PINPOINT_EXPORTER_LISTEN_ADDRESS", address.to_string())
            .env("PINPOINT_EXPORTER_LOG_LEVEL", "error");
        for (name, value) in settings {
            command.env(name, value);
        }
        let started = now();
        let child = command
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        Ok(Self { child, address, started })
    }

    /// Waits until it takes a connection.
    pub(crate) async fn listens(&mut self) -> anyhow::Result<()> {
        let give_up = now() + Duration::from_secs(20);
        while now() < give_up {
            if tokio::net::TcpStream::connect(self.address).await.is_ok() {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("the exporter ended with {status}");
            }
            tokio::time::sleep(Duration::from_micros(100)).await;
        }
        bail!("the exporter does not listen")
    }

    /// The processor time that all its threads have used, in milliseconds.
    pub(crate) fn cpu_milliseconds(&self) -> anyhow::Result<f64> {
        let id = self.child.id().context("it has ended")?;
        milliseconds_of(ClockId::pid_cpu_clock_id(Pid::from_raw(id.try_into()?))?)
    }

    /// `VmRSS` or `VmHWM`, in megabytes of 10^6 bytes.
    pub(crate) fn megabytes(&self, name: &str) -> anyhow::Result<f64> {
        let id = self.child.id().context("it has ended")?;
        let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let kib = line.context("no such line")?.trim().trim_end_matches(" kB");
        Ok(kib.parse::<f64>()? * 1024.0 / 1e6)
    }
}

/// The processor time that this process has used, in milliseconds.
pub(crate) fn own_cpu_milliseconds() -> anyhow::Result<f64> {
    milliseconds_of(ClockId::CLOCK_PROCESS_CPUTIME_ID)
}

fn milliseconds_of(clock: ClockId) -> anyhow::Result<f64> {
    Ok(Duration::from(clock.now()?).as_secs_f64() * 1e3)
}

/// The time, for measuring.
#[expect(clippy::disallowed_methods, reason = "real time is what is measured")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
