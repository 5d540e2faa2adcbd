"""Building blocks of panels, variables and dashboards."""

from queries import (
    EXPORTER,
    JOB,
    KNOWN,
    NO_JOB,
    NOTHING,
    READABLE,
    REGION,
    RULES_RECORD,
    RUNS,
    SEGMENT,
    STATUSES,
    UNREADABLE,
    URGENT,
    application_names,
    jobs_in,
    marked,
    of_chosen,
    per_job,
    segment_names,
    urgency,
    watched,
)

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
TAG = "pinpoint-exporter"

GREEN, YELLOW, ORANGE, RED, BLUE, GREY = "green", "yellow", "orange", "red", "blue", "#8e8e8e"
# Blue while a job waits or works, darker as it makes progress. Purple while it waits for another job.
STATUS_COLOURS = {
    "UNKNOWN": GREY,
    "CREATED": "super-light-blue",
    "PREPARING_FOR_INITIALIZATION": "light-blue",
    "INITIALIZING": "blue",
    "PROCESSING": "dark-blue",
    "PENDING_JOB": "purple",
    "COMPLETING": "super-light-green",
    "COMPLETED": "semi-dark-green",
    "FAILING": "orange",
    "FAILED": "semi-dark-red",
    "CANCELLING": "light-yellow",
    "CANCELLED": "dark-yellow",
}
# Values that are not states of a job.
OTHER_STATES = {
    NO_JOB: ("NEVER EXPORTED", "#5a5f66"),
    UNREADABLE: ("NOT READABLE", "light-red"),
    READABLE: ("READABLE", "#3d5245"),
}
NO_DATA = "No data"
RUNBOOKS = "https://github.com/pinpoint-exporter/pinpoint-exporter/blob/main/deploy/runbooks"


def values(texts):
    """Value mappings: a text and a colour for each value."""
    return {
        "type": "value",
        "options": {
            str(value): {"text": text, "color": colour, "index": index}
            for index, (value, (text, colour)) in enumerate(texts.items())
        },
    }


STATE_MAPPINGS = [
    values({**{number: (status, STATUS_COLOURS[status]) for number, status in enumerate(STATUSES)}, **OTHER_STATES})
]


def unknown(none=None):
    """Texts for a missing number: the target cannot be read, or there is no such job."""
    texts = {UNREADABLE: ("Not known: cannot be read", GREY)}
    return [values({**texts, **({} if none is None else {NO_JOB: (none, GREY)})})]


def thresholds(*steps, base="text"):
    """The colours from these values upwards. The base also colours the text for no value, so it is neutral."""
    return {
        "mode": "absolute",
        "steps": [{"value": None, "color": base}, *({"value": at, "color": colour} for at, colour in steps)],
    }


# For the age of data, in seconds.
AGE_STEPS = thresholds((-1e9, GREEN), (300, ORANGE), (600, RED))
# For numbers that should be 0.
ALARM = thresholds((0, GREEN), (1, RED))
WARNING = thresholds((0, GREEN), (1, ORANGE))


def query(expr, legend="", ref="A"):
    """A query over the time range of the dashboard."""
    return {
        "refId": ref,
        "datasource": DATASOURCE,
        "editorMode": "code",
        "expr": expr,
        "legendFormat": legend or "__auto",
        "range": True,
        "instant": False,
        "format": "time_series",
    }


def now(expr, legend="", ref="A", form="time_series"):
    """A query at the current time."""
    return {**query(expr, legend, ref), "range": False, "instant": True, "format": form}


def refs(*queries):
    """The queries, each with its own letter."""
    return [{**one, "refId": chr(ord("A") + index)} for index, one in enumerate(queries)]


def panel(kind, title, description, unit, queries, width, height, defaults, options, overrides=()):
    """The members that every panel has. Grafana also shows the text for no value when a query fails, so it states no fact."""
    return {
        "type": kind,
        "title": title,
        "description": description,
        "datasource": DATASOURCE,
        "gridPos": {"x": 0, "y": 0, "w": width, "h": height},
        "fieldConfig": {"defaults": {"unit": unit, "noValue": NO_DATA, **defaults}, "overrides": list(overrides)},
        "options": options,
        "targets": refs(*queries),
    }


def stat(
    title,
    description,
    unit,
    queries,
    *,
    width=4,
    height=4,
    steps=None,
    mappings=(),
    text="value",
    decimals=None,
    links=(),
):
    """A number."""
    defaults = {
        "color": {"mode": "thresholds"},
        "mappings": list(mappings),
        "thresholds": steps or thresholds(base=BLUE),
        "links": list(links),
        **({} if decimals is None else {"decimals": decimals}),
    }
    options = {
        "colorMode": "value",
        "graphMode": "none",
        "justifyMode": "auto",
        "orientation": "auto",
        "textMode": text,
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
    }
    return panel("stat", title, description, unit, queries, width, height, defaults, options)


# The minimum height of an axis. Without it, the axis of a constant 0 would reach to 100.
SOFT_MOST = {"percentunit": 0.01, "s": 1, "reqps": 0.1, "cps": 1, "none": 1, "short": 1, "bytes": 1e6}


def time_series(
    title,
    description,
    unit,
    queries,
    *,
    width=12,
    height=9,
    stacked=False,
    most=None,
    soft_most=None,
    soft_least=None,
    steps=None,
    step_line=False,
    logarithmic=False,
    limit=None,
    last_hours=None,
    interval=None,
):
    """Lines over time. `limit` names the query whose line is a limit. `interval` is the minimum step between points."""
    custom = {
        "drawStyle": "line",
        "lineWidth": 1,
        "fillOpacity": 25 if stacked else 8,
        # A single point has no line.
        "showPoints": "auto",
        "pointSize": 4,
        "spanNulls": False,
        "lineInterpolation": "stepAfter" if step_line else "linear",
        "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
        "thresholdsStyle": {"mode": "dashed" if steps else "off"},
    }
    least = {}
    if logarithmic:
        custom["scaleDistribution"] = {"type": "log", "log": 10}
    elif soft_least is None:
        least = {"min": 0}
    else:
        custom["axisSoftMin"] = soft_least
    if most is None and not logarithmic:
        custom["axisSoftMax"] = soft_most or SOFT_MOST[unit]
    defaults = {
        "color": {"mode": "palette-classic"},
        "custom": custom,
        "mappings": [],
        "thresholds": steps or thresholds(),
        **least,
        **({} if most is None else {"max": most}),
    }
    options = {
        "legend": {
            "displayMode": "table",
            "placement": "bottom",
            "showLegend": True,
            "calcs": ["lastNotNull", "max"],
            "sortBy": "Last *",
            "sortDesc": True,
        },
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    overrides = []
    if any("{{status}}" in one["legendFormat"] for one in queries):
        overrides = [
            column(status, color={"mode": "fixed", "fixedColor": colour}) for status, colour in STATUS_COLOURS.items()
        ]
    if limit:
        overrides.append(
            column(
                limit,
                color={"mode": "fixed", "fixedColor": RED},
                custom_fillOpacity=0,
                custom_lineStyle={"fill": "dash", "dash": [10, 10]},
            )
        )
    one = panel("timeseries", title, description, unit, queries, width, height, defaults, options, overrides)
    return {
        **one,
        **({"timeFrom": f"{last_hours}h"} if last_hours else {}),
        **({"interval": interval} if interval else {}),
    }


def state_timeline(title, description, queries, *, width=24, height=9, mappings=None, interval=None):
    """States over time, in the colours of the states.

    With the colour mode `thresholds`, Grafana would show threshold bands instead of the mappings. With a text for no value, it
    would fill gaps.
    """
    defaults = {
        "color": {"mode": "fixed", "fixedColor": GREY},
        "custom": {"lineWidth": 0, "fillOpacity": 80},
        "mappings": mappings or STATE_MAPPINGS,
        "thresholds": thresholds(),
    }
    options = {
        "mergeValues": True,
        "showValue": "auto",
        "alignValue": "left",
        "rowHeight": 0.85,
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
        "tooltip": {"mode": "single", "sort": "none"},
    }
    one = panel("state-timeline", title, description, "none", queries, width, height, defaults, options)
    del one["fieldConfig"]["defaults"]["noValue"]
    return {**one, **({"interval": interval} if interval else {})}


def column(name, **properties):
    """The properties of a column or series. Write `custom_` for `custom.`."""
    return {
        "matcher": {"id": "byName", "options": name},
        "properties": [{"id": key.replace("custom_", "custom."), "value": value} for key, value in properties.items()],
    }


def link(title, url, new_tab=False):
    """A link of a cell."""
    return {"title": title, "url": url, "targetBlank": new_tab}


def table(title, description, columns, *, sort, labels, empty, last=None, hidden=(), overrides=(), height=10, needs=None):
    """A table with one row for each set of labels.

    `columns` maps titles to queries, and `labels` maps labels to titles. The order is: labels, queries, `last` labels. To place a
    query among the labels, name its value there. `empty` counts the watched things. If there are some but the table has no row,
    the column of the first query says so. A row without a value in the column `needs` is left out.
    """
    # Links use the ids, so their columns are hidden and not removed.
    ids = {name: name for name in (*SEGMENT.split(", "), *(["job_id"] if "job" in labels else []))}
    first = next(iter(columns))
    columns = {**columns, first: f"({columns[first]}) or on () ({NOTHING} + 0 * {empty})"}
    queries = refs(*(now(expr, form="table") for expr in columns.values()))
    values_of = {name: f"Value #{one['refId']}" for one, name in zip(queries, columns)}
    titles = {**labels, **{value: name for name, value in values_of.items()}, **(last or {}), **ids}
    organize = {
        "excludeByName": {"Time": True, "chosen": True},
        "indexByName": {name: index for index, name in enumerate(titles)},
        "renameByName": titles,
    }
    defaults = {
        "custom": {"align": "auto", "cellOptions": {"type": "auto"}, "inspect": False, "filterable": False},
        "mappings": [],
        "thresholds": thresholds(),
    }
    options = {
        "showHeader": True,
        "cellHeight": "sm",
        "sortBy": [{"displayName": name, "desc": descending} for name, descending in sort],
        "footer": {"show": False, "reducer": ["sum"], "countRows": False, "enablePagination": True, "fields": ""},
    }
    shown = [
        # The text for no value is meant for the whole table, and a single cell can be empty. Links use the text of a cell, so an
        # empty label must stay empty.
        *(
            {"matcher": {"id": "byType", "options": kind}, "properties": [{"id": "noValue", "value": text}]}
            for kind, text in (("number", "–"), ("string", ""))
        ),
        *(column(name, custom_hidden=True) for name in (*ids, *hidden)),
        *overrides,
    ]
    one = panel("table", title, description, "short", queries, 24, height, defaults, options, shown)
    filled = {"fieldName": values_of[needs], "config": {"id": "isNotNull", "options": {}}} if needs else None
    one["transformations"] = [
        {"id": "merge", "options": {}},
        *(
            [{"id": "filterByValue", "options": {"filters": [filled], "type": "include", "match": "all"}}]
            if filled
            else []
        ),
        {"id": "organize", "options": organize},
    ]
    return one


STATE_COLUMN = {
    "custom_cellOptions": {"type": "color-background", "mode": "basic"},
    "custom_width": 240,
    "custom_align": "left",
}


def with_nothing(mappings, text, colour=GREY):
    """The mappings, and the text of a table without rows."""
    (mapping,) = mappings
    texts = {**mapping["options"], str(NOTHING): {"text": text, "color": colour, "index": len(mapping["options"])}}
    return [{**mapping, "options": texts}]


def row(title, *panels):
    """A row with its panels from left to right, in as many lines as they need."""
    return [
        {"type": "row", "title": title, "collapsed": False, "panels": [], "gridPos": {"x": 0, "y": 0, "w": 24, "h": 1}},
        *panels,
    ]


def place(panels):
    """Gives each panel its position and its id."""
    x = y = line = 0
    for number, one in enumerate(panels, 1):
        size = one["gridPos"]
        if x + size["w"] > 24:
            x, y, line = 0, y + line, 0
        size["x"], size["y"] = x, y
        x, line = x + size["w"], max(line, size["h"])
        one["id"] = number
    return panels


def asked(name, label, definition, kind, *, regex="", several=True, everything=None, refresh=2, hide=0, sort=1):
    """A variable with the values of a query. Grafana reads it when the time range changes (2), or when the dashboard opens (1)."""
    one = {
        "type": "query",
        "name": name,
        "label": label,
        "datasource": DATASOURCE,
        "definition": definition,
        "query": {"qryType": kind, "query": definition, "refId": f"variable-{name}"},
        "refresh": refresh,
        "sort": sort,
        "regex": regex,
        "hide": hide,
        "skipUrlSync": False,
        "multi": several,
        "includeAll": several,
        "options": [],
    }
    if several:
        one["current"] = {"selected": True, "text": ["All"], "value": ["$__all"]}
        if everything:
            one["allValue"] = everything
    else:
        one["current"] = {}
    return one


def labels_variable(name, label, metric, source, **more):
    """A variable with the values of a label."""
    return asked(name, label, f"label_values({metric}, {source})", 1, **more)


def names_variable(name, label, names, identifier, **more):
    """A variable that shows names, and has ids as its values. Prometheus writes the labels of a series in alphabetical order."""
    shown = identifier.removesuffix("_id")
    query = f"max by ({identifier}, {shown}) ({names})"
    regex = f'/{shown}="(?<text>[\\s\\S]*)",{identifier}="(?<value>[\\s\\S]*)"}} /'
    return asked(name, label, f"query_result({query})", 3, regex=regex, **more)


def ids_variable(name, query, identifier):
    """A hidden variable with the ids that a chart or a table shows, so that its queries select nothing else."""
    one = asked(name, name, f"query_result({query})", 3, regex=f'/{identifier}="([^"]+)"/', hide=2, sort=0)
    return {**one, "skipUrlSync": True}


def number(name, label, value, description):
    """A variable whose value the user types."""
    one = {"text": value, "value": value, "selected": True}
    return {
        "type": "textbox",
        "name": name,
        "label": label,
        "description": description,
        "query": value,
        "current": one,
        "options": [one],
        "hide": 0,
        "skipUrlSync": False,
    }


def choice(name, label, options, everything):
    """A variable with a fixed list of values."""
    return {
        "type": "custom",
        "name": name,
        "label": label,
        "query": ",".join(options),
        "multi": True,
        "includeAll": True,
        "allValue": everything,
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        "hide": 0,
        "skipUrlSync": False,
        "options": [
            {"text": "All", "value": "$__all", "selected": True},
            *({"text": option, "value": option, "selected": False} for option in options),
        ],
    }


STATUS = choice("status", "Status", STATUSES[1:] + STATUSES[:1], "^$")
CHOSEN_STATUS = 'status=~"$status"'
WHY = choice("why", "Reason", tuple(URGENT), ".*")
# The number of segments and jobs in a chart, and of jobs in the table.
SEGMENTS_DRAWN, JOBS_DRAWN, JOBS_LISTED = 20, 20, 100
SEEN = "max by ({}) (last_over_time({}[$__range]))".format(
    SEGMENT, watched("pinpoint_segment_suppressed_export_jobs", 'reason="age"')
)

# Whether the rules are installed.
RECORDED = {
    **asked(
        "recorded",
        "recorded",
        # Grafana writes the name of a metric outside the braces, so the query adds a label.
        f"query_result({marked(f'group({RULES_RECORD})', recorded='yes')})",
        3,
        regex='/recorded="([^"]+)"/',
        several=False,
        hide=2,
    ),
    "skipUrlSync": True,
}
SHOWN_SEGMENTS = ids_variable("shown", f"bottomk({SEGMENTS_DRAWN}, {urgency()})", "segment_id")
# Segments that are no longer shown, so that a chart of the past has lines while the exporter is down. This is a separate variable
# because each selector of a query reads as far back as the oldest one.
GONE_SEGMENTS = ids_variable("gone", f"topk({SEGMENTS_DRAWN}, {SEEN} unless on ({SEGMENT}) {KNOWN})", "segment_id")
RUNNING_JOBS = ids_variable("running", f"topk({JOBS_DRAWN}, {of_chosen(RUNS)})", "job_id")
# If no state is chosen, `status` matches series without a label `status`: all creation times, and no state series.
LISTED_JOBS = ids_variable(
    "listed",
    f"topk({JOBS_LISTED}, {per_job('created_timestamp_seconds', CHOSEN_STATUS)} or"
    f" {per_job('created_timestamp_seconds')} and on ({JOB}) {jobs_in(CHOSEN_STATUS)})",
    "job_id",
)


def variables(*more, one_segment=False, segments=True):
    """The variables of a dashboard. Each is limited by those before it. Variables that usually have one value are hidden."""
    listed = [
        {
            "type": "datasource",
            "name": "datasource",
            "label": "Data source",
            "query": "prometheus",
            "regex": "",
            "refresh": 1,
            # Without this, Grafana chooses the first data source in alphabetical order.
            "current": {"selected": True, "text": "default", "value": "default"},
            "options": [],
            "hide": 0,
            "skipUrlSync": False,
            "multi": False,
            "includeAll": False,
        },
        # *All* means the existing values. A pattern such as `.+` would also select `up` and `process_*` of other jobs.
        labels_variable("job", "Job", "pinpoint_exporter_build_info", "job", hide=2),
        labels_variable("instance", "Instance", 'pinpoint_exporter_build_info{job=~"$job"}', "instance"),
        # Without ARNs among the targets, the account is empty and has no value to choose. *All* also matches the empty one.
        labels_variable(
            "account", "Account", f"pinpoint_target_up{{{EXPORTER}}}", "aws_account_id", everything=".*", hide=2
        ),
        labels_variable(
            "region",
            "Region",
            f'pinpoint_target_up{{{EXPORTER}, aws_account_id=~"$account"}}',
            "aws_region",
            everything=".*",
            hide=2,
        ),
        names_variable(
            "application",
            "Application",
            application_names(REGION),
            "application_id",
            several=not one_segment,
            everything=".*",
        ),
    ]
    if segments:
        listed.append(
            names_variable(
                "segment",
                "Segment",
                segment_names(f'{REGION}, application_id=~"$application", segment_id!=""'),
                "segment_id",
                several=not one_segment,
                everything=".*",
                # A link can set the empty segment, which is not among the values. If Grafana read the values again, it would
                # choose another segment.
                refresh=1 if one_segment else 2,
            )
        )
    return {"list": [*listed, *more]}


def event(name, colour, expr, title, text):
    """An annotation at the times that a query returns in seconds."""
    return {
        "name": name,
        "datasource": DATASOURCE,
        "enable": True,
        "hide": False,
        "iconColor": colour,
        "expr": f"{expr} * 1000",
        "useValueForTime": True,
        "step": "5m",
        "titleFormat": title,
        "textFormat": text,
    }


def dashboard(uid, title, description, templating, annotations, rows, others, since="now-24h"):
    """A dashboard, with links to the others that keep variables and time."""
    return {
        "uid": uid,
        "title": title,
        "description": description,
        "tags": [TAG],
        "schemaVersion": 38,
        "editable": False,
        "graphTooltip": 1,
        "timezone": "browser",
        "refresh": "1m",
        "time": {"from": since, "to": "now"},
        "timepicker": {"refresh_intervals": ["30s", "1m", "5m", "15m", "1h"]},
        "fiscalYearStartMonth": 0,
        "liveNow": False,
        "weekStart": "",
        "links": [
            {
                "type": "link",
                "title": name,
                "url": f"/d/{other}?{KEPT}",
                "icon": "dashboard",
                "tooltip": tooltip,
                "tags": [],
                "asDropdown": False,
                "targetBlank": False,
                # `True` would also carry *All* to a dashboard of one application and segment.
                "includeVars": False,
                "keepTime": True,
            }
            for other, (name, tooltip) in others.items()
        ],
        "templating": templating,
        "annotations": {"list": annotations},
        "panels": place([one for panels in rows for one in panels]),
    }


# Links between the dashboards keep these variables. All dashboards have them, with the same choices.
KEPT = "&".join(f"${{{name}:queryparam}}" for name in ("datasource", "job", "instance", "account", "region"))
LINKS = {
    "pinpoint-export-jobs": ("Export jobs", "The export jobs of all segments"),
    "pinpoint-segment": ("Segment", "The history of one segment"),
    "pinpoint-exporter": ("Exporter", "The health of the exporter"),
}


def links_but(uid):
    """Links to the other dashboards."""
    return {other: link for other, link in LINKS.items() if other != uid}
