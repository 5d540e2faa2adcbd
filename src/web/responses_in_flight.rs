//! The responses that are being sent, and the memory they use. Responses share most of their bytes while the data do not
//! change. A client that reads its response slowly keeps an old version in memory.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem::size_of,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use bytes::Bytes;

/// How many bytes of responses may stay in memory for clients that are behind.
const MAX_BYTES: usize = 16 * 1024 * 1024;

/// How many versions of a response may stay in memory if that is more than [`MAX_BYTES`].
const MAX_LARGE_RESPONSES: usize = 3;

/// What a chunk costs beside its bytes: its entry in the response and its entry here.
const CHUNK_OVERHEAD: usize = size_of::<Bytes>() + size_of::<usize>();

#[derive(Debug, Default)]
pub(super) struct ResponsesInFlight(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    next: u64,
    by_number: BTreeMap<u64, Response>,
    /// Each chunk of these responses, by its address: its length, and the number of responses that contain it.
    chunks: BTreeMap<usize, (usize, usize)>,
    bytes: usize,
}

#[derive(Debug)]
struct Response {
    connection: u64,
    chunks: Vec<usize>,
}

/// Counts a response as in flight until this is dropped.
#[derive(Debug)]
pub(super) struct TrackedResponse {
    state: Weak<Mutex<State>>,
    number: u64,
    bytes: usize,
}

impl ResponsesInFlight {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts to count a response of a connection. Each part is an address and the number of bytes there: a chunk of the
    /// response, or the values from which it is rendered.
    pub(super) fn hold(
        &self,
        connection: u64,
        parts: impl Iterator<Item = (usize, usize)>,
    ) -> TrackedResponse {
        let mut state = self.state();
        let mut bytes = 0;
        let mut addresses = Vec::with_capacity(parts.size_hint().0);
        for (address, length) in parts {
            addresses.push(address);
            bytes += length;
            let (_, answers) = state.chunks.entry(address).or_insert((length, 0));
            *answers += 1;
            if *answers == 1 {
                state.bytes += length;
            }
        }
        let number = state.next;
        state.next += 1;
        state.bytes += addresses.len() * CHUNK_OVERHEAD;
        state.by_number.insert(number, Response { connection, chunks: addresses });
        TrackedResponse { state: Arc::downgrade(&self.0), number, bytes }
    }

    /// Whether the responses use more memory than allowed. `newest` is the response that was added last.
    pub(super) fn is_too_much(&self, newest: &TrackedResponse) -> bool {
        self.state().bytes > MAX_BYTES.max(MAX_LARGE_RESPONSES * newest.bytes)
    }

    /// The numbers of the connections that have responses in flight.
    pub(super) fn connections(&self) -> BTreeSet<u64> {
        self.state().by_number.values().map(|answer| answer.connection).collect()
    }

    /// Stops counting the responses of a connection that was cut.
    pub(super) fn forget(&self, connection: u64) {
        let mut state = self.state();
        let answers = state.by_number.iter().filter(|(_, answer)| answer.connection == connection);
        for number in answers.map(|(number, _)| *number).collect::<Vec<_>>() {
            state.remove(number);
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        let state = self.state();
        state.by_number.is_empty() && state.chunks.is_empty() && state.bytes == 0
    }
}

impl State {
    fn remove(&mut self, number: u64) {
        let Some(answer) = self.by_number.remove(&number) else { return };
        self.bytes -= answer.chunks.len() * CHUNK_OVERHEAD;
        for address in answer.chunks {
            if let Some((length, answers)) = self.chunks.get_mut(&address) {
                *answers -= 1;
                if *answers == 0 {
                    self.bytes -= *length;
                    self.chunks.remove(&address);
                }
            }
        }
    }
}

impl Drop for TrackedResponse {
    fn drop(&mut self) {
        if let Some(state) = self.state.upgrade() {
            state.lock().unwrap_or_else(PoisonError::into_inner).remove(self.number);
        }
    }
}
