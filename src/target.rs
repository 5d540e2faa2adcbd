//! What to observe: the grammar of `PINPOINT_EXPORTER_TARGETS`. Values only.

/// One listing to poll. The order of its fields is the order of targets in the exposition, and all four together are
/// its identity.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    /// The account of the ARN, or `""` for a target written without one.
    pub account_id: String,
    /// The region of the ARN, or the configured one.
    pub region: String,
    /// The application, percent-decoded.
    pub application_id: String,
    /// The segment, percent-decoded (`GetSegmentExportJobs`); without one the whole application is read with one
    /// listing (`GetExportJobs`).
    pub segment_id: Option<String>,
}

impl std::fmt::Display for Target {
    /// For people: `application/segment`, or the application.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.application_id)?;
        self.segment_id
            .iter()
            .try_for_each(|segment| write!(f, "/{segment}"))
    }
}
