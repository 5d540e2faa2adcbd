//! Targets that are found: whole applications, whole regions, several of either.

use std::time::Duration;

use fake_pinpoint::{
    FakePinpoint, HANG_LIMIT, Operation,
    fault::{Fault, Rule},
    world::{Life, World},
};

use crate::support::{
    harness::{Harness, Plan, run, run_in_virtual_time, run_within},
    program::Program,
    text_format::Scrape,
};

const UP: &str = "pinpoint_target_up";
const DISCOVERY: &str = "pinpoint_discovery_up";

fn world(applications: usize, segments: usize) -> impl FnOnce(&mut World) {
    move |world| {
        *world = World::default();
        for a in 0..applications {
            for s in 0..segments {
                let segment = world.segment(&format!("app-{a}"), &format!("segment-{s:02}"));
                segment.imported = s % 2 == 0;
                segment.jobs.push(Life::new(format!("job-{a}-{s}"), 0, 1).into());
            }
        }
    }
}

fn plan(targets: &str, applications: usize, segments: usize) -> Plan {
    Plan::new().set("TARGETS", targets).set("FINISHED_JOB_MAX_AGE", "0s").world(world(applications, segments))
}

fn targets(scrape: &Scrape) -> Vec<(String, String)> {
    let of = |label: &str, labels: &std::collections::BTreeMap<String, String>| labels[label].clone();
    let samples = scrape.samples(UP, &[]);
    samples.iter().map(|s| (of("application_id", &s.labels), of("segment_id", &s.labels))).collect()
}

fn failing(operation: Operation, fault: Fault) -> Rule {
    Rule { operation: Some(operation), ..fault.always() }
}

fn count(harness: &Harness) -> [usize; 4] {
    [Operation::GetApps, Operation::GetSegments, Operation::GetSegmentExportJobs, Operation::GetExportJobs]
        .map(|operation| harness.fake.count(operation))
}

#[test]
fn the_first_scrape_finds_and_reads_everything_with_the_fewest_requests() {
    for (targets_text, requests, found) in [
        ("app-0/*", [0, 1, 5, 0], 5),
        ("*/*", [1, 3, 15, 0], 15),
        ("*", [1, 0, 0, 3], 3),
        ("app-0/* app-1/segment-03", [0, 1, 6, 0], 6),
        ("app-0/segment-00 app-0/*", [0, 1, 5, 0], 5),
    ] {
        run(async move {
            let harness = plan(targets_text, 3, 5).build().await;
            let scrape = harness.scrape().await;
            assert_eq!(targets(&scrape).len(), found, "{targets_text}");
            assert_eq!(scrape.sum(UP, &[]), found as u64, "{targets_text}");
            assert_eq!(count(&harness), requests, "{targets_text}");
            assert_eq!(scrape.sum("pinpoint_exporter_cache_lookups_total", &[]), found as u64);
            harness.scrape().await;
            assert_eq!(count(&harness), requests, "cached: {targets_text}");
            harness.assert_equation(requests.iter().sum()).await;
        });
    }
}

#[test]
fn what_is_found_is_read_in_the_same_round_though_the_scrape_was_answered_meanwhile() {
    run_in_virtual_time(async {
        let harness = plan("*/*", 2, 3).build().await;
        harness.fake.fault(Rule {
            operation: Some(Operation::GetApps),
            ..Fault::Delay { milliseconds: 1_000 }.always()
        });
        let first = harness.scrape_within(Some("0.1")).await;
        assert_eq!(targets(&first).len(), 0, "the list of applications is not there yet");
        harness.fake.wait_for_requests(1 + 2 + 6).await;
        // This one joins what is under way, if anything still is.
        assert_eq!(harness.scrape().await.sum(UP, &[]), 6);
        assert_eq!(count(&harness), [1, 2, 6, 0]);
        harness.assert_equation(9).await;
    });
}

#[test]
fn every_list_says_whether_it_was_read() {
    run(async {
        let harness = plan("*/*", 2, 1).build().await;
        harness.fake.fault(Rule {
            application: Some("app-1".to_owned()),
            ..failing(Operation::GetSegments, Fault::error("AccessDeniedException"))
        });
        let scrape = harness.scrape().await;
        let up = |app| scrape.value(DISCOVERY, &[("application_id", app)]);
        assert_eq!((up(""), up("app-0"), up("app-1")), (Some(1.0), Some(1.0), Some(0.0)));
        let labels = [("operation", "GetSegments"), ("exception", "AccessDeniedException")];
        assert_eq!(scrape.value("pinpoint_api_errors_total", &labels), Some(1.0));
        assert_eq!(targets(&scrape), [("app-0".to_owned(), "segment-00".to_owned())]);
    });
}

#[test]
fn what_is_created_appears_and_what_is_deleted_loses_its_series_at_once() {
    run(async {
        let harness = plan("*/*", 2, 2).build().await;
        assert_eq!(targets(&harness.scrape().await).len(), 4);
        {
            let mut world = harness.fake.world();
            world.segment("app-0", "new");
            world.segment("new-app", "first");
            world.applications.remove("app-1");
            world.applications.get_mut("app-0").unwrap().segments.remove("segment-00");
        }
        harness.turn(Duration::from_secs(299));
        let before = harness.scrape().await;
        assert_eq!(targets(&before).len(), 4, "the lists are younger than DISCOVERY_TTL");
        harness.turn(Duration::from_secs(1));
        let after = harness.scrape().await;
        let pair = |a: &str, s: &str| (a.to_owned(), s.to_owned());
        assert_eq!(
            targets(&after),
            [pair("app-0", "new"), pair("app-0", "segment-01"), pair("new-app", "first")]
        );
        for family in &after.families {
            let gone = |labels: &std::collections::BTreeMap<String, String>| {
                labels.get("application_id").is_some_and(|id| id == "app-1")
                    || labels.get("segment_id").is_some_and(|id| id == "segment-00")
            };
            assert!(!family.samples.iter().any(|sample| gone(&sample.labels)), "{}", family.name);
        }
        // A segment that never exported is a value.
        let never = [("segment_id", "new"), ("status", "COMPLETED")];
        assert_eq!(after.value("pinpoint_segment_export_jobs", &never), Some(0.0));
    });
}

#[test]
fn a_list_that_fails_is_denied_or_garbled_keeps_the_picture_and_is_tried_again_after_the_cache_ttl() {
    for fault in [
        Fault::error("InternalServerErrorException"),
        Fault::error("AccessDeniedException"),
        Fault::Html,
        Fault::NoItem,
    ] {
        run(async move {
            let harness = plan("*/*", 2, 2).build().await;
            harness.scrape().await;
            harness.fake.fault(failing(Operation::GetApps, fault.clone()));
            harness.fake.fault(failing(Operation::GetSegments, fault));
            harness.turn(Duration::from_mins(5));
            let scrape = harness.scrape().await;
            assert_eq!((targets(&scrape).len(), scrape.sum(UP, &[])), (4, 4));
            assert_eq!((scrape.samples(DISCOVERY, &[]).len(), scrape.sum(DISCOVERY, &[])), (3, 0));
            let [apps, segments, ..] = count(&harness);
            harness.turn(Duration::from_secs(49));
            harness.scrape().await;
            assert_eq!(count(&harness)[..2], [apps, segments]);
            harness.fake.clear_faults();
            harness.turn(Duration::from_secs(1));
            let scrape = harness.scrape().await;
            assert_eq!(count(&harness)[..2], [apps + 1, segments + 2]);
            assert_eq!(scrape.sum(DISCOVERY, &[]), 3);
        });
    }
}

#[test]
fn a_scrape_asks_for_a_list_once_however_short_its_life() {
    run_in_virtual_time(async {
        for fault in [Fault::error("InternalServerErrorException"), Fault::Delay { milliseconds: 300 }] {
            let harness = plan("*/*", 2, 2)
                .set("CACHE_TTL", "0s")
                .set("DISCOVERY_TTL", "0s")
                .set("SCRAPE_TIMEOUT", "2s")
                .build()
                .await;
            harness.fake.fault(failing(Operation::GetSegments, fault));
            harness.scrape().await;
            assert_eq!(count(&harness)[..2], [1, 2]);
            harness.scrape().await;
            assert_eq!(count(&harness)[..2], [2, 4]);
        }
    });
}

#[test]
fn a_list_of_many_pages_is_read_to_its_end() {
    run(async {
        let harness = plan("app-0/*", 1, 25).set("PAGE_SIZE", "10").build().await;
        assert_eq!(targets(&harness.scrape().await).len(), 25);
        assert_eq!(count(&harness)[1], 3);
    });
}

#[test]
fn a_scrape_answers_in_time_while_lists_are_slow_and_the_rest_follows() {
    run_in_virtual_time(async {
        let harness = plan("*/*", 2, 2).build().await;
        harness.fake.fault(failing(Operation::GetApps, Fault::Delay { milliseconds: 700 }));
        let first = harness.scrape_within(Some("0.7")).await;
        assert_eq!((targets(&first).len(), first.samples(DISCOVERY, &[]).len()), (0, 0));
        let second = harness.scrape_within(Some("60")).await;
        assert_eq!(targets(&second).len(), 4);
        assert_eq!(count(&harness), [1, 2, 4, 0]);
    });
}

#[test]
fn two_scrapers_at_once_during_discovery_cost_no_call_more() {
    run(async {
        let harness = plan("*/*", 3, 4).build().await;
        harness.fake.fault(Fault::Delay { milliseconds: 50 }.always());
        let scrapes = futures_util::future::join_all((0..4).map(|_| harness.scrape())).await;
        assert!(scrapes.iter().all(|scrape| targets(scrape).len() == 12));
        assert_eq!(count(&harness), [1, 3, 12, 0]);
    });
}

#[test]
fn fifty_applications_of_a_hundred_segments_each_are_all_found() {
    run_within(5 * HANG_LIMIT, async {
        let harness = plan("*/*", 50, 100).set("SCRAPE_TIMEOUT", "25s").build().await;
        while harness.scrape().await.sum(UP, &[]) < 5_000 {}
        assert_eq!(count(&harness), [1, 50, 5_000, 0]);
    });
}

#[test]
fn several_regions_and_accounts_are_served_side_by_side() {
    run(async {
        let arn = |region: &str, account: &str| {
            format!("arn:aws:mobiletargeting:{region}:{account}:apps/*/segments/*")
        };
        let text = [
            arn("eu-west-1", "111111111111"),
            arn("eu-west-1", "222222222222"),
            arn("us-east-1", "111111111111"),
        ];
        let harness = plan(&text.join(" "), 1, 2).build().await;
        let scrape = harness.scrape().await;
        assert_eq!(count(&harness), [3, 3, 6, 0]);
        for (region, account) in
            [("eu-west-1", "111111111111"), ("eu-west-1", "222222222222"), ("us-east-1", "111111111111")]
        {
            let labels = [("aws_region", region), ("aws_account_id", account)];
            assert_eq!(scrape.sum(UP, &labels), 2, "{labels:?}");
            assert_eq!(scrape.samples(DISCOVERY, &labels).len(), 2, "{labels:?}");
        }
        assert_eq!(harness.source.asked(), 1, "accounts without a role share the credentials");
        // Each request is signed for the region of its target.
        let of_region = |region: &str| {
            let scope = format!("/{region}/mobiletargeting/");
            let signed =
                |r: &fake_pinpoint::Request| r.header("authorization").is_some_and(|a| a.contains(&scope));
            harness.fake.requests().iter().filter(|request| signed(request)).count()
        };
        assert_eq!((of_region("eu-west-1"), of_region("us-east-1")), (8, 4));
    });
}

#[test]
fn shards_share_targets_that_are_named_and_found_without_gap_or_overlap() {
    for targets_text in
        ["*/*", "app-0/segment-00 app-0/segment-01 app-0/segment-02 app-1/segment-00 app-1/segment-01"]
    {
        for count in [2, 5] {
            run(async move {
                let all = targets(&plan(targets_text, 3, 10).build().await.scrape().await);
                let mut found = Vec::new();
                for ordinal in 0..count {
                    let shard = format!("{ordinal}/{count}");
                    let harness = plan(targets_text, 3, 10).set("SHARD", &shard).build().await;
                    found.extend(targets(&harness.scrape().await));
                }
                found.sort();
                assert_eq!(found, all, "{targets_text} in {count}");
            });
        }
    }
}

#[test]
fn an_id_that_a_path_cannot_hold_is_skipped_and_its_neighbours_are_read() {
    for (targets_text, operation) in
        [("app-0/*", Operation::GetSegments), ("*", Operation::GetApps), ("*/*", Operation::GetApps)]
    {
        run(async move {
            let harness = plan(targets_text, 2, 2).build().await;
            let body =
                r#"{"Item":[{"Id":".."},{"Id":"."},{"Id":""},{"Name":"none"},{"Id":"app-0"}]}"#.to_owned();
            let fault = Fault::Answer { status: 200, headers: std::collections::BTreeMap::new(), body };
            harness.fake.fault(failing(operation, fault));
            let scrape = harness.scrape().await;
            let name = format!("{operation:?}");
            let labels = [("operation", name.as_str())];
            assert_eq!(
                scrape.value("pinpoint_api_skipped_items_total", &labels),
                Some(4.0),
                "{targets_text}"
            );
            let labels = [("operation", name.as_str()), ("exception", "InvalidResponse")];
            assert_eq!(scrape.value("pinpoint_api_errors_total", &labels), Some(1.0), "{targets_text}");
            assert!(targets(&scrape).iter().all(|(app, segment)| app == "app-0" && segment != ".."));
            assert!(!targets(&scrape).is_empty(), "{targets_text}");
            let odd: Vec<_> = harness.fake.requests();
            let odd: Vec<_> = odd.into_iter().filter(|it| it.operation.is_none()).collect();
            assert!(odd.is_empty(), "{targets_text} asked for something else: {odd:?}");
        });
    }
}

#[test]
fn parts_of_a_list_that_are_left_out_are_logged_once() {
    run(async {
        let mut world = World::default();
        world.segment("app", "segment");
        let fake = FakePinpoint::start(world).await.unwrap();
        let body = r#"{"Item":[{"Id":".."},{"Id":"segment"},7]}"#.to_owned();
        let fault = Fault::Answer { status: 200, headers: std::collections::BTreeMap::new(), body };
        fake.fault(failing(Operation::GetSegments, fault));
        let mut program = Program::start(&[
            ("AWS_ENDPOINT_URL_PINPOINT", &fake.url()),
            ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE"),
            ("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
            ("PINPOINT_EXPORTER_TARGETS", "app/*"),
            ("PINPOINT_EXPORTER_DISCOVERY_TTL", "0s"),
        ]);
        for _ in 0..2 {
            program.scrape().await;
        }
        program.terminate();
        assert!(program.end().await.success());
        let log = program.log();
        let lines: Vec<_> = log.lines().filter(|line| line.contains("left out")).collect();
        assert!(
            matches!(lines[..], [line] if line.contains(r#"list="segments of app" items_left_out=2"#)),
            "{log}"
        );
    });
}
