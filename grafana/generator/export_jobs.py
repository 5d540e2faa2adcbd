"""The dashboard of all segments. It shows which exports need attention."""

from jobs import (
    APPLICATION_WIDTH,
    COLOURED_TEXT,
    NAME_WIDTH,
    RESTARTS,
    TO_RUNBOOK,
    TO_SEGMENT,
    TOO_LONG,
    failures,
    job_table,
    progress_chart,
    throughput,
    time_left,
)
from panels import (
    AGE_STEPS,
    ALARM,
    GONE_SEGMENTS,
    GREEN,
    GREY,
    KEPT,
    LISTED_JOBS,
    ORANGE,
    RECORDED,
    RED,
    RUNNING_JOBS,
    SHOWN_SEGMENTS,
    STATUS,
    WARNING,
    WHY,
    column,
    dashboard,
    link,
    links_but,
    now,
    query,
    row,
    stat,
    state_timeline,
    table,
    thresholds,
    time_series,
    unknown,
    values,
    variables,
    with_nothing,
)
from queries import (
    DRAWN,
    EMPTY,
    EXPECTED,
    FAILED,
    INTERVAL,
    KNOWN,
    LATEST,
    LOSS,
    LOST,
    NEVER,
    NEWEST_DURATION,
    NEWEST_ENDPOINTS,
    NO_JOB,
    OVERDUE,
    RUNNING,
    RUNS,
    SEGMENT,
    SHOWN,
    SINCE_SUCCESS,
    STUCK,
    TARGET,
    UNREADABLE,
    UP,
    URGENT,
    constant,
    counted,
    data_age,
    detailed,
    jobs_by_status,
    known,
    lost_share,
    marked,
    named,
    named_fully,
    named_of_running,
    newest_duration,
    newest_lost_share,
    only,
    per_segment,
    short_job,
    state,
    urgency,
)

UID = "pinpoint-export-jobs"
UNKNOWN = unknown()
CHARTED = "for the 20 most urgent segments"


def to_table(why):
    """A link to this dashboard, with only the segments of one reason in the table."""
    return [
        link(
            f"Show the segments: {why}",
            f"/d/{UID}?var-why={why.replace(' ', '%20')}&{KEPT}&${{application:queryparam}}&${{segment:queryparam}}"
            "&${__url_time_range}",
        )
    ]


def attention(title, description, counts, *, steps=ALARM, mappings=UNKNOWN, links=None):
    """The number of segments that need attention for one reason."""
    return stat(
        title,
        description,
        "none",
        [now(counts)],
        steps=steps,
        mappings=mappings,
        links=links or to_table(title),
    )


OVERVIEW = row(
    "Segments that need attention",
    attention(
        "Targets down",
        "Targets that no exporter can read. Their data is old and disappears at MAX_STALENESS. If this is red, click the number:"
        " the dashboard *Exporter* shows the reasons.",
        counted(f"{UP} == 0", UP),
        links=[link("Show the reasons", f"/d/pinpoint-exporter?{KEPT}&${{__url_time_range}}")],
    ),
    attention(
        "Failed",
        "Segments with a failed export in the past 3 days and no successful export since. A newer export that is still running"
        " does not change this. If this is red, click the number and follow the runbook. The alert is PinpointExportFailed.",
        counted(FAILED),
    ),
    attention(
        "Stuck",
        "Segments with an export that has been running for longer than the budget of its state. If this is orange, click the"
        " number and follow the runbook. The alert is PinpointExportStuck.",
        counted(f"count by ({SEGMENT}) ({STUCK})"),
        steps=WARNING,
    ),
    attention(
        "Overdue",
        "Segments whose last success is older than the interval that you expect, or that have an expected interval and no"
        " success. If this is red, click the number and follow the runbook. You set the intervals in a rules file:"
        " deploy/prometheus/expected-intervals.example.yaml.",
        f"count({OVERDUE}) or {constant(0, f'count({EXPECTED})')} or {constant(NO_JOB, f'count({UP})')}",
        mappings=[values({NO_JOB: ("No interval set", GREY)})],
    ),
    attention(
        "Lost endpoints",
        "Segments that have lost endpoints: the last success in the past 3 days lost endpoints or pieces, or a running export"
        " has lost more than 5 %. Lost endpoints are missing in S3, even if the job is COMPLETED. If this is orange, click the"
        " number and follow the runbook.",
        counted(f"count by ({SEGMENT}) ({LOST})"),
        steps=WARNING,
    ),
    attention(
        "Empty",
        "Segments whose last success in the past 3 days exported no endpoints. If this is orange, click the number and follow"
        " the runbook.",
        counted(f"count by ({SEGMENT}) ({EMPTY})"),
        steps=WARNING,
    ),
    stat(
        "Watched segments",
        "Segments whose export jobs the exporters read. The exports of all endpoints of an application count as one segment.",
        "none",
        [now(f"count({KNOWN})")],
        height=3,
        width=6,
    ),
    stat(
        "Running exports",
        "Export jobs that are running. Click the number to show their segments.",
        "none",
        [now(f"sum({jobs_by_status(RUNNING)}) or {constant(0, f'count({KNOWN})')} or {constant(UNREADABLE, f'count({UP})')}")],
        mappings=UNKNOWN,
        links=to_table("Running"),
        height=3,
        width=6,
    ),
    stat(
        "Never exported",
        "Segments without any export job. A segment with an expected interval counts as overdue instead. If this is orange,"
        " click the number and follow the runbook.",
        "none",
        [now(counted(NEVER))],
        steps=WARNING,
        mappings=UNKNOWN,
        links=to_table("Never exported"),
        height=3,
        width=6,
    ),
    stat(
        "Oldest data",
        "Age of the oldest data on this dashboard. If this is orange or red, the other panels can be wrong: open the dashboard"
        " *Exporter*.",
        "s",
        [now(f"max({data_age(TARGET)})")],
        steps=AGE_STEPS,
        height=3,
        width=6,
    ),
)

COLOURS = {
    "Not readable": "dark-red",
    "Failed": RED,
    "Failing": "semi-dark-orange",
    "Stuck": ORANGE,
    "Overdue": "light-red",
    "Lost endpoints": "dark-yellow",
    "Empty": "yellow",
    "Never exported": "#5a5f66",
    "Running": "blue",
    "No result": "#8e8e8e",
    "OK": GREEN,
}

SEGMENTS = row(
    "Segments",
    table(
        "Segments by urgency",
        "All segments, the most urgent first. *Reason* links to the runbook, and *Segment* to the history of the segment. *State*"
        " is the state of the newest export, or the error if the segment cannot be read. *Interval* is the share of the expected"
        " interval that has passed since the last success.",
        {
            "Reason": only(named_fully(detailed(urgency())), "why", "$why"),
            "Last success": f"{per_segment('pinpoint_segment_last_completed_export_timestamp_seconds')} * 1000",
            "Interval": f"{SINCE_SUCCESS} / {INTERVAL}",
            "Duration": f"max by ({SEGMENT}) ({RUNS}) or {NEWEST_DURATION}",
            "Endpoints": NEWEST_ENDPOINTS,
        },
        labels={"segment": "Segment", "Value #A": "Reason", "detail": "State"},
        last={"application": "Application", "why": "why", "runbook": "runbook"},
        hidden=("why", "runbook"),
        sort=[("Reason", False)],
        empty=f"count({UP})",
        needs="Reason",
        height=12,
        overrides=[
            column("Segment", links=[TO_SEGMENT], custom_width=NAME_WIDTH, custom_filterable=True),
            column(
                "Reason",
                mappings=with_nothing(
                    [values({number: (why, COLOURS[why]) for number, why in enumerate(URGENT, 1)})],
                    "No segments",
                ),
                links=[TO_RUNBOOK],
                custom_cellOptions={"type": "color-background", "mode": "basic"},
                custom_align="left",
                custom_width=120,
            ),
            column("State", custom_width=235, custom_filterable=True),
            column("Last success", unit="dateTimeFromNow", custom_width=134),
            column(
                "Interval",
                unit="percentunit",
                decimals=0,
                thresholds=thresholds((0.9, ORANGE), (1, RED)),
                custom_cellOptions=COLOURED_TEXT,
                custom_width=84,
            ),
            column(
                "Duration", unit="s", decimals=1, thresholds=TOO_LONG, custom_cellOptions=COLOURED_TEXT, custom_width=84
            ),
            column(
                "Endpoints",
                thresholds=thresholds((0, RED), (1, "text")),
                custom_cellOptions=COLOURED_TEXT,
                custom_width=92,
            ),
            column("Application", custom_width=APPLICATION_WIDTH, custom_filterable=True),
        ],
    ),
    state_timeline(
        "Newest export of each segment",
        f"State of the newest export of each segment, {CHARTED}. A long blue bar can be a stuck export.",
        [query(named(known(state(LATEST, SEGMENT, SHOWN), SHOWN), SHOWN), "{{segment}}")],
        height=14,
    ),
)


def job_label(expr):
    """The segment's name and the first digits of the job's id."""
    return short_job(named_of_running(expr))


LEGEND = "{{segment}} {{job}}"

JOBS = row(
    "Jobs",
    job_table(
        "Export jobs",
        "The newest 100 export jobs in the states that you choose under *Status*. *Files* links to the S3 bucket. Jobs that"
        " exceed FINISHED_JOB_MAX_AGE or FINISHED_JOBS_PER_SEGMENT are not shown.",
    ),
    progress_chart(job_label, LEGEND),
    time_left(job_label, LEGEND),
    throughput(job_label, LEGEND),
    time_series(
        "Running exports by state",
        "Running exports in each state, over the last 6 hours. In PENDING_JOB, a job waits for another job of its application.",
        "none",
        [
            query(
                f"sum by (status) ({jobs_by_status(RUNNING)}) or on () {marked(constant(0, f'count({KNOWN})'), status='none')}",
                "{{status}}",
            )
        ],
        stacked=True,
        step_line=True,
        last_hours=6,
        interval="5m",
    ),
)

FAILED_AND_SLOW = row(
    "Failures and durations",
    time_series(
        "Share of endpoints lost",
        "Share of the endpoints that an export could not write. The lines are the 20 longest-running jobs, and the last success"
        " of the 20 most urgent segments. Above 5 %, the alert PinpointExportFailureRatioHigh fires: follow its runbook.",
        "percentunit",
        [
            query(job_label(lost_share(DRAWN)), "{{segment}} running {{job}}"),
            query(named(newest_lost_share(SHOWN), SHOWN), "{{segment}} last success"),
        ],
        steps=thresholds((LOSS, RED)),
        interval="15m",
    ),
    time_series(
        "Failed jobs by segment",
        f"Failed jobs that the API lists, {CHARTED}. Each step up is a new failure.",
        "none",
        [query(named(per_segment("pinpoint_segment_export_jobs", 'status="FAILED"', SHOWN), SHOWN), "{{segment}}")],
        step_line=True,
    ),
    time_series(
        "Duration of the last successful export",
        f"Duration of the last successful export, {CHARTED}. If a line rises, exports take longer.",
        "s",
        [query(named(newest_duration(SHOWN), SHOWN), "{{segment}}")],
        step_line=True,
        interval="15m",
    ),
    time_series(
        "Time since the last successful export",
        f"Age of the newest complete export in S3, {CHARTED}. If exports are regular, the line is a sawtooth. If a line only"
        " rises, the exports have stopped.",
        "s",
        [
            query(
                named(
                    f"time() - {per_segment('pinpoint_segment_last_completed_export_timestamp_seconds', SHOWN)}", SHOWN
                ),
                "{{segment}}",
            )
        ],
    ),
)

DASHBOARD = dashboard(
    UID,
    "Pinpoint export jobs",
    "Export jobs of Amazon Pinpoint segments: failed, stuck, overdue and running exports, and lost endpoints.",
    variables(STATUS, WHY, RECORDED, SHOWN_SEGMENTS, GONE_SEGMENTS, RUNNING_JOBS, LISTED_JOBS),
    [failures(SHOWN), RESTARTS],
    [OVERVIEW, SEGMENTS, JOBS, FAILED_AND_SLOW],
    links_but(UID),
)
