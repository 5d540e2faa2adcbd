"""The dashboard of one segment: what happened to its exports?"""

from jobs import FAILURES, RESTARTS, job_table, progress, throughput, time_left
from panels import (
    AGE_STEPS,
    GREEN,
    ORANGE,
    RED,
    STATE_MAPPINGS,
    STATUS,
    dashboard,
    links_but,
    now,
    query,
    row,
    stat,
    state_timeline,
    thresholds,
    time_series,
    values,
    variables,
)
from queries import (
    DURATION,
    FAILURE_SHARE,
    JOB,
    SEGMENT,
    TARGET,
    jobs_by_status,
    newest_success,
    of_running,
    per_job,
    per_segment,
    state,
)

UID = "pinpoint-segment"
LEGEND = "{{job_id}}"
NO_EXPORT = "Never exported, or not watched"
NO_SUCCESS = "No export has succeeded yet"
NO_TARGET = "Not watched; see the dashboard Exporter"

TOO_OLD, TOO_MANY = 'reason="age"', 'reason="count"'
LATEST = "pinpoint_segment_latest_export_job_status"
SUCCEEDED = per_segment("pinpoint_segment_last_completed_export_timestamp_seconds")
# An ended job is drawn for four points and not for ever.
ENDED = f"{per_job('completed_timestamp_seconds')} < time() - $__interval_ms / 250"

NOW = row(
    "Now",
    stat(
        "Newest export",
        "What has become of the newest export?",
        "none",
        NO_EXPORT,
        [now(state(LATEST, SEGMENT))],
        mappings=STATE_MAPPINGS,
        width=6,
        steps=thresholds(base="text"),
    ),
    stat(
        "Last success",
        "When did an export last end well?",
        "dateTimeFromNow",
        NO_SUCCESS,
        [now(f"{SUCCEEDED} * 1000")],
        width=3,
    ),
    stat(
        "Last failure",
        "When did an export last fail?",
        "dateTimeFromNow",
        "None has failed",
        [now(f"{per_segment('pinpoint_segment_last_failed_export_timestamp_seconds')} * 1000")],
        width=3,
    ),
    stat(
        "Endpoints",
        "How many endpoints are in the last good export? 0 is an empty export: nobody is in the segment any more, or"
        " its criteria are wrong.",
        "short",
        NO_SUCCESS,
        [now(newest_success(per_job("processed_endpoints")))],
        width=3,
        steps=thresholds((1, "blue"), base=RED),
    ),
    stat(
        "Lost share",
        "What part of its endpoints did the last good export lose?",
        "percentunit",
        NO_SUCCESS,
        [now(newest_success(FAILURE_SHARE))],
        width=3,
        steps=thresholds((0.0000001, ORANGE), (0.05, RED)),
        decimals=2,
    ),
    stat(
        "Readable",
        "Can the exporter read this segment, or its application? If not, the rest is old, and gone after"
        " MAX_STALENESS.",
        "none",
        NO_TARGET,
        [now(f"max(pinpoint_target_up{{{TARGET}}})")],
        width=3,
        steps=thresholds((1, GREEN), base=RED),
        mappings=[values({0: ("No", RED), 1: ("Yes", GREEN)})],
    ),
    stat(
        "Age of the data",
        "As of when is what is shown here?",
        "s",
        NO_TARGET,
        [now(f"time() - max(pinpoint_target_last_success_timestamp_seconds{{{TARGET}}})")],
        width=3,
        steps=AGE_STEPS,
    ),
)

HISTORY = row(
    "History",
    state_timeline(
        "State of the newest export",
        "How has the segment fared? Red is a failure that no newer export has mended, a long blue one an export that "
        "hangs.",
        NO_EXPORT,
        [query(state(LATEST, SEGMENT), "newest export")],
        height=4,
    ),
    state_timeline(
        "Export jobs",
        "When did each export run, and through which states did it go? One line for each job, which ends soon after the"
        " job did.",
        "No export ran in the time shown",
        [query(f"{state('pinpoint_export_job_status', JOB)} unless on ({JOB}) ({ENDED})", LEGEND)],
    ),
    time_series(
        "Time since the last good export",
        "How old is what lies in S3? A saw-tooth is a regular export; a line that only climbs is one "
        "that no longer comes.",
        "s",
        NO_SUCCESS,
        [query(f"time() - {SUCCEEDED}", "since the last success")],
    ),
    time_series(
        "Endpoints of the last good export",
        "Does the export grow or shrink? A sudden step is a changed segment, or lost endpoints.",
        "short",
        NO_SUCCESS,
        [
            query(newest_success(per_job("processed_endpoints")), "processed"),
            query(newest_success(per_job("failed_endpoints")), "lost"),
        ],
        step_line=True,
    ),
    time_series(
        "Share of endpoints lost",
        "What part of its endpoints could an export not write? From 5 % on an alert fires.",
        "percentunit",
        "No export has written an endpoint yet",
        [query(newest_success(FAILURE_SHARE), "last success"), query(of_running(FAILURE_SHARE), "running {{job_id}}")],
        steps=thresholds((0.05, RED)),
    ),
    time_series(
        "Duration of the last good export",
        "How long do exports take, and is it getting longer?",
        "s",
        NO_SUCCESS,
        [query(newest_success(DURATION), "duration")],
        step_line=True,
    ),
)

LAST_JOBS = row(
    "Jobs",
    job_table(
        "Its last jobs",
        "How did the last exports end, and how is one that runs? The newest first, in the states that Status chooses. "
        "The prefix leads to the files in S3.",
        {"job_id": "Job"},
        height=9,
    ),
    progress(LEGEND),
    time_left(LEGEND),
    throughput(LEGEND),
    time_series(
        "Jobs by state",
        "How many export jobs of this segment does the API list, in which states, and how many of them have no series "
        "of their own?",
        "none",
        NO_EXPORT,
        [
            query(f"sum by (status) ({jobs_by_status()}) > 0", "{{status}}"),
            query(f"sum({per_segment('pinpoint_segment_suppressed_export_jobs', TOO_OLD)})", "too old"),
            query(f"sum({per_segment('pinpoint_segment_suppressed_export_jobs', TOO_MANY)})", "too many"),
        ],
        step_line=True,
    ),
)

DASHBOARD = dashboard(
    UID,
    "Pinpoint segment",
    "The exports of one segment of Amazon Pinpoint: its history, how fresh it is, and what was lost.",
    variables(STATUS, one_segment=True),
    [FAILURES, RESTARTS],
    [NOW, HISTORY, LAST_JOBS],
    links_but(UID),
    since="now-7d",
)
