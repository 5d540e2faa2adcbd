//! Time as the exporter sees it: the date, and the time that has passed. Tests turn both; nothing else reads the
//! system's clocks.

use std::{
    fmt::Debug,
    time::{Duration, SystemTime},
};

/// The two clocks that decide what a scrape shows.
pub trait Clock: Debug + Send + Sync + 'static {
    /// The date: what requests are signed with and what the ages of jobs are measured against.
    fn now(&self) -> SystemTime;

    /// Time since an arbitrary start: it never goes back, and runs on while the machine sleeps. The ages of cached
    /// data are measured with it, so that a corrected date neither expires nor revives them.
    fn elapsed(&self) -> Duration;
}

/// The system's clocks.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the system's date")]
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    fn elapsed(&self) -> Duration {
        #[cfg(target_os = "linux")]
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        #[cfg(not(target_os = "linux"))]
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
    }
}
