//! Records what really happened: the requests that reached the API, its responses, and the state of the world.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use fake_pinpoint::{FakePinpoint, Operation, Request, world::World};

use crate::{
    lock, model,
    world::{ALL, Target},
};

/// What an attempt must have come to, by the API's own account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    Clean,
    /// An error that was answered, by its label.
    Answered(&'static str),
    /// An answer that cannot be read, or a broken connection: which of the two it looks like is a matter of moments.
    Broken,
    /// No answer in time.
    Late,
    /// Clean or broken.
    CleanOrBroken,
}

/// The fakes that a run starts one after another, and their world.
pub(crate) struct Recorder {
    /// Every segment that can be, with its jobs.
    pub(crate) world: World,
    page_size: usize,
    /// The last one is asked. Those before it are kept, because their requests still explain what the exporter shows.
    fakes: Mutex<Vec<Arc<FakePinpoint>>>,
}

impl Recorder {
    pub(crate) fn new(world: World, page_size: usize) -> Self {
        Self { world, page_size, fakes: Mutex::default() }
    }

    /// Reads the requests to this fake too. To be called before the exporter can reach it.
    pub(crate) fn follow(&self, fake: FakePinpoint) {
        lock(&self.fakes).push(Arc::new(fake));
    }

    /// The fake that was started last.
    pub(crate) fn fake(&self) -> Option<Arc<FakePinpoint>> {
        lock(&self.fakes).last().cloned()
    }

    /// Looks at every request so far.
    pub(crate) fn each(&self, mut look: impl FnMut(&Request)) {
        let fakes = lock(&self.fakes).clone();
        for fake in fakes {
            fake.read_requests(|requests| requests.iter().for_each(&mut look));
        }
    }

    /// How many requests there were, by operation.
    pub(crate) fn counts(&self) -> BTreeMap<&'static str, u64> {
        let mut counts = BTreeMap::new();
        self.each(|request| {
            if let Some(operation) = request.operation {
                *counts.entry(name(operation)).or_default() += 1;
            }
        });
        counts
    }

    /// How many errors were answered, by operation and label.
    pub(crate) fn answered_errors(&self) -> BTreeMap<(&'static str, &'static str), u64> {
        let mut errors = BTreeMap::new();
        self.each(|request| {
            if let (Some(operation), Some(label)) = (request.operation, label(request)) {
                *errors.entry((name(operation), label)).or_default() += 1;
            }
        });
        errors
    }

    /// What each attempt must have come to, by operation.
    pub(crate) fn outcomes(&self) -> BTreeMap<&'static str, BTreeMap<Outcome, u64>> {
        let mut outcomes: BTreeMap<&'static str, BTreeMap<Outcome, u64>> = BTreeMap::new();
        self.each(|request| {
            if let Some(operation) = request.operation {
                let outcome = self.outcome(request);
                *outcomes.entry(name(operation)).or_default().entry(outcome).or_default() += 1;
            }
        });
        outcomes
    }

    fn outcome(&self, request: &Request) -> Outcome {
        match request.fault.as_deref() {
            Some("hang" | "hang_in_body") => Outcome::Late,
            Some("reset" | "reset_in_body" | "truncated") => Outcome::Broken,
            // The headers of an error tell its name, even if its body cannot be read.
            Some("corrupt_gzip" | "oversized") => label(request).map_or(Outcome::Broken, Outcome::Answered),
            // It is of use, and counts as one that is not understood whole.
            Some("padded") if request.status == Some(200) => Outcome::Broken,
            Some("redirect") => Outcome::Answered("Other"),
            fault => match label(request) {
                Some(label) => Outcome::Answered(label),
                None if request.status.is_none() => Outcome::Late,
                // Some pages name the segments that are no ids.
                None if request.operation == Some(Operation::GetSegments)
                    && request.application.as_deref() == Some(ALL) =>
                {
                    Outcome::CleanOrBroken
                }
                None => match fault {
                    Some("html" | "wrapped" | "empty" | "no_item") => Outcome::Broken,
                    Some("repeated_token") => Outcome::CleanOrBroken,
                    _ if self.is_clean(request) => Outcome::Clean,
                    _ => Outcome::Broken,
                },
            },
        }
    }

    /// Whether the page that it got can be understood whole.
    fn is_clean(&self, request: &Request) -> bool {
        let (Some(application), Some(shown_at), Some(page)) =
            (&request.application, request.shown_at, request.page)
        else {
            return true;
        };
        if !matches!(request.operation, Some(Operation::GetSegmentExportJobs | Operation::GetExportJobs)) {
            return true;
        }
        let items = self.world.items(application, request.segment.as_deref(), shown_at).unwrap_or_default();
        let rest = items.get((page - 1) * self.page_size..).unwrap_or_default();
        model::is_clean(&rest[..rest.len().min(self.page_size)])
    }

    /// The instants whose jobs the API has shown in listings of each target, and when the listings of each were begun.
    pub(crate) fn listings(&self) -> BTreeMap<(String, Option<String>), Listings> {
        let mut listings: BTreeMap<_, Listings> = BTreeMap::new();
        self.each(|request| {
            let is_listing =
                matches!(request.operation, Some(Operation::GetSegmentExportJobs | Operation::GetExportJobs));
            if let (true, Some(application)) = (is_listing, &request.application) {
                let of_target = listings.entry((application.clone(), request.segment.clone())).or_default();
                if let (Some(shown_at), Some(200)) = (request.shown_at, request.status) {
                    let begun = if request.token.is_none() { request.at } else { i64::MIN };
                    of_target.shown.entry(shown_at).or_insert(begun);
                }
                if request.token.is_none() {
                    of_target.begun.push(request.at);
                }
                of_target.errors.extend(label(request));
            }
        });
        listings
    }

    /// The items of a target's listing at an instant.
    pub(crate) fn items(&self, target: &Target, instant: i64) -> Vec<serde_json::Value> {
        self.world.items(target.application, target.segment.as_deref(), instant).unwrap_or_default()
    }
}

/// The requests for one target.
#[derive(Debug, Default)]
pub(crate) struct Listings {
    /// The instants that were shown, and when the first page of each was asked for, as far as that is sure.
    pub(crate) shown: BTreeMap<i64, i64>,
    /// When each first page was asked for, retries included.
    pub(crate) begun: Vec<i64>,
    /// The labels of the errors that were answered.
    pub(crate) errors: BTreeSet<&'static str>,
}

impl Listings {
    /// The first pages that were asked for no earlier than that of an instant which was shown, its own included.
    pub(crate) fn begun_since(&self, instant: i64) -> impl Iterator<Item = i64> {
        let asked = self.shown.get(&instant).copied().unwrap_or(i64::MIN);
        self.begun.iter().copied().filter(move |at| *at >= asked)
    }
}

/// The label of the error that was answered.
fn label(request: &Request) -> Option<&'static str> {
    Some(model::exception(request.error.as_deref()?, request.status?))
}

/// The name of an operation, as the API spells it.
pub(crate) fn name(operation: Operation) -> &'static str {
    match operation {
        Operation::GetApps => "GetApps",
        Operation::GetSegments => "GetSegments",
        Operation::GetSegmentExportJobs => "GetSegmentExportJobs",
        Operation::GetExportJobs => "GetExportJobs",
        _ => "another",
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpStream,
    };

    use fake_pinpoint::fault::Fault;

    use super::*;

    /// A fake that has been asked once, without a signature.
    async fn asked() -> FakePinpoint {
        let fake = FakePinpoint::start(World::default()).await.unwrap();
        ask(&fake).await;
        fake
    }

    async fn ask(fake: &FakePinpoint) {
        let mut socket = TcpStream::connect(fake.address()).await.unwrap();
        let request = b"GET /v1/apps HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        socket.write_all(request).await.unwrap();
        socket.read_to_end(&mut Vec::new()).await.unwrap();
    }

    #[tokio::test]
    async fn an_error_whose_body_is_damaged_keeps_its_name() {
        let fake = FakePinpoint::start(World::default()).await.unwrap();
        for fault in [Fault::CorruptGzip, Fault::Oversized { mebibytes: 1, gzip: true }] {
            fake.fault(fault.times(1));
            ask(&fake).await;
        }
        let recorder = Recorder::new(World::default(), 10);
        recorder.follow(fake);
        let outcomes = recorder.outcomes().remove("GetApps").unwrap();
        assert_eq!(outcomes, BTreeMap::from([(Outcome::Answered("MissingAuthenticationTokenException"), 2)]));
    }

    #[tokio::test]
    async fn every_request_is_seen_while_the_api_restarts() {
        let recorder = Recorder::new(World::default(), 10);
        recorder.follow(asked().await);
        recorder.follow(asked().await);
        let mut restarted = Some(FakePinpoint::start(World::default()).await.unwrap());
        let mut seen = 0;
        thread::scope(|scope| {
            recorder.each(|_| {
                seen += 1;
                // The API restarts between the first request and the next.
                if let Some(fake) = restarted.take() {
                    let address = fake.address();
                    scope.spawn(|| recorder.follow(fake));
                    while recorder.fake().is_none_or(|fake| fake.address() != address) {
                        thread::yield_now();
                    }
                }
            });
        });
        assert_eq!(seen, 2, "both requests came before the restart");
    }
}
