//! The result of one listing: the exported jobs, and the counts over all jobs. Values only. A snapshot is made once per refresh
//! and never changes.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use super::{job::ExportJob, job_status::JobStatus, timestamp::Timestamp};

/// The state of a target's refreshes at a scrape.
#[derive(Debug, Clone, PartialEq)]
pub struct TargetStatus {
    /// The label of the error that keeps the target from being up. `None` while it is up.
    pub error: Option<&'static str>,
    /// The start of the last successful refresh.
    pub last_success: Option<Timestamp>,
    /// The duration of the last refresh.
    pub refresh_duration: Duration,
}

/// Limits on the finished jobs that are exported. Active jobs are always exported.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FinishedJobLimits {
    /// Jobs that finished longer ago than this are not exported.
    pub max_age: Option<Duration>,
    /// Only this many of the newest finished jobs of each segment are exported.
    pub per_segment: Option<usize>,
}

/// The segments of a listing, sorted by id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Every segment with a job in the listing. A listing of one segment always contains that segment.
    pub segments: Vec<Segment>,
}

impl Snapshot {
    /// The memory that the snapshot uses, in bytes: its values and texts, with the overhead of an allocation for each text.
    pub fn memory(&self) -> usize {
        const TEXT_OVERHEAD: usize = 32;
        let mut met = BTreeSet::new();
        let mut text = |text: &Arc<str>| {
            if met.insert(Arc::as_ptr(text).cast::<u8>()) { text.len() + TEXT_OVERHEAD } else { 0 }
        };
        let mut memory = self.segments.capacity() * size_of::<Segment>();
        for segment in &self.segments {
            memory += text(&segment.id) + segment.jobs.capacity() * size_of::<ExportJob>();
            for job in &segment.jobs {
                let shared = [&job.job_type, &job.s3_url_prefix, &job.role_arn].into_iter().flatten();
                memory += [&job.id, &job.segment_id].into_iter().chain(shared).map(&mut text).sum::<usize>();
                let messages = job.failures.iter().map(|message| message.capacity() + TEXT_OVERHEAD);
                memory += job.failures.capacity() * size_of::<String>() + messages.sum::<usize>();
            }
        }
        memory
    }
}

impl Segment {
    /// How many jobs the listing contained, including those that are not exported.
    pub fn listed(&self) -> u64 {
        self.by_status.0.iter().sum()
    }
}

/// The result of a listing for one segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// The segment's id, or `""` for exports of all endpoints.
    pub id: Arc<str>,
    /// The exported jobs, sorted by id.
    pub jobs: Vec<ExportJob>,
    /// The number of jobs in each state.
    pub by_status: StatusCounts,
    /// The job that was created last.
    pub latest: Option<LatestJob>,
    /// The newest `CompletionDate` among COMPLETED jobs.
    pub last_completed: Option<Timestamp>,
    /// The newest `CompletionDate` among FAILED jobs.
    pub last_failed: Option<Timestamp>,
    /// Jobs that are not exported because of their age.
    pub suppressed_by_age: u64,
    /// Jobs that are not exported because the segment has enough newer ones.
    pub suppressed_by_count: u64,
}

/// The newest job of a segment by `CreationDate`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LatestJob {
    pub status: JobStatus,
    pub created: Option<Timestamp>,
}

/// The number of jobs in each state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StatusCounts([u64; JobStatus::ALL.len()]);

impl StatusCounts {
    pub fn of(&self, status: JobStatus) -> u64 {
        self.0[status as usize]
    }

    fn add(&mut self, status: JobStatus) {
        self.0[status as usize] += 1;
    }
}

/// Builds a snapshot from a listing, page by page.
///
/// The limits apply to the complete listing, and a later page can list a job again with other dates. Any job within `max_age`
/// can therefore be among the newest in the end, so all of its fields are kept until then. For a job that is too old, only the
/// counted fields are kept.
#[derive(Debug)]
pub struct SnapshotBuilder {
    limits: FinishedJobLimits,
    /// Jobs with an earlier date are too old.
    oldest: Option<Timestamp>,
    /// The segment, if this is the listing of one segment.
    own_segment: Option<Arc<str>>,
    records: Vec<Record>,
    by_id: HashMap<Arc<str>, usize>,
    /// One copy of each text that several jobs share.
    texts: HashSet<Arc<str>>,
}

/// The fields that are kept for every job.
#[derive(Debug)]
struct Record {
    id: Arc<str>,
    segment_id: Arc<str>,
    status: JobStatus,
    created: Option<Timestamp>,
    completed: Option<Timestamp>,
    /// The whole job, while it may still be exported.
    job: Option<Box<ExportJob>>,
}

impl Record {
    /// The date that orders finished jobs and from which their age is measured.
    fn date(&self) -> Option<Timestamp> {
        self.completed.or(self.created)
    }

    /// Sorts the newest first. Jobs without a date come last. With equal dates, the greater id comes first.
    fn newest_first(&self) -> Reverse<(Option<Timestamp>, Arc<str>)> {
        Reverse((self.date(), Arc::clone(&self.id)))
    }
}

impl SnapshotBuilder {
    /// Starts a listing at the date `now`. With `own_segment` it is the listing of that segment, which is then shown even
    /// without jobs.
    pub fn begin(limits: FinishedJobLimits, now: Timestamp, own_segment: Option<&str>) -> Self {
        let age = limits.max_age.map(|age| i64::try_from(age.as_millis()).unwrap_or(i64::MAX));
        Self {
            limits,
            oldest: age.map(|age| Timestamp(now.0.saturating_sub(age))),
            own_segment: own_segment.map(Arc::from),
            records: Vec::new(),
            by_id: HashMap::new(),
            texts: HashSet::new(),
        }
    }

    /// Adds jobs. A job that was already listed is replaced.
    pub fn add(&mut self, jobs: impl IntoIterator<Item = ExportJob>) {
        for job in jobs {
            self.add_job(job);
        }
    }

    fn add_job(&mut self, mut job: ExportJob) {
        self.share(&mut job.segment_id);
        // A message whose escapes were decoded has unused capacity.
        job.failures.iter_mut().for_each(String::shrink_to_fit);
        let mut record = Record {
            id: Arc::clone(&job.id),
            segment_id: Arc::clone(&job.segment_id),
            status: job.status,
            created: job.creation_date,
            completed: job.completion_date,
            job: None,
        };
        if record.status.is_active() || !self.is_too_old(&record) {
            for text in [&mut job.job_type, &mut job.s3_url_prefix, &mut job.role_arn].into_iter().flatten() {
                self.share(text);
            }
            record.job = Some(Box::new(job));
        }
        let index = *self.by_id.entry(Arc::clone(&record.id)).or_insert(self.records.len());
        match self.records.get_mut(index) {
            Some(earlier) => *earlier = record,
            None => self.records.push(record),
        }
    }

    /// Replaces a text by the shared copy.
    fn share(&mut self, text: &mut Arc<str>) {
        match self.texts.get(text) {
            Some(known) => *text = Arc::clone(known),
            None => _ = self.texts.insert(Arc::clone(text)),
        }
    }

    fn is_too_old(&self, record: &Record) -> bool {
        self.oldest.zip(record.date()).is_some_and(|(oldest, date)| date < oldest)
    }

    pub fn finish(mut self) -> Snapshot {
        let mut segments: BTreeMap<Arc<str>, Vec<Record>> = BTreeMap::new();
        segments.extend(self.own_segment.take().map(|id| (id, Vec::new())));
        for record in std::mem::take(&mut self.records) {
            segments.entry(Arc::clone(&record.segment_id)).or_default().push(record);
        }
        let segments = segments.into_iter().map(|(id, records)| self.segment(id, records)).collect();
        Snapshot { segments }
    }

    fn segment(&self, id: Arc<str>, mut records: Vec<Record>) -> Segment {
        let mut by_status = StatusCounts::default();
        for record in &records {
            by_status.add(record.status);
        }
        let latest = records.iter().max_by(|a, b| (a.created, &a.id).cmp(&(b.created, &b.id)));
        let latest = latest.map(|record| LatestJob { status: record.status, created: record.created });
        let last = |status| {
            records
                .iter()
                .filter(|record| record.status == status)
                .filter_map(|record| record.completed)
                .max()
        };
        let (last_completed, last_failed) = (last(JobStatus::Completed), last(JobStatus::Failed));

        records.sort_by_cached_key(Record::newest_first);
        let limit = self.limits.per_segment.unwrap_or(usize::MAX);
        let (mut finished, mut suppressed_by_age, mut suppressed_by_count) = (0, 0, 0);
        let mut jobs = Vec::new();
        for record in records {
            let too_old = self.is_too_old(&record);
            if !record.status.is_active() {
                finished += 1;
                if too_old {
                    suppressed_by_age += 1;
                    continue;
                }
            }
            match record.job {
                Some(job) if record.status.is_active() || finished <= limit => jobs.push(*job),
                _ => suppressed_by_count += 1,
            }
        }
        jobs.sort_by(|a, b| a.id.cmp(&b.id));
        jobs.shrink_to_fit();
        Segment {
            id,
            jobs,
            by_status,
            latest,
            last_completed,
            last_failed,
            suppressed_by_age,
            suppressed_by_count,
        }
    }
}

#[cfg(test)]
mod tests {
    use allocation_counter::measure;
    use proptest::{collection::vec, option, prelude::*};

    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000_000);

    fn job(
        id: &str,
        segment: &str,
        status: JobStatus,
        created: Option<i64>,
        completed: Option<i64>,
    ) -> ExportJob {
        ExportJob {
            id: id.into(),
            segment_id: segment.into(),
            status,
            creation_date: created.map(Timestamp),
            completion_date: completed.map(Timestamp),
            ..ExportJob::default()
        }
    }

    fn completed(id: &str, at: i64) -> ExportJob {
        job(id, "s", JobStatus::Completed, Some(at - 1), Some(at))
    }

    fn snapshot_of(
        limits: FinishedJobLimits,
        own: Option<&str>,
        jobs: impl IntoIterator<Item = ExportJob>,
    ) -> Snapshot {
        let mut builder = SnapshotBuilder::begin(limits, NOW, own);
        for job in jobs {
            builder.add([job]);
        }
        builder.finish()
    }

    fn ids(segment: &Segment) -> Vec<&str> {
        segment.jobs.iter().map(|job| &*job.id).collect()
    }

    #[test]
    fn active_jobs_are_always_shown_and_finished_and_unknown_ones_within_the_bounds() {
        let limits = FinishedJobLimits { max_age: Some(Duration::from_secs(1)), per_segment: Some(2) };
        let old = NOW.0 - 1001;
        let snapshot = snapshot_of(
            limits,
            Some("s"),
            [
                job("active", "s", JobStatus::Processing, Some(5), None),
                completed("a", NOW.0 - 30),
                completed("b", NOW.0 - 20),
                job("c", "s", JobStatus::Unknown, Some(NOW.0 - 10), None),
                completed("old", old),
                job("old-unknown", "s", JobStatus::Unknown, Some(old), None),
            ],
        );
        let segment = &snapshot.segments[0];
        assert_eq!(ids(segment), ["active", "b", "c"]);
        assert_eq!((segment.suppressed_by_age, segment.suppressed_by_count), (2, 1));
        assert_eq!(segment.by_status.of(JobStatus::Completed), 3);
        assert_eq!(segment.by_status.of(JobStatus::Unknown), 2);
    }

    #[test]
    fn a_job_exactly_as_old_as_allowed_is_shown() {
        let limits = FinishedJobLimits { max_age: Some(Duration::from_secs(1)), per_segment: None };
        let snapshot =
            snapshot_of(limits, None, [completed("edge", NOW.0 - 1000), completed("over", NOW.0 - 1001)]);
        assert_eq!(ids(&snapshot.segments[0]), ["edge"]);
    }

    #[test]
    fn undated_jobs_do_not_age_and_come_last_and_ties_go_to_the_greater_id() {
        let limits = FinishedJobLimits { max_age: Some(Duration::from_secs(1)), per_segment: Some(2) };
        let undated = job("undated", "s", JobStatus::Failed, None, None);
        let snapshot = snapshot_of(limits, None, [undated.clone(), completed("a", NOW.0)]);
        assert_eq!(ids(&snapshot.segments[0]), ["a", "undated"]);
        let tied = [undated, completed("x", NOW.0), completed("z", NOW.0), completed("y", NOW.0)];
        let snapshot = snapshot_of(limits, None, tied);
        assert_eq!(ids(&snapshot.segments[0]), ["y", "z"]);
        assert_eq!(snapshot.segments[0].latest.unwrap().status, JobStatus::Completed);
    }

    #[test]
    fn a_job_listed_twice_is_as_it_was_listed_last() {
        let again = job("a", "other", JobStatus::Failed, Some(7), Some(9));
        let snapshot = snapshot_of(FinishedJobLimits::default(), None, [completed("a", 5), again]);
        assert_eq!(snapshot.segments.len(), 1);
        assert_eq!(
            (&*snapshot.segments[0].id, snapshot.segments[0].last_failed),
            ("other", Some(Timestamp(9)))
        );
        assert_eq!(snapshot.segments[0].last_completed, None);
    }

    #[test]
    fn a_segments_own_listing_shows_it_without_jobs() {
        let snapshot = snapshot_of(FinishedJobLimits::default(), Some("s"), []);
        assert_eq!(snapshot.segments.len(), 1);
        assert_eq!(snapshot.segments[0].latest, None);
        assert_eq!(snapshot_of(FinishedJobLimits::default(), None, []), Snapshot::default());
    }

    #[test]
    fn a_text_that_many_jobs_have_is_kept_once() {
        let role = "arn:aws:iam::123456789012:role/".to_owned() + &"r".repeat(1_000);
        let jobs = |count: usize| {
            let job = |n: usize| ExportJob {
                role_arn: Some(role.as_str().into()),
                ..completed(&format!("{n:032}"), 1)
            };
            snapshot_of(FinishedJobLimits::default(), None, (0..count).map(job)).memory()
        };
        let of_a_job = (jobs(1_001) - jobs(1)) / 1_000;
        assert!((size_of::<ExportJob>()..400).contains(&of_a_job), "{of_a_job} bytes for each job");
    }

    /// The expected result by the contract: the last listed version of every job, with the limits applied to the complete
    /// listing.
    fn expected(limits: FinishedJobLimits, listed: &[ExportJob]) -> Vec<(String, Vec<ExportJob>, u64, u64)> {
        let by_id: BTreeMap<&str, &ExportJob> = listed.iter().map(|job| (&*job.id, job)).collect();
        let segments: BTreeSet<&str> = by_id.values().map(|job| &*job.segment_id).collect();
        let of_segment = |segment: &str| {
            let jobs = by_id.values().filter(|job| &*job.segment_id == segment);
            let (mut shown, mut finished): (Vec<ExportJob>, Vec<ExportJob>) =
                jobs.map(|&job| job.clone()).partition(|job| job.status.is_active());
            let date = |job: &ExportJob| job.completion_date.or(job.creation_date);
            let oldest = limits.max_age.map(|age| 2 * NOW.0 - NOW.after(age).0);
            finished.sort_by_key(|job| Reverse((date(job), job.id.clone())));
            let (mut by_age, mut by_count) = (0, 0);
            for (at, job) in finished.into_iter().enumerate() {
                if date(&job).zip(oldest).is_some_and(|(date, oldest)| date.0 < oldest) {
                    by_age += 1;
                } else if limits.per_segment.is_some_and(|limit| at >= limit) {
                    by_count += 1;
                } else {
                    shown.push(job);
                }
            }
            shown.sort_by(|a, b| a.id.cmp(&b.id));
            (segment.to_owned(), shown, by_age, by_count)
        };
        segments.into_iter().map(of_segment).collect()
    }

    prop_compose! {
        /// Uses few ids, so that most jobs are listed more than once.
        fn any_job()(
            id in 0..12_u8,
            segment in 0..2_u8,
            status in 0..JobStatus::ALL.len(),
            created in option::of(-20..0_i64),
            completed in option::of(-20..0_i64),
            pieces in 0..1000_i64,
        ) -> ExportJob {
            let date = |at: Option<i64>| at.map(|at| NOW.0 + at * 100);
            let status = JobStatus::ALL[status];
            let job = job(&id.to_string(), &segment.to_string(), status, date(created), date(completed));
            ExportJob { total_pieces: Some(pieces), ..job }
        }
    }

    proptest! {
        #[test]
        fn the_limits_apply_to_the_listing_as_it_ends(
            listed in vec(any_job(), 0..60),
            per_segment in option::of(0..5_usize),
            has_max_age in any::<bool>(),
        ) {
            let limits = FinishedJobLimits { max_age: has_max_age.then_some(Duration::from_secs(1)), per_segment };
            let shown: Vec<_> = snapshot_of(limits, None, listed.clone()).segments.into_iter().map(|segment| {
                let Segment { id, jobs, suppressed_by_age, suppressed_by_count, .. } = segment;
                (id.to_string(), jobs, suppressed_by_age, suppressed_by_count)
            }).collect();
            prop_assert_eq!(shown, expected(limits, &listed));
        }
    }

    #[test]
    fn jobs_that_come_again_as_older_ones_make_room_for_those_that_were_older() {
        let limits = FinishedJobLimits { max_age: Some(Duration::from_secs(1)), per_segment: Some(1) };
        let newest_first = (0..103).map(|n| completed(&format!("{n:03}"), NOW.0 - n));
        let again = (0..51).map(|n| completed(&format!("{n:03}"), 5));
        let snapshot = snapshot_of(limits, None, newest_first.chain(again));
        assert_eq!(ids(&snapshot.segments[0]), ["051"]);
        assert_eq!(
            (snapshot.segments[0].suppressed_by_age, snapshot.segments[0].suppressed_by_count),
            (51, 51)
        );
    }

    #[test]
    fn a_listing_costs_some_hundred_bytes_a_job_until_it_ends() {
        let role: Arc<str> = "r".repeat(1_000).into();
        for (date, most) in [(NOW.0, 600), (0, 250)] {
            let limits = FinishedJobLimits { max_age: Some(Duration::from_secs(1)), per_segment: Some(20) };
            let allocated = measure(|| {
                let mut builder = SnapshotBuilder::begin(limits, NOW, Some("s"));
                for n in 0..4_096 {
                    let role_arn = Some(role.to_string().into());
                    let id = format!("{n:032}");
                    builder.add([ExportJob { role_arn, ..completed(&id, date) }]);
                }
                assert_eq!(builder.records.len(), 4_096);
            });
            let of_a_job = allocated.bytes_max / 4_096;
            assert!(of_a_job < most, "{of_a_job} bytes for each job of the date {date}");
        }
    }

    #[test]
    fn no_job_that_is_too_old_is_kept_whole() {
        let limits = FinishedJobLimits { max_age: Some(Duration::from_secs(1)), per_segment: None };
        let mut builder = SnapshotBuilder::begin(limits, NOW, None);
        builder.add((0..100).map(|n| completed(&format!("old-{n}"), n)));
        builder.add([completed("new", NOW.0), job("active", "s", JobStatus::Created, Some(0), None)]);
        assert_eq!(builder.records.iter().filter(|record| record.job.is_some()).count(), 2);
        assert_eq!(builder.finish().segments[0].suppressed_by_age, 100);
    }
}
