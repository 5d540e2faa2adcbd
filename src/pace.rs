//! What a round of refreshes costs against what may be asked: whether `CACHE_TTL` can be held. Pure.

use std::{fmt, time::Duration};

use humantime::format_duration;

/// The settings that set the pace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// `MAX_REQUESTS_PER_SECOND` of each account and region; `None` for no limit.
    pub max_requests_per_second: Option<u32>,
    /// `CACHE_TTL`
    pub cache_ttl: Duration,
    /// `MAX_STALENESS`
    pub max_staleness: Duration,
}

/// Refreshing every target once takes longer than `CACHE_TTL`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overload {
    /// The requests of a round.
    pub requests: u64,
    /// `MAX_REQUESTS_PER_SECOND`
    pub per_second: u32,
    /// How long a round takes.
    pub round: Duration,
    pace: Pace,
}

impl Pace {
    /// Whether so many requests are more than may be sent within `CACHE_TTL`. `0s` promises nothing that could be broken.
    pub fn overload(self, requests: u64) -> Option<Overload> {
        let per_second = self.max_requests_per_second?;
        let round = Duration::from_millis(requests.saturating_mul(1000).div_ceil(u64::from(per_second)));
        let too_long = round > self.cache_ttl && !self.cache_ttl.is_zero();
        too_long.then_some(Overload { requests, per_second, round, pace: self })
    }
}

impl fmt::Display for Overload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { requests, per_second, round, pace: Pace { cache_ttl, max_staleness, .. } } = *self;
        let round_up = |length: u128, unit: u128| length.div_ceil(unit.max(1));
        let seconds = u64::try_from(round_up(round.as_millis(), 1000)).unwrap_or(u64::MAX);
        let whole_round = format_duration(Duration::from_secs(seconds));
        write!(
            f,
            "CACHE_TTL={} cannot be held: refreshing every target once takes {requests} requests and, at \
             MAX_REQUESTS_PER_SECOND={per_second}, {whole_round}; raise that to {}, or CACHE_TTL to {whole_round}, or \
             share the targets among {} exporters with SHARD",
            format_duration(cache_ttl),
            round_up(u128::from(requests) * 1000, cache_ttl.as_millis()),
            round_up(round.as_millis(), cache_ttl.as_millis()),
        )?;
        if cache_ttl + round > max_staleness {
            write!(
                f,
                "; until then the data of targets vanish for a time, being older than MAX_STALENESS={}",
                format_duration(max_staleness)
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace {
        max_requests_per_second: Some(50),
        cache_ttl: Duration::from_secs(50),
        max_staleness: Duration::from_mins(10),
    };

    #[test]
    fn a_round_that_just_fits_is_none_too_many() {
        assert_eq!(PACE.overload(2_500), None);
        assert_eq!(PACE.overload(2_501).map(|overload| overload.round), Some(Duration::from_millis(50_020)));
    }

    #[test]
    fn what_is_not_limited_or_promised_cannot_be_too_much() {
        for pace in
            [Pace { max_requests_per_second: None, ..PACE }, Pace { cache_ttl: Duration::ZERO, ..PACE }]
        {
            assert_eq!(pace.overload(1_000_000), None);
        }
    }

    #[test]
    fn it_says_what_would_do() {
        assert_eq!(
            PACE.overload(5_000).unwrap().to_string(),
            "CACHE_TTL=50s cannot be held: refreshing every target once takes 5000 requests and, at \
             MAX_REQUESTS_PER_SECOND=50, 1m 40s; raise that to 100, or CACHE_TTL to 1m 40s, or share the targets among 2 \
             exporters with SHARD"
        );
        for (requests, vanish) in [(27_500, false), (27_501, true)] {
            let text = PACE.overload(requests).unwrap().to_string();
            assert_eq!(text.contains("older than MAX_STALENESS=10m"), vanish, "{requests}");
        }
    }

    #[test]
    fn what_it_advises_suffices() {
        for requests in [2_501_u64, 3_333, 7_777, 123_456] {
            let text = PACE.overload(requests).unwrap().to_string();
            let raised: u32 =
                text.split("raise that to ").nth(1).unwrap().split(',').next().unwrap().parse().unwrap();
            let longer = text.split("CACHE_TTL to ").nth(1).unwrap().split(',').next().unwrap();
            let parts: u64 = text.split("among ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
            assert_eq!(Pace { max_requests_per_second: Some(raised), ..PACE }.overload(requests), None);
            let cache_ttl = humantime::parse_duration(longer).unwrap();
            assert_eq!(Pace { cache_ttl, ..PACE }.overload(requests), None);
            assert_eq!(PACE.overload(requests.div_ceil(parts)), None);
        }
    }
}
