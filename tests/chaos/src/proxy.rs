//! The network between the exporter and the fake: a proxy on loopback that loses, delays and damages what it carries.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use fastrand::Rng;
use std::sync::Mutex;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinSet,
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use crate::lock;

/// What happens on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Nothing.
    Pass,
    /// Connections are reset at once.
    Refuse,
    /// Every piece is late by so many milliseconds.
    Delay(u64),
    /// A piece in three ends after so many bytes, and with it the connection.
    Cut(usize),
    /// The same with a reset.
    Reset(usize),
    /// A byte of a piece in three is damaged, in a way that no text survives: a digit must not become another.
    Corrupt,
    /// The answer's direction is closed in the middle of a piece, and the other stays open.
    HalfClose,
    /// Nothing gets through.
    Stall,
    /// A few bytes at a time.
    Trickle,
}

impl Mode {
    /// Its name in the report.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pass => "network: none",
            Self::Refuse => "network: refused connections",
            Self::Delay(_) => "network: delay",
            Self::Cut(_) => "network: cut",
            Self::Reset(_) => "network: reset",
            Self::Corrupt => "network: damaged bytes",
            Self::HalfClose => "network: half-closed",
            Self::Stall => "network: stall",
            Self::Trickle => "network: trickle",
        }
    }
}

#[derive(Debug)]
struct Shared {
    upstream: Mutex<Option<SocketAddr>>,
    mode: watch::Sender<Mode>,
    rng: Mutex<Rng>,
    /// Ends the connections of now.
    cut: Mutex<CancellationToken>,
    /// Pieces or connections that a fault met.
    met: AtomicU64,
}

/// The proxy. It ends when this is dropped, with its connections.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

impl Proxy {
    pub(crate) async fn start(seed: u64) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            upstream: Mutex::new(None),
            mode: watch::channel(Mode::Pass).0,
            rng: Mutex::new(Rng::with_seed(seed)),
            cut: Mutex::default(),
            met: AtomicU64::new(0),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self { address, shared, _tasks: tasks })
    }

    /// Where to from now on; `None`: nowhere. What is under way is cut.
    pub(crate) fn lead_to(&self, upstream: Option<SocketAddr>) {
        *lock(&self.shared.upstream) = upstream;
        let before = std::mem::take(&mut *lock(&self.shared.cut));
        before.cancel();
    }

    pub(crate) fn set(&self, mode: Mode) {
        self.shared.mode.send_replace(mode);
    }

    /// How many pieces and connections faults have met.
    pub(crate) fn met(&self) -> u64 {
        self.shared.met.load(Ordering::Relaxed)
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok((client, _)) = listener.accept().await else { continue };
        let cut = lock(&shared.cut).clone();
        connections.spawn(cut.run_until_cancelled_owned(carry(client, Arc::clone(&shared))));
    }
}

async fn carry(client: TcpStream, shared: Arc<Shared>) {
    let upstream = *lock(&shared.upstream);
    let refused = *shared.mode.borrow() == Mode::Refuse;
    let (Some(upstream), false) = (upstream, refused) else {
        shared.met.fetch_add(u64::from(refused), Ordering::Relaxed);
        _ = client.set_zero_linger();
        return;
    };
    let Ok(server) = TcpStream::connect(upstream).await else { return };
    _ = (client.set_nodelay(true), server.set_nodelay(true));
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    let end = CancellationToken::new();
    let there = pump(from_client, to_server, &shared, &end, false);
    let back = pump(from_server, to_client, &shared, &end, true);
    end.run_until_cancelled(async { tokio::join!(there, back) }).await;
}

/// Carries one direction to its end.
async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    shared: &Shared,
    end: &CancellationToken,
    is_answer: bool,
) {
    let mut buffer = vec![0; 4096];
    loop {
        let read = match from.read(&mut buffer).await {
            Ok(read) if read > 0 => read,
            _ => break,
        };
        let piece = &mut buffer[..read];
        let mode = *shared.mode.borrow();
        let (one_in_three, at) = {
            let mut rng = lock(&shared.rng);
            (rng.u8(..3) == 0, rng.usize(..read))
        };
        let meets = || shared.met.fetch_add(1, Ordering::Relaxed);
        match mode {
            Mode::Delay(milliseconds) => {
                meets();
                sleep(Duration::from_millis(milliseconds)).await;
            }
            Mode::Cut(bytes) | Mode::Reset(bytes) if one_in_three => {
                meets();
                _ = to.write_all(&piece[..bytes.min(read)]).await;
                // So that the bytes arrive before the end does.
                sleep(Duration::from_millis(5)).await;
                if matches!(mode, Mode::Reset(_)) {
                    _ = to.as_ref().set_zero_linger();
                }
                end.cancel();
                return;
            }
            Mode::Corrupt if one_in_three => {
                meets();
                piece[at] ^= 0x80;
            }
            Mode::HalfClose if is_answer && one_in_three => {
                meets();
                _ = to.write_all(&piece[..at]).await;
                break;
            }
            Mode::Stall => {
                meets();
                _ = shared.mode.subscribe().wait_for(|mode| *mode != Mode::Stall).await;
            }
            Mode::Trickle => {
                meets();
                for few in piece.chunks((read / 16).max(1)) {
                    if to.write_all(few).await.is_err() {
                        return;
                    }
                    sleep(Duration::from_millis(3)).await;
                }
                continue;
            }
            _ => {}
        }
        if to.write_all(piece).await.is_err() {
            break;
        }
    }
    _ = to.shutdown().await;
}
