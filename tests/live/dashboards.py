"""Every query of the dashboards, asked of a real Prometheus that scrapes two real exporters of the same demo world.

    .venv/bin/python tests/live/dashboards.py target/debug/fake-pinpoint target/debug/pinpoint-exporter

The world has what each panel is for, faults too, so that a query without an answer is a wrong query.
"""

import datetime
import json
import math
import pathlib
import re
import sys
import time
import unittest

from stack import ACCESS_KEY, Stack, scrape_config, until

ROOT = pathlib.Path(__file__).parents[2]
sys.path.append(str(ROOT / "tests/judges"))
import promql  # noqa: E402

FAKE = sys.argv.pop(1) if len(sys.argv) > 1 else "target/debug/fake-pinpoint"
EXPORTER = sys.argv.pop(1) if len(sys.argv) > 1 else "target/debug/pinpoint-exporter"
DASHBOARDS = {
    file.stem: json.loads(file.read_text(encoding="utf-8")) for file in sorted((ROOT / "grafana/dashboards").glob("*.json"))
}
INTERVAL = 2
# What Grafana puts in for its macros, with that scrape interval and a short time shown.
MACROS = {
    "__rate_interval": "20s", "__interval": "2s", "__interval_ms": "2000", "__range": "1d", "__range_s": "86400",
    "cache_ttl": "3", "max_staleness": "600",
}
ALL = {"job": ".+", "instance": ".+", "account": ".*", "region": ".*", "application": ".*", "segment": ".*", "status": ".+"}

APPLICATION, WHOLE, ABROAD = "6e0b7591a90841d2b5d93fa11143e5a7", "7f1c86a2ba1952e3c6ea40b22254f6b8", "8a2d97b3cb2a63f4d7fb51c33365a7c9"
# A segment to which everything happened, so that each panel of its dashboard has something to show.
EVENTFUL = "b66c9e42f71444b2aa2e0ffc1df28f60"
# One that could be read once, and cannot any more.
DENIED = "3a7dbc3f8b6e4e3c8aad4f5b6c738495"


def job(identifier, created, lasts, **more):
    """A job of the world, with the definition that real ones have."""
    return {
        "id": identifier, "created": created, "lasts": lasts, "s3_url_prefix": f"s3://exports/nightly/{identifier}",
        "role_arn": "arn:aws:iam::123456789012:role/exports", **more,
    }


def world():
    """The demo world: what an operator wants to see, and what goes wrong."""
    nightly = {"endpoints": 240000, "pieces": 24}
    segments = {
        EVENTFUL: [
            job("nightly", "-75h", "25m", every="24h", times=3, **nightly),
            job("failed", "-5h", "10m", end="FAILED", failed_endpoints=5000, failed_pieces=8, **nightly),
            job("partly", "-4h", "20m", failed_endpoints=1234, failed_pieces=1, **nightly),
            job("running", "-2m", "6m", failed_endpoints=400, **nightly),
        ],
        "0d4a8f0c5e3b4b0f9d7a1c2e3f405162": [
            job("night", "-50h", "25m", every="24h", times=2, **nightly), job("lost", "-2h", "10m", end="FAILED", failed_pieces=8, pieces=8),
        ],
        "1e5b9a1d6f4c4c1a8e8b2d3f4a516273": [job("stuck", "-26h", "1h", end="STUCK")],
        DENIED: [],
        "4b8ecd4a9c7f4f4d9bbe5a6c7d8495a6": [job("archive", "-60d", "15m", every="1d", times=59)],
        "5c9fde5bad8a4a5eaccf6b7d8e9506b7": [
            {"item": {"Id": "new-kind", "JobStatus": "DREAMING", "CreationDate": "2026-01-31T00:00:00.000Z"}}, {"item": {"JobStatus": "FAILED"}},
        ],
    }
    return {"applications": {
        APPLICATION: {"segments": {name: {"jobs": jobs} for name, jobs in segments.items()}},
        WHOLE: {"segments": {}, "jobs": [job("everyone", "-3h", "30m", every="1h", times=2), job("now", "-2m", "9m")]},
        ABROAD: {"segments": {"6dafef6cbe9b4b6fbddf7c8e9fa617c8": {"jobs": [job("abroad", "-9h", "30m")]}}},
    }}


def targets():
    """What is watched: by segment, as a whole, elsewhere, and one that does not exist."""
    abroad = f"arn:aws:mobiletargeting:eu-west-1:123456789012:apps/{ABROAD}/segments/*"
    return f"{APPLICATION}/*, {WHOLE}, 9b3ea8c4dc3b74a5e8ac62d44476b8da/gone, {abroad}"


def fill(expr, chosen):
    """The query as Grafana sends it."""
    return promql.substitute(expr, {**MACROS, **chosen})


def numbers(result):
    """All numbers of a result that are numbers."""
    found = [float(value) for series in result for _, value in series.get("values", [series.get("value")])]
    return [number for number in found if not math.isnan(number)]


def by_labels(result):
    """The result of an instant query, by its labels."""
    return {tuple(sorted(series["metric"].items())): series["value"][1] for series in result}


class Live(unittest.TestCase):
    calm_until = 0

    @classmethod
    def setUpClass(cls):
        cls.stack = cls.enterClassContext(Stack(FAKE, EXPORTER))
        cls.fake = cls.stack.fake("--region", "eu-west-1", world=world())
        credentials = cls.stack.folder / "credentials.json"
        expiry = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1)
        credentials.write_text(json.dumps({
            "Version": 1, "AccessKeyId": ACCESS_KEY["access_key_id"], "SecretAccessKey": ACCESS_KEY["secret_access_key"],
            "Expiration": expiry.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }), encoding="utf-8")
        config = cls.stack.folder / "config"
        config.write_text(f"[default]\ncredential_process = cat {credentials}\n", encoding="utf-8")
        settings = {
            "TARGETS": targets(), "CACHE_TTL": "3s", "AWS_CONFIG_FILE": str(config), "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "",
        }
        cls.exporters = [
            cls.stack.exporter(cls.fake, **settings), cls.stack.exporter(cls.fake, **settings, STATUS_SERIES="current"),
        ]
        cls.prometheus = cls.stack.prometheus(scrape_config(cls.exporters, interval=f"{INTERVAL}s"))
        cls.prometheus.until(f'count(pinpoint_target_up{{segment_id="{DENIED}"}} == 1) == 2')
        cls.fake.control("POST", "faults", {"segment": DENIED, "fault": {"kind": "error", "name": "AccessDeniedException"}})

    def throttle(self):
        """One call of each listing is throttled, and repeated; not so often that retries run out."""
        if time.monotonic() < self.calm_until:
            return
        type(self).calm_until = time.monotonic() + 2 * INTERVAL
        for operation in ("GetSegmentExportJobs", "GetExportJobs"):
            self.fake.control("POST", "faults", {"operation": operation, "times": 1, "fault": {
                "kind": "error", "name": "TooManyRequestsException"}})

    def answer(self, expr, instant):
        """What Prometheus answers, over the last minute or now."""
        now = time.time()
        if instant:
            return self.prometheus.query(expr)
        return self.prometheus.get("query_range", query=expr, start=now - 60, end=now, step=INTERVAL)["result"]

    def answers(self, expr, instant=False):
        """The answer as soon as it has a number."""
        def asked():
            self.throttle()
            result = self.answer(expr, instant)
            return result if numbers(result) else None
        return until(asked, lambda: f"no answer to {expr}\n{self.prometheus.log()}")

    def values(self, dashboard, name, chosen):
        """The values of a variable."""
        variable = next(one for one in dashboard["templating"]["list"] if one["name"] == name)
        metric, label = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["definition"]).groups()
        return self.prometheus.get(f"label/{label}/values", **{"match[]": fill(metric, chosen)})

    def panels_answer(self, name, chosen):
        """Each query of each panel and annotation has an answer."""
        for panel in DASHBOARDS[name]["panels"]:
            for target in panel.get("targets", ()):
                with self.subTest(f"{panel['title']} {target['refId']}"):
                    self.answers(fill(target["expr"], chosen), target["instant"])
        for one in DASHBOARDS[name]["annotations"]["list"]:
            with self.subTest(one["name"]):
                moments = numbers(self.answers(fill(one["expr"], chosen)))
                self.assertTrue(all(0 < time.time() - moment / 1000 < 86400 for moment in moments), "milliseconds of today")

    def test_each_variable_has_values(self):
        for name, dashboard in DASHBOARDS.items():
            for variable in dashboard["templating"]["list"]:
                if variable["type"] == "query":
                    with self.subTest(f"{name}: {variable['name']}"):
                        until(lambda: self.values(dashboard, variable["name"], ALL), lambda: variable["definition"])

    def test_each_query_for_all_exports_answers(self):
        self.panels_answer("export-jobs", ALL)

    def test_each_query_for_one_segment_answers(self):
        self.panels_answer("segment", {**ALL, "application": APPLICATION, "segment": EVENTFUL, "region": "us-east-1"})

    def test_each_query_about_the_exporter_answers(self):
        self.panels_answer("exporter", ALL)

    def test_one_of_several_values_can_be_chosen(self):
        chosen = {**ALL, "segment": f"({EVENTFUL}|{DENIED})", "status": "(PROCESSING|COMPLETED)"}
        titles = {panel["title"]: panel for panel in DASHBOARDS["export-jobs"]["panels"]}
        count = self.answers(fill(titles["Segments"]["targets"][0]["expr"], chosen), instant=True)
        self.assertTrue(count)
        until(lambda: {
            series["metric"]["job_id"] for series in self.answer(fill(titles["Export jobs"]["targets"][0]["expr"], chosen), True)
        } >= {"partly", "running"}, lambda: "the jobs of the segment")
        jobs = self.answer(fill(titles["Export jobs"]["targets"][0]["expr"], chosen), True)
        self.assertEqual({series["metric"]["segment_id"] for series in jobs}, {EVENTFUL})
        self.assertEqual({series["value"][1] for series in jobs}, {"4", "7"})

    def test_the_export_of_all_endpoints_has_a_dashboard_too(self):
        """Its segment is empty, and so is the variable in the link of its alert."""
        chosen = {**ALL, "application": WHOLE, "segment": ""}
        titles = {panel["title"]: panel for panel in DASHBOARDS["segment"]["panels"]}
        for title in ("Newest export", "Readable", "Age of the data", "Its last jobs"):
            with self.subTest(title):
                self.answers(fill(titles[title]["targets"][0]["expr"], chosen), instant=True)

    def test_two_replicas_double_nothing(self):
        """What all exporters show together is what one of them shows, whatever its STATUS_SERIES."""
        self.fake.control("POST", "clock", {"stop_at": int(time.time() * 1000)})
        self.fake.control("DELETE", "faults")
        since = time.time()

        def all_have_seen_it():
            now = time.time()
            fresh = f"count by (instance) (pinpoint_target_last_success_timestamp_seconds > {since})"
            readable = "count by (instance) (pinpoint_target_up)"
            # One of the targets does not exist; the other one that failed does not any more.
            return now if len(self.prometheus.query(f"{fresh} == {readable} - 1", now)) == len(self.exporters) else None
        now = until(all_have_seen_it, self.prometheus.log)
        compared = 0
        for name in ("export-jobs", "segment"):
            for panel in DASHBOARDS[name]["panels"]:
                for target in panel.get("targets", ()):
                    # How old each replica's data are is its own matter.
                    if not target["instant"] or "last_success" in target["expr"]:
                        continue
                    with self.subTest(f"{panel['title']} {target['refId']}"):
                        together, *alone = (
                            by_labels(self.prometheus.query(fill(target["expr"], {**ALL, "instance": instance}), now))
                            for instance in (".+", *(exporter.address for exporter in self.exporters))
                        )
                        self.assertTrue(together)
                        self.assertEqual(alone, [together, together])
                        compared += 1
        self.assertGreater(compared, 30)


if __name__ == "__main__":
    unittest.main()
