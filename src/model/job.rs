//! An export job of Amazon Pinpoint as the exporter keeps it. Values only, no wire names.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use time::OffsetDateTime;

/// One export job: what `ExportJobResponse` of the [API reference] tells, each member optional but the id.
///
/// The application is not here: it is always that of the request.
///
/// [API reference]: https://docs.aws.amazon.com/pinpoint/latest/apireference/apps-application-id-segments-segment-id-jobs-export.html
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportJob {
    /// `Id`
    pub id: Arc<str>,
    /// `Definition.SegmentId`, or the segment of the request; `""` for an export of all endpoints.
    pub segment_id: Arc<str>,
    /// `JobStatus`
    pub status: JobStatus,
    /// `TotalPieces`
    pub total_pieces: Option<i64>,
    /// `CompletedPieces`
    pub completed_pieces: Option<i64>,
    /// `FailedPieces`
    pub failed_pieces: Option<i64>,
    /// `TotalProcessed`: endpoints processed.
    pub total_processed: Option<i64>,
    /// `TotalFailures`: endpoints that could not be processed.
    pub total_failures: Option<i64>,
    /// The length of `Failures`.
    pub failure_samples: Option<usize>,
    /// `Failures`: one message for each of the first 100 endpoints that could not be processed. Further ones are only counted.
    pub failures: Vec<String>,
    /// `CreationDate`
    pub creation_date: Option<Timestamp>,
    /// `CompletionDate`
    pub completion_date: Option<Timestamp>,
    /// `Type`
    pub job_type: Option<Arc<str>>,
    /// `Definition.SegmentVersion`
    pub segment_version: Option<i64>,
    /// `Definition.S3UrlPrefix`
    pub s3_url_prefix: Option<Arc<str>>,
    /// `Definition.RoleArn`
    pub role_arn: Option<Arc<str>>,
}

/// `JobStatus` of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum JobStatus {
    Created,
    PreparingForInitialization,
    Initializing,
    Processing,
    PendingJob,
    Completing,
    Completed,
    Failing,
    Failed,
    Cancelling,
    Cancelled,
    /// A state that the API's documentation does not name, or none at all.
    Unknown,
}

impl JobStatus {
    /// Every state, in the order of the API's documentation.
    pub const ALL: [Self; 12] = [
        Self::Created,
        Self::PreparingForInitialization,
        Self::Initializing,
        Self::Processing,
        Self::PendingJob,
        Self::Completing,
        Self::Completed,
        Self::Failing,
        Self::Failed,
        Self::Cancelling,
        Self::Cancelled,
        Self::Unknown,
    ];

    /// The API's name of the state, or `UNKNOWN`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "CREATED",
            Self::PreparingForInitialization => "PREPARING_FOR_INITIALIZATION",
            Self::Initializing => "INITIALIZING",
            Self::Processing => "PROCESSING",
            Self::PendingJob => "PENDING_JOB",
            Self::Completing => "COMPLETING",
            Self::Completed => "COMPLETED",
            Self::Failing => "FAILING",
            Self::Failed => "FAILED",
            Self::Cancelling => "CANCELLING",
            Self::Cancelled => "CANCELLED",
            Self::Unknown => "UNKNOWN",
        }
    }

    /// The state of that name; [`JobStatus::Unknown`] for any other name.
    pub fn from_name(name: &str) -> Self {
        Self::ALL.into_iter().find(|status| status.as_str() == name).unwrap_or(Self::Unknown)
    }

    /// Whether it is one of the nine states of the models of AWS's SDKs, which have series at all times. The API reference names
    /// two more, whose series are there only while they are the state of a job.
    pub const fn is_modelled(self) -> bool {
        !matches!(self, Self::Cancelling | Self::Cancelled | Self::Unknown)
    }

    /// Whether the job still runs. One in an unknown state is neither active nor finished.
    pub const fn is_active(self) -> bool {
        !matches!(self, Self::Completed | Self::Failed | Self::Cancelled | Self::Unknown)
    }
}

/// A date of the API, in milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// So much later.
    #[must_use]
    pub fn after(self, time: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(time.as_millis()).unwrap_or(i64::MAX)))
    }
}

impl From<SystemTime> for Timestamp {
    /// Every date has one: what 64 bits cannot hold is the first or last that they can.
    fn from(date: SystemTime) -> Self {
        let since = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        Self(match date.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(after) => since(after),
            Err(before) => -since(before.duration()),
        })
    }
}

impl From<OffsetDateTime> for Timestamp {
    fn from(date: OffsetDateTime) -> Self {
        let milliseconds = date.unix_timestamp_nanos().div_euclid(1_000_000);
        // The years that `time` knows lie far within 64 bits of milliseconds.
        Self(i64::try_from(milliseconds).unwrap_or(i64::MAX))
    }
}
