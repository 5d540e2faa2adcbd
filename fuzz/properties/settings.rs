//! The settings, over any environment: `NAME=value`, each ended by a zero byte as in `/proc/PID/environ`.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
};

use pinpoint_exporter::config::{Config, SETTINGS, SettingErrors};

use super::targets::is_region;

/// What no text that is shown may hold: where the environment has it, it is a secret.
const HUSH: &str = "hush7zQ";

const EXTERNAL_ID: &str = "PINPOINT_EXPORTER_ROLE_EXTERNAL_ID";
/// Their URLs may hold a password.
const URLS: [&str; 9] = [
    "AWS_ENDPOINT_URL_PINPOINT",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_STS",
    "https_proxy",
    "HTTPS_PROXY",
    "http_proxy",
    "HTTP_PROXY",
    "all_proxy",
    "ALL_PROXY",
];

/// Variables of others that the settings' problems may name.
const OTHERS: [&str; 7] = [
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
    "AWS_USE_FIPS_ENDPOINT",
    "AWS_USE_DUALSTACK_ENDPOINT",
    "no_proxy",
    "NO_PROXY",
];

type Variables = BTreeMap<OsString, OsString>;

pub(crate) fn check(data: &[u8]) {
    let variables: Variables = data
        .split(|byte| *byte == 0)
        .filter_map(|entry| {
            let at = entry.iter().position(|byte| *byte == b'=')?;
            let (name, value) = (&entry[..at], &entry[at + 1..]);
            Some((OsString::from_vec(name.to_vec()), OsString::from_vec(value.to_vec())))
        })
        .collect();
    let outcome = Config::parse(variables.clone(), None);
    let reversed = Config::parse(variables.clone().into_iter().rev(), None);
    match outcome {
        Ok((config, warnings)) => {
            let (again, _) = reversed.expect("the order does not matter");
            assert_eq!(format!("{config:?}"), format!("{again:?}"));
            accepted(&config, &variables);
            let warnings: Vec<_> = warnings.iter().map(ToString::to_string).collect();
            one_line_each(&warnings);
            // It was accepted, so it has no user information: an @ in it is in its path.
            let shown = Config { endpoint_url: None, sts_endpoint_url: None, ..config };
            no_secret(&format!("{shown:?} {warnings:?}"), &variables);
        }
        Err(problems) => {
            let again = reversed.expect_err("the order does not matter");
            // Of AWS's variables the environment's order stays.
            let sorted = |problems: &SettingErrors| {
                let mut lines: Vec<_> = problems.problems.iter().map(ToString::to_string).collect();
                lines.sort();
                lines
            };
            assert_eq!(sorted(&problems), sorted(&again));
            refused(&problems, &variables);
            no_secret(&format!("{problems} {problems:?}"), &variables);
        }
    }
}

/// Each problem names a variable that there is, its value unless it may not be shown, and what would be right.
fn refused(problems: &SettingErrors, variables: &Variables) {
    assert!(!problems.problems.is_empty(), "an error without a problem");
    let mut places = Vec::new();
    for problem in &problems.problems {
        let place = SETTINGS.iter().position(|setting| setting.variable == problem.variable);
        let name = problem.variable.as_str();
        assert!(place.is_some() || OTHERS.contains(&name) || URLS.contains(&name), "{problem}");
        places.push(place.unwrap_or(SETTINGS.len()));
        let line = problem.to_string();
        assert!(line.starts_with(&problem.variable), "{line}");
        let cures = [
            "write",
            "unset",
            "set ",
            "keep",
            "leave",
            "lower",
            "raise",
            "stands only for",
            "the closest is",
            "it is one of",
            "which is",
            "remove",
        ];
        assert!(cures.iter().any(|cure| line.contains(cure)), "no cure in: {line}");
        let set = variables.get(OsStr::new(&problem.variable)).is_some_and(|value| !value.is_empty());
        assert!(set || problem.value.is_none() || place.is_some(), "a value that nobody wrote: {line}");
    }
    assert!(places.is_sorted(), "in the order of the table: {problems}");
    let lines: Vec<_> = problems.to_string().lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), problems.problems.len() + problems.warnings.len(), "one line each: {problems}");
    one_line_each(&lines);
}

fn one_line_each(lines: &[String]) {
    for line in lines {
        assert!(!line.chars().any(char::is_control), "{line:?}");
        // Several values of eighty characters, escaped, and what is said about them.
        assert!(line.chars().count() < 6000, "{} characters", line.chars().count());
    }
}

/// What the rest of the house relies on, and that the settings as they are shown are those settings.
fn accepted(config: &Config, variables: &Variables) {
    assert!(config.max_staleness >= config.cache_ttl);
    assert!(config.scrape_timeout_offset < config.scrape_timeout);
    assert!(!config.request_timeout.is_zero() && !config.refresh_timeout.is_zero());
    let counts = [config.page_size, config.max_pages, config.max_attempts];
    assert!(counts.iter().all(|count| (1..=1_000_000).contains(count)), "{counts:?}");
    assert!((1..=1_000_000).contains(&config.max_concurrent_requests));
    assert!(config.max_requests_per_second != Some(0) && config.finished_jobs_per_segment != Some(0));
    assert!(config.shard.ordinal < config.shard.count);
    // The file of TARGETS_FILE has not been looked into.
    assert!(config.targets.is_sorted() && (!config.targets.is_empty() || config.targets_file.is_some()));
    assert!(config.targets.iter().all(|target| is_region(&target.region)), "{:?}", config.targets);
    assert!(config.roles.external_id.is_none() || !config.roles.by_account.is_empty());
    for url in [&config.endpoint_url, &config.sts_endpoint_url].into_iter().flatten() {
        let clean = url.username().is_empty() && url.password().is_none() && url.query().is_none();
        assert!(
            clean && url.has_host() && !config.use_fips_endpoint && !config.use_dualstack_endpoint,
            "{url}"
        );
    }

    let shown: Vec<_> = config.effective.iter().map(|it| (it.variable, it.value.as_str())).collect();
    let settings: Vec<_> = SETTINGS.iter().map(|setting| setting.variable).collect();
    assert!(shown.iter().map(|(variable, _)| *variable).take(settings.len()).eq(settings));
    let written = shown.iter().filter(|(_, value)| !value.is_empty()).map(|(variable, value)| {
        let value = match variables.get(OsStr::new(variable)) {
            // What may be secret in them is not shown.
            Some(secret) if *variable == EXTERNAL_ID || URLS.contains(variable) => secret.clone(),
            // It need not be UTF-8, and is shown as well as it can be.
            Some(path) if *variable == "AWS_CA_BUNDLE" => path.clone(),
            _ => value.into(),
        };
        (OsString::from(variable), value)
    });
    let (again, _) = Config::parse(written, None).expect("what is shown can be set");
    let bare = |config: &Config| format!("{:?}", Config { effective: Vec::new(), ..config.clone() });
    assert_eq!(bare(config), bare(&again), "what is shown is what is in effect");
}

fn no_secret(shown: &str, variables: &Variables) {
    let is_known =
        |name: &OsStr| SETTINGS.iter().any(|setting| name == setting.variable) || name == "AWS_CA_BUNDLE";
    let is_public = variables.iter().any(|(name, value)| {
        let value = String::from_utf8_lossy(value.as_bytes());
        let names = name.to_string_lossy();
        // The name of a variable with the prefix is no secret, nor are the values of most settings.
        let by_name = names.contains(HUSH);
        let by_value = value.contains(HUSH)
            && match names.as_ref() {
                EXTERNAL_ID => false,
                name if URLS.contains(&name) => {
                    let scheme = value.rsplit_once('@').and_then(|(before, _)| before.split_once("://"));
                    scheme.is_some_and(|(scheme, _)| scheme.contains(HUSH))
                        || public_part(&value).contains(HUSH)
                }
                _ => is_known(name) || OTHERS.contains(&names.as_ref()) || names == "HOSTNAME",
            };
        by_name || by_value
    });
    assert!(is_public || !shown.contains(HUSH), "a secret is shown: {shown}");
}

/// Of a URL what is neither user information nor query nor fragment.
fn public_part(url: &str) -> &str {
    let after_user = url.rsplit('@').next().unwrap_or_default();
    after_user.split(['?', '#']).next().unwrap_or_default()
}
