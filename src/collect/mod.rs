//! The cached picture of every target: refreshed when a scrape finds it old, once however many scrapes wait, and shown until
//! it is too old. Nothing is refreshed without a scrape.

mod cell;
mod directory;
mod lane;
mod schedule;

use std::{
    collections::BTreeMap,
    panic::AssertUnwindSafe,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use futures_util::{
    FutureExt as _,
    future::{BoxFuture, select_all},
};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use self::{
    cell::{Cell, Health, Outcome, Shown},
    directory::Directory,
    lane::{Lane, Place, Work},
    schedule::{Flight, Landing, Lookup, is_under_way},
};
use crate::{
    accounts::Clients,
    clock::Clock,
    config::StatusSeries,
    discovery,
    job::Timestamp,
    metrics::exposition::{self, Body},
    overview::{CallError, Overview, Reading},
    pace::Pace,
    picture::{Bounds, Collage},
    pinpoint::{Client, Error, Exception, LeftOut},
    shard::Shard,
    target::{Target, TargetPattern},
};

/// How targets are kept.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How often, at most, and how fast: a result younger than `CACHE_TTL` is not refreshed, and data older than
    /// `MAX_STALENESS` are not shown.
    pub pace: Pace,
    /// The most listings under way at once, in each account and region.
    pub listings_under_way: usize,
    /// The part of the targets that is kept.
    pub shard: Shard,
    /// A good list of applications or segments younger than this is not read again.
    pub discovery_ttl: Duration,
    /// Which finished jobs are shown.
    pub bounds: Bounds,
    /// How state sets are shown.
    pub status_series: StatusSeries,
    /// Whether the messages about failed endpoints are kept.
    pub keep_failures: bool,
}

/// The targets and what is known of them.
pub struct Collector {
    shared: Arc<Shared>,
    lookups: AtomicU64,
    hits: AtomicU64,
    body: Mutex<Option<Kept>>,
    stopping: CancellationToken,
}

/// The bytes of all targets, as long as none of them changes.
struct Kept {
    generation: u64,
    /// When data in it will be too old.
    until: Duration,
    body: Arc<Body>,
}

/// What refreshes share.
struct Shared {
    settings: Settings,
    clock: Arc<dyn Clock>,
    /// Grows with every change of what is shown.
    generation: AtomicU64,
    watch: Mutex<Watch>,
}

/// What is to be watched, and what is.
#[derive(Default)]
struct Watch {
    patterns: Vec<TargetPattern>,
    lanes: BTreeMap<(String, String), Arc<Lane>>,
    watched: Arc<Watched>,
}

/// What is watched at a time: both in their order.
#[derive(Default)]
struct Watched {
    directories: Vec<Arc<Directory>>,
    cells: Vec<Arc<Cell>>,
    /// None of the cells is due before this, in nanoseconds of the clock that never goes back.
    none_due_before: AtomicU64,
}

/// What a scrape has looked up, each thing once: by address, and held, for no other to get the same address meanwhile.
#[derive(Default)]
struct LookedUp {
    directories: BTreeMap<usize, Arc<Directory>>,
    cells: BTreeMap<usize, Arc<Cell>>,
}

fn first_time<T>(looked_up: &mut BTreeMap<usize, Arc<T>>, thing: &Arc<T>) -> bool {
    looked_up.insert(Arc::as_ptr(thing).addr(), Arc::clone(thing)).is_none()
}

impl Collector {
    /// A collector of what these patterns name. `clients` holds one for each account and region in them.
    pub fn new(
        patterns: Vec<TargetPattern>,
        clients: &Clients,
        settings: Settings,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let shared = Shared { settings, clock, generation: AtomicU64::new(0), watch: Mutex::default() };
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

    /// Replaces the patterns. What they name and was watched before keeps what is known of it.
    pub fn set_targets(&self, patterns: Vec<TargetPattern>, clients: &Clients) {
        let mut watch = self.shared.watch();
        let kept = |place: &(String, String), client: &Arc<Client>| {
            watch.lanes.get(place).filter(|lane| Arc::ptr_eq(&lane.client, client)).cloned()
        };
        let new = |client: &Arc<Client>| {
            Arc::new(Lane::new(Arc::clone(client), self.shared.settings.listings_under_way))
        };
        let lane = |(place, client): (&(String, String), &Arc<Client>)| {
            (place.clone(), kept(place, client).unwrap_or_else(|| new(client)))
        };
        watch.lanes = clients.iter().map(lane).collect();
        watch.patterns = patterns;
        self.shared.rewatch(&mut watch);
        drop(watch);
        self.shared.generation.fetch_add(1, Ordering::Release);
    }

    /// Refreshes what is due and waits for it, at most as long as `wait`. What is not ready by then goes on, and so does all
    /// of it if the caller stops waiting.
    pub async fn refresh(&self, wait: Duration) {
        let deadline = Instant::now() + wait;
        let (mut lists, mut landings) = (Vec::new(), Vec::new());
        let mut looked_up = LookedUp::default();
        loop {
            let watched = self.shared.watched();
            lists.extend(self.start_listings(&watched.directories, &mut looked_up));
            lists.retain(is_under_way);
            if lists.is_empty() && looked_up.cells.is_empty() && self.none_is_due(&watched) {
                return;
            }
            landings.extend(self.start_refreshes(&watched, &mut looked_up));
            if lists.is_empty() {
                // A list that arrived just now may have changed what is watched.
                if Arc::ptr_eq(&watched, &self.shared.watched()) {
                    break;
                }
                continue;
            }
            // Each list that arrives may name further targets and lists.
            let arrivals = lists.iter_mut().map(|list| list.changed().boxed());
            if self.out_of_time(deadline, select_all(arrivals)).await {
                return;
            }
        }
        for mut landing in landings {
            if self.out_of_time(deadline, landing.changed()).await {
                return;
            }
        }
    }

    /// Waits for an event, whatever it is, unless the time is up before.
    async fn out_of_time(&self, deadline: Instant, event: impl Future) -> bool {
        self.stopping
            .run_until_cancelled(timeout_at(deadline, event))
            .await
            .is_none_or(|event| event.is_err())
    }

    /// Starts the listings that are due, of those that this scrape has not looked up yet.
    fn start_listings(&self, directories: &[Arc<Directory>], looked_up: &mut LookedUp) -> Vec<Landing> {
        let now = self.shared.clock.elapsed();
        let mut places = Vec::new();
        let start = |directory: &Arc<Directory>| match directory.look_up(now) {
            Lookup::Fresh(_) => None,
            Lookup::UnderWay(landing) => Some(landing),
            Lookup::Due(since, flight, landing) => {
                places.extend(directory.lane.enter(since, Work::List(Arc::clone(directory), flight)));
                Some(landing)
            }
        };
        let new = directories.iter().filter(|directory| first_time(&mut looked_up.directories, directory));
        let landings = new.filter_map(start).collect();
        self.fill(places);
        landings
    }

    /// Begins work at these places, after everything that is due has entered: for the order in which it waits to count.
    fn fill(&self, places: Vec<Place>) {
        for place in places {
            tokio::spawn(Arc::clone(&self.shared).work(place));
        }
    }

    /// Whether a look at each target can be spared; they count as looked up then.
    fn none_is_due(&self, watched: &Watched) -> bool {
        let now = nanoseconds(self.shared.clock.elapsed());
        let none = now < watched.none_due_before.load(Ordering::Relaxed);
        if none {
            let targets = watched.cells.len() as u64;
            self.lookups.fetch_add(targets, Ordering::Relaxed);
            self.hits.fetch_add(targets, Ordering::Relaxed);
        }
        none
    }

    /// Starts the refreshes that are due, of those targets that this scrape has not looked up yet.
    fn start_refreshes(&self, watched: &Watched, looked_up: &mut LookedUp) -> Vec<Landing> {
        let Watched { cells, none_due_before, .. } = watched;
        let now = self.shared.clock.elapsed();
        let (mut landings, mut places) = (Vec::new(), Vec::new());
        let (mut next_due, mut hits, mut lookups) = (Duration::MAX, 0, 0);
        for cell in cells {
            if !first_time(&mut looked_up.cells, cell) {
                continue;
            }
            lookups += 1;
            match cell.look_up(now) {
                Lookup::Fresh(until) => {
                    hits += 1;
                    next_due = next_due.min(until);
                }
                Lookup::UnderWay(landing) => landings.push(landing),
                Lookup::Due(since, flight, landing) => {
                    places.extend(cell.lane.enter(since, Work::Refresh(Arc::clone(cell), flight)));
                    landings.push(landing);
                }
            }
        }
        self.fill(places);
        if hits == cells.len() as u64 {
            // Refreshes only ever start later than those that are known.
            none_due_before.store(nanoseconds(next_due), Ordering::Relaxed);
        }
        self.lookups.fetch_add(lookups, Ordering::Relaxed);
        self.hits.fetch_add(hits, Ordering::Relaxed);
        landings
    }

    /// What is known of everything. It refreshes nothing.
    pub fn overview(&self) -> Overview {
        let Shared { clock, settings, .. } = &*self.shared;
        let (now, date) = (clock.elapsed(), timestamp(clock.now()));
        let watched = self.shared.watched();
        let target = |cell: &Arc<Cell>| cell.overview(now, settings.pace.max_staleness);
        Overview {
            now: date,
            lists: watched.directories.iter().map(|directory| directory.overview()).collect(),
            targets: watched.cells.iter().map(target).collect(),
        }
    }

    /// From now on nobody waits for a refresh.
    pub fn stop_waiting(&self) {
        self.stopping.cancel();
    }

    /// Lookups of targets so far, and those that neither started nor joined a refresh.
    pub fn lookups_and_hits(&self) -> (u64, u64) {
        // In this order, for a scrape in between not to make more hits than lookups.
        let hits = self.hits.load(Ordering::Relaxed);
        (self.lookups.load(Ordering::Relaxed), hits)
    }

    /// The families of all targets as they are now. Put together anew only after a change.
    pub fn body(&self) -> Arc<Body> {
        let Shared { clock, settings, generation, .. } = &*self.shared;
        let mut kept = self.body.lock().unwrap_or_else(PoisonError::into_inner);
        let now = clock.elapsed();
        // Read before the targets are: a change in between is seen next time.
        let generation = generation.load(Ordering::Acquire);
        if let Some(kept) = &*kept
            && kept.generation == generation
            && now <= kept.until
        {
            return Arc::clone(&kept.body);
        }
        let watched = self.shared.watched();
        let (mut blocks, mut until) = (Vec::new(), Duration::MAX);
        for cell in &watched.cells {
            let view = cell.view(now, settings.pace.max_staleness);
            if let Some((block, end)) = view.picture {
                blocks.push(block);
                until = until.min(end);
            }
            blocks.extend(view.status);
        }
        blocks.extend(watched.directories.iter().filter_map(|directory| directory.view()));
        let body = Arc::new(exposition::body(blocks.iter()));
        *kept = Some(Kept { generation, until, body: Arc::clone(&body) });
        body
    }
}

impl Shared {
    fn watch(&self) -> MutexGuard<'_, Watch> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watched(&self) -> Arc<Watched> {
        Arc::clone(&self.watch().watched)
    }

    /// Works out anew what is watched. What was watched before and still is keeps what is known of it; what is not any more
    /// loses it at once.
    fn rewatch(&self, watch: &mut Watch) {
        let Watch { patterns, lanes, watched } = watch;
        let mut directories: BTreeMap<_, _> =
            watched.directories.iter().map(|it| (it.catalog.clone(), Arc::clone(it))).collect();
        let mut cells: BTreeMap<_, _> =
            watched.cells.iter().map(|it| (it.target.clone(), Arc::clone(it))).collect();
        let wanted =
            discovery::wanted(patterns, self.settings.shard, |catalog| directories.get(catalog)?.ids());
        let now = self.clock.elapsed();
        let lane = |account: &str, region: &str| lanes.get(&(account.to_owned(), region.to_owned()));
        let directories = wanted.catalogs.into_iter().filter_map(|catalog| {
            let lane = lane(&catalog.account_id, &catalog.region)?;
            let new = || Arc::new(Directory::new(catalog.clone(), Arc::clone(lane), now));
            Some(directories.remove(&catalog).unwrap_or_else(new))
        });
        let directories = directories.collect();
        let new_cells = wanted.targets.into_iter().filter_map(|target| {
            let lane = lane(&target.account_id, &target.region)?;
            let new = || Arc::new(Cell::new(target.clone(), Arc::clone(lane), now));
            Some(cells.remove(&target).unwrap_or_else(new))
        });
        let new_cells = new_cells.collect();
        for removed in cells.values() {
            removed.remove();
        }
        *watched = Arc::new(Watched { directories, cells: new_cells, none_due_before: AtomicU64::new(0) });
        for ((account_id, region), lane) in lanes {
            self.judge_pace(watched, account_id, region, lane);
        }
    }

    /// Logs that `CACHE_TTL` cannot be held for the targets of a lane, or that it can again: once for each change.
    fn judge_pace(&self, watched: &Watched, account_id: &str, region: &str, lane: &Arc<Lane>) {
        let cells = watched.cells.iter().filter(|cell| Arc::ptr_eq(&cell.lane, lane));
        let overload = self.settings.pace.overload(cells.map(|cell| u64::from(cell.requests())).sum());
        let before = lane.swap_overload(overload.is_some());
        match overload {
            Some(overload) if !before => tracing::warn!(account_id, region, "{overload}"),
            None if before => tracing::info!(account_id, region, "CACHE_TTL can be held again"),
            _ => {}
        }
    }

    /// Takes up what waits, until nothing does.
    async fn work(self: Arc<Self>, mut place: Place) {
        while let Some(work) = place.next() {
            match work {
                Work::List(directory, flight) => self.list(&directory, flight).await,
                Work::Refresh(cell, flight) => self.refresh(&cell, flight).await,
            }
        }
    }

    /// Reads a list. `_flight` is dropped at the end, which those that wait for it see.
    async fn list(&self, directory: &Directory, _flight: Flight) {
        let (started, began) = (self.clock.elapsed(), timestamp(self.clock.now()));
        let read = caught(match &directory.catalog.application_id {
            Some(application) => directory.lane.client.segment_ids(application).boxed(),
            None => directory.lane.client.application_ids().boxed(),
        });
        // In this order: who finds the list fresh finds what it names watched.
        let read = read.await.map(|ids| {
            let found = ids.len();
            directory.learn(ids);
            self.rewatch(&mut self.watch());
            found
        });
        let ttl = if read.is_ok() { self.settings.discovery_ttl } else { self.settings.pace.cache_ttl };
        let took = self.clock.elapsed().saturating_sub(started);
        let error = read.as_ref().err().map(CallError::from);
        let reading = Reading { began, took, next: began.after(ttl), error };
        let before = directory.finish(reading, started + ttl);
        self.generation.fetch_add(1, Ordering::Release);
        match read {
            Ok(found) if before.is_some() => tracing::info!(found, "targets are found again"),
            Ok(found) => tracing::debug!(found, "targets are found"),
            Err(Trouble::Api(error)) if before == Some(error.failure.exception) => {
                tracing::debug!("still no targets found: {error}: {}", error.failure);
            }
            Err(Trouble::Api(error)) => {
                tracing::warn!("no targets found, the last good list stays: {error}: {}", error.failure);
            }
            Err(Trouble::Crash) => tracing::error!("the listing crashed, which is a bug: please report it"),
        }
    }

    /// Refreshes a target. `_flight` is dropped at the end, which those that wait for it see.
    async fn refresh(&self, cell: &Cell, _flight: Flight) {
        if cell.is_removed() {
            return;
        }
        let (started, date) = (self.clock.elapsed(), timestamp(self.clock.now()));
        let read = caught(self.read(cell, date).boxed()).await;
        if cell.is_removed() {
            return;
        }
        let took = self.clock.elapsed().saturating_sub(started);
        let flawed = read.as_ref().is_ok_and(|(_, left_out)| *left_out != LeftOut::default());
        let result = read.as_ref().map(|(read, _)| read.clone()).map_err(CallError::from);
        let outcome = Outcome { started, date, took, result, flawed };
        let before = cell.finish(outcome, self.settings.pace.cache_ttl);
        self.generation.fetch_add(1, Ordering::Release);
        report(&cell.target, read.map(|(_, left_out)| left_out), before, took);
    }

    async fn read(&self, cell: &Cell, date: Timestamp) -> Result<(Shown, LeftOut), Error> {
        let Cell { target, lane, .. } = cell;
        let mut collage = Collage::begin(self.settings.bounds, date, target.segment_id.as_deref())
            .keeping_failures(self.settings.keep_failures);
        let mut pages = 0;
        let mut sink = |jobs| {
            pages += 1;
            collage.add(jobs);
        };
        let left_out = match &target.segment_id {
            Some(segment) => {
                lane.client.segment_export_jobs(&target.application_id, segment, &mut sink).await
            }
            None => lane.client.export_jobs(&target.application_id, &mut sink).await,
        }?;
        if cell.learn_requests(pages) {
            self.judge_pace(&self.watched(), &target.account_id, &target.region, lane);
        }
        let picture = collage.finish();
        // Most refreshes find nothing new, and writing and compressing it is most of what one costs.
        let unchanged = cell.shown().filter(|shown| *shown.picture == picture);
        let shown = unchanged.unwrap_or_else(|| {
            let block = exposition::picture(target, &picture, self.settings.status_series);
            Shown { picture: Arc::new(picture), block }
        });
        Ok((shown, left_out))
    }
}

/// Why something was not read.
enum Trouble {
    /// The API, or the way to it.
    Api(Error),
    /// A bug of ours.
    Crash,
}

impl From<&Trouble> for CallError {
    fn from(trouble: &Trouble) -> Self {
        match trouble {
            Trouble::Api(error) => error.into(),
            Trouble::Crash => Self {
                exception: Exception::Other,
                message: "the exporter crashed over it, which is a bug: please report it".to_owned(),
                request_id: None,
            },
        }
    }
}

/// Reads, and does not let a crash get further.
async fn caught<T>(read: BoxFuture<'_, Result<T, Error>>) -> Result<T, Trouble> {
    match AssertUnwindSafe(read).catch_unwind().await {
        Ok(result) => result.map_err(Trouble::Api),
        Err(_panic) => Err(Trouble::Crash),
    }
}

/// Logs a change for the worse or the better once, and every refresh at debug level.
fn report(target: &Target, read: Result<LeftOut, Trouble>, before: Health, took: Duration) {
    let seconds = took.as_secs_f64();
    match read {
        Ok(LeftOut { items, members }) => {
            tracing::debug!(
                pinpoint_target = %target,
                seconds,
                items_left_out = items,
                members_left_out = members,
                "refreshed"
            );
            if before.failure.is_some() {
                tracing::info!(pinpoint_target = %target, "the target is up again");
            }
            if (items > 0 || members > 0) && !before.flawed {
                tracing::warn!(
                    pinpoint_target = %target,
                    items_left_out = items,
                    members_left_out = members,
                    "parts of the listing could not be understood and are left out"
                );
            }
        }
        Err(Trouble::Api(error)) if before.failure == Some(error.failure.exception) => {
            tracing::debug!(pinpoint_target = %target, seconds, "still not refreshed: {error}: {}", error.failure);
        }
        Err(Trouble::Api(error)) => {
            tracing::warn!(pinpoint_target = %target, seconds, "not refreshed: {error}: {}", error.failure);
        }
        Err(Trouble::Crash) => {
            tracing::error!(pinpoint_target = %target, "the refresh crashed, which is a bug: please report it");
        }
    }
}

fn timestamp(date: SystemTime) -> Timestamp {
    let since = |d: Duration| i64::try_from(d.as_millis()).unwrap_or(i64::MAX);
    Timestamp(match date.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => since(after),
        Err(before) => -since(before.duration()),
    })
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
