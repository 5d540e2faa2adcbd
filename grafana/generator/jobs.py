"""What the dashboards of all segments and of one show alike: jobs, and what happened to them."""

from panels import (
    ORANGE,
    RED,
    STATE_COLUMN,
    column,
    event,
    link,
    query,
    table,
    thresholds,
    time_series,
)
from queries import (
    AGE,
    DURATION,
    FAILURE_SHARE,
    JOB,
    PROGRESS,
    jobs_in,
    named,
    of_running,
    own,
    per_job,
    per_segment,
    state,
    watched,
)

# What a link of a row keeps of the dashboard; the rest is the row's own.
KEPT = "${datasource:queryparam}&${job:queryparam}&${instance:queryparam}&${account:queryparam}&${__url_time_range}"
TO_SEGMENT = link(
    "History of this segment",
    "/d/pinpoint-segment?var-region=${__data.fields.aws_region}&var-application=${__data.fields.application_id:percentencode}"
    f"&var-segment=${{__data.fields.segment_id:percentencode}}&{KEPT}",
)
TO_S3 = link(
    "The export in S3",
    "https://console.aws.amazon.com/s3/buckets/${__data.fields.bucket}?prefix=${__data.fields.prefix:percentencode}",
    True,
)

NO_JOB = "No export job with these filters"
NONE_RUNS = "No export runs"

GAUGE = {"type": "gauge", "mode": "gradient", "valueDisplayMode": "text"}
COLOURED_TEXT = {"type": "color-text"}
# One endpoint in twenty is what the alert PinpointExportFailureRatioHigh takes for too many.
LOST_SHARE = thresholds((0.0000001, ORANGE), (0.05, RED), base="text")
LOST = thresholds((1, ORANGE), base="text")


def chosen(expr):
    """Only of the jobs in a state that is chosen."""
    return f"""({expr}) and on ({JOB}) {jobs_in('status=~"$status"')}"""


def s3(expr):
    """With bucket and prefix as labels of their own, for a link."""
    for label, group in (("bucket", "$1"), ("prefix", "$2")):
        expr = f'label_replace({expr}, "{label}", "{group}", "s3_url_prefix", "s3://([^/]+)/?(.*)")'
    return expr


def job_table(title, description, labels, last=None, height=12):
    """A row for each job that has series of its own."""
    columns = {
        "Status": state("pinpoint_export_job_status", JOB),
        "Progress": PROGRESS,
        "Endpoints": per_job("processed_endpoints"),
        "Lost endpoints": per_job("failed_endpoints"),
        "Lost share": FAILURE_SHARE,
        "Lost pieces": per_job("failed_pieces"),
        "Created": f"{per_job('created_timestamp_seconds')} * 1000",
        "Took": f"{DURATION} or {of_running(AGE)}",
        "Is": s3(f"max by ({JOB}, s3_url_prefix) ({watched('pinpoint_export_job_info')})"),
    }
    overrides = [
        column("Status", **STATE_COLUMN),
        column(
            "Progress",
            unit="percentunit",
            min=0,
            max=1,
            color={"mode": "fixed", "fixedColor": "blue"},
            custom_cellOptions=GAUGE,
            custom_width=150,
        ),
        column("Endpoints", custom_width=105),
        column("Lost endpoints", thresholds=LOST, custom_cellOptions=COLOURED_TEXT, custom_width=145),
        column(
            "Lost share", unit="percentunit", thresholds=LOST_SHARE, custom_cellOptions=COLOURED_TEXT, custom_width=105
        ),
        column("Lost pieces", thresholds=LOST, custom_cellOptions=COLOURED_TEXT, custom_width=120),
        column("Created", unit="dateTimeAsIso", custom_width=170),
        column("Took", unit="s", decimals=1, custom_width=95),
        column("S3 prefix", links=[TO_S3]),
    ]
    if "segment" in labels:
        overrides.append(column("Segment", links=[TO_SEGMENT]))
    return table(
        title,
        description,
        NO_JOB,
        {name: chosen(expr) for name, expr in columns.items()},
        sort=[("Created", True)],
        labels=labels,
        last={"s3_url_prefix": "S3 prefix", **(last or {}), "bucket": "Bucket", "prefix": "Prefix"},
        overrides=overrides,
        hidden=("Is", "Bucket", "Prefix"),
        height=height,
    )


def progress(legend, width=12):
    """How far the running exports are."""
    return time_series(
        "Progress of running exports",
        "How far is each export that runs? The part of its pieces that is done; a line that stays level has stopped.",
        "percentunit",
        NONE_RUNS,
        [query(named(of_running(PROGRESS)), legend)],
        most=1,
        width=width,
    )


def time_left(legend, width=12):
    """When the running exports should be done."""
    share = f"({PROGRESS} > 0)"
    return time_series(
        "Time left",
        "When should each running export be done? Reckoned from its progress so far: a line that rises is an export"
        " that slows down or hangs. There is none before the first piece is done.",
        "s",
        NONE_RUNS,
        [query(named(of_running(f"{AGE} * (1 - {share}) / {share}")), legend)],
        width=width,
        least=None,
        logarithmic=True,
    )


def throughput(legend, width=12):
    """How fast the running exports are."""
    speed = f"max by ({JOB}) (deriv({watched('pinpoint_export_job_processed_endpoints')}[$__rate_interval]))"
    return time_series(
        "Throughput",
        "How many endpoints a second does each running export write? At 0 it makes no progress.",
        "cps",
        NONE_RUNS,
        [query(named(of_running(f"clamp_min({speed}, 0)")), legend)],
        width=width,
    )


FAILURES = event(
    "Failed exports",
    RED,
    per_segment("pinpoint_segment_last_failed_export_timestamp_seconds"),
    "An export failed",
    "Segment {{segment_id}} of application {{application_id}}",
)
RESTARTS = event("Exporter restarts", "blue", own("process_start_time_seconds"), "The exporter started", "{{instance}}")
