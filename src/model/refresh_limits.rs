//! Compares the requests that a refresh of all targets needs with the request limit: whether `CACHE_TTL` can be met. No I/O.

use std::{fmt, time::Duration};

use humantime::format_duration;

/// Requests per second that [AWS's quota] allows in an account and region.
///
/// [AWS's quota]: https://docs.aws.amazon.com/pinpoint/latest/developerguide/quotas.html
pub const QUOTA: u32 = 300;

/// The alert rules look back 5 minutes, so they need a shorter scrape interval than this.
const MAX_SCRAPE_INTERVAL: Duration = Duration::from_mins(2);

/// The settings that decide how often targets are refreshed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefreshLimits {
    /// `MAX_REQUESTS_PER_SECOND` for each account and region. `None` for no limit.
    pub max_requests_per_second: Option<u32>,
    /// `CACHE_TTL`
    pub cache_ttl: Duration,
    /// `MAX_STALENESS`
    pub max_staleness: Duration,
}

/// Refreshing every target once takes longer than `CACHE_TTL`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overload {
    /// The requests needed to refresh every target once.
    pub requests: u64,
    /// `MAX_REQUESTS_PER_SECOND`
    pub per_second: u32,
    /// The time needed to refresh every target once.
    pub round: Duration,
    limits: RefreshLimits,
}

impl RefreshLimits {
    /// Returns the overload if `requests` cannot all be sent within `CACHE_TTL`. A `CACHE_TTL` of `0s` sets no goal, so
    /// there is never an overload.
    pub fn overload(self, requests: u64) -> Option<Overload> {
        let per_second = self.max_requests_per_second?;
        let round = Duration::from_millis(requests.saturating_mul(1000).div_ceil(u64::from(per_second)));
        let too_long = round > self.cache_ttl && !self.cache_ttl.is_zero();
        too_long.then_some(Overload { requests, per_second, round, limits: self })
    }
}

impl fmt::Display for Overload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { requests, per_second, round, limits: RefreshLimits { cache_ttl, max_staleness, .. } } =
            *self;
        let round_up = |length: u128, unit: u128| length.div_ceil(unit.max(1));
        let whole_seconds = |length: Duration| {
            let seconds = u64::try_from(round_up(length.as_millis(), 1000)).unwrap_or(u64::MAX);
            format_duration(Duration::from_secs(seconds)).to_string()
        };
        write!(
            f,
            "CACHE_TTL={} cannot be met: refreshing every target once takes {requests} requests and, at \
             MAX_REQUESTS_PER_SECOND={per_second}, {}; ",
            format_duration(cache_ttl),
            whole_seconds(round)
        )?;
        let needed = round_up(u128::from(requests) * 1000, cache_ttl.as_millis());
        // A limit above AWS's default quota means that AWS raised the quota for the account.
        let quota = per_second.max(QUOTA);
        let longer = |f: &mut fmt::Formatter<'_>, ttl: Duration| {
            write!(f, "CACHE_TTL to {}, with a scrape interval above that", whole_seconds(ttl))?;
            if ttl > max_staleness { write!(f, " and MAX_STALENESS of at least twice that") } else { Ok(()) }
        };
        if needed <= u128::from(quota) {
            write!(f, "raise that to {needed}, ")?;
            if round < MAX_SCRAPE_INTERVAL {
                f.write_str("or ")?;
                longer(f, round)?;
                f.write_str(", ")?;
            }
            let shards = round_up(round.as_millis(), cache_ttl.as_millis());
            write!(f, "or share the targets among {shards} exporters with SHARD")?;
        } else {
            let raise = if per_second < quota {
                format!("MAX_REQUESTS_PER_SECOND to {quota} and ")
            } else {
                String::new()
            };
            let shortest = Duration::from_millis(requests.saturating_mul(1000).div_ceil(u64::from(quota)));
            write!(f, "that needs {needed} a second, and AWS's quota is {quota}: raise {raise}")?;
            longer(f, shortest)?;
        }
        if cache_ttl.saturating_add(round) > max_staleness {
            write!(
                f,
                "; until then targets are without data for a time, because their data are older than MAX_STALENESS={}",
                format_duration(max_staleness)
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: RefreshLimits = RefreshLimits {
        max_requests_per_second: Some(50),
        cache_ttl: Duration::from_secs(50),
        max_staleness: Duration::from_mins(10),
    };

    #[test]
    fn a_round_that_just_fits_is_none_too_many() {
        assert_eq!(LIMITS.overload(2_500), None);
        assert_eq!(
            LIMITS.overload(2_501).map(|overload| overload.round),
            Some(Duration::from_millis(50_020))
        );
    }

    #[test]
    fn what_is_not_limited_or_promised_cannot_be_too_much() {
        for limits in [
            RefreshLimits { max_requests_per_second: None, ..LIMITS },
            RefreshLimits { cache_ttl: Duration::ZERO, ..LIMITS },
        ] {
            assert_eq!(limits.overload(1_000_000), None);
        }
    }

    #[test]
    fn it_says_what_would_do() {
        assert_eq!(
            LIMITS.overload(5_000).unwrap().to_string(),
            "CACHE_TTL=50s cannot be met: refreshing every target once takes 5000 requests and, at \
             MAX_REQUESTS_PER_SECOND=50, 1m 40s; raise that to 100, or CACHE_TTL to 1m 40s, with a scrape interval above \
             that, or share the targets among 2 exporters with SHARD"
        );
        assert!(
            LIMITS
                .overload(7_500)
                .unwrap()
                .to_string()
                .ends_with("; raise that to 150, or share the targets among 3 exporters with SHARD"),
            "the alert rules expect a scrape interval below 2m"
        );
        assert!(LIMITS.overload(20_000).unwrap().to_string().ends_with(
            "; that needs 400 a second, and AWS's quota is 300: raise MAX_REQUESTS_PER_SECOND to 300 and CACHE_TTL to \
             1m 7s, with a scrape interval above that"
        ));
        let text = LIMITS.overload(300_000).unwrap().to_string();
        assert!(text.contains("above that and MAX_STALENESS of at least twice that"), "{text}");
        for (requests, vanish) in [(27_500, false), (27_501, true)] {
            let text = LIMITS.overload(requests).unwrap().to_string();
            assert_eq!(text.contains("older than MAX_STALENESS=10m"), vanish, "{requests}");
        }
    }

    #[test]
    fn what_it_advises_suffices() {
        let figure = |text: &str, after: &str| -> Option<String> {
            let (_, rest) = text.split_once(after)?;
            Some(
                rest.split([',', ' '])
                    .take_while(|word| word.starts_with(|c: char| c.is_ascii_digit()))
                    .collect::<Vec<_>>()
                    .join(" "),
            )
        };
        for requests in [2_501_u64, 3_333, 7_777, 14_999, 15_001, 123_456] {
            let text = LIMITS.overload(requests).unwrap().to_string();
            let rate = figure(&text, "raise that to ").or(figure(&text, "MAX_REQUESTS_PER_SECOND to "));
            let rate: u32 = rate.unwrap().parse().unwrap();
            let ttl = figure(&text, "CACHE_TTL to ").map(|text| humantime::parse_duration(&text).unwrap());
            let raised = RefreshLimits { max_requests_per_second: Some(rate), ..LIMITS };
            if requests <= 15_000 {
                assert_eq!(raised.overload(requests), None, "{text}");
                let parts: u64 = figure(&text, "among ").unwrap().parse().unwrap();
                assert_eq!(LIMITS.overload(requests.div_ceil(parts)), None, "{text}");
                assert!(
                    ttl.is_none_or(|cache_ttl| RefreshLimits { cache_ttl, ..LIMITS }
                        .overload(requests)
                        .is_none()),
                    "{text}"
                );
            } else {
                let both = RefreshLimits { cache_ttl: ttl.unwrap(), ..raised };
                assert_eq!((rate, both.overload(requests)), (QUOTA, None), "{text}");
            }
        }
    }
}
