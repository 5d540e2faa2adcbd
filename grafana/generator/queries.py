"""Building blocks of the queries.

All queries follow these rules:

- Each selector names `job` and `instance`. `max by` merges the series of several replicas.
- The metrics of jobs and segments are gauges, so use `deriv` and never `rate` or `increase`.
- A state set is filtered by `== 1`, also if the exporter writes only the series of the current state (STATUS_SERIES).
- A job stays FAILED or COMPLETED, so a query about failures or successes names a period.
- Recording rules are optional. If the rules are installed, the queries read their records instead of the series of all jobs.
  If an alert's rule reads a user's setting (budgets, expected intervals), the query reads it too. Its default is that of the rule.
- A number that has an alert selects the same segments as the alert's rule: test_a_number_agrees_with_its_alert compares them.
- A query selects only the segments and jobs that it needs. Hidden variables have their ids.
"""

# In the order of a job's life, which is also the order in the API's model. The number of a state is its position here.
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
FINISHED = 'status=~"COMPLETED|FAILED|CANCELLED|UNKNOWN"'
RUNNING = 'status!~"COMPLETED|FAILED|CANCELLED|UNKNOWN"'
# Numbers for values that are not states of a job.
NO_JOB, UNREADABLE, READABLE = -1, -2, -3
# The number in a table without rows.
NOTHING = 100

# The labels that identify an application, a segment or target, and a job.
APP = "aws_account_id, aws_region, application_id"
SEGMENT = f"{APP}, segment_id"
JOB = f"{SEGMENT}, job_id"

EXPORTER = 'job=~"$job", instance=~"$instance"'
REGION = f'{EXPORTER}, aws_account_id=~"$account", aws_region=~"$region"'
APPLICATION = f'{REGION}, application_id=~"$application"'
WATCHED = f'{APPLICATION}, segment_id=~"$segment"'
# The target of a whole application has no segment.
TARGET = f'{APPLICATION}, segment_id=~"$segment|"'
# Matchers of the segments and jobs in a chart. Exports of all endpoints have no segment and are always in the chart.
SHOWN = 'segment_id=~"$shown|$gone|"'
DRAWN = 'job_id=~"$running"'
# Matchers of the jobs in the table.
LISTED = 'job_id=~"$listed"'
# Selects series only if the rules are not installed. No series has a label `recorded`. Without the rules the hidden variable is
# empty, so every series matches. With the rules it is "yes", so no series matches and Prometheus reads nothing.
COMPUTED = 'recorded="$recorded"'
# This record exists if the rules are installed and an exporter shows at least one segment.
RULES_RECORD = "segment:pinpoint_segment:info"

# The budgets if the rules are not installed. They equal pinpoint:export_job_budget:seconds in deploy/prometheus/rules.
BUDGETS = {
    "CREATED": 1800,
    "PREPARING_FOR_INITIALIZATION": 3600,
    "INITIALIZING": 3600,
    "PENDING_JOB": 7200,
    "PROCESSING": 21600,
    "COMPLETING": 23400,
    "FAILING": 23400,
    "CANCELLING": 23400,
}
# How long the alerts report a failed, empty or incomplete export.
TOLD = 3 * 86400
# PinpointExportFailureRatioHigh fires above this share of lost endpoints.
LOSS = 0.05


def watched(metric, *matchers):
    """The series of the chosen segments."""
    return f"{metric}{{{', '.join((WATCHED, *matchers))}}}"


def recorded(record, *matchers):
    """A record of the rules. Records have no label of the exporter, so wrap them in `of_chosen`."""
    chosen = WATCHED.removeprefix(f"{EXPORTER}, ")
    return f"{record}{{{', '.join((chosen, *matchers))}}}"


def own(metric, *matchers):
    """The series about the chosen exporters themselves."""
    return f"{metric}{{{', '.join((EXPORTER, *matchers))}}}"


def per_segment(metric, *matchers):
    """One series for each segment, for any number of replicas."""
    return f"max by ({SEGMENT}) ({watched(metric, *matchers)})"


def per_job(metric, *matchers):
    """One series for each job, for any number of replicas."""
    return f"max by ({JOB}) ({watched('pinpoint_export_job_' + metric, *matchers)})"


def jobs_in(*matchers):
    """The jobs that are in one of these states."""
    return f"max by ({JOB}) ({watched('pinpoint_export_job_status', *matchers)} == 1)"


def jobs_by_status(*matchers):
    """The number of jobs of each segment in each of these states. A state without jobs is left out."""
    return f"max by ({SEGMENT}, status) ({watched('pinpoint_segment_export_jobs', *matchers)} > 0)"


def target(metric, *matchers):
    """One series for each chosen target."""
    return f"max by ({SEGMENT}) ({metric}{{{', '.join((TARGET, *matchers))}}})"


def data_age(matchers):
    """The age of each target's data by AWS's clock, because the exporter's clock can be wrong."""
    read = f"pinpoint_target_last_success_timestamp_seconds{{{matchers}}}"
    skew = own("pinpoint_exporter_clock_skew_seconds")
    return f"(time() - max by ({SEGMENT}) ({read} + on (job, instance) group_left () {skew} or {read}))"


def state(metric, by, *matchers):
    """The number of the state. The value mappings turn it into a name and a colour."""
    numbers = " or ".join(
        f'label_replace(vector({number}), "status", "{status}", "", "")' for number, status in enumerate(STATUSES)
    )
    return f"max by ({by}) (({watched(metric, *matchers)} == 1) * on (status) group_left () ({numbers}))"


def marked(query, **labels):
    """Adds labels with fixed values."""
    for label, value in labels.items():
        query = f'label_replace({query}, "{label}", "{value}", "", "")'
    return query


def constant(number, query):
    """The same number for each series of a query."""
    return f"{number} + 0 * ({query})"


LATEST = "pinpoint_segment_latest_export_job_status"
LAST_SUCCESS = per_segment("pinpoint_segment_last_completed_export_timestamp_seconds")
LAST_FAILURE = per_segment("pinpoint_segment_last_failed_export_timestamp_seconds")
# One series for each known segment. This reads fewer series than the jobs by status.
KNOWN = per_segment("pinpoint_segment_suppressed_export_jobs", 'reason="age"')
UP = target("pinpoint_target_up")
EXPECTED = 'pinpoint:expected_export_interval:seconds{application_id=~"$application", segment_id=~"$segment"}'


def known(query, *matchers):
    """The query for each segment, or a number for "no such job" or "the segment cannot be read"."""
    jobs = per_segment("pinpoint_segment_suppressed_export_jobs", 'reason="age"', *matchers)
    down = target("pinpoint_target_up", *matchers)
    return f"{query} or {constant(NO_JOB, jobs)} or {constant(UNREADABLE, f'{down} == 0')}"


def counted(query, things=KNOWN):
    """The number of series of the query. It is 0 only if things are known, and UNREADABLE if nothing can be read."""
    return f"count({query}) or {constant(0, f'count({things})')} or {constant(UNREADABLE, f'count({UP})')}"


# ---- Segments that need attention. The queries select the same as the alerts' rules: from their records if they are installed,
# otherwise from the series of all jobs.


def of_chosen(query):
    """Only the segments that the chosen exporters show."""
    return f"({query} and on ({SEGMENT}) {KNOWN})"


def current(count):
    """A count of the jobs that can be a reason: the running ones and the newest successes."""
    return f"({recorded(f'export_job:pinpoint_export_job_{count}:max')} or {per_job(count, COMPUTED)})"


# Before any time that a job can have.
LONG_AGO = -(10**12)
SUCCESS = per_segment("pinpoint_segment_last_completed_export_timestamp_seconds", COMPUTED)
# The last success, or LONG_AGO for a segment without one.
SUCCESS_IF_ANY = (
    f"({SUCCESS} or"
    f" {constant(LONG_AGO, per_segment('pinpoint_segment_suppressed_export_jobs', COMPUTED))})"
)
FAILURE = per_segment("pinpoint_segment_last_failed_export_timestamp_seconds", COMPUTED)
# For a FAILED job without a CompletionDate, the creation time counts. Only a success of a job that was created later ends the
# failure.
UNDATED = (
    f"""({per_job('created_timestamp_seconds', COMPUTED)} and on ({JOB}) {jobs_in('status="FAILED"', COMPUTED)}"""
    f" unless on ({JOB}) {per_job('completed_timestamp_seconds', COMPUTED)})"
)
# The creation time of the newest COMPLETED job of each segment.
LATER_SUCCESS = (
    f"max by ({SEGMENT}) ({per_job('created_timestamp_seconds', COMPUTED)} and on ({JOB})"
    f""" {jobs_in('status="COMPLETED"', COMPUTED)})"""
)
# The newest job of a segment, if it FAILED without a CompletionDate. This also finds a job without series of its own.
LATEST_UNDATED = (
    f"(({per_segment('pinpoint_segment_latest_export_job_created_timestamp_seconds', COMPUTED)}"
    f" > ({FAILURE} or {constant(LONG_AGO, SUCCESS_IF_ANY)}))"
    f""" and on ({SEGMENT}) {watched(LATEST, 'status="FAILED"', COMPUTED)} == 1"""
    f""" unless on ({SEGMENT}) {watched(LATEST, 'status!="FAILED"', COMPUTED)} == 1)"""
)
FAILED = of_chosen(
    f"(({recorded('segment:pinpoint_segment_export_failed:timestamp_seconds')} or"
    f" max by ({SEGMENT}) ({FAILURE} > {SUCCESS_IF_ANY}"
    f" or {UNDATED} >= on ({SEGMENT}) group_left () ({LATER_SUCCESS} or {constant(LONG_AGO, SUCCESS_IF_ANY)})"
    f" or {LATEST_UNDATED})) > time() - {TOLD})"
)

BUDGET = "(max by (status) (pinpoint:export_job_budget:seconds) or {})".format(
    " or ".join(marked(f"vector({seconds})", status=status) for status, seconds in BUDGETS.items())
)

# The age of the running jobs, by state. The query excludes finished jobs, because that reads fewer series than a match on
# each running state.
RUNS = (
    f"({recorded('export_job:pinpoint_export_job_running:seconds')} or"
    f" max by ({JOB}, status) ({watched('pinpoint_export_job_status', RUNNING, COMPUTED)} == 1)"
    f" * on ({JOB}) group_left () (time() - ({per_job('created_timestamp_seconds', COMPUTED)}"
    f" unless on ({JOB}) {jobs_in(FINISHED, COMPUTED)})))"
)
IS_FAILING = 'status="FAILING"'
FAILING = of_chosen(
    f"max by ({SEGMENT}) ({recorded('export_job:pinpoint_export_job_running:seconds', IS_FAILING)}"
    f" or {watched('pinpoint_export_job_status', IS_FAILING, COMPUTED)} == 1)"
)
# A job that exceeds the budget of its state. It does not count if an export succeeded after the budget had ended.
STUCK = of_chosen(
    f"({recorded('export_job:pinpoint_export_job_stuck:seconds')} or"
    f" ({RUNS} - on (status) group_left () {BUDGET} > 0)"
    f" <= on ({SEGMENT}) group_left () (time() - {SUCCESS_IF_ANY}))"
)

# The expected interval of each segment. An interval without a region applies in every region.
INTERVAL = (
    f"({LAST_SUCCESS} * 0 + on ({SEGMENT}) group_left () max by ({SEGMENT}) ({EXPECTED[:-1]}, aws_region!=\"\"}})"
    f" or {LAST_SUCCESS} * 0 + on (application_id, segment_id) group_left ()"
    f' max by (application_id, segment_id) ({EXPECTED[:-1]}, aws_region=""}}))'
)
SINCE_SUCCESS = f"(time() - {LAST_SUCCESS})"
LATE = f"({SINCE_SUCCESS} > {INTERVAL})"
# A watched segment with its own labels, or an expected segment that is not watched.
NEVER_SUCCEEDED = (
    f"(({KNOWN} unless {LAST_SUCCESS} and on (application_id, segment_id) {EXPECTED}"
    f" or max by ({SEGMENT}) ({EXPECTED}) unless on (application_id, segment_id) {KNOWN})"
    f" and on (application_id) ({UP} == 1))"
)
OVERDUE = f"({LATE} or {NEVER_SUCCEEDED})"

# The last successful job of each segment.
NEWEST = (
    f"({recorded('export_job:pinpoint_export_job_newest_success:timestamp_seconds')} or"
    f" {per_job('completed_timestamp_seconds', COMPUTED)} == on ({SEGMENT}) group_left () {SUCCESS}"
    f""" unless on ({JOB}) {jobs_in('status=~"FAILED|CANCELLED|UNKNOWN"', COMPUTED)})"""
)
# Only successes of the last 3 days are reported.
TOLD_OF = f"({NEWEST} > time() - {TOLD})"
# AWS does not say whether TotalProcessed includes TotalFailures. The share is at most 1 in both cases.
LOST_ENDPOINTS = f"({current('failed_endpoints')} > 0)"
TOO_MANY_LOST = f"(clamp_max({LOST_ENDPOINTS} / {current('processed_endpoints')}, 1) > {LOSS})"
LOST = of_chosen(
    f"((({LOST_ENDPOINTS} or {current('failed_pieces')} > 0) and on ({JOB}) {TOLD_OF})"
    f" or ({TOO_MANY_LOST} and on ({JOB}) {RUNS}))"
)
EMPTY = of_chosen(f"({current('processed_endpoints')} == 0 and on ({JOB}) {TOLD_OF} unless on ({JOB}) {LOST_ENDPOINTS})")
# The endpoints of the newest success, and its duration.
NEWEST_ENDPOINTS = f"max by ({SEGMENT}) ({current('processed_endpoints')} and on ({JOB}) {NEWEST})"
NEWEST_DURATION = f"max by ({SEGMENT}) ({NEWEST} - on ({JOB}) {current('created_timestamp_seconds')})"
NEVER = f"({KNOWN} unless on ({SEGMENT}) {jobs_by_status()} unless on (application_id, segment_id) {EXPECTED})"

RUNBOOKS = {
    "PinpointSegmentNotFound": "NotFoundException",
    "PinpointAccessDenied": "AccessDeniedException|ForbiddenException",
    "PinpointCredentialsFailing": (
        "CredentialsError|ExpiredTokenException|UnrecognizedClientException|InvalidSignatureException|SignatureDoesNotMatch|"
        "MissingAuthenticationTokenException|IncompleteSignatureException"
    ),
}


def unreadable(matchers=TARGET):
    """The targets that no replica can read, with the reason and the runbook."""
    why = (
        f"topk by ({SEGMENT}) (1, max by ({SEGMENT}, exception) (pinpoint_target_error{{{matchers}}}))"
        f" and on ({SEGMENT}) max by ({SEGMENT}) (pinpoint_target_up{{{matchers}}}) == 0"
    )
    query = marked(f"({why})", runbook="PinpointTargetDown")
    for runbook, exceptions in RUNBOOKS.items():
        query = f'label_replace({query}, "runbook", "{runbook}", "exception", "{exceptions}")'
    return query


# The reasons, the most urgent first: the name, the query that selects the segments, and the runbook.
URGENT = {
    "Not readable": ("", "PinpointTargetDown"),
    "Failed": (FAILED, "PinpointExportFailed"),
    "Failing": (FAILING, "PinpointExportFailing"),
    "Stuck": (f"max by ({SEGMENT}) ({STUCK})", "PinpointExportStuck"),
    "Overdue": (OVERDUE, "PinpointExportOverdue"),
    "Lost endpoints": (f"max by ({SEGMENT}) ({LOST})", "PinpointExportPartlyFailed"),
    "Empty": (f"max by ({SEGMENT}) ({EMPTY})", "PinpointExportEmpty"),
    "Never exported": (NEVER, "PinpointExportNeverRan"),
    "Running": (f"sum by ({SEGMENT}) ({jobs_by_status(RUNNING)})", "README"),
    # The newest export was cancelled, or is in a state that the exporter does not know.
    "No result": (f"""max by ({SEGMENT}) ({watched(LATEST, 'status=~"CANCELLED|UNKNOWN"')} == 1)""", "README"),
    "OK": (KNOWN, "README"),
}


def urgency():
    """The most urgent reason of each segment. The value is its position in `URGENT`, and labels have its name and runbook."""
    parts = [
        marked(f"(0 * ({query or unreadable()}) + {number})", why=why, **({"runbook": runbook} if query else {}))
        for number, (why, (query, runbook)) in enumerate(URGENT.items(), 1)
    ]
    return f"min by ({SEGMENT}, why, runbook) ({f' or on ({SEGMENT}) '.join(parts)})"


def detailed(query):
    """Adds a label `detail`: why a segment cannot be read, otherwise the state of its newest export."""
    exceptions = f'label_replace({unreadable()}, "detail", "$1", "exception", "(.*)")'
    states = f"topk by ({SEGMENT}) (1, max by ({SEGMENT}, status) ({watched(LATEST)} == 1))"
    states = f'label_replace({states}, "detail", "$1", "status", "(.*)")'
    return (
        f"({query}) * on ({SEGMENT}) group_left (detail)"
        f" (0 * ({exceptions} or on ({SEGMENT}) {states} or on ({SEGMENT}) {KNOWN} or on ({SEGMENT}) {EXPECTED}) + 1)"
    )


def only(query, label, pattern):
    """Only the series whose label matches. The query itself makes this label."""
    return f'label_replace({query}, "chosen", "yes", "{label}", "{pattern}") and on (chosen) {marked("vector(1)", chosen="yes")}'


# ---- Names.


def first_digits(query, label, into):
    """Adds a label with the first 8 characters of an id and a closing bracket."""
    return f'label_replace({query}, "{into}", "$1)", "{label}", "(.{{1,8}}).*")'


def with_names(query, by, metric, name, identifier, label, matchers):
    """The names at the end of the time range, so that a renamed segment stays one line."""
    info = f'max by ({by}, {name}) ({metric}{{{matchers}, {name}!=""}} @ end())'
    short = first_digits(f"topk by ({by}) (1, {info})", identifier, "short")
    return f'label_join({short}, "{label}", " (", "{name}", "short") or on ({by}) {query}'


def segment_names(chosen=TARGET, seen="{}", also=""):
    """Adds a label `segment` to each segment and target: its name and the first digits of its id, or its id. `seen` selects the
    time at which the segments are looked up."""
    there = " or ".join(
        seen.format(series)
        for series in (
            f"pinpoint_target_up{{{chosen}}}",
            f'pinpoint_segment_suppressed_export_jobs{{{chosen}, reason="age"}}',
        )
    )
    ids = f'label_replace(group by ({SEGMENT}) ({there}{also}), "segment", "all of $1", "application_id", "(.{{1,8}}).*")'
    ids = f'label_replace({ids}, "segment", "$1", "segment_id", "(.+)")'
    return with_names(ids, SEGMENT, "pinpoint_segment_info", "segment_name", "segment_id", "segment", chosen)


def application_names(chosen=APPLICATION, also="", digits="(.+)"):
    """Adds a label `application` to each application: its name and the first digits of its id, or `digits` of its id."""
    there = f"group by ({APP}) (pinpoint_target_up{{{chosen}}}{also})"
    ids = f'label_replace({there}, "application", "$1", "application_id", "{digits}")'
    return with_names(ids, APP, "pinpoint_application_info", "application_name", "application_id", "application", chosen)


def named(query, *matchers):
    """Adds a label `segment` to show, which is never empty. `@ end()` looks the names up once and not at each step."""
    seen = segment_names(", ".join((TARGET, *matchers)), seen="last_over_time({}[$__range] @ end())")
    return f"({query}) * on ({SEGMENT}) group_left (segment) ({seen})"


def named_of_running(query):
    """Adds the same label for jobs that are running now, from the segments of now."""
    return f"({query}) * on ({SEGMENT}) group_left (segment) ({segment_names(seen='{} @ end()')})"


def named_fully(query, chosen=TARGET):
    """Adds the labels `segment` and `application` to show in a table."""
    # An alert can also report an expected segment that is not watched.
    also = f" or {EXPECTED}" if "$segment" in chosen else ""
    return (
        f"({query}) * on ({SEGMENT}) group_left (segment) ({segment_names(chosen, also=also)})"
        f" * on ({APP}) group_left (application) ({application_names(also=also, digits='(.{1,8}).*')})"
    )


# ---- Charts.


def of_newest_success(metric, *matchers):
    """The series of the last successful jobs. Replicas are merged afterwards, because there are few such jobs."""
    ended = watched("pinpoint_export_job_completed_timestamp_seconds", *matchers)
    last = per_segment("pinpoint_segment_last_completed_export_timestamp_seconds", *matchers)
    values = watched(f"pinpoint_export_job_{metric}", *matchers)
    return f"({values} and on ({JOB}) ({ended} == on ({SEGMENT}) group_left () {last}))"


def newest_success(metric, *matchers):
    """For each segment, a value of its last successful job."""
    return f"max by ({SEGMENT}) {of_newest_success(metric, *matchers)}"


def newest_lost_share(*matchers):
    """The share of the endpoints that this job lost."""
    processed = watched("pinpoint_export_job_processed_endpoints", *matchers)
    return f"clamp_max(max by ({SEGMENT}) ({of_newest_success('failed_endpoints', *matchers)} / ({processed} > 0)), 1)"


def newest_duration(*matchers):
    """The duration of this job."""
    last = per_segment("pinpoint_segment_last_completed_export_timestamp_seconds", *matchers)
    return f"({last} - {newest_success('created_timestamp_seconds', *matchers)})"


def progress(*matchers):
    """The share of the pieces that is done."""
    return f"{per_job('completed_pieces', *matchers)} / ({per_job('pieces', *matchers)} > 0)"


def lost_share(*matchers):
    """The share of the endpoints that was lost."""
    return f"clamp_max({per_job('failed_endpoints', *matchers)} / ({per_job('processed_endpoints', *matchers)} > 0), 1)"


def duration(*matchers):
    """The duration of a job that has ended."""
    return (
        f"({per_job('completed_timestamp_seconds', *matchers)} - {per_job('created_timestamp_seconds', *matchers)})"
    )


def age(*matchers):
    """The time since the creation of a job."""
    return f"(time() - {per_job('created_timestamp_seconds', *matchers)})"


def short_job(query):
    """Adds a label `job` with the first digits of the job's id."""
    return f'label_replace({query}, "job", "$1", "job_id", "(.{{1,8}}).*")'


def with_begin(query, *matchers):
    """Adds a label `begun` with the creation time in UTC. Prometheus sorts series by labels, so jobs come in this order."""
    created = per_job("created_timestamp_seconds", *matchers)
    digits = " + ".join(
        f"{factor} * {part}({created})"
        for part, factor in (("year", 10**8), ("month", 10**6), ("day_of_month", 10**4), ("hour", 100), ("minute", 1))
    )
    # Prometheus 2.42 loses labels that follow the new one in alphabetical order.
    times = f'count_values by ({JOB}) ("time", {digits})'
    times = f'label_replace({times}, "begun", "$1-$2-$3 $4:$5", "time", "(....)(..)(..)(..)(..)")'
    return f"({query}) * on ({JOB}) group_left (begun) {times}"
