"""What the dashboards of all segments and of one show alike: jobs, and what happened to them."""

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

# What a link of a row keeps of the dashboard; the rest is the row's own.
ROW = (
    "var-account=${__data.fields.aws_account_id}&var-region=${__data.fields.aws_region}"
    "&var-application=${__data.fields.application_id:percentencode}&var-segment=${__data.fields.segment_id:percentencode}"
    "&${datasource:queryparam}&${job:queryparam}&${instance:queryparam}&${__url_time_range}"
)
TO_SEGMENT = link("History of segment ${__data.fields.segment_id}", f"/d/pinpoint-segment?{ROW}")
TO_RUNBOOK = link("What to do", f"{RUNBOOKS}/${{__data.fields.runbook}}.md", True)
TO_S3 = link(
    "The files in S3",
    "https://console.aws.amazon.com/s3/buckets/${__data.fields.bucket}?prefix=${__data.fields.prefix:percentencode}",
    True,
)

GAUGE = {"type": "gauge", "mode": "gradient", "valueDisplayMode": "text"}
COLOURED_TEXT = {"type": "color-text"}
LOST_SHARE = thresholds((0.0000001, ORANGE), (LOSS, RED))
LOST = thresholds((1, ORANGE))
# The rules' budget of PROCESSING, the longest of a job that works.
TOOK = thresholds((21600, RED))
# An id of 32 digits, or a name; and an application by its name, or the first digits of its id.
NAME_WIDTH, APPLICATION_WIDTH = 270, 205


def s3(expr):
    """With bucket and prefix as labels of their own, for a link."""
    for label, group in (("bucket", "$1"), ("prefix", "$2")):
        expr = f'label_replace({expr}, "{label}", "{group}", "s3_url_prefix", "s3://([^/]+)/?(.*)")'
    return expr


def job_table(title, description, *, segment=True, height=12):
    """A row for each of the jobs that the variable `listed` has."""
    columns = {
        "Status": short_job(named_fully(state("pinpoint_export_job_status", JOB, LISTED))),
        "Progress": progress(LISTED),
        "Endpoints": per_job("processed_endpoints", LISTED),
        "Lost": per_job("failed_endpoints", LISTED),
        **({} if segment else {"Lost share": lost_share(LISTED), "Lost pieces": per_job("failed_pieces", LISTED)}),
        "Created": f"{per_job('created_timestamp_seconds', LISTED)} * 1000",
        "Took": f"{duration(LISTED)} or {age(LISTED)}",
        "Is": s3(f"max by ({JOB}, s3_url_prefix) ({watched('pinpoint_export_job_info', LISTED)})"),
    }
    overrides = [
        column("Status", mappings=with_nothing(STATE_MAPPINGS, "No job with these filters"), **STATE_COLUMN),
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
        column("Took", unit="s", decimals=1, thresholds=TOOK, custom_cellOptions=COLOURED_TEXT, custom_width=85),
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
    """How far the running exports are. `label` gives each its legend's labels."""
    return time_series(
        "Progress of running exports",
        "How far is each running export? The lines show the share of its pieces that is done. A level line is an export that"
        " makes no progress."
        " The panel shows the last 6 hours of the 20 longest-running jobs, and is empty when none runs.",
        "percentunit",
        [query(label(progress(DRAWN)), legend)],
        most=1,
        width=width,
        last_hours=6,
    )


def time_left(label, legend, width=12):
    """When the running exports should be done."""
    share = f"({progress(DRAWN)} > 0)"
    return time_series(
        "Time left",
        "When will each running export be done? The estimate comes from its progress so far. A rising line is an export that"
        " slows down or hangs. There is no estimate before the first piece is done.",
        "s",
        [query(label(f"{age(DRAWN)} * (1 - {share}) / {share}"), legend)],
        width=width,
        logarithmic=True,
        last_hours=6,
    )


def throughput(label, legend, width=12):
    """How fast the running exports are."""
    speed = f"max by ({JOB}) (deriv({watched('pinpoint_export_job_processed_endpoints', DRAWN)}[$__rate_interval]))"
    return time_series(
        "Throughput",
        "How many endpoints per second does each running export write? At 0 it makes no progress.",
        "cps",
        [query(label(f"clamp_min({speed}, 0)"), legend)],
        width=width,
        last_hours=6,
    )


def failures(*matchers):
    """Marks of failed exports."""
    return event(
        "Failed exports",
        RED,
        per_segment("pinpoint_segment_last_failed_export_timestamp_seconds", *matchers),
        "An export failed",
        "Segment {{segment_id}} of application {{application_id}}",
    )


RESTARTS = event("Exporter restarts", "blue", own("process_start_time_seconds"), "The exporter started", "{{instance}}")
