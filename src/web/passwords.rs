//! Verifies passwords. bcrypt is slow by design, so it runs in its own threads at a low priority. Verified credentials are
//! cached in memory as a keyed hash, so later requests skip bcrypt. No password is kept, and none is compared
//! byte by byte.
//!
//! Requests with the same credentials share one check. Among different credentials, the client address with the fewest tries
//! goes first, then the user with the fewest. So a flood of wrong passwords delays the clients that send it and not the others.

use std::{
    collections::{BTreeMap, HashMap},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

use ring::{
    hmac::{self, HMAC_SHA256},
    rand::SystemRandom,
};
use tokio::sync::oneshot;
use zeroize::Zeroizing;

use super::client_address::ClientAddress;

/// The stack size of a thread. Without it, `RUST_MIN_STACK` would decide.
const THREAD_STACK: usize = 256 * 1024;

/// How many different credentials may wait to be verified.
const MAX_WAITING: usize = 128;

/// For how many clients the number of tries is remembered.
const MAX_CLIENTS: usize = 4096;

/// The most threads that verify passwords.
const MAX_THREADS: usize = 4;

/// The niceness of these threads, so that they yield the processor to everything else.
const NICENESS: i32 = 10;

/// The result of a password check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Right,
    Wrong,
    /// Too many credentials already wait.
    Busy,
}

/// Verifies passwords in background threads.
#[derive(Debug)]
pub(super) struct Passwords(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// A random key that only this process knows.
    key: hmac::Key,
    /// For each user, the tag of the credentials that were verified last.
    verified: Mutex<HashMap<String, hmac::Tag>>,
    queue: Mutex<Queue>,
    filled: Condvar,
}

/// The waiting attempts. Also counts the tries of clients and users since the queue was last empty.
#[derive(Debug, Default)]
struct Queue {
    next: u64,
    attempts: Vec<Attempt>,
    tries_of_client: HashMap<ClientAddress, u64>,
    /// Keyed by the hash of the user's password. An unknown name counts as the user whose hash is compared instead.
    tries_of_user: HashMap<String, u64>,
    is_closed: bool,
}

/// Credentials to be verified, and the requests that wait for the verdict.
#[derive(Debug)]
struct Attempt {
    number: u64,
    tag: Vec<u8>,
    credentials: Credentials,
    /// Whether the user exists. If not, the password is compared with another user's hash and is always wrong.
    is_known: bool,
    /// Whether a thread is verifying it.
    is_under_way: bool,
    waiters: Vec<(ClientAddress, oneshot::Sender<Verdict>)>,
}

/// A user name, the hash of its password, and the password to verify.
#[derive(Debug, Clone)]
struct Credentials {
    user: String,
    hash: String,
    password: Zeroizing<Vec<u8>>,
}

impl Credentials {
    /// A byte string that is equal only for equal credentials.
    fn message(&self) -> Zeroizing<Vec<u8>> {
        let mut message = Zeroizing::new(Vec::new());
        for part in [self.user.as_bytes(), self.hash.as_bytes(), self.password.as_slice()] {
            message.extend_from_slice(&(part.len() as u64).to_le_bytes());
            message.extend_from_slice(part);
        }
        message
    }
}

impl Passwords {
    /// Returns an error if the system has no random numbers or a thread cannot start.
    pub(super) fn new() -> std::io::Result<Self> {
        let key = hmac::Key::generate(HMAC_SHA256, &SystemRandom::new());
        let shared = Arc::new(Shared {
            key: key.map_err(|_| std::io::Error::other("the system has no random numbers"))?,
            verified: Mutex::default(),
            queue: Mutex::default(),
            filled: Condvar::new(),
        });
        let threads = thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS);
        for _ in 0..threads {
            let looking = Arc::clone(&shared);
            let thread = thread::Builder::new().name("bcrypt".into()).stack_size(THREAD_STACK);
            thread.spawn(move || looking.look())?;
        }
        Ok(Self(shared))
    }

    /// Verifies a user's password that `client` sent.
    pub(super) async fn verify(
        &self,
        users: &BTreeMap<String, String>,
        user: &str,
        password: Zeroizing<Vec<u8>>,
        client: ClientAddress,
    ) -> Verdict {
        let shared = &self.0;
        let Some((hash, is_known)) = shared.hash_for(users, user) else {
            return Verdict::Wrong;
        };
        let credentials = Credentials { user: user.to_owned(), hash: hash.to_owned(), password };
        let message = credentials.message();
        if is_known && shared.is_verified(user, &message) {
            return Verdict::Right;
        }
        let tag = hmac::sign(&shared.key, &message);
        let verdict = shared.queue().enter(tag.as_ref(), credentials, is_known, client);
        shared.filled.notify_one();
        // The sender is dropped if the queue is full and has no slot for this attempt, or gives its slot to another client or
        // user.
        verdict.await.unwrap_or(Verdict::Busy)
    }
}

impl Drop for Passwords {
    fn drop(&mut self) {
        self.0.queue().is_closed = true;
        self.0.filled.notify_all();
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The hash to compare with, and whether it belongs to the user. An unknown name always gets the hash of the same user, so
    /// that the check takes as long as for a known name.
    fn hash_for<'a>(&self, users: &'a BTreeMap<String, String>, user: &str) -> Option<(&'a str, bool)> {
        if let Some(hash) = users.get(user) {
            return Some((hash, true));
        }
        let tag = hmac::sign(&self.key, user.as_bytes());
        let number = tag.as_ref().iter().take(4).fold(0, |number, byte| (number << 8) | usize::from(*byte));
        let hash = users.values().nth(number.checked_rem(users.len())?)?;
        Some((hash, false))
    }

    fn is_verified(&self, user: &str, message: &[u8]) -> bool {
        let verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        // `hmac::verify` compares in constant time.
        verified.get(user).is_some_and(|tag| hmac::verify(&self.key, message, tag.as_ref()).is_ok())
    }

    /// Verifies one password after the other until the queue is closed.
    fn look(&self) {
        // If this fails, the threads still work, but they take processor time from others.
        _ = rustix::process::nice(NICENESS);
        while let Some((number, credentials, is_known)) = self.next() {
            // A panic is logged. The next password can still be verified after it.
            let verify =
                || bcrypt::verify(credentials.password.as_slice(), &credentials.hash).unwrap_or(false);
            let right = catch_unwind(AssertUnwindSafe(verify)).unwrap_or(false) && is_known;
            if right {
                let tag = hmac::sign(&self.key, &credentials.message());
                let mut verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
                verified.insert(credentials.user, tag);
            }
            for (_, waiter) in self.queue().end(number) {
                _ = waiter.send(if right { Verdict::Right } else { Verdict::Wrong });
            }
        }
    }

    fn next(&self) -> Option<(u64, Credentials, bool)> {
        let mut queue = self.queue();
        loop {
            if queue.is_closed {
                return None;
            }
            if let Some(next) = queue.next() {
                return Some(next);
            }
            queue = self.filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Attempt {
    /// The client that sent these credentials first.
    fn client(&self) -> Option<ClientAddress> {
        self.waiters.first().map(|(client, _)| *client)
    }
}

impl Queue {
    /// Adds an attempt, or joins one with the same credentials. If the queue has no slot, the sender is dropped.
    fn enter(
        &mut self,
        tag: &[u8],
        credentials: Credentials,
        is_known: bool,
        client: ClientAddress,
    ) -> oneshot::Receiver<Verdict> {
        let (waiter, verdict) = oneshot::channel();
        if let Some(same) = self.attempts.iter_mut().find(|attempt| attempt.tag == tag) {
            same.waiters.push((client, waiter));
            return verdict;
        }
        self.forget_clients_that_hung_up();
        if self.attempts.len() >= MAX_WAITING && !self.evict_one(client, &credentials.hash) {
            return verdict;
        }
        let (number, tag) = (self.next, tag.to_vec());
        self.next += 1;
        let waiters = vec![(client, waiter)];
        self.attempts.push(Attempt { number, tag, credentials, is_known, is_under_way: false, waiters });
        verdict
    }

    fn forget_clients_that_hung_up(&mut self) {
        self.attempts.retain_mut(|attempt| {
            attempt.waiters.retain(|(_, waiter)| !waiter.is_closed());
            attempt.is_under_way || !attempt.waiters.is_empty()
        });
    }

    /// Makes a slot in a full queue. Drops the newest attempt of the client with the most attempts, if `client` has fewer.
    /// Otherwise drops the newest attempt of `client` for its user with the most attempts, if the user of `hash` has fewer.
    /// Returns whether it dropped one.
    fn evict_one(&mut self, client: ClientAddress, hash: &str) -> bool {
        let waiting = || self.attempts.iter().filter(|attempt| !attempt.is_under_way);
        let of_client = |client| waiting().filter(move |attempt| attempt.client() == Some(client));
        let mut clients: HashMap<_, usize> = HashMap::new();
        for attempt in waiting() {
            *clients.entry(attempt.client()).or_default() += 1;
        }
        let Some((Some(largest), most)) = clients.into_iter().max_by_key(|(_, attempts)| *attempts) else {
            return false;
        };
        let newest = if of_client(client).count() + 1 < most {
            of_client(largest).next_back()
        } else {
            let mut users: HashMap<_, usize> = HashMap::new();
            for attempt in of_client(client) {
                *users.entry(attempt.credentials.hash.as_str()).or_default() += 1;
            }
            let own = users.get(hash).copied().unwrap_or(0);
            let largest = users.into_iter().max_by_key(|(_, attempts)| *attempts);
            largest
                .filter(|(_, most)| own + 1 < *most)
                .and_then(|(hash, _)| of_client(client).rfind(|attempt| attempt.credentials.hash == hash))
        };
        let Some(number) = newest.map(|attempt| attempt.number) else {
            return false;
        };
        self.attempts.retain(|attempt| attempt.number != number);
        true
    }

    /// Takes the attempt to verify next: of the client with the fewest tries, then of the user with the fewest, then the
    /// oldest.
    fn next(&mut self) -> Option<(u64, Credentials, bool)> {
        self.forget_clients_that_hung_up();
        let Self { attempts, tries_of_client, tries_of_user, .. } = self;
        let tries = |attempt: &Attempt| {
            let clients = attempt.waiters.iter().map(|(client, _)| tries_of_client.get(client).copied());
            let user = tries_of_user.get(&attempt.credentials.hash).copied();
            (clients.map(Option::unwrap_or_default).min(), user.unwrap_or_default(), attempt.number)
        };
        let waiting = attempts.iter_mut().filter(|attempt| !attempt.is_under_way);
        let next = waiting.min_by_key(|attempt| tries(attempt))?;
        next.is_under_way = true;
        if tries_of_client.len() >= MAX_CLIENTS {
            tries_of_client.clear();
        }
        for (client, _) in next.waiters.iter().take(1) {
            *tries_of_client.entry(*client).or_default() += 1;
        }
        *tries_of_user.entry(next.credentials.hash.clone()).or_default() += 1;
        Some((next.number, next.credentials.clone(), next.is_known))
    }

    /// Removes a verified attempt. Returns the requests that wait for the verdict.
    fn end(&mut self, number: u64) -> Vec<(ClientAddress, oneshot::Sender<Verdict>)> {
        let at = self.attempts.iter().position(|attempt| attempt.number == number);
        let waiters = at.map(|at| self.attempts.remove(at).waiters).unwrap_or_default();
        if self.attempts.is_empty() {
            self.tries_of_client.clear();
            self.tries_of_user.clear();
        }
        waiters
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    fn client(last: u8) -> ClientAddress {
        IpAddr::from(Ipv4Addr::new(127, 0, 0, last)).into()
    }

    impl Queue {
        /// Adds an attempt for `user` with a password.
        fn try_password(&mut self, user: &str, password: u32, last: u8) -> oneshot::Receiver<Verdict> {
            let password = password.to_be_bytes().to_vec();
            let tag = [user.as_bytes(), &password].concat();
            let credentials = Credentials {
                user: user.to_owned(),
                hash: format!("hash of {user}"),
                password: password.into(),
            };
            self.enter(&tag, credentials, true, client(last))
        }

        /// Takes the next attempt and answers that it is wrong.
        fn look(&mut self) {
            let (number, ..) = self.next().expect("something waits");
            for (_, waiter) in self.end(number) {
                _ = waiter.send(Verdict::Wrong);
            }
        }
    }

    #[test]
    fn the_same_credentials_are_looked_at_once_and_all_who_sent_them_get_the_verdict() {
        let mut queue = Queue::default();
        let mut same: Vec<_> = (0..1000).map(|_| queue.try_password("alice", 0, 1)).collect();
        assert_eq!(queue.attempts.len(), 1);
        let (number, ..) = queue.next().unwrap();
        // A request that arrives while bcrypt runs shares its result.
        same.push(queue.try_password("alice", 0, 2));
        assert!(queue.next().is_none());
        for (_, waiter) in queue.end(number) {
            waiter.send(Verdict::Right).unwrap();
        }
        assert!(same.iter_mut().all(|verdict| verdict.try_recv() == Ok(Verdict::Right)));
        assert!(queue.attempts.is_empty() && queue.tries_of_client.is_empty());
    }

    #[test]
    fn a_client_is_looked_at_next_beside_a_flood_from_twenty_others() {
        let mut queue = Queue::default();
        let mut flood = Vec::new();
        let mut number = 0;
        let mut refill = |queue: &mut Queue| {
            for last in 100..120 {
                for _ in 0..MAX_WAITING {
                    number += 1;
                    flood.push(queue.try_password("alice", number, last));
                }
            }
        };
        refill(&mut queue);
        assert_eq!(queue.attempts.len(), MAX_WAITING);
        for _ in 0..50 {
            queue.look();
            refill(&mut queue);
        }
        let mut verdict = queue.try_password("alice", 0, 1);
        queue.look();
        assert_eq!(verdict.try_recv(), Ok(Verdict::Wrong));
        assert!(flood.len() > MAX_WAITING);
    }

    #[test]
    fn behind_the_address_of_a_flood_another_user_is_next_and_the_same_one_is_behind_those_who_wait() {
        let mut queue = Queue::default();
        let mut flood: Vec<_> = (1..1000).map(|number| queue.try_password("alice", number, 1)).collect();
        queue.look();
        flood.push(queue.try_password("alice", 1001, 1));
        let mut other = queue.try_password("bob", 0, 1);
        queue.look();
        assert_eq!(other.try_recv(), Ok(Verdict::Wrong));
        let mut same = queue.try_password("alice", 0, 1);
        let is_verified = (0..MAX_WAITING).any(|_| {
            queue.look();
            same.try_recv().is_ok()
        });
        assert!(is_verified);
    }

    #[test]
    fn who_hung_up_is_not_looked_at_and_takes_no_place() {
        let mut queue = Queue::default();
        for number in 0..1000 {
            drop(queue.try_password("alice", number, 1));
        }
        assert_eq!(queue.attempts.len(), 1);
        let mut verdict = queue.try_password("alice", 1000, 1);
        queue.look();
        assert_eq!(verdict.try_recv(), Ok(Verdict::Wrong));
        assert!(queue.next().is_none());
    }

    #[test]
    fn a_name_that_nobody_has_is_always_compared_with_the_same_hash() {
        let shared = Shared {
            key: hmac::Key::new(HMAC_SHA256, b"test"),
            verified: Mutex::default(),
            queue: Mutex::default(),
            filled: Condvar::new(),
        };
        let users = ["a", "b", "c"].map(|user| (user.to_owned(), format!("hash of {user}"))).into();
        assert_eq!(shared.hash_for(&users, "b"), Some(("hash of b", true)));
        let names = (0..50).map(|number| format!("nobody {number}"));
        let hashes: Vec<_> = names.map(|name| shared.hash_for(&users, &name).unwrap()).collect();
        assert!(hashes.iter().all(|(_, is_known)| !is_known));
        for user in users.values() {
            assert!(hashes.iter().any(|(hash, _)| hash == user), "{user} is never taken");
        }
        assert_eq!(shared.hash_for(&users, "nobody 0"), Some(hashes[0]));
        assert_eq!(shared.hash_for(&BTreeMap::new(), "a"), None);
    }

    #[tokio::test]
    async fn what_was_right_once_is_right_at_once_until_the_hash_changes() {
        let passwords = Passwords::new().unwrap();
        let hash = bcrypt::hash("secret", 4).unwrap();
        let mut users = BTreeMap::from([("alice".to_owned(), hash)]);
        let verify = async |users: &BTreeMap<String, String>, user: &str, password: &str| {
            passwords.verify(users, user, password.as_bytes().to_vec().into(), client(1)).await
        };
        for (user, password, verdict) in [
            ("alice", "secret", Verdict::Right),
            ("alice", "secret", Verdict::Right),
            ("alice", "wrong", Verdict::Wrong),
            ("alice", "", Verdict::Wrong),
            ("bob", "secret", Verdict::Wrong),
        ] {
            assert_eq!(verify(&users, user, password).await, verdict, "{user} {password}");
        }
        assert_eq!(passwords.0.verified.lock().unwrap().len(), 1);
        // Without threads, only cached credentials are verified.
        passwords.0.queue().is_closed = true;
        passwords.0.filled.notify_all();
        let ended = async {
            while Arc::strong_count(&passwords.0) > 1 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_mins(1), ended).await.expect("the threads end");
        assert_eq!(verify(&users, "alice", "secret").await, Verdict::Right);
        users.insert("alice".to_owned(), bcrypt::hash("other", 4).unwrap());
        let verdict = tokio::time::timeout(std::time::Duration::ZERO, verify(&users, "alice", "secret"));
        assert!(verdict.await.is_err(), "it is to be looked at anew");
    }
}
