//! Sends and receives HTTP as raw bytes, for requests that no valid client sends.

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

/// Fails if `future` takes longer than any wait but a hang.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(HANG_LIMIT, Box::pin(future)).await.unwrap_or_else(|_| panic!("{what} takes for ever"))
}

/// A response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// In the order of the response, with names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// The length of the body according to the headers.
    pub(crate) fn length(&self) -> usize {
        self.header("content-length").map_or(0, |length| length.parse().unwrap())
    }
}

#[derive(Debug)]
pub(crate) struct Raw(BufReader<TcpStream>);

impl Raw {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self(BufReader::new(TcpStream::connect(address).await.unwrap()))
    }

    /// Connects from another loopback address.
    pub(crate) async fn connect_from(client: Ipv4Addr, server: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(16 * 1024).unwrap();
        socket.bind((client, 0).into()).unwrap();
        Self(BufReader::new(socket.connect(server).await.unwrap()))
    }

    /// Connects with a small receive buffer, so that the kernel takes little of what the client does not read.
    pub(crate) async fn connect_narrow(address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(16 * 1024).unwrap();
        Self(BufReader::new(socket.connect(address).await.unwrap()))
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.get_mut().write_all(bytes.as_ref()).await.unwrap();
    }

    /// Sends bytes. Returns an error if the server closes the connection.
    pub(crate) async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.0.get_mut().write_all(bytes.as_ref()).await
    }

    /// Sends a GET request.
    pub(crate) async fn get(&mut self, path: &str) {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
    }

    /// Closes the sending side. The connection can still receive.
    pub(crate) async fn half_close(&mut self) {
        self.0.get_mut().shutdown().await.unwrap();
    }

    /// Receives the next response.
    pub(crate) async fn answer(&mut self) -> io::Result<Answer> {
        let mut answer = self.answer_to_head().await?;
        answer.body.resize(answer.length(), 0);
        within("an answer", self.0.read_exact(&mut answer.body)).await?;
        Ok(answer)
    }

    /// Receives the next response without its body, which is absent or read in another way.
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

    /// Receives up to `most` bytes.
    pub(crate) async fn read(&mut self, most: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; most];
        let read = within("a read", self.0.read(&mut bytes)).await?;
        bytes.truncate(read);
        Ok(bytes)
    }

    /// Receives up to `most` bytes until the server closes the connection, with or without a reset. Returns how many.
    pub(crate) async fn rest_of(&mut self, most: usize) -> usize {
        let mut taken = 0;
        while taken < most
            && let Ok(piece) = self.read((most - taken).min(1 << 20)).await
            && !piece.is_empty()
        {
            taken += piece.len();
        }
        taken
    }

    /// Receives everything until the server closes the connection, with or without a reset.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        _ = within("the end of a connection", self.0.read_to_end(&mut rest)).await;
        rest
    }

    /// Whether the server keeps the connection open for `duration` without sending anything.
    pub(crate) async fn rests_for(&mut self, duration: Duration) -> bool {
        timeout(duration, self.0.fill_buf()).await.is_err()
    }

    pub(crate) async fn is_closed(&mut self) -> bool {
        let ready = self.0.get_ref().ready(Interest::READABLE);
        let ready = timeout(Duration::from_millis(1), ready).await;
        ready.is_ok_and(|ready| ready.is_ok_and(tokio::io::Ready::is_read_closed))
    }

    /// Closes the connection with a reset.
    pub(crate) fn reset(self) {
        self.0.get_ref().set_zero_linger().unwrap();
    }
}
