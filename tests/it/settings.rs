//! Settings, targets and the command line: as `Config::parse` reads them, and as the program answers.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    io::Read,
    os::unix::ffi::{OsStrExt, OsStringExt},
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use fake_pinpoint::HANG_LIMIT;
use pinpoint_exporter::{
    config::{
        Config, LogFormat, PREFIX, SETTINGS, SettingErrors, Warning,
        profile::{AwsEnvironment, Profiles},
    },
    model::{
        names::NameSource,
        status_series::StatusSeries,
        target::{self, IdPattern, TargetPattern},
    },
};
use proptest::prelude::*;
use tracing::Level;

/// The table of the contract: names and defaults, `""` for none.
const TABLE: [(&str, &str); 27] = [
    ("TARGETS", ""),
    ("TARGETS_FILE", ""),
    ("NAMES", "discovered"),
    ("TAG_LABELS", ""),
    ("LISTEN_ADDRESS", "0.0.0.0:9787"),
    ("CACHE_TTL", "50s"),
    ("MAX_STALENESS", "10m"),
    ("DISCOVERY_TTL", "5m"),
    ("SCRAPE_TIMEOUT", "10s"),
    ("SCRAPE_TIMEOUT_OFFSET", "500ms"),
    ("PAGE_SIZE", "100"),
    ("MAX_PAGES", "1000"),
    ("MAX_CONCURRENT_REQUESTS", "8"),
    ("MAX_REQUESTS_PER_SECOND", "50"),
    ("REQUEST_TIMEOUT", "5s"),
    ("REFRESH_TIMEOUT", "2m"),
    ("MAX_ATTEMPTS", "3"),
    ("FINISHED_JOB_MAX_AGE", "7d"),
    ("FINISHED_JOBS_PER_SEGMENT", "20"),
    ("STATUS_SERIES", "all"),
    ("ROLE_ARNS", ""),
    ("ROLE_EXTERNAL_ID", ""),
    ("SHARD", ""),
    ("SHOW_FAILURES", "false"),
    ("WEB_CONFIG_FILE", ""),
    ("LOG_LEVEL", "info"),
    ("LOG_FORMAT", "logfmt"),
];

type Variables<'a> = &'a [(&'a str, &'a str)];

/// What every environment of these tests has, unless it says otherwise.
const BASE: Variables<'_> = &[("TARGETS", "app/segment"), ("AWS_REGION", "us-east-1")];

/// The environment of `BASE` and `variables`; settings go without their prefix.
fn environment(variables: Variables<'_>) -> Vec<(OsString, OsString)> {
    let merged: BTreeMap<_, _> = BASE.iter().chain(variables).copied().collect();
    merged.into_iter().map(|(name, text)| (full_name(name).into(), text.into())).collect()
}

/// The profiles of a configuration file with this text.
fn profiles(text: &str) -> Profiles {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config");
    std::fs::write(&file, text).unwrap();
    AwsEnvironment::of(&[("AWS_CONFIG_FILE".into(), file.into())]).read().unwrap()
}

fn full_name(name: &str) -> String {
    let is_setting = TABLE.iter().any(|(setting, _)| *setting == name);
    if is_setting { format!("{PREFIX}{name}") } else { name.into() }
}

fn parse(variables: Variables<'_>) -> Result<(Config, Vec<Warning>), SettingErrors> {
    Config::parse(environment(variables), None)
}

fn accepted(variables: Variables<'_>) -> Config {
    match parse(variables) {
        Ok((config, _)) => config,
        Err(problems) => panic!("{variables:?} are refused: {problems}"),
    }
}

/// Settings that are refused, what the message says, and the nearest settings that are not.
struct Refused<'a> {
    variables: Variables<'a>,
    /// The variable that the message names.
    names: &'a str,
    /// The value as the message shows it.
    shows: &'a str,
    cure: &'a str,
    /// Accepted.
    neighbours: &'a [Variables<'a>],
}

/// One variable, its wrong value as it is and is shown, the cure, and right values.
macro_rules! value {
    ($name:literal, $text:literal, $cure:literal, [$($right:literal),+]) => {
        Refused {
            variables: &[($name, $text)],
            names: $name,
            shows: $text,
            cure: $cure,
            neighbours: &[$(&[($name, $right)]),+],
        }
    };
}

const ARN: &str = "arn:aws:mobiletargeting:us-east-1:123456789012:apps/a";

const REFUSED: &[Refused<'_>] = &[
    // Targets: the grammar.
    value! { "TARGETS", ",", "names no target", ["a", ",a,"] },
    value! { "TARGETS", "/s", "application id is empty", ["a/s"] },
    value! { "TARGETS", "a/", "segment id is empty", ["a", "a/s"] },
    value! { "TARGETS", "a/s/x", "%2F", ["a/s%2Fx", "a/s"] },
    value! { "TARGETS", ".", "not a usable application id", ["...", ".a"] },
    value! { "TARGETS", "a/%2e%2E", "not a usable segment id", ["a/%2e%2E%2e", "a/%252e"] },
    value! { "TARGETS", "a/%2", "two hex digits", ["a/%2A", "a/%252"] },
    value! { "TARGETS", "a/%zz", "%25", ["a/%25zz"] },
    value! { "TARGETS", "a/%FF", "not valid UTF-8", ["a/%C3%BF"] },
    value! { "TARGETS", "a/s*", "%2A", ["a/s%2A", "a/%2A", "%2A"] },
    value! { "TARGETS", "*/s", "APP/SEGMENT", ["a/s", "*/*"] },
    // Targets: ARNs.
    value! { "TARGETS", "arn:aws:mobiletargeting:us-east-1:123456789012", "too few parts",
    ["arn:aws:mobiletargeting:us-east-1:123456789012:apps/a"] },
    value! { "TARGETS", "ARN:aws:mobiletargeting:us-east-1:123456789012:apps/a", "lower case",
    ["arn:aws:mobiletargeting:us-east-1:123456789012:apps/a"] },
    value! { "TARGETS", "arn:aws-gov:mobiletargeting:us-east-1:123456789012:apps/a", "aws-us-gov",
    ["arn:aws-us-gov:mobiletargeting:us-east-1:123456789012:apps/a"] },
    value! { "TARGETS", "arn:aws:pinpoint:us-east-1:123456789012:apps/a", "mobiletargeting",
    ["arn:aws:mobiletargeting:us-east-1:123456789012:apps/a"] },
    value! { "TARGETS", "arn:aws:mobiletargeting::123456789012:apps/a", "not a valid region",
    ["arn:aws:mobiletargeting:us-east-1:123456789012:apps/a"] },
    value! { "TARGETS", "arn:aws:mobiletargeting:us_east_1:123456789012:apps/a", "not a valid region",
    ["arn:aws:mobiletargeting:us-east-1:123456789012:apps/a"] },
    value! { "TARGETS", "arn:aws:mobiletargeting:us-east-1:12345678901:apps/a", "12 digits",
    ["arn:aws:mobiletargeting:us-east-1:123456789012:apps/a"] },
    value! { "TARGETS", "arn:aws:mobiletargeting:us-east-1:12345678901x:apps/a", "12 digits",
    ["arn:aws:mobiletargeting:us-east-1:123456789012:apps/a"] },
    value! { "TARGETS", "arn:aws:mobiletargeting:us-east-1:123456789012:apps/a/segments", "apps/APP/segments/SEGMENT",
    ["arn:aws:mobiletargeting:us-east-1:123456789012:apps/a/segments/s"] },
    value! { "TARGETS", "arn:aws:mobiletargeting:us-east-1:123456789012:app/a", "apps/APP",
    ["arn:aws:mobiletargeting:us-east-1:123456789012:apps/a"] },
    value! { "TARGETS", "arn:aws:mobiletargeting:us-east-1:123456789012:apps/*/segments/s", "APP/SEGMENT",
    ["arn:aws:mobiletargeting:us-east-1:123456789012:apps/*/segments/*"] },
    // Targets: combinations.
    Refused {
        variables: &[("TARGETS", "a b a/s")],
        names: "TARGETS",
        shows: "a",
        cure: "\"a/s\" reads it by segment",
        neighbours: &[&[("TARGETS", "a b c/s")], &[("TARGETS", "b a/s a/t")]],
    },
    Refused {
        variables: &[("TARGETS", "arn:aws:mobiletargeting:us-east-1:123456789012:apps/a b")],
        names: "TARGETS",
        shows: ARN,
        cure: "as ARNs, or none",
        neighbours: &[&[("TARGETS", ARN)], &[("TARGETS", ARN), ("AWS_REGION", "")]],
    },
    Refused {
        variables: &[("AWS_REGION", "")],
        names: "AWS_REGION",
        shows: "",
        cure: "set AWS_REGION",
        neighbours: &[
            &[("AWS_REGION", ""), ("AWS_DEFAULT_REGION", "us-east-1")],
            &[("AWS_REGION", " "), ("TARGETS", ARN)],
        ],
    },
    Refused {
        variables: &[("TARGETS", "")],
        names: "TARGETS",
        shows: "",
        cure: "required",
        neighbours: &[&[("TARGETS", " a ")]],
    },
    // Addresses.
    value! { "LISTEN_ADDRESS", ":9787", "0.0.0.0:9787", ["0.0.0.0:9787", "[::]:9787"] },
    value! { "LISTEN_ADDRESS", "localhost:9787", "127.0.0.1:9787", ["127.0.0.1:9787"] },
    value! { "LISTEN_ADDRESS", "0.0.0.0", "0.0.0.0:9787", ["0.0.0.0:0"] },
    value! { "LISTEN_ADDRESS", "0.0.0.0:65536", "65535", ["0.0.0.0:65535"] },
    value! { "LISTEN_ADDRESS", "9787", "0.0.0.0:9787", ["0.0.0.0:9787"] },
    // Durations.
    value! { "CACHE_TTL", "30", "30s", ["30s", "0s", " 30s "] },
    value! { "MAX_STALENESS", "-5m", "negative", ["5m", "50s"] },
    value! { "DISCOVERY_TTL", "5 minuets", "not a unit", ["5 minutes", "0s"] },
    value! { "SCRAPE_TIMEOUT", "0s", "above 0s", ["1s", "501ms"] },
    value! { "SCRAPE_TIMEOUT_OFFSET", "1M", "m for minutes", ["1s", "0s", "9s999ms"] },
    value! { "REQUEST_TIMEOUT", "0ms", "above 0s", ["1ms", "1h30m"] },
    value! { "REFRESH_TIMEOUT", "99999999999999999999s", "100 years", ["36500d"] },
    value! { "FINISHED_JOB_MAX_AGE", "36501d", "100 years", ["36500d", "0s"] },
    // Combinations of durations.
    Refused {
        variables: &[("MAX_STALENESS", "49s")],
        names: "MAX_STALENESS",
        shows: "49s",
        cure: "PINPOINT_EXPORTER_CACHE_TTL (by default 50s), so that data would vanish before they are fetched anew; \
               write at least 50s",
        neighbours: &[&[("MAX_STALENESS", "50s")], &[("MAX_STALENESS", "49s"), ("CACHE_TTL", "49s")]],
    },
    Refused {
        variables: &[("CACHE_TTL", "11m")],
        names: "MAX_STALENESS",
        shows: "10m",
        cure: "PINPOINT_EXPORTER_CACHE_TTL=\"11m\"",
        neighbours: &[&[("CACHE_TTL", "10m")], &[("CACHE_TTL", "11m"), ("MAX_STALENESS", "11m")]],
    },
    Refused {
        variables: &[("SCRAPE_TIMEOUT_OFFSET", "10s")],
        names: "SCRAPE_TIMEOUT_OFFSET",
        shows: "10s",
        cure: "less than 10s",
        neighbours: &[&[("SCRAPE_TIMEOUT_OFFSET", "9999ms")]],
    },
    Refused {
        variables: &[("SCRAPE_TIMEOUT", "500ms")],
        names: "SCRAPE_TIMEOUT_OFFSET",
        shows: "500ms",
        cure: "PINPOINT_EXPORTER_SCRAPE_TIMEOUT=\"500ms\"",
        neighbours: &[
            &[("SCRAPE_TIMEOUT", "501ms")],
            &[("SCRAPE_TIMEOUT", "500ms"), ("SCRAPE_TIMEOUT_OFFSET", "499ms")],
        ],
    },
    // Numbers.
    value! { "PAGE_SIZE", "0", "at least 1", ["1"] },
    value! { "MAX_PAGES", "many", "from 1 to", ["1000000"] },
    value! { "MAX_CONCURRENT_REQUESTS", "1.5", "whole number", ["1"] },
    value! { "MAX_REQUESTS_PER_SECOND", "-1", "from 0 to", ["0", "1"] },
    value! { "MAX_ATTEMPTS", "+3", "whole number", ["3"] },
    value! { "MAX_ATTEMPTS", "99999999999", "at most 1000000", ["1"] },
    value! { "FINISHED_JOBS_PER_SEGMENT", "1000001", "at most 1000000", ["1000000", "0"] },
    // Words.
    value! { "NAMES", "none", "discovered or all or off", ["discovered", "All", "off"] },
    value! { "TAG_LABELS", "cost-centre,cost.centre", "write one of them", ["cost-centre,costcentre", "team, stage"] },
    value! { "STATUS_SERIES", "some", "all or current", ["all", "Current"] },
    value! { "SHOW_FAILURES", "yes", "true or false", ["TRUE", "false"] },
    value! { "LOG_FORMAT", "text", "logfmt or json", ["logfmt", "JSON"] },
    value! { "LOG_LEVEL", "inof", "closest is info", ["info", "WARN"] },
    value! { "LOG_LEVEL", "warn,pinpoint_exporter", "pinpoint_exporter=debug",
    ["warn,pinpoint_exporter=debug"] },
    // What comes later.
    value! { "ROLE_ARNS", "monitoring", "arn:aws:iam::", ["arn:aws:iam::123456789012:role/monitoring"] },
    Refused {
        variables: &[("ROLE_ARNS", "arn:aws:iam::123456789012:role/a arn:aws:iam::123456789012:role/b")],
        names: "ROLE_ARNS",
        shows: "arn:aws:iam::123456789012:role/b",
        cure: "one role per account",
        neighbours: &[&[("ROLE_ARNS", "arn:aws:iam::123456789012:role/a arn:aws:iam::123456789013:role/b")]],
    },
    Refused {
        variables: &[("ROLE_EXTERNAL_ID", "some-id")],
        names: "ROLE_EXTERNAL_ID",
        shows: "",
        cure: "PINPOINT_EXPORTER_ROLE_ARNS",
        neighbours: &[&[("ROLE_EXTERNAL_ID", "some-id"), ("ROLE_ARNS", "arn:aws:iam::123456789012:role/a")]],
    },
    Refused {
        variables: &[("ROLE_EXTERNAL_ID", "x"), ("ROLE_ARNS", "arn:aws:iam::123456789012:role/a")],
        names: "ROLE_EXTERNAL_ID",
        shows: "",
        cure: "2 to 1224",
        neighbours: &[&[("ROLE_EXTERNAL_ID", "xy"), ("ROLE_ARNS", "arn:aws:iam::123456789012:role/a")]],
    },
    value! { "SHARD", "5/5", "from 0 to 4", ["4/5", "0/1"] },
    Refused {
        variables: &[("SHARD", "auto/5"), ("HOSTNAME", "exporter")],
        names: "SHARD",
        shows: "auto/5",
        cure: "HOSTNAME=\"exporter\"",
        neighbours: &[&[("SHARD", "auto/5"), ("HOSTNAME", "exporter-4")]],
    },
    // AWS's variables.
    value! { "AWS_REGION", "US-EAST-1", "us-east-1", ["us-east-1"] },
    value! { "AWS_REGION", "evil.example/", "not a valid region", ["local"] },
    value! { "AWS_REGION", "-us", "not a valid region", ["us"] },
    value! { "AWS_USE_FIPS_ENDPOINT", "1", "true or false", ["true", "False"] },
    value! { "AWS_USE_DUALSTACK_ENDPOINT", "on", "true or false", ["true"] },
    value! { "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "y", "true or false", ["true"] },
    value! { "AWS_ENDPOINT_URL", "localhost:4566", "scheme", ["http://localhost:4566"] },
    value! { "AWS_ENDPOINT_URL", "pinpoint", "not a valid URL", ["http://pinpoint"] },
    value! { "AWS_ENDPOINT_URL", "http:host", "no host", ["http://host"] },
    value! { "AWS_ENDPOINT_URL_PINPOINT", "ftp://host", "neither http nor https",
    ["https://host/base/path"] },
    Refused {
        variables: &[("AWS_ENDPOINT_URL", "http://user:hush@host/")],
        names: "AWS_ENDPOINT_URL",
        shows: "http://***@host/",
        cure: "without it",
        neighbours: &[&[("AWS_ENDPOINT_URL", "http://host/")]],
    },
    Refused {
        variables: &[("AWS_ENDPOINT_URL", "http://host/?hush")],
        names: "AWS_ENDPOINT_URL",
        shows: "http://host/?***",
        cure: "up to its path",
        neighbours: &[&[("AWS_ENDPOINT_URL", "http://host/%3Fx")]],
    },
    Refused {
        variables: &[("AWS_ENDPOINT_URL", "http://host"), ("AWS_USE_FIPS_ENDPOINT", "true")],
        names: "AWS_ENDPOINT_URL",
        shows: "http://host",
        cure: "AWS_USE_FIPS_ENDPOINT=\"true\"",
        neighbours: &[
            &[("AWS_ENDPOINT_URL", "http://host"), ("AWS_USE_FIPS_ENDPOINT", "false")],
            &[
                ("AWS_ENDPOINT_URL", "http://host"),
                ("AWS_USE_FIPS_ENDPOINT", "true"),
                ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true"),
            ],
        ],
    },
    Refused {
        variables: &[("AWS_ENDPOINT_URL_PINPOINT", "http://host"), ("AWS_USE_DUALSTACK_ENDPOINT", "true")],
        names: "AWS_ENDPOINT_URL_PINPOINT",
        shows: "http://host",
        cure: "AWS_USE_DUALSTACK_ENDPOINT=\"true\"",
        neighbours: &[&[("AWS_USE_DUALSTACK_ENDPOINT", "true"), ("AWS_USE_FIPS_ENDPOINT", "true")]],
    },
];

/// Whether a line of a message is about this refusal.
fn is_told(line: &str, refused: &Refused<'_>) -> bool {
    let name = full_name(refused.names);
    let beginning = match refused.shows {
        "" => format!("{name}: "),
        shows => format!("{name}=\"{shows}\": "),
    };
    line.strip_prefix(&beginning).is_some_and(|explanation| explanation.contains(refused.cure))
}

#[test]
fn every_bad_value_is_refused_with_its_name_its_value_and_the_cure() {
    assert!(REFUSED.len() >= 40);
    for refused in REFUSED {
        let message = parse(refused.variables).expect_err(refused.cure).to_string();
        let (told, others): (Vec<_>, Vec<_>) = message.lines().partition(|line| is_told(line, refused));
        assert_eq!(told.len(), 1, "{:?}:\n{message}", refused.variables);
        assert!(others.is_empty(), "{:?}:\n{message}", refused.variables);
    }
}

#[test]
fn the_neighbours_of_every_bad_value_are_accepted() {
    for refused in REFUSED {
        for neighbour in refused.neighbours {
            accepted(neighbour);
        }
    }
}

/// What the program printed and how it ended.
struct Run {
    status: Option<i32>,
    stdout: String,
    stderr: String,
}

/// Runs the program with nothing in its environment but `variables`.
fn run(arguments: &[&str], variables: Vec<(OsString, OsString)>) -> Run {
    let mut child = Command::new(env!("CARGO_BIN_EXE_pinpoint-exporter"))
        .args(arguments)
        .env_clear()
        .envs(variables)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (sender, receiver) = mpsc::channel();
    let stdout = child.stdout.take().unwrap();
    let stderr = child.stderr.take().unwrap();
    thread::spawn(move || _ = sender.send((read(stdout), read(stderr))));
    let read = receiver.recv_timeout(HANG_LIMIT);
    if read.is_err() {
        child.kill().unwrap();
    }
    let status = child.wait().unwrap().code();
    let (stdout, stderr) = read.expect("the program ends");
    Run { status, stdout, stderr }
}

fn read(mut from: impl Read) -> String {
    let mut text = String::new();
    from.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn the_program_refuses_every_bad_value_with_status_64() {
    for refused in REFUSED {
        let run = run(&[], environment(refused.variables));
        assert_eq!((run.status, run.stdout.as_str()), (Some(64), ""), "{:?}", refused.variables);
        let told = run.stderr.lines().filter(|line| is_told(line, refused)).count();
        assert_eq!(told, 1, "{:?}:\n{}", refused.variables, run.stderr);
    }
}

#[test]
fn the_program_reports_everything_that_is_wrong_at_once() {
    // For each variable its first bad value on its own, and for the lists all bad entries. Of the two endpoints one counts.
    let mut variables: BTreeMap<_, String> = BTreeMap::new();
    let mut expected = Vec::new();
    for refused in REFUSED {
        let &[(name, text)] = refused.variables else {
            continue;
        };
        let is_list = matches!(name, "TARGETS" | "ROLE_ARNS");
        if (refused.names, refused.shows) != (name, text)
            || matches!(text, "" | ",")
            || name == "AWS_ENDPOINT_URL"
        {
            continue;
        }
        let value = variables.entry(name).or_default();
        if value.is_empty() || is_list && !text.contains([' ', ',']) {
            value.push_str(text);
            value.push_str(if is_list { " " } else { "" });
            expected.push(refused);
        }
    }
    assert!(expected.len() >= 40, "{}", expected.len());

    let variables: Vec<_> = variables.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let run = run(&[], environment(&variables));
    assert_eq!(run.status, Some(64));
    for refused in &expected {
        let told = run.stderr.lines().filter(|line| is_told(line, refused)).count();
        assert_eq!(told, 1, "{:?}:\n{}", refused.variables, run.stderr);
    }
}

#[test]
fn every_line_of_the_message_is_one_problem_whatever_the_value_holds() {
    let run = run(&[], environment(&[("CACHE_TTL", "1\n\u{1b}[31m\"x"), ("LOG_LEVEL", "a\r\nb")]));
    assert_eq!(run.stderr.lines().count(), 3, "{}", run.stderr);
    assert!(run.stderr.contains(r#"PINPOINT_EXPORTER_CACHE_TTL="1\n\u{1b}[31m\"x": "#), "{}", run.stderr);
    assert!(!run.stderr.contains(|c: char| c.is_control() && c != '\n'), "{}", run.stderr);
}

#[test]
fn a_secret_in_a_refused_value_is_not_shown() {
    for variables in [
        &[("AWS_ENDPOINT_URL", "http://user:hush@host/")][..],
        &[("AWS_ENDPOINT_URL", "http://host/?token=hush")],
        &[("AWS_ENDPOINT_URL", "http://host/#hush")],
        &[("AWS_ENDPOINT_URL", "user:hush@host")],
        &[("AWS_ENDPOINT_URL", "http://user:hush@ho st/")],
        &[("AWS_ENDPOINT_URL", "ftp://hu:hush@host/"), ("AWS_USE_FIPS_ENDPOINT", "true")],
        &[("ROLE_EXTERNAL_ID", "hush")],
        &[("ROLE_EXTERNAL_ID", "hush!")],
        &[("ROLE_EXTERNAL_ID", "hush!"), ("ROLE_ARNS", "arn:aws:iam::123456789012:role/a")],
    ] {
        let problems = parse(variables).unwrap_err();
        assert!(!format!("{problems} {problems:?}").contains("hush"), "{variables:?}: {problems}");
    }
}

#[test]
fn a_misspelt_name_is_warned_about_with_the_nearest() {
    let unknown = |name: &str| {
        let mut environment = environment(&[]);
        environment.push((format!("PINPOINT_EXPORTER_{name}").into(), "hush".into()));
        let (_, warnings) = Config::parse(environment, None).unwrap();
        warnings.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    for (name, nearest) in [
        ("CACHE_TLL", "CACHE_TTL"),
        ("CACHETTL", "CACHE_TTL"),
        ("LOG_LEVLE", "LOG_LEVEL"),
        ("TARGET", "TARGETS"),
        ("REQUESTS_TIMEOUT", "REQUEST_TIMEOUT"),
        ("MAX_CONCURENT_REQUESTS", "MAX_CONCURRENT_REQUESTS"),
        ("cache_ttl", "CACHE_TTL"),
    ] {
        let warnings = unknown(name);
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].starts_with(&format!("PINPOINT_EXPORTER_{name} ")), "{warnings:?}");
        assert!(warnings[0].ends_with(&format!(" PINPOINT_EXPORTER_{nearest}")), "{warnings:?}");
    }
    assert!(unknown("PORT_9787_TCP")[0].contains("Kubernetes"));
    assert_eq!(parse(&[]).unwrap().1, []);
}

#[test]
fn a_misspelt_name_is_told_together_with_the_problem_that_it_causes() {
    let variables = vec![
        ("PINPOINT_EXPORTER_TARGTS".into(), "app/segment".into()),
        ("AWS_REGION".into(), "us-east-1".into()),
    ];
    let run = run(&[], variables);
    assert_eq!(run.status, Some(64));
    assert!(run.stderr.contains("\nPINPOINT_EXPORTER_TARGETS: it is required"), "{}", run.stderr);
    assert!(
        run.stderr.contains(
            "\nwarning: PINPOINT_EXPORTER_TARGTS is not a setting and has no effect; the closest is \
             PINPOINT_EXPORTER_TARGETS\n"
        ),
        "{}",
        run.stderr
    );
}

#[test]
fn a_variable_that_is_not_utf_8_is_named_or_ignored_and_never_a_panic() {
    let bytes = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
    let mut variables = environment(&[("CACHE_TTL", "30")]);
    variables.push((bytes(b"OTHER_\xff"), bytes(b"\xff")));
    variables.push(("OTHER".into(), bytes(b"\xff")));
    variables.push(("HOSTNAME".into(), bytes(b"\xff")));
    variables.push((bytes(b"PINPOINT_EXPORTER_MAX_PAGE\xff"), bytes(b"\xff")));
    variables.push(("AWS_USE_FIPS_ENDPOINT".into(), bytes(b"true\xff")));
    for (name, text) in &mut variables {
        if name.as_bytes() == b"PINPOINT_EXPORTER_TARGETS" {
            *text = bytes(b"hush\xff");
        }
    }
    let run = run(&[], variables);
    assert_eq!(run.status, Some(64), "{}", run.stderr);
    let lines: Vec<_> = run.stderr.lines().skip(1).collect();
    assert_eq!(lines.len(), 5, "{}", run.stderr);
    assert!(lines[0].starts_with("PINPOINT_EXPORTER_TARGETS: its value is not UTF-8"), "{}", run.stderr);
    assert!(lines[1].starts_with("PINPOINT_EXPORTER_TARGETS: it is required"), "{}", run.stderr);
    assert!(lines[2].starts_with("PINPOINT_EXPORTER_CACHE_TTL=\"30\": "), "{}", run.stderr);
    assert!(lines[3].starts_with("AWS_USE_FIPS_ENDPOINT: its value is not UTF-8"), "{}", run.stderr);
    assert!(
        lines[4].starts_with("warning: PINPOINT_EXPORTER_MAX_PAGE\u{fffd} is not a setting")
            && lines[4].ends_with(" PINPOINT_EXPORTER_MAX_PAGES"),
        "{}",
        run.stderr
    );
}

#[test]
fn the_table_of_settings_is_the_contracts() {
    let settings: Vec<_> = SETTINGS.iter().map(|setting| (setting.name, setting.default)).collect();
    assert_eq!(settings, TABLE);
    for setting in SETTINGS {
        assert_eq!(setting.variable, format!("{PREFIX}{}", setting.name));
        assert!(!setting.meaning.is_empty());
    }
}

#[test]
fn every_default_is_what_the_table_says() {
    let minute = Duration::from_mins(1);
    let config = accepted(&[]);
    assert_eq!(config.targets, [segment("app", "segment")]);
    assert_eq!(config.listen_address.to_string(), "0.0.0.0:9787");
    assert_eq!(config.cache_ttl, Duration::from_secs(50));
    assert_eq!(config.max_staleness, 10 * minute);
    assert_eq!(config.discovery_ttl, 5 * minute);
    assert_eq!(config.scrape_timeout, Duration::from_secs(10));
    assert_eq!(config.scrape_timeout_offset, Duration::from_millis(500));
    assert_eq!(config.page_size, 100);
    assert_eq!(config.max_pages, 1000);
    assert_eq!(config.max_concurrent_requests, 8);
    assert_eq!(config.max_requests_per_second, Some(50));
    assert_eq!(config.request_timeout, Duration::from_secs(5));
    assert_eq!(config.refresh_timeout, 2 * minute);
    assert_eq!(config.max_attempts, 3);
    assert_eq!(config.finished_job_max_age, Some(7 * 24 * 60 * minute));
    assert_eq!(config.finished_jobs_per_segment, Some(20));
    assert_eq!(config.status_series, StatusSeries::All);
    assert!(!config.show_failures);
    assert!(config.log_filter.would_enable("pinpoint_exporter", &Level::INFO));
    assert!(!config.log_filter.would_enable("pinpoint_exporter", &Level::DEBUG));
    assert_eq!(config.log_format, LogFormat::Logfmt);
    assert_eq!(config.endpoint_url, None);
    assert!(!config.use_fips_endpoint && !config.use_dualstack_endpoint);
    assert_eq!(config.ca_bundle, None);
}

#[test]
fn an_empty_value_is_an_unset_one() {
    let defaults = format!("{:?}", accepted(&[]));
    let names = TABLE.iter().map(|(name, _)| *name).filter(|name| *name != "TARGETS");
    let names = names.chain([
        "AWS_ENDPOINT_URL",
        "AWS_ENDPOINT_URL_PINPOINT",
        "AWS_USE_FIPS_ENDPOINT",
        "AWS_USE_DUALSTACK_ENDPOINT",
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
        "AWS_CA_BUNDLE",
        "AWS_DEFAULT_REGION",
    ]);
    for name in names {
        for text in ["", "  ", "\t\n"] {
            let (config, warnings) = parse(&[(name, text)]).unwrap();
            assert_eq!(format!("{config:?}"), defaults, "{name}={text:?}");
            assert_eq!(warnings, [], "{name}={text:?}");
        }
    }
}

#[test]
fn every_setting_is_read() {
    let config = accepted(&[
        ("TARGETS", "b"),
        ("NAMES", "all"),
        ("TAG_LABELS", "team,cost centre"),
        ("LISTEN_ADDRESS", "[::]:80"),
        ("CACHE_TTL", "1s"),
        ("MAX_STALENESS", "2s"),
        ("DISCOVERY_TTL", "3s"),
        ("SCRAPE_TIMEOUT", "5s"),
        ("SCRAPE_TIMEOUT_OFFSET", "4s"),
        ("PAGE_SIZE", "6"),
        ("MAX_PAGES", "7"),
        ("MAX_CONCURRENT_REQUESTS", "9"),
        ("MAX_REQUESTS_PER_SECOND", "0"),
        ("REQUEST_TIMEOUT", "10s"),
        ("REFRESH_TIMEOUT", "11s"),
        ("MAX_ATTEMPTS", "12"),
        ("FINISHED_JOB_MAX_AGE", "0s"),
        ("FINISHED_JOBS_PER_SEGMENT", "0"),
        ("STATUS_SERIES", "current"),
        ("SHOW_FAILURES", "true"),
        ("WEB_CONFIG_FILE", "/etc/web.yml"),
        ("LOG_LEVEL", "debug"),
        ("LOG_FORMAT", "json"),
        ("AWS_CA_BUNDLE", "/etc/ca.pem"),
        ("AWS_USE_FIPS_ENDPOINT", "true"),
        ("AWS_USE_DUALSTACK_ENDPOINT", "true"),
    ]);
    assert_eq!(config.targets, [application("b")]);
    assert_eq!(
        (config.names, &config.tag_labels.labels[..]),
        (NameSource::All, &["tag_team".to_owned(), "tag_cost_centre".to_owned()][..])
    );
    assert_eq!(config.listen_address.to_string(), "[::]:80");
    let durations = [
        config.cache_ttl,
        config.max_staleness,
        config.discovery_ttl,
        config.scrape_timeout_offset,
        config.scrape_timeout,
        config.request_timeout,
        config.refresh_timeout,
    ];
    assert_eq!(durations, [1, 2, 3, 4, 5, 10, 11].map(Duration::from_secs));
    assert_eq!((config.page_size, config.max_pages, config.max_attempts), (6, 7, 12));
    assert_eq!(config.max_concurrent_requests, 9);
    assert_eq!(config.max_requests_per_second, None);
    assert_eq!((config.finished_job_max_age, config.finished_jobs_per_segment), (None, None));
    assert_eq!((config.status_series, config.log_format), (StatusSeries::Current, LogFormat::Json));
    assert!(config.show_failures && config.use_fips_endpoint && config.use_dualstack_endpoint);
    assert!(config.log_filter.would_enable("pinpoint_exporter", &Level::DEBUG));
    assert_eq!(config.ca_bundle.unwrap().to_str(), Some("/etc/ca.pem"));
    assert_eq!(config.web_config_file.unwrap().to_str(), Some("/etc/web.yml"));
}

#[test]
fn the_endpoint_for_pinpoint_goes_before_the_general_one() {
    let both =
        [("AWS_ENDPOINT_URL", "http://general"), ("AWS_ENDPOINT_URL_PINPOINT", "http://pinpoint/base")];
    let url = |variables: Variables<'_>| accepted(variables).endpoint_url.map(String::from);
    assert_eq!(url(&both).as_deref(), Some("http://pinpoint/base"));
    assert_eq!(url(&both[..1]).as_deref(), Some("http://general/"));
    let ignored = [both[0], both[1], ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")];
    assert_eq!(url(&ignored), None);
}

#[test]
fn the_region_is_that_of_the_first_that_names_one() {
    let regions = |variables: Variables<'_>, profile: Option<&str>| {
        let text = profile.map(|region| format!("[default]\nregion = {region}\n"));
        let profiles = profiles(text.as_deref().unwrap_or_default());
        let (config, _) = Config::parse(environment(variables), Some(&profiles)).unwrap();
        config.targets.into_iter().map(|target| target.region).collect::<Vec<_>>()
    };
    let default = ("AWS_DEFAULT_REGION", "eu-west-1");
    assert_eq!(regions(&[default], Some("eu-west-2")), ["us-east-1"]);
    assert_eq!(regions(&[default, ("AWS_REGION", "")], Some("eu-west-2")), ["eu-west-1"]);
    assert_eq!(regions(&[("AWS_REGION", "")], Some("eu-west-2")), ["eu-west-2"]);
    // An ARN's own region counts, and none need be configured.
    let arn = ("TARGETS", "arn:aws-cn:mobiletargeting:cn-north-1:123456789012:apps/a");
    assert_eq!(regions(&[arn], None), ["cn-north-1"]);
    assert_eq!(regions(&[arn, ("AWS_REGION", "")], None), ["cn-north-1"]);

    let profiles = profiles("[default]\n\nregion = EU\n");
    let problems =
        Config::parse(environment(&[("AWS_REGION", "")]), Some(&profiles)).unwrap_err().to_string();
    let (name, problem) = problems.split_once('=').unwrap();
    assert!(
        name.starts_with("region of the AWS profile default (") && name.ends_with("config, line 3)"),
        "{name}"
    );
    assert!(problem.starts_with("\"EU\": "), "{problem}");
}

#[test]
fn the_program_takes_the_region_of_the_profile_without_one_in_the_environment() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config");
    std::fs::write(&file, "[profile ours]\nregion = EU\n").unwrap();
    let mut variables = environment(&[("AWS_REGION", ""), ("AWS_PROFILE", "ours")]);
    variables.push(("AWS_CONFIG_FILE".into(), file.into()));
    let run = run(&[], variables);
    assert!(run.stderr.contains("\nregion of the AWS profile ours ("), "{}", run.stderr);
}

#[test]
fn help_lists_every_setting_with_its_default() {
    let run = run(&["--help"], Vec::new());
    assert_eq!((run.status, run.stderr.as_str()), (Some(0), ""));
    let lines: Vec<_> = run.stdout.lines().collect();
    for (name, default) in TABLE {
        let line = match default {
            "" => format!("  {PREFIX}{name}"),
            default => format!("  {PREFIX}{name} (default: {default})"),
        };
        assert!(lines.contains(&line.as_str()), "{line}:\n{}", run.stdout);
    }
    for name in
        ["AWS_REGION", "AWS_ENDPOINT_URL_PINPOINT", "AWS_USE_FIPS_ENDPOINT", "AWS_CA_BUNDLE", "NO_PROXY"]
    {
        assert!(run.stdout.contains(name), "{name}");
    }
}

#[test]
fn version_names_version_revision_and_compiler() {
    let run = run(&["--version"], Vec::new());
    assert_eq!((run.status, run.stderr.as_str()), (Some(0), ""));
    let rest =
        run.stdout.strip_prefix(concat!("pinpoint-exporter ", env!("CARGO_PKG_VERSION"), " (revision "));
    let (revision, rustc) = rest.and_then(|rest| rest.split_once(", rustc ")).expect(&run.stdout);
    assert!(!revision.is_empty() && rustc.starts_with("1.") && rustc.ends_with(")\n"), "{}", run.stdout);
}

fn application(id: &str) -> TargetPattern {
    TargetPattern {
        account_id: String::new(),
        region: "us-east-1".into(),
        application: IdPattern::Id(id.into()),
        segment: None,
    }
}

fn segment(application_id: &str, segment_id: &str) -> TargetPattern {
    TargetPattern { segment: Some(IdPattern::Id(segment_id.into())), ..application(application_id) }
}

#[test]
fn targets_are_read_in_every_form() {
    let place = |account_id: &str, region: &str, application, segment| TargetPattern {
        account_id: account_id.into(),
        region: region.into(),
        application,
        segment,
    };
    let id = |id: &str| IdPattern::Id(id.into());
    let any = || IdPattern::Any;
    let here = |application, segment| place("", "us-east-1", application, segment);
    let there = |application, segment| place("123456789012", "eu-west-1", application, segment);
    let arn = "arn:aws:mobiletargeting:eu-west-1:123456789012:";
    for (text, expected) in [
        ("a/s".to_owned(), here(id("a"), Some(id("s")))),
        ("a/*".into(), here(id("a"), Some(any()))),
        ("*/*".into(), here(any(), Some(any()))),
        ("a".into(), here(id("a"), None)),
        ("*".into(), here(any(), None)),
        (format!("{arn}apps/a/segments/s"), there(id("a"), Some(id("s")))),
        (format!("{arn}apps/a/segments/*"), there(id("a"), Some(any()))),
        (format!("{arn}apps/*/segments/*"), there(any(), Some(any()))),
        (format!("{arn}apps/a"), there(id("a"), None)),
        (format!("{arn}apps/*"), there(any(), None)),
        ("%2A".into(), here(id("*"), None)),
        ("a%2fb/c%2Cd%20e".into(), here(id("a/b"), Some(id("c,d e")))),
        ("%252A".into(), here(id("%2A"), None)),
        ("ü+~:@/...".into(), here(id("ü+~:@"), Some(id("...")))),
        (format!("{arn}apps/a:b%3Ac"), there(id("a:b:c"), None)),
        ("apps".into(), here(id("apps"), None)),
        ("%61rn:aws".into(), here(id("arn:aws"), None)),
    ] {
        let parsed = target::parse(&text, Some("us-east-1"));
        assert_eq!(parsed.errors, [], "{text}");
        assert_eq!(parsed.patterns.into_keys().collect::<Vec<_>>(), [expected], "{text}");
    }
}

#[test]
fn every_partition_is_accepted() {
    for (partition, region) in [
        ("aws", "us-east-1"),
        ("aws-us-gov", "us-gov-west-1"),
        ("aws-cn", "cn-north-1"),
        ("aws-iso", "us-iso-east-1"),
        ("aws-iso-b", "us-isob-east-1"),
        ("aws-iso-e", "eu-isoe-west-1"),
        ("aws-iso-f", "us-isof-south-1"),
        ("aws-eusc", "eusc-de-east-1"),
    ] {
        let text = format!("arn:{partition}:mobiletargeting:{region}:123456789012:apps/a");
        let config = accepted(&[("TARGETS", &text)]);
        let target = &config.targets[0];
        assert_eq!((target.region.as_str(), target.account_id.as_str()), (region, "123456789012"));
    }
}

#[test]
fn targets_are_separated_by_commas_and_white_space_and_merged() {
    let config = accepted(&[("TARGETS", "b/s,a/s\n\t a/t , ,a/s %61/%73\u{a0}c")]);
    assert_eq!(config.targets, [segment("a", "s"), segment("a", "t"), segment("b", "s"), application("c")]);
}

#[test]
fn an_application_is_asked_for_in_one_way() {
    let arn = |resource: &str| format!("arn:aws:mobiletargeting:eu-west-1:123456789012:apps/{resource}");
    let names = |text: &str| {
        let errors = target::parse(text, Some("us-east-1")).errors;
        errors
            .iter()
            .map(ToString::to_string)
            .zip(errors.iter().map(|error| error.entry().unwrap().text.clone()))
            .collect::<Vec<_>>()
    };
    for (whole, by_segment) in [
        ("a", "a/s"),
        ("a", "a/*"),
        ("a", "*/*"),
        ("*", "a/s"),
        ("*", "a/*"),
        ("*", "*/*"),
        ("%61", "a/%2A"),
        (&arn("a"), &arn("a/segments/s")),
        (&arn("*"), &arn("a/segments/*")),
        (&arn("a"), &arn("*/segments/*")),
    ] {
        for text in [format!("{whole} {by_segment}"), format!("{by_segment} {whole}")] {
            let errors = names(&text);
            assert_eq!(errors.len(), 1, "{text}: {errors:?}");
            assert_eq!(errors[0].1, whole, "{text}");
            assert!(errors[0].0.contains(&format!("{by_segment:?}")), "{text}: {errors:?}");
        }
    }
    let other_place = arn("a");
    for text in ["a b/s", "a/s a/*", "a/s */*", "a *", "%2A a/s", &format!("{other_place} a/s")] {
        let errors = names(text);
        assert!(errors.is_empty(), "{text}: {errors:?}");
    }
}

#[test]
fn arns_and_targets_without_one_are_mixed_only_in_different_regions() {
    let text = format!("{ARN} b c {ARN}/segments/s");
    let errors = target::parse(&text, Some("us-east-1")).errors;
    let mixed: Vec<_> = errors.iter().filter(|error| matches!(error, target::Error::Mixed { .. })).collect();
    assert_eq!(mixed.len(), 2, "{errors:?}");
    assert!(mixed[0].to_string().contains("\"b\""), "{}", mixed[0]);
    assert_eq!(target::parse(&format!("{ARN} b"), Some("us-east-2")).errors, []);
    assert_eq!(target::parse(ARN, Some("us-east-1")).errors, []);
}

#[test]
fn a_target_without_an_arn_needs_a_region() {
    let parsed = target::parse(&format!("{ARN} b c c/s"), None);
    assert_eq!(parsed.without_region.unwrap().text, "b");
    assert_eq!(parsed.errors.len(), 1, "{:?}", parsed.errors);
    assert_eq!(target::parse(ARN, None).without_region, None);
}

fn percent_encode_all(id: &str) -> String {
    use std::fmt::Write;
    id.bytes().fold(String::new(), |mut text, byte| {
        _ = write!(text, "%{byte:02X}");
        text
    })
}

fn any_id() -> impl Strategy<Value = String> {
    prop_oneof!["[^\u{0}]{1,20}", "[./*%, a:]{1,4}", any::<String>()]
        .prop_filter("ids that exist", |id| !matches!(id.as_str(), "" | "." | ".."))
}

proptest! {
    #[test]
    fn any_id_survives_encoding_and_decoding(application_id in any_id(), segment_id in any_id()) {
        let expected = segment(&application_id, &segment_id);
        let text = format!("{}/{}", percent_encode_all(&application_id), percent_encode_all(&segment_id));
        let parsed = target::parse(&text, Some("us-east-1"));
        prop_assert_eq!(&parsed.errors, &[]);
        let (pattern, _) = parsed.patterns.first_key_value().unwrap();
        prop_assert_eq!(pattern, &expected);

        // As it is shown it is read again.
        let shown = target::parse(&pattern.to_string(), Some("us-east-1"));
        prop_assert_eq!(shown.patterns.keys().next(), Some(pattern));
        prop_assert_eq!(parsed.patterns.len(), 1);
    }

    #[test]
    fn any_text_is_read_or_refused(text in any::<String>(), region in proptest::option::of(any::<String>())) {
        let parsed = target::parse(&text, region.as_deref());
        prop_assert!(!parsed.errors.is_empty() || !parsed.patterns.is_empty());
    }

    #[test]
    fn any_value_of_any_setting_is_read_or_refused(texts in proptest::collection::vec(any::<String>(), TABLE.len())) {
        let variables = TABLE.iter().zip(&texts).map(|((name, _), text)| {
            (OsString::from(full_name(name)), OsString::from(text))
        });
        if let Err(problems) = Config::parse(variables, None) {
            prop_assert!(!problems.problems.is_empty());
            let lines = problems.to_string().lines().count();
            prop_assert_eq!(lines, problems.problems.len() + problems.warnings.len());
        }
    }
}
