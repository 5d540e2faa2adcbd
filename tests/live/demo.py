"""The world in which the dashboards are tested, and the queries as Grafana sends them to Prometheus.

The world has data for each panel, including faults. A query without a result is therefore wrong.
"""

import datetime
import json
import math
import pathlib
import re
import sys
import time

from stack import ACCESS_KEY, scrape_config, until

ROOT = pathlib.Path(__file__).parents[2]
sys.path.append(str(ROOT / "tests/judges"))
import promql  # noqa: E402

DASHBOARDS = {
    file.stem: json.loads(file.read_text(encoding="utf-8"))
    for file in sorted((ROOT / "grafana/dashboards").glob("*.json"))
}
INTERVAL = 2
# The values of Grafana's macros for this scrape interval and a short time range.
MACROS = {
    "__rate_interval": "20s",
    "__interval": "2s",
    "__interval_ms": "2000",
    "__range": "1d",
    "__range_s": "86400",
    "cache_ttl": "3",
    "max_staleness": "600",
}
ALL = {
    "job": ".+",
    "instance": ".+",
    "account": ".*",
    "region": ".*",
    "application": ".*",
    "segment": ".*",
    # This matches series without the label.
    "status": "^$",
    "why": ".*",
}

APPLICATION, WHOLE, ABROAD = (
    "6e0b7591a90841d2b5d93fa11143e5a7",
    "7f1c86a2ba1952e3c6ea40b22254f6b8",
    "8a2d97b3cb2a63f4d7fb51c33365a7c9",
)
# A segment with every kind of event, so that each panel of its dashboard has data.
EVENTFUL = "b66c9e42f71444b2aa2e0ffc1df28f60"
# A segment whose last export ended a while ago.
LATE = "4b8ecd4a9c7f4f4d9bbe5a6c7d8495a6"
# A segment that could be read at first and now cannot.
DENIED = "3a7dbc3f8b6e4e3c8aad4f5b6c738495"

NAMES = {
    EVENTFUL: "Weekly readers",
    "0d4a8f0c5e3b4b0f9d7a1c2e3f405162": "Daily readers",
    "1e5b9a1d6f4c4c1a8e8b2d3f4a516273": "Inactive 90 days",
    DENIED: "Trial users",
    # Two of one name.
    LATE: "Archive",
    "5c9fde5bad8a4a5eaccf6b7d8e9506b7": "Archive",
}


def job(identifier, created, lasts, **more):
    """A job of the world, with the definition that real ones have."""
    return {
        "id": identifier,
        "created": created,
        "lasts": lasts,
        "s3_url_prefix": f"s3://exports/nightly/{identifier}",
        "role_arn": "arn:aws:iam::123456789012:role/exports",
        **more,
    }


def world():
    """The demo world, with successful exports and with faults."""
    nightly = {"endpoints": 240000, "pieces": 24}
    segments = {
        EVENTFUL: [
            job("nightly", "-75h", "25m", every="24h", times=3, **nightly),
            job("failed", "-5h", "10m", end="FAILED", failed_endpoints=5000, failed_pieces=8, **nightly),
            job("partly", "-4h", "20m", failed_endpoints=1234, failed_pieces=1, **nightly),
            job("running", "-2m", "5m", every="5m", failed_endpoints=400, **nightly),
        ],
        "0d4a8f0c5e3b4b0f9d7a1c2e3f405162": [
            job("night", "-50h", "25m", every="24h", times=2, **nightly),
            job("lost", "-2h", "10m", end="FAILED", failed_pieces=8, pieces=8),
        ],
        "1e5b9a1d6f4c4c1a8e8b2d3f4a516273": [job("stuck", "-26h", "1h", end="STUCK")],
        DENIED: [],
        LATE: [job("archive", "-60d", "15m", every="1d", times=59)],
        "5c9fde5bad8a4a5eaccf6b7d8e9506b7": [
            {"item": {"Id": "new-kind", "JobStatus": "DREAMING", "CreationDate": "2026-01-31T00:00:00.000Z"}},
            {"item": {"JobStatus": "FAILED"}},
        ],
    }
    return {
        "applications": {
            APPLICATION: {
                "name": "Newsletter",
                # One segment has no name.
                "segments": {
                    identifier: {"jobs": jobs, **({"name": NAMES[identifier]} if identifier in NAMES else {})}
                    for identifier, jobs in segments.items()
                },
            },
            WHOLE: {
                "name": "Shop",
                "segments": {},
                "jobs": [
                    job("everyone", "-3h", "30m", every="1h", times=2),
                    job("now", "-1m", "150s", every="4m", endpoints=90000, pieces=9),
                ],
            },
            ABROAD: {
                "name": "Shop Ireland",
                "segments": {
                    "6dafef6cbe9b4b6fbddf7c8e9fa617c8": {"name": "Customers", "jobs": [job("abroad", "-9h", "30m")]}
                },
            },
        }
    }


def expected_intervals():
    """Rules as a user writes them: a nightly export of two segments, one of which is late."""
    rules = [
        {
            "record": "pinpoint:expected_export_interval:seconds",
            "expr": "vector(86400)",
            "labels": {"application_id": APPLICATION, "segment_id": segment},
        }
        for segment in (EVENTFUL, LATE)
    ]
    return {"groups": [{"name": "expected", "rules": rules}]}


def targets():
    """The targets: segments, a whole application, one in another region, and one that does not exist."""
    abroad = f"arn:aws:mobiletargeting:eu-west-1:123456789012:apps/{ABROAD}/segments/*"
    return f"{APPLICATION}/*, {WHOLE}, 9b3ea8c4dc3b74a5e8ac62d44476b8da/gone, {abroad}"


def fill(expr, chosen):
    """The query as Grafana sends it."""
    return promql.substitute(expr, {**MACROS, **chosen})


def options(variable, chosen, query):
    """The options of a query variable, as text and value. Grafana writes each series of the result as a line and applies the
    variable's regex to it."""
    (expr,) = re.fullmatch(r"query_result\((.+)\)", variable["definition"], re.S).groups()
    pattern = re.compile(variable["regex"].strip("/").replace("(?<", "(?P<"))
    found = []
    for series in query(fill(expr, chosen)):
        labels = ",".join(f'{name}="{value}"' for name, value in series["metric"].items() if name != "__name__")
        text = f"{series['metric'].get('__name__', '')}{{{labels}}} {series['value'][1]} {series['value'][0] * 1000}"
        match = pattern.search(text)
        if match:
            groups = match.groupdict() or {"text": match.group(1), "value": match.group(1)}
            found.append((groups["text"], groups["value"]))
    return found


def with_hidden(name, chosen, query):
    """The choices with the values of the dashboard's hidden variables."""
    for one in DASHBOARDS[name]["templating"]["list"]:
        if one["hide"] == 2 and one.get("definition", "").startswith("query_result"):
            values = [value for _, value in options(one, chosen, query)]
            chosen = {**chosen, one["name"]: regex(values) if one["multi"] else next(iter(values), "")}
    return chosen


def regex(values):
    """Several values of a variable, as Grafana writes them into a query."""
    return f"({'|'.join(values)})"


def numbers(result):
    """All values of a result except NaN."""
    found = [float(value) for series in result for _, value in series.get("values", [series.get("value")])]
    return [number for number in found if not math.isnan(number)]


class Demo:
    """Two exporters of the world, one of them with STATUS_SERIES=current, and a Prometheus that scrapes both."""

    def __init__(self, stack):
        self.fake = stack.fake("--region", "eu-west-1", world=world())
        settings = {"TARGETS": targets(), "CACHE_TTL": "3s", "NAMES": "all", **expiring_credentials(stack.folder)}
        self.exporters = [
            stack.exporter(self.fake, **settings),
            stack.exporter(self.fake, **settings, STATUS_SERIES="current"),
        ]
        rules = stack.folder / "expected-intervals.yaml"
        rules.write_text(json.dumps(expected_intervals()), encoding="utf-8")
        self.prometheus = stack.prometheus(scrape_config(self.exporters, interval=f"{INTERVAL}s", rules=[rules]))
        self.calm_until = 0
        self.prometheus.until(f'count(pinpoint_target_up{{segment_id="{DENIED}"}} == 1) == 2')
        self.fake.control(
            "POST", "faults", {"segment": DENIED, "fault": {"kind": "error", "name": "AccessDeniedException"}}
        )

    def throttle(self):
        """Throttles one call of each listing, but not so often that the retries run out."""
        if time.monotonic() < self.calm_until:
            return
        self.calm_until = time.monotonic() + 2 * INTERVAL
        for operation in ("GetSegmentExportJobs", "GetExportJobs"):
            self.fake.control(
                "POST",
                "faults",
                {"operation": operation, "times": 1, "fault": {"kind": "error", "name": "TooManyRequestsException"}},
            )

    def answer(self, expr, instant, begin=None, now=None):
        """The result of Prometheus now, over the last minute, or since `begin`."""
        now = now or time.time()
        if instant:
            return self.prometheus.query(expr, now)
        return self.prometheus.get("query_range", query=expr, start=begin or now - 60, end=now, step=INTERVAL)["result"]

    def answers(self, make, instant=False, begin=None):
        """The result of the query that `make` returns, as soon as it has a number."""

        def asked():
            self.throttle()
            result = self.answer(make(), instant, begin)
            return result if numbers(result) else None

        return until(asked, lambda: f"no answer to {make()}\n{self.prometheus.log()}")


def expiring_credentials(folder):
    """Settings of an exporter whose credentials expire in an hour."""
    expiry = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1)
    credentials, config = folder / "credentials.json", folder / "config"
    credentials.write_text(
        json.dumps(
            {
                "Version": 1,
                "AccessKeyId": ACCESS_KEY["access_key_id"],
                "SecretAccessKey": ACCESS_KEY["secret_access_key"],
                "Expiration": expiry.strftime("%Y-%m-%dT%H:%M:%SZ"),
            }
        ),
        encoding="utf-8",
    )
    config.write_text(f"[default]\ncredential_process = cat {credentials}\n", encoding="utf-8")
    return {"AWS_CONFIG_FILE": str(config), "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
