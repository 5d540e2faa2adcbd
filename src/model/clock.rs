//! The clocks of the exporter: the date, and the elapsed time. Tests replace both. No other code reads the system clocks.

use std::{
    fmt::Debug,
    time::{Duration, SystemTime},
};

/// The two clocks that decide what a scrape shows.
pub trait Clock: Debug + Send + Sync + 'static {
    /// The current date. Requests are signed with it, and the ages of jobs are measured against it.
    fn now(&self) -> SystemTime;

    /// The time since an arbitrary start. It never goes back, and on Linux it advances while the machine sleeps. The ages of
    /// cached data are measured with it, so that correcting the date neither expires nor revives cached data.
    fn elapsed(&self) -> Duration;
}

/// The system clocks.
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
