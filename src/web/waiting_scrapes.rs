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
struct WaitingScrape {
    all: Arc<WaitingScrapes>,
    number: u64,
    /// Cancelled when the scrape must be answered at once.
    answer_now: CancellationToken,
}

impl WaitingScrapes {
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, state: Mutex::default() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the scrape must be answered at once. It counts as waiting from the first poll until this is dropped.
    pub(super) async fn wait(self: &Arc<Self>, client: ClientAddress) {
        let scrape = self.add(client);
        scrape.answer_now.cancelled().await;
    }

    /// Adds a scrape. If there are then too many, one of them is answered at once.
    fn add(self: &Arc<Self>, client: ClientAddress) -> WaitingScrape {
        let answer_now = CancellationToken::new();
        let mut state = self.state();
        let number = state.next;
        state.next += 1;
        state.by_number.insert(number, (client, answer_now.clone()));
        if state.by_number.len() > self.limit
            && let Some(longest) = state.longest_of_largest_client()
            && let Some((_, answer_now)) = state.by_number.remove(&longest)
        {
            answer_now.cancel();
        }
        WaitingScrape { all: Arc::clone(self), number, answer_now }
    }
}

impl State {
    fn longest_of_largest_client(&self) -> Option<u64> {
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
        let theirs = waiting.add(other);
        let ours = [(); 2].map(|()| waiting.add(one));
        assert!(
            !theirs.answer_now.is_cancelled() && ours.iter().all(|scrape| !scrape.answer_now.is_cancelled())
        );
        let next = waiting.add(one);
        assert!(ours[0].answer_now.is_cancelled());
        assert!(!theirs.answer_now.is_cancelled() && !ours[1].answer_now.is_cancelled());
        drop((theirs, next));
        let last = waiting.add(other);
        assert!(!ours[1].answer_now.is_cancelled() && !last.answer_now.is_cancelled());
        drop((ours, last));
        assert!(waiting.state().by_number.is_empty());
    }
}
