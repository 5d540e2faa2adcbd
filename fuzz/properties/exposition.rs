//! The writer of the text format: any listings of any targets → a snapshot of each → an answer, plain and compressed, which a
//! reader that shares nothing with it reads again, and finds what the listings said.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read as _,
    sync::Arc,
    time::Duration,
};

use arbitrary::{Result, Unstructured};
use flate2::read::GzDecoder;
use pinpoint_exporter::{
    metrics::{
        block,
        catalogue::FAMILIES,
        exposition::{self, Exposition, Part},
    },
    model::{
        exception::Exception,
        job::ExportJob,
        job_status::JobStatus,
        names::{NamedResource, TagLabels},
        snapshot::{FinishedJobLimits, Snapshot, SnapshotBuilder, TargetStatus},
        status_series::StatusSeries,
        target::Target,
        timestamp::Timestamp,
    },
};

use crate::support::text_format::{self, Scrape};

const NOW: i64 = 1_769_904_000_123;

pub(crate) fn check(data: &[u8]) {
    if let Ok(world) = World::arbitrary(&mut Unstructured::new(data)) {
        world.check();
    }
}

/// What is watched, and what its listings say.
struct World {
    targets: Vec<(Target, Vec<ExportJob>, TargetStatus)>,
    /// The names of applications, in the order of their accounts, regions and ids.
    names: Vec<Names>,
    limits: FinishedJobLimits,
    status_series: StatusSeries,
}

/// What lists say of an application and its segments.
struct Names {
    place: [String; 3],
    application: Option<NamedResource>,
    segments: Vec<NamedResource>,
}

impl Names {
    fn of(place: [String; 3], from: &mut Unstructured<'_>) -> Result<Self> {
        let name = |from: &mut Unstructured<'_>| -> Result<Option<Arc<str>>> {
            Ok(if from.arbitrary()? { Some(text(from)?.into()) } else { None })
        };
        let resource = |id: String, from: &mut Unstructured<'_>| -> Result<NamedResource> {
            let (called, segment_type) = (name(from)?, name(from)?);
            Ok(NamedResource { id, name: called, segment_type, tags: [name(from)?, name(from)?].into() })
        };
        let application = if from.arbitrary()? { Some(resource(place[2].clone(), from)?) } else { None };
        let mut segments = BTreeMap::new();
        for _ in 0..from.int_in_range(0..=3)? {
            let id = text(from)?;
            segments.insert(id.clone(), resource(id, from)?);
        }
        Ok(Self { place, application, segments: segments.into_values().collect() })
    }

    fn block(&self, tag_labels: &Arc<TagLabels>) -> block::Block {
        let names = block::Names {
            application: self.application.clone(),
            segments: self.segments.clone().into(),
            shown: (0..self.segments.len()).collect(),
            tag_labels: Arc::clone(tag_labels),
        };
        block::names(self.place.each_ref().map(String::as_str), names)
    }

    /// Checks the series of the names, and tells how many they are.
    fn check(&self, scrape: &Scrape) -> usize {
        let [account_id, region, application_id] = &self.place;
        let common =
            [("aws_account_id", account_id), ("aws_region", region), ("application_id", application_id)];
        let shown = |text: &Option<Arc<str>>| text.as_deref().unwrap_or_default().to_owned();
        let check = |family: &str, resource: &NamedResource, own: &[(&str, String)]| {
            let tags = ["tag_a", "tag_b"].into_iter().zip(resource.tags.iter().map(shown));
            let own = own.iter().map(|(name, value)| (*name, value.clone())).chain(tags);
            let labels = common.iter().map(|(name, value)| (*name, (*value).clone())).chain(own);
            let labels: Vec<(&str, String)> = labels.collect();
            let asked: Vec<_> = labels.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let samples = scrape.samples(family, &asked);
            assert!(matches!(samples[..], [sample] if sample.labels.len() == labels.len()), "{labels:?}");
        };
        if let Some(application) = &self.application {
            check(
                "pinpoint_application_info",
                application,
                &[("application_name", shown(&application.name))],
            );
        }
        for segment in &self.segments {
            let own = [
                ("segment_id", segment.id.clone()),
                ("segment_name", shown(&segment.name)),
                ("segment_type", shown(&segment.segment_type)),
            ];
            check("pinpoint_segment_info", segment, &own);
        }
        usize::from(self.application.is_some()) + self.segments.len()
    }
}

impl World {
    fn arbitrary(from: &mut Unstructured<'_>) -> Result<Self> {
        let max_age = from.arbitrary::<Option<u16>>()?;
        let limits = FinishedJobLimits {
            max_age: max_age.map(|hours| Duration::from_hours(hours.into())),
            per_segment: from.arbitrary::<Option<u8>>()?.map(|count| usize::from(count) % 8 + 1),
        };
        let status_series = if from.arbitrary()? { StatusSeries::All } else { StatusSeries::Current };
        // By their identity, as the exporter watches each once.
        let mut targets = BTreeMap::new();
        for _ in 0..from.int_in_range(1..=3)? {
            let target = Target {
                account_id: (*from.choose(&["", "123456789012"])?).to_owned(),
                region: (*from.choose(&["eu-west-1", "us-east-1"])?).to_owned(),
                application_id: text(from)?,
                segment_id: if from.arbitrary()? { Some(text(from)?) } else { None },
            };
            let mut jobs = Vec::new();
            for _ in 0..from.int_in_range(0..=12)? {
                jobs.push(job(from, target.segment_id.as_deref())?);
            }
            let status = TargetStatus {
                error: if from.arbitrary()? { None } else { Some(from.choose(Exception::ALL)?.name()) },
                last_success: date(from)?,
                refresh_duration: Duration::from_millis(from.arbitrary::<u32>()?.into()),
            };
            targets.insert(target, (jobs, status));
        }
        // An application is read in one way, whole or by segment.
        let whole: Vec<_> = targets.keys().filter(|target| target.segment_id.is_none()).cloned().collect();
        let twice = |target: &Target| {
            target.segment_id.is_some() && whole.contains(&Target { segment_id: None, ..target.clone() })
        };
        let targets = targets.into_iter().filter(|(target, _)| !twice(target));
        let targets: Vec<_> = targets.collect();
        let place = |target: &Target| {
            let Target { account_id, region, application_id, .. } = target;
            [account_id.clone(), region.clone(), application_id.clone()]
        };
        let places: BTreeSet<_> = targets.iter().map(|(target, _)| place(target)).collect();
        let names = places.into_iter().map(|place| Names::of(place, from)).collect::<Result<_>>()?;
        Ok(Self {
            names,
            targets: targets.into_iter().map(|(target, (jobs, status))| (target, jobs, status)).collect(),
            limits,
            status_series,
        })
    }

    fn check(&self) {
        let snapshots: Vec<_> =
            self.targets.iter().map(|(target, jobs, _)| Arc::new(self.snapshot(target, jobs))).collect();
        let tag_labels = Arc::new(TagLabels {
            keys: ["a", "b"].map(str::to_owned).into(),
            labels: ["tag_a", "tag_b"].map(str::to_owned).into(),
        });
        let names = self.names.iter().map(|names| names.block(&tag_labels));
        let blocks: Vec<_> = std::iter::zip(&self.targets, &snapshots)
            .flat_map(|((target, _, status), snapshot)| {
                [
                    block::snapshot(target, snapshot, self.status_series),
                    block::target_status(target, status.clone()),
                ]
            })
            .chain(names)
            .map(Some)
            .collect();
        let body = Arc::new(exposition::body(&[blocks], None));
        let bytes = |gzip| match exposition::render(&body, &Part::default(), String::new(), gzip) {
            Exposition::Chunks(chunks) => chunks.concat(),
            Exposition::Rendered(text) => text.collect::<Vec<_>>().concat(),
        };
        let (plain, packed) = (bytes(false), bytes(true));
        let mut unpacked = Vec::new();
        GzDecoder::new(packed.as_slice()).read_to_end(&mut unpacked).expect("one gzip member");
        assert_eq!(unpacked, plain);

        let text = String::from_utf8(plain).expect("UTF-8");
        let scrape = text_format::parse(&text).unwrap_or_else(|problem| panic!("{problem}\n{text}"));
        let samples = scrape.families.iter().map(|family| family.samples.len()).sum::<usize>();
        let of_names: usize = self.names.iter().map(|names| names.check(&scrape)).sum();
        assert_eq!(samples, body.series + of_names, "the series of jobs, segments and targets are counted");
        let mut order = FAMILIES.iter();
        for family in &scrape.families {
            let known = order.find(|known| known.name == family.name).expect("in the catalogue's order");
            assert_eq!((family.help.as_str(), family.kind.as_str()), (known.help, known.kind.as_str()));
            let tags: &[&str] = match known.name {
                "pinpoint_application_info" | "pinpoint_segment_info" => &["tag_a", "tag_b"],
                _ => &[],
            };
            for sample in &family.samples {
                let is_known = |label: &str| known.labels.contains(&label) || tags.contains(&label);
                assert!(sample.labels.keys().all(|label| is_known(label)), "{sample:?}");
                assert_eq!(sample.labels.len(), known.labels.len() + tags.len(), "{sample:?}");
            }
        }
        let mut expected = of_names;
        for ((target, jobs, status), snapshot) in std::iter::zip(&self.targets, &snapshots) {
            expected += Self::of_target(&scrape, target, status);
            expected += self.of_listing(&scrape, target, jobs, snapshot);
        }
        assert_eq!(expected, samples, "nothing is there that no listing said:\n{text}");
    }

    fn snapshot(&self, target: &Target, jobs: &[ExportJob]) -> Snapshot {
        let mut builder = SnapshotBuilder::begin(self.limits, Timestamp(NOW), target.segment_id.as_deref());
        jobs.chunks(3).for_each(|page| builder.add(page.to_vec()));
        builder.finish()
    }

    /// Checks the target's own series, and tells how many they are.
    fn of_target(scrape: &Scrape, target: &Target, status: &TargetStatus) -> usize {
        let labels = labels(target, target.segment_id.as_deref().unwrap_or_default());
        let value = |name| scrape.value(name, &labels);
        assert_eq!(value("pinpoint_target_up"), Some(f64::from(u8::from(status.error.is_none()))));
        let errors = scrape.samples("pinpoint_target_error", &labels);
        assert_eq!(errors.first().map(|sample| sample.labels["exception"].as_str()), status.error);
        let expected = status.last_success.map(|date| date.0);
        assert_seconds(value("pinpoint_target_last_success_timestamp_seconds"), expected);
        assert!(
            value("pinpoint_target_refresh_duration_seconds") == Some(status.refresh_duration.as_secs_f64())
        );
        2 + errors.len() + usize::from(expected.is_some())
    }

    /// Checks the series of a target's segments and jobs, and tells how many they are.
    fn of_listing(&self, scrape: &Scrape, target: &Target, jobs: &[ExportJob], snapshot: &Snapshot) -> usize {
        // Of an id met twice the later one counts.
        let by_id: BTreeMap<&str, &ExportJob> = jobs.iter().map(|job| (&*job.id, job)).collect();
        let mut segments: BTreeMap<&str, Vec<&ExportJob>> = BTreeMap::new();
        segments.extend(target.segment_id.as_deref().map(|id| (id, Vec::new())));
        for job in by_id.values() {
            segments.entry(&job.segment_id).or_default().push(job);
        }
        assert!(snapshot.segments.iter().map(|segment| &*segment.id).eq(segments.keys().copied()));
        let mut series = 0;
        for (id, jobs) in segments {
            let labels = labels(target, id);
            let with = |more: &(&'static str, &'static str)| [&labels[..], &[*more]].concat();
            let mut counted = 0.0;
            for status in JobStatus::ALL {
                let count = jobs.iter().filter(|job| job.status == status).count();
                let shown = scrape.value("pinpoint_segment_export_jobs", &with(&("status", status.as_str())));
                let absent = BEYOND_THE_MODELS.contains(&status) && count == 0;
                assert_eq!(shown, Some(count as f64).filter(|_| !absent), "{status:?}");
                counted += shown.unwrap_or_default();
                series += usize::from(shown.is_some());
            }
            assert!(counted == jobs.len() as f64);

            let newest = jobs.iter().max_by_key(|job| (job.creation_date, &job.id));
            series += self.state(
                scrape,
                "pinpoint_segment_latest_export_job_status",
                &labels,
                newest.map(|job| job.status),
            );
            let latest = |status| {
                let of = jobs.iter().filter(|job| job.status == status);
                of.filter_map(|job| job.completion_date).max()
            };
            for (name, date) in [
                (
                    "pinpoint_segment_latest_export_job_created_timestamp_seconds",
                    newest.and_then(|job| job.creation_date),
                ),
                ("pinpoint_segment_last_completed_export_timestamp_seconds", latest(JobStatus::Completed)),
                ("pinpoint_segment_last_failed_export_timestamp_seconds", latest(JobStatus::Failed)),
            ] {
                assert_seconds(scrape.value(name, &labels), date.map(|date| date.0));
                series += usize::from(date.is_some());
            }

            let (shown, aged, outnumbered) = self.chosen(jobs);
            for (reason, count) in [("age", aged), ("count", outnumbered)] {
                let value =
                    scrape.value("pinpoint_segment_suppressed_export_jobs", &with(&("reason", reason)));
                assert_eq!(value, Some(count as f64), "{reason}");
                series += 1;
            }
            series += shown.iter().map(|job| self.of_job(scrape, &labels, job)).sum::<usize>();
        }
        series
    }

    /// The jobs of a segment that have series of their own, and how many have none for their age and for their number.
    fn chosen<'a>(&self, jobs: Vec<&'a ExportJob>) -> (Vec<&'a ExportJob>, usize, usize) {
        let (mut shown, mut finished): (Vec<_>, Vec<_>) =
            jobs.into_iter().partition(|job| job.status.is_active());
        let date = |job: &ExportJob| job.completion_date.or(job.creation_date);
        finished.sort_by(|a, b| (date(b), &b.id).cmp(&(date(a), &a.id)));
        let (mut aged, mut outnumbered) = (0, 0);
        for (place, job) in finished.into_iter().enumerate() {
            let age = date(job).map(|date| i128::from(NOW) - i128::from(date.0));
            let limit = self.limits.max_age.map(|limit| limit.as_millis().cast_signed());
            match (age, limit) {
                (Some(age), Some(limit)) if age > limit => aged += 1,
                _ if self.limits.per_segment.is_some_and(|limit| place >= limit) => outnumbered += 1,
                _ => shown.push(job),
            }
        }
        (shown, aged, outnumbered)
    }

    fn of_job(&self, scrape: &Scrape, labels: &[(&str, &str)], job: &ExportJob) -> usize {
        let labels = [labels, &[("job_id", &*job.id)]].concat();
        let mut series = 0;
        let samples = job.failure_samples.and_then(|samples| i64::try_from(samples).ok());
        for (name, value) in [
            ("pieces", job.total_pieces),
            ("completed_pieces", job.completed_pieces),
            ("failed_pieces", job.failed_pieces),
            ("processed_endpoints", job.total_processed),
            ("failed_endpoints", job.total_failures),
            ("failure_samples", samples),
        ] {
            let shown = scrape.value(&format!("pinpoint_export_job_{name}"), &labels);
            assert_eq!(shown, value.map(|value| value as f64), "{name}");
            series += usize::from(value.is_some());
        }
        for (name, date) in [("created", job.creation_date), ("completed", job.completion_date)] {
            let shown = scrape.value(&format!("pinpoint_export_job_{name}_timestamp_seconds"), &labels);
            assert_seconds(shown, date.map(|date| date.0));
            series += usize::from(date.is_some());
        }
        series += self.state(scrape, "pinpoint_export_job_status", &labels, Some(job.status));
        let version = job.segment_version.map(|version| version.to_string()).unwrap_or_default();
        let more = [
            ("job_type", job.job_type.as_deref().unwrap_or_default()),
            ("segment_version", &version),
            ("s3_url_prefix", job.s3_url_prefix.as_deref().unwrap_or_default()),
            ("role_arn", job.role_arn.as_deref().unwrap_or_default()),
        ];
        assert_eq!(scrape.value("pinpoint_export_job_info", &[&labels[..], &more].concat()), Some(1.0));
        series + 1
    }

    /// Checks a state set, and tells how many series it has.
    fn state(&self, scrape: &Scrape, name: &str, labels: &[(&str, &str)], state: Option<JobStatus>) -> usize {
        let samples = scrape.samples(name, labels);
        let at_1: Vec<_> =
            samples.iter().filter(|it| it.value == 1.0).map(|it| it.labels["status"].as_str()).collect();
        assert_eq!(at_1, state.map(JobStatus::as_str).into_iter().collect::<Vec<_>>(), "{name}");
        let all = match (state, self.status_series) {
            (None, _) => 0,
            (Some(_), StatusSeries::Current) => 1,
            (Some(state), StatusSeries::All) => 9 + usize::from(BEYOND_THE_MODELS.contains(&state)),
        };
        assert_eq!(samples.len(), all, "{name}");
        all
    }
}

/// The states that have series only while a job is in them.
const BEYOND_THE_MODELS: [JobStatus; 3] = [JobStatus::Cancelling, JobStatus::Cancelled, JobStatus::Unknown];

fn labels<'a>(target: &'a Target, segment_id: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("aws_account_id", &target.account_id),
        ("aws_region", &target.region),
        ("application_id", &target.application_id),
        ("segment_id", segment_id),
    ]
}

/// Seconds with their thousandths: within one part of 2^52 of what a float can tell.
fn assert_seconds(shown: Option<f64>, milliseconds: Option<i64>) {
    assert_eq!(shown.is_some(), milliseconds.is_some());
    if let (Some(shown), Some(milliseconds)) = (shown, milliseconds) {
        let expected = milliseconds as f64 / 1000.0;
        assert!((shown - expected).abs() <= expected.abs() * f64::EPSILON, "{shown} is not {expected}");
    }
}

fn job(from: &mut Unstructured<'_>, segment_id: Option<&str>) -> Result<ExportJob> {
    // Of few ids some come twice.
    let id = format!("{}{}", text(from)?, from.int_in_range(0..=5)?);
    let segment_id = match segment_id {
        Some(id) => id.to_owned(),
        None => text(from)?,
    };
    let failure_samples = from.arbitrary::<Option<u8>>()?.map(usize::from);
    let optional = |from: &mut Unstructured<'_>| -> Result<Option<Arc<str>>> {
        Ok(if from.arbitrary()? { Some(text(from)?.into()) } else { None })
    };
    Ok(ExportJob {
        id: id.into(),
        segment_id: segment_id.into(),
        status: *from.choose(&JobStatus::ALL)?,
        total_pieces: from.arbitrary()?,
        completed_pieces: from.arbitrary()?,
        failed_pieces: from.arbitrary()?,
        total_processed: from.arbitrary()?,
        total_failures: from.arbitrary()?,
        failure_samples,
        creation_date: date(from)?,
        completion_date: date(from)?,
        job_type: optional(from)?,
        segment_version: from.arbitrary()?,
        s3_url_prefix: optional(from)?,
        role_arn: optional(from)?,
        ..ExportJob::default()
    })
}

/// A date of the last weeks, or any.
fn date(from: &mut Unstructured<'_>) -> Result<Option<Timestamp>> {
    Ok(match from.int_in_range(0..=3)? {
        0 => None,
        1 => Some(Timestamp(from.arbitrary()?)),
        _ => Some(Timestamp(NOW - i64::from(from.arbitrary::<u32>()?))),
    })
}

/// A name: one of few, so that names meet, or any text.
fn text(from: &mut Unstructured<'_>) -> Result<String> {
    let few = ["a", "a\"b", "back\\slash\n", "", "{le=\"x\"} 1"];
    Ok(if from.arbitrary()? {
        (*from.choose(&few)?).to_owned()
    } else {
        from.arbitrary::<&str>()?.to_owned()
    })
}
