"""The dashboard of all segments: does any export need me?"""

from jobs import (
    COLOURED_TEXT,
    FAILURES,
    LOST_SHARE,
    RESTARTS,
    TO_SEGMENT,
    job_table,
    progress,
    throughput,
    time_left,
)
from panels import (
    AGE_STEPS,
    ORANGE,
    RED,
    STATE_COLUMN,
    STATUS,
    column,
    dashboard,
    links_but,
    now,
    query,
    row,
    stat,
    state_timeline,
    table,
    thresholds,
    time_series,
    variables,
)
from queries import (
    DURATION,
    FAILURE_SHARE,
    JOB,
    RUNNING,
    SEGMENT,
    jobs_by_status,
    jobs_in,
    named,
    newest_success,
    or_zero,
    per_job,
    per_segment,
    state,
    watched,
)

UID = "pinpoint-export-jobs"
NO_SEGMENT = "No segment with these filters; see the dashboard Exporter"
LEGEND = "{{segment}} {{job_id}}"
ALARM = thresholds((1, RED))
WARN = thresholds((1, ORANGE))
NEW = "time() - $__range_s"

PLACE = {"application_id": "Application", "aws_region": "Region", "aws_account_id": "Account"}
LATEST = "pinpoint_segment_latest_export_job_status"
ENDED = f"{per_job('completed_timestamp_seconds')} > {NEW}"

OVERVIEW = row(
    "Overview",
    stat(
        "Segments",
        "How many segments are watched?",
        "none",
        NO_SEGMENT,
        [now(f"count(count by ({SEGMENT}) ({watched('pinpoint_segment_export_jobs')}))")],
    ),
    stat(
        "Running",
        "How many exports are under way?",
        "none",
        NO_SEGMENT,
        [now(or_zero(f"sum({jobs_by_status(RUNNING)})"))],
    ),
    stat(
        "Failed",
        "In how many segments did the newest export fail, or is it failing? These need you: nothing repeats them by"
        " itself.",
        "none",
        NO_SEGMENT,
        [now(or_zero(f"""count({per_segment(LATEST, 'status=~"FAILING|FAILED"')} == 1)"""))],
        steps=ALARM,
    ),
    stat(
        "Never exported",
        "How many segments have no export job at all?",
        "none",
        NO_SEGMENT,
        [now(or_zero(f"count(sum by ({SEGMENT}) ({jobs_by_status()}) == 0)"))],
        steps=WARN,
    ),
    stat(
        "Lost endpoints",
        "How many endpoints could the exports that ended in the time shown not write? They are missing in S3, even"
        " where the job is COMPLETED. Only jobs with series of their own count.",
        "short",
        NO_SEGMENT,
        [now(or_zero(f"sum({per_job('failed_endpoints')} and on ({JOB}) ({ENDED}))"))],
        steps=WARN,
    ),
    stat(
        "Oldest data",
        "How old is the oldest of what this dashboard shows? Above a few minutes do not trust the rest.",
        "s",
        "No data with these filters; see the dashboard Exporter",
        [now(f"max(time() - {per_segment('pinpoint_target_last_success_timestamp_seconds')})")],
        steps=AGE_STEPS,
    ),
)

SEGMENTS = row(
    "Segments",
    state_timeline(
        "Newest export of each segment",
        "What has become of each segment's newest export? One line for each segment; red is a failure that no newer"
        " export has mended, a long blue one an export that hangs.",
        NO_SEGMENT,
        [query(named(state(LATEST, SEGMENT)), "{{segment}}")],
    ),
    table(
        "State of each segment",
        "Which segment needs me? The state of its newest export, when it last succeeded and failed, and what the last"
        " good export lost. A segment's id leads to its history.",
        NO_SEGMENT,
        {
            "Newest export": state(LATEST, SEGMENT),
            "Begun": f"{per_segment('pinpoint_segment_latest_export_job_created_timestamp_seconds')} * 1000",
            "Last success": f"{per_segment('pinpoint_segment_last_completed_export_timestamp_seconds')} * 1000",
            "Last failure": f"{per_segment('pinpoint_segment_last_failed_export_timestamp_seconds')} * 1000",
            "Running": f"sum by ({SEGMENT}) ({jobs_by_status(RUNNING)})",
            "Jobs": f"sum by ({SEGMENT}) ({jobs_by_status()})",
            "Lost share": newest_success(FAILURE_SHARE),
            "Took": newest_success(DURATION),
        },
        labels={"segment": "Segment"},
        last=PLACE,
        sort=[("Newest export", True)],
        height=9,
        overrides=[
            column("Newest export", **STATE_COLUMN),
            *(
                column(name, unit="dateTimeFromNow", custom_width=150)
                for name in ("Begun", "Last success", "Last failure")
            ),
            column("Running", custom_width=90),
            column("Jobs", custom_width=80),
            column(
                "Lost share",
                unit="percentunit",
                thresholds=LOST_SHARE,
                custom_cellOptions=COLOURED_TEXT,
                custom_width=115,
            ),
            column("Took", unit="s", decimals=1, custom_width=110),
            column("Segment", links=[TO_SEGMENT]),
        ],
    ),
)

JOBS = row(
    "Jobs",
    job_table(
        "Export jobs",
        "How is each export doing, or how did it end? The newest first, in the states that Status chooses. The prefix"
        " leads to the files in S3. Old jobs have no series, and no row: FINISHED_JOB_MAX_AGE and"
        " FINISHED_JOBS_PER_SEGMENT.",
        {"segment": "Segment", "job_id": "Job"},
        PLACE,
    ),
    progress(LEGEND),
    time_left(LEGEND),
    throughput(LEGEND),
    time_series(
        "Running exports by state",
        "What are the running exports waiting for? In PENDING_JOB a job waits for another one of its application.",
        "none",
        "No export runs",
        [query(f"sum by (status) ({jobs_by_status(RUNNING)}) > 0", "{{status}}")],
        stacked=True,
        step_line=True,
    ),
)

FAILED = row(
    "Failures and durations",
    time_series(
        "Share of endpoints lost",
        "What part of its endpoints could an export not write? The exports that run, and of each segment the newest"
        " that succeeded. From 5 % on an alert fires.",
        "percentunit",
        "No endpoint was lost",
        [
            query(named(f"({FAILURE_SHARE} > 0) and on ({JOB}) {jobs_in(RUNNING)}"), "{{segment}} running"),
            query(named(f"{newest_success(FAILURE_SHARE)} > 0"), "{{segment}} last success"),
        ],
        steps=thresholds((0.05, RED)),
    ),
    time_series(
        "Failed jobs kept",
        "How many of the jobs that the API still lists failed? A step up is a new failure.",
        "none",
        "No job has failed",
        [query(named(f"""{per_segment("pinpoint_segment_export_jobs", 'status="FAILED"')} > 0"""), "{{segment}}")],
        step_line=True,
    ),
    time_series(
        "Duration of the last good export",
        "How long do exports take, and is it getting longer?",
        "s",
        "No export has succeeded yet",
        [query(named(newest_success(DURATION)), "{{segment}}")],
        step_line=True,
    ),
    time_series(
        "Time since the last good export",
        "How old is what lies in S3? A saw-tooth is a regular export; a line that only climbs is one "
        "that no longer comes.",
        "s",
        "No export has succeeded yet",
        [
            query(
                named(f"time() - {per_segment('pinpoint_segment_last_completed_export_timestamp_seconds')}"),
                "{{segment}}",
            )
        ],
    ),
)

DASHBOARD = dashboard(
    UID,
    "Pinpoint export jobs",
    "The export jobs of Amazon Pinpoint's segments: which failed, hang, lost endpoints or never ran.",
    variables(STATUS),
    [FAILURES, RESTARTS],
    [OVERVIEW, SEGMENTS, JOBS, FAILED],
    links_but(UID),
)
