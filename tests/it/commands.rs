//! `check`, `plan` and `healthcheck`: the program as people and other programs run it.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::{Command, Output},
    time::Duration,
};

use fake_pinpoint::{
    FakePinpoint, Operation, Options,
    fault::{Fault, Rule},
    world::{Life, World},
};
use proptest::{prelude::*, sample::select, test_runner::TestRunner};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use crate::support::{
    harness::{Plan, run},
    program::{Program, command, command_async},
};

/// The variables that make it read the fake.
fn of(fake: &FakePinpoint, targets: &str) -> Vec<(&'static str, String)> {
    let key = Options::default_key();
    vec![
        ("AWS_REGION", "eu-west-1".to_owned()),
        ("AWS_ACCESS_KEY_ID", key.access_key_id),
        ("AWS_SECRET_ACCESS_KEY", key.secret_access_key),
        ("AWS_ENDPOINT_URL_PINPOINT", fake.url()),
        ("PINPOINT_EXPORTER_TARGETS", targets.to_owned()),
    ]
}

async fn command_on(fake: &FakePinpoint, targets: &str, arguments: &[&str]) -> Output {
    command_async(arguments, &of(fake, targets)).await
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn json_of(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// A text without its line ends and indents.
fn unwrapped(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Two applications with two segments each, of which each has three jobs.
async fn fake() -> FakePinpoint {
    let mut world = World::default();
    for (application, segment) in [("one", "a"), ("one", "b"), ("two", "c"), ("two", "d")] {
        let jobs = &mut world.segment(application, segment).jobs;
        jobs.extend((0..3).map(|job| Life::new(format!("job-{job}"), 0, 1).into()));
    }
    FakePinpoint::start(world).await.unwrap()
}

fn denied(operation: Operation) -> Rule {
    Rule { operation: Some(operation), ..Fault::error("AccessDeniedException").always() }
}

#[test]
fn check_tells_of_every_call_and_that_all_is_well() {
    run(async {
        let fake = fake().await;
        let output = command_on(&fake, "*/*", &["check"]).await;
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert_eq!(
            text(&output),
            "\
Credentials
  own
    not asked, because a custom API endpoint is configured

Region eu-west-1
  GetApps               ok, 2 applications
  Application one
    GetSegments           ok, 2 segments
    GetSegmentExportJobs  a  ok, 3 jobs
    GetSegmentExportJobs  b  ok, 3 jobs
  Application two
    GetSegments           ok, 2 segments
    GetSegmentExportJobs  c  ok, 3 jobs
    GetSegmentExportJobs  d  ok, 3 jobs

Everything works: 7 calls, 4 targets.
"
        );
        assert!(output.stderr.is_empty(), "{output:?}");
        assert_eq!(fake.requests().len(), 7);
    });
}

#[test]
fn check_shows_names_beside_ids_as_text_and_no_name_makes_it_fail() {
    run(async {
        let fake = fake().await;
        {
            let mut world = fake.world();
            world.applications.get_mut("one").unwrap().name = "Shop".into();
            world.segment("one", "a").name = "News\u{1b}[31m\n\u{202e}".into();
            world.segment("one", "b").name = "b".into();
            world.segment("two", "c").name = "x".repeat(10_000);
        }
        let mut variables = of(&fake, "one/* two/c");
        variables.push(("PINPOINT_EXPORTER_NAMES", "all".to_owned()));
        let output = command_async(&["check"], &variables).await;
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let long = "x".repeat(40);
        let expected = format!(
            "\
Region eu-west-1
  Application one  Shop
    GetSegments           ok, 2 segments
    GetSegmentExportJobs  a  News\\u{{1b}}[31m\\n\\u{{202e}}  ok, 3 jobs
    GetSegmentExportJobs  b  ok, 3 jobs
  Application two
    GetSegmentExportJobs  c  {long}…
      ok, 3 jobs

Names (NAMES=all), which no target needs
Region eu-west-1
  GetApps      ok, 2 applications
  Application two
    GetSegments  ok, 2 segments

Everything works: 4 calls, 3 targets.
"
        );
        let text = text(&output);
        assert!(text.ends_with(&expected), "{text}\n\n{expected}");

        for operation in [Operation::GetApps, Operation::GetSegments] {
            fake.fault(Rule {
                application: (operation == Operation::GetSegments).then(|| "two".to_owned()),
                ..denied(operation)
            });
        }
        let output = command_async(&["check"], &variables).await;
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let text = unwrapped(&self::text(&output));
        for part in [
            "GetApps failed AccessDeniedException:",
            "Some names cannot be read. The other metrics still work. This policy allows it; NAMES=discovered does without:",
            "\"Action\": \"mobiletargeting:GetApps\"",
            "\"Action\": \"mobiletargeting:GetSegments\"",
            ":apps/two\"",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(text.ends_with("Everything works: 4 calls, 3 targets."), "{text}");
        let found = json_of(&command_async(&["check", "--json"], &variables).await);
        assert_eq!(
            (&found["ok"], &found["missing"], &found["names"][0]["ok"]),
            (&json!(true), &Value::Null, &json!(false))
        );
        assert_eq!(found["targets"][0]["segment_name"], "News\u{1b}[31m\n\u{202e}");
    });
}

#[test]
fn check_reads_one_page_of_a_target_and_says_that_there_is_more() {
    run(async {
        let fake = fake().await;
        let jobs = (0..250).map(|job| Life::new(format!("job-{job}"), 0, 1).into()).collect();
        fake.world().segment("one", "a").jobs = jobs;
        let output = command_on(&fake, "one/a two", &["check"]).await;
        assert!(text(&output).contains("ok, 100 jobs and more\n"), "{}", text(&output));
        assert!(text(&output).contains("two\n    GetExportJobs         ok, 6 jobs\n"), "{}", text(&output));
        assert_eq!(fake.requests().len(), 2);
    });
}

#[test]
fn check_prints_what_is_not_allowed_as_a_policy_to_paste() {
    run(async {
        let fake = fake().await;
        fake.fault(Rule { application: Some("two".to_owned()), ..denied(Operation::GetSegments) });
        fake.fault(Rule { segment: Some("b".to_owned()), ..denied(Operation::GetSegmentExportJobs) });
        let targets = "arn:aws:mobiletargeting:eu-west-1:123456789012:apps/one/segments/* \
                       arn:aws:mobiletargeting:eu-west-1:123456789012:apps/two/segments/*";
        let output = command_on(&fake, targets, &["check", "--json"]).await;
        assert_eq!(output.status.code(), Some(1));
        let check = json_of(&output);
        assert_eq!(check["ok"], json!(false));
        let arn = |resource: &str| format!("arn:aws:mobiletargeting:eu-west-1:123456789012:apps/{resource}");
        let expected = json!({
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Sid": "ListSegments",
                    "Effect": "Allow",
                    "Action": "mobiletargeting:GetSegments",
                    "Resource": [arn("two")],
                },
                {
                    "Sid": "ReadSegmentExportJobs",
                    "Effect": "Allow",
                    "Action": "mobiletargeting:GetSegmentExportJobs",
                    "Resource": [
                        arn("one"),
                        arn("one/segments/b"),
                        arn("one/segments/b/jobs/export"),
                        arn("two"),
                        arn("two/segments/*"),
                    ],
                },
            ],
        });
        assert_eq!(check["missing"], expected);
        let results: BTreeMap<_, _> = check["targets"]
            .as_array()
            .unwrap()
            .iter()
            .map(|call| (call["target"].as_str().unwrap(), (&call["ok"], &call["jobs"])))
            .collect();
        let expected = [("one/a", (&json!(true), &json!(3))), ("one/b", (&json!(false), &Value::Null))];
        assert_eq!(results, BTreeMap::from(expected));
        let error = &check["targets"][1]["error"];
        assert_eq!(error["exception"], json!("AccessDeniedException"));
        assert!(error["request_id"].is_string());

        let output = command_on(&fake, targets, &["check"]).await;
        let text = text(&output);
        assert!(
            text.contains("\"Sid\": \"ListSegments\"") && text.ends_with("2 of 4 calls failed.\n"),
            "{text}"
        );
    });
}

#[test]
fn check_without_credentials_says_so_and_sends_nothing() {
    run(async {
        let fake = fake().await;
        let mut variables = of(&fake, "one/a");
        variables.retain(|(name, _)| !name.contains("KEY"));
        let output = command_async(&["check"], &variables).await;
        assert_eq!(output.status.code(), Some(1));
        let text = text(&output);
        assert!(
            text.contains("GetSegmentExportJobs  a  failed\n      CredentialsError, see the credentials\n"),
            "{text}"
        );
        assert!(text.contains("set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY,"), "{text}");
        assert!(fake.requests().is_empty());
    });
}

#[test]
fn wrong_settings_stop_a_command_with_64() {
    for arguments in [["check"], ["plan"]] {
        let output = command(&arguments, &[("PINPOINT_EXPORTER_CACHE_TTL", "soon")]);
        assert_eq!(output.status.code(), Some(64), "{arguments:?}");
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(
            error.contains("PINPOINT_EXPORTER_CACHE_TTL") && error.contains("PINPOINT_EXPORTER_TARGETS"),
            "{error}"
        );
    }
}

#[test]
fn wrong_arguments_are_named_with_what_would_be_right() {
    for (arguments, expected) in [
        (&["chek"][..], "unknown argument \"chek\"; the closest is check"),
        (&["--hlep"], "unknown argument \"--hlep\"; the closest is --help"),
        (&["check", "--jsn"], "unknown argument \"--jsn\"; the closest is --json"),
        (&["plan", "--segmnets", "5"], "the closest is --segments"),
        (&["plan", "--offline"], "--offline needs --segments"),
        (&["plan", "--segments", "5"], "--segments and --applications need --offline"),
        (&["plan", "--jobs-per-segment", "many"], "--jobs-per-segment \"many\": this is not a whole number"),
        (
            &["plan", "--scrape-interval", "0s"],
            "--scrape-interval \"0s\": Prometheus scrapes at an interval above 0s",
        ),
        (
            &["plan", "--jobs-per-segment", "1000000000"],
            "--jobs-per-segment \"1000000000\": the number is too large; write one of at most 1000000",
        ),
        (
            &["plan", "--offline", "--segments", "4294967296"],
            "--segments \"4294967296\": the number is too large",
        ),
        (
            &["plan", "--offline", "--segments", "1", "--applications", "4294967295"],
            "write one of at most 1000000",
        ),
        (
            &["plan", "--offline", "--segments", "1", "--scrape-interval", "18446744073709551615s"],
            "--scrape-interval \"18446744073709551615s\": the duration is too long; write one of at most 100 years",
        ),
        (
            &["--web.listen-address=:9787"],
            "settings are environment variables: set PINPOINT_EXPORTER_LISTEN_ADDRESS",
        ),
        (
            &["check", "--config.file", "x"],
            "there is no configuration file: settings are environment variables",
        ),
        (&["serve"], "unknown argument \"serve\"; without arguments, the exporter serves"),
        (&["plan", "--scrape-interval"], "missing argument for option '--scrape-interval'"),
        (&["healthcheck", "now"], "unknown argument \"now\""),
    ] {
        let output = command(arguments, &[]);
        assert_eq!(output.status.code(), Some(64), "{arguments:?}");
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.contains(expected), "{arguments:?}: {error}");
    }
}

#[test]
fn plan_makes_no_calls_but_those_that_find_targets_and_offline_none() {
    run(async {
        let fake = fake().await;
        let plan = json_of(&command_on(&fake, "*/*", &["plan", "--json"]).await);
        let region = &plan["regions"][0];
        assert_eq!((&region["targets"], &region["lists"]), (&json!(4), &json!(3)));
        let operations: Vec<_> = fake.requests().iter().filter_map(|request| request.operation).collect();
        assert_eq!(operations, [Operation::GetApps, Operation::GetSegments, Operation::GetSegments]);
        let text = text(&command_on(&fake, "*/*", &["plan"]).await);
        assert!(
            text.starts_with("Scraped every 1m, CACHE_TTL 50s, 10 finished jobs in each segment.\n"),
            "{text}"
        );
    });
    let nothing_listens = [("HTTPS_PROXY", "http://127.0.0.1:1"), ("NO_PROXY", "")];
    let output =
        command(&["plan", "--offline", "--segments", "5000", "--applications", "50"], &nothing_listens);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = text(&output);
    assert!(
        text.contains(
            "In one account and region:\n  polled           5000 targets, 51 lists\n  requests         180510 per hour, 16.7 % \
             of AWS's quota\n  to refresh all   5000 requests, 1m 40s\n"
        ),
        "{text}"
    );
    let unwrapped = unwrapped(&text);
    assert!(
        unwrapped.contains("CACHE_TTL=50s cannot be met: refreshing every target once takes 5000 requests"),
        "{text}"
    );
    assert!(
        unwrapped
            .contains("raise that to 100, or CACHE_TTL to 1m 40s, with a scrape interval above that, or"),
        "{text}"
    );
}

#[test]
fn plan_says_which_lists_it_could_not_read() {
    run(async {
        let fake = fake().await;
        fake.fault(Rule { application: Some("two".to_owned()), ..denied(Operation::GetSegments) });
        let output = command_on(&fake, "*/*", &["plan"]).await;
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let text = text(&output);
        assert!(
            text.contains("These lists could not be read, so what they name is not counted:\n")
                && text.contains("  Application two\n    GetSegments  failed\n      AccessDeniedException: "),
            "{text}"
        );
        let plan = json_of(&command_on(&fake, "*/*", &["plan", "--json"]).await);
        let unread: Vec<_> = plan["unread"].as_array().unwrap().iter().map(|list| &list["target"]).collect();
        assert_eq!((unread, &plan["regions"][0]["targets"]), (vec![&json!("two/*")], &json!(2)));
    });
}

/// The actions and resources of the policy that `check` prints, without what all ARNs begin with.
fn missing(check: &Value) -> Vec<(String, Vec<String>)> {
    let bare = |resource: &Value| resource.as_str().unwrap().rsplit(':').next().unwrap().to_owned();
    let statements = check["missing"]["Statement"].as_array().unwrap_or_else(|| panic!("{check}"));
    let statement = |statement: &Value| {
        let action = statement["Action"].as_str().unwrap().trim_start_matches("mobiletargeting:").to_owned();
        (action, statement["Resource"].as_array().unwrap().iter().map(bare).collect())
    };
    statements.iter().map(statement).collect()
}

#[test]
fn one_check_names_what_is_denied_and_what_could_not_be_tried_because_of_it_and_no_more() {
    run(async {
        let all = || vec!["apps/*"];
        let segment = |id: &str| {
            vec![
                format!("apps/one"),
                format!("apps/one/segments/{id}"),
                format!("apps/one/segments/{id}/jobs/export"),
            ]
        };
        for (targets, denials, expected) in [
            (
                "*/*",
                vec![denied(Operation::GetApps)],
                json!([
                    ["GetApps", ["apps", "apps/*"]],
                    ["GetSegments", all()],
                    ["GetSegmentExportJobs", all()]
                ]),
            ),
            (
                "*",
                vec![denied(Operation::GetApps)],
                json!([["GetApps", ["apps", "apps/*"]], ["GetExportJobs", all()]]),
            ),
            (
                "one/*",
                vec![denied(Operation::GetSegments)],
                json!([
                    ["GetSegments", ["apps/one"]],
                    ["GetSegmentExportJobs", ["apps/one", "apps/one/segments/*"]]
                ]),
            ),
            // All of it is denied, so the pattern is named; or one of two, so that one is.
            (
                "*/*",
                vec![denied(Operation::GetSegments)],
                json!([["GetSegments", all()], ["GetSegmentExportJobs", all()]]),
            ),
            (
                "*/*",
                vec![Rule { application: Some("two".to_owned()), ..denied(Operation::GetSegments) }],
                json!([
                    ["GetSegments", ["apps/two"]],
                    ["GetSegmentExportJobs", ["apps/two", "apps/two/segments/*"]]
                ]),
            ),
            (
                "one/*",
                vec![denied(Operation::GetSegmentExportJobs)],
                json!([["GetSegmentExportJobs", ["apps/one", "apps/one/segments/*"]]]),
            ),
            (
                "one/*",
                vec![Rule { segment: Some("b".to_owned()), ..denied(Operation::GetSegmentExportJobs) }],
                json!([["GetSegmentExportJobs", segment("b")]]),
            ),
            // What the wider target covers is not named again.
            (
                "one/* one/a",
                vec![denied(Operation::GetSegmentExportJobs)],
                json!([["GetSegmentExportJobs", ["apps/one", "apps/one/segments/*"]]]),
            ),
            (
                "*",
                vec![Rule { application: Some("two".to_owned()), ..denied(Operation::GetExportJobs) }],
                json!([["GetExportJobs", ["apps/two", "apps/two/jobs/export"]]]),
            ),
        ] {
            let fake = fake().await;
            for rule in denials {
                fake.fault(rule);
            }
            let check = json_of(&command_on(&fake, targets, &["check", "--json"]).await);
            assert_eq!(json!(missing(&check)), expected, "{targets}");
        }
    });
}

#[test]
fn a_page_or_list_that_is_understood_in_part_is_not_ok() {
    run(async {
        let fake = fake().await;
        let odd = r#"{"Item":[{"Id":"good"},{"Id":"half","TotalPieces":"many"},7]}"#;
        let answer = Fault::Answer { status: 200, headers: BTreeMap::new(), body: odd.to_owned() };
        fake.fault(Rule { operation: Some(Operation::GetSegmentExportJobs), ..answer.clone().always() });
        let output = command_on(&fake, "one/a", &["check"]).await;
        assert_eq!(output.status.code(), Some(1));
        let text = text(&output);
        assert!(text.contains("partly readable, 2 jobs\n"), "{text}");
        assert!(
            unwrapped(&text).contains("InvalidResponse: parts of the answer could not be understood and are left out: 1 item, 1 field"),
            "{text}"
        );
        fake.fault(Rule { operation: Some(Operation::GetSegments), ..answer.always() });
        let check = json_of(&command_on(&fake, "one/*", &["check", "--json"]).await);
        let list = &check["lists"][0];
        assert_eq!(
            (&list["ok"], &list["error"]["exception"]),
            (&json!(false), &json!("InvalidResponse")),
            "{check}"
        );
        assert_eq!(check["missing"], Value::Null);
    });
}

#[test]
fn ids_and_messages_are_printed_without_control_characters_and_readable_in_every_script() {
    run(async {
        let mut world = World::default();
        for segment in ["\u{1b}[31m\u{9b}", "日本語", "é\u{202e}x"] {
            world.segment("one", segment);
        }
        let fake = FakePinpoint::start(world).await.unwrap();
        fake.fault(Rule { segment: Some("日本語".to_owned()), ..denied(Operation::GetSegmentExportJobs) });
        for arguments in [&["check"][..], &["check", "--json"]] {
            let text = text(&command_on(&fake, "one/*", arguments).await);
            assert!(!text.contains(|c: char| (c.is_control() && c != '\n') || c == '\u{202e}'), "{text:?}");
            assert!(text.contains("日本語"), "{text}");
        }
        let check = json_of(&command_on(&fake, "one/*", &["check", "--json"]).await);
        let targets: BTreeSet<_> = check["targets"]
            .as_array()
            .unwrap()
            .iter()
            .map(|call| call["target"].as_str().unwrap())
            .collect();
        assert_eq!(targets, BTreeSet::from(["one/\u{1b}[31m\u{9b}", "one/日本語", "one/é\u{202e}x"]));
    });
}

/// Lines that a terminal of 80 columns would break, and that have more than one word.
fn broken_lines(text: &str) -> Vec<&str> {
    let is_long = |line: &&str| line.chars().count() > 80 && line.split_whitespace().count() > 1;
    text.lines().filter(is_long).collect()
}

#[test]
fn what_commands_print_fits_80_columns() {
    run(async {
        let id = |kind: &str, n: usize| format!("{kind}{n:0>31}");
        let mut world = World::default();
        for n in 0..40 {
            let jobs = &mut world.segment(&id("a", n % 2), &id("5", n)).jobs;
            jobs.push(Life::new("job", 0, 1).into());
        }
        let fake = FakePinpoint::start(world).await.unwrap();
        fake.fault(Rule { segment: Some(id("5", 7)), ..denied(Operation::GetSegmentExportJobs) });
        fake.fault(Rule { application: Some(id("a", 0)), ..denied(Operation::GetSegments) });
        let targets = "arn:aws:mobiletargeting:ap-southeast-1:123456789012:apps/*/segments/*";
        for arguments in [&["check"][..], &["plan"]] {
            let text = text(&command_on(&fake, targets, arguments).await);
            assert_eq!(broken_lines(&text), [""; 0], "{text}");
        }
        let offline = [
            "plan",
            "--offline",
            "--segments",
            "1000000",
            "--applications",
            "1000000",
            "--jobs-per-segment",
            "1000000",
        ];
        for arguments in [&offline[..], &["--help"]] {
            let text = text(&command(arguments, &[]));
            assert_eq!(broken_lines(&text), [""; 0], "{text}");
        }
    });
}

#[test]
fn plan_warns_of_more_series_than_prometheus_takes_and_what_it_advises_suffices() {
    let configuration = include_str!("../../deploy/prometheus/prometheus.yml");
    let (_, limit) = configuration.split_once("sample_limit: ").unwrap();
    let limit: u64 = limit.lines().next().unwrap().trim().parse().unwrap();
    let planned = |variables: &[(&str, &str)], segments: &str| {
        json_of(&command(&["plan", "--json", "--offline", "--segments", segments], variables))
    };
    let small = planned(&[], "500");
    assert_eq!(
        (small["over_sample_limit"].as_str(), small["series_total"].as_u64() <= Some(limit)),
        (None, true)
    );
    let large = planned(&[], "1000");
    let warning = large["over_sample_limit"].as_str().unwrap();
    assert!(warning.contains(&format!("sample_limit, which is {limit} in deploy/prometheus")), "{warning}");
    for (words, variables) in [
        ("STATUS_SERIES=current leaves ", &[("PINPOINT_EXPORTER_STATUS_SERIES", "current")][..]),
        ("FINISHED_JOBS_PER_SEGMENT=5 leaves ", &[("PINPOINT_EXPORTER_FINISHED_JOBS_PER_SEGMENT", "5")]),
        (
            "both leave ",
            &[
                ("PINPOINT_EXPORTER_STATUS_SERIES", "current"),
                ("PINPOINT_EXPORTER_FINISHED_JOBS_PER_SEGMENT", "5"),
            ],
        ),
    ] {
        let (_, left) = warning.split_once(words).unwrap_or_else(|| panic!("{warning}"));
        let left: u64 = left.split(',').next().unwrap().parse().unwrap();
        let really = planned(variables, "1000")["series_total"].as_u64().unwrap();
        assert_eq!(left, really + 300, "{words}: {warning}");
    }
    let (_, shards) = warning.split_once("among ").unwrap();
    let shard = format!("0/{}", shards.split(' ').next().unwrap());
    assert_eq!(planned(&[("PINPOINT_EXPORTER_SHARD", &shard)], "1000")["over_sample_limit"], Value::Null);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn plan_is_total_whatever_is_assumed_and_set(
        counts in proptest::array::uniform3(select(&["0", "1", "999999", "1000000"][..])),
        interval in select(&["1ns", "1s", "36500d"][..]),
        ttl in select(&["0s", "1ns", "36500d"][..]),
        rate in select(&["0", "1", "1000000"][..]),
        page in select(&["1", "1000000"][..]),
        limit in select(&["0", "1", "1000000"][..]),
        shard in select(&["0/1", "999/1000"][..]),
    ) {
        let [segments, applications, jobs] = counts;
        let output = command(
            &[
                "plan", "--offline", "--segments", segments, "--applications", applications, "--jobs-per-segment", jobs,
                "--scrape-interval", interval,
            ],
            &[
                ("PINPOINT_EXPORTER_CACHE_TTL", ttl),
                ("PINPOINT_EXPORTER_MAX_STALENESS", "36500d"),
                ("PINPOINT_EXPORTER_DISCOVERY_TTL", ttl),
                ("PINPOINT_EXPORTER_MAX_REQUESTS_PER_SECOND", rate),
                ("PINPOINT_EXPORTER_PAGE_SIZE", page),
                ("PINPOINT_EXPORTER_FINISHED_JOBS_PER_SEGMENT", limit),
                ("PINPOINT_EXPORTER_SHARD", shard),
            ],
        );
        prop_assert_eq!(output.status.code(), Some(0), "{:?}", output);
        prop_assert!(output.stderr.is_empty());
    }
}

/// The names of all members, but not those of the policy to paste.
fn members(json: &Value, found: &mut BTreeSet<String>) {
    match json {
        Value::Object(object) => {
            for (name, value) in object.iter().filter(|(_, value)| value.get("Statement").is_none()) {
                found.insert(name.clone());
                members(value, found);
            }
            found.extend(object.keys().cloned());
        }
        Value::Array(items) => items.iter().for_each(|item| members(item, found)),
        _ => {}
    }
}

#[test]
fn every_member_of_the_json_is_documented() {
    run(async {
        let fake = fake().await;
        fake.fault(Rule { application: Some("two".to_owned()), ..denied(Operation::GetSegments) });
        let page = include_str!("../../docs/COMMANDS.md");
        for command in [&["check", "--json"][..], &["plan", "--json"]] {
            let (_, table) = page.split_once(&format!("| `{}` | |\n", command.join(" "))).unwrap();
            let (table, _) = table.split_once("\n\n").unwrap();
            let mut found = BTreeSet::new();
            members(&json_of(&command_on(&fake, "*/*", command).await), &mut found);
            let of_check = [
                "region",
                "target",
                "operation",
                "ok",
                "error",
                "exception",
                "message",
                "request_id",
                "found",
                "application_name",
                "segment_name",
            ];
            for name in found {
                let is_told = command[0] == "plan" && of_check.contains(&name.as_str());
                assert!(is_told || table.contains(&format!("`{name}`")), "{command:?}: {name}");
            }
        }
    });
}

/// A configuration, and the world that it is for.
#[derive(Debug, Clone)]
struct Case {
    targets: &'static str,
    applications: usize,
    segments: usize,
    jobs: usize,
    page_size: usize,
    cache_ttl: usize,
    discovery_ttl: usize,
    interval: usize,
    status_series: &'static str,
    shown_jobs: usize,
    shard: &'static str,
    names: &'static str,
}

fn case() -> impl Strategy<Value = Case> {
    let world = (1..4_usize, 0..4_usize, 0..9_usize, 1..6_usize);
    let times = (select(&[0, 7, 25, 55, 115][..]), select(&[5, 25, 65][..]), select(&[10, 15, 30, 60][..]));
    let shown =
        (select(&["all", "current"][..]), select(&[0, 2, 20][..]), select(&["0/1", "1/2", "2/3"][..]));
    let targets = select(&["*/*", "app-0/*", "*", "app-0", "app-0/segment-0 app-1/*"][..]);
    let names = select(&["discovered", "off"][..]);
    (targets, world, times, shown, names).prop_map(|(targets, world, times, shown, names)| Case {
        targets,
        applications: world.0,
        segments: world.1,
        jobs: world.2,
        page_size: world.3,
        cache_ttl: times.0,
        discovery_ttl: times.1,
        interval: times.2,
        status_series: shown.0,
        shown_jobs: shown.1,
        shard: shown.2,
        names,
    })
}

impl Case {
    /// An application that is read whole has the jobs of one segment.
    fn is_whole(&self) -> bool {
        !self.targets.contains('/')
    }

    fn fill(&self, world: &mut World) {
        *world = World::default();
        for application in 0..self.applications.max(2) {
            let segments = if self.is_whole() { 1 } else { self.segments.max(usize::from(application == 0)) };
            world.applications.entry(format!("app-{application}")).or_default();
            for segment in 0..segments {
                let jobs =
                    &mut world.segment(&format!("app-{application}"), &format!("segment-{segment}")).jobs;
                jobs.extend((0..self.jobs).map(|job| Life::new(format!("job-{job}"), 0, 1).into()));
            }
        }
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        vec![
            ("TARGETS", self.targets.to_owned()),
            ("PAGE_SIZE", self.page_size.to_string()),
            ("CACHE_TTL", format!("{}s", self.cache_ttl)),
            ("DISCOVERY_TTL", format!("{}s", self.discovery_ttl)),
            ("STATUS_SERIES", self.status_series.to_owned()),
            ("FINISHED_JOBS_PER_SEGMENT", self.shown_jobs.to_string()),
            ("FINISHED_JOB_MAX_AGE", "0s".to_owned()),
            ("MAX_REQUESTS_PER_SECOND", "0".to_owned()),
            ("SHARD", self.shard.to_owned()),
            ("NAMES", self.names.to_owned()),
            ("TAG_LABELS", "team".to_owned()),
        ]
    }

    /// Scrapes so often that every target and every list is read a whole number of times.
    fn scrapes(&self) -> usize {
        let period = |ttl: usize| ttl / self.interval + 1;
        let (a, b) = (period(self.cache_ttl), period(self.discovery_ttl));
        (1..=a * b).find(|n| n % a == 0 && n % b == 0).unwrap()
    }
}

#[test]
fn what_is_planned_is_what_is_done_and_shown() {
    let mut runner = TestRunner::new(ProptestConfig { cases: 24, ..ProptestConfig::default() });
    let check = |case: Case| {
        run(async {
            let plan =
                case.settings().into_iter().fold(Plan::new(), |plan, (name, value)| plan.set(name, &value));
            let harness = plan.world(|world| case.fill(world)).build().await;
            for _ in 1..case.scrapes() {
                harness.scrape().await;
                harness.turn(Duration::from_secs(case.interval as u64));
            }
            let scrape = harness.scrape().await;
            let done = harness.fake.requests().len();

            let jobs = case.jobs.to_string();
            let interval = format!("{}s", case.interval);
            let mut variables = of(&harness.fake, case.targets);
            let names: Vec<_> = case.settings();
            variables.extend(names.into_iter().map(|(name, value)| -> (&'static str, String) {
                (format!("PINPOINT_EXPORTER_{name}").leak(), value)
            }));
            let arguments = ["plan", "--json", "--scrape-interval", &interval, "--jobs-per-segment", &jobs];
            let plan = json_of(&command_async(&arguments, &variables).await);

            let planned: BTreeMap<_, _> = plan["series"]
                .as_array()
                .unwrap()
                .iter()
                .map(|family| (family["family"].as_str().unwrap(), family["series"].as_u64().unwrap()))
                .collect();
            let of_targets = |name: &str| {
                ["application_", "job_", "segment_", "target_", "discovery_"].iter().any(|room| {
                    name.starts_with(&format!("pinpoint_{room}")) || name.starts_with("pinpoint_export_job_")
                })
            };
            let shown: BTreeMap<_, _> = scrape
                .families
                .iter()
                .filter(|family| of_targets(&family.name))
                .map(|family| (family.name.as_str(), family.samples.len() as u64))
                .collect();
            assert_eq!(planned, shown);
            let of_names = ["pinpoint_application_info", "pinpoint_segment_info"];
            let series_of_names: u64 = of_names.iter().map(|name| scrape.sum(name, &[])).sum();
            let counted = scrape.sum("pinpoint_exporter_series", &[]);
            assert_eq!(plan["series_total"].as_u64(), Some(counted + series_of_names));
            let seconds = (case.scrapes() * case.interval) as u64;
            let per_hour = done as u64 * 3600 / seconds;
            let planned = plan["requests_per_hour"].as_u64().unwrap();
            assert!(planned.abs_diff(per_hour) <= 2, "{planned} planned, {per_hour} done an hour");
        });
        Ok(())
    };
    runner.run(&case(), check).unwrap();
}

#[test]
fn names_that_are_read_for_themselves_are_planned_as_lists_and_series() {
    run(async {
        let fake = fake().await;
        let planned = async |names: &'static str| {
            let mut variables = of(&fake, "one/a one/b two");
            variables.push(("PINPOINT_EXPORTER_NAMES", names.to_owned()));
            json_of(&command_async(&["plan", "--json"], &variables).await)
        };
        let (without, with) = (planned("off").await, planned("all").await);
        let series = |plan: &Value, name: &str| {
            let families = plan["series"].as_array().unwrap();
            let family = families.iter().find(|family| family["family"] == name);
            family.map_or(0, |family| family["series"].as_u64().unwrap())
        };
        assert_eq!(series(&without, "pinpoint_application_info"), 0);
        assert_eq!(series(&without, "pinpoint_segment_info"), 0);
        // One of two applications, two segments that are named, and one in the listing of the whole application.
        assert_eq!(series(&with, "pinpoint_application_info"), 2);
        assert_eq!(series(&with, "pinpoint_segment_info"), 3);
        assert_eq!(series(&with, "pinpoint_discovery_up"), 0);
        assert_eq!((&without["regions"][0]["lists"], &with["regions"][0]["lists"]), (&json!(0), &json!(3)));
        // Three requests every six minutes: DISCOVERY_TTL is five, and Prometheus scrapes every minute.
        let per_hour = |plan: &Value| plan["requests_per_hour"].as_u64().unwrap();
        assert_eq!(per_hour(&with) - per_hour(&without), 30);
        assert!(
            fake.count(Operation::GetApps) + fake.count(Operation::GetSegments) == 0,
            "plan reads no name"
        );
    });
}

#[test]
fn healthcheck_asks_the_server_that_runs() {
    run(async {
        let fake = fake().await;
        let variables = of(&fake, "one/a");
        let variables: Vec<_> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let program = Program::start(&variables);
        let address = program.address.to_string();
        let check = async |address: &str| {
            let listens = [("PINPOINT_EXPORTER_LISTEN_ADDRESS", address)];
            command_async(&["healthcheck"], &[&variables[..], &listens].concat()).await
        };
        let healthy = check(&address).await;
        assert_eq!((healthy.status.code(), healthy.stdout.len(), healthy.stderr.len()), (Some(0), 0, 0));
        // At all addresses: it is asked at loopback.
        let healthy = check(&format!("0.0.0.0:{}", program.address.port())).await;
        assert_eq!(healthy.status.code(), Some(0), "{healthy:?}");
        assert!(fake.requests().is_empty(), "it asks Pinpoint nothing");
        drop(program);
        let gone = check(&address).await;
        assert_eq!(gone.status.code(), Some(1));
        let error = String::from_utf8(gone.stderr).unwrap();
        assert!(error.contains(&format!("no server listens at {address}")), "{error}");

        for (answer, expected) in [
            (
                "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
                "answers 503 Service Unavailable",
            ),
            ("SSH-2.0-something\r\n", "does not use HTTP/1.1"),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap().to_string();
            tokio::spawn(async move {
                let (mut socket, _) = listener.accept().await.unwrap();
                _ = socket.read(&mut [0; 1024]).await.unwrap();
                socket.write_all(answer.as_bytes()).await.unwrap();
                // Until the client has gone.
                while socket.read(&mut [0; 1024]).await.is_ok_and(|read| read > 0) {}
            });
            let sick = check(&address).await;
            assert_eq!(sick.status.code(), Some(1));
            let error = String::from_utf8(sick.stderr).unwrap();
            assert!(error.contains(expected), "{error}");
        }
    });
}

#[test]
fn progress_is_shown_on_a_terminal_alone() {
    run(async {
        let fake = fake().await;
        let variables = of(&fake, "*/*");
        let output = tokio::task::spawn_blocking(move || {
            // `script` gives the program a terminal.
            Command::new("script")
                .args([
                    "-qec",
                    concat!(env!("CARGO_BIN_EXE_pinpoint-exporter"), " check >/dev/null"),
                    "/dev/null",
                ])
                .env("AWS_EC2_METADATA_DISABLED", "true")
                .env("NO_PROXY", "*")
                .envs(variables)
                .output()
                .unwrap()
        });
        let shown = text(&output.await.unwrap());
        assert!(shown.contains("targets: 3 of 4") && shown.ends_with("\r\u{1b}[K"), "{shown:?}");
    });
}
