//! The data of the fake: applications, their segments, and the export jobs of both. The same types are the format of a world
//! file.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{
        DeserializeSeed, Error as _, IntoDeserializer as _, MapAccess, Visitor, value::MapAccessDeserializer,
    },
};
use serde_json::{Map, Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::clock::iso;

/// All applications.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct World {
    /// By id.
    pub applications: BTreeMap<String, Application>,
}

/// An application ("project").
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Application {
    /// If empty, the API returns the id instead, since it shows no application without a name.
    pub name: String,
    /// Its tags, by key.
    pub tags: BTreeMap<String, String>,
    /// Segments by id.
    pub segments: BTreeMap<String, Segment>,
    /// Export jobs of all endpoints, which belong to no segment.
    pub jobs: Vec<Job>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Segment {
    /// The name. If empty, the API leaves it out.
    pub name: String,
    /// Its tags, by key.
    pub tags: BTreeMap<String, String>,
    /// Whether the segment was imported. Otherwise attributes of endpoints define it.
    pub imported: bool,
    pub jobs: Vec<Job>,
}

/// An export job, or a series of jobs. An object with the member `item` is a verbatim item.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Job {
    /// A job whose state changes with time.
    Life(Life),
    /// An item of a listing that is returned unchanged, valid or not.
    Verbatim {
        /// The item in JSON, as the listing returns it.
        item: Value,
    },
}

/// The course of a job over time.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Life {
    /// The job id. With `every`, the prefix of the job ids.
    pub id: String,
    /// When the job is created, in milliseconds since the Unix epoch. A file may give a date, or a time relative to when it is
    /// read, such as `-26h`.
    #[serde(deserialize_with = "moment")]
    pub created: i64,
    /// How long the job takes, in milliseconds.
    #[serde(deserialize_with = "duration")]
    pub lasts: i64,
    /// The interval at which a new job is created, in milliseconds. If absent, there is one job.
    #[serde(default, deserialize_with = "optional_duration")]
    pub every: Option<i64>,
    /// The number of jobs with `every`. If absent, there is no end.
    #[serde(default)]
    pub times: Option<i64>,
    /// How it ends.
    #[serde(default)]
    pub end: End,
    /// The number of endpoints to export.
    #[serde(default = "default_endpoints")]
    pub endpoints: i64,
    /// The number of pieces.
    #[serde(default = "default_pieces")]
    pub pieces: i64,
    /// The number of endpoints that cannot be exported.
    #[serde(default)]
    pub failed_endpoints: i64,
    /// The number of pieces that fail.
    #[serde(default)]
    pub failed_pieces: i64,
    #[serde(default = "default_prefix")]
    pub s3_url_prefix: String,
    /// The role that writes the files.
    #[serde(default = "default_role")]
    pub role_arn: String,
    #[serde(default = "default_version")]
    pub segment_version: i64,
}

/// How a job ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum End {
    /// The job completes.
    #[default]
    Completed,
    /// The job fails.
    Failed,
    /// The job is cancelled half way.
    Cancelled,
    /// The job never ends and stays at PROCESSING.
    Stuck,
}

const fn default_endpoints() -> i64 {
    10_000
}
const fn default_pieces() -> i64 {
    8
}
const fn default_version() -> i64 {
    1
}
fn default_prefix() -> String {
    "s3://exports/pinpoint/".to_owned()
}
fn default_role() -> String {
    "arn:aws:iam::123456789012:role/pinpoint-export".to_owned()
}

impl Life {
    /// A job that is created at `created` and completes after `lasts`, both in milliseconds.
    pub fn new(id: impl Into<String>, created: i64, lasts: i64) -> Self {
        Self {
            id: id.into(),
            created,
            lasts,
            every: None,
            times: None,
            end: End::Completed,
            endpoints: default_endpoints(),
            pieces: default_pieces(),
            failed_endpoints: 0,
            failed_pieces: 0,
            s3_url_prefix: default_prefix(),
            role_arn: default_role(),
            segment_version: default_version(),
        }
    }

    /// How many jobs of the series exist at `now`.
    fn born(&self, now: i64) -> i64 {
        if self.created > now {
            return 0;
        }
        match self.every.filter(|every| *every > 0) {
            None => 1,
            Some(every) => {
                let born = (now.saturating_sub(self.created) / every).saturating_add(1);
                born.min(self.times.unwrap_or(i64::MAX)).max(0)
            }
        }
    }

    /// The id and creation time of one job of the series.
    fn nth(&self, n: i64) -> (String, i64) {
        match self.every.filter(|every| *every > 0) {
            None => (self.id.clone(), self.created),
            Some(every) => {
                (format!("{}{n:04x}", self.id), self.created.saturating_add(n.saturating_mul(every)))
            }
        }
    }

    /// One job as the API returns it. Its progress depends only on its age.
    fn item(&self, id: &str, created: i64, now: i64, application: &str, segment: Option<&str>) -> Value {
        // Progress in thousandths.
        let progress = (now.saturating_sub(created).saturating_mul(1000) / self.lasts.max(1)).clamp(0, 1000);
        let progress = if self.end == End::Stuck { progress.min(400) } else { progress };
        let failing = self.end == End::Failed;
        let cancelling = self.end == End::Cancelled;
        let status = match progress {
            0..20 => "CREATED",
            20..50 => "PREPARING_FOR_INITIALIZATION",
            50..100 => "INITIALIZING",
            100..120 => "PENDING_JOB",
            120..900 => "PROCESSING",
            900..1000 if failing => "FAILING",
            900..1000 if cancelling => "CANCELLING",
            900..1000 => "COMPLETING",
            _ if failing => "FAILED",
            _ if cancelling => "CANCELLED",
            _ => "COMPLETED",
        };
        // The part of the work that is done. All of it is done at 900, unless the job fails or is cancelled half way.
        let done = |whole: i64| {
            let most = if failing || cancelling { whole / 2 } else { whole };
            let done = i128::from(most) * i128::from((progress - 120).clamp(0, 780)) / 780;
            i64::try_from(done).unwrap_or(most)
        };
        let mut item = Map::new();
        item.insert("ApplicationId".to_owned(), json!(application));
        if progress >= 120 {
            item.insert(
                "CompletedPieces".to_owned(),
                json!(done(self.pieces.saturating_sub(self.failed_pieces))),
            );
        }
        if progress == 1000 {
            item.insert("CompletionDate".to_owned(), json!(iso(created.saturating_add(self.lasts))));
        }
        item.insert("CreationDate".to_owned(), json!(iso(created)));
        let mut definition = json!({"RoleArn": self.role_arn, "S3UrlPrefix": self.s3_url_prefix});
        if let Some(segment) = segment {
            definition["SegmentId"] = json!(segment);
            definition["SegmentVersion"] = json!(self.segment_version);
        }
        item.insert("Definition".to_owned(), definition);
        if progress >= 120 {
            item.insert("FailedPieces".to_owned(), json!(done(self.failed_pieces)));
            let failed = done(self.failed_endpoints);
            if failed > 0 {
                let sample = |n| json!(format!("endpoint-{n:06}: the endpoint could not be exported"));
                item.insert("Failures".to_owned(), (0..failed.min(100)).map(sample).collect());
            }
        }
        item.insert("Id".to_owned(), json!(id));
        item.insert("JobStatus".to_owned(), json!(status));
        if progress >= 120 {
            item.insert("TotalFailures".to_owned(), json!(done(self.failed_endpoints)));
        }
        if progress >= 50 {
            item.insert("TotalPieces".to_owned(), json!(self.pieces));
        }
        if progress >= 120 {
            item.insert("TotalProcessed".to_owned(), json!(done(self.endpoints)));
        }
        item.insert("Type".to_owned(), json!("EXPORT"));
        Value::Object(item)
    }
}

impl Job {
    fn listed<'a>(
        &'a self,
        now: i64,
        application: &'a str,
        segment: Option<&'a str>,
    ) -> impl Iterator<Item = Listed<'a>> {
        let count = match self {
            Self::Life(life) => life.born(now),
            Self::Verbatim { .. } => 1,
        };
        (0..count).map(move |number| Listed { job: self, number, application, segment })
    }
}

/// A job in a listing that has not been serialized. A listing may be long while a page of it is short.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Listed<'a> {
    job: &'a Job,
    /// The number of the job in its series.
    number: i64,
    application: &'a str,
    segment: Option<&'a str>,
}

impl Listed<'_> {
    /// Whether the API knows the job by this id.
    pub(crate) fn has_id(&self, id: &str) -> bool {
        match self.job {
            Job::Life(life) => life.nth(self.number).0 == id,
            Job::Verbatim { item } => item["Id"] == id,
        }
    }

    /// The job as the API returns it.
    pub(crate) fn item(&self, now: i64) -> Value {
        match self.job {
            Job::Life(life) => {
                let (id, created) = life.nth(self.number);
                life.item(&id, created, now, self.application, self.segment)
            }
            Job::Verbatim { item } => item.clone(),
        }
    }
}

// This is written by hand, so that an error names the position in the job and not the end of all jobs.
impl<'de> Deserialize<'de> for Job {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(JobVisitor)
    }
}

struct JobVisitor;

impl<'de> Visitor<'de> for JobVisitor {
    type Value = Job;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an export job")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Job, A::Error> {
        let first: Option<String> = map.next_key()?;
        if first.as_deref() != Some("item") {
            return Life::deserialize(MapAccessDeserializer::new(Replayed { first, rest: map }))
                .map(Job::Life);
        }
        let item = map.next_value()?;
        match map.next_key::<String>()? {
            None => Ok(Job::Verbatim { item }),
            Some(other) => Err(A::Error::custom(format!(
                "unknown field `{other}`: a job with `item` is verbatim: put all that it is to have into `item`, and \
                 nothing beside it"
            ))),
        }
    }
}

/// A map whose first key has already been read.
struct Replayed<A> {
    first: Option<String>,
    rest: A,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Replayed<A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        match self.first.take() {
            Some(key) => seed.deserialize(key.into_deserializer()).map(Some),
            None => self.rest.next_key_seed(seed),
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.rest.next_value_seed(seed)
    }
}

impl From<Life> for Job {
    fn from(life: Life) -> Self {
        Self::Life(life)
    }
}

impl World {
    /// The export jobs of a segment. `None` if there is no such segment.
    pub(crate) fn segment_jobs<'a>(
        &'a self,
        application: &'a str,
        segment: &'a str,
        now: i64,
    ) -> Option<impl Iterator<Item = Listed<'a>>> {
        let jobs = &self.applications.get(application)?.segments.get(segment)?.jobs;
        Some(jobs.iter().flat_map(move |job| job.listed(now, application, Some(segment))))
    }

    /// All export jobs of an application.
    pub(crate) fn application_jobs<'a>(
        &'a self,
        id: &'a str,
        now: i64,
    ) -> Option<impl Iterator<Item = Listed<'a>>> {
        let application = self.applications.get(id)?;
        let of_segments = application.segments.iter().flat_map(move |(segment, it)| {
            it.jobs.iter().flat_map(move |job| job.listed(now, id, Some(segment)))
        });
        let of_all = application.jobs.iter().flat_map(move |job| job.listed(now, id, None));
        Some(of_segments.chain(of_all))
    }

    /// The items of a listing at an instant. They belong to one segment, or to the whole application if `segment` is `None`.
    pub fn items(&self, application: &str, segment: Option<&str>, now: i64) -> Option<Vec<Value>> {
        Some(match segment {
            Some(segment) => self.segment_jobs(application, segment, now)?.map(|job| job.item(now)).collect(),
            None => self.application_jobs(application, now)?.map(|job| job.item(now)).collect(),
        })
    }

    /// The segment. It is created if it does not exist.
    pub fn segment(&mut self, application: &str, segment: &str) -> &mut Segment {
        let application = self.applications.entry(application.to_owned()).or_default();
        application.segments.entry(segment.to_owned()).or_default()
    }
}

/// Parses a date, a number of milliseconds, or a time relative to now such as `-26h`.
fn moment<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    let value = Value::deserialize(deserializer)?;
    let read = |text: &str| {
        let now = crate::clock::machine();
        if let Some(before) = text.strip_prefix('-') {
            return Some(now - span(before)?);
        }
        if let Some(after) = text.strip_prefix('+') {
            return Some(now + span(after)?);
        }
        let date = OffsetDateTime::parse(text, &Rfc3339).ok()?;
        i64::try_from(date.unix_timestamp_nanos() / 1_000_000).ok()
    };
    value.as_i64().or_else(|| read(value.as_str()?)).ok_or_else(|| {
        let expected =
            "write a date such as 2026-01-31T00:00:00Z, a time from now such as -26h, or milliseconds";
        D::Error::custom(format!("{value} is no time: {expected}"))
    })
}

/// Parses a number of milliseconds, or a duration such as `90s`.
fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    read_duration(&Value::deserialize(deserializer)?)
}

fn optional_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    Option::<Value>::deserialize(deserializer)?.as_ref().map(read_duration).transpose()
}

fn read_duration<E: serde::de::Error>(value: &Value) -> Result<i64, E> {
    let milliseconds = value.as_i64().or_else(|| span(value.as_str()?));
    milliseconds.filter(|milliseconds| *milliseconds >= 0).ok_or_else(|| {
        E::custom(format!("{value} is not a valid duration: write 90s, 5m, 26h or 7d, or milliseconds"))
    })
}

fn span(text: &str) -> Option<i64> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let unit = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.parse::<i64>().ok()?.checked_mul(unit)
}
