//! Parses environment strings into a validated [`Config`], and reports all problems at once. It reads no environment variables
//! itself, and only [`Config::read`] reads files.
//!
//! `settings` contains the table of settings. `value` and the modules beside it parse one value each. This file combines the
//! values and refuses contradictions.

use std::{
    collections::BTreeMap, ffi::OsString, fmt, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration,
};

use url::Url;

mod aws;
mod aws_variables;
mod effective;
mod endpoint;
mod environment;
mod error;
mod files;
mod log_filter;
pub mod profile;
pub mod proxy;
mod role;
mod settings;
mod shard;
mod suggest;
mod tags;
mod targets;
mod value;

pub(crate) use self::error::quoted;
pub(crate) use self::shard::MAX_SHARDS;
pub(crate) use self::suggest::{close, variable_of};
pub(crate) use self::value::{Explanation, number};
pub use self::{
    effective::EffectiveSetting,
    error::{SettingError, SettingErrors, Warning},
    settings::{AWS_VARIABLES, AwsVariable, PREFIX, SETTINGS, Setting},
    targets::TargetsFile,
};

use self::{
    aws::Aws,
    environment::{Environment, HOST_NAME},
    profile::{AwsEnvironment, Profiles},
    proxy::Proxies,
    settings::{RawSetting, RawSettings},
};
use crate::model::{
    duration::duration,
    names::{NameSource, TagLabels},
    refresh_limits::RefreshLimits,
    shard::Shard,
    status_series::StatusSeries,
    target::TargetPattern,
};

/// The exporter's settings, validated. The documentation of each field names its variable, without the prefix
/// `PINPOINT_EXPORTER_`.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each stands for a variable")]
pub struct Config {
    /// `TARGETS` and the targets of `TARGETS_FILE`, sorted and without duplicates.
    pub targets: Vec<TargetPattern>,
    /// `TARGETS_FILE`
    pub targets_file: Option<TargetsFile>,
    /// `NAMES`
    pub names: NameSource,
    /// `TAG_LABELS`
    pub tag_labels: Arc<TagLabels>,
    /// `LISTEN_ADDRESS`
    pub listen_address: SocketAddr,
    /// `CACHE_TTL`
    pub cache_ttl: Duration,
    /// `MAX_STALENESS`
    pub max_staleness: Duration,
    /// `DISCOVERY_TTL`
    pub discovery_ttl: Duration,
    /// `SCRAPE_TIMEOUT`
    pub scrape_timeout: Duration,
    /// `SCRAPE_TIMEOUT_OFFSET`
    pub scrape_timeout_offset: Duration,
    /// `PAGE_SIZE`
    pub page_size: u32,
    /// `MAX_PAGES`
    pub max_pages: u32,
    /// `MAX_CONCURRENT_REQUESTS`
    pub max_concurrent_requests: usize,
    /// `MAX_REQUESTS_PER_SECOND`; `None` for no limit.
    pub max_requests_per_second: Option<u32>,
    /// `REQUEST_TIMEOUT`
    pub request_timeout: Duration,
    /// `REFRESH_TIMEOUT`
    pub refresh_timeout: Duration,
    /// `MAX_ATTEMPTS`
    pub max_attempts: u32,
    /// `FINISHED_JOB_MAX_AGE`; `None` for no limit.
    pub finished_job_max_age: Option<Duration>,
    /// `FINISHED_JOBS_PER_SEGMENT`; `None` for no limit.
    pub finished_jobs_per_segment: Option<usize>,
    /// `STATUS_SERIES`
    pub status_series: StatusSeries,
    /// `ROLE_ARNS` and `ROLE_EXTERNAL_ID`
    pub roles: Roles,
    /// `SHARD`
    pub shard: Shard,
    /// `SHOW_FAILURES`
    pub show_failures: bool,
    /// `WEB_CONFIG_FILE`
    pub web_config_file: Option<PathBuf>,
    /// `LOG_LEVEL`
    pub log_filter: tracing_subscriber::filter::Targets,
    /// `LOG_FORMAT`
    pub log_format: LogFormat,
    /// The configured region: `AWS_REGION`, `AWS_DEFAULT_REGION`, or the region of the profile.
    pub own_region: Option<String>,
    /// `AWS_ENDPOINT_URL_PINPOINT`, or else `AWS_ENDPOINT_URL`. It replaces AWS's URL of the API.
    pub endpoint_url: Option<Url>,
    /// `AWS_ENDPOINT_URL_STS`, or else `AWS_ENDPOINT_URL`. It replaces AWS's URL of STS.
    pub sts_endpoint_url: Option<Url>,
    /// Whether the exporter may ask STS for the caller's identity. With a custom endpoint for the API, it may only if STS has
    /// its own endpoint too.
    pub may_ask_sts: bool,
    /// `AWS_USE_FIPS_ENDPOINT`
    pub use_fips_endpoint: bool,
    /// `AWS_USE_DUALSTACK_ENDPOINT`
    pub use_dualstack_endpoint: bool,
    /// `AWS_CA_BUNDLE`: a PEM file with the only certificates to trust.
    pub ca_bundle: Option<PathBuf>,
    /// `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`
    pub proxies: Proxies,
    /// The variables that select credentials, such as `AWS_PROFILE` and `AWS_CONFIG_FILE`.
    pub credentials: AwsEnvironment,
    /// Every setting in effect, for the status page.
    pub effective: Vec<EffectiveSetting>,
}

/// The roles to assume.
#[derive(Clone, Default)]
pub struct Roles {
    /// The ARN of the role for each account.
    pub by_account: BTreeMap<String, String>,
    /// The external id that the roles' trust policies require. It is never shown.
    pub external_id: Option<String>,
}

impl fmt::Debug for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Roles").field("by_account", &self.by_account).finish_non_exhaustive()
    }
}

/// The format of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// `key=value` pairs.
    #[default]
    Logfmt,
    /// One JSON object per line.
    Json,
}

impl Config {
    /// The region of the first target. Validated settings always have a target.
    pub fn region(&self) -> &str {
        self.targets.first().map_or("", |target| &target.region)
    }

    /// The settings that limit how often targets are refreshed.
    pub fn refresh_limits(&self) -> RefreshLimits {
        RefreshLimits {
            max_requests_per_second: self.max_requests_per_second,
            cache_ttl: self.cache_ttl,
            max_staleness: self.max_staleness,
        }
    }

    /// The region of the STS endpoint for a target in region `of_target`.
    pub fn sts_region<'a>(&'a self, of_target: &'a str) -> &'a str {
        self.own_region.as_deref().unwrap_or(of_target)
    }

    /// Parses the settings from environment variables, with the AWS profile for AWS settings that no variable sets. It does not
    /// read the file of `TARGETS_FILE`, and treats it as empty.
    pub fn parse(
        variables: impl IntoIterator<Item = (OsString, OsString)>,
        profiles: Option<&Profiles>,
    ) -> Result<(Self, Vec<Warning>), SettingErrors> {
        Self::parse_with(variables, profiles, None)
    }

    /// Like [`Config::parse`], with the contents of `TARGETS_FILE`. `None` if the file was not read.
    fn parse_with(
        variables: impl IntoIterator<Item = (OsString, OsString)>,
        profiles: Option<&Profiles>,
        targets_file: Option<Result<String, String>>,
    ) -> Result<(Self, Vec<Warning>), SettingErrors> {
        let mut problems = SettingErrors::default();
        let environment = Environment::sort(variables, &mut problems);
        let texts = &environment.texts;
        let aws = Aws::read(&environment, profiles, &mut problems);
        let targets = targets::read(texts, targets_file, aws.region.as_deref(), &mut problems);
        let durations = Durations::read(texts, &mut problems);
        match Self::assemble(&environment, targets, &durations, aws, &mut problems) {
            Some(config) if problems.problems.is_empty() => {
                problems.warnings.extend(config.unused_roles());
                Ok((config, problems.warnings))
            }
            _ => {
                problems.sort();
                Err(problems)
            }
        }
    }

    fn unused_roles(&self) -> impl Iterator<Item = Warning> {
        let is_unused = |account_id: &str| !self.targets.iter().any(|target| target.account_id == account_id);
        let roles = self.roles.by_account.iter().filter(move |(account_id, _)| is_unused(account_id));
        roles.map(|(account_id, role_arn)| Warning::UnusedRole {
            role_arn: role_arn.clone(),
            account_id: account_id.clone(),
        })
    }

    /// Reads only `LISTEN_ADDRESS`, so that problems with other settings do not matter.
    pub fn read_listen_address(
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<SocketAddr, SettingErrors> {
        let mut problems = SettingErrors::default();
        let variable = RawSettings::default().listen_address().setting.variable;
        let variables = variables.into_iter().filter(|(name, _)| name == variable);
        let texts = Environment::sort(variables, &mut problems).texts;
        let address = problems.setting(texts.listen_address(), value::socket_address);
        address.filter(|_| problems.problems.is_empty()).ok_or(problems)
    }

    /// Parses the settings that do not depend on others, and combines them with those already parsed. Returns `None` only if
    /// there is a problem.
    fn assemble(
        environment: &Environment,
        targets: Vec<TargetPattern>,
        durations: &Durations,
        aws: Aws,
        problems: &mut SettingErrors,
    ) -> Option<Self> {
        let texts = &environment.texts;
        let names = problems.setting(texts.names(), |text| {
            let words =
                [("discovered", NameSource::Discovered), ("all", NameSource::All), ("off", NameSource::Off)];
            value::word(text, &words)
        });
        let tag_labels = problems.setting(texts.tag_labels(), tags::tag_labels);
        let listen_address = problems.setting(texts.listen_address(), value::socket_address);
        let page_size = problems.setting(texts.page_size(), value::count);
        let max_pages = problems.setting(texts.max_pages(), value::count);
        let max_concurrent_requests = problems.setting(texts.max_concurrent_requests(), value::count);
        let max_requests_per_second =
            problems.setting(texts.max_requests_per_second(), value::number_or_unlimited);
        let max_attempts = problems.setting(texts.max_attempts(), value::count);
        let finished_jobs_per_segment =
            problems.setting(texts.finished_jobs_per_segment(), value::number_or_unlimited);
        let status_series = problems.setting(texts.status_series(), |text| {
            value::word(text, &[("all", StatusSeries::All), ("current", StatusSeries::Current)])
        });
        let roles = read_roles(texts, problems);
        let shard = problems.setting(texts.shard(), |text| match text {
            "" => Ok(Shard::WHOLE),
            text => shard::shard(text, environment.other(HOST_NAME)),
        });
        let show_failures = problems.setting(texts.show_failures(), value::boolean);
        let log_filter = problems.setting(texts.log_level(), log_filter::log_filter);
        let log_format = problems.setting(texts.log_format(), |text| {
            value::word(text, &[("logfmt", LogFormat::Logfmt), ("json", LogFormat::Json)])
        });
        Some(Self {
            targets,
            targets_file: TargetsFile::new(texts, aws.region.as_deref()),
            names: names?,
            tag_labels: Arc::new(tag_labels?),
            listen_address: listen_address?,
            cache_ttl: durations.cache_ttl?,
            max_staleness: durations.max_staleness?,
            discovery_ttl: durations.discovery_ttl?,
            scrape_timeout: durations.scrape_timeout?,
            scrape_timeout_offset: durations.scrape_timeout_offset?,
            page_size: page_size?,
            max_pages: max_pages?,
            max_concurrent_requests: max_concurrent_requests? as usize,
            max_requests_per_second: max_requests_per_second?,
            request_timeout: durations.request_timeout?,
            refresh_timeout: durations.refresh_timeout?,
            max_attempts: max_attempts?,
            finished_job_max_age: Some(durations.finished_job_max_age?).filter(|age| !age.is_zero()),
            finished_jobs_per_segment: finished_jobs_per_segment?.map(|count| count as usize),
            status_series: status_series?,
            roles,
            shard: shard?,
            show_failures: show_failures?,
            web_config_file: texts.web_config_file().text.map(PathBuf::from),
            log_filter: log_filter?,
            log_format: log_format?,
            may_ask_sts: aws.endpoint_url.is_none() || aws.has_endpoint_of_sts,
            effective: environment.effective(aws.of_profile),
            own_region: aws.region,
            endpoint_url: aws.endpoint_url,
            sts_endpoint_url: aws.sts_endpoint_url,
            use_fips_endpoint: aws.use_fips_endpoint,
            use_dualstack_endpoint: aws.use_dualstack_endpoint,
            ca_bundle: aws.ca_bundle,
            proxies: aws.proxies,
            credentials: environment.credentials.clone(),
        })
    }
}

impl SettingErrors {
    /// Sorts the problems in the order of the settings table. Problems with AWS's variables come last.
    fn sort(&mut self) {
        self.problems.sort_by_key(|problem| {
            SETTINGS.iter().position(|setting| setting.variable == problem.variable).unwrap_or(SETTINGS.len())
        });
    }

    fn setting<'a, T>(
        &mut self,
        written: RawSetting<'a>,
        read: impl FnOnce(&'a str) -> Result<T, Explanation>,
    ) -> Option<T> {
        let variable = written.setting.variable;
        self.keep(
            read(written.text())
                .map_err(|explanation| SettingError::new(variable, written.text(), explanation)),
        )
    }

    /// Reports a conflict between two settings, under the name of the first.
    fn combination(&mut self, first: RawSetting<'_>, explanation: &str) {
        let by_default = if first.text.is_none() { "by default " } else { "" };
        self.problems.push(SettingError::new(
            first.setting.variable,
            first.text(),
            format!("{by_default}{explanation}"),
        ));
    }
}

/// A setting and its value, for the problem of another setting.
fn named(written: RawSetting<'_>) -> String {
    let name = written.setting.variable;
    match written.text {
        Some(text) => format!("{name}={}", error::quoted(text)),
        None => format!("{name} (by default {})", written.setting.default),
    }
}

/// The settings that are durations. Some of them limit each other.
struct Durations {
    cache_ttl: Option<Duration>,
    max_staleness: Option<Duration>,
    discovery_ttl: Option<Duration>,
    scrape_timeout: Option<Duration>,
    scrape_timeout_offset: Option<Duration>,
    request_timeout: Option<Duration>,
    refresh_timeout: Option<Duration>,
    /// Zero means no limit.
    finished_job_max_age: Option<Duration>,
}

impl Durations {
    fn read(texts: &RawSettings, problems: &mut SettingErrors) -> Self {
        let durations = Self {
            cache_ttl: problems.setting(texts.cache_ttl(), duration),
            max_staleness: problems.setting(texts.max_staleness(), duration),
            discovery_ttl: problems.setting(texts.discovery_ttl(), duration),
            scrape_timeout: problems.setting(texts.scrape_timeout(), value::timeout),
            scrape_timeout_offset: problems.setting(texts.scrape_timeout_offset(), duration),
            request_timeout: problems.setting(texts.request_timeout(), value::timeout),
            refresh_timeout: problems.setting(texts.refresh_timeout(), value::timeout),
            finished_job_max_age: problems.setting(texts.finished_job_max_age(), duration),
        };
        if let (Some(max_staleness), Some(cache_ttl)) = (durations.max_staleness, durations.cache_ttl)
            && max_staleness < cache_ttl
        {
            problems.combination(
                texts.max_staleness(),
                &format!(
                    "it is below {}, so that data would vanish before they are fetched anew; write at least {}",
                    named(texts.cache_ttl()),
                    value::shown(cache_ttl)
                ),
            );
        }
        if let (Some(offset), Some(timeout)) = (durations.scrape_timeout_offset, durations.scrape_timeout)
            && offset >= timeout
        {
            problems.combination(
                texts.scrape_timeout_offset(),
                &format!(
                    "it is not below {}, so that no scrape could wait for data; write less than {}",
                    named(texts.scrape_timeout()),
                    value::shown(timeout)
                ),
            );
        }
        durations
    }
}

/// Reads the roles by account, and the external id for assuming them.
fn read_roles(texts: &RawSettings, problems: &mut SettingErrors) -> Roles {
    let (role_arns, external_id) = (texts.role_arns(), texts.role_external_id());
    let mut roles = Roles::default();
    if let Some(text) = role_arns.text {
        let (by_account, wrong) = role::role_arns(text);
        let variable = role_arns.setting.variable;
        let wrong =
            wrong.into_iter().map(|(entry, explanation)| SettingError::new(variable, entry, explanation));
        problems.problems.extend(wrong);
        let owned = |(account, role): (&str, &str)| (account.to_owned(), role.to_owned());
        roles.by_account = by_account.into_iter().map(owned).collect();
    }
    if let Some(text) = external_id.text {
        let variable = external_id.setting.variable;
        problems.keep(
            role::role_external_id(text)
                .map_err(|explanation| SettingError::without_value(variable, explanation)),
        );
        if role_arns.text.is_none() {
            let explanation = format!(
                "it does nothing without {} (value not shown); set both or neither",
                role_arns.setting.variable
            );
            problems.problems.push(SettingError::without_value(variable, explanation));
        }
        roles.external_id = Some(text.to_owned());
    }
    roles
}
