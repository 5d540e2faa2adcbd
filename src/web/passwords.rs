//! Whether a password is right. bcrypt is slow on purpose, so it runs in a thread of its own that yields the processor to all
//! else; who has been found right once is known again at once. No password is kept, and none is compared byte by byte.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    net::IpAddr,
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

/// How many passwords may wait to be looked at, of all clients and of one.
const MAX_WAITING: usize = 64;
const MAX_WAITING_OF_ONE: usize = 4;

/// The thread's stack. Without it, `RUST_MIN_STACK` would decide.
const THREAD_STACK: usize = 256 * 1024;

/// How much it yields the processor: half of what there is.
const NICENESS: i32 = 10;

/// What came of looking at a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Right,
    Wrong,
    /// Too many wait already.
    Busy,
}

/// Looks at passwords.
#[derive(Debug)]
pub(super) struct Passwords(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Of this process, and nobody knows it.
    key: hmac::Key,
    /// By user, the tag of the credentials that were found right last.
    verified: Mutex<HashMap<String, hmac::Tag>>,
    queue: Mutex<Queue>,
    filled: Condvar,
}

/// What waits, by client: each client has its turn, however much another sends.
#[derive(Debug, Default)]
struct Queue {
    by_client: HashMap<IpAddr, VecDeque<Job>>,
    turns: VecDeque<IpAddr>,
    waiting: usize,
    is_closed: bool,
}

#[derive(Debug)]
struct Job {
    credentials: Credentials,
    /// Whether there is such a user. If not, the password is compared with another's, and is wrong.
    is_known: bool,
    verdict: oneshot::Sender<Verdict>,
}

/// A name, the hash of its password, and a password that may be the one.
#[derive(Debug)]
struct Credentials {
    user: String,
    hash: String,
    password: Zeroizing<Vec<u8>>,
}

impl Credentials {
    /// What is alike for the same credentials, and for no others.
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
    /// `Err` if there is no randomness, or no thread to be had.
    pub(super) fn new() -> std::io::Result<Self> {
        let key = hmac::Key::generate(HMAC_SHA256, &SystemRandom::new());
        let shared = Arc::new(Shared {
            key: key.map_err(|_| std::io::Error::other("the system has no random numbers"))?,
            verified: Mutex::default(),
            queue: Mutex::default(),
            filled: Condvar::new(),
        });
        let looking = Arc::clone(&shared);
        let thread = thread::Builder::new().name("bcrypt".into()).stack_size(THREAD_STACK);
        thread.spawn(move || looking.look())?;
        Ok(Self(shared))
    }

    /// Whether it is the user's password. `client` sent it.
    pub(super) async fn verify(
        &self,
        users: &BTreeMap<String, String>,
        user: &str,
        password: Zeroizing<Vec<u8>>,
        client: IpAddr,
    ) -> Verdict {
        let shared = &self.0;
        let Some((hash, is_known)) = shared.hash_for(users, user) else {
            return Verdict::Wrong;
        };
        let credentials = Credentials { user: user.to_owned(), hash: hash.to_owned(), password };
        if is_known && shared.is_verified(&credentials) {
            return Verdict::Right;
        }
        let (verdict, found) = oneshot::channel();
        if !shared.enqueue(client, Job { credentials, is_known, verdict }) {
            return Verdict::Busy;
        }
        found.await.unwrap_or(Verdict::Busy)
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

    /// The hash to compare with, and whether it is the user's. For a name that nobody has it is always the same user's, so that it
    /// takes as long as if somebody had it.
    fn hash_for<'a>(&self, users: &'a BTreeMap<String, String>, user: &str) -> Option<(&'a str, bool)> {
        if let Some(hash) = users.get(user) {
            return Some((hash, true));
        }
        let tag = hmac::sign(&self.key, user.as_bytes());
        let number = tag.as_ref().iter().take(4).fold(0, |number, byte| (number << 8) | usize::from(*byte));
        let hash = users.values().nth(number.checked_rem(users.len())?)?;
        Some((hash, false))
    }

    fn is_verified(&self, credentials: &Credentials) -> bool {
        let verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        // This compares in constant time.
        verified
            .get(&credentials.user)
            .is_some_and(|tag| hmac::verify(&self.key, &credentials.message(), tag.as_ref()).is_ok())
    }

    fn enqueue(&self, client: IpAddr, job: Job) -> bool {
        let mut queue = self.queue();
        let waiting = queue.waiting;
        let of_client = queue.by_client.entry(client).or_default();
        if waiting >= MAX_WAITING || of_client.len() >= MAX_WAITING_OF_ONE {
            if of_client.is_empty() {
                queue.by_client.remove(&client);
            }
            return false;
        }
        of_client.push_back(job);
        if of_client.len() == 1 {
            queue.turns.push_back(client);
        }
        queue.waiting += 1;
        self.filled.notify_one();
        true
    }

    /// Looks at one password after the other, until there are to be no more.
    fn look(&self) {
        // Without it all is well but for a processor that others need.
        _ = rustix::process::nice(NICENESS);
        while let Some(job) = self.next() {
            // After a panic, which has been logged, the next password can still be looked at.
            _ = catch_unwind(AssertUnwindSafe(|| self.look_at(job)));
        }
    }

    fn look_at(&self, Job { credentials, is_known, verdict }: Job) {
        // The client has hung up.
        if verdict.is_closed() {
            return;
        }
        let right = is_known && self.is_verified(&credentials);
        let right = right
            || bcrypt::verify(credentials.password.as_slice(), &credentials.hash).unwrap_or(false)
                && is_known;
        if right {
            let tag = hmac::sign(&self.key, &credentials.message());
            let mut verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
            verified.insert(credentials.user, tag);
        }
        _ = verdict.send(if right { Verdict::Right } else { Verdict::Wrong });
    }

    fn next(&self) -> Option<Job> {
        let mut queue = self.queue();
        loop {
            if queue.is_closed {
                return None;
            }
            if let Some(job) = queue.next() {
                return Some(job);
            }
            queue = self.filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Queue {
    /// That of the client whose turn it is.
    fn next(&mut self) -> Option<Job> {
        let client = self.turns.pop_front()?;
        let jobs = self.by_client.get_mut(&client)?;
        let job = jobs.pop_front();
        if jobs.is_empty() {
            self.by_client.remove(&client);
        } else {
            self.turns.push_back(client);
        }
        self.waiting -= 1;
        job
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn job() -> (Job, oneshot::Receiver<Verdict>) {
        let (verdict, found) = oneshot::channel();
        let (user, hash) = (String::new(), String::new());
        let credentials = Credentials { user, hash, password: Vec::new().into() };
        (Job { credentials, is_known: false, verdict }, found)
    }

    fn shared() -> Shared {
        Shared {
            key: hmac::Key::new(HMAC_SHA256, b"test"),
            verified: Mutex::default(),
            queue: Mutex::default(),
            filled: Condvar::new(),
        }
    }

    #[test]
    fn a_client_that_floods_has_four_places_and_every_second_turn() {
        let shared = shared();
        let [rude, other] = [1, 2].map(|last| IpAddr::from(Ipv4Addr::new(127, 0, 0, last)));
        let taken = (0..1000).filter(|_| shared.enqueue(rude, job().0)).count();
        assert_eq!(taken, MAX_WAITING_OF_ONE);
        let (theirs, mut found) = job();
        assert!(shared.enqueue(other, theirs));
        let turns: Vec<_> = (0..5)
            .map(|_| {
                let job = shared.queue().next().unwrap();
                _ = job.verdict.send(Verdict::Wrong);
                found.try_recv().is_ok()
            })
            .collect();
        assert_eq!(turns, [false, true, false, false, false]);
        let queue = shared.queue();
        assert!(queue.by_client.is_empty() && queue.turns.is_empty() && queue.waiting == 0);
    }

    #[test]
    fn all_clients_together_have_a_limit() {
        let shared = shared();
        let clients = (0..100).map(|last| IpAddr::from(Ipv4Addr::new(127, 0, 0, last)));
        let taken = clients.filter(|client| shared.enqueue(*client, job().0)).count();
        assert_eq!(taken, MAX_WAITING);
        assert_eq!(shared.queue().by_client.len(), MAX_WAITING);
    }

    #[test]
    fn a_name_that_nobody_has_is_always_compared_with_the_same_hash() {
        let shared = shared();
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
        let client = IpAddr::from(Ipv4Addr::LOCALHOST);
        let hash = bcrypt::hash("secret", 4).unwrap();
        let mut users = BTreeMap::from([("alice".to_owned(), hash)]);
        let verify = async |users: &BTreeMap<String, String>, user: &str, password: &str| {
            passwords.verify(users, user, password.as_bytes().to_vec().into(), client).await
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
        // With no thread to look, only what is known is right.
        passwords.0.queue().is_closed = true;
        passwords.0.filled.notify_all();
        let ended = async {
            while Arc::strong_count(&passwords.0) > 1 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(20), ended).await.expect("the thread ends");
        assert_eq!(verify(&users, "alice", "secret").await, Verdict::Right);
        users.insert("alice".to_owned(), bcrypt::hash("other", 4).unwrap());
        let verdict = tokio::time::timeout(std::time::Duration::ZERO, verify(&users, "alice", "secret"));
        assert!(verdict.await.is_err(), "it is to be looked at anew");
    }
}
