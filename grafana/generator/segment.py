"""The dashboard of one segment. It shows the history of its exports."""

from jobs import LOST_SHARE, RESTARTS, failures, job_table, progress_chart, throughput, time_left
from panels import (
    AGE_STEPS,
    GREEN,
    LISTED_JOBS,
    RECORDED,
    RED,
    RUNNING_JOBS,
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
    unknown,
    values,
    variables,
)
from queries import (
    DRAWN,
    JOB,
    KNOWN,
    LAST_FAILURE,
    LAST_SUCCESS,
    LATEST,
    LOSS,
    NO_JOB,
    READABLE,
    SEGMENT,
    SINCE_SUCCESS,
    TARGET,
    UNREADABLE,
    UP,
    constant,
    data_age,
    jobs_by_status,
    lost_share,
    newest_duration,
    newest_lost_share,
    newest_success,
    per_job,
    per_segment,
    state,
    with_begin,
)

UID = "pinpoint-segment"
LEGEND = "{{begun}} UTC"
NO_SUCCESS = unknown("No success yet")

TOO_OLD, TOO_MANY = 'reason="age"', 'reason="count"'
# The line of a job ends four points after the job.
ENDED = f"{per_job('completed_timestamp_seconds')} < time() - $__interval_ms / 250"


def begun(expr):
    """Adds the time at which the job was created. People recognise a job by it."""
    return with_begin(expr, DRAWN)


def one(query):
    """The query as one number, or a number for "no such job" or "the target cannot be read"."""
    return (
        f"max({query}) or max({constant(NO_JOB, KNOWN)}) or max({constant(UNREADABLE, f'{UP} == 0')})"
    )


NOW = row(
    "Current state",
    stat(
        "Newest export",
        "State of the newest export.",
        "none",
        [now(one(state(LATEST, SEGMENT)))],
        mappings=STATE_MAPPINGS,
        width=6,
        steps=thresholds(),
    ),
    stat(
        "Last success",
        "End of the last successful export.",
        "dateTimeFromNow",
        [now(one(f"{LAST_SUCCESS} * 1000"))],
        mappings=NO_SUCCESS,
        width=3,
    ),
    stat(
        "Last failure",
        "End of the last failed export. If it is newer than the last success, follow the runbook of the alert"
        " PinpointExportFailed.",
        "dateTimeFromNow",
        [now(one(f"{LAST_FAILURE} * 1000"))],
        mappings=unknown("No failure yet"),
        width=3,
    ),
    stat(
        "Endpoints",
        "Endpoints in the last successful export. If this is red, the export is empty: the segment has no members, or its"
        " criteria are wrong.",
        "short",
        [now(one(newest_success("processed_endpoints")))],
        mappings=NO_SUCCESS,
        width=3,
        steps=thresholds((0, RED), (1, "blue")),
    ),
    stat(
        "Lost share",
        "Share of the endpoints that the last successful export lost. If this is red, follow the runbook of the alert"
        " PinpointExportFailureRatioHigh.",
        "percentunit",
        [now(one(newest_lost_share()))],
        mappings=NO_SUCCESS,
        width=3,
        steps=LOST_SHARE,
        decimals=2,
    ),
    stat(
        "Readable",
        "Whether the exporter can read this segment or its application. If this is red, the data is old and disappears at"
        " MAX_STALENESS: open the dashboard *Exporter*.",
        "none",
        [now(f"max(pinpoint_target_up{{{TARGET}}})")],
        width=3,
        mappings=[values({0: ("No", RED), 1: ("Yes", GREEN)})],
    ),
    stat(
        "Data age",
        "Age of the data on this dashboard. If this is orange or red, open the dashboard *Exporter*.",
        "s",
        [now(f"min({data_age(TARGET)})")],
        width=3,
        steps=AGE_STEPS,
    ),
)

HISTORY = row(
    "History",
    state_timeline(
        "State of the newest export",
        "State of the newest export of this segment. A failed export stays red until the next export starts. A long blue bar can be"
        " a stuck export.",
        [query(one(state(LATEST, SEGMENT)), "newest export")],
        height=4,
    ),
    state_timeline(
        "Export job timeline",
        "States of each export job. Each job has a line, which begins with its creation time and ends soon after the job. The"
        " first line shows when the exporter could read the segment.",
        [
            query(
                f"max({constant(UNREADABLE, f'{UP} == 0')}) or max({constant(READABLE, f'{UP} == 1')})", "segment"
            ),
            query(
                with_begin(f"{state('pinpoint_export_job_status', JOB)} unless on ({JOB}) ({ENDED})"),
                LEGEND,
            ),
        ],
        height=12,
    ),
    time_series(
        "Time since the last successful export",
        "Age of the newest complete export in S3. If exports are regular, the line is a sawtooth. If the line only rises, the"
        " exports have stopped.",
        "s",
        [query(f"max({SINCE_SUCCESS})", "since the last success")],
    ),
    time_series(
        "Endpoints of the last successful export",
        "Endpoints that the last successful export processed and lost. After a sudden step, check whether the segment has"
        " changed.",
        "short",
        [
            query(f"max({newest_success('processed_endpoints')})", "processed"),
            query(f"max({newest_success('failed_endpoints')})", "lost"),
        ],
        step_line=True,
    ),
    time_series(
        "Share of endpoints lost",
        "Share of the endpoints that the last successful export and each running export could not write. Above 5 %, the alert"
        " PinpointExportFailureRatioHigh fires: follow its runbook.",
        "percentunit",
        [
            query(f"max({newest_lost_share()})", "last success"),
            query(begun(lost_share(DRAWN)), f"running {LEGEND}"),
        ],
        steps=thresholds((LOSS, RED)),
    ),
    time_series(
        "Duration of the last successful export",
        "Duration of the last successful export. If the line rises, exports take longer.",
        "s",
        [query(f"max({newest_duration()})", "duration")],
        step_line=True,
    ),
)

LAST_JOBS = row(
    "Jobs",
    job_table(
        "Export jobs",
        "Export jobs of this segment in the states that you choose under *Status*, the newest first. *Files* links to the S3"
        " bucket.",
        segment=False,
        height=9,
    ),
    progress_chart(begun, LEGEND),
    time_left(begun, LEGEND),
    throughput(begun, LEGEND),
    time_series(
        "Jobs by state",
        "Export jobs of this segment that the API lists, by state. Jobs *without series* exceed FINISHED_JOB_MAX_AGE (too old) or"
        " FINISHED_JOBS_PER_SEGMENT (too many).",
        "none",
        [
            query(f"sum by (status) ({jobs_by_status()}) > 0", "{{status}}"),
            query(f"sum({per_segment('pinpoint_segment_suppressed_export_jobs', TOO_OLD)})", "without series: too old"),
            query(f"sum({per_segment('pinpoint_segment_suppressed_export_jobs', TOO_MANY)})", "without series: too many"),
        ],
        step_line=True,
    ),
)

DASHBOARD = dashboard(
    UID,
    "Pinpoint segment",
    "Exports of one Amazon Pinpoint segment: history, age of the newest export, and lost endpoints.",
    variables(STATUS, RECORDED, RUNNING_JOBS, LISTED_JOBS, one_segment=True),
    [failures(), RESTARTS],
    [NOW, HISTORY, LAST_JOBS],
    links_but(UID),
    since="now-7d",
)
