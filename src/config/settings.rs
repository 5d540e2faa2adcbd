//! The table of settings. `--help`, the defaults, the warnings about unknown names and the table of `docs/SETTINGS.md` come
//! from it.

use serde::Deserialize;

/// The prefix of every setting's environment variable.
pub const PREFIX: &str = "PINPOINT_EXPORTER_";

/// A setting, as the documentation describes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// The variable's name without [`PREFIX`].
    pub name: &'static str,
    /// The variable's full name.
    pub variable: &'static str,
    /// The value when the variable is unset or empty, as a user would write it. `""` for no default.
    pub default: &'static str,
    /// The meaning of the setting, in one line.
    pub meaning: &'static str,
}

/// A setting and its value in the environment.
#[derive(Debug, Clone, Copy)]
pub(super) struct RawSetting<'a> {
    pub(super) setting: &'static Setting,
    /// The variable's value. `None` if it is not set.
    pub(super) text: Option<&'a str>,
}

impl<'a> RawSetting<'a> {
    /// The value to parse: the variable's value, or else the default. `""` if there is no default.
    pub(super) fn text(self) -> &'a str {
        self.text.unwrap_or(self.setting.default)
    }
}

macro_rules! settings {
    ($($field:ident $name:ident = $default:literal $meaning:literal;)*) => {
        /// Every setting, in the order of the documentation.
        pub static SETTINGS: &[Setting] = &[$(Setting {
            name: stringify!($name),
            variable: concat!("PINPOINT_EXPORTER_", stringify!($name)),
            default: $default,
            meaning: $meaning,
        }),*];

        /// The variables' values as written. They are parsed later, because envy would stop at the first invalid value and
        /// quote it.
        #[derive(Debug, Default, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(super) struct RawSettings { $($field: Option<String>,)* }

        #[expect(non_camel_case_types, reason = "named like the fields that they number")]
        enum Index { $($field,)* }

        impl RawSettings {
            /// Every setting, in the order of the table.
            pub(super) fn all(&self) -> impl Iterator<Item = RawSetting<'_>> {
                [$(self.$field()),*].into_iter()
            }

            $(pub(super) fn $field(&self) -> RawSetting<'_> {
                RawSetting { setting: &SETTINGS[Index::$field as usize], text: self.$field.as_deref() }
            })*
        }
    };
}

settings! {
    targets TARGETS = "" "targets to read, separated by commas or white space; this or TARGETS_FILE is required";
    targets_file TARGETS_FILE = ""
        "file with more targets; # starts a comment; the exporter reads it again when it changes, and on SIGHUP";
    names NAMES = "discovered"
        "discovered: names of applications and segments from lists that are read anyway; all: also read lists for names; off: no names";
    tag_labels TAG_LABELS = "" "tag keys to show as labels with the names, such as team,stage";
    listen_address LISTEN_ADDRESS = "0.0.0.0:9787" "address and port to serve on; for IPv6 write [::]:9787";
    cache_ttl CACHE_TTL = "50s" "how long a scrape uses cached data before it refreshes it; 0s: every scrape refreshes it";
    max_staleness MAX_STALENESS = "10m" "age at which old data disappears";
    discovery_ttl DISCOVERY_TTL = "5m"
        "how long lists of applications and segments are used before they are refreshed";
    scrape_timeout SCRAPE_TIMEOUT = "10s" "how long a scrape waits if the scraper sends no timeout";
    scrape_timeout_offset SCRAPE_TIMEOUT_OFFSET = "500ms" "how long before the scraper's timeout a scrape is answered";
    page_size PAGE_SIZE = "100" "jobs per request";
    max_pages MAX_PAGES = "1000" "pages per listing; a longer listing fails";
    max_concurrent_requests MAX_CONCURRENT_REQUESTS = "8" "concurrent requests, per account and region";
    max_requests_per_second MAX_REQUESTS_PER_SECOND = "50"
        "requests per second, per account and region (AWS's quota is 300); 0: no limit";
    request_timeout REQUEST_TIMEOUT = "5s" "timeout of one attempt";
    refresh_timeout REFRESH_TIMEOUT = "2m" "timeout of one refresh, including all pages, attempts and waits";
    max_attempts MAX_ATTEMPTS = "3" "attempts per request, including the first";
    finished_job_max_age FINISHED_JOB_MAX_AGE = "7d"
        "age up to which a finished job has series of its own; 0s: no limit";
    finished_jobs_per_segment FINISHED_JOBS_PER_SEGMENT = "20"
        "number of finished jobs with series of their own, per segment; 0: no limit";
    status_series STATUS_SERIES = "all" "all: a series for each state; current: only the series that is 1";
    role_arns ROLE_ARNS = "" "roles to assume, one per account; each is used for the target ARNs of its account";
    role_external_id ROLE_EXTERNAL_ID = "" "external id for assuming the roles";
    shard SHARD = "" "2/5: serve the third of five shards; auto/5: take the number from the end of HOSTNAME";
    show_failures SHOW_FAILURES = "false" "true: show the text of Failures on / and in /api/v1/jobs";
    web_config_file WEB_CONFIG_FILE = ""
        "file with TLS, client certificates and passwords, in the format of Prometheus's exporter-toolkit";
    log_level LOG_LEVEL = "info"
        "error, warn, info, debug, trace or off, or a filter such as warn,pinpoint_exporter=debug";
    log_format LOG_FORMAT = "logfmt" "logfmt or json";
}

/// An AWS variable that the exporter reads itself or through AWS's crates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AwsVariable {
    /// The variable, or several variables of one kind.
    pub name: &'static str,
    /// The meaning of the variable, in one line.
    pub meaning: &'static str,
}

/// AWS's variables, as `--help` lists them.
pub static AWS_VARIABLES: &[AwsVariable] = &[
    AwsVariable {
        name: "AWS_REGION, AWS_DEFAULT_REGION",
        meaning: "region of targets without an ARN; default: the region of the profile",
    },
    AwsVariable {
        name: "AWS_PROFILE, AWS_CONFIG_FILE, AWS_SHARED_CREDENTIALS_FILE",
        meaning: "profile, and the files that have it",
    },
    AwsVariable {
        name: "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN",
        meaning: "credentials; default: the other sources of AWS's standard chain: profile, SSO, web identity, container, EC2",
    },
    AwsVariable {
        name: "AWS_ENDPOINT_URL_PINPOINT, AWS_ENDPOINT_URL",
        meaning: "URL of the API instead of AWS's own; the first one wins; default: the URL of the profile",
    },
    AwsVariable { name: "AWS_ENDPOINT_URL_STS", meaning: "URL of STS instead of AWS's own" },
    AwsVariable {
        name: "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
        meaning: "true: ignore all configured URLs, also those of the profile",
    },
    AwsVariable {
        name: "AWS_USE_FIPS_ENDPOINT, AWS_USE_DUALSTACK_ENDPOINT",
        meaning: "true: use AWS's FIPS or dual-stack (IPv6) endpoints; default: as the profile says",
    },
    AwsVariable { name: "AWS_CA_BUNDLE", meaning: "PEM file with the only certificates to trust" },
    AwsVariable {
        name: "HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY",
        meaning: "proxies (http, https, socks5), as curl reads them",
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suggest::nearest;

    #[test]
    fn every_name_of_the_table_is_a_field() {
        let texts: RawSettings = envy::prefixed(PREFIX)
            .from_iter(SETTINGS.iter().map(|setting| (setting.variable.into(), setting.name.into())))
            .unwrap();
        assert_eq!(texts.targets().text, Some("TARGETS"));
        assert_eq!(texts.log_format().text, Some("LOG_FORMAT"));
        assert_eq!(texts.max_attempts().text, Some(texts.max_attempts().setting.name));
    }

    #[test]
    fn the_nearest_name_allows_for_swapped_letters() {
        let names = ["CACHE_TTL", "DISCOVERY_TTL"];
        assert_eq!(nearest("CAHCE_TTL", names), Some("CACHE_TTL"));
        assert_eq!(nearest("DISCOVERY", names), Some("DISCOVERY_TTL"));
        assert_eq!(nearest("x", []), None);
    }
}
