//! The scrapes that wait for refreshes. Their number is bounded, so that connections remain for other requests.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio_util::sync::CancellationToken;

use super::client_address::ClientAddress;

/// The waiting scrapes. When there are too many, one scrape gets the cached data at once. It is the one that has waited
/// longest, of the client with the most waiting scrapes.
#[derive(Debug)]
pub(super) struct WaitingScrapes {
    limit: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    by_number: BTreeMap<u64, (ClientAddress, CancellationToken)>,
}

/// A scrape that counts as waiting until this is dropped.
#[derive(Debug)]
pub(super) struct WaitingScrape {
    all: Arc<WaitingScrapes>,
    number: u64,
    /// Cancelled when the scrape must be answered at once.
    pub(super) hurry: CancellationToken,
}

impl WaitingScrapes {
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, state: Mutex::default() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a scrape. If there are then too many, one of them is answered at once.
    pub(super) fn enter(self: &Arc<Self>, client: ClientAddress) -> WaitingScrape {
        let hurry = CancellationToken::new();
        let mut state = self.state();
        let number = state.next;
        state.next += 1;
        state.by_number.insert(number, (client, hurry.clone()));
        if state.by_number.len() > self.limit
            && let Some(longest) = state.longest_of_the_largest()
            && let Some((_, hurry)) = state.by_number.remove(&longest)
        {
            hurry.cancel();
        }
        WaitingScrape { all: Arc::clone(self), number, hurry }
    }
}

impl State {
    fn longest_of_the_largest(&self) -> Option<u64> {
        let mut scrapes: HashMap<_, usize> = HashMap::new();
        for (client, _) in self.by_number.values() {
            *scrapes.entry(client).or_default() += 1;
        }
        let most = scrapes.values().max().copied();
        self.by_number
            .iter()
            .find(|(_, (client, _))| scrapes.get(client).copied() == most)
            .map(|(number, _)| *number)
    }
}

impl Drop for WaitingScrape {
    fn drop(&mut self) {
        self.all.state().by_number.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    #[test]
    fn the_longest_wait_of_the_client_with_the_most_ends() {
        let waiting = WaitingScrapes::new(3);
        let [one, other] = [1, 2].map(|last| IpAddr::from(Ipv4Addr::new(127, 0, 0, last)).into());
        let theirs = waiting.enter(other);
        let ours = [(); 2].map(|()| waiting.enter(one));
        assert!(!theirs.hurry.is_cancelled() && ours.iter().all(|scrape| !scrape.hurry.is_cancelled()));
        let next = waiting.enter(one);
        assert!(ours[0].hurry.is_cancelled());
        assert!(!theirs.hurry.is_cancelled() && !ours[1].hurry.is_cancelled());
        drop((theirs, next));
        let last = waiting.enter(other);
        assert!(!ours[1].hurry.is_cancelled() && !last.hurry.is_cancelled());
        drop((ours, last));
        assert!(waiting.state().by_number.is_empty());
    }
}
