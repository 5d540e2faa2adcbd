"""Panels of export jobs that the dashboards of all segments and of one segment share."""

from panels import (
    ORANGE,
    RED,
    RUNBOOKS,
    STATE_COLUMN,
    STATE_MAPPINGS,
    column,
    event,
    link,
    query,
    table,
    thresholds,
    time_series,
    with_nothing,
)
from queries import (
    DRAWN,
    JOB,
    KNOWN,
    LISTED,
    LOSS,
    age,
    duration,
    lost_share,
    named_fully,
    own,
    per_job,
    per_segment,
    progress,
    short_job,
    state,
    watched,
)

# A link in a table keeps these variables of the dashboard. The others get the values of the row.
ROW = (
    "var-account=${__data.fields.aws_account_id}&var-region=${__data.fields.aws_region}"
    "&var-application=${__data.fields.application_id:percentencode}&var-segment=${__data.fields.segment_id:percentencode}"
    "&${datasource:queryparam}&${job:queryparam}&${instance:queryparam}&${__url_time_range}"
)
TO_SEGMENT = link("History of segment ${__data.fields.segment_id}", f"/d/pinpoint-segment?{ROW}")
TO_RUNBOOK = link("Open the runbook", f"{RUNBOOKS}/${{__data.fields.runbook}}.md", True)
TO_S3 = link(
    "Open the files in S3",
    "https://console.aws.amazon.com/s3/buckets/${__data.fields.bucket}?prefix=${__data.fields.prefix:percentencode}",
    True,
)

GAUGE = {"type": "gauge", "mode": "gradient", "valueDisplayMode": "text"}
COLOURED_TEXT = {"type": "color-text"}
LOST_SHARE = thresholds((0.0000001, ORANGE), (LOSS, RED))
LOST = thresholds((1, ORANGE))
# The rules' budget of PROCESSING. No other state of a job that makes progress has a longer one.
TOO_LONG = thresholds((21600, RED))
# A segment's name, or an id of 32 digits. An application's name, or the first digits of its id.
NAME_WIDTH, APPLICATION_WIDTH = 266, 205


def s3(expr):
    """Adds the labels `bucket` and `prefix`, for a link."""
    for label, group in (("bucket", "$1"), ("prefix", "$2")):
        expr = f'label_replace({expr}, "{label}", "{group}", "s3_url_prefix", "s3://([^/]+)/?(.*)")'
    return expr


def job_table(title, description, *, segment=True, height=12):
    """A table with a row for each job in the variable `listed`."""
    columns = {
        "Status": short_job(named_fully(state("pinpoint_export_job_status", JOB, LISTED))),
        "Progress": progress(LISTED),
        "Endpoints": per_job("processed_endpoints", LISTED),
        "Lost": per_job("failed_endpoints", LISTED),
        **({} if segment else {"Lost share": lost_share(LISTED), "Lost pieces": per_job("failed_pieces", LISTED)}),
        "Created": f"{per_job('created_timestamp_seconds', LISTED)} * 1000",
        "Duration": f"{duration(LISTED)} or {age(LISTED)}",
        "Is": s3(f"max by ({JOB}, s3_url_prefix) ({watched('pinpoint_export_job_info', LISTED)})"),
    }
    overrides = [
        column("Status", mappings=with_nothing(STATE_MAPPINGS, "No jobs match the filters"), **STATE_COLUMN),
        column(
            "Progress",
            unit="percentunit",
            min=0,
            max=1,
            color={"mode": "fixed", "fixedColor": "blue"},
            custom_cellOptions=GAUGE,
            custom_width=100,
        ),
        column("Endpoints", custom_width=95),
        column("Lost", thresholds=LOST, custom_cellOptions=COLOURED_TEXT, custom_width=70),
        *(
            []
            if segment
            else [
                column(
                    "Lost share",
                    unit="percentunit",
                    thresholds=LOST_SHARE,
                    custom_cellOptions=COLOURED_TEXT,
                    custom_width=110,
                ),
                column("Lost pieces", thresholds=LOST, custom_cellOptions=COLOURED_TEXT, custom_width=110),
            ]
        ),
        column("Created", unit="dateTimeAsIso", custom_width=165),
        column("Duration", unit="s", decimals=1, thresholds=TOO_LONG, custom_cellOptions=COLOURED_TEXT, custom_width=85),
        column("Job", custom_width=85),
        # The whole prefix is too long for a column; it is in the link.
        column(
            "Files",
            links=[TO_S3],
            mappings=[{"type": "regex", "options": {"pattern": "(.+)", "result": {"text": "in S3", "index": 0}}}],
            custom_width=70,
        ),
        *([column("Segment", links=[TO_SEGMENT], custom_width=NAME_WIDTH, custom_filterable=True)] if segment else []),
    ]
    return table(
        title,
        description,
        columns,
        sort=[("Created", True)],
        labels={**({"segment": "Segment"} if segment else {}), "job": "Job"},
        empty=f"count({KNOWN})",
        last={
            "s3_url_prefix": "Files",
            "bucket": "bucket",
            "prefix": "prefix",
            "application": "application",
            **({} if segment else {"segment": "segment"}),
        },
        overrides=overrides,
        hidden=("Is", "bucket", "prefix", "application", *(() if segment else ("segment",))),
        height=height,
    )


def progress_chart(label, legend, width=12):
    """The progress of the running exports. `label` adds the labels of the legend."""
    return time_series(
        "Progress of running exports",
        "Share of the pieces that each running export has completed. A flat line is an export that makes no progress. The panel"
        " shows the last 6 hours of the 20 longest-running jobs. If no export runs, it is empty.",
        "percentunit",
        [query(label(progress(DRAWN)), legend)],
        most=1,
        width=width,
        last_hours=6,
    )


def time_left(label, legend, width=12):
    """The estimated time until the running exports are done."""
    share = f"({progress(DRAWN)} > 0)"
    return time_series(
        "Time left",
        "Estimated time until each running export is done, from its progress so far. A rising line is an export that slows down"
        " or is stuck. There is no estimate before the first piece is done.",
        "s",
        [query(label(f"{age(DRAWN)} * (1 - {share}) / {share}"), legend)],
        width=width,
        logarithmic=True,
        last_hours=6,
    )


def throughput(label, legend, width=12):
    """The throughput of the running exports."""
    speed = f"max by ({JOB}) (deriv({watched('pinpoint_export_job_processed_endpoints', DRAWN)}[$__rate_interval]))"
    return time_series(
        "Throughput",
        "Endpoints per second that each running export writes. At 0, the export makes no progress.",
        "cps",
        [query(label(f"clamp_min({speed}, 0)"), legend)],
        width=width,
        last_hours=6,
    )


def failures(*matchers):
    """Annotations for failed exports."""
    return event(
        "Failed exports",
        RED,
        per_segment("pinpoint_segment_last_failed_export_timestamp_seconds", *matchers),
        "An export failed",
        "Segment {{segment_id}} of application {{application_id}}",
    )


RESTARTS = event("Exporter restarts", "blue", own("process_start_time_seconds"), "The exporter started", "{{instance}}")
