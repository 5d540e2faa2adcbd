//! Where the exporter gets its credentials: an endpoint as that of ECS, whose credentials expire, change, and fail to come.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use fake_pinpoint::{Clock, Key};
use serde_json::json;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use crate::lock;

/// What the endpoint answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Supply {
    /// Credentials that live so long.
    Good(Duration),
    /// Credentials that have expired.
    Stale,
    /// An error.
    Broken,
    /// Something else than credentials.
    Garbage,
    /// Nothing, on a connection that stays open.
    Hang,
    /// Credentials with this date of expiry.
    Until(&'static str),
    /// An answer that does not end.
    Endless,
}

#[derive(Debug)]
struct Shared {
    supply: Supply,
    /// The number of the key.
    number: u64,
    /// That of the key that was given out last. An error repeats it.
    given: u64,
}

/// More than an exporter may take for an answer of credentials, which ends somewhere after all.
const ENDLESS_MIB: usize = 200;

/// The endpoint.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
    _tasks: JoinSet<()>,
}

/// What no answer and no log may hold, as it is in all of the harness's keys.
pub(crate) const SECRETS: [&str; 3] = ["AKIACHAOS", "ChaosSecret", "ChaosToken"];

/// The key of that number.
pub(crate) fn key(number: u64) -> Key {
    Key {
        access_key_id: format!("AKIACHAOS{number:011}"),
        secret_access_key: format!("ChaosSecret{number:029}"),
        session_token: Some(format!("ChaosToken{number:040}")),
        ..Key::default()
    }
}

impl Endpoint {
    pub(crate) async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Mutex::new(Shared {
            supply: Supply::Good(Duration::from_hours(1)),
            number: 0,
            given: 0,
        }));
        let mut tasks = JoinSet::new();
        let of_connections = Arc::clone(&shared);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                while connections.try_join_next().is_some() {}
                if let Ok((socket, _)) = listener.accept().await {
                    connections.spawn(answer(socket, Arc::clone(&of_connections)));
                }
            }
        });
        Ok(Self { address, shared, _tasks: tasks })
    }

    pub(crate) fn supply(&self, supply: Supply) {
        lock(&self.shared).supply = supply;
    }

    /// The next key from now on. Gives all keys so far, the last one alone valid.
    pub(crate) fn rotate(&self) -> Vec<Key> {
        lock(&self.shared).number += 1;
        self.keys()
    }

    /// All keys so far, the last one alone valid.
    pub(crate) fn keys(&self) -> Vec<Key> {
        let current = lock(&self.shared).number;
        (0..=current).map(|number| Key { expired: number < current, ..key(number) }).collect()
    }
}

async fn answer(mut socket: TcpStream, shared: Arc<Mutex<Shared>>) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut piece = [0; 1024];
        match socket.read(&mut piece).await? {
            0 => return Ok(()),
            read => head.extend_from_slice(&piece[..read]),
        }
    }
    let (supply, number, given) = {
        let mut shared = lock(&shared);
        let given = shared.given;
        if matches!(shared.supply, Supply::Good(_)) {
            shared.given = shared.number;
        }
        (shared.supply, shared.number, given)
    };
    let until = |expiration: &str| {
        let key = key(number);
        let body = json!({
            "AccessKeyId": key.access_key_id, "SecretAccessKey": key.secret_access_key, "Token": key.session_token,
            "Expiration": expiration,
        });
        (200, body.to_string())
    };
    let good = |life: i64| {
        let expiration = OffsetDateTime::from_unix_timestamp(Clock::default().now() / 1000 + life)
            .unwrap_or(OffsetDateTime::UNIX_EPOCH);
        until(&expiration.format(&Rfc3339).unwrap_or_default())
    };
    let (status, body) = match supply {
        Supply::Good(life) => good(i64::try_from(life.as_secs()).unwrap_or(i64::MAX)),
        Supply::Stale => good(-60),
        Supply::Broken => {
            (500, json!({"code": "Broken", "message": key(given).secret_access_key}).to_string())
        }
        Supply::Until(expiration) => until(expiration),
        Supply::Hang => {
            // Until the client gives up.
            while socket.read(&mut [0; 1024]).await? > 0 {}
            return Ok(());
        }
        Supply::Endless => {
            socket.write_all(b"HTTP/1.1 200 x\r\nContent-Type: application/json\r\n\r\n{\"a\":\"").await?;
            // As far as the client takes it: then writing fails.
            let mebibyte = vec![b'a'; 1024 * 1024];
            for _ in 0..ENDLESS_MIB {
                socket.write_all(&mebibyte).await?;
            }
            return Ok(());
        }
        Supply::Garbage => (200, format!("{{\"AccessKeyId\": \"{}\", ", key(number).access_key_id)),
    };
    let head = format!(
        "HTTP/1.1 {status} x\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    socket.write_all(head.as_bytes()).await?;
    socket.write_all(body.as_bytes()).await
}
