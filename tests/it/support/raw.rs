//! HTTP as bytes, to send what no client should and to see what comes back.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use fake_pinpoint::HANG_LIMIT;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Interest},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

/// Fails where it would hang.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(HANG_LIMIT, Box::pin(future)).await.unwrap_or_else(|_| panic!("{what} takes for ever"))
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// In their order, names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// What its headers say of its body.
    pub(crate) fn length(&self) -> usize {
        self.header("content-length").map_or(0, |length| length.parse().unwrap())
    }
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Raw(BufReader<TcpStream>);

impl Raw {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self(BufReader::new(TcpStream::connect(address).await.unwrap()))
    }

    /// A connection from an address of loopback.
    pub(crate) async fn connect_from(client: Ipv4Addr, server: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(16 * 1024).unwrap();
        socket.bind((client, 0).into()).unwrap();
        Self(BufReader::new(socket.connect(server).await.unwrap()))
    }

    /// A connection whose kernel takes little of what its client does not read.
    pub(crate) async fn connect_narrow(address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(16 * 1024).unwrap();
        Self(BufReader::new(socket.connect(address).await.unwrap()))
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.get_mut().write_all(bytes.as_ref()).await.unwrap();
    }

    /// Sends while the server takes it.
    pub(crate) async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.0.get_mut().write_all(bytes.as_ref()).await
    }

    /// Sends a GET.
    pub(crate) async fn get(&mut self, path: &str) {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
    }

    /// Sends no more, but reads.
    pub(crate) async fn half_close(&mut self) {
        self.0.get_mut().shutdown().await.unwrap();
    }

    /// The next answer.
    pub(crate) async fn answer(&mut self) -> io::Result<Answer> {
        let mut answer = self.answer_to_head().await?;
        answer.body.resize(answer.length(), 0);
        within("an answer", self.0.read_exact(&mut answer.body)).await?;
        Ok(answer)
    }

    /// The next answer without its body, for there is none or it is to be read otherwise.
    pub(crate) async fn answer_to_head(&mut self) -> io::Result<Answer> {
        let first = self.line().await?;
        let status = first
            .strip_prefix("HTTP/1.1 ")
            .or_else(|| first.strip_prefix("HTTP/1.0 "))
            .and_then(|rest| rest.get(..3)?.parse().ok())
            .unwrap_or_else(|| panic!("not the first line of an answer: {first:?}"));
        let mut headers = Vec::new();
        loop {
            let line = self.line().await?;
            if line.is_empty() {
                return Ok(Answer { status, headers, body: Vec::new() });
            }
            let (name, value) = line.split_once(": ").unwrap();
            headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
    }

    async fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        within("a line", self.0.read_line(&mut line)).await?;
        line.strip_suffix("\r\n")
            .map(str::to_owned)
            .ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, format!("ends after {line:?}")))
    }

    /// Up to so many bytes, of whatever it is.
    pub(crate) async fn read(&mut self, most: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; most];
        let read = within("a read", self.0.read(&mut bytes)).await?;
        bytes.truncate(read);
        Ok(bytes)
    }

    /// What comes until the server closes, in order or not.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        _ = within("the end of a connection", self.0.read_to_end(&mut rest)).await;
        rest
    }

    /// Whether the server keeps the connection and says nothing for so long.
    pub(crate) async fn rests_for(&mut self, duration: Duration) -> bool {
        timeout(duration, self.0.fill_buf()).await.is_err()
    }

    /// Whether the server has closed the connection.
    pub(crate) async fn is_closed(&mut self) -> bool {
        let ready = self.0.get_ref().ready(Interest::READABLE);
        let ready = timeout(Duration::from_millis(1), ready).await;
        ready.is_ok_and(|ready| ready.is_ok_and(tokio::io::Ready::is_read_closed))
    }

    /// Gives up in the rudest way, with a reset.
    pub(crate) fn reset(self) {
        self.0.get_ref().set_zero_linger().unwrap();
    }
}
