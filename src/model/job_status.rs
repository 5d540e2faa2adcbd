//! The states of an export job.

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
