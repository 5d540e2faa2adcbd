//! Extreme settings: each one that is accepted is safe in a whole exporter.

use proptest::{prelude::*, sample::select, test_runner::TestRunner};

use crate::support::harness::{Plan, run};

/// The least and the greatest value of each setting that has bounds; `None` leaves the default.
const EXTREMES: [(&str, [&str; 2]); 14] = [
    ("CACHE_TTL", ["0s", "36500d"]),
    ("MAX_STALENESS", ["36500d", "36500d"]),
    ("DISCOVERY_TTL", ["0s", "36500d"]),
    ("SCRAPE_TIMEOUT", ["36500d", "36499d"]),
    ("SCRAPE_TIMEOUT_OFFSET", ["0s", "36498d"]),
    ("PAGE_SIZE", ["1", "1000000"]),
    ("MAX_PAGES", ["1", "1000000"]),
    ("MAX_CONCURRENT_REQUESTS", ["1", "1000000"]),
    ("MAX_REQUESTS_PER_SECOND", ["0", "1000000"]),
    ("REQUEST_TIMEOUT", ["36500d", "2m"]),
    ("REFRESH_TIMEOUT", ["36500d", "2m"]),
    ("MAX_ATTEMPTS", ["1", "1000000"]),
    ("FINISHED_JOB_MAX_AGE", ["1ns", "36500d"]),
    ("FINISHED_JOBS_PER_SEGMENT", ["0", "1000000"]),
];

#[test]
fn an_exporter_with_extreme_settings_that_are_accepted_answers_a_scrape() {
    let choices: Vec<_> = EXTREMES.iter().map(|(_, values)| select(&values[..])).collect();
    let mut runner = TestRunner::new(ProptestConfig { cases: 24, ..ProptestConfig::default() });
    let check = |(values, shard): (Vec<&str>, &str)| {
        run(async {
            let settings = EXTREMES.iter().map(|(name, _)| *name).zip(values.iter().copied());
            let plan =
                settings.fold(Plan::new().set("TARGETS", "*/*"), |plan, (name, value)| plan.set(name, value));
            let harness = plan.set("SHARD", shard).build().await;
            let scrape = harness.scrape().await;
            assert_eq!(scrape.value("pinpoint_exporter_cache_hits_total", &[]), Some(0.0));
            if shard == "0/1" {
                assert_eq!(scrape.value("pinpoint_target_up", &[]), Some(1.0));
            }
            let page = harness.client.get(&harness.url).send().await.unwrap();
            assert_eq!(page.status(), 200);
            harness.close().await;
        });
        Ok(())
    };
    runner.run(&(choices, select(&["0/1", "999/1000"][..])), check).unwrap();
}
