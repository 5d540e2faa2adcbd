//! The open connections. Their number is bounded, and every client gets a share.
//!
//! A new connection always gets a slot. When all slots are taken, the client with the most connections loses one. It loses the
//! connection that has kept the server waiting longest, for a request or for a response to be read. Connections that are too new
//! for a first request go later. So a client can only crowd out itself, and a client with few connections is never refused. While
//! slots are free, one address may take all of them, since it may be a reverse proxy or a NAT gateway.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{
    client_address::ClientAddress,
    connection_phase::ConnectionPhase,
    responses_in_flight::{ResponsesInFlight, TrackedResponse},
};

/// How many connections beyond the limit may be about to close.
const MAX_LEAVING: usize = 8;

#[derive(Debug)]
pub(super) struct Connections {
    limit: AtomicUsize,
    open: Mutex<Open>,
    /// Notified when a connection has closed.
    closed: Notify,
    /// Cancelled to tell all connections to leave.
    leave: CancellationToken,
    /// Cancelled to end all connections at once.
    cut: CancellationToken,
    responses: ResponsesInFlight,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    by_number: HashMap<u64, Connection>,
}

#[derive(Debug)]
struct Connection {
    client: ClientAddress,
    phase: Arc<ConnectionPhase>,
    leave: CancellationToken,
    cut: CancellationToken,
}

/// The slot of a connection. Dropping it frees the slot.
#[derive(Debug)]
pub(super) struct ConnectionSlot {
    pub(super) holder: ResponseHolder,
    pub(super) phase: Arc<ConnectionPhase>,
    /// Cancelled when another connection needs the slot or the server stops. A request that has arrived is still answered.
    pub(super) leave: CancellationToken,
    /// Cancelled when the connection must end at once.
    pub(super) cut: CancellationToken,
}

/// A connection whose responses are kept in memory.
#[derive(Debug, Clone)]
pub(super) struct ResponseHolder {
    connections: Arc<Connections>,
    number: u64,
}

impl Open {
    fn leaving(&self) -> usize {
        self.by_number.values().filter(|connection| connection.leave.is_cancelled()).count()
    }

    fn staying(&self) -> usize {
        self.by_number.len() - self.leaving()
    }

    /// Tells one connection to leave. Returns whether there was one to tell.
    fn evict_one(&self) -> bool {
        let staying = || self.by_number.iter().filter(|(_, connection)| !connection.leave.is_cancelled());
        let mut connections: HashMap<_, usize> = HashMap::new();
        for (_, connection) in staying() {
            *connections.entry(connection.client).or_default() += 1;
        }
        let most = connections.values().max().copied();
        let largest = || staying().filter(|(_, it)| connections.get(&it.client).copied() == most);
        // New connections come later, because a client repeats a request on its own only if an idle connection closes.
        // Connections whose requests are being answered come last, the oldest of them first.
        let waited = |(number, it): (&u64, &Connection)| {
            let waited = it.waited();
            (waited.is_some(), !it.phase.is_new(), waited, u64::MAX - *number)
        };
        let Some((_, victim)) = largest().max_by_key(|entry| waited(*entry)) else {
            return false;
        };
        victim.leave.cancel();
        // An idle connection loses nothing, and a request that it has just received is still answered.
        if victim.phase.is_answering() {
            victim.cut.cancel();
        }
        true
    }
}

impl Connection {
    fn waited(&self) -> Option<Duration> {
        self.phase.waited()
    }
}

impl Connections {
    /// Creates a set of at most `limit` connections. `cut` ends all of them at once.
    pub(super) fn new(limit: usize, cut: &CancellationToken) -> Arc<Self> {
        Arc::new(Self {
            limit: AtomicUsize::new(limit.max(1)),
            open: Mutex::default(),
            closed: Notify::new(),
            leave: CancellationToken::new(),
            cut: cut.clone(),
            responses: ResponsesInFlight::default(),
        })
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    /// Changes the limit. Connections beyond it are told to leave.
    pub(super) fn set_limit(&self, limit: usize) {
        self.limit.store(limit.max(1), Ordering::Relaxed);
        let open = self.open();
        while open.staying() > self.limit() && open.evict_one() {}
    }

    /// Tells all connections to leave.
    pub(super) fn leave(&self) {
        self.leave.cancel();
    }

    /// Tells one connection to leave.
    pub(super) fn evict_one(&self) {
        self.open().evict_one();
    }

    /// Takes a slot for a new connection. This waits only for connections that were told to leave.
    pub(super) async fn slot(self: &Arc<Self>, client: ClientAddress) -> ConnectionSlot {
        loop {
            // Register before the check, so that a connection that closes in between is noticed.
            let closed = self.closed.notified();
            if let Some(slot) = self.try_slot(client) {
                return slot;
            }
            closed.await;
        }
    }

    fn try_slot(self: &Arc<Self>, client: ClientAddress) -> Option<ConnectionSlot> {
        let mut open = self.open();
        let mut leaving = open.leaving();
        if open.staying() >= self.limit() {
            leaving += usize::from(open.evict_one());
        }
        if leaving > MAX_LEAVING && open.by_number.len() >= self.limit() + MAX_LEAVING {
            // The connections that were told to leave take too long.
            for connection in open.by_number.values().filter(|connection| connection.leave.is_cancelled()) {
                connection.cut.cancel();
            }
            return None;
        }
        let number = open.next;
        open.next += 1;
        let phase = Arc::new(ConnectionPhase::default());
        let (leave, cut) = (self.leave.child_token(), self.cut.child_token());
        let connection =
            Connection { client, phase: Arc::clone(&phase), leave: leave.clone(), cut: cut.clone() };
        open.by_number.insert(number, connection);
        Some(ConnectionSlot {
            holder: ResponseHolder { connections: Arc::clone(self), number },
            phase,
            leave,
            cut,
        })
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        let ResponseHolder { connections, number } = &self.holder;
        connections.open().by_number.remove(number);
        connections.closed.notify_one();
    }
}

impl ResponseHolder {
    /// Counts a response that is about to be sent, with the address and the size of each part. If the responses then use too
    /// much memory, this cuts the connections that are furthest behind.
    pub(super) fn hold(&self, parts: impl Iterator<Item = (usize, usize)>) -> TrackedResponse {
        let responses = &self.connections.responses;
        let held = responses.hold(self.number, parts);
        while responses.is_too_much(&held) {
            let open = self.connections.open();
            let holders = responses.connections();
            let holders = holders.iter().filter_map(|number| Some((number, open.by_number.get(number)?)));
            let holders = holders.filter(|(_, it)| !it.cut.is_cancelled());
            let behind = holders.filter_map(|(number, it)| Some((it.waited()?, *number, it)));
            let Some((_, number, connection)) = behind.max_by_key(|(waited, number, _)| (*waited, *number))
            else {
                break;
            };
            tracing::debug!(client = %connection.client, "disconnected a slow client that kept old data in memory");
            connection.cut.cancel();
            responses.forget(number);
        }
        held
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use tokio::time::{advance, timeout};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn client(last: u8) -> ClientAddress {
        IpAddr::from(Ipv4Addr::new(127, 0, 0, last)).into()
    }

    /// One request and its response.
    fn serve_one(slot: &ConnectionSlot) {
        slot.phase.requested(false);
        slot.phase.answered();
        assert!(slot.phase.written());
    }

    /// Fails if the new connection has to wait for its slot.
    async fn slot(connections: &Arc<Connections>, last: u8) -> ConnectionSlot {
        let slot = timeout(SECOND, connections.slot(client(last))).await.expect("there is room");
        advance(SECOND).await;
        slot
    }

    #[tokio::test(start_paused = true)]
    async fn the_connection_that_has_kept_the_server_waiting_longest_makes_room() {
        let connections = Connections::new(3, &CancellationToken::new());
        let first = slot(&connections, 1).await;
        let second = slot(&connections, 1).await;
        let third = slot(&connections, 1).await;
        // The server has answered the first connection meanwhile, as it does for Prometheus. The third waits for its response.
        serve_one(&first);
        third.phase.requested(false);
        let fourth = slot(&connections, 1).await;
        assert!(second.leave.is_cancelled() && !second.cut.is_cancelled() && !first.leave.is_cancelled());
        drop(second);
        fourth.phase.requested(false);
        let fifth = slot(&connections, 1).await;
        assert!(first.leave.is_cancelled() && !third.leave.is_cancelled() && !fourth.leave.is_cancelled());
        drop(first);
        // All connections are new or being answered. The newest has kept the server waiting, and the oldest request goes last.
        let sixth = slot(&connections, 1).await;
        assert!(fifth.leave.is_cancelled() && !third.leave.is_cancelled());
        drop(fifth);
        sixth.phase.requested(false);
        let _seventh = slot(&connections, 1).await;
        assert!(third.cut.is_cancelled() && !fourth.leave.is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_connection_stays_while_its_first_request_is_on_the_way() {
        let connections = Connections::new(2, &CancellationToken::new());
        let new = connections.slot(client(1)).await;
        let idle = connections.slot(client(1)).await;
        serve_one(&idle);
        let next = connections.slot(client(1)).await;
        assert!(idle.leave.is_cancelled() && !new.leave.is_cancelled());
        drop(idle);
        // After a second it counts as idle, and has waited longer than the next one.
        advance(SECOND).await;
        serve_one(&next);
        let slow = connections.slot(client(1)).await;
        assert!(new.leave.is_cancelled() && !next.leave.is_cancelled());
        drop(new);
        // A connection whose client takes its first response slowly is not new.
        slow.phase.requested(false);
        slow.phase.block();
        advance(SECOND / 2).await;
        serve_one(&next);
        let _last = connections.slot(client(1)).await;
        assert!(slow.cut.is_cancelled() && !next.leave.is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_with_many_connections_makes_room_for_one_with_few() {
        let connections = Connections::new(4, &CancellationToken::new());
        let patient = slot(&connections, 2).await;
        let mut greedy = Vec::new();
        for _ in 0..20 {
            let slot = slot(&connections, 1).await;
            slot.phase.requested(false);
            slot.phase.block();
            greedy.push(slot);
            greedy.retain(|slot: &ConnectionSlot| !slot.cut.is_cancelled());
        }
        // It stays, although it has kept the server waiting longest.
        assert!(!patient.leave.is_cancelled());
        assert_eq!(greedy.len(), 3);
        let _other = slot(&connections, 3).await;
        assert!(!patient.leave.is_cancelled());
        assert!(greedy[0].cut.is_cancelled(), "the furthest behind");
    }

    #[tokio::test(start_paused = true)]
    async fn a_lower_limit_holds_for_the_connections_that_are_open() {
        let connections = Connections::new(20, &CancellationToken::new());
        let mut slots = Vec::new();
        for number in 0..20 {
            slots.push(slot(&connections, number % 4).await);
        }
        connections.set_limit(6);
        let left = |slots: &[ConnectionSlot]| slots.iter().filter(|slot| slot.leave.is_cancelled()).count();
        assert_eq!(left(&slots), 14);
        slots.retain(|slot| !slot.leave.is_cancelled());
        slots.push(slot(&connections, 9).await);
        assert_eq!(left(&slots), 1);
        connections.set_limit(20);
        slots.push(slot(&connections, 9).await);
        assert_eq!(left(&slots), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn connections_that_are_told_to_leave_and_stay_are_cut() {
        let connections = Connections::new(1, &CancellationToken::new());
        let mut staying = Vec::new();
        for _ in 0..=MAX_LEAVING {
            staying.push(slot(&connections, 1).await);
        }
        assert!(staying.iter().all(|slot| !slot.cut.is_cancelled()));
        assert!(timeout(SECOND, connections.slot(client(2))).await.is_err(), "it waits for one to close");
        assert!(staying[0].cut.is_cancelled());
        staying.remove(0);
        slot(&connections, 2).await;
    }

    #[tokio::test(start_paused = true)]
    async fn versions_of_an_answer_that_slow_clients_keep_are_bounded() {
        const MIB: usize = 1024 * 1024;
        let connections = Connections::new(512, &CancellationToken::new());
        let mut stalled = Vec::new();
        for _ in 0..60 {
            // The data change between the connections, so each has a version of its own.
            let slot = slot(&connections, 1).await;
            let version = vec![b'#'; 3 * MIB];
            slot.phase.requested(false);
            let held = slot.holder.hold([(version.as_ptr() as usize, version.len())].into_iter());
            slot.phase.block();
            stalled.push((slot, held, version));
            stalled.retain(|(slot, ..)| !slot.cut.is_cancelled());
        }
        assert_eq!(stalled.len(), 5);
        let bytes: usize = stalled.iter().map(|(.., version)| version.len()).sum();
        assert!(bytes <= 16 * MIB);
        // A version counts once, even if many connections send it.
        let version = vec![b'#'; 3 * MIB];
        let mut many = Vec::new();
        for _ in 0..100 {
            let slot = slot(&connections, 2).await;
            slot.phase.requested(false);
            let held = slot.holder.hold([(version.as_ptr() as usize, version.len())].into_iter());
            slot.phase.block();
            many.push((slot, held));
        }
        assert!(many.iter().all(|(slot, _)| !slot.cut.is_cancelled()));
        drop((many, stalled));
        assert!(connections.responses.is_empty());
    }
}
