//! Names of applications and segments: where they come from, what they cost, and that they never touch a target.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use fake_pinpoint::{
    FakePinpoint, HANG_LIMIT, Operation,
    fault::{Fault, Rule},
    world::{Life, World},
};
use serde_json::Value;

use crate::support::{
    harness::{Harness, Plan, run, run_in_virtual_time, run_within},
    program::Program,
    text_format::Scrape,
};

const UP: &str = "pinpoint_target_up";
const DISCOVERY: &str = "pinpoint_discovery_up";
const APPLICATION: &str = "pinpoint_application_info";
const SEGMENT: &str = "pinpoint_segment_info";

/// Two applications of three segments, of which the last has no name. Each has a job.
fn shops(world: &mut World) {
    *world = World::default();
    for app in ["blog", "shop"] {
        for (id, name) in [("s0", "Newsletter"), ("s1", "Win-back"), ("s2", "")] {
            let segment = world.segment(app, id);
            segment.name = name.into();
            segment.imported = id == "s1";
            segment.tags = [("team".to_owned(), format!("{app} team"))].into();
            segment.jobs.push(Life::new(format!("job-{app}-{id}"), 0, 1).into());
        }
        world.applications.get_mut(app).unwrap().name = format!("The {app}");
    }
}

fn plan(targets: &str, names: &str) -> Plan {
    Plan::new().set("TARGETS", targets).set("NAMES", names).set("FINISHED_JOB_MAX_AGE", "0s").world(shops)
}

/// The names that a scrape shows, by application and segment; an application itself has the segment `""`.
fn names(scrape: &Scrape) -> BTreeMap<(String, String), String> {
    let of = |family: &str, name: &str| {
        let samples = scrape.samples(family, &[]);
        let entry = |labels: &BTreeMap<String, String>| {
            let segment = labels.get("segment_id").cloned().unwrap_or_default();
            ((labels["application_id"].clone(), segment), labels[name].clone())
        };
        samples.iter().map(|sample| entry(&sample.labels)).collect::<Vec<_>>()
    };
    of(APPLICATION, "application_name").into_iter().chain(of(SEGMENT, "segment_name")).collect()
}

fn expected(entries: &[(&str, &str, &str)]) -> BTreeMap<(String, String), String> {
    let own = |(app, segment, name): &(&str, &str, &str)| {
        (((*app).to_owned(), (*segment).to_owned()), (*name).to_owned())
    };
    entries.iter().map(own).collect()
}

fn failing(operation: Operation, fault: Fault) -> Rule {
    Rule { operation: Some(operation), ..fault.always() }
}

/// An answer with this body.
fn answer(body: &str) -> Fault {
    Fault::Answer { status: 200, headers: BTreeMap::new(), body: body.to_owned() }
}

impl Harness {
    /// The listings of applications and of segments so far.
    fn lists(&self) -> [usize; 2] {
        [Operation::GetApps, Operation::GetSegments].map(|operation| self.fake.count(operation))
    }

    /// Scrapes until the scrape is as it must be: no scrape waits for names. The clock stands still, so that no target is read
    /// again.
    async fn scrape_until(&self, is_it: impl Fn(&Scrape) -> bool) -> Scrape {
        loop {
            let scrape = self.scrape().await;
            if is_it(&scrape) {
                return scrape;
            }
            tokio::task::yield_now().await;
        }
    }

    async fn scrape_until_named(&self, entries: &[(&str, &str, &str)]) -> Scrape {
        self.scrape_until(|scrape| names(scrape) == expected(entries)).await
    }

    /// Scrapes until every request for a list has been answered and judged.
    async fn scrape_until_lists_have_ended(&self, requests: u64) -> Scrape {
        self.scrape_until(|scrape| {
            let ended = ["GetApps", "GetSegments"].map(|operation| {
                scrape.sum("pinpoint_api_request_duration_seconds_count", &[("operation", operation)])
            });
            ended.iter().sum::<u64>() == requests
        })
        .await
    }
}

const SHOP: [(&str, &str, &str); 3] =
    [("shop", "s0", "Newsletter"), ("shop", "s1", "Win-back"), ("shop", "s2", "")];

#[test]
fn discovered_names_cost_no_call_and_are_those_of_the_lists_that_are_read_anyway() {
    for (targets, lists, shown) in [
        ("shop/*", [0, 1], SHOP.to_vec()),
        ("*", [1, 0], vec![("blog", "", "The blog"), ("shop", "", "The shop")]),
        ("shop/s0 blog", [0, 0], vec![]),
        (
            "*/* shop/s0",
            [1, 2],
            [
                &SHOP[..],
                &[("blog", "", "The blog"), ("shop", "", "The shop")],
                &[("blog", "s0", "Newsletter"), ("blog", "s1", "Win-back"), ("blog", "s2", "")],
            ]
            .concat(),
        ),
    ] {
        run(async move {
            let harness = plan(targets, "discovered").build().await;
            // They are in the very first scrape.
            assert_eq!(names(&harness.scrape().await), expected(&shown), "{targets}");
            harness.scrape().await;
            assert_eq!(harness.lists(), lists, "{targets}");
            harness.close().await;
        });
    }
}

#[test]
fn all_names_cost_one_listing_of_each_application_and_region_in_each_discovery_ttl() {
    for targets in ["shop/s0 shop/s1 blog", "shop/s0 shop/s1 blog/s0 blog/s1 blog/s2"] {
        run(async move {
            let harness = plan(targets, "all").build().await;
            let whole = targets.ends_with("blog");
            let shown = [
                ("shop", "", "The shop"),
                ("shop", "s0", "Newsletter"),
                ("shop", "s1", "Win-back"),
                ("blog", "", "The blog"),
                ("blog", "s0", "Newsletter"),
                ("blog", "s1", "Win-back"),
                ("blog", "s2", ""),
            ];
            let scrape = harness.scrape_until_named(&shown).await;
            assert_eq!(harness.lists(), [1, 2], "{targets}");
            assert!(scrape.samples(DISCOVERY, &[]).is_empty(), "it is no discovery");
            assert_eq!(scrape.sum(UP, &[]), if whole { 3 } else { 5 });
            harness.turn(Duration::from_secs(299));
            harness.scrape().await;
            assert_eq!(harness.lists(), [1, 2], "{targets}");
            harness.turn(Duration::from_secs(1));
            harness.scrape_until_lists_have_ended(6).await;
            harness.scrape().await;
            assert_eq!(harness.lists(), [2, 4], "{targets}");
            harness.close().await;
        });
    }
}

#[test]
fn all_names_add_no_listing_to_those_of_discovery() {
    run(async {
        let harness = plan("*/*", "all").build().await;
        assert_eq!(names(&harness.scrape().await).len(), 8);
        harness.scrape().await;
        assert_eq!(harness.lists(), [1, 2]);
        // Only the list of applications is missing.
        let harness = plan("shop/*", "all").build().await;
        harness.scrape_until_named(&[&SHOP[..], &[("shop", "", "The shop")]].concat()).await;
        assert_eq!(harness.lists(), [1, 1]);
        harness.close().await;
    });
}

#[test]
fn lists_that_are_read_for_names_come_after_every_target_that_is_due() {
    run(async {
        for targets in ["shop/s0 shop/s1 blog", "shop/* blog/s0"] {
            let harness = plan(targets, "all").set("MAX_CONCURRENT_REQUESTS", "1").build().await;
            let of_blog = if targets.ends_with("blog") { 3 } else { 1 };
            harness
                .scrape_until(|scrape| {
                    let segments = scrape.samples(SEGMENT, &[("application_id", "blog")]).len();
                    scrape.samples(APPLICATION, &[]).len() == 2 && segments == of_blog
                })
                .await;
            let order: Vec<_> = harness.fake.requests().into_iter().filter_map(|it| it.operation).collect();
            let is_of_targets = |operation: &Operation| {
                matches!(operation, Operation::GetSegmentExportJobs | Operation::GetExportJobs)
            };
            let last_target = order.iter().rposition(is_of_targets).unwrap();
            let names: Vec<_> = order[last_target + 1..].to_vec();
            let expected = if targets.starts_with("shop/*") { 2 } else { 3 };
            assert_eq!(names.len(), expected, "{targets}: {order:?}");
            harness.close().await;
        }
    });
}

#[test]
fn a_list_of_names_that_fails_touches_no_target_and_is_tried_again_after_the_discovery_ttl() {
    for fault in [
        Fault::error("AccessDeniedException"),
        Fault::error("ForbiddenException"),
        Fault::error("InternalServerErrorException"),
        Fault::Html,
        Fault::Reset,
    ] {
        run(async move {
            let harness = plan("shop/s0 shop/s1", "all").build().await;
            harness.fake.fault(failing(Operation::GetApps, fault.clone()));
            harness.fake.fault(failing(Operation::GetSegments, fault));
            let errors = |scrape: &Scrape| scrape.sum("pinpoint_api_errors_total", &[]);
            let scrape = harness.scrape_until(|scrape| errors(scrape) == 2).await;
            assert_eq!((scrape.sum(UP, &[]), scrape.samples(UP, &[]).len()), (2, 2));
            for family in [DISCOVERY, "pinpoint_target_error", APPLICATION, SEGMENT] {
                assert!(scrape.samples(family, &[]).is_empty(), "{family}");
            }
            // The counters of the API count it like any request.
            assert_eq!(scrape.sum("pinpoint_api_requests_total", &[("operation", "GetApps")]), 1);
            assert_eq!(scrape.sum("pinpoint_api_errors_total", &[("operation", "GetSegments")]), 1);
            harness.fake.clear_faults();
            // CACHE_TTL and more.
            harness.turn(Duration::from_secs(299));
            harness.scrape().await;
            assert_eq!(harness.lists(), [1, 1]);
            harness.turn(Duration::from_secs(1));
            harness
                .scrape_until_named(&[
                    ("shop", "", "The shop"),
                    ("shop", "s0", "Newsletter"),
                    ("shop", "s1", "Win-back"),
                ])
                .await;
            assert_eq!(harness.lists(), [2, 2]);
            harness.close().await;
        });
    }
}

#[test]
fn names_that_are_denied_are_logged_once_and_in_one_line_for_all_lists() {
    run_within(2 * HANG_LIMIT, async {
        let mut world = World::default();
        shops(&mut world);
        let fake = FakePinpoint::start(world).await.unwrap();
        fake.fault(failing(Operation::GetSegments, Fault::error("AccessDeniedException")));
        let mut program = Program::start(&[
            ("AWS_ENDPOINT_URL_PINPOINT", &fake.url()),
            ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE"),
            ("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
            ("PINPOINT_EXPORTER_TARGETS", "shop/s0 blog/s0"),
            ("PINPOINT_EXPORTER_NAMES", "all"),
            ("PINPOINT_EXPORTER_DISCOVERY_TTL", "0s"),
        ]);
        for rounds in 1..=3 {
            while fake.count(Operation::GetSegments) < 2 * rounds {
                program.scrape().await;
            }
        }
        program.terminate();
        assert!(program.end().await.success());
        let log = program.log();
        let told: Vec<_> = log.lines().filter(|line| line.contains("names")).collect();
        assert!(
            matches!(told[..], [line] if line.contains("level=warn") && line.contains("lists=2")),
            "{log}"
        );
    });
}

#[test]
fn no_scrape_waits_for_a_list_that_is_read_for_names() {
    run_in_virtual_time(async {
        let harness = plan("shop/s0", "all").set("REQUEST_TIMEOUT", "5s").build().await;
        harness.fake.fault(failing(Operation::GetApps, Fault::Hang));
        harness.fake.fault(failing(Operation::GetSegments, Fault::Hang));
        let began = tokio::time::Instant::now();
        assert_eq!(harness.scrape().await.sum(UP, &[]), 1);
        assert_eq!(harness.scrape().await.sum(UP, &[]), 1);
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    });
}

#[test]
fn names_stay_while_a_list_fails() {
    run(async {
        let harness = plan("shop/*", "discovered").build().await;
        harness.scrape().await;
        harness.fake.fault(failing(Operation::GetSegments, Fault::error("AccessDeniedException")));
        harness.turn(Duration::from_mins(5));
        let scrape = harness.scrape().await;
        assert_eq!((names(&scrape), scrape.sum(DISCOVERY, &[])), (expected(&SHOP), 0));
        harness.close().await;
    });
}

#[test]
fn a_renamed_segment_and_application_are_shown_by_their_new_names_alone() {
    run(async {
        let harness = plan("*/*", "discovered").set("TAG_LABELS", "team").build().await;
        harness.scrape().await;
        {
            let mut world = harness.fake.world();
            world.segment("shop", "s0").name = "Weekly".into();
            world.segment("shop", "s1").tags.clear();
            world.applications.get_mut("shop").unwrap().name = "Store".into();
        }
        harness.turn(Duration::from_secs(299));
        assert_eq!(names(&harness.scrape().await)[&("shop".to_owned(), "s0".to_owned())], "Newsletter");
        harness.turn(Duration::from_secs(1));
        let scrape = harness.scrape().await;
        let shown = names(&scrape);
        assert_eq!(shown[&("shop".to_owned(), "s0".to_owned())], "Weekly");
        assert_eq!(shown[&("shop".to_owned(), String::new())], "Store");
        assert_eq!(scrape.samples(SEGMENT, &[("segment_name", "Newsletter")]).len(), 1, "that of the blog");
        let tags = |segment| {
            let labels = [("application_id", "shop"), ("segment_id", segment)];
            scrape.samples(SEGMENT, &labels)[0].labels["tag_team"].clone()
        };
        assert_eq!((tags("s0").as_str(), tags("s1").as_str()), ("shop team", ""));
        harness.close().await;
    });
}

#[test]
fn the_name_of_a_segment_that_is_gone_disappears() {
    for (targets, names_from) in [("shop/*", "discovered"), ("shop/s0 shop/s1 shop/s2", "all")] {
        run(async move {
            let harness = plan(targets, names_from).build().await;
            harness.scrape_until(|scrape| scrape.samples(SEGMENT, &[]).len() == 3).await;
            harness.fake.world().applications.get_mut("shop").unwrap().segments.remove("s1");
            harness.turn(Duration::from_mins(5));
            let scrape = harness.scrape_until(|scrape| scrape.samples(SEGMENT, &[]).len() == 2).await;
            assert!(scrape.samples(SEGMENT, &[("segment_id", "s1")]).is_empty());
            harness.close().await;
        });
    }
}

#[test]
fn a_shard_names_its_own_targets_alone() {
    run(async {
        for (targets, names_from) in
            [("*/*", "discovered"), ("shop/s0 shop/s1 shop/s2 blog/s0 blog/s1 blog/s2", "all")]
        {
            let mut all = BTreeSet::new();
            for ordinal in 0..3 {
                let harness = plan(targets, names_from).set("SHARD", &format!("{ordinal}/3")).build().await;
                let of = |scrape: &Scrape, family: &str| -> BTreeSet<_> {
                    let samples = scrape.samples(family, &[]);
                    let pair = |labels: &BTreeMap<String, String>| {
                        (labels["application_id"].clone(), labels["segment_id"].clone())
                    };
                    samples.iter().map(|sample| pair(&sample.labels)).collect()
                };
                let scrape = harness
                    .scrape_until(|scrape| {
                        let watched: BTreeSet<_> = of(scrape, UP).into_iter().map(|(app, _)| app).collect();
                        of(scrape, SEGMENT) == of(scrape, UP)
                            && scrape.samples(APPLICATION, &[]).len() == watched.len()
                    })
                    .await;
                for target in of(&scrape, SEGMENT) {
                    assert!(all.insert(target.clone()), "{target:?} is named twice");
                }
                harness.close().await;
            }
            assert_eq!(all.len(), 6, "{targets}");
        }
    });
}

#[test]
fn of_a_whole_application_the_segments_in_its_listing_are_named() {
    run(async {
        let harness = plan("shop", "all").build().await;
        harness.fake.world().segment("shop", "never-exported").name = "Idle".into();
        let of_app = ("shop", "", "The shop");
        harness.scrape_until_named(&[&SHOP[..], &[of_app]].concat()).await;
        // It exports for the first time.
        harness.fake.world().segment("shop", "never-exported").jobs.push(Life::new("first", 0, 1).into());
        harness.turn(Duration::from_secs(50));
        harness
            .scrape_until_named(&[&SHOP[..], &[of_app, ("shop", "never-exported", "Idle")]].concat())
            .await;
        assert_eq!(harness.lists(), [1, 1]);
        harness.close().await;
    });
}

#[test]
fn without_names_none_is_read_or_shown() {
    run(async {
        let harness = plan("*/*", "off").set("TAG_LABELS", "team").build().await;
        harness
            .fake
            .fault(failing(Operation::GetSegments, answer(r#"{"Item":[{"Id":"s0","Name":5,"tags":[]}]}"#)));
        let scrape = harness.scrape().await;
        assert!(names(&scrape).is_empty());
        assert_eq!(scrape.sum(UP, &[]), 2);
        assert_eq!(scrape.sum("pinpoint_api_errors_total", &[]), 0, "what is not read cannot be wrong");
        assert_eq!(harness.lists(), [1, 2]);
        harness.close().await;
    });
}

#[test]
fn a_name_of_a_wrong_type_is_absent_and_the_answer_counts_once_as_invalid() {
    run(async {
        let harness = plan("shop/*", "discovered").set("TAG_LABELS", "team").build().await;
        let body = r#"{"Item":[{"Id":"s0","Name":5,"SegmentType":[],"tags":{"team":{}}},
            {"Id":"s1","Name":"\ud800","tags":"none"},{"Id":"s2","Name":"Fine"}]}"#;
        harness.fake.fault(failing(Operation::GetSegments, answer(body)));
        let scrape = harness.scrape().await;
        assert_eq!(
            names(&scrape),
            expected(&[("shop", "s0", ""), ("shop", "s1", ""), ("shop", "s2", "Fine")])
        );
        let labels = &scrape.samples(SEGMENT, &[("segment_id", "s0")])[0].labels;
        assert_eq!((labels["segment_type"].as_str(), labels["tag_team"].as_str()), ("", ""));
        let invalid = [("operation", "GetSegments"), ("exception", "InvalidResponse")];
        assert_eq!(scrape.value("pinpoint_api_errors_total", &invalid), Some(1.0));
        assert_eq!(scrape.sum("pinpoint_api_skipped_items_total", &[]), 0);
        assert_eq!((scrape.sum(UP, &[]), scrape.sum(DISCOVERY, &[])), (3, 1));
        harness.close().await;
    });
}

#[test]
fn names_do_not_count_among_the_series_of_jobs_segments_and_targets() {
    run(async {
        let mut counted = Vec::new();
        for names_from in ["discovered", "off"] {
            let harness = plan("*/*", names_from).build().await;
            counted.push(harness.scrape().await.value("pinpoint_exporter_series", &[]));
            harness.close().await;
        }
        assert_eq!(counted[0], counted[1]);
    });
}

#[test]
fn names_have_the_type_of_the_segment_and_the_tags_that_are_asked_for() {
    run(async {
        let harness = plan("*/*", "discovered").set("TAG_LABELS", "cost centre,team").build().await;
        let scrape = harness.scrape().await;
        let labels = &scrape.samples(SEGMENT, &[("application_id", "shop"), ("segment_id", "s1")])[0].labels;
        let expected = [
            ("aws_account_id", ""),
            ("aws_region", "eu-west-1"),
            ("application_id", "shop"),
            ("segment_id", "s1"),
            ("segment_name", "Win-back"),
            ("segment_type", "IMPORT"),
            ("tag_cost_centre", ""),
            ("tag_team", "shop team"),
        ];
        assert_eq!(*labels, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
        harness.close().await;
    });
}

/// Names that a reader could take for something else.
const HOSTILE: [&str; 8] = [
    "<script>alert('1')</script>&amp;",
    "a\"b\\c\nd\re\tf",
    "\u{202e}txt.exe\u{200f}",
    "\u{1b}[2J\u{7}\u{0}\u{9b}",
    "{{ $labels.x }} ${y} %n",
    "# HELP pinpoint_target_up x",
    " \u{a0} ",
    "日本 é \u{1f469}\u{200d}\u{1f467}",
];

#[test]
fn hostile_names_stay_text_in_the_scrape_on_the_page_and_in_its_json() {
    run(async {
        let harness = plan("shop/*", "all")
            .set("TAG_LABELS", "team")
            .world(|world| {
                for (number, name) in HOSTILE.iter().enumerate() {
                    let segment = world.segment("shop", &format!("h{number}"));
                    segment.name = String::from(*name);
                    segment.tags = [("team".to_owned(), (*name).to_owned())].into();
                }
                world.segment("shop", "long").name = "x".repeat(10_000);
                world.applications.get_mut("shop").unwrap().name = HOSTILE[0].into();
            })
            .build()
            .await;
        // Whatever comes is parsed strictly.
        let scrape = harness.scrape_until(|scrape| !scrape.samples(APPLICATION, &[]).is_empty()).await;
        for (number, name) in HOSTILE.iter().enumerate() {
            let id = format!("h{number}");
            let samples = scrape.samples(SEGMENT, &[]);
            let labels = &samples.iter().find(|sample| sample.labels["segment_id"] == id).unwrap().labels;
            assert_eq!((&*labels["segment_name"], &*labels["tag_team"]), (*name, *name));
        }
        let long = &scrape.samples(SEGMENT, &[("segment_id", "long")])[0].labels["segment_name"];
        assert_eq!(*long, "x".repeat(255) + "…");

        let page = harness.client.get(&harness.url).send().await.unwrap().text().await.unwrap();
        assert!(page.contains("&lt;script&gt;") && !page.contains("<script"), "{page}");
        assert!(!page.chars().any(|c| c.is_control() && c != '\n'), "{page}");
        assert!(!page.contains('\u{202e}') && page.contains("\\u{202e}txt.exe"), "{page}");
        let json = harness.client.get(format!("{}/api/v1/jobs", harness.url)).send().await.unwrap();
        let document: Value = serde_json::from_str(&json.text().await.unwrap()).unwrap();
        let found: BTreeSet<_> = document["segments"]["items"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|segment| segment["segment_name"].as_str())
            .collect();
        assert!(HOSTILE.iter().all(|name| found.contains(name)), "{found:?}");
        harness.close().await;
    });
}
