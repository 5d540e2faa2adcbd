//! Scrapes as bytes over a socket, so that nothing between the exporter and the judge forgives or repairs an answer.

use std::{
    fmt,
    io::{self, Read as _},
    net::SocketAddr,
    time::Duration,
};

use anyhow::{Context as _, anyhow, bail, ensure};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, sleep},
};

/// An answer, whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    /// Decompressed.
    pub(crate) text: String,
    pub(crate) took: Duration,
}

/// How a scraper behaves.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Manner {
    pub(crate) gzip: bool,
    /// How long it says that it waits, in seconds.
    pub(crate) timeout: Option<f64>,
    /// The pause after each kilobyte that it reads.
    pub(crate) pause: Duration,
}

/// Not a byte of an answer came.
#[derive(Debug)]
pub(crate) struct Unanswered;

impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no answer")
    }
}

/// Asks for a path on a connection of its own, and reads the answer to its end.
pub(crate) async fn get(address: SocketAddr, path: &str, manner: Manner) -> anyhow::Result<Answer> {
    let started = Instant::now();
    let mut socket = TcpStream::connect(address).await.context(Unanswered)?;
    let sent = socket.write_all(request(path, manner).as_bytes()).await;
    let mut bytes = Vec::new();
    let taken = take(&mut socket, manner, &mut bytes).await;
    if bytes.is_empty() {
        return Err(sent.and(taken).err().map_or_else(|| anyhow!("it closes"), Into::into))
            .context(Unanswered);
    }
    taken.context("it breaks the connection off")?;
    read(&bytes, started.elapsed())
}

async fn take(socket: &mut TcpStream, manner: Manner, bytes: &mut Vec<u8>) -> io::Result<()> {
    if manner.pause.is_zero() {
        return socket.read_to_end(bytes).await.map(drop);
    }
    let mut piece = [0; 1024];
    loop {
        match socket.read(&mut piece).await? {
            0 => return Ok(()),
            read => bytes.extend_from_slice(&piece[..read]),
        }
        sleep(manner.pause).await;
    }
}

/// The bytes of a request, after which the exporter closes.
pub(crate) fn request(path: &str, manner: Manner) -> String {
    let gzip = if manner.gzip { "Accept-Encoding: gzip\r\n" } else { "" };
    let timeout = manner.timeout.map(|seconds| format!("X-Prometheus-Scrape-Timeout-Seconds: {seconds}\r\n"));
    let timeout = timeout.unwrap_or_default();
    format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{gzip}{timeout}\r\n")
}

/// Reads an answer, which must be all that there is.
pub(crate) fn read(bytes: &[u8], took: Duration) -> anyhow::Result<Answer> {
    let end = bytes
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .context("the head of the answer does not end")?;
    let head = std::str::from_utf8(&bytes[..end]).context("the head of the answer is no text")?;
    let body = &bytes[end + 4..];
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok());
    let status = status.with_context(|| format!("not an answer: {head:?}"))?;
    let mut headers = Vec::new();
    for line in lines {
        let (name, value) = line.split_once(": ").with_context(|| format!("not a header: {line:?}"))?;
        headers.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    let header =
        |name: &str| headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    let length: usize = header("content-length").context("an answer without a length")?.parse()?;
    ensure!(body.len() == length, "an answer of {length} bytes has {}", body.len());
    let text = match header("content-encoding") {
        None => body.to_vec(),
        Some("gzip") => {
            // One member, and nothing after it.
            let mut decoder = flate2::bufread::GzDecoder::new(body);
            let mut text = Vec::new();
            decoder.read_to_end(&mut text).context("the gzip stream is broken")?;
            ensure!(decoder.into_inner().is_empty(), "there are bytes after the gzip stream");
            text
        }
        Some(other) => bail!("an unexpected coding: {other}"),
    };
    let text = String::from_utf8(text).context("the answer is not valid UTF-8")?;
    Ok(Answer { status, headers, text, took })
}
