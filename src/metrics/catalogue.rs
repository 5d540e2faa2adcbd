//! The table of metric families. A new metric of jobs, segments or targets needs only one entry here.

use super::family::{Family, Kind, Source};
use crate::model::job_status::JobStatus;

macro_rules! job_labels {
    ($($more:literal),*) => {
        &["aws_account_id", "aws_region", "application_id", "segment_id", "job_id" $(, $more)*]
    };
}
macro_rules! segment_labels {
    ($($more:literal),*) => { &["aws_account_id", "aws_region", "application_id", "segment_id" $(, $more)*] };
}

/// Every family except those of the process, in the order of the exposition.
pub static FAMILIES: &[Family] = &[
    Family {
        name: "pinpoint_export_job_pieces",
        help: "Pieces into which the export job is divided (TotalPieces). Cached.",
        kind: Kind::Gauge,
        labels: job_labels![],
        source: Source::Job(|job, out| out.integer(job.total_pieces)),
    },
    Family {
        name: "pinpoint_export_job_completed_pieces",
        help: "Completed pieces of the export job (CompletedPieces). Cached.",
        kind: Kind::Gauge,
        labels: job_labels![],
        source: Source::Job(|job, out| out.integer(job.completed_pieces)),
    },
    Family {
        name: "pinpoint_export_job_failed_pieces",
        help: "Failed pieces of the export job (FailedPieces). Cached.",
        kind: Kind::Gauge,
        labels: job_labels![],
        source: Source::Job(|job, out| out.integer(job.failed_pieces)),
    },
    Family {
        name: "pinpoint_export_job_processed_endpoints",
        help: "Endpoints that the export job has processed (TotalProcessed). Cached.",
        kind: Kind::Gauge,
        labels: job_labels![],
        source: Source::Job(|job, out| out.integer(job.total_processed)),
    },
    Family {
        name: "pinpoint_export_job_failed_endpoints",
        help: "Endpoints that the export job could not process (TotalFailures). Cached.",
        kind: Kind::Gauge,
        labels: job_labels![],
        source: Source::Job(|job, out| out.integer(job.total_failures)),
    },
    Family {
        name: "pinpoint_export_job_failure_samples",
        help: "Messages about failed endpoints that the API keeps, at most 100 (length of Failures). Cached.",
        kind: Kind::Gauge,
        labels: job_labels![],
        source: Source::Job(|job, out| out.integer(job.failure_samples.and_then(|n| i64::try_from(n).ok()))),
    },
    Family {
        name: "pinpoint_export_job_created_timestamp_seconds",
        help: "When the export job was created (CreationDate). Cached.",
        kind: Kind::Gauge,
        labels: job_labels![],
        source: Source::Job(|job, out| out.timestamp(job.creation_date)),
    },
    Family {
        name: "pinpoint_export_job_completed_timestamp_seconds",
        help: "When the export job ended, whether it succeeded or failed (CompletionDate). Cached.",
        kind: Kind::Gauge,
        labels: job_labels![],
        source: Source::Job(|job, out| out.timestamp(job.completion_date)),
    },
    Family {
        name: "pinpoint_export_job_status",
        help: "State of the export job as a state set, 1 for its current state (JobStatus). Cached.",
        kind: Kind::Gauge,
        labels: job_labels!["status"],
        source: Source::Job(|job, out| out.state_set(job.status)),
    },
    Family {
        name: "pinpoint_export_job_info",
        help: "Type and definition of the export job, always 1 (Type and Definition). Cached.",
        kind: Kind::Gauge,
        labels: job_labels!["job_type", "segment_version", "s3_url_prefix", "role_arn"],
        source: Source::Job(|job, out| {
            let version = job.segment_version.map(|version| version.to_string()).unwrap_or_default();
            let labels = [
                ("job_type", job.job_type.as_deref().unwrap_or_default()),
                ("segment_version", &version),
                ("s3_url_prefix", job.s3_url_prefix.as_deref().unwrap_or_default()),
                ("role_arn", job.role_arn.as_deref().unwrap_or_default()),
            ];
            out.labelled(&labels, 1);
        }),
    },
    Family {
        name: "pinpoint_application_info",
        help: "Name of the application, always 1 (Name and, with TAG_LABELS, tags of GetApps). Cached.",
        kind: Kind::Gauge,
        labels: &["aws_account_id", "aws_region", "application_id", "application_name"],
        source: Source::ApplicationInfo(|info, out| {
            out.labelled(&info.labels("application_name", &[]), 1);
        }),
    },
    Family {
        name: "pinpoint_segment_info",
        help: "Name and type of the segment, always 1 (Name, SegmentType and, with TAG_LABELS, tags of \
               GetSegments). Cached.",
        kind: Kind::Gauge,
        labels: segment_labels!["segment_name", "segment_type"],
        source: Source::SegmentInfo(|info, out| {
            let segment_type = info.resource.segment_type.as_deref().unwrap_or_default();
            out.labelled(&info.labels("segment_name", &[("segment_type", segment_type)]), 1);
        }),
    },
    Family {
        name: "pinpoint_segment_export_jobs",
        help: "Export jobs of the segment by state, counting all that the API lists (JobStatus). Cached.",
        kind: Kind::Gauge,
        labels: segment_labels!["status"],
        source: Source::Segment(|segment, out| {
            for status in JobStatus::ALL {
                let count = segment.by_status.of(status);
                if count > 0 || status.is_modelled() {
                    out.labelled(&[("status", status.as_str())], count);
                }
            }
        }),
    },
    Family {
        name: "pinpoint_segment_latest_export_job_status",
        help: "State of the segment's newest export job as a state set (JobStatus of the job with the greatest CreationDate). Cached.",
        kind: Kind::Gauge,
        labels: segment_labels!["status"],
        source: Source::Segment(|segment, out| {
            if let Some(latest) = segment.latest {
                out.state_set(latest.status);
            }
        }),
    },
    Family {
        name: "pinpoint_segment_latest_export_job_created_timestamp_seconds",
        help: "When the segment's newest export job was created (greatest CreationDate). Cached.",
        kind: Kind::Gauge,
        labels: segment_labels![],
        source: Source::Segment(|segment, out| {
            out.timestamp(segment.latest.and_then(|latest| latest.created));
        }),
    },
    Family {
        name: "pinpoint_segment_last_completed_export_timestamp_seconds",
        help: "When an export job of the segment last succeeded (greatest CompletionDate of a COMPLETED job). Cached.",
        kind: Kind::Gauge,
        labels: segment_labels![],
        source: Source::Segment(|segment, out| out.timestamp(segment.last_completed)),
    },
    Family {
        name: "pinpoint_segment_last_failed_export_timestamp_seconds",
        help: "When an export job of the segment last failed (greatest CompletionDate of a FAILED job). Cached.",
        kind: Kind::Gauge,
        labels: segment_labels![],
        source: Source::Segment(|segment, out| out.timestamp(segment.last_failed)),
    },
    Family {
        name: "pinpoint_segment_suppressed_export_jobs",
        help: "Export jobs of the segment without series of their own, because of their age or number \
               (FINISHED_JOB_MAX_AGE, FINISHED_JOBS_PER_SEGMENT). Cached.",
        kind: Kind::Gauge,
        labels: segment_labels!["reason"],
        source: Source::Segment(|segment, out| {
            out.labelled(&[("reason", "age")], segment.suppressed_by_age);
            out.labelled(&[("reason", "count")], segment.suppressed_by_count);
        }),
    },
    Family {
        name: "pinpoint_target_up",
        help: "Whether the last refresh of the target succeeded and its data is younger than MAX_STALENESS. Cached.",
        kind: Kind::Gauge,
        labels: segment_labels![],
        source: Source::Target(|target, out| out.integer(Some(i64::from(target.error.is_none())))),
    },
    Family {
        name: "pinpoint_target_error",
        help: "Why the target is not up, as an exception type. Always 1, and absent while the target is up. Cached.",
        kind: Kind::Gauge,
        labels: segment_labels!["exception"],
        source: Source::Target(|target, out| {
            if let Some(exception) = target.error {
                out.labelled(&[("exception", exception)], 1);
            }
        }),
    },
    Family {
        name: "pinpoint_target_last_success_timestamp_seconds",
        help: "When the last successful refresh of the target started, which is the time of its data. Cached.",
        kind: Kind::Gauge,
        labels: segment_labels![],
        source: Source::Target(|target, out| out.timestamp(target.last_success)),
    },
    Family {
        name: "pinpoint_target_refresh_duration_seconds",
        help: "How long the last refresh of the target took, including all pages, attempts and waits. Cached.",
        kind: Kind::Gauge,
        labels: segment_labels![],
        source: Source::Target(|target, out| out.duration(target.refresh_duration)),
    },
    Family {
        name: "pinpoint_discovery_up",
        help: "Whether the last listing of the application's segments (GetSegments) succeeded. Without an \
               application, of the region's applications (GetApps). Cached.",
        kind: Kind::Gauge,
        labels: &["aws_account_id", "aws_region", "application_id"],
        source: Source::Discovery(|up, out| out.integer(Some(i64::from(up)))),
    },
    API_REQUESTS,
    API_ERRORS,
    API_SKIPPED_ITEMS,
    API_REQUEST_DURATION,
    API_RETRIES,
    API_RATE_LIMIT_WAIT,
    BUILD_INFO,
    CLOCK_SKEW,
    Family {
        name: "pinpoint_exporter_credentials_expiry_timestamp_seconds",
        help: "When credentials expire: the exporter's own if the account is empty, otherwise those of the account's role. Absent without credentials, and for those that do not expire.",
        kind: Kind::Gauge,
        labels: &["aws_account_id"],
        source: Source::Scrape(|scrape, out| {
            for (account_id, expiry) in &scrape.credentials_expiry {
                out.labelled_timestamp(&[("aws_account_id", account_id)], *expiry);
            }
        }),
    },
    Family {
        name: "pinpoint_exporter_cache_lookups_total",
        help: "Lookups of cached targets: one per target and scrape, including this scrape.",
        kind: Kind::Counter,
        labels: &[],
        source: Source::Scrape(|scrape, out| out.labelled(&[], scrape.cache_lookups)),
    },
    Family {
        name: "pinpoint_exporter_cache_hits_total",
        help: "Lookups of cached targets that neither started nor joined a refresh.",
        kind: Kind::Counter,
        labels: &[],
        source: Source::Scrape(|scrape, out| out.labelled(&[], scrape.cache_hits)),
    },
    Family {
        name: "pinpoint_exporter_last_scrape_duration_seconds",
        help: "How long the last finished scrape took.",
        kind: Kind::Gauge,
        labels: &[],
        source: Source::Scrape(|scrape, out| out.duration(scrape.last_duration)),
    },
    Family {
        name: "pinpoint_exporter_series",
        help: "Job, segment and target series in this response.",
        kind: Kind::Gauge,
        labels: &[],
        source: Source::Scrape(|scrape, out| {
            out.labelled(&[], u64::try_from(scrape.series).unwrap_or(u64::MAX));
        }),
    },
    Family {
        name: "pinpoint_exporter_config_last_reload_successful",
        help: "Whether the exporter uses TARGETS_FILE and WEB_CONFIG_FILE as they are now. Absent if neither is set.",
        kind: Kind::Gauge,
        labels: &[],
        source: Source::Scrape(|scrape, out| {
            out.integer(scrape.config_reload.map(|(successful, _)| i64::from(successful)));
        }),
    },
    Family {
        name: "pinpoint_exporter_config_last_reload_success_timestamp_seconds",
        help: "When the exporter last loaded TARGETS_FILE or WEB_CONFIG_FILE successfully. Absent if neither is set.",
        kind: Kind::Gauge,
        labels: &[],
        source: Source::Scrape(|scrape, out| out.timestamp(scrape.config_reload.map(|(_, at)| at))),
    },
    Family {
        name: "pinpoint_exporter_tls_certificate_expiry_timestamp_seconds",
        help: "When the server certificate of the exporter expires. Absent without TLS.",
        kind: Kind::Gauge,
        labels: &[],
        source: Source::Scrape(|scrape, out| out.timestamp(scrape.certificate_expiry)),
    },
];

pub(super) const API_REQUESTS: Family = Family {
    name: "pinpoint_api_requests_total",
    help: "Attempts sent to the API, including retries and attempts without a response.",
    kind: Kind::Counter,
    labels: &["operation"],
    source: Source::Telemetry,
};
pub(super) const API_ERRORS: Family = Family {
    name: "pinpoint_api_errors_total",
    help: "Attempts that failed or whose response was invalid in whole or in part, and calls without credentials, \
           by exception type.",
    kind: Kind::Counter,
    labels: &["operation", "exception"],
    source: Source::Telemetry,
};
pub(super) const API_SKIPPED_ITEMS: Family = Family {
    name: "pinpoint_api_skipped_items_total",
    help: "Items of responses that could not be understood.",
    kind: Kind::Counter,
    labels: &["operation"],
    source: Source::Telemetry,
};
pub(super) const API_REQUEST_DURATION: Family = Family {
    name: "pinpoint_api_request_duration_seconds",
    help: "How long attempts took, excluding waits.",
    kind: Kind::Histogram,
    labels: &["operation"],
    source: Source::Telemetry,
};
pub(super) const API_RETRIES: Family = Family {
    name: "pinpoint_api_retries_total",
    help: "Attempts after the first.",
    kind: Kind::Counter,
    labels: &["operation"],
    source: Source::Telemetry,
};
pub(super) const API_RATE_LIMIT_WAIT: Family = Family {
    name: "pinpoint_api_rate_limit_wait_seconds_total",
    help: "Time that requests waited for the exporter's rate limit (MAX_REQUESTS_PER_SECOND).",
    kind: Kind::Counter,
    labels: &[],
    source: Source::Telemetry,
};
pub(super) const BUILD_INFO: Family = Family {
    name: "pinpoint_exporter_build_info",
    help: "Version, revision and compiler of the exporter, always 1.",
    kind: Kind::Gauge,
    labels: &["version", "revision", "rustc_version"],
    source: Source::Telemetry,
};
pub(super) const CLOCK_SKEW: Family = Family {
    name: "pinpoint_exporter_clock_skew_seconds",
    help: "Clock of the API (Date) minus the clock of this machine, at the last response.",
    kind: Kind::Gauge,
    labels: &[],
    source: Source::Telemetry,
};
