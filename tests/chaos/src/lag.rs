//! How late this program gets a processor: what a loaded machine owes it, it owes the exporter too.

use std::{collections::VecDeque, sync::Mutex, time::Duration};

use tokio::time::{Instant, sleep_until};

use crate::lock;

const STEP: Duration = Duration::from_millis(50);

/// The lags of the last minutes.
#[derive(Debug, Default)]
pub(crate) struct Lag(Mutex<VecDeque<(Instant, Duration)>>);

impl Lag {
    /// Measures until it is aborted.
    pub(crate) async fn watch(&self) {
        loop {
            let due = Instant::now() + STEP;
            sleep_until(due).await;
            let now = Instant::now();
            let mut lags = lock(&self.0);
            lags.push_back((now, now - due));
            if lags.len() > 4_000 {
                lags.pop_front();
            }
        }
    }

    /// The longest since then.
    pub(crate) fn since(&self, then: Instant) -> Duration {
        let lags = lock(&self.0);
        let since = lags.iter().rev().take_while(|(at, _)| *at >= then);
        since.map(|(_, lag)| *lag).max().unwrap_or_default()
    }
}
