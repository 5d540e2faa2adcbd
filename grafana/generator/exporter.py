"""The dashboard of the exporter itself: can I believe the others?"""

from jobs import APPLICATION_WIDTH, NAME_WIDTH, RESTARTS, TO_RUNBOOK, TO_SEGMENT
from panels import (
    AGE_STEPS,
    ALARM,
    GREEN,
    GREY,
    RED,
    YELLOW,
    column,
    dashboard,
    links_but,
    now,
    number,
    query,
    row,
    stat,
    state_timeline,
    table,
    thresholds,
    time_series,
    values,
    variables,
)
from queries import APP, APPLICATION, NO_JOB, NOTHING, SEGMENT, application_names, data_age, named_fully, own, unreadable

UID = "pinpoint-exporter"

UP = f"max by ({SEGMENT}) (pinpoint_target_up{{{APPLICATION}}})"
DATA_AGE = data_age(APPLICATION)
EXPIRY = own("pinpoint_exporter_credentials_expiry_timestamp_seconds", 'aws_account_id=~"$account"')
NO_CREDENTIALS = f"""max(pinpoint_target_error{{{APPLICATION}, exception="CredentialsError"}})"""
# Credentials that do not expire have no metric, and neither has a process without any: a target that is read tells.
UNLIMITED, NONE = 10**9, -(10**9)
THROTTLED = 'exception=~"TooManyRequestsException|ThrottlingException"'
NO_ATTEMPT = 'exception!="CredentialsError"'


def rate(metric, *matchers, by="operation"):
    """A counter's growth per second, of all the exporters that are chosen."""
    return f"sum by ({by}) (rate({own(metric, *matchers)}[$__rate_interval]))"


def called(query):
    """Only of the operations that are called at all."""
    return f"{query} and on (operation) sum by (operation) ({own('pinpoint_api_requests_total')}) > 0"


def latency(share):
    """How long the fastest part of the attempts took at most; nothing for an operation that is not called."""
    buckets = rate("pinpoint_api_request_duration_seconds_bucket", by="operation, le")
    return (
        f"histogram_quantile({share}, {buckets}) and on (operation)"
        f" {rate('pinpoint_api_request_duration_seconds_count')} > 0"
    )


OVERVIEW = row(
    "Overview",
    stat(
        "Down",
        "How many exporters can Prometheus not scrape? Their other data here are not current. The timeline below shows which.",
        "none",
        [now(f"count({own('up')} == 0) or 0 * count({own('up')})")],
        steps=ALARM,
        width=3,
    ),
    stat(
        "Version",
        "Which version runs?",
        "none",
        [now(f"max by (version, revision) ({own('pinpoint_exporter_build_info')})", "{{version}}")],
        text="name",
        width=3,
    ),
    stat(
        "Not readable",
        "How many targets can no exporter read? The table below shows which, and why.",
        "none",
        [now(f"count({UP} == 0) or 0 * count({UP})")],
        steps=ALARM,
        width=3,
    ),
    stat(
        "Failed lists",
        "How many lists of applications or segments cannot be read? New ones are not watched.",
        "none",
        [
            now(
                f"count(max by (aws_account_id, aws_region, application_id) (pinpoint_discovery_up{{{APPLICATION}}}) =="
                f" 0) or 0 * count(pinpoint_discovery_up{{{APPLICATION}}}) or {NO_JOB} + 0 * count({UP})"
            )
        ],
        mappings=[values({NO_JOB: ("None needed", GREY)})],
        steps=ALARM,
        width=3,
    ),
    stat(
        "Oldest data",
        "How old are the oldest data? Beyond MAX_STALENESS they vanish.",
        "s",
        [now(f"max({DATA_AGE})")],
        steps=AGE_STEPS,
        width=3,
    ),
    stat(
        "Failed calls",
        "What part of the attempts to call AWS fails? Retries may still hide it.",
        "percentunit",
        [
            now(
                f"sum(rate({own('pinpoint_api_errors_total', NO_ATTEMPT)}[$__rate_interval])) "
                f"/ (sum(rate({own('pinpoint_api_requests_total')}[$__rate_interval])) > 0)"
            )
        ],
        steps=thresholds((0, GREEN), (0.01, YELLOW), (0.1, RED)),
        width=3,
        decimals=1,
    ),
    stat(
        "Credentials",
        "How long are the credentials valid? They are renewed 5 minutes before they expire. Less than 4 minutes means that "
        "the renewal failed.",
        "s",
        [
            now(
                f"min({EXPIRY}) - time() or {NONE} + 0 * {NO_CREDENTIALS} or {UNLIMITED} + 0 * max({UP} == 1)"
            )
        ],
        mappings=[values({UNLIMITED: ("No expiry", GREEN), NONE: ("None", RED)})],
        steps=thresholds((-1e8, RED), (240, GREEN)),
        width=3,
    ),
    stat(
        "Clock skew",
        "By how much is AWS's clock ahead of the exporter's? Beyond a minute, finished jobs leave the metrics early or late."
        " Beyond 5 minutes, AWS refuses requests that are not corrected.",
        "s",
        [now(f"max({own('pinpoint_exporter_clock_skew_seconds')})")],
        steps=thresholds((-1e9, RED), (-60, GREEN), (60, RED)),
        width=3,
        decimals=1,
    ),
)

API = row(
    "Calls to AWS",
    time_series(
        "Requests",
        "How many requests per second does the exporter send to Pinpoint? AWS's quota is 300 for each operation, account and"
        " region.",
        "reqps",
        [query(called(rate("pinpoint_api_requests_total")), "{{operation}}")],
        stacked=True,
    ),
    time_series(
        "Errors",
        "Which calls fail, and why? The name is AWS's exception, or the reason why there was no answer.",
        "reqps",
        [query(f"{rate('pinpoint_api_errors_total', by='operation, exception')} > 0", "{{operation}} {{exception}}")],
        stacked=True,
    ),
    time_series(
        "Latency",
        "How long do calls take, without the waits for retries? The lines are the 50th and the 99th percentile.",
        "s",
        [query(latency(0.5), "{{operation}} half"), query(latency(0.99), "{{operation}} 99 %")],
    ),
    time_series(
        "Throttling and retries",
        "Is the account's quota used up? The lines are attempts that AWS throttled, all retries, and the seconds per second"
        " that requests waited for MAX_REQUESTS_PER_SECOND.",
        "short",
        [
            query(rate("pinpoint_api_errors_total", THROTTLED, by=""), "throttled"),
            query(rate("pinpoint_api_retries_total", by=""), "repeated"),
            query(rate("pinpoint_api_rate_limit_wait_seconds_total", by=""), "waiting"),
        ],
    ),
    time_series(
        "Items skipped",
        "How many jobs, segments or applications in AWS's answers could the exporter not read? It leaves them out and shows"
        " the rest of the answer. The log says more.",
        "reqps",
        [query(called(rate("pinpoint_api_skipped_items_total")), "{{operation}}")],
        width=8,
    ),
    time_series(
        "Time to credentials' expiry",
        "Are credentials renewed in time? If they are, the line is a saw-tooth that stays above 4 minutes.",
        "s",
        [query(f"{EXPIRY} - time()", "{{instance}} {{aws_account_id}}")],
        width=8,
        steps=thresholds((240, RED)),
    ),
    time_series(
        "Clock drift",
        "Does the machine's clock drift from AWS's?",
        "s",
        [query(own("pinpoint_exporter_clock_skew_seconds"), "{{instance}}")],
        width=8,
        soft_least=-1,
    ),
)

FRESHNESS = row(
    "Targets and freshness",
    time_series(
        "Refresh time",
        "Does a refresh fit into CACHE_TTL? Above the line, data get older than CACHE_TTL. Then raise"
        " MAX_REQUESTS_PER_SECOND or CACHE_TTL, or use shards.",
        "s",
        [
            query(f"max(pinpoint_target_refresh_duration_seconds{{{APPLICATION}}})", "slowest target"),
            query(f"quantile(0.5, pinpoint_target_refresh_duration_seconds{{{APPLICATION}}})", "half of the targets"),
            query("vector($cache_ttl)", "CACHE_TTL"),
        ],
        logarithmic=True,
        limit="CACHE_TTL",
    ),
    time_series(
        "Age of the data",
        "How old are the data that the exporter shows? Above the line they vanish.",
        "s",
        [
            query(f"max({DATA_AGE})", "oldest target"),
            query(f"quantile(0.5, {DATA_AGE})", "half of the targets"),
            query("vector($max_staleness)", "MAX_STALENESS"),
        ],
        logarithmic=True,
        limit="MAX_STALENESS",
    ),
    table(
        "Targets that cannot be read",
        "Which targets fail, and why? The exception leads to the runbook.",
        {
            "Failing": named_fully(unreadable(APPLICATION), chosen=APPLICATION),
            "Last read": (
                f"max by ({SEGMENT}) (pinpoint_target_last_success_timestamp_seconds{{{APPLICATION}}}) * 1000 "
                f"and on ({SEGMENT}) ({UP} == 0)"
            ),
        },
        labels={
            "exception": "Exception",
            "segment": "Segment",
            "application": "Application",
        },
        last={"runbook": "runbook"},
        sort=[("Exception", False)],
        hidden=("runbook",),
        empty=f"count({UP})",
        height=7,
        overrides=[
            column("Exception", links=[TO_RUNBOOK], custom_width=280),
            column("Segment", links=[TO_SEGMENT], custom_width=NAME_WIDTH),
            column("Application", custom_width=APPLICATION_WIDTH),
            column(
                "Failing",
                mappings=[values({1: ("Not readable", RED), NOTHING: ("All targets are read", GREEN)})],
                custom_cellOptions={"type": "color-text"},
                custom_width=160,
                custom_align="left",
            ),
            column("Last read", unit="dateTimeFromNow", custom_width=140),
        ],
    ),
    time_series(
        "Targets",
        "How many targets are watched, and how many of them can be read?",
        "none",
        [query(f"count({UP})", "watched"), query(f"sum({UP})", "readable")],
        step_line=True,
    ),
    time_series(
        "Lists",
        "Can the lists of applications and of segments be read? 0 means that a list cannot be read. A line without an"
        " application is the list of a region's applications.",
        "none",
        [
            query(
                f"max by ({APP}) (pinpoint_discovery_up{{{APPLICATION}}}) * on ({APP}) group_left (application)"
                f" ({application_names(also=f' or pinpoint_discovery_up{{{APPLICATION}}}')})",
                "{{aws_region}} {{aws_account_id}} {{application}}",
            )
        ],
        most=1,
        step_line=True,
    ),
)

SCRAPES = row(
    "Scrapes",
    state_timeline(
        "Exporters",
        "Which exporter could Prometheus scrape, and when?",
        [query(own("up"), "{{instance}}")],
        mappings=[values({0: ("Down", RED), 1: ("Up", "semi-dark-green")})],
        height=5,
    ),
    time_series(
        "Cache hits",
        "How much does the cache save? With one Prometheus and CACHE_TTL below the scrape interval, it saves nothing, and"
        " that is right. With two servers, it should save about half.",
        "percentunit",
        [
            query(
                f"{rate('pinpoint_exporter_cache_hits_total', by='instance')} "
                f"/ ({rate('pinpoint_exporter_cache_lookups_total', by='instance')} > 0)",
                "{{instance}}",
            )
        ],
        most=1,
        width=8,
    ),
    time_series(
        "Scrape duration",
        "How long does an answer to Prometheus take? It must stay below the scrape timeout.",
        "s",
        [query(own("pinpoint_exporter_last_scrape_duration_seconds"), "{{instance}}")],
        width=8,
    ),
    time_series(
        "Series",
        "How many series of jobs, segments and targets are in a scrape? Above the sample_limit, Prometheus drops all of them.",
        "short",
        [query(own("pinpoint_exporter_series"), "{{instance}}")],
        width=8,
    ),
)

PROCESS = row(
    "Process",
    time_series(
        "CPU",
        "How much of a core does the exporter use?",
        "percentunit",
        [query(f"rate({own('process_cpu_seconds_total')}[$__rate_interval])", "{{instance}}")],
        width=8,
        soft_most=0.1,
    ),
    time_series(
        "Memory",
        "How much memory does the exporter hold?",
        "bytes",
        [query(own("process_resident_memory_bytes"), "{{instance}}")],
        width=8,
    ),
    time_series(
        "File descriptors",
        "Is the exporter near the limit of open files and connections?",
        "percentunit",
        [query(f"{own('process_open_fds')} / {own('process_max_fds')}", "{{instance}}")],
        most=1,
        width=8,
    ),
)

DASHBOARD = dashboard(
    UID,
    "Pinpoint exporter",
    "Whether pinpoint-exporter works: its calls to AWS, the age of its data, and its resource use.",
    variables(
        number("cache_ttl", "CACHE_TTL", "50", "The exporter's CACHE_TTL in seconds, for the line in Refresh time"),
        number(
            "max_staleness",
            "MAX_STALENESS",
            "600",
            "The exporter's MAX_STALENESS in seconds, for the line in Age of the data",
        ),
        segments=False,
    ),
    [RESTARTS],
    [OVERVIEW, API, FRESHNESS, SCRAPES, PROCESS],
    links_but(UID),
    since="now-6h",
)
