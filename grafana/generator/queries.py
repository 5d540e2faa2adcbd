"""The queries' vocabulary.

What holds for all of them:

- Each selector names `job` and `instance`, and `max by` makes one of what several replicas show.
- What a job or a segment shows are gauges: never `rate` or `increase`, but `deriv`.
- A state set is filtered by `== 1`, and that also where the exporter only writes the state that holds (STATUS_SERIES).
- FAILED and COMPLETED last for ever: what counts them says since when.
- No recording rule is needed.
"""

# In the order of a job's life, which is that of the API's model. The number that stands for a state is its place here.
STATUSES = (
    "UNKNOWN",
    "CREATED",
    "PREPARING_FOR_INITIALIZATION",
    "INITIALIZING",
    "PROCESSING",
    "PENDING_JOB",
    "COMPLETING",
    "COMPLETED",
    "FAILING",
    "FAILED",
    "CANCELLING",
    "CANCELLED",
)
RUNNING = 'status!~"COMPLETED|FAILED|CANCELLED|UNKNOWN"'

# What identifies a segment or a target, and a job.
SEGMENT = "aws_account_id, aws_region, application_id, segment_id"
JOB = f"{SEGMENT}, job_id"

EXPORTER = 'job=~"$job", instance=~"$instance"'
REGION = f'{EXPORTER}, aws_account_id=~"$account", aws_region=~"$region"'
APPLICATION = f'{REGION}, application_id=~"$application"'
WATCHED = f'{APPLICATION}, segment_id=~"$segment"'
# A whole application's listing is a target without a segment.
TARGET = f'{APPLICATION}, segment_id=~"$segment|"'


def watched(metric, *matchers):
    """The series of the segments that are chosen."""
    return f"{metric}{{{', '.join((WATCHED, *matchers))}}}"


def own(metric, *matchers):
    """The series about the exporters that are chosen."""
    return f"{metric}{{{', '.join((EXPORTER, *matchers))}}}"


def per_segment(metric, *matchers):
    """One series for each segment, however many replicas there are."""
    return f"max by ({SEGMENT}) ({watched(metric, *matchers)})"


def per_job(metric, *matchers):
    """One series for each job, however many replicas there are."""
    return f"max by ({JOB}) ({watched('pinpoint_export_job_' + metric, *matchers)})"


def jobs_in(*matchers):
    """The jobs that are in one of these states."""
    return f"max by ({JOB}) ({watched('pinpoint_export_job_status', *matchers)} == 1)"


def of_running(query):
    """Only of the jobs that run."""
    return f"({query}) and on ({JOB}) {jobs_in(RUNNING)}"


def jobs_by_status(*matchers):
    """How many jobs each segment has in each of these states."""
    return f"max by ({SEGMENT}, status) ({watched('pinpoint_segment_export_jobs', *matchers)})"


def or_zero(query):
    """0 where there is nothing to count, but nothing where nothing is watched."""
    return f"({query}) or 0 * count({watched('pinpoint_segment_export_jobs')})"


def state(metric, by):
    """The number that stands for the state, which the value mappings turn into its name and colour."""
    numbers = " or ".join(
        f'label_replace(vector({number}), "status", "{status}", "", "")' for number, status in enumerate(STATUSES)
    )
    return f"max by ({by}) (({watched(metric)} == 1) * on (status) group_left () ({numbers}))"


def newest_success(query):
    """For each segment, what the query gives for the job that succeeded last."""
    return (
        f"max by ({SEGMENT}) ({query} and on ({JOB}) ({per_job('completed_timestamp_seconds')} == on ({SEGMENT})"
        f" group_left () {per_segment('pinpoint_segment_last_completed_export_timestamp_seconds')}))"
    )


PROGRESS = f"{per_job('completed_pieces')} / ({per_job('pieces')} > 0)"
# AWS does not say whether TotalProcessed includes TotalFailures: at most 1 either way.
FAILURE_SHARE = f"clamp_max({per_job('failed_endpoints')} / ({per_job('processed_endpoints')} > 0), 1)"
AGE = f"(time() - {per_job('created_timestamp_seconds')})"
DURATION = f"({per_job('completed_timestamp_seconds')} - {per_job('created_timestamp_seconds')})"


def named(query):
    """With a label `segment` to show, which is never empty."""
    return (
        f'label_replace(label_replace({query}, "segment", "$1", "segment_id", "(.+)"), "segment", "all endpoints",'
        ' "segment_id", "")'
    )
