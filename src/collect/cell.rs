//! What is known of one target: the last good picture, how the last refresh ended, and whether one is under way.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::watch;

use crate::{
    job::Timestamp,
    metrics::exposition::{self, Block},
    picture::TargetStatus,
    pinpoint::Exception,
    target::Target,
};

/// Says by being dropped that a refresh has ended, however it ended.
pub(super) type Flight = watch::Sender<()>;
/// Waits for the end of a refresh.
pub(super) type Landing = watch::Receiver<()>;

/// A target and what is known of it. Times are those of the clock that never goes back.
#[derive(Debug)]
pub(super) struct Cell {
    pub(super) target: Target,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    landing: Option<Landing>,
    /// The last refresh that ended.
    last: Option<Last>,
    /// The last good one.
    good: Option<Good>,
    /// The bytes of the target's status, and the error they tell of.
    status: Option<(Option<&'static str>, Block)>,
}

#[derive(Debug)]
struct Last {
    started: Duration,
    took: Duration,
    health: Health,
}

#[derive(Debug)]
struct Good {
    started: Duration,
    date: Timestamp,
    block: Block,
}

/// What a scrape finds.
#[derive(Debug)]
pub(super) enum Lookup {
    /// Young enough, until then.
    Fresh(Duration),
    /// A refresh is under way.
    UnderWay(Landing),
    /// A refresh is due, and the caller's to start.
    Due(Flight, Landing),
}

/// How a refresh ended.
#[derive(Debug)]
pub(super) struct Outcome {
    /// When it started: by the clock that never goes back, and the date.
    pub(super) started: Duration,
    pub(super) date: Timestamp,
    pub(super) took: Duration,
    /// The bytes of what it read.
    pub(super) result: Result<Block, Exception>,
    /// Whether parts of it could not be understood.
    pub(super) flawed: bool,
}

/// What the log says of a target, and says again only when it changes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Health {
    pub(super) failure: Option<Exception>,
    pub(super) flawed: bool,
}

/// What a target shows.
#[derive(Debug, Default)]
pub(super) struct View {
    /// Its own families; none before a refresh has ended.
    pub(super) status: Option<Block>,
    /// Those of its jobs and segments, and when they will be too old.
    pub(super) picture: Option<(Block, Duration)>,
}

impl Cell {
    pub(super) fn new(target: Target) -> Self {
        Self { target, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the age of what is known; an older result than `ttl` makes a refresh due, of which there is one at a time.
    pub(super) fn look_up(&self, now: Duration, ttl: Duration) -> Lookup {
        let mut state = self.state();
        if let Some(last) = &state.last
            && now < last.started + ttl
        {
            return Lookup::Fresh(last.started + ttl);
        }
        match &state.landing {
            // Still to come: its sender lives.
            Some(landing) if landing.has_changed().is_ok() => Lookup::UnderWay(landing.clone()),
            _ => {
                let (flight, landing) = watch::channel(());
                state.landing = Some(landing.clone());
                Lookup::Due(flight, landing)
            }
        }
    }

    /// Takes note of how a refresh ended. Gives the health before it.
    pub(super) fn finish(&self, outcome: Outcome) -> Health {
        let Outcome { started, date, took, result, flawed } = outcome;
        let mut state = self.state();
        let failure = match result {
            Ok(block) => {
                state.good = Some(Good { started, date, block });
                None
            }
            Err(exception) => Some(exception),
        };
        state.status = None;
        let last = Last { started, took, health: Health { failure, flawed } };
        state.last.replace(last).map(|before| before.health).unwrap_or_default()
    }

    /// What is shown now: data older than `max_staleness` never are, and are let go.
    pub(super) fn view(&self, now: Duration, max_staleness: Duration) -> View {
        let mut state = self.state();
        let State { last, good, status, .. } = &mut *state;
        let Some(last) = last else { return View::default() };
        let last_success = good.as_ref().map(|good| good.date);
        let picture = good.as_mut().and_then(|good| {
            let end = good.started + max_staleness;
            if now > end {
                good.block = Block::default();
                return None;
            }
            Some((good.block.clone(), end))
        });
        let error = match (last.health.failure, &picture) {
            (Some(exception), _) => Some(exception.name()),
            (None, None) => Some(Exception::Timeout.name()),
            (None, Some(_)) => None,
        };
        let block = match status.take() {
            Some((told, block)) if told == error => block,
            _ => {
                let told = TargetStatus { error, last_success, refresh_duration: last.took };
                exposition::target_status(&self.target, &told)
            }
        };
        *status = Some((error, block.clone()));
        View { status: Some(block), picture }
    }
}
