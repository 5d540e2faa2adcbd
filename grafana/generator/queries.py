"""The queries' vocabulary.

What holds for all of them:

- Each selector names `job` and `instance`, and `max by` makes one of what several replicas show.
- What a job or a segment shows are gauges: never `rate` or `increase`, but `deriv`.
- A state set is filtered by `== 1`, and that also where the exporter only writes the state that holds (STATUS_SERIES).
- FAILED and COMPLETED last for ever: what counts them says since when.
- No recording rule is needed. If the rules are installed, the queries read their records instead of the series of all jobs.
  Where an alert's rule reads a setting of the user's (budgets, expected intervals), the query reads it too, and takes the
  rule's own value where there is none.
- A number that has an alert selects what the alert's rule selects: test_a_number_agrees_with_its_alert compares them.
- A query asks only for the segments and jobs that it needs: hidden variables hold their ids.
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
FINISHED = 'status=~"COMPLETED|FAILED|CANCELLED|UNKNOWN"'
RUNNING = 'status!~"COMPLETED|FAILED|CANCELLED|UNKNOWN"'
# Numbers that stand for what is no state of a job.
NO_JOB, UNREADABLE, READABLE = -1, -2, -3
# Those of a table without a row.
NOTHING = 100

# What identifies an application, a segment or a target, and a job.
APP = "aws_account_id, aws_region, application_id"
SEGMENT = f"{APP}, segment_id"
JOB = f"{SEGMENT}, job_id"

EXPORTER = 'job=~"$job", instance=~"$instance"'
REGION = f'{EXPORTER}, aws_account_id=~"$account", aws_region=~"$region"'
APPLICATION = f'{REGION}, application_id=~"$application"'
WATCHED = f'{APPLICATION}, segment_id=~"$segment"'
# A whole application's listing is a target without a segment.
TARGET = f'{APPLICATION}, segment_id=~"$segment|"'
# Matchers of what a chart draws. Exports of all endpoints have no segment, and are always among them.
SHOWN = 'segment_id=~"$shown|$gone|"'
DRAWN = 'job_id=~"$running"'
# Of the table of jobs.
LISTED = 'job_id=~"$listed"'
# Selects series only if the rules are not installed. No series has a label `recorded`. Without the rules the hidden variable is
# empty, so every series matches. With the rules it is "yes", so no series matches and Prometheus reads nothing.
COMPUTED = 'recorded="$recorded"'
# This record exists if the rules are installed and an exporter shows at least one segment.
RULES_RECORD = "segment:pinpoint_segment:info"

# What the alerts allow, where the rules are not installed: pinpoint:export_job_budget:seconds of deploy/prometheus/rules.
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
# How long the alerts tell of what an export left behind.
TOLD = 3 * 86400
# The share of lost endpoints from which on PinpointExportFailureRatioHigh fires.
LOSS = 0.05


def watched(metric, *matchers):
    """The series of the segments that are chosen."""
    return f"{metric}{{{', '.join((WATCHED, *matchers))}}}"


def recorded(record, *matchers):
    """A record of the rules. Records name no exporter, so `of_chosen` must stand around them."""
    chosen = WATCHED.removeprefix(f"{EXPORTER}, ")
    return f"{record}{{{', '.join((chosen, *matchers))}}}"


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


def jobs_by_status(*matchers):
    """How many jobs each segment has in each of these states. A state without a job is left out."""
    return f"max by ({SEGMENT}, status) ({watched('pinpoint_segment_export_jobs', *matchers)} > 0)"


def target(metric, *matchers):
    """One series for each target that is chosen."""
    return f"max by ({SEGMENT}) ({metric}{{{', '.join((TARGET, *matchers))}}})"


def data_age(matchers):
    """How old the data of each target are, by AWS's clock: the exporter's own may be wrong."""
    read = f"pinpoint_target_last_success_timestamp_seconds{{{matchers}}}"
    skew = own("pinpoint_exporter_clock_skew_seconds")
    return f"(time() - max by ({SEGMENT}) ({read} + on (job, instance) group_left () {skew} or {read}))"


def state(metric, by, *matchers):
    """The number that stands for the state, which the value mappings turn into its name and colour."""
    numbers = " or ".join(
        f'label_replace(vector({number}), "status", "{status}", "", "")' for number, status in enumerate(STATUSES)
    )
    return f"max by ({by}) (({watched(metric, *matchers)} == 1) * on (status) group_left () ({numbers}))"


def marked(query, **labels):
    """With labels of one value."""
    for label, value in labels.items():
        query = f'label_replace({query}, "{label}", "{value}", "", "")'
    return query


def constant(number, query):
    """The same number for each series of a query."""
    return f"{number} + 0 * ({query})"


LATEST = "pinpoint_segment_latest_export_job_status"
LAST_SUCCESS = per_segment("pinpoint_segment_last_completed_export_timestamp_seconds")
LAST_FAILURE = per_segment("pinpoint_segment_last_failed_export_timestamp_seconds")
# One series for each segment that is known, cheaper than its jobs by status.
KNOWN = per_segment("pinpoint_segment_suppressed_export_jobs", 'reason="age"')
UP = target("pinpoint_target_up")
EXPECTED = 'pinpoint:expected_export_interval:seconds{application_id=~"$application", segment_id=~"$segment"}'


def known(query, *matchers):
    """What the query gives for a segment; else whether there is no such job, or the segment cannot be read."""
    jobs = per_segment("pinpoint_segment_suppressed_export_jobs", 'reason="age"', *matchers)
    down = target("pinpoint_target_up", *matchers)
    return f"{query} or {constant(NO_JOB, jobs)} or {constant(UNREADABLE, f'{down} == 0')}"


def counted(query, things=KNOWN):
    """How many series the query has: 0 only where there is something to count, and another number if nothing can be read."""
    return f"count({query}) or {constant(0, f'count({things})')} or {constant(UNREADABLE, f'count({UP})')}"


# ---- What needs a person, as the alerts' rules select it: from their records, else from the series of all jobs.


def of_chosen(query):
    """Only of segments that the chosen exporters show."""
    return f"({query} and on ({SEGMENT}) {KNOWN})"


def current(count):
    """A count of the jobs that the reasons are about: of those that run, and of the newest successes."""
    return f"({recorded(f'export_job:pinpoint_export_job_{count}:max')} or {per_job(count, COMPUTED)})"


# Before any time that a job can have.
LONG_AGO = -(10**12)
SUCCESS = per_segment("pinpoint_segment_last_completed_export_timestamp_seconds", COMPUTED)
# The last success, or the beginning of time for a segment that has none.
SUCCESS_IF_ANY = (
    f"({SUCCESS} or"
    f" {constant(LONG_AGO, per_segment('pinpoint_segment_suppressed_export_jobs', COMPUTED))})"
)
FAILURE = per_segment("pinpoint_segment_last_failed_export_timestamp_seconds", COMPUTED)
# A job that FAILED without a CompletionDate counts from its creation. Only the success of a job that was created later takes its
# place.
UNDATED = (
    f"""({per_job('created_timestamp_seconds', COMPUTED)} and on ({JOB}) {jobs_in('status="FAILED"', COMPUTED)}"""
    f" unless on ({JOB}) {per_job('completed_timestamp_seconds', COMPUTED)})"
)
# When the newest job of each segment that is COMPLETED was created.
LATER_SUCCESS = (
    f"max by ({SEGMENT}) ({per_job('created_timestamp_seconds', COMPUTED)} and on ({JOB})"
    f""" {jobs_in('status="COMPLETED"', COMPUTED)})"""
)
# The newest job of a segment, if it FAILED without a CompletionDate. A job without series of its own is found this way.
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

# The age of the jobs that run, by their states. The query excludes finished jobs, because that reads fewer series than a match on
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
# A job that is beyond the budget of its state. A success that ended after the budget did takes the place of a job that hangs.
STUCK = of_chosen(
    f"({recorded('export_job:pinpoint_export_job_stuck:seconds')} or"
    f" ({RUNS} - on (status) group_left () {BUDGET} > 0)"
    f" <= on ({SEGMENT}) group_left () (time() - {SUCCESS_IF_ANY}))"
)

# What is expected of a segment; an interval without a region holds wherever the segment is.
INTERVAL = (
    f"({LAST_SUCCESS} * 0 + on ({SEGMENT}) group_left () max by ({SEGMENT}) ({EXPECTED[:-1]}, aws_region!=\"\"}})"
    f" or {LAST_SUCCESS} * 0 + on (application_id, segment_id) group_left ()"
    f' max by (application_id, segment_id) ({EXPECTED[:-1]}, aws_region=""}}))'
)
SINCE_SUCCESS = f"(time() - {LAST_SUCCESS})"
LATE = f"({SINCE_SUCCESS} > {INTERVAL})"
# One that is watched, by its own labels, or one that is not.
NEVER_SUCCEEDED = (
    f"(({KNOWN} unless {LAST_SUCCESS} and on (application_id, segment_id) {EXPECTED}"
    f" or max by ({SEGMENT}) ({EXPECTED}) unless on (application_id, segment_id) {KNOWN})"
    f" and on (application_id) ({UP} == 1))"
)
OVERDUE = f"({LATE} or {NEVER_SUCCEEDED})"

# The job that succeeded last in each segment.
NEWEST = (
    f"({recorded('export_job:pinpoint_export_job_newest_success:timestamp_seconds')} or"
    f" {per_job('completed_timestamp_seconds', COMPUTED)} == on ({SEGMENT}) group_left () {SUCCESS}"
    f""" unless on ({JOB}) {jobs_in('status=~"FAILED|CANCELLED|UNKNOWN"', COMPUTED)})"""
)
# Only those of the last 3 days are told of.
TOLD_OF = f"({NEWEST} > time() - {TOLD})"
# AWS does not say whether TotalProcessed includes TotalFailures: at most 1 either way.
LOST_ENDPOINTS = f"({current('failed_endpoints')} > 0)"
TOO_MANY_LOST = f"(clamp_max({LOST_ENDPOINTS} / {current('processed_endpoints')}, 1) > {LOSS})"
LOST = of_chosen(
    f"((({LOST_ENDPOINTS} or {current('failed_pieces')} > 0) and on ({JOB}) {TOLD_OF})"
    f" or ({TOO_MANY_LOST} and on ({JOB}) {RUNS}))"
)
EMPTY = of_chosen(f"({current('processed_endpoints')} == 0 and on ({JOB}) {TOLD_OF} unless on ({JOB}) {LOST_ENDPOINTS})")
# How many endpoints the newest success has, and how long it took.
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


# What a segment needs, the most urgent first: the word, what selects it, and the runbook.
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
    "Well": (KNOWN, "README"),
}


def urgency():
    """The place of each segment in the order of `URGENT`, as its value, with the words as labels: the most urgent one."""
    parts = [
        marked(f"(0 * ({query or unreadable()}) + {number})", why=why, **({"runbook": runbook} if query else {}))
        for number, (why, (query, runbook)) in enumerate(URGENT.items(), 1)
    ]
    return f"min by ({SEGMENT}, why, runbook) ({f' or on ({SEGMENT}) '.join(parts)})"


def detailed(query):
    """With a label `detail`: why a segment cannot be read, else the state of its newest export."""
    exceptions = f'label_replace({unreadable()}, "detail", "$1", "exception", "(.*)")'
    states = f"topk by ({SEGMENT}) (1, max by ({SEGMENT}, status) ({watched(LATEST)} == 1))"
    states = f'label_replace({states}, "detail", "$1", "status", "(.*)")'
    return (
        f"({query}) * on ({SEGMENT}) group_left (detail)"
        f" (0 * ({exceptions} or on ({SEGMENT}) {states} or on ({SEGMENT}) {KNOWN} or on ({SEGMENT}) {EXPECTED}) + 1)"
    )


def only(query, label, pattern):
    """Only the series whose label, which the query itself made, matches."""
    return f'label_replace({query}, "chosen", "yes", "{label}", "{pattern}") and on (chosen) {marked("vector(1)", chosen="yes")}'


# ---- Names.


def first_digits(query, label, into):
    """With the first 8 characters of an id, in brackets."""
    return f'label_replace({query}, "{into}", "$1)", "{label}", "(.{{1,8}}).*")'


def with_names(query, by, metric, name, identifier, label, matchers):
    """The names that are known at the end of the time shown, so that a renamed segment stays one line."""
    info = f'max by ({by}, {name}) ({metric}{{{matchers}, {name}!=""}} @ end())'
    short = first_digits(f"topk by ({by}) (1, {info})", identifier, "short")
    return f'label_join({short}, "{label}", " (", "{name}", "short") or on ({by}) {query}'


def segment_names(chosen=TARGET, seen="{}", also=""):
    """For each segment and target the label `segment`: a name and the first digits of the id, else the id. `seen` says when they
    are looked for."""
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
    """For each application the label `application`: a name and the first digits of the id, else the id, or `digits` of it."""
    there = f"group by ({APP}) (pinpoint_target_up{{{chosen}}}{also})"
    ids = f'label_replace({there}, "application", "$1", "application_id", "{digits}")'
    return with_names(ids, APP, "pinpoint_application_info", "application_name", "application_id", "application", chosen)


def named(query, *matchers):
    """With a label `segment` to show, which is never empty. Names are looked up once and not at each step: `@ end()`."""
    seen = segment_names(", ".join((TARGET, *matchers)), seen="last_over_time({}[$__range] @ end())")
    return f"({query}) * on ({SEGMENT}) group_left (segment) ({seen})"


def named_of_running(query):
    """The same for jobs that run now: their segments are those of now."""
    return f"({query}) * on ({SEGMENT}) group_left (segment) ({segment_names(seen='{} @ end()')})"


def named_fully(query, chosen=TARGET):
    """With the labels `segment` and `application` to show, for a table."""
    # An alert also tells of a segment that is expected and not watched.
    also = f" or {EXPECTED}" if "$segment" in chosen else ""
    return (
        f"({query}) * on ({SEGMENT}) group_left (segment) ({segment_names(chosen, also=also)})"
        f" * on ({APP}) group_left (application) ({application_names(also=also, digits='(.{1,8}).*')})"
    )


# ---- Charts.


def of_newest_success(metric, *matchers):
    """The series of the jobs that succeeded last. Replicas are merged after that, because there are few such jobs."""
    ended = watched("pinpoint_export_job_completed_timestamp_seconds", *matchers)
    last = per_segment("pinpoint_segment_last_completed_export_timestamp_seconds", *matchers)
    values = watched(f"pinpoint_export_job_{metric}", *matchers)
    return f"({values} and on ({JOB}) ({ended} == on ({SEGMENT}) group_left () {last}))"


def newest_success(metric, *matchers):
    """For each segment, a value of the job that succeeded last."""
    return f"max by ({SEGMENT}) {of_newest_success(metric, *matchers)}"


def newest_lost_share(*matchers):
    """The part of the endpoints that this job lost."""
    processed = watched("pinpoint_export_job_processed_endpoints", *matchers)
    return f"clamp_max(max by ({SEGMENT}) ({of_newest_success('failed_endpoints', *matchers)} / ({processed} > 0)), 1)"


def newest_duration(*matchers):
    """How long this job took."""
    last = per_segment("pinpoint_segment_last_completed_export_timestamp_seconds", *matchers)
    return f"({last} - {newest_success('created_timestamp_seconds', *matchers)})"


def progress(*matchers):
    """The part of the pieces that is done."""
    return f"{per_job('completed_pieces', *matchers)} / ({per_job('pieces', *matchers)} > 0)"


def lost_share(*matchers):
    """The part of the endpoints that was lost."""
    return f"clamp_max({per_job('failed_endpoints', *matchers)} / ({per_job('processed_endpoints', *matchers)} > 0), 1)"


def duration(*matchers):
    """How long a job took that has ended."""
    return (
        f"({per_job('completed_timestamp_seconds', *matchers)} - {per_job('created_timestamp_seconds', *matchers)})"
    )


def age(*matchers):
    """How long ago a job was created."""
    return f"(time() - {per_job('created_timestamp_seconds', *matchers)})"


def short_job(query):
    """With a label `job`: the first digits of the job's id."""
    return f'label_replace({query}, "job", "$1", "job_id", "(.{{1,8}}).*")'


def with_begin(query, *matchers):
    """With a label `begun`: when the job was created, in UTC. Prometheus sorts series by labels, so jobs come in this order."""
    created = per_job("created_timestamp_seconds", *matchers)
    digits = " + ".join(
        f"{factor} * {part}({created})"
        for part, factor in (("year", 10**8), ("month", 10**6), ("day_of_month", 10**4), ("hour", 100), ("minute", 1))
    )
    # Prometheus 2.42 loses labels that come after the new one in the alphabet.
    times = f'count_values by ({JOB}) ("time", {digits})'
    times = f'label_replace({times}, "begun", "$1-$2-$3 $4:$5", "time", "(....)(..)(..)(..)(..)")'
    return f"({query}) * on ({JOB}) group_left (begun) {times}"
