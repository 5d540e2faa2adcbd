"""The dashboard of all segments: does any export need me?"""

from jobs import (
    APPLICATION_WIDTH,
    COLOURED_TEXT,
    NAME_WIDTH,
    RESTARTS,
    TO_RUNBOOK,
    TO_SEGMENT,
    TOOK,
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
CHARTED = "For the 20 most urgent segments."


def to_table(why):
    """A link to this dashboard, its table filtered."""
    return [
        link(
            f"The segments: {why}",
            f"/d/{UID}?var-why={why.replace(' ', '%20')}&{KEPT}&${{application:queryparam}}&${{segment:queryparam}}"
            "&${__url_time_range}",
        )
    ]


def attention(title, description, counts, *, steps=ALARM, mappings=UNKNOWN, links=None):
    """How many segments need attention for one reason."""
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
    "Needs attention",
    attention(
        "Not readable",
        "How many targets can no exporter read? Their data are old and vanish soon. The number links to the dashboard"
        " *Exporter*, which names the reasons.",
        counted(f"{UP} == 0", UP),
        links=[link("Why they cannot be read", f"/d/pinpoint-exporter?{KEPT}&${{__url_time_range}}")],
    ),
    attention(
        "Failed",
        "In how many segments did an export fail with no success since? The alert PinpointExportFailed counts the same. A"
        " newer export that still runs does not end it. It ends with a success, or after 3 days.",
        counted(FAILED),
    ),
    attention(
        "Stuck",
        "In how many segments has an export been running for longer than the budget of its state? The alert"
        " PinpointExportStuck counts the same.",
        counted(f"count by ({SEGMENT}) ({STUCK})"),
        steps=WARNING,
    ),
    attention(
        "Overdue",
        "In how many segments is the last success older than the interval that you expect? You set the intervals in"
        " a rules file: deploy/prometheus/expected-intervals.example.yaml.",
        f"count({OVERDUE}) or {constant(0, f'count({EXPECTED})')} or {constant(NO_JOB, f'count({UP})')}",
        mappings=[values({NO_JOB: ("No intervals", GREY)})],
    ),
    attention(
        "Lost endpoints",
        "How many segments have lost endpoints? Their last success of the past 3 days lost endpoints or pieces, or a running"
        " export loses more than 5 %. Lost endpoints are missing in S3, even if the job is COMPLETED.",
        counted(f"count by ({SEGMENT}) ({LOST})"),
        steps=WARNING,
    ),
    attention(
        "Empty",
        "In how many segments did the last success export no endpoint at all?",
        counted(f"count by ({SEGMENT}) ({EMPTY})"),
        steps=WARNING,
    ),
    stat(
        "Segments",
        "How many segments are watched?",
        "none",
        [now(f"count({KNOWN})")],
        height=3,
        width=6,
    ),
    stat(
        "Running",
        "How many exports are running?",
        "none",
        [now(f"sum({jobs_by_status(RUNNING)}) or {constant(0, f'count({KNOWN})')} or {constant(UNREADABLE, f'count({UP})')}")],
        mappings=UNKNOWN,
        links=to_table("Running"),
        height=3,
        width=6,
    ),
    stat(
        "Never exported",
        "How many segments have no export job at all? A segment with an expected interval counts as overdue instead.",
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
        "How old are the oldest data on this dashboard? If they are older than a few minutes, do not trust the rest.",
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
    "Well": GREEN,
}

SEGMENTS = row(
    "Segments",
    table(
        "Segments by urgency",
        "Which segment needs attention, and why? The most urgent segment is first. The reason links to its runbook, and the"
        " segment to its history. State is the state of the newest export, or the error if the segment cannot be read."
        " Interval is the share of the expected interval that has passed since the last success.",
        {
            "Why": only(named_fully(detailed(urgency())), "why", "$why"),
            "Last success": f"{per_segment('pinpoint_segment_last_completed_export_timestamp_seconds')} * 1000",
            "Interval": f"{SINCE_SUCCESS} / {INTERVAL}",
            "Took": f"max by ({SEGMENT}) ({RUNS}) or {NEWEST_DURATION}",
            "Endpoints": NEWEST_ENDPOINTS,
        },
        labels={"segment": "Segment", "Value #A": "Why", "detail": "State"},
        last={"application": "Application", "why": "why", "runbook": "runbook"},
        hidden=("why", "runbook"),
        sort=[("Why", False)],
        empty=f"count({UP})",
        needs="Why",
        height=12,
        overrides=[
            column("Segment", links=[TO_SEGMENT], custom_width=NAME_WIDTH, custom_filterable=True),
            column(
                "Why",
                mappings=with_nothing(
                    [values({number: (why, COLOURS[why]) for number, why in enumerate(URGENT, 1)})],
                    "No segment",
                ),
                links=[TO_RUNBOOK],
                custom_cellOptions={"type": "color-background", "mode": "basic"},
                custom_align="left",
                custom_width=120,
            ),
            column("State", custom_width=235, custom_filterable=True),
            column("Last success", unit="dateTimeFromNow", custom_width=134),
            # How much of the expected interval has passed since the last success.
            column(
                "Interval",
                unit="percentunit",
                decimals=0,
                thresholds=thresholds((0.9, ORANGE), (1, RED)),
                custom_cellOptions=COLOURED_TEXT,
                custom_width=84,
            ),
            column(
                "Took", unit="s", decimals=1, thresholds=TOOK, custom_cellOptions=COLOURED_TEXT, custom_width=80
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
        f"What is the state of each segment's newest export? {CHARTED} A long blue bar is an export that hangs.",
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
        "How far is each export, or how did it end? The table shows the newest 100 in the states chosen under Status. Files"
        " links to the bucket. Old jobs have no series and no row: see FINISHED_JOB_MAX_AGE and FINISHED_JOBS_PER_SEGMENT.",
    ),
    progress_chart(job_label, LEGEND),
    time_left(job_label, LEGEND),
    throughput(job_label, LEGEND),
    time_series(
        "Running exports by state",
        "What are the running exports waiting for? In PENDING_JOB a job waits for another one of its application. The panel"
        " shows the last 6 hours.",
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
        f"What share of its endpoints could each export not write? {CHARTED} The panel shows their last success and the"
        " running jobs. Above 5 % an alert fires.",
        "percentunit",
        [
            query(job_label(lost_share(DRAWN)), "{{segment}} running {{job}}"),
            query(named(newest_lost_share(SHOWN), SHOWN), "{{segment}} last success"),
        ],
        steps=thresholds((LOSS, RED)),
        interval="15m",
    ),
    time_series(
        "Failed jobs kept",
        f"How many of the jobs that the API still lists failed? {CHARTED} Each step up is a new failure.",
        "none",
        [query(named(per_segment("pinpoint_segment_export_jobs", 'status="FAILED"', SHOWN), SHOWN), "{{segment}}")],
        step_line=True,
    ),
    time_series(
        "Duration of the last good export",
        f"How long do exports take, and is it getting longer? {CHARTED}",
        "s",
        [query(named(newest_duration(SHOWN), SHOWN), "{{segment}}")],
        step_line=True,
        interval="15m",
    ),
    time_series(
        "Time since the last good export",
        f"How old is the newest export in S3? {CHARTED} A saw-tooth is a regular export. A line that only rises is an export that"
        " stopped.",
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
    "The export jobs of Amazon Pinpoint segments: which failed, hang, lost endpoints or never ran.",
    variables(STATUS, WHY, RECORDED, SHOWN_SEGMENTS, GONE_SEGMENTS, RUNNING_JOBS, LISTED_JOBS),
    [failures(SHOWN), RESTARTS],
    [OVERVIEW, SEGMENTS, JOBS, FAILED_AND_SLOW],
    links_but(UID),
)
