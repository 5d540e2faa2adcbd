//! Closed-loop load by [wrk](https://github.com/wg/wrk): each connection asks again as soon as it has its answer.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, bail, ensure};
use tokio::{process::Command, task::JoinSet};

use crate::{
    http1::Connection,
    process::{Process, now},
};

const PATIENT_LOAD: Duration = Duration::from_secs(3);

/// What a second of load was like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) answers_per_second: f64,
    pub(crate) p99_milliseconds: f64,
    /// Of the server, for each answer.
    pub(crate) cpu_milliseconds: f64,
}

/// Asks for `/metrics` for some seconds.
pub(crate) async fn load(
    server: &Process,
    connections: usize,
    gzip: bool,
    seconds: u64,
) -> anyhow::Result<Load> {
    let before = server.cpu_milliseconds()?;
    let (answers, time, p99_milliseconds) = wrk(server.address, connections, gzip, seconds).await?;
    let cpu = server.cpu_milliseconds()? - before;
    ensure!(answers > 0.0, "no response in {seconds} s: the machine is too busy to measure this");
    Ok(Load { answers_per_second: answers / time, p99_milliseconds, cpu_milliseconds: cpu / answers })
}

/// Asks for `/metrics` for some seconds, and waits for the end of every response: a slow server may need longer for one than
/// [`load`] takes. Gives the responses per second.
pub(crate) async fn patient_load(address: SocketAddr, connections: usize, gzip: bool) -> anyhow::Result<f64> {
    let encoding = if gzip { "gzip" } else { "identity" };
    let (began, mut clients) = (now(), JoinSet::new());
    for _ in 0..connections {
        clients.spawn(async move {
            let mut connection = Connection::to(address).await?;
            let mut responses = 0;
            while responses == 0 || began.elapsed() < PATIENT_LOAD {
                if !connection.is_open().await {
                    connection = Connection::to(address).await?;
                }
                let response = connection.read("/metrics", encoding).await?;
                ensure!(response.status() == 200, "the scrape was answered with {}", response.status());
                responses += 1;
            }
            anyhow::Ok(f64::from(responses))
        });
    }
    let mut responses = 0.0;
    while let Some(of_client) = clients.join_next().await {
        responses += of_client??;
    }
    Ok(responses / began.elapsed().as_secs_f64())
}

async fn wrk(
    address: SocketAddr,
    connections: usize,
    gzip: bool,
    seconds: u64,
) -> anyhow::Result<(f64, f64, f64)> {
    let encoding = if gzip { "gzip" } else { "identity" };
    let output = Command::new("wrk")
        .args(["--latency", "--timeout", "30s", "--threads", "1", "--connections", &connections.to_string()])
        .args(["--duration", &format!("{seconds}s"), "--header", &format!("Accept-Encoding: {encoding}")])
        .arg(format!("http://{address}/metrics"))
        .output()
        .await
        .context("wrk is needed: apt-get install wrk")?;
    let text = String::from_utf8(output.stdout)?;
    if !output.status.success() || text.contains("Socket errors") || text.contains("Non-2xx") {
        bail!("wrk: {text} {}", String::from_utf8_lossy(&output.stderr));
    }
    let total = text.lines().find(|line| line.contains(" requests in ")).with_context(|| text.clone())?;
    let mut words = total.split([' ', ',']).filter(|word| !word.is_empty());
    let answers: f64 = words.next().context("no count")?.parse()?;
    let time = milliseconds(words.nth(2).context("no time")?)? / 1e3;
    let p99 = text.lines().find_map(|line| line.trim().strip_prefix("99%")).context("no percentiles")?;
    Ok((answers, time, milliseconds(p99.trim())?))
}

/// Reads `1.5ms`, `300.00us`, `2.00s`.
fn milliseconds(text: &str) -> anyhow::Result<f64> {
    let units = [("us", 1e-3), ("ms", 1.0), ("s", 1e3), ("m", 60e3)];
    let (number, unit) = units
        .iter()
        .find_map(|(name, unit)| Some((text.strip_suffix(name)?, unit)))
        .with_context(|| format!("no time: {text}"))?;
    Ok(number.parse::<f64>().with_context(|| format!("no time: {text}"))? * unit)
}
