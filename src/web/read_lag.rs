//! Measures how far a client is behind in reading its responses.

use std::time::Duration;

use tokio::time::Instant;

/// The lowest rate at which a client may read its responses, averaged over all waits of its connection: 128 kbit/s. A slower
/// client falls behind and is disconnected when it is behind by [`super::ClientTimeouts::write`].
const MIN_BYTES_PER_SECOND: u32 = 16 * 1024;

/// How far a client is behind. Time that the server waits for the client adds up, and each byte that the client takes reduces
/// it. Bytes that are taken without a wait earn no credit.
#[derive(Debug, Default)]
pub(super) struct ReadLag {
    behind: Duration,
    blocked_since: Option<Instant>,
}

impl ReadLag {
    /// Starts the wait for the client to read more, unless it has already started.
    pub(super) fn block(&mut self) {
        self.blocked_since.get_or_insert_with(Instant::now);
    }

    /// Ends the wait, because the client took `bytes` bytes.
    pub(super) fn take(&mut self, bytes: usize) {
        let paid = Duration::from_secs(bytes as u64) / MIN_BYTES_PER_SECOND;
        self.behind = self.behind().saturating_sub(paid);
        self.blocked_since = None;
    }

    pub(super) fn is_blocked(&self) -> bool {
        self.blocked_since.is_some()
    }

    pub(super) fn behind(&self) -> Duration {
        self.behind + self.blocked_since.map_or(Duration::ZERO, |since| since.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// How far a client is behind after a minute if it takes `bytes` bytes at the end of each second.
    async fn behind_after_a_minute(bytes: usize) -> Duration {
        let mut read_lag = ReadLag::default();
        for _ in 0..60 {
            read_lag.block();
            advance(SECOND).await;
            read_lag.block();
            read_lag.take(bytes);
        }
        read_lag.behind()
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_is_behind_by_what_it_takes_too_slowly() {
        assert_eq!(behind_after_a_minute(0).await, 60 * SECOND);
        assert_eq!(behind_after_a_minute(8 * 1024).await, 30 * SECOND);
        assert_eq!(behind_after_a_minute(16 * 1024).await, Duration::ZERO);
        assert_eq!(behind_after_a_minute(1024 * 1024).await, Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn fast_answers_earn_no_credit_and_time_between_answers_does_not_count() {
        let mut read_lag = ReadLag::default();
        read_lag.take(1 << 30);
        advance(100 * SECOND).await;
        assert_eq!(read_lag.behind(), Duration::ZERO);
        read_lag.block();
        advance(10 * SECOND).await;
        assert!(read_lag.is_blocked());
        assert_eq!(read_lag.behind(), 10 * SECOND);
        read_lag.take(16 * 1024);
        advance(100 * SECOND).await;
        assert_eq!(read_lag.behind(), 9 * SECOND);
    }
}
