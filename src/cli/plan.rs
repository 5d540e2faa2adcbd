//! `plan`: estimates the cost of the settings in advance: requests and their share of AWS's quota, series, memory, and the
//! maximum age of the data.

use std::{collections::BTreeMap, ffi::OsString, fmt, sync::Arc, time::Duration};

use humantime::format_duration;
use serde::Serialize;

use super::{
    check::{FailedLists, ListCall},
    discovered::{List, Survey},
    layout::wrapped,
    table::Table,
};
use crate::{
    config::{Config, MAX_SHARDS},
    metrics::block::{self, Block, Names},
    model::{
        job::ExportJob,
        job_status::JobStatus,
        list_id::ListId,
        names::{NameSource, NamedResource},
        plural::counted,
        refresh_limits::{QUOTA, RefreshLimits},
        shard::Shard,
        snapshot::{FinishedJobLimits, SnapshotBuilder, TargetStatus},
        status_series::StatusSeries,
        target::Target,
        timestamp::Timestamp,
    },
};

/// The `sample_limit` in `deploy/prometheus/prometheus.yml`. Prometheus drops a scrape with more samples.
const SAMPLE_LIMIT: u64 = 100_000;

/// The maximum number of series in a scrape besides those of jobs, segments and targets.
const OWN_SERIES: u64 = 300;

/// The maximum number of jobs for which the series of a target are generated. Beyond it, every job adds the same amount.
const LAID_OUT_JOBS: u32 = 500;

/// The assumed response time of AWS.
const ANSWER: Duration = Duration::from_millis(100);

/// The measured memory of the exporter without targets, and of each target in addition to its texts. In bytes.
const BASE_MEMORY: u64 = 10 << 20;
const MEMORY_OF_A_TARGET: u64 = 8 << 10;

/// Values that the settings do not contain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Assumptions {
    /// The scrape interval of Prometheus.
    pub scrape_interval: Duration,
    /// The jobs of each segment, and of each application that is read whole. They are COMPLETED, have no failures, and are
    /// within the age limit.
    pub jobs_per_segment: u32,
}

impl Default for Assumptions {
    fn default() -> Self {
        Self { scrape_interval: Duration::from_mins(1), jobs_per_segment: 10 }
    }
}

/// Assumed targets: segments that `*/*` finds in one account and region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offline {
    /// The number of segments in all applications together.
    pub segments: u32,
    /// The number of applications.
    pub applications: u32,
}

/// The number of resources to poll in an account and region.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Load {
    account_id: String,
    region: String,
    /// Segments that have their own listing.
    segments: u64,
    /// Applications that are read whole.
    applications: u64,
    /// Lists in which targets are found.
    lists: u64,
    /// Lists that are read only for their names.
    name_lists: u64,
    /// The requests for all lists. A list can have several pages.
    list_requests: u64,
    named_applications: u64,
    /// Named segments among those that have their own listing.
    named_segments: u64,
}

/// The estimate.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Plan {
    scrape_interval_seconds: f64,
    jobs_per_segment: u32,
    regions: Vec<RegionLoad>,
    /// The lists that could not be read. The resources that they name are not counted.
    unread: Vec<ListCall>,
    /// The sum over all accounts and regions.
    requests_per_hour: u64,
    /// The series of each family, without the exporter's own.
    series: Vec<Series>,
    series_total: u64,
    /// A warning if a scrape has more series than the `sample_limit` in `deploy/prometheus`, with the changes that help.
    over_sample_limit: Option<String>,
    memory_bytes: u64,
    #[serde(skip)]
    refresh_limits: RefreshLimits,
}

/// The estimate for an account and region.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct RegionLoad {
    #[serde(rename = "account")]
    account_id: String,
    region: String,
    lists: u64,
    targets: u64,
    /// The requests needed to refresh every target once.
    requests_per_round: u64,
    round_seconds: f64,
    requests_per_hour: u64,
    quota_percent: f64,
    /// The maximum age of the data in a scrape, if AWS responds within 0.1 seconds and nothing fails.
    oldest_data_seconds: f64,
    /// A warning if `CACHE_TTL` cannot be met, with the changes that help.
    overload: Option<String>,
}

/// The number of series of a family.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Series {
    family: &'static str,
    series: u64,
}

/// Replaces the targets in the variables by assumed ones: `*/*` in any region.
pub fn assume_targets(variables: &mut Vec<(OsString, OsString)>) {
    let supposed = ["PINPOINT_EXPORTER_TARGETS", "PINPOINT_EXPORTER_TARGETS_FILE", "AWS_REGION"];
    variables.retain(|(name, _)| !supposed.iter().any(|variable| name == variable));
    variables.push(("PINPOINT_EXPORTER_TARGETS".into(), "*/*".into()));
    variables.push(("AWS_REGION".into(), "us-east-1".into()));
}

impl Load {
    /// The loads of the resources that discovery found, by account and region.
    pub(super) fn found(survey: &Survey, config: &Config) -> Vec<Self> {
        let mut loads: BTreeMap<(String, String), Self> = BTreeMap::new();
        let key = |account_id: &str, region: &str| (account_id.to_owned(), region.to_owned());
        for (ListId { account_id, region, .. }, ids) in &survey.lists {
            let load = loads.entry(key(account_id, region)).or_default();
            load.lists += 1;
            let found = ids.as_ref().map_or(0, |List { resources, .. }| resources.len() as u64);
            load.list_requests += pages(found, config.page_size);
        }
        for Target { account_id, region, segment_id, .. } in &survey.targets {
            let load = loads.entry(key(account_id, region)).or_default();
            match segment_id {
                Some(_) => load.segments += 1,
                None => load.applications += 1,
            }
        }
        for ListId { account_id, region, .. } in survey.name_lists(config) {
            let load = loads.entry(key(&account_id, &region)).or_default();
            load.name_lists += 1;
            // The number of pages is only known after reading the list, so one is assumed.
            load.list_requests += 1;
        }
        for Target { account_id, region, segment_id, .. } in survey.named(config) {
            let load = loads.entry(key(&account_id, &region)).or_default();
            match segment_id {
                Some(_) => load.named_segments += 1,
                None => load.named_applications += 1,
            }
        }
        let located = |((account_id, region), load): (_, Self)| Self { account_id, region, ..load };
        loads.into_iter().map(located).collect()
    }

    /// The load of assumed targets: all lists, and the shard's share of the segments.
    pub(super) fn supposed(Offline { segments, applications }: Offline, config: &Config) -> Self {
        let of_each = u64::from(segments).div_ceil(u64::from(applications.max(1)));
        let of_shard = u64::from(segments).div_ceil(u64::from(config.shard.count));
        let has_names = u64::from(config.names != NameSource::Off);
        let watched = if config.shard == Shard::WHOLE { u64::MAX } else { of_shard };
        Self {
            segments: of_shard,
            named_segments: of_shard * has_names,
            named_applications: u64::from(applications).min(watched) * has_names,
            lists: 1 + u64::from(applications),
            list_requests: pages(applications.into(), config.page_size)
                + u64::from(applications).saturating_mul(pages(of_each, config.page_size)),
            ..Self::default()
        }
    }
}

/// The requests needed to list this number of items.
fn pages(items: u64, page_size: u32) -> u64 {
    items.div_ceil(u64::from(page_size.max(1))).max(1)
}

impl Plan {
    pub(super) fn new(
        config: &Config,
        loads: &[Load],
        unread: Vec<ListCall>,
        assumptions: Assumptions,
    ) -> Self {
        let Assumptions { scrape_interval, jobs_per_segment } = assumptions;
        let regions: Vec<_> = loads.iter().map(|load| RegionLoad::new(config, load, assumptions)).collect();
        let (series, memory) = shown_by_all(config, loads, jobs_per_segment);
        // Sorted in the order of the exposition.
        let families = crate::metrics::catalogue::FAMILIES.iter().map(|family| family.name);
        let series: Vec<_> = families
            .filter_map(|family| Some(Series { family, series: *series.get(family)? }))
            .filter(|family| family.series > 0)
            .collect();
        Self {
            scrape_interval_seconds: scrape_interval.as_secs_f64(),
            jobs_per_segment,
            requests_per_hour: sum(regions.iter().map(|region| region.requests_per_hour)),
            regions,
            unread,
            series_total: sum(series.iter().map(|family| family.series)),
            over_sample_limit: over_sample_limit(config, loads, jobs_per_segment),
            series,
            memory_bytes: memory,
            refresh_limits: config.refresh_limits(),
        }
    }

    /// Whether all lists could be read, so that everything is counted.
    pub(super) fn is_whole(&self) -> bool {
        self.unread.is_empty()
    }
}

impl RegionLoad {
    fn new(
        config: &Config,
        load: &Load,
        Assumptions { scrape_interval, jobs_per_segment }: Assumptions,
    ) -> Self {
        let pages_of_a_listing = pages(jobs_per_segment.into(), config.page_size);
        let targets = load.segments.saturating_add(load.applications);
        let requests = targets.saturating_mul(pages_of_a_listing);
        let refresh_limits = config.refresh_limits();
        // The time for each request: the limit of the request rate or that of the concurrent requests, whichever is longer.
        let concurrent = u32::try_from(config.max_concurrent_requests).unwrap_or(u32::MAX);
        let by_rate = refresh_limits
            .max_requests_per_second
            .map_or(Duration::ZERO, |rate| Duration::from_secs(1) / rate.max(1));
        let each = by_rate.max(ANSWER / concurrent.max(1));
        let time_of = |requests: u64| {
            let milliseconds = each.as_nanos().saturating_mul(requests.into()).div_ceil(1_000_000);
            Duration::from_millis(u64::try_from(milliseconds).unwrap_or(u64::MAX))
        };
        let round = time_of(requests);
        let refresh_period = period(scrape_interval, refresh_limits.cache_ttl).max(round);
        let list_period = period(scrape_interval, config.discovery_ttl);
        let per_hour =
            per_hour(requests, refresh_period).saturating_add(per_hour(load.list_requests, list_period));
        // The wait of a target has three parts: its cached data expires, the next scrape notices that, and all other targets
        // and lists are refreshed first.
        let round_with_lists = time_of(requests.saturating_add(load.list_requests));
        let wait = refresh_limits.cache_ttl.saturating_add(scrape_interval).saturating_add(round_with_lists);
        let reading = ANSWER
            .saturating_add(time_of(concurrent.into()))
            .saturating_mul(u32::try_from(pages_of_a_listing).unwrap_or(u32::MAX));
        let permille = per_hour.saturating_mul(1000) / (u64::from(QUOTA) * 3600);
        Self {
            account_id: load.account_id.clone(),
            region: load.region.clone(),
            lists: load.lists.saturating_add(load.name_lists),
            targets,
            requests_per_round: requests,
            round_seconds: round.as_secs_f64(),
            requests_per_hour: per_hour,
            quota_percent: f64::from(u32::try_from(permille).unwrap_or(u32::MAX)) / 10.0,
            oldest_data_seconds: wait.saturating_add(reading).as_secs_f64(),
            overload: refresh_limits.overload(requests).map(|overload| overload.to_string()),
        }
    }
}

/// The time between two refreshes. The first scrape after the TTL starts the next refresh. A refresh starts a little after its
/// scrape, so a scrape interval equal to the TTL comes too early.
fn period(scrape_interval: Duration, ttl: Duration) -> Duration {
    let whole = ttl.as_nanos() / scrape_interval.as_nanos().max(1);
    scrape_interval.saturating_mul(u32::try_from(whole).unwrap_or(u32::MAX).saturating_add(1))
}

fn per_hour(requests: u64, period: Duration) -> u64 {
    let hour = Duration::from_hours(1).as_nanos();
    let exact = u128::from(requests).saturating_mul(hour) / period.as_nanos().max(1);
    u64::try_from(exact).unwrap_or(u64::MAX)
}

fn sum(numbers: impl Iterator<Item = u64>) -> u64 {
    numbers.fold(0, u64::saturating_add)
}

/// The series of each family over all targets and lists, and the total memory.
fn shown_by_all(config: &Config, loads: &[Load], jobs: u32) -> (BTreeMap<&'static str, u64>, u64) {
    let mut series: BTreeMap<&str, u64> = BTreeMap::new();
    let mut memory = BASE_MEMORY;
    let mut add = |name: &'static str, count: u64| {
        let all = series.entry(name).or_default();
        *all = all.saturating_add(count);
    };
    let list_id = ListId { account_id: String::new(), region: String::new(), application_id: None };
    let list = block::discovery_status(&list_id, true);
    for load in loads {
        for (of_segment, count) in [(true, load.segments), (false, load.applications)] {
            let target = TargetEstimate::by_target(config, jobs, of_segment);
            target.series.into_iter().for_each(|(name, n)| add(name, n.saturating_mul(count)));
            memory =
                memory.saturating_add(MEMORY_OF_A_TARGET.saturating_add(target.memory).saturating_mul(count));
        }
        list.series_by_family().for_each(|(name, n)| add(name, (n as u64).saturating_mul(load.lists)));
        // The series of a whole application are generated with jobs of a single segment.
        let of_whole = if jobs > 0 && config.names == NameSource::All { load.applications } else { 0 };
        for (names, count) in [
            (TargetEstimate::names(config, true), load.named_applications),
            (TargetEstimate::names(config, false), load.named_segments.saturating_add(of_whole)),
        ] {
            names.series.into_iter().for_each(|(name, n)| add(name, n.saturating_mul(count)));
            memory = memory.saturating_add(names.memory.saturating_mul(count));
        }
    }
    (series, memory)
}

/// Returns a warning if a scrape has more series than the `sample_limit`, with the changes that help.
fn over_sample_limit(config: &Config, loads: &[Load], jobs: u32) -> Option<String> {
    let in_scrape = |config: &Config| {
        let (series, _) = shown_by_all(config, loads, jobs);
        sum(series.into_values()).saturating_add(OWN_SERIES)
    };
    let total = in_scrape(config);
    if total <= SAMPLE_LIMIT {
        return None;
    }
    let current = Config { status_series: StatusSeries::Current, ..config.clone() };
    let shown = config
        .finished_jobs_per_segment
        .map_or(jobs, |limit| jobs.min(u32::try_from(limit).unwrap_or(u32::MAX)));
    let fewer = if shown > 5 { 5 } else { 1 };
    let fewer_jobs = |config: &Config| Config { finished_jobs_per_segment: Some(fewer), ..config.clone() };
    let mut ways = Vec::new();
    if config.status_series != StatusSeries::Current {
        ways.push(format!("STATUS_SERIES=current leaves {}", in_scrape(&current)));
    }
    if shown as usize > fewer {
        ways.push(format!("FINISHED_JOBS_PER_SEGMENT={fewer} leaves {}", in_scrape(&fewer_jobs(config))));
        if config.status_series != StatusSeries::Current {
            ways.push(format!("both leave {}", in_scrape(&fewer_jobs(&current))));
        }
    }
    let of_targets = total.saturating_sub(OWN_SERIES);
    let shards = of_targets.div_ceil(SAMPLE_LIMIT - OWN_SERIES).saturating_mul(u64::from(config.shard.count));
    if shards <= u64::from(MAX_SHARDS) {
        ways.push(format!("share the targets among {shards} exporters with SHARD"));
    }
    if let [_, .., last] = &mut ways[..] {
        last.insert_str(0, "or ");
    }
    if ways.is_empty() {
        ways.push("poll fewer targets".to_owned());
    }
    Some(format!(
        "A scrape has about {total} series, and Prometheus drops a scrape with more than its sample_limit, which is \
         {SAMPLE_LIMIT} in deploy/prometheus: {}. Raise sample_limit only if Prometheus can hold them.",
        ways.join(", ")
    ))
}

/// The series and the memory of a target.
struct TargetEstimate {
    series: BTreeMap<&'static str, u64>,
    memory: u64,
}

impl TargetEstimate {
    /// The estimate for a target with this number of finished jobs.
    fn by_target(config: &Config, jobs: u32, of_segment: bool) -> Self {
        let limit = config.finished_jobs_per_segment.and_then(|limit| u32::try_from(limit).ok());
        let shown = limit.map_or(jobs, |limit| jobs.min(limit));
        let laid_out = shown.min(LAID_OUT_JOBS);
        let mut all = Self::laid_out(config, laid_out, of_segment);
        let more = u64::from(shown - laid_out);
        if more > 0 {
            let fewer = Self::laid_out(config, laid_out - 1, of_segment);
            for (name, series) in &mut all.series {
                let of_a_job = series.saturating_sub(fewer.series.get(name).copied().unwrap_or_default());
                *series = series.saturating_add(of_a_job.saturating_mul(more));
            }
            all.memory = all.memory.saturating_mul(u64::from(shown)) / u64::from(laid_out);
        }
        all
    }

    /// The estimate for the name and tags of an application or a segment.
    fn names(config: &Config, of_application: bool) -> Self {
        let id = "0".repeat(32);
        let resource = NamedResource {
            id: id.clone(),
            name: Some("a name of some words".into()),
            segment_type: Some("DIMENSIONAL".into()),
            tags: config.tag_labels.keys.iter().map(|_| Some("a-value".into())).collect(),
        };
        let place = ["000000000000", "eu-central-1", &id];
        let names = if of_application {
            Names { application: Some(resource), ..Names::default() }
        } else {
            Names { segments: [resource].into(), shown: vec![0], ..Names::default() }
        };
        let names = Names { tag_labels: Arc::clone(&config.tag_labels), ..names };
        let block = block::names(place, names);
        let series = block.series_by_family().map(|(name, n)| (name, n as u64)).collect();
        Self { series, memory: (block.memory() + 2 * size_of::<NamedResource>()) as u64 }
    }

    fn laid_out(config: &Config, jobs: u32, of_segment: bool) -> Self {
        let id = |n: u32| format!("{n:032x}");
        let target = Target {
            account_id: "0".repeat(12),
            region: "eu-central-1".to_owned(),
            application_id: id(0),
            segment_id: of_segment.then(|| id(0)),
        };
        let now = Timestamp(1_800_000_000_000);
        let limits = FinishedJobLimits {
            max_age: config.finished_job_max_age,
            per_segment: config.finished_jobs_per_segment,
        };
        let mut builder = SnapshotBuilder::begin(limits, now, target.segment_id.as_deref());
        builder.add((0..jobs).map(|job| completed_job(&id(job), &id(0), now)));
        let status = TargetStatus {
            error: None,
            last_success: Some(now),
            refresh_duration: Duration::from_millis(100),
        };
        let snapshot = Arc::new(builder.finish());
        let blocks = [
            block::snapshot(&target, &snapshot, config.status_series),
            block::target_status(&target, status),
        ];
        let mut series: BTreeMap<_, u64> = BTreeMap::new();
        for (name, n) in blocks.iter().flat_map(Block::series_by_family) {
            *series.entry(name).or_default() += n as u64;
        }
        let memory = snapshot.memory() + blocks.iter().map(Block::memory).sum::<usize>();
        Self { series, memory: memory as u64 }
    }
}

fn completed_job(id: &str, segment_id: &str, date: Timestamp) -> ExportJob {
    ExportJob {
        id: id.into(),
        segment_id: segment_id.into(),
        status: JobStatus::Completed,
        total_pieces: Some(24),
        completed_pieces: Some(24),
        failed_pieces: Some(0),
        total_processed: Some(1_000_000),
        total_failures: Some(0),
        creation_date: Some(date),
        completion_date: Some(date),
        job_type: Some("EXPORT".into()),
        segment_version: Some(1),
        s3_url_prefix: Some("s3://a-bucket/and/a/prefix".into()),
        role_arn: Some("arn:aws:iam::000000000000:role/writes-to-the-bucket".into()),
        ..ExportJob::default()
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |seconds: f64| {
            format_duration(Duration::try_from_secs_f64(seconds.ceil()).unwrap_or(Duration::MAX)).to_string()
        };
        writeln!(
            f,
            "Scraped every {}, CACHE_TTL {}, {} finished jobs in each segment.\n",
            seconds(self.scrape_interval_seconds),
            format_duration(self.refresh_limits.cache_ttl),
            self.jobs_per_segment
        )?;
        for load in &self.regions {
            if load.region.is_empty() {
                writeln!(f, "In one account and region:")?;
            } else {
                let account = if load.account_id.is_empty() {
                    String::new()
                } else {
                    format!("account {}, ", load.account_id)
                };
                writeln!(f, "In {account}region {}:", load.region)?;
            }
            let lists =
                if load.lists == 0 { String::new() } else { format!(", {}", counted(load.lists, "list")) };
            writeln!(f, "  polled           {}{lists}", counted(load.targets, "target"))?;
            let (per_hour, percent) = (load.requests_per_hour, load.quota_percent);
            writeln!(f, "  requests         {per_hour} per hour, {percent:.1} % of AWS's quota")?;
            let round = counted(load.requests_per_round, "request");
            writeln!(f, "  to refresh all   {round}, {}", seconds(load.round_seconds))?;
            writeln!(f, "  oldest data      {}\n", seconds(load.oldest_data_seconds))?;
            if let Some(overload) = &load.overload {
                wrapped(f, 2, &format!("{overload}."))?;
                writeln!(f)?;
            }
        }
        let mut table = Table::new(["series", "family"]);
        for Series { family, series } in &self.series {
            table.row([series.to_string(), (*family).to_owned()]);
        }
        table.row([self.series_total.to_string(), "together, beside the exporter's own".to_owned()]);
        writeln!(f, "{table}\nMemory: about {} MB.", self.memory_bytes.div_ceil(1_000_000))?;
        if let Some(warning) = &self.over_sample_limit {
            writeln!(f)?;
            wrapped(f, 0, warning)?;
        }
        if !self.is_whole() {
            writeln!(
                f,
                "\nThese lists could not be read, so what they name is not counted:\n\n{}",
                FailedLists(&self.unread)
            )?;
        }
        Ok(())
    }
}
