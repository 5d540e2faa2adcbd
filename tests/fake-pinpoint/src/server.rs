//! The fake as a server on loopback, and the handle that tests use.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rustls::ServerConfig;
use tokio::{net::TcpListener, task::AbortHandle};

use crate::{
    clock::Clock,
    connection,
    fault::{Faults, Rule},
    log::{Log, Request},
    operation::Operation,
    sigv4::Key,
    world::World,
};

/// The options of a fake.
#[derive(Debug, Clone)]
pub struct Options {
    /// The address to listen on.
    pub address: SocketAddr,
    /// The keys whose signatures are accepted. If empty, signatures are not verified.
    pub keys: Vec<Key>,
    /// The regions that signatures may name. If empty, any region.
    pub regions: Vec<String>,
    /// Whether all pages of a listing show the instant of its first page. AWS does not promise this. With it, a test can
    /// require that the exporter never shows a state that never existed.
    pub pinned_pages: bool,
    /// The TLS configuration. Without it, the fake serves plain HTTP.
    pub tls: Option<Arc<ServerConfig>>,
    /// Whether a line is printed for each request.
    pub verbose: bool,
}

impl Options {
    /// The key that is accepted by default. It comes from AWS's documentation.
    pub fn default_key() -> Key {
        Key {
            access_key_id: "AKIAIOSFODNN7EXAMPLE".to_owned(),
            secret_access_key: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned(),
            ..Key::default()
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            keys: vec![Self::default_key()],
            regions: Vec::new(),
            pinned_pages: false,
            tls: None,
            verbose: false,
        }
    }
}

/// The state that all connections share.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) world: Mutex<World>,
    /// The clock of the jobs.
    pub(crate) clock: Clock,
    /// The clock of the server. It sets the `Date` header, and signatures are checked against it.
    pub(crate) server_clock: Clock,
    pub(crate) faults: Faults,
    pub(crate) log: Arc<Log>,
    pub(crate) keys: Mutex<Vec<Key>>,
    pub(crate) regions: Vec<String>,
    pub(crate) pinned_pages: bool,
    pub(crate) verbose: bool,
}

impl State {
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running fake. Dropping it ends the fake and all of its connections.
#[derive(Debug)]
pub struct FakePinpoint {
    state: Arc<State>,
    address: SocketAddr,
    tls: bool,
    accepting: AbortHandle,
}

impl FakePinpoint {
    /// Starts a fake of this world on a free loopback port.
    pub async fn start(world: World) -> io::Result<Self> {
        Self::start_with(world, Options::default()).await
    }

    /// Starts a fake with these options.
    pub async fn start_with(world: World, options: Options) -> io::Result<Self> {
        let listener = TcpListener::bind(options.address).await?;
        let address = listener.local_addr()?;
        let state = Arc::new(State {
            world: Mutex::new(world),
            clock: Clock::default(),
            server_clock: Clock::default(),
            faults: Faults::default(),
            log: Arc::default(),
            keys: Mutex::new(options.keys),
            regions: options.regions,
            pinned_pages: options.pinned_pages,
            verbose: options.verbose,
        });
        let tls = options.tls.is_some();
        let accepting = tokio::spawn(connection::accept(listener, Arc::clone(&state), options.tls));
        Ok(Self { state, address, tls, accepting: accepting.abort_handle() })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address as a URL. With TLS, the host is `localhost`.
    pub fn url(&self) -> String {
        if self.tls {
            return format!("https://localhost:{}", self.address.port());
        }
        format!("http://{}", self.address)
    }

    /// The world, which may be changed at any time.
    pub fn world(&self) -> MutexGuard<'_, World> {
        self.state.world()
    }

    /// The clock of the jobs.
    pub fn clock(&self) -> &Clock {
        &self.state.clock
    }

    /// The clock of the server. It sets the `Date` header, and signatures are checked against it.
    pub fn server_clock(&self) -> &Clock {
        &self.state.server_clock
    }

    pub fn fault(&self, rule: Rule) {
        self.state.faults.add(rule);
    }

    /// Removes all faults.
    pub fn clear_faults(&self) {
        self.state.faults.clear();
    }

    /// Replaces the keys whose signatures are accepted.
    pub fn set_keys(&self, keys: Vec<Key>) {
        *self.state.keys.lock().unwrap_or_else(PoisonError::into_inner) = keys;
    }

    /// The requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.state.log.all()
    }

    /// Reads the requests so far, in their order.
    pub fn read_requests<T>(&self, read: impl FnOnce(&[Request]) -> T) -> T {
        self.state.log.read(read)
    }

    /// How many requests called an operation.
    pub fn count(&self, operation: Operation) -> usize {
        self.requests().iter().filter(|request| request.operation == Some(operation)).count()
    }

    /// Clears the log of requests.
    pub fn clear_requests(&self) {
        self.state.log.clear();
    }

    /// How many requests are being answered now.
    pub fn in_flight(&self) -> usize {
        self.state.log.in_flight()
    }

    /// The most requests that were being answered at once.
    pub fn most_in_flight(&self) -> usize {
        self.state.log.most_in_flight()
    }

    /// How many connections were opened.
    pub fn connections(&self) -> usize {
        self.state.log.connections.load(std::sync::atomic::Ordering::SeqCst)
    }

    /// Waits until there are at least `count` requests.
    pub async fn wait_for_requests(&self, count: usize) {
        self.state.log.wait_for(count).await;
    }
}

impl Drop for FakePinpoint {
    fn drop(&mut self) {
        // The connections are children of the task that accepts them.
        self.accepting.abort();
    }
}
