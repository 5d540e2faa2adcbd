//! An export job of Amazon Pinpoint as the exporter stores it. Values only, without the API's JSON names.

use std::sync::Arc;

use super::{job_status::JobStatus, timestamp::Timestamp};

/// One export job: the fields of `ExportJobResponse` in the [API reference]. All but the id are optional.
///
/// The application is not stored, because it is always that of the request.
///
/// [API reference]: https://docs.aws.amazon.com/pinpoint/latest/apireference/apps-application-id-segments-segment-id-jobs-export.html
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExportJob {
    /// `Id`
    pub id: Arc<str>,
    /// `Definition.SegmentId`, or the segment of the request. `""` for an export of all endpoints.
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
    /// `Failures`: one message for each of the first 100 endpoints that could not be processed. The API only counts the others.
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
