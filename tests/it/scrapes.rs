//! A scrape, step by step: section 4 of the contract, sentence by sentence, with the fake's log of requests as witness.

use std::{collections::BTreeMap, time::Duration};

use fake_pinpoint::{
    Operation, Options,
    fault::{Fault, Place},
    world::{Job, Life, World},
};
use serde_json::json;
use tokio::time::Instant;

use crate::support::{
    harness::{APP, Harness, Plan, SEGMENT, credentials, run, run_in_virtual_time},
    text_format::Scrape,
};

const UP: &str = "pinpoint_target_up";
const ERROR: &str = "pinpoint_target_error";
const JOBS: &str = "pinpoint_export_job_info";
const REQUESTS: &str = "pinpoint_api_requests_total";
const ERRORS: &str = "pinpoint_api_errors_total";
const RETRIES: &str = "pinpoint_api_retries_total";

/// So many jobs that are listed as they are.
fn fill(world: &mut World, segment: &str, jobs: usize) {
    let item = |n| Job::Verbatim { item: json!({"Id": format!("job-{n:04}"), "JobStatus": "PROCESSING"}) };
    world.segment(APP, segment).jobs = (0..jobs).map(item).collect();
}

fn with_jobs(jobs: usize) -> Plan {
    Plan::new().world(|world| fill(world, SEGMENT, jobs))
}

fn jobs(scrape: &Scrape) -> usize {
    scrape.samples(JOBS, &[]).len()
}

/// The exception that keeps the only target down.
fn error(scrape: &Scrape) -> Option<String> {
    let samples = scrape.samples(ERROR, &[]);
    assert!(samples.len() <= 1);
    let exception = samples.first().map(|sample| sample.labels["exception"].clone());
    assert_eq!(exception.is_none(), scrape.value(UP, &[]) == Some(1.0), "up and error agree");
    exception
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

// 1. The cache.

#[test]
fn a_result_younger_than_the_ttl_is_shown_without_a_call() {
    run(async {
        let harness = with_jobs(3).build().await;
        assert_eq!(jobs(&harness.scrape().await), 3);
        harness.turn(Duration::from_millis(49_999));
        assert_eq!(jobs(&harness.scrape().await), 3);
        assert_eq!(harness.listings(), 1);
        harness.turn(Duration::from_millis(1));
        let scrape = harness.scrape().await;
        assert_eq!(harness.listings(), 2, "as old as the TTL is too old");
        assert_eq!(scrape.value("pinpoint_exporter_cache_lookups_total", &[]), Some(3.0));
        assert_eq!(scrape.value("pinpoint_exporter_cache_hits_total", &[]), Some(1.0));
        harness.assert_equation(2).await;
        harness.close().await;
    });
}

#[test]
fn the_age_of_a_result_counts_from_the_start_of_its_refresh() {
    run(async {
        let harness = with_jobs(1).build().await;
        harness.fake.fault(Fault::Delay { milliseconds: 300 }.times(1));
        let scrape = async {
            harness.fake.wait_for_requests(1).await;
            // While the answer is on its way.
            harness.turn(seconds(40));
        };
        tokio::join!(harness.scrape(), scrape);
        harness.turn(seconds(9));
        harness.scrape().await;
        assert_eq!(harness.listings(), 1);
        harness.turn(seconds(1));
        harness.scrape().await;
        assert_eq!(harness.listings(), 2);
    });
}

#[test]
fn with_a_ttl_of_zero_every_scrape_fetches() {
    run(async {
        let harness = with_jobs(1).set("CACHE_TTL", "0s").build().await;
        for _ in 0..3 {
            harness.scrape().await;
        }
        assert_eq!(harness.listings(), 3);
    });
}

#[test]
fn only_metrics_starts_a_refresh_and_nothing_does_without_a_scrape() {
    run(async {
        let harness = with_jobs(1).build().await;
        for path in ["/", "/-/healthy", "/-/ready", "/nothing"] {
            harness.client.get(format!("{}{path}", harness.url)).send().await.unwrap();
        }
        harness.turn(seconds(3600));
        for path in ["/", "/-/healthy", "/-/ready"] {
            harness.client.get(format!("{}{path}", harness.url)).send().await.unwrap();
        }
        assert_eq!(harness.fake.requests().len(), 0);
        harness.scrape().await;
        assert_eq!(harness.fake.requests().len(), 1);
    });
}

// 2. One refresh at a time, within the limits.

#[test]
fn ten_scrapes_at_once_cost_one_listing() {
    run(async {
        let harness = with_jobs(2).build().await;
        harness.fake.fault(Fault::Delay { milliseconds: 200 }.always());
        let scrapes = futures_util::future::join_all((0..10).map(|_| harness.scrape())).await;
        assert!(scrapes.iter().all(|scrape| jobs(scrape) == 2));
        assert_eq!(harness.listings(), 1);
    });
}

fn many_segments(segments: usize) -> Plan {
    let ids: Vec<String> = (0..segments).map(|n| format!("segment-{n:03}")).collect();
    let targets: Vec<String> = ids.iter().map(|id| format!("{APP}/{id}")).collect();
    Plan::new().set("TARGETS", &targets.join(" ")).world(|world| ids.iter().for_each(|id| fill(world, id, 1)))
}

#[test]
fn no_more_requests_are_out_at_once_than_allowed() {
    run_in_virtual_time(async {
        let harness = many_segments(20).set("MAX_CONCURRENT_REQUESTS", "3").build().await;
        harness.fake.fault(Fault::Delay { milliseconds: 20 }.always());
        assert_eq!(jobs(&harness.scrape().await), 20);
        assert_eq!(harness.fake.most_in_flight(), 3);
    });
}

#[test]
fn no_second_holds_more_requests_than_allowed_and_a_tenth() {
    run_in_virtual_time(async {
        let harness = many_segments(30).set("MAX_REQUESTS_PER_SECOND", "20").build().await;
        harness.scrape().await;
        // The snapshot is warm, and all of it is due at once.
        harness.turn(seconds(50));
        let scrape = harness.scrape().await;
        assert_eq!((jobs(&scrape), harness.listings()), (30, 60));
        let times: Vec<i64> = harness.fake.requests().iter().map(|request| request.at).collect();
        for (i, from) in times.iter().enumerate() {
            let within = times[i..].iter().filter(|at| **at - from < 1_000).count();
            // 20 and the bucket's 2, and one that was held up on its way.
            assert!(within <= 23, "{within} within a second");
        }
        let waited = scrape.value("pinpoint_api_rate_limit_wait_seconds_total", &[]).unwrap();
        assert!(waited > 1.0, "60 requests at 20 a second wait longer than {waited} s together");
    });
}

// 3. The deadline.

#[test]
fn a_scrape_of_one_second_against_an_api_of_three_is_answered_in_time_and_the_next_shows_the_data() {
    run_in_virtual_time(async {
        let harness = with_jobs(2).build().await;
        harness.fake.fault(Fault::Delay { milliseconds: 3_000 }.times(1));
        let start = Instant::now();
        let first = harness.scrape_within(Some("1")).await;
        assert!(start.elapsed() < seconds(1), "{:?}", start.elapsed());
        assert_eq!((jobs(&first), first.value(UP, &[])), (0, None), "absent until a refresh has finished");
        assert_eq!(jobs(&harness.scrape_within(Some("60")).await), 2);
        assert_eq!(harness.listings(), 1, "the refresh went on");
        harness.assert_equation(1).await;
    });
}

#[test]
fn without_the_header_a_scrape_waits_as_long_as_the_setting_says() {
    run_in_virtual_time(async {
        let harness =
            with_jobs(2).set("SCRAPE_TIMEOUT", "300ms").set("SCRAPE_TIMEOUT_OFFSET", "100ms").build().await;
        harness.fake.fault(Fault::Hang.times(1));
        let start = Instant::now();
        harness.scrape().await;
        let took = start.elapsed();
        assert!(took >= Duration::from_millis(300) && took < seconds(3), "{took:?}");
    });
}

#[test]
fn a_header_below_the_offset_is_answered_at_once() {
    run_in_virtual_time(async {
        let harness = with_jobs(2).build().await;
        harness.fake.fault(Fault::Hang.times(1));
        let start = Instant::now();
        harness.scrape_within(Some("0.4")).await;
        assert!(start.elapsed() < seconds(5), "{:?}", start.elapsed());
    });
}

#[test]
fn a_scraper_that_hangs_up_does_not_stop_the_refresh() {
    run_in_virtual_time(async {
        let harness = with_jobs(2).build().await;
        harness.fake.fault(Fault::Delay { milliseconds: 300 }.times(1));
        let gone = tokio::time::timeout(Duration::from_millis(100), harness.scrape());
        assert!(gone.await.is_err());
        assert_eq!(jobs(&harness.scrape().await), 2);
        assert_eq!(harness.listings(), 1);
    });
}

// 4. Failures and staleness.

#[test]
fn a_failed_refresh_shows_at_once_keeps_the_data_and_is_not_repeated_before_the_ttl() {
    run(async {
        let harness = with_jobs(2).build().await;
        let good = harness.scrape().await;
        let since = good.value("pinpoint_target_last_success_timestamp_seconds", &[]);
        harness.fake.fault(Fault::error("AccessDeniedException").times(1));
        harness.turn(seconds(50));
        let failed = harness.scrape().await;
        assert_eq!((error(&failed).as_deref(), jobs(&failed)), (Some("AccessDeniedException"), 2));
        assert_eq!(failed.value("pinpoint_target_last_success_timestamp_seconds", &[]), since);
        let labels = [("operation", "GetSegmentExportJobs"), ("exception", "AccessDeniedException")];
        assert_eq!(failed.value(ERRORS, &labels), Some(1.0));
        harness.turn(Duration::from_millis(49_999));
        assert_eq!(error(&harness.scrape().await).as_deref(), Some("AccessDeniedException"));
        assert_eq!(harness.listings(), 2);
        harness.turn(Duration::from_millis(1));
        assert_eq!(error(&harness.scrape().await), None);
        assert_eq!(harness.listings(), 3);
        harness.assert_equation(2).await;
    });
}

#[test]
fn not_found_costs_one_call_per_ttl_and_no_retry() {
    run(async {
        let harness =
            Plan::new().set("TARGETS", &format!("{APP}/missing")).set("MAX_ATTEMPTS", "5").build().await;
        for calls in 1..=3 {
            for _ in 0..3 {
                assert_eq!(error(&harness.scrape().await).as_deref(), Some("NotFoundException"));
            }
            assert_eq!(harness.listings(), calls);
            harness.turn(seconds(50));
        }
        assert_eq!(harness.scrape().await.sum(RETRIES, &[]), 0);
    });
}

#[test]
fn data_older_than_the_limit_vanish_whatever_the_cause_and_the_counters_stay() {
    run(async {
        let harness = with_jobs(2).build().await;
        harness.scrape().await;
        harness.fake.fault(Fault::Hang.always());
        harness.turn(seconds(600));
        let edge = harness.scrape_within(Some("0.1")).await;
        assert_eq!((jobs(&edge), edge.value(UP, &[])), (2, Some(1.0)), "the limit itself is within it");
        harness.turn(Duration::from_millis(1));
        // The refresh hangs: it is the age alone that counts.
        harness.fake.wait_for_requests(2).await;
        let old = harness.scrape_within(Some("0.1")).await;
        assert_eq!((jobs(&old), error(&old).as_deref()), (0, Some("Timeout")));
        assert!(old.family("pinpoint_segment_export_jobs").is_none());
        assert!(old.value("pinpoint_target_last_success_timestamp_seconds", &[]).is_some());
        assert!(old.value("pinpoint_target_refresh_duration_seconds", &[]).is_some());
        assert_eq!(old.sum(REQUESTS, &[]), 2);
        assert_eq!(old.value("pinpoint_exporter_series", &[]), Some(4.0));
    });
}

#[test]
fn data_vanish_at_the_limit_also_when_every_refresh_fails_and_come_back_with_a_good_one() {
    run(async {
        let harness = with_jobs(2).build().await;
        harness.scrape().await;
        harness.fake.fault(Fault::error("ForbiddenException").always());
        harness.turn(seconds(601));
        let scrape = harness.scrape().await;
        assert_eq!((jobs(&scrape), error(&scrape).as_deref()), (0, Some("ForbiddenException")));
        harness.fake.clear_faults();
        harness.turn(seconds(50));
        assert_eq!(jobs(&harness.scrape().await), 2);
    });
}

#[test]
fn a_refresh_that_takes_too_long_fails_as_timeout() {
    run_in_virtual_time(async {
        let harness = with_jobs(30)
            .set("PAGE_SIZE", "1")
            .set("REFRESH_TIMEOUT", "300ms")
            .set("REQUEST_TIMEOUT", "10s")
            .build()
            .await;
        harness.fake.fault(Fault::Delay { milliseconds: 50 }.always());
        // A scrape waits no longer than the refresh may take, so the first one can come too early for its end.
        let mut scrape = harness.scrape().await;
        while scrape.value(UP, &[]).is_none() {
            scrape = harness.scrape().await;
        }
        assert_eq!((error(&scrape).as_deref(), jobs(&scrape)), (Some("Timeout"), 0));
        let answered = harness.fake.requests().len();
        assert!((2..30).contains(&answered), "{answered} pages were asked for");
        // The attempt that was cut counts as an error.
        harness.assert_equation(answered - 1).await;
    });
}

// 5 and 6. All or nothing, and the end of a listing.

#[test]
fn a_failure_on_page_3_of_5_keeps_the_old_picture() {
    run(async {
        let harness = with_jobs(5).set("PAGE_SIZE", "1").build().await;
        assert_eq!(jobs(&harness.scrape().await), 5);
        fill(&mut harness.fake.world(), SEGMENT, 4);
        harness.fake.world().segment(APP, SEGMENT).jobs.push(Life::new("new", 0, 1).into());
        harness.fake.fault(Fault::error("InternalServerErrorException").on_page(3));
        harness.turn(seconds(50));
        let scrape = harness.scrape().await;
        assert_eq!(error(&scrape).as_deref(), Some("InternalServerErrorException"));
        assert_eq!(jobs(&scrape), 5);
        assert_eq!(scrape.samples(JOBS, &[("job_id", "new")]).len(), 0);
        assert_eq!(harness.listings(), 5 + 3);
        harness.fake.clear_faults();
        harness.turn(seconds(50));
        assert_eq!(
            harness.scrape().await.value("pinpoint_segment_export_jobs", &[("status", "COMPLETED")]),
            Some(1.0)
        );
        harness.assert_equation(5 + 2 + 5).await;
    });
}

#[test]
fn a_listing_of_many_pages_is_read_to_its_end() {
    run(async {
        let harness = with_jobs(25).set("PAGE_SIZE", "10").build().await;
        assert_eq!(jobs(&harness.scrape().await), 25);
        let sizes: Vec<String> = harness.fake.requests().iter().map(|r| r.query.clone()).collect();
        assert_eq!(sizes.len(), 3);
        assert!(sizes.iter().all(|query| query.starts_with("page-size=10")), "{sizes:?}");
    });
}

#[test]
fn a_repeated_token_and_a_listing_without_end_are_invalid_answers() {
    for (fault, pages) in [(Fault::RepeatedToken, 2), (Fault::EndlessTokens, 7)] {
        run(async move {
            let harness = with_jobs(1).set("MAX_PAGES", "7").set("MAX_ATTEMPTS", "3").build().await;
            harness.fake.fault(fault.always());
            let scrape = harness.scrape().await;
            assert_eq!((error(&scrape).as_deref(), jobs(&scrape)), (Some("InvalidResponse"), 0));
            assert_eq!(harness.listings(), pages);
            assert_eq!(scrape.sum(ERRORS, &[]), 1, "one per attempt");
            harness.assert_equation(pages - 1).await;
        });
    }
}

// 7. Retries.

#[test]
fn throttling_server_errors_timeouts_and_broken_connections_are_tried_again_and_nothing_else() {
    let tried_again = [
        Fault::error("ThrottlingException"),
        Fault::error("TooManyRequestsException"),
        Fault::error("InternalServerErrorException"),
        Fault::error("ServiceUnavailableException"),
        Fault::error("RequestTimeoutException"),
        Fault::Error {
            name: String::new(),
            status: Some(502),
            place: Place::Header,
            message: None,
            headers: BTreeMap::new(),
        },
        Fault::Hang,
        Fault::Reset,
        Fault::Truncated,
    ];
    let not = [
        Fault::error("BadRequestException"),
        Fault::error("ForbiddenException"),
        Fault::error("NotFoundException"),
        Fault::error("AccessDeniedException"),
        Fault::error("SomethingElse"),
        Fault::Html,
        Fault::NoItem,
        Fault::Redirect { location: "/elsewhere".to_owned() },
    ];
    let all = tried_again.map(|fault| (fault, 2)).into_iter().chain(not.map(|fault| (fault, 1)));
    run_in_virtual_time(async move {
        let harness = with_jobs(1)
            .set("MAX_ATTEMPTS", "3")
            .set("REQUEST_TIMEOUT", "200ms")
            .set("CACHE_TTL", "0s")
            .build()
            .await;
        for (fault, attempts) in all {
            harness.fake.clear_requests();
            let name = format!("{fault:?}");
            harness.fake.fault(fault.times(1));
            let scrape = harness.scrape().await;
            assert_eq!(harness.listings(), attempts, "{name}");
            assert_eq!(scrape.value(UP, &[]), Some(if attempts == 2 { 1.0 } else { 0.0 }), "{name}");
            harness.fake.clear_faults();
        }
    });
}

#[test]
fn no_request_is_tried_more_often_than_allowed() {
    run(async {
        let harness = with_jobs(1).set("MAX_ATTEMPTS", "4").build().await;
        harness.fake.fault(Fault::error("InternalServerErrorException").always());
        let scrape = harness.scrape().await;
        assert_eq!(harness.listings(), 4);
        assert_eq!((scrape.sum(RETRIES, &[]), scrape.sum(REQUESTS, &[])), (3, 4));
        harness.assert_equation(0).await;
    });
}

#[test]
fn the_quota_of_retries_dries_up_under_a_storm_and_fills_again() {
    run(async {
        let harness = many_segments(30).set("MAX_ATTEMPTS", "3").build().await;
        harness.fake.fault(Fault::error("InternalServerErrorException").always());
        let storm = harness.scrape().await;
        // 500 tokens at 14 a retry; 60 would have been allowed.
        assert_eq!(storm.sum(RETRIES, &[]), 35);
        harness.turn(seconds(50));
        assert_eq!(harness.scrape().await.sum(RETRIES, &[]), 35, "the quota is empty");
        harness.fake.clear_faults();
        harness.turn(seconds(50));
        harness.scrape().await;
        // 10 tokens were left and 30 good refreshes brought one each: enough for two retries.
        harness.fake.fault(Fault::error("InternalServerErrorException").always());
        harness.turn(seconds(50));
        assert_eq!(harness.scrape().await.sum(RETRIES, &[]), 37);
    });
}

fn with_header(mut error: Fault, name: &str, value: &str) -> Fault {
    if let Fault::Error { headers, .. } = &mut error {
        headers.insert(name.to_owned(), value.to_owned());
    }
    error
}

#[test]
fn the_headers_of_an_answer_lengthen_the_wait() {
    for (name, value, least) in [("Retry-After", "1", 1_000), ("x-amz-retry-after", "700", 700)] {
        run_in_virtual_time(async move {
            let harness = with_jobs(1).set("MAX_ATTEMPTS", "2").build().await;
            let fault = with_header(Fault::error("InternalServerErrorException"), name, value);
            harness.fake.fault(fault.times(1));
            let start = Instant::now();
            assert_eq!(jobs(&harness.scrape().await), 1);
            let wait = start.elapsed().as_millis();
            assert!((least..least + 1_500).contains(&wait), "{name}: {wait} ms");
            assert_eq!(harness.listings(), 2);
        });
    }
}

#[test]
fn a_wait_beyond_the_budget_is_not_waited() {
    for wait in ["3600", "18446744073709551615", "Fri, 31 Dec 9999 23:59:59 GMT"] {
        run(async move {
            let harness = with_jobs(1).set("MAX_ATTEMPTS", "3").build().await;
            let fault = with_header(Fault::error("TooManyRequestsException"), "Retry-After", wait);
            harness.fake.fault(fault.always());
            assert_eq!(error(&harness.scrape().await).as_deref(), Some("TooManyRequestsException"));
            assert_eq!(harness.listings(), 1);
        });
    }
}

#[test]
fn a_wrong_clock_costs_one_attempt_and_is_right_from_then_on() {
    // An hour; about 1970 and 2200; and what no signature can hold.
    for (wrong, expected) in [
        (-3_600, 3_600.0),
        (3_600, -3_600.0),
        (-1_700_000_000, 1_700_000_000.0),
        (5_600_000_000, -5_600_000_000.0),
        (-60_000_000_000, 60_000_000_000.0),
        (300_000_000_000, -300_000_000_000.0),
    ] {
        run(async move {
            let harness = with_jobs(1).set("MAX_ATTEMPTS", "3").at(1_700_000_000_000).build().await;
            harness.clock.be_wrong_by(wrong);
            let scrape = harness.scrape().await;
            assert_eq!((jobs(&scrape), harness.listings()), (1, 2));
            let skew = scrape.value("pinpoint_exporter_clock_skew_seconds", &[]).unwrap();
            assert!((skew - expected).abs() < 1.0, "{skew}");
            harness.turn(seconds(50));
            harness.scrape().await;
            assert_eq!(harness.listings(), 3, "the next request is signed rightly at once");
            harness.assert_equation(2).await;
        });
    }
}

#[test]
fn a_date_to_wait_for_is_one_of_awss_clock() {
    run(async {
        let harness = with_jobs(1).set("MAX_ATTEMPTS", "3").at(1_700_000_000_000).build().await;
        harness.clock.be_wrong_by(-3_600);
        harness.scrape().await;
        let soon = httpdate::fmt_http_date(std::time::UNIX_EPOCH + seconds(1_700_000_050 + 1));
        let fault = with_header(Fault::error("TooManyRequestsException"), "Retry-After", &soon);
        harness.fake.fault(fault.times(1));
        harness.turn(seconds(50));
        // By our clock it is in an hour, which no refresh may take.
        assert_eq!(error(&harness.scrape().await), None);
    });
}

#[test]
fn a_wrong_secret_is_not_taken_for_a_wrong_clock() {
    run(async {
        let harness = with_jobs(1).set("MAX_ATTEMPTS", "3").build().await;
        let mut key = Options::default_key();
        key.secret_access_key = "wrong".to_owned();
        harness.source.give(Some(credentials(&key, None)));
        assert_eq!(error(&harness.scrape().await).as_deref(), Some("InvalidSignatureException"));
        assert_eq!(harness.listings(), 1);
    });
}

// 8. Credentials.

#[test]
fn the_source_of_credentials_is_asked_once_for_many_requests() {
    run(async {
        let harness = many_segments(30).build().await;
        harness.scrape().await;
        harness.turn(seconds(60));
        harness.scrape().await;
        assert_eq!((harness.listings(), harness.source.asked()), (60, 1));
    });
}

#[test]
fn credentials_are_fetched_anew_before_they_expire_and_none_that_expired_is_used() {
    run(async {
        let harness = with_jobs(1).build().await;
        let key = |n: u32| fake_pinpoint::Key {
            session_token: Some(format!("token-{n}")),
            ..Options::default_key()
        };
        let expiry = |harness: &Harness| {
            Some(pinpoint_exporter::model::clock::Clock::now(&*harness.clock) + seconds(3_600))
        };
        harness.fake.set_keys(vec![key(1)]);
        harness.source.give(Some(credentials(&key(1), expiry(&harness))));
        let shown = |scrape: &Scrape| {
            let labels = [("aws_account_id", "")];
            scrape.value("pinpoint_exporter_credentials_expiry_timestamp_seconds", &labels).unwrap()
        };
        let first = shown(&harness.scrape().await);
        // Less than an hour later, both ends have the next ones.
        harness.turn(seconds(3_400));
        harness.fake.set_keys(vec![key(1), key(2)]);
        harness.source.give(Some(credentials(&key(2), expiry(&harness))));
        let scrape = loop {
            // The old ones are valid, so the first scrape does not wait for the others.
            let scrape = harness.scrape().await;
            if shown(&scrape) > first {
                break scrape;
            }
        };
        assert_eq!((error(&scrape), harness.source.asked()), (None, 2));
        assert_eq!(scrape.sum(ERRORS, &[]), 0);
        assert!((shown(&scrape) - first - 3_400.0).abs() < 0.5, "{} after {first}", shown(&scrape));
        harness.fake.set_keys(vec![key(2)]);
        harness.turn(seconds(200));
        assert_eq!(error(&harness.scrape().await), None);
    });
}

#[test]
fn credentials_that_do_not_expire_have_no_date_of_it() {
    run(async {
        let harness = with_jobs(1).build().await;
        let scrape = harness.scrape().await;
        assert!(scrape.family("pinpoint_exporter_credentials_expiry_timestamp_seconds").is_none());
    });
}

#[test]
fn an_expired_token_is_replaced_once_within_the_request() {
    run(async {
        let harness = with_jobs(1).set("MAX_ATTEMPTS", "3").build().await;
        harness.scrape().await;
        let other =
            fake_pinpoint::Key { access_key_id: "ASIAOTHER0000000000".to_owned(), ..Options::default_key() };
        harness.fake.set_keys(vec![Options::default_key(), other.clone()]);
        harness.source.give(Some(credentials(&other, None)));
        harness.fake.fault(Fault::error("ExpiredTokenException").times(1));
        harness.turn(seconds(50));
        let scrape = harness.scrape().await;
        assert_eq!((error(&scrape), harness.source.asked(), harness.listings()), (None, 2, 3));
        harness.fake.fault(Fault::error("ExpiredTokenException").always());
        harness.turn(seconds(50));
        let scrape = harness.scrape().await;
        assert_eq!(error(&scrape).as_deref(), Some("ExpiredTokenException"));
        assert_eq!(harness.listings(), 4, "the source gave the same credentials");
        harness.assert_equation(2).await;
    });
}

#[test]
fn without_credentials_the_exporter_serves_says_so_and_tries_again() {
    run(async {
        let harness = with_jobs(1).build().await;
        let found = credentials(&Options::default_key(), None);
        harness.source.give(None);
        let scrape = harness.scrape().await;
        assert_eq!(error(&scrape).as_deref(), Some("CredentialsError"));
        assert_eq!((scrape.sum(REQUESTS, &[]), scrape.sum(ERRORS, &[])), (0, 1));
        harness.source.give(Some(found));
        harness.turn(seconds(50));
        let scrape = harness.scrape().await;
        assert_eq!(jobs(&scrape), 1);
        harness.assert_equation(1).await;
    });
}

// Of the rules in sections 1 and 2 that only show in a scrape.

#[test]
fn parts_that_cannot_be_understood_are_counted_and_the_refresh_succeeds() {
    run(async {
        let harness = Plan::new().build().await;
        let items =
            [json!({"Id": "a"}), json!(null), json!({"Id": "b", "TotalPieces": "x"}), json!({"Id": ""})];
        harness.fake.world().segment(APP, SEGMENT).jobs = items.map(|item| Job::Verbatim { item }).into();
        let scrape = harness.scrape().await;
        assert_eq!((error(&scrape), jobs(&scrape)), (None, 2));
        assert_eq!(scrape.sum("pinpoint_api_skipped_items_total", &[]), 2);
        assert_eq!(
            scrape.value(ERRORS, &[("operation", "GetSegmentExportJobs"), ("exception", "InvalidResponse")]),
            Some(1.0)
        );
        harness.assert_equation(0).await;
    });
}

#[test]
fn a_whole_application_is_read_with_one_listing() {
    run(async {
        let harness = Plan::new()
            .set("TARGETS", APP)
            .world(|world| {
                fill(world, SEGMENT, 2);
                let item = json!({"Id": "of-all", "JobStatus": "FAILED", "Definition": {}});
                world.applications.get_mut(APP).unwrap().jobs.push(Job::Verbatim { item });
                world.segment(APP, "never-ran");
                let life = Life::new("of-segment", 0, 1);
                world.segment(APP, "another").jobs.push(life.into());
            })
            .set("FINISHED_JOB_MAX_AGE", "0s")
            .build()
            .await;
        let scrape = harness.scrape().await;
        assert_eq!(harness.fake.count(Operation::GetExportJobs), 1);
        let segment = |job| scrape.samples(JOBS, &[("job_id", job)])[0].labels["segment_id"].clone();
        assert_eq!((segment("of-all").as_str(), segment("of-segment").as_str()), ("", "another"));
        assert_eq!(
            scrape.value("pinpoint_segment_export_jobs", &[("segment_id", ""), ("status", "FAILED")]),
            Some(1.0)
        );
        assert_eq!(scrape.samples("pinpoint_segment_export_jobs", &[("segment_id", "never-ran")]).len(), 0);
        assert_eq!(scrape.value(UP, &[("segment_id", "")]), Some(1.0));
    });
}

#[test]
fn ids_of_every_kind_reach_the_api_as_they_are() {
    run(async {
        let ids = ["a/b", "a+b", "%2F", "a b", "日本 é", "a:b@c!$&'()*,;=", "quote\"back\\slash"];
        let escape = |id: &str| id.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
        let targets: Vec<String> = ids.iter().map(|id| format!("{}/{}", escape(APP), escape(id))).collect();
        let harness = Plan::new()
            .set("TARGETS", &targets.join(","))
            .world(|world| ids.iter().for_each(|id| fill(world, id, 1)))
            .build()
            .await;
        let scrape = harness.scrape().await;
        for id in ids {
            assert_eq!(scrape.value(UP, &[("segment_id", id)]), Some(1.0), "{id}");
        }
        harness.assert_equation(ids.len()).await;
    });
}

#[test]
fn one_target_that_fails_does_not_touch_another() {
    run(async {
        let harness = many_segments(3).build().await;
        harness.fake.fault(Fault::error("NotFoundException").always().of_segment("segment-001"));
        let scrape = harness.scrape().await;
        let up = |id| scrape.value(UP, &[("segment_id", id)]);
        assert_eq!(
            (up("segment-000"), up("segment-001"), up("segment-002")),
            (Some(1.0), Some(0.0), Some(1.0))
        );
        assert_eq!(jobs(&scrape), 2);
    });
}

#[test]
fn two_scrapes_of_the_same_data_are_the_same_bytes_but_for_the_exporters_own() {
    run(async {
        let harness = many_segments(5).build().await;
        let jobs_part = |text: &str| text.split("# HELP pinpoint_exporter_").next().unwrap().to_owned();
        let (first, second) = (harness.text(None).await, harness.text(None).await);
        assert_eq!(jobs_part(&first), jobs_part(&second));
        assert_ne!(first, second, "the lookups count on");
    });
}
