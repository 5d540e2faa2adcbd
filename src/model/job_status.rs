//! The states of an export job.

/// The API's `JobStatus`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
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
    /// A state that the API's documentation does not name, or a missing state.
    #[default]
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

    /// The API's name for the state, or `UNKNOWN`.
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

    /// Returns the state with this name, or [`JobStatus::Unknown`].
    pub fn from_name(name: &str) -> Self {
        Self::ALL.into_iter().find(|status| status.as_str() == name).unwrap_or(Self::Unknown)
    }

    /// Whether this is one of the nine states in the models of AWS's SDKs. These states always have series. The API reference
    /// names two more, which have series only while a job is in that state.
    pub const fn is_modelled(self) -> bool {
        !matches!(self, Self::Cancelling | Self::Cancelled | Self::Unknown)
    }

    /// Whether the job still runs. A job in an unknown state counts as neither active nor finished.
    pub const fn is_active(self) -> bool {
        !matches!(self, Self::Completed | Self::Failed | Self::Cancelled | Self::Unknown)
    }
}
