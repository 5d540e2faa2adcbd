//! A deadline of a connection that often moves to a later moment.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

/// An optional deadline. Its timer stays in place when the deadline moves to a later moment, and is reset when it fires too
/// early. A new timer for each request would wake the runtime's driver each time, which is a sixth of the cost of a small
/// scrape.
#[derive(Debug, Default)]
pub(super) struct Deadline {
    at: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Deadline {
    /// Sets the deadline to `limit` from now, unless one is set.
    pub(super) fn begin(&mut self, limit: Duration) {
        self.at.get_or_insert_with(|| Instant::now() + limit);
    }

    /// Removes the deadline.
    pub(super) fn clear(&mut self) {
        self.at = None;
    }

    /// Whether the deadline has passed.
    pub(super) fn is_over(&self) -> bool {
        self.at.is_some_and(|at| at <= Instant::now())
    }

    /// Waits until the deadline passes, or for ever if none is set.
    pub(super) fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(at) = self.at else { return Poll::Pending };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if timer.deadline() > at {
            timer.as_mut().reset(at);
        }
        loop {
            ready!(timer.as_mut().poll(cx));
            if timer.deadline() >= at {
                return Poll::Ready(());
            }
            timer.as_mut().reset(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::time::{advance, timeout};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn it_is_missed_when_it_says_however_it_was_moved() {
        let mut deadline = Deadline::default();
        let started = Instant::now();
        assert!(timeout(SECOND, poll_fn(|cx| deadline.poll_over(cx))).await.is_err(), "there is none");
        deadline.begin(10 * SECOND);
        deadline.begin(SECOND);
        assert!(timeout(SECOND, poll_fn(|cx| deadline.poll_over(cx))).await.is_err());
        // First later than the timer, then earlier.
        for seconds in [20, 5] {
            deadline.clear();
            deadline.begin(seconds * SECOND);
            let begun = Instant::now();
            advance(SECOND / 2).await;
            assert!(!deadline.is_over());
            poll_fn(|cx| deadline.poll_over(cx)).await;
            assert!(deadline.is_over());
            assert_eq!(begun.elapsed(), seconds * SECOND);
        }
        assert_eq!(started.elapsed(), 27 * SECOND);
    }
}
