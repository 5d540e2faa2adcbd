//! Identifies a list of applications or segments.

use super::target::TargetPattern;

/// A list that discovery reads to find targets. The order of its fields is its order in the exposition.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListId {
    /// The account of the ARN, or `""`.
    pub account_id: String,
    pub region: String,
    /// The application whose segments are listed (`GetSegments`); `None` for the applications of the region (`GetApps`).
    pub application_id: Option<String>,
}

impl ListId {
    /// The list of applications that discovery reads for a pattern.
    pub fn applications_of(pattern: &TargetPattern) -> Self {
        let TargetPattern { account_id, region, .. } = pattern;
        Self { account_id: account_id.clone(), region: region.clone(), application_id: None }
    }
}
