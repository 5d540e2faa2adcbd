"""The panels' and dashboards' vocabulary: what they all have in common."""

from queries import APPLICATION, EXPORTER, REGION, SEGMENT, STATUSES, named

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
TAG = "pinpoint-exporter"

GREEN, YELLOW, ORANGE, RED, BLUE, GREY = "green", "yellow", "orange", "red", "blue", "#8e8e8e"
# Blue while it waits or works, darker as it gets on; purple while it waits for another job.
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


def values(texts):
    """Value mappings: a text and a colour for each value."""
    return {
        "type": "value",
        "options": {
            str(value): {"text": text, "color": colour, "index": index}
            for index, (value, (text, colour)) in enumerate(texts.items())
        },
    }


STATE_MAPPINGS = [values({number: (status, STATUS_COLOURS[status]) for number, status in enumerate(STATUSES)})]


def thresholds(*steps, base=GREEN):
    """Colours from these values on."""
    return {
        "mode": "absolute",
        "steps": [{"value": None, "color": base}, *({"value": at, "color": colour} for at, colour in steps)],
    }


# Of data, in seconds.
AGE_STEPS = thresholds((300, ORANGE), (600, RED))


def query(expr, legend="", ref="A"):
    """A query over the time shown."""
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
    """A query of this moment."""
    return {**query(expr, legend, ref), "range": False, "instant": True, "format": form}


def refs(*queries):
    """The queries with letters of their own."""
    return [{**one, "refId": chr(ord("A") + index)} for index, one in enumerate(queries)]


def panel(kind, title, description, unit, no_value, queries, width, height, defaults, options, overrides=()):
    """What each panel has."""
    return {
        "type": kind,
        "title": title,
        "description": description,
        "datasource": DATASOURCE,
        "gridPos": {"x": 0, "y": 0, "w": width, "h": height},
        "fieldConfig": {"defaults": {"unit": unit, "noValue": no_value, **defaults}, "overrides": list(overrides)},
        "options": options,
        "targets": refs(*queries),
    }


def stat(
    title,
    description,
    unit,
    no_value,
    queries,
    *,
    width=4,
    height=4,
    steps=None,
    mappings=(),
    text="auto",
    decimals=None,
):
    """A number."""
    defaults = {
        "color": {"mode": "thresholds"},
        "mappings": list(mappings),
        "thresholds": steps or thresholds(base=BLUE),
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
    return panel("stat", title, description, unit, no_value, queries, width, height, defaults, options)


def time_series(
    title,
    description,
    unit,
    no_value,
    queries,
    *,
    width=12,
    height=9,
    stacked=False,
    least=0,
    most=None,
    soft_most=None,
    steps=None,
    step_line=False,
    logarithmic=False,
):
    """Lines over time."""
    custom = {
        "drawStyle": "line",
        "lineWidth": 1,
        "fillOpacity": 25 if stacked else 8,
        "showPoints": "never",
        "spanNulls": False,
        "lineInterpolation": "stepAfter" if step_line else "linear",
        "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
        "thresholdsStyle": {"mode": "dashed" if steps else "off"},
        **({} if soft_most is None else {"axisSoftMax": soft_most}),
        **({"scaleDistribution": {"type": "log", "log": 10}} if logarithmic else {}),
    }
    defaults = {
        "color": {"mode": "palette-classic"},
        "custom": custom,
        "mappings": [],
        "thresholds": steps or thresholds(),
        **({} if least is None else {"min": least}),
        **({} if most is None else {"max": most}),
    }
    options = {
        "legend": {"displayMode": "table", "placement": "bottom", "showLegend": True, "calcs": ["lastNotNull", "max"]},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    by_status = any("{{status}}" in one["legendFormat"] for one in queries)
    colours = (
        [column(status, color={"mode": "fixed", "fixedColor": colour}) for status, colour in STATUS_COLOURS.items()]
        if by_status
        else []
    )
    return panel("timeseries", title, description, unit, no_value, queries, width, height, defaults, options, colours)


def state_timeline(title, description, no_value, queries, *, width=24, height=9):
    """States over time, in the colours of the states."""
    defaults = {
        "color": {"mode": "thresholds"},
        "custom": {"lineWidth": 0, "fillOpacity": 80},
        "mappings": STATE_MAPPINGS,
        "thresholds": thresholds(base=GREY),
    }
    options = {
        "mergeValues": True,
        "showValue": "auto",
        "alignValue": "left",
        "rowHeight": 0.85,
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
        "tooltip": {"mode": "single", "sort": "none"},
    }
    return panel("state-timeline", title, description, "none", no_value, queries, width, height, defaults, options)


def column(name, **properties):
    """How a table shows a column. `custom.` is written `custom_`."""
    return {
        "matcher": {"id": "byName", "options": name},
        "properties": [{"id": key.replace("custom_", "custom."), "value": value} for key, value in properties.items()],
    }


def link(title, url, new_tab=False):
    """A link of a cell."""
    return {"title": title, "url": url, "targetBlank": new_tab}


def table(title, description, no_value, columns, *, sort, labels, last=None, hidden=(), overrides=(), height=10):
    """A table, one row for each set of labels. `columns` are queries by their titles, `labels` titles by their labels:
    first those, then the queries, then the `last` labels. With the label `segment` the first query gives that name."""
    last = last or {}
    if "segment" in labels:
        first = next(iter(columns))
        columns = {**columns, first: named(columns[first])}
        # Links take the id: of a cell with a text in its place they would take the text.
        last, hidden = {**last, "segment_id": "Segment id"}, (*hidden, "Segment id")
    queries = refs(*(now(expr, form="table") for expr in columns.values()))
    titles = {**labels, **{f"Value #{one['refId']}": name for one, name in zip(queries, columns)}, **last}
    left = [label for label in SEGMENT.split(", ") if label not in titles]
    organize = {
        "excludeByName": {name: True for name in ("Time", *left)},
        "indexByName": {name: index for index, name in enumerate(titles)},
        "renameByName": titles,
    }
    defaults = {
        "custom": {"align": "auto", "cellOptions": {"type": "auto"}, "inspect": False, "filterable": True},
        "mappings": [],
        "thresholds": thresholds(base="text"),
    }
    options = {
        "showHeader": True,
        "cellHeight": "sm",
        "sortBy": [{"displayName": name, "desc": descending} for name, descending in sort],
        "footer": {"show": False, "reducer": ["sum"], "countRows": False, "enablePagination": False, "fields": ""},
    }
    shown = [
        # The text for no value is that of the whole table; a cell may be empty. Links take the text of a cell, so that of
        # an empty label must stay empty.
        *(
            {"matcher": {"id": "byType", "options": kind}, "properties": [{"id": "noValue", "value": text}]}
            for kind, text in (("number", "–"), ("string", ""))
        ),
        *(column(name, custom_hidden=True) for name in hidden),
        *overrides,
    ]
    one = panel("table", title, description, "short", no_value, queries, 24, height, defaults, options, shown)
    one["transformations"] = [{"id": "merge", "options": {}}, {"id": "organize", "options": organize}]
    return one


STATE_COLUMN = {
    "mappings": STATE_MAPPINGS,
    "custom_cellOptions": {"type": "color-background", "mode": "basic"},
    "custom_width": 190,
    "custom_align": "left",
}


def row(title, *panels):
    """A row: its panels from left to right, as many lines as they need."""
    return [
        {"type": "row", "title": title, "collapsed": False, "panels": [], "gridPos": {"x": 0, "y": 0, "w": 24, "h": 1}},
        *panels,
    ]


def place(panels):
    """Gives each panel its place and its id."""
    x = y = line = 0
    for number, one in enumerate(panels, 1):
        size = one["gridPos"]
        if x + size["w"] > 24:
            x, y, line = 0, y + line, 0
        size["x"], size["y"] = x, y
        x, line = x + size["w"], max(line, size["h"])
        one["id"] = number
    return panels


def variable(name, label, metric, source, *, several=True, everything=".*", refresh=2):
    """A variable with the values of a label; read again with the time (2), or when the dashboard is opened (1)."""
    one = {
        "type": "query",
        "name": name,
        "label": label,
        "datasource": DATASOURCE,
        "definition": f"label_values({metric}, {source})",
        "query": {"qryType": 1, "query": f"label_values({metric}, {source})", "refId": f"variable-{name}"},
        "refresh": refresh,
        "sort": 1,
        "regex": "",
        "hide": 0,
        "skipUrlSync": False,
        "multi": several,
        "includeAll": several,
        "options": [],
    }
    if several:
        one["allValue"] = everything
        one["current"] = {"selected": True, "text": ["All"], "value": ["$__all"]}
    else:
        one["current"] = {}
    return one


def number(name, label, value, description):
    """A variable with a number to type in."""
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


STATUS = {
    "type": "custom",
    "name": "status",
    "label": "Status",
    "query": ",".join(STATUSES[1:] + STATUSES[:1]),
    "multi": True,
    "includeAll": True,
    "allValue": ".+",
    "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
    "hide": 0,
    "skipUrlSync": False,
    "options": [
        {"text": "All", "value": "$__all", "selected": True},
        *({"text": status, "value": status, "selected": False} for status in STATUSES[1:] + STATUSES[:1]),
    ],
}


def variables(*more, one_segment=False, segments=True):
    """The variables of a dashboard, each limited by those before it."""
    listed = [
        {
            "type": "datasource",
            "name": "datasource",
            "label": "Data source",
            "query": "prometheus",
            "regex": "",
            "refresh": 1,
            "current": {},
            "options": [],
            "hide": 0,
            "skipUrlSync": False,
            "multi": False,
            "includeAll": False,
        },
        variable("job", "Job", "pinpoint_exporter_build_info", "job", everything=".+"),
        variable("instance", "Instance", 'pinpoint_exporter_build_info{job=~"$job"}', "instance", everything=".+"),
        # Empty without ARNs among the targets: then All, which also holds for the empty one, is all there is.
        variable("account", "Account", f"pinpoint_target_up{{{EXPORTER}}}", "aws_account_id"),
        variable("region", "Region", f'pinpoint_target_up{{{EXPORTER}, aws_account_id=~"$account"}}', "aws_region"),
        variable(
            "application", "Application", f"pinpoint_target_up{{{REGION}}}", "application_id", several=not one_segment
        ),
    ]
    if segments:
        metric = f"pinpoint_segment_export_jobs{{{APPLICATION}}}"
        # The empty segment, to which a link may lead, is no value of the label: Grafana would choose another one as soon
        # as it reads the values again.
        refresh = 1 if one_segment else 2
        listed.append(
            variable("segment", "Segment", metric, "segment_id", several=not one_segment, refresh=refresh)
        )
    return {"list": [*listed, *more]}


def event(name, colour, expr, title, text):
    """An annotation at the times that are the values of a query, in seconds."""
    return {
        "name": name,
        "datasource": DATASOURCE,
        "enable": True,
        "hide": False,
        "iconColor": colour,
        "expr": f"{expr} * 1000",
        "useValueForTime": True,
        "step": "60s",
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
                "url": f"/d/{other}",
                "icon": "dashboard",
                "tooltip": tooltip,
                "tags": [],
                "asDropdown": False,
                "targetBlank": False,
                "includeVars": True,
                "keepTime": True,
            }
            for other, (name, tooltip) in others.items()
        ],
        "templating": templating,
        "annotations": {"list": annotations},
        "panels": place([one for panels in rows for one in panels]),
    }


LINKS = {
    "pinpoint-export-jobs": ("Export jobs", "The export jobs of all segments"),
    "pinpoint-segment": ("Segment", "The history of one segment"),
    "pinpoint-exporter": ("Exporter", "Whether the exporter itself does well"),
}


def links_but(uid):
    """Links to the other dashboards."""
    return {other: link for other, link in LINKS.items() if other != uid}
