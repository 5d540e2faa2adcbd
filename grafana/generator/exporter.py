"""The dashboard of the exporter itself. It shows whether the data of the other dashboards is current."""

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
# There is no metric of the expiry if credentials do not expire, or if there are none. If a target can be read, there are some.
UNLIMITED, NONE = 10**9, -(10**9)
THROTTLED = 'exception=~"TooManyRequestsException|ThrottlingException"'
NO_ATTEMPT = 'exception!="CredentialsError"'


def rate(metric, *matchers, by="operation"):
    """The increase of a counter per second, summed over the chosen exporters."""
    return f"sum by ({by}) (rate({own(metric, *matchers)}[$__rate_interval]))"


def called(query):
    """Only the operations that the exporter calls."""
    return f"{query} and on (operation) sum by (operation) ({own('pinpoint_api_requests_total')}) > 0"


def latency(share):
    """A percentile of the duration of attempts. An operation that is not called has none."""
    buckets = rate("pinpoint_api_request_duration_seconds_bucket", by="operation, le")
    return (
        f"histogram_quantile({share}, {buckets}) and on (operation)"
        f" {rate('pinpoint_api_request_duration_seconds_count')} > 0"
    )


OVERVIEW = row(
    "Overview",
    stat(
        "Down",
        "Exporters that Prometheus cannot scrape. The other panels have no current data for them. If this is red, the row *Scrapes*"
        " shows which ones. Follow the runbook of the alert PinpointExporterDown.",
        "none",
        [now(f"count({own('up')} == 0) or 0 * count({own('up')})")],
        steps=ALARM,
        width=3,
    ),
    stat(
        "Version",
        "Version of the running exporters.",
        "none",
        [now(f"max by (version, revision) ({own('pinpoint_exporter_build_info')})", "{{version}}")],
        text="name",
        width=3,
    ),
    stat(
        "Targets down",
        "Targets that no exporter can read. If this is red, the table *Targets that cannot be read* shows the reasons.",
        "none",
        [now(f"count({UP} == 0) or 0 * count({UP})")],
        steps=ALARM,
        width=3,
    ),
    stat(
        "Failed lists",
        "Lists of applications or segments that cannot be read. New applications and segments are not found. If this is red,"
        " follow the runbook of the alert PinpointDiscoveryFailing.",
        "none",
        [
            now(
                f"count(max by (aws_account_id, aws_region, application_id) (pinpoint_discovery_up{{{APPLICATION}}}) =="
                f" 0) or 0 * count(pinpoint_discovery_up{{{APPLICATION}}}) or {NO_JOB} + 0 * count({UP})"
            )
        ],
        mappings=[values({NO_JOB: ("No lists", GREY)})],
        steps=ALARM,
        width=3,
    ),
    stat(
        "Oldest data",
        "Age of the oldest data. At MAX_STALENESS, data disappears. If this is red, the table *Targets that cannot be read* shows"
        " the reasons.",
        "s",
        [now(f"max({DATA_AGE})")],
        steps=AGE_STEPS,
        width=3,
    ),
    stat(
        "Error ratio",
        "Share of the requests to AWS that fail. Failed requests count even if a retry succeeds. If this is red, the panel *Errors*"
        " shows the exceptions.",
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
        "Time until the credentials expire. The exporter renews them 5 minutes before they expire. If this is red, the renewal"
        " has failed: follow the runbook of the alert PinpointCredentialsExpiring.",
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
        "AWS's clock minus the exporter's clock. If this is red, finished jobs leave the metrics too early or too late: correct"
        " the clock of the exporter's machine.",
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
        "Requests to Pinpoint per second, by operation. AWS's quota is 300 for each operation, account and region.",
        "reqps",
        [query(called(rate("pinpoint_api_requests_total")), "{{operation}}")],
        stacked=True,
    ),
    time_series(
        "Errors",
        "Failed requests per second, by operation and exception. If AWS did not respond, the exception says why.",
        "reqps",
        [query(f"{rate('pinpoint_api_errors_total', by='operation, exception')} > 0", "{{operation}} {{exception}}")],
        stacked=True,
    ),
    time_series(
        "Latency",
        "Duration of a request, without the waits between retries. The lines are the 50th and the 99th percentile.",
        "s",
        [query(latency(0.5), "{{operation}} p50"), query(latency(0.99), "{{operation}} p99")],
    ),
    time_series(
        "Throttling and retries",
        "Throttled requests and retries per second, and the seconds per second that requests waited for the limit"
        " MAX_REQUESTS_PER_SECOND. If AWS throttles requests, lower this limit or raise CACHE_TTL.",
        "short",
        [
            query(rate("pinpoint_api_errors_total", THROTTLED, by=""), "throttled"),
            query(rate("pinpoint_api_retries_total", by=""), "retries"),
            query(rate("pinpoint_api_rate_limit_wait_seconds_total", by=""), "waiting for the limit"),
        ],
    ),
    time_series(
        "Skipped items",
        "Jobs, segments and applications per second that the exporter could not understand in AWS's responses. It shows the rest"
        " of the response. The log has details.",
        "reqps",
        [query(called(rate("pinpoint_api_skipped_items_total")), "{{operation}}")],
        width=8,
    ),
    time_series(
        "Time until credentials expire",
        "Time until the credentials of each account expire. If they are renewed in time, the line is a sawtooth above 4 minutes.",
        "s",
        [query(f"{EXPIRY} - time()", "{{instance}} {{aws_account_id}}")],
        width=8,
        steps=thresholds((240, RED)),
    ),
    time_series(
        "Clock skew over time",
        "AWS's clock minus the exporter's clock. If the line moves away from 0, the clock of the exporter's machine drifts.",
        "s",
        [query(own("pinpoint_exporter_clock_skew_seconds"), "{{instance}}")],
        width=8,
        soft_least=-1,
    ),
)

FRESHNESS = row(
    "Targets and freshness",
    time_series(
        "Refresh duration",
        "Duration of the last refresh of a target. Above the line CACHE_TTL, data gets older than CACHE_TTL. Then raise"
        " MAX_REQUESTS_PER_SECOND or CACHE_TTL, or use shards.",
        "s",
        [
            query(f"max(pinpoint_target_refresh_duration_seconds{{{APPLICATION}}})", "slowest target"),
            query(f"quantile(0.5, pinpoint_target_refresh_duration_seconds{{{APPLICATION}}})", "median of the targets"),
            query("vector($cache_ttl)", "CACHE_TTL"),
        ],
        logarithmic=True,
        limit="CACHE_TTL",
    ),
    time_series(
        "Age of the data",
        "Age of the data that the exporter shows. At the line MAX_STALENESS, data disappears.",
        "s",
        [
            query(f"max({DATA_AGE})", "oldest target"),
            query(f"quantile(0.5, {DATA_AGE})", "median of the targets"),
            query("vector($max_staleness)", "MAX_STALENESS"),
        ],
        logarithmic=True,
        limit="MAX_STALENESS",
    ),
    table(
        "Targets that cannot be read",
        "Targets that no exporter can read, with the reason. *Exception* links to the runbook.",
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
                mappings=[values({1: ("Not readable", RED), NOTHING: ("All targets can be read", GREEN)})],
                custom_cellOptions={"type": "color-text"},
                custom_width=160,
                custom_align="left",
            ),
            column("Last read", unit="dateTimeFromNow", custom_width=140),
        ],
    ),
    time_series(
        "Targets",
        "Targets that the exporters watch, and targets that they can read.",
        "none",
        [query(f"count({UP})", "watched"), query(f"sum({UP})", "readable")],
        step_line=True,
    ),
    time_series(
        "Lists of applications and segments",
        "Whether the exporter can read each list: 1 is yes, and 0 is no. A line without an application is the list of a region's"
        " applications.",
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
        "Availability of the exporters",
        "Whether Prometheus could scrape each exporter.",
        [query(own("up"), "{{instance}}")],
        mappings=[values({0: ("Down", RED), 1: ("Up", "semi-dark-green")})],
        height=5,
    ),
    time_series(
        "Cache hit ratio",
        "Share of the cached targets that scrapes used without a refresh. With one Prometheus server and CACHE_TTL below the"
        " scrape interval, 0 % is normal. With two servers, about 50 % is normal.",
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
        "Time that the exporter takes to respond to a scrape. It must stay below Prometheus's scrape timeout.",
        "s",
        [query(own("pinpoint_exporter_last_scrape_duration_seconds"), "{{instance}}")],
        width=8,
    ),
    time_series(
        "Series per scrape",
        "Series of jobs, segments and targets in a scrape. Above its sample_limit, Prometheus drops the whole scrape.",
        "short",
        [query(own("pinpoint_exporter_series"), "{{instance}}")],
        width=8,
    ),
)

PROCESS = row(
    "Process",
    time_series(
        "CPU usage",
        "Share of one core that the exporter uses.",
        "percentunit",
        [query(f"rate({own('process_cpu_seconds_total')}[$__rate_interval])", "{{instance}}")],
        width=8,
        soft_most=0.1,
    ),
    time_series(
        "Memory usage",
        "Resident memory of the exporter.",
        "bytes",
        [query(own("process_resident_memory_bytes"), "{{instance}}")],
        width=8,
    ),
    time_series(
        "File descriptor usage",
        "Open files and connections of the exporter, as a share of the limit (`ulimit -n`).",
        "percentunit",
        [query(f"{own('process_open_fds')} / {own('process_max_fds')}", "{{instance}}")],
        most=1,
        width=8,
    ),
)

DASHBOARD = dashboard(
    UID,
    "Pinpoint exporter",
    "Health of pinpoint-exporter: its calls to AWS, the age of its data, and its resource usage.",
    variables(
        number("cache_ttl", "CACHE_TTL", "50", "The exporter's CACHE_TTL in seconds, for the line in Refresh duration"),
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
