"""The dashboard of one segment: what happened to its exports?"""

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
# An ended job is drawn for four points and not for ever.
ENDED = f"{per_job('completed_timestamp_seconds')} < time() - $__interval_ms / 250"


def begun(expr):
    """The time at which the job was created, which is what a person knows a job by."""
    return with_begin(expr, DRAWN)


def one(query):
    """One number: what the query gives, else that there is no such job, or that the target cannot be read."""
    return (
        f"max({query}) or max({constant(NO_JOB, KNOWN)}) or max({constant(UNREADABLE, f'{UP} == 0')})"
    )


NOW = row(
    "Now",
    stat(
        "Newest export",
        "What is the state of the newest export?",
        "none",
        [now(one(state(LATEST, SEGMENT)))],
        mappings=STATE_MAPPINGS,
        width=6,
        steps=thresholds(),
    ),
    stat(
        "Last success",
        "When did the last successful export end?",
        "dateTimeFromNow",
        [now(one(f"{LAST_SUCCESS} * 1000"))],
        mappings=NO_SUCCESS,
        width=3,
    ),
    stat(
        "Last failure",
        "When did the last failed export end?",
        "dateTimeFromNow",
        [now(one(f"{LAST_FAILURE} * 1000"))],
        mappings=unknown("None has failed"),
        width=3,
    ),
    stat(
        "Endpoints",
        "How many endpoints are in the last good export? 0 is an empty export: the segment has no members, or its criteria"
        " are wrong.",
        "short",
        [now(one(newest_success("processed_endpoints")))],
        mappings=NO_SUCCESS,
        width=3,
        steps=thresholds((0, RED), (1, "blue")),
    ),
    stat(
        "Lost share",
        "What share of its endpoints did the last good export lose?",
        "percentunit",
        [now(one(newest_lost_share()))],
        mappings=NO_SUCCESS,
        width=3,
        steps=LOST_SHARE,
        decimals=2,
    ),
    stat(
        "Readable",
        "Can the exporter read this segment, or its application? If not, the other panels show old data, which vanish after"
        " MAX_STALENESS.",
        "none",
        [now(f"max(pinpoint_target_up{{{TARGET}}})")],
        width=3,
        mappings=[values({0: ("No", RED), 1: ("Yes", GREEN)})],
    ),
    stat(
        "Data age",
        "How old are the data shown here?",
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
        "How did the exports of this segment go? A failed export stays red until the next one starts. A long blue bar is an"
        " export that hangs.",
        [query(one(state(LATEST, SEGMENT)), "newest export")],
        height=4,
    ),
    state_timeline(
        "Export jobs",
        "When did each export run, and through which states did it go? Each job has a line, named by the time of its"
        " creation, which ends soon after the job. The first line shows when the exporter could read the segment.",
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
        "Time since the last good export",
        "How old is the newest export in S3? A saw-tooth is a regular export. A line that only rises is an export that"
        " stopped.",
        "s",
        [query(f"max({SINCE_SUCCESS})", "since the last success")],
    ),
    time_series(
        "Endpoints of the last good export",
        "Does the export grow or shrink? A sudden step means that the segment changed, or that endpoints were lost.",
        "short",
        [
            query(f"max({newest_success('processed_endpoints')})", "processed"),
            query(f"max({newest_success('failed_endpoints')})", "lost"),
        ],
        step_line=True,
    ),
    time_series(
        "Share of endpoints lost",
        "What share of its endpoints could each export not write? Above 5 % an alert fires.",
        "percentunit",
        [
            query(f"max({newest_lost_share()})", "last success"),
            query(begun(lost_share(DRAWN)), f"running {LEGEND}"),
        ],
        steps=thresholds((LOSS, RED)),
    ),
    time_series(
        "Duration of the last good export",
        "How long do exports take, and is it getting longer?",
        "s",
        [query(f"max({newest_duration()})", "duration")],
        step_line=True,
    ),
)

LAST_JOBS = row(
    "Jobs",
    job_table(
        "Its last jobs",
        "How did the last exports end, and how far are those that run? The newest is first. The table shows the states"
        " chosen under Status. Files links to the bucket.",
        segment=False,
        height=9,
    ),
    progress_chart(begun, LEGEND),
    time_left(begun, LEGEND),
    throughput(begun, LEGEND),
    time_series(
        "Jobs by state",
        "How many export jobs of this segment does the API list in each state? How many of them have no series of their own?",
        "none",
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
    "The exports of one Amazon Pinpoint segment: history, age of the newest export, and lost endpoints.",
    variables(STATUS, RECORDED, RUNNING_JOBS, LISTED_JOBS, one_segment=True),
    [failures(), RESTARTS],
    [NOW, HISTORY, LAST_JOBS],
    links_but(UID),
    since="now-7d",
)
