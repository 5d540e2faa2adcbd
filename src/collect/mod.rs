//! Keeps the last snapshot of every target. A scrape refreshes a snapshot that is older than `CACHE_TTL`. Scrapes that arrive
//! meanwhile wait for the same refresh. A snapshot is shown until it is older than `MAX_STALENESS`. Without scrapes nothing is
//! refreshed.

mod cached_listing;
pub mod discovery;
mod refresh_schedule;
mod region_client;
mod shown_names;
mod target_entry;
mod watch_list;

use std::{
    panic::AssertUnwindSafe,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::{FutureExt as _, future::BoxFuture};
use humantime::format_duration;
use tokio::{
    task::yield_now,
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;

use self::{
    cached_listing::{CachedListing, Purpose},
    refresh_schedule::{Completion, Due, Lookup, RefreshGuard, Started, end_of},
    region_client::{Event, RegionClient},
    target_entry::{Health, Outcome, Shown, TargetEntry},
    watch_list::{WatchList, WatchedTargets},
};
use crate::{
    metrics::{
        block,
        exposition::{self, Body},
    },
    model::{
        clock::Clock,
        duration::nanoseconds,
        exception::Exception,
        list_id::ListId,
        names::{NameSource, TagLabels},
        overview::{CallError, LastRead, Overview},
        refresh_limits::RefreshLimits,
        shard::Shard,
        snapshot::{FinishedJobLimits, SnapshotBuilder},
        status_series::StatusSeries,
        target::{Target, TargetPattern},
        timestamp::Timestamp,
    },
    pinpoint::{Clients, Error, Permit, Priority, SkippedParts},
};

#[derive(Debug, Clone)]
pub struct Settings {
    /// `CACHE_TTL`: a younger result is not refreshed. `MAX_STALENESS`: older data are not shown.
    pub refresh_limits: RefreshLimits,
    /// The targets that this exporter polls.
    pub shard: Shard,
    /// How long a successfully read list of applications or segments is used before it is read again.
    pub discovery_ttl: Duration,
    /// The limits on the finished jobs that are shown.
    pub finished_job_limits: FinishedJobLimits,
    pub status_series: StatusSeries,
    pub names: NameSource,
    /// The tags to show beside names.
    pub tag_labels: Arc<TagLabels>,
}

/// The targets with their cached snapshots and lists.
pub struct Collector {
    shared: Arc<Shared>,
    lookups: AtomicU64,
    hits: AtomicU64,
    body: Mutex<Option<CachedBody>>,
    stopping: CancellationToken,
}

/// The rendered families of all targets. They are reused until a target changes.
struct CachedBody {
    generation: u64,
    /// When the first data in the body become too old.
    until: Duration,
    body: Arc<Body>,
}

/// State that all refreshes share.
struct Shared {
    settings: Settings,
    clock: Arc<dyn Clock>,
    /// Increases with every change of what is shown.
    generation: AtomicU64,
    watch_list: Mutex<WatchList>,
    /// Whether the last scrape asked for the compressed form. If it did, refreshes compress what they have read.
    compresses: AtomicBool,
    /// Whether the log already says that every target has been read once.
    has_logged_first_round: AtomicBool,
}

impl Collector {
    /// Creates a collector for these patterns. `clients` must hold a client for each account and region in them.
    pub fn new(
        patterns: Vec<TargetPattern>,
        clients: &Clients,
        settings: Settings,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let shared = Shared {
            watch_list: Mutex::new(WatchList::new(settings.shard, settings.names)),
            settings,
            clock,
            generation: AtomicU64::new(0),
            compresses: AtomicBool::new(false),
            has_logged_first_round: AtomicBool::new(false),
        };
        let collector = Self {
            shared: Arc::new(shared),
            lookups: AtomicU64::new(0),
            hits: AtomicU64::new(0),
            body: Mutex::default(),
            stopping: CancellationToken::new(),
        };
        collector.set_targets(patterns, clients);
        collector
    }

    /// Replaces the patterns. Targets and lists that were watched before keep their data. A running refresh of a removed target
    /// or list has no effect.
    pub fn set_targets(&self, patterns: Vec<TargetPattern>, clients: &Clients) {
        let Shared { clock, settings, generation, has_logged_first_round, .. } = &*self.shared;
        let mut watch_list = self.shared.watch_list();
        watch_list.set_targets(patterns, clients, clock.elapsed());
        let watched = watch_list.watched();
        drop(watch_list);
        watched
            .region_clients
            .iter()
            .for_each(|region_client| region_client.warn_about_overload(settings.refresh_limits));
        has_logged_first_round.store(false, Ordering::Relaxed);
        generation.fetch_add(1, Ordering::Release);
    }

    /// Starts the refreshes that are due and waits for them for at most `wait`. A refresh continues when the wait ends or the
    /// caller stops waiting. With `gzip`, the refreshes also compress what they have read.
    pub async fn refresh(&self, wait: Duration, gzip: bool) {
        self.shared.compresses.store(gzip, Ordering::Relaxed);
        let watched = self.shared.watched();
        let mut start = Start::new(&self.shared);
        let lists: Vec<Completion> =
            watched.listings.iter().filter_map(|listing| start.list(listing).err()).collect();
        if lists.is_empty() && self.none_is_due(&watched) {
            return self.shared.start_name_lists(&watched);
        }
        let deadline = Instant::now() + wait;
        let refreshes = self.start_refreshes(&watched, &mut start);
        start.grant_free_permits();
        let started_by_lists = self.wait_for_lists(lists, deadline).await;
        // These lists start last, so they queue behind the targets that the discovery lists have named.
        self.shared.start_name_lists(&self.shared.watched());
        let Some(started_by_lists) = started_by_lists else { return };
        for mut refresh in refreshes.into_iter().chain(started_by_lists) {
            if self.until_deadline(deadline, end_of(&mut refresh)).await.is_none() {
                return;
            }
        }
    }

    /// Waits for lists, and for the lists that they name. Returns the refreshes that they started, or `None` after the
    /// deadline.
    async fn wait_for_lists(&self, mut lists: Vec<Completion>, deadline: Instant) -> Option<Vec<Completion>> {
        let mut refreshes = Vec::new();
        while let Some(mut list) = lists.pop() {
            let started = self.until_deadline(deadline, end_of(&mut list)).await?;
            lists.extend(started.lists);
            self.lookups.fetch_add(started.refreshes.len() as u64, Ordering::Relaxed);
            refreshes.extend(started.refreshes);
        }
        Some(refreshes)
    }

    /// Waits for an event. Returns `None` after the deadline or when the collector stops waiting.
    async fn until_deadline<T>(&self, deadline: Instant, event: impl Future<Output = T>) -> Option<T> {
        self.stopping.run_until_cancelled(timeout_at(deadline, event)).await?.ok()
    }

    /// Returns whether no target is due. If so, all targets count as cache hits without a lookup of each.
    fn none_is_due(&self, watched: &WatchedTargets) -> bool {
        let now = nanoseconds(self.shared.clock.elapsed());
        let none = now < watched.none_due_before.load(Ordering::Relaxed);
        if none {
            let targets = watched.entries.len() as u64;
            self.lookups.fetch_add(targets, Ordering::Relaxed);
            self.hits.fetch_add(targets, Ordering::Relaxed);
        }
        none
    }

    /// Starts the refreshes that are due. Returns all that are under way.
    fn start_refreshes(
        &self,
        WatchedTargets { entries, none_due_before, .. }: &WatchedTargets,
        start: &mut Start<'_>,
    ) -> Vec<Completion> {
        let mut completions = Vec::new();
        let mut next_due = Duration::MAX;
        for entry in entries {
            match start.refresh(entry) {
                Ok(until) => next_due = next_due.min(until),
                Err(completion) => completions.push(completion),
            }
        }
        if completions.is_empty() {
            // Later changes of the schedules can only move the next refresh further away.
            none_due_before.store(nanoseconds(next_due), Ordering::Relaxed);
        }
        self.lookups.fetch_add(entries.len() as u64, Ordering::Relaxed);
        self.hits.fetch_add((entries.len() - completions.len()) as u64, Ordering::Relaxed);
        completions
    }

    /// Returns the state of every target and list. It refreshes nothing.
    pub fn overview(&self) -> Overview {
        let Shared { clock, settings, .. } = &*self.shared;
        let (now, date) = (clock.elapsed(), Timestamp::from(clock.now()));
        let watched = self.shared.watched();
        let names = watched.known_names();
        let target = |entry: &Arc<TargetEntry>| {
            let Target { account_id, region, application_id, .. } = &entry.target;
            let names = names.get(&[account_id, region, application_id].map(String::as_str));
            entry.overview(now, settings.refresh_limits.max_staleness, names.cloned().unwrap_or_default())
        };
        let list = |listing: &Arc<CachedListing>| {
            let ListId { account_id, region, application_id } = &listing.list_id;
            let id = application_id.as_deref().unwrap_or_default();
            let names = names.get(&[account_id.as_str(), region, id]);
            listing.overview(names.and_then(|names| names.application.clone()))
        };
        Overview {
            now: date,
            lists: watched.listings.iter().map(list).collect(),
            targets: watched.entries.iter().map(target).collect(),
        }
    }

    /// Ends all waits for refreshes, and logs pending messages at once.
    pub fn stop_waiting(&self) {
        self.stopping.cancel();
        self.shared.watched().region_clients.iter().for_each(|region_client| region_client.close());
    }

    /// The number of target lookups so far, and how many of them neither started nor joined a refresh.
    pub fn lookups_and_hits(&self) -> (u64, u64) {
        // Hits are read first, so that a concurrent scrape cannot make them exceed the lookups.
        let hits = self.hits.load(Ordering::Relaxed);
        (self.lookups.load(Ordering::Relaxed), hits)
    }

    /// Returns the families of all targets as they are now. They are rendered only after a change.
    pub fn body(&self) -> Arc<Body> {
        let Shared { clock, settings, generation, .. } = &*self.shared;
        let mut kept = self.body.lock().unwrap_or_else(PoisonError::into_inner);
        let now = clock.elapsed();
        // The generation is read before the targets. The next scrape then sees a change that happens in between.
        let generation = generation.load(Ordering::Acquire);
        if let Some(kept) = &*kept
            && kept.generation == generation
            && now <= kept.until
        {
            return Arc::clone(&kept.body);
        }
        let watched = self.shared.watched();
        let (mut snapshots, mut statuses, mut until) = (Vec::new(), Vec::new(), Duration::MAX);
        for entry in &watched.entries {
            let view = entry.view(now, settings.refresh_limits.max_staleness);
            if view.dropped {
                let why = format!(
                    "they are older than MAX_STALENESS={}",
                    format_duration(settings.refresh_limits.max_staleness)
                );
                entry.region_client.note(Event::Dropped, &entry.target, why, SkippedParts::default());
            }
            snapshots.push(view.snapshot.map(|(block, end)| {
                until = until.min(end);
                block
            }));
            statuses.push(view.status);
        }
        watched.region_clients.iter().for_each(RegionClient::flush_if_idle);
        let names = watched.applications.iter().map(|application| {
            let entries = watched.entries.get(application.entries.clone()).unwrap_or_default();
            Some(application.block(entries, &settings.tag_labels))
        });
        let lists = watched.listings.iter().map(|listing| listing.view());
        let sections = [snapshots, statuses, names.collect(), lists.collect()];
        let body = Arc::new(exposition::body(&sections, kept.as_ref().map(|kept| &*kept.body)));
        *kept = Some(CachedBody { generation, until, body: Arc::clone(&body) });
        body
    }
}

/// Starts the readings that are due. Permits are handed out only after all of them have joined the queues, so that their order
/// counts.
struct Start<'a> {
    shared: &'a Arc<Shared>,
    now: Duration,
    region_clients: Vec<Arc<RegionClient>>,
}

enum ReadTask {
    List(Arc<CachedListing>),
    Refresh(Arc<TargetEntry>),
}

impl<'a> Start<'a> {
    fn new(shared: &'a Arc<Shared>) -> Self {
        Self { shared, now: shared.clock.elapsed(), region_clients: Vec::new() }
    }

    /// Starts reading a list if it is due. Returns how long the list is fresh, or the reading that is under way.
    fn list(&mut self, listing: &Arc<CachedListing>) -> Result<Duration, Completion> {
        match listing.look_up(self.now) {
            Lookup::Fresh(until) => Ok(until),
            Lookup::UnderWay(completion) => Err(completion),
            Lookup::Due(due) => {
                let turn = match listing.purpose {
                    Purpose::Discovery => Priority::list(due.since),
                    Purpose::Names => Priority::names(due.since),
                };
                Err(self.spawn(&listing.region_client, turn, due, ReadTask::List(Arc::clone(listing))))
            }
        }
    }

    /// Starts refreshing a target if it is due. Returns how long its data are fresh, or the refresh that is under way.
    fn refresh(&mut self, entry: &Arc<TargetEntry>) -> Result<Duration, Completion> {
        match entry.look_up(self.now) {
            Lookup::Fresh(until) => Ok(until),
            Lookup::UnderWay(completion) => Err(completion),
            Lookup::Due(due) => {
                let turn = Priority::target(due.since);
                Err(self.spawn(&entry.region_client, turn, due, ReadTask::Refresh(Arc::clone(entry))))
            }
        }
    }

    fn spawn(
        &mut self,
        region_client: &Arc<RegionClient>,
        turn: Priority,
        due: Due,
        work: ReadTask,
    ) -> Completion {
        let Due { has_failed, guard, completion, .. } = due;
        let turn = if has_failed { turn.after_failure(self.now) } else { turn };
        let mut permit = region_client.client.join(turn);
        let (shared, under_way) = (Arc::clone(self.shared), region_client.begin());
        tokio::spawn(async move {
            permit.granted().await;
            // The future is created only after the permit is granted, so a waiting task takes little memory.
            Box::pin(shared.work(work, permit, &guard)).await;
            // `guard` is dropped last, so the log is complete before others see that the reading has ended.
            if under_way.end() {
                shared.log_first_round();
            }
            drop(guard);
        });
        if !self.region_clients.last().is_some_and(|last| Arc::ptr_eq(last, region_client)) {
            self.region_clients.push(Arc::clone(region_client));
        }
        completion
    }

    fn grant_free_permits(self) {
        for region_client in self.region_clients {
            region_client.client.grant_free_permits();
        }
    }
}

impl Shared {
    fn watch_list(&self) -> MutexGuard<'_, WatchList> {
        self.watch_list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watched(&self) -> Arc<WatchedTargets> {
        self.watch_list().watched()
    }

    /// Starts reading the due lists that are read only for their names. No scrape waits for them.
    fn start_name_lists(self: &Arc<Self>, watched: &WatchedTargets) {
        if watched.name_lists.is_empty() {
            return;
        }
        let mut start = Start::new(self);
        for list in &watched.name_lists {
            _ = start.list(list);
        }
        start.grant_free_permits();
    }

    async fn work(self: &Arc<Self>, work: ReadTask, permit: Permit, guard: &RefreshGuard) {
        match work {
            ReadTask::List(listing) if !listing.is_removed() => self.list(&listing, permit, guard).await,
            ReadTask::Refresh(entry) if !entry.is_removed() => self.refresh(&entry, permit).await,
            ReadTask::List(_) | ReadTask::Refresh(_) => {}
        }
    }

    /// Reads a list, and starts reading the new lists and targets that it names.
    async fn list(self: &Arc<Self>, listing: &Arc<CachedListing>, permit: Permit, guard: &RefreshGuard) {
        let region_client = &listing.region_client;
        let (started, began) = (self.clock.elapsed(), Timestamp::from(self.clock.now()));
        let read = catch_panic(match &listing.list_id.application_id {
            Some(application) => region_client.client.segments(application, permit).boxed(),
            None => region_client.client.applications(permit).boxed(),
        });
        let is_discovery = listing.purpose == Purpose::Discovery;
        // The new targets are watched before the list counts as fresh. A scrape that finds the list fresh then also finds them.
        let read = read.await.map(|(resources, left_out)| {
            let found = resources.len();
            listing.learn(resources);
            let is_flawed = left_out != SkippedParts::default();
            if !listing.swap_flawed(is_flawed) && is_flawed {
                region_client.note(Event::ListFlawed, &listing.name(), String::new(), left_out);
            }
            if is_discovery {
                guard.send_replace(self.start_what_is_new(listing));
            }
            found
        });
        if listing.is_removed() {
            return;
        }
        let ttl = if read.is_err() && is_discovery {
            self.settings.refresh_limits.cache_ttl
        } else {
            self.settings.discovery_ttl
        };
        let took = self.clock.elapsed().saturating_sub(started);
        let error = read.as_ref().err().map(CallError::from);
        let reading = LastRead { began, took, next: began.after(ttl), error };
        let before = listing.finish(reading, started + ttl);
        self.generation.fetch_add(1, Ordering::Release);
        let list = listing.name();
        match read {
            Ok(found) => {
                tracing::debug!(list, found, "the list was read");
                if before.is_some() {
                    let event = if is_discovery { Event::ListRecovered } else { Event::NamesRecovered };
                    region_client.note(event, &list, String::new(), SkippedParts::default());
                }
            }
            Err(ReadError::Api(error)) => {
                tracing::debug!(list, "the list was not read: {error}: {}", error.failure);
                let exception = error.failure.exception;
                if before != Some(exception) {
                    let detail = format!("{error}: {}", error.failure);
                    let event = if is_discovery { Event::ListFailed } else { Event::NamesFailed };
                    region_client.note(event(exception.name()), &list, detail, SkippedParts::default());
                }
            }
            Err(ReadError::Crash) => tracing::error!("the listing crashed, which is a bug: please report it"),
        }
    }

    /// Starts reading the lists and targets that a list has just added. They start in the same round, whether or not a scrape
    /// still waits for them.
    fn start_what_is_new(self: &Arc<Self>, listing: &Arc<CachedListing>) -> Started {
        let change = self.watch_list().learn(listing, self.clock.elapsed());
        listing.region_client.warn_about_overload(self.settings.refresh_limits);
        let mut start = Start::new(self);
        let lists = change.new_lists.iter().filter_map(|list| start.list(list).err()).collect();
        let refreshes = change.new_targets.iter().filter_map(|entry| start.refresh(entry).err()).collect();
        start.grant_free_permits();
        Started { lists, refreshes }
    }

    async fn refresh(&self, entry: &TargetEntry, permit: Permit) {
        let (started, date) = (self.clock.elapsed(), Timestamp::from(self.clock.now()));
        let read = catch_panic(self.read(entry, date, permit).boxed()).await;
        if entry.is_removed() {
            return;
        }
        let took = self.clock.elapsed().saturating_sub(started);
        let flawed = read.as_ref().is_ok_and(|(_, left_out)| *left_out != SkippedParts::default());
        let result = read.as_ref().map(|(read, _)| read.clone()).map_err(CallError::from);
        let outcome = Outcome { started, date, took, result, flawed };
        let before = entry.finish(outcome, self.settings.refresh_limits.cache_ttl);
        self.generation.fetch_add(1, Ordering::Release);
        report(entry, read.map(|(_, left_out)| left_out), before, took);
    }

    /// Logs how many targets could be read, once after each of them has been read.
    fn log_first_round(&self) {
        if self.has_logged_first_round.load(Ordering::Relaxed) {
            return;
        }
        let watched = self.watched();
        let is_complete = watched.region_clients.iter().all(|region_client| region_client.is_idle())
            && watched.listings.iter().all(|listing| listing.resources().is_some());
        let are_up: Option<Vec<bool>> =
            is_complete.then(|| watched.entries.iter().map(|entry| entry.is_up()).collect()).flatten();
        if let Some(are_up) = are_up
            && !self.has_logged_first_round.swap(true, Ordering::Relaxed)
        {
            let (targets, up) = (are_up.len(), are_up.iter().filter(|is_up| **is_up).count());
            tracing::info!(targets, up, "read {up} of {targets} targets");
        }
    }

    async fn read(
        &self,
        entry: &TargetEntry,
        date: Timestamp,
        permit: Permit,
    ) -> Result<(Shown, SkippedParts), Error> {
        let TargetEntry { target, region_client, .. } = entry;
        let mut builder =
            SnapshotBuilder::begin(self.settings.finished_job_limits, date, target.segment_id.as_deref());
        let mut sink = |job| builder.add([job]);
        let read = match &target.segment_id {
            Some(segment) => {
                region_client
                    .client
                    .segment_export_jobs(&target.application_id, segment, permit, &mut sink)
                    .await
            }
            None => region_client.client.export_jobs(&target.application_id, permit, &mut sink).await,
        }?;
        if self.watch_list().learn_requests(entry, read.pages) {
            region_client.warn_about_overload(self.settings.refresh_limits);
        }
        let snapshot = builder.finish();
        // The request has ended and freed its permit. The yield lets the next request be sent before this task compresses.
        yield_now().await;
        // Most refreshes find nothing new. Compressing a block is most of the cost of a refresh, so an equal snapshot
        // keeps its block.
        let unchanged = entry.shown().filter(|shown| *shown.snapshot == snapshot);
        let shown = unchanged.unwrap_or_else(|| {
            let snapshot = Arc::new(snapshot);
            let block = block::snapshot(target, &snapshot, self.settings.status_series);
            Shown { snapshot, block }
        });
        if self.compresses.load(Ordering::Relaxed) {
            shown.block.compress_ahead();
        }
        Ok((shown, read.left_out))
    }
}

enum ReadError {
    /// The API or the connection to it failed.
    Api(Error),
    /// The reading panicked, which is a bug of the exporter.
    Crash,
}

impl From<&ReadError> for CallError {
    fn from(last_error: &ReadError) -> Self {
        match last_error {
            ReadError::Api(error) => error.into(),
            ReadError::Crash => Self {
                exception: Exception::Other,
                message: "the exporter crashed over it, which is a bug: please report it".to_owned(),
                request_id: None,
            },
        }
    }
}

/// Awaits a reading and turns a panic into an error.
async fn catch_panic<T>(read: BoxFuture<'_, Result<T, Error>>) -> Result<T, ReadError> {
    match AssertUnwindSafe(read).catch_unwind().await {
        Ok(result) => result.map_err(ReadError::Api),
        Err(_panic) => Err(ReadError::Crash),
    }
}

/// Records for the log that a target has failed or recovered, and logs every refresh at debug level.
fn report(
    TargetEntry { target, region_client, .. }: &TargetEntry,
    read: Result<SkippedParts, ReadError>,
    before: Health,
    took: Duration,
) {
    let seconds = took.as_secs_f64();
    match read {
        Ok(left_out) => {
            let SkippedParts { items, members } = left_out;
            tracing::debug!(
                pinpoint_target = %target,
                seconds,
                items_left_out = items,
                members_left_out = members,
                "refreshed"
            );
            if before.failure.is_some() || before.dropped {
                region_client.note(Event::Recovered, target, String::new(), SkippedParts::default());
            }
            if left_out != SkippedParts::default() && !before.flawed {
                region_client.note(Event::Flawed, target, String::new(), left_out);
            }
        }
        Err(ReadError::Api(error)) => {
            tracing::debug!(pinpoint_target = %target, seconds, "not refreshed: {error}: {}", error.failure);
            let exception = error.failure.exception;
            if before.failure != Some(exception) {
                let detail = format!("{error}: {}", error.failure);
                region_client.note(Event::Failed(exception.name()), target, detail, SkippedParts::default());
            }
        }
        Err(ReadError::Crash) => {
            tracing::error!(pinpoint_target = %target, "the refresh crashed, which is a bug: please report it");
        }
    }
}
