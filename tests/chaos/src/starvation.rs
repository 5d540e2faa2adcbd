//! Measures how long a busy machine kept the exporter and this process waiting for a processor. This process is also the API,
//! the network and the clients of the exporter, so this time makes requests and responses late, and the judge allows for it.

use std::{
    fs,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use fake_pinpoint::Clock;
use rustix::process::{Pid, getpid};

use crate::lock;

/// The time between two measurements. If it takes longer, the machine did not run this process.
const STEP: Duration = Duration::from_millis(20);

/// How long after a loss events can still be late because of it, in milliseconds.
const AFTERMATH: i64 = 10_000;

/// A request wakes several tasks, one after the other. This is how many of them a loss can delay.
const TASKS_IN_A_ROW: i64 = 8;

#[derive(Debug)]
pub(crate) struct Starvation {
    clock: Clock,
    state: Mutex<State>,
}

/// All times are in milliseconds.
#[derive(Debug)]
struct State {
    step_began: i64,
    losses: Vec<Loss>,
}

/// Time that was lost until an instant.
#[derive(Debug, Clone, Copy)]
struct Loss {
    until: i64,
    time: i64,
}

impl Starvation {
    fn new(clock: Clock) -> Self {
        let state = State { step_began: clock.now(), losses: Vec::new() };
        Self { clock, state: Mutex::new(state) }
    }

    /// Measures until the result is dropped.
    pub(crate) fn measure(exporter: Pid) -> Arc<Self> {
        let starvation = Arc::new(Self::new(Clock::default()));
        let measured = Arc::downgrade(&starvation);
        thread::spawn(move || {
            let waited = || waited(exporter) + waited(getpid());
            let mut before = waited();
            loop {
                thread::sleep(STEP);
                let Some(starvation) = measured.upgrade() else { return };
                let after = waited();
                starvation.end_step(after.saturating_sub(before));
                before = after;
            }
        });
        starvation
    }

    pub(crate) fn now(&self) -> i64 {
        self.clock.now()
    }

    /// Records a step in which threads waited for a processor for so long.
    fn end_step(&self, waited: Duration) {
        let now = self.now();
        let mut state = lock(&self.state);
        let time = late(state.step_began, now) + milliseconds(waited);
        state.step_began = now;
        if time > 0 {
            state.losses.push(Loss { until: now, time });
        }
    }

    /// All losses, and what the current step has lost so far.
    fn losses(&self) -> Vec<Loss> {
        let state = lock(&self.state);
        let now = self.now();
        let current = Loss { until: now, time: late(state.step_began, now) };
        state.losses.iter().copied().chain([current]).collect()
    }

    /// How much time was lost since an instant.
    pub(crate) fn since(&self, from: i64) -> Duration {
        let lost: i64 = self.losses().iter().map(|loss| loss.time.min(loss.until - from).max(0)).sum();
        // Several threads can wait at the same time.
        Duration::from_millis(lost.min(self.now() - from).max(0).unsigned_abs())
    }

    /// The longest delay of an event that was noticed at this instant, in milliseconds.
    pub(crate) fn delay_at(&self, at: i64) -> i64 {
        let losses = self.losses();
        let recent =
            losses.iter().filter(|loss| (at - AFTERMATH..=at + milliseconds(STEP)).contains(&loss.until));
        recent.map(|loss| loss.time).max().unwrap_or(0) * TASKS_IN_A_ROW
    }
}

/// How much later than planned a step ends.
fn late(began: i64, now: i64) -> i64 {
    (now - began - milliseconds(STEP)).max(0)
}

pub(crate) fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// How long the threads of a process have waited for a processor.
fn waited(pid: Pid) -> Duration {
    let threads =
        fs::read_dir(format!("/proc/{}/task", pid.as_raw_nonzero())).into_iter().flatten().flatten();
    let of_thread = threads.filter_map(|thread| {
        let statistics = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        statistics.split_whitespace().nth(1)?.parse::<u64>().ok()
    });
    Duration::from_nanos(of_thread.sum())
}

#[cfg(test)]
impl Starvation {
    /// A machine that was starved once, for so long until an instant, and has run well since.
    pub(crate) fn once(until: i64, time: i64) -> Arc<Self> {
        let clock = Clock::default();
        clock.stop_at(until - time - milliseconds(STEP));
        let starvation = Self::new(clock);
        starvation.clock.stop_at(until);
        starvation.end_step(Duration::ZERO);
        Arc::new(starvation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn time_is_lost_when_a_step_ends_late_or_threads_wait() {
        let clock = Clock::default();
        clock.stop_at(0);
        let starvation = Starvation::new(clock);
        let pass = |time: i64| starvation.clock.advance(time);
        pass(20);
        starvation.end_step(Duration::ZERO);
        assert_eq!(starvation.since(0), Duration::ZERO);
        // The process did not run for two minutes. This counts before the step has ended, because another thread may run first.
        pass(120_020);
        assert_eq!(starvation.since(0), 120 * SECOND);
        starvation.end_step(Duration::ZERO);
        assert_eq!(starvation.since(0), 120 * SECOND);
        assert_eq!(starvation.since(60_040), 60 * SECOND);
        pass(1_000);
        starvation.end_step(Duration::ZERO);
        assert_eq!(starvation.since(0), 120 * SECOND + Duration::from_millis(980));
        assert_eq!(starvation.since(starvation.now()), Duration::ZERO);
        // A step that ends in time, in which three threads waited.
        pass(20);
        starvation.end_step(Duration::from_millis(30));
        assert_eq!(starvation.since(starvation.now() - 20), Duration::from_millis(20));
    }

    #[test]
    fn an_event_soon_after_a_loss_may_be_late() {
        let starvation = Starvation::once(200_000, 120_000);
        assert_eq!(starvation.delay_at(79_000), 0);
        assert!(starvation.delay_at(200_005) >= 120_000);
        assert_eq!(starvation.delay_at(200_000 + AFTERMATH + 1), 0);
    }

    #[test]
    fn threads_that_wait_for_a_processor_are_noticed() {
        let own = Starvation::measure(getpid());
        let begin = own.now();
        // More threads than processors: some of them wait.
        let threads = 2 + thread::available_parallelism().map_or(1, usize::from);
        thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| while own.since(begin).is_zero() {});
            }
        });
    }
}
