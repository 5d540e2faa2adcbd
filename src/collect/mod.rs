//! The cached picture of every target: refreshed when a scrape finds it old, once however many scrapes wait, and shown until
//! it is too old. Nothing is refreshed without a scrape.

mod cell;

use std::{
    panic::AssertUnwindSafe,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use futures_util::FutureExt as _;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use self::cell::{Cell, Flight, Health, Landing, Lookup, Outcome};
use crate::{
    clock::Clock,
    config::StatusSeries,
    job::Timestamp,
    metrics::exposition::{self, Block, Body},
    picture::{Bounds, Collage},
    pinpoint::{Client, Error, Exception, LeftOut},
    target::Target,
};

/// How targets are kept.
#[derive(Debug, Clone)]
pub struct Settings {
    /// A result younger than this is not refreshed.
    pub cache_ttl: Duration,
    /// Data older than this are not shown.
    pub max_staleness: Duration,
    /// Which finished jobs are shown.
    pub bounds: Bounds,
    /// How state sets are shown.
    pub status_series: StatusSeries,
}

/// The targets and what is known of them.
pub struct Collector {
    cells: Vec<Arc<Cell>>,
    refresher: Arc<Refresher>,
    /// No target is due before this, in nanoseconds of the clock that never goes back.
    none_due_before: AtomicU64,
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

/// What refreshes of targets share.
struct Refresher {
    client: Client,
    settings: Settings,
    clock: Arc<dyn Clock>,
    /// Grows with every refresh that ended.
    generation: AtomicU64,
}

impl Collector {
    /// A collector of these targets, all of them read by `client`.
    pub fn new(targets: Vec<Target>, client: Client, settings: Settings, clock: Arc<dyn Clock>) -> Self {
        Self {
            cells: targets.into_iter().map(|target| Arc::new(Cell::new(target))).collect(),
            refresher: Arc::new(Refresher { client, settings, clock, generation: AtomicU64::new(0) }),
            none_due_before: AtomicU64::new(0),
            lookups: AtomicU64::new(0),
            hits: AtomicU64::new(0),
            body: Mutex::default(),
            stopping: CancellationToken::new(),
        }
    }

    /// Looks for credentials, for the first scrape to find them at hand.
    pub async fn look_for_credentials(&self) {
        if let Err(failure) = self.refresher.client.look_for_credentials().await {
            tracing::warn!("no credentials yet: {failure}");
        }
    }

    /// Refreshes what is due and waits for it, at most as long as `wait`. What is not ready by then goes on, and so does all
    /// of it if the caller stops waiting.
    pub async fn refresh(&self, wait: Duration) {
        let deadline = Instant::now() + wait;
        let landings = self.start_refreshes();
        for mut landing in landings {
            // Ends with an error, since nothing is ever sent.
            let landed = timeout_at(deadline, landing.changed());
            let waited_long_enough =
                self.stopping.run_until_cancelled(landed).await.is_none_or(|l| l.is_err());
            if waited_long_enough {
                break;
            }
        }
    }

    fn start_refreshes(&self) -> Vec<Landing> {
        let targets = self.cells.len() as u64;
        self.lookups.fetch_add(targets, Ordering::Relaxed);
        let Refresher { clock, settings, .. } = &*self.refresher;
        let now = clock.elapsed();
        if nanoseconds(now) < self.none_due_before.load(Ordering::Relaxed) {
            self.hits.fetch_add(targets, Ordering::Relaxed);
            return Vec::new();
        }
        let mut landings = Vec::new();
        let mut next_due = Duration::MAX;
        for cell in &self.cells {
            match cell.look_up(now, settings.cache_ttl) {
                Lookup::Fresh(until) => next_due = next_due.min(until),
                Lookup::UnderWay(landing) => landings.push(landing),
                Lookup::Due(flight, landing) => {
                    tokio::spawn(Arc::clone(&self.refresher).refresh(Arc::clone(cell), flight));
                    landings.push(landing);
                }
            }
        }
        if landings.is_empty() {
            // Refreshes only ever start later than those that are known.
            self.none_due_before.store(nanoseconds(next_due), Ordering::Relaxed);
        }
        self.hits.fetch_add(targets - landings.len() as u64, Ordering::Relaxed);
        landings
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
        let Refresher { clock, settings, generation, .. } = &*self.refresher;
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
        let (mut blocks, mut until) = (Vec::new(), Duration::MAX);
        for cell in &self.cells {
            let view = cell.view(now, settings.max_staleness);
            if let Some((block, end)) = view.picture {
                blocks.push(block);
                until = until.min(end);
            }
            blocks.extend(view.status);
        }
        let body = Arc::new(exposition::body(blocks.iter()));
        *kept = Some(Kept { generation, until, body: Arc::clone(&body) });
        body
    }
}

impl Refresher {
    /// Refreshes a target. `_flight` is dropped at the end, which those that wait for it see.
    async fn refresh(self: Arc<Self>, cell: Arc<Cell>, _flight: Flight) {
        let (started, date) = (self.clock.elapsed(), timestamp(self.clock.now()));
        let read = AssertUnwindSafe(self.read(&cell.target, date)).catch_unwind().await;
        let took = self.clock.elapsed().saturating_sub(started);
        let (result, flawed) = match &read {
            Ok(Ok((block, left_out))) => (Ok(block.clone()), *left_out != LeftOut::default()),
            Ok(Err(error)) => (Err(error.failure.exception), false),
            Err(_panic) => (Err(Exception::Other), false),
        };
        let before = cell.finish(Outcome { started, date, took, result, flawed });
        self.generation.fetch_add(1, Ordering::Release);
        report(&cell.target, &read, before, took);
    }

    async fn read(&self, target: &Target, date: Timestamp) -> Result<(Block, LeftOut), Error> {
        let mut collage = Collage::begin(self.settings.bounds, date, target.segment_id.as_deref());
        let mut sink = |jobs| collage.add(jobs);
        let left_out = match &target.segment_id {
            Some(segment) => {
                self.client.segment_export_jobs(&target.application_id, segment, &mut sink).await
            }
            None => self.client.export_jobs(&target.application_id, &mut sink).await,
        }?;
        Ok((exposition::picture(target, &collage.finish(), self.settings.status_series), left_out))
    }
}

/// Logs a change for the worse or the better once, and every refresh at debug level.
fn report(
    target: &Target,
    read: &std::thread::Result<Result<(Block, LeftOut), Error>>,
    before: Health,
    took: Duration,
) {
    let seconds = took.as_secs_f64();
    match read {
        Ok(Ok((_, LeftOut { items, members }))) => {
            tracing::debug!(pinpoint_target = %target, seconds, items_left_out = items, members_left_out = members, "refreshed");
            if before.failure.is_some() {
                tracing::info!(pinpoint_target = %target, "the target is up again");
            }
            if (*items > 0 || *members > 0) && !before.flawed {
                tracing::warn!(
                    pinpoint_target = %target,
                    items_left_out = items,
                    members_left_out = members,
                    "parts of the listing could not be understood and are left out"
                );
            }
        }
        Ok(Err(error)) if before.failure == Some(error.failure.exception) => {
            tracing::debug!(pinpoint_target = %target, seconds, "still not refreshed: {error}: {}", error.failure);
        }
        Ok(Err(error)) => {
            tracing::warn!(pinpoint_target = %target, seconds, "not refreshed: {error}: {}", error.failure);
        }
        Err(_panic) => {
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
