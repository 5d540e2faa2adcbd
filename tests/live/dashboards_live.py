"""Sends every query of the dashboards to a real Prometheus that scrapes two real exporters of the same demo world.

.venv/bin/python tests/live/dashboards_live.py target/debug/fake-pinpoint target/debug/pinpoint-exporter
"""

import re
import sys
import time
import unittest

from demo import ALL, APPLICATION, DASHBOARDS, DENIED, EVENTFUL, WHOLE, Demo, fill, numbers, options, with_hidden
from stack import Stack, until

FAKE = sys.argv.pop(1) if len(sys.argv) > 1 else "target/debug/fake-pinpoint"
EXPORTER = sys.argv.pop(1) if len(sys.argv) > 1 else "target/debug/pinpoint-exporter"


def by_labels(result):
    """The result of an instant query, by its labels."""
    return {tuple(sorted(series["metric"].items())): series["value"][1] for series in result}


class Live(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.demo = Demo(cls.enterClassContext(Stack(FAKE, EXPORTER)))

    def values(self, dashboard, name, chosen):
        """The values of a variable."""
        variable = next(one for one in dashboard["templating"]["list"] if one["name"] == name)
        if variable["definition"].startswith("query_result"):
            return options(variable, chosen, self.demo.prometheus.query)
        metric, label = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["definition"]).groups()
        return self.demo.prometheus.get(f"label/{label}/values", **{"match[]": fill(metric, chosen)})

    def hidden(self, name, chosen):
        """The choices with the current values of the hidden variables."""
        return with_hidden(name, chosen, self.demo.prometheus.query)

    def panels_answer(self, name, chosen):
        """Checks that each query of each panel and annotation has a result."""
        for panel in DASHBOARDS[name]["panels"]:
            for target in panel.get("targets", ()):
                with self.subTest(f"{panel['title']} {target['refId']}"):
                    self.demo.answers(lambda: fill(target["expr"], self.hidden(name, chosen)), target["instant"])
        for one in DASHBOARDS[name]["annotations"]["list"]:
            with self.subTest(one["name"]):
                moments = numbers(self.demo.answers(lambda: fill(one["expr"], self.hidden(name, chosen))))
                self.assertTrue(
                    all(0 < time.time() - moment / 1000 < 86400 for moment in moments), "milliseconds of today"
                )

    def test_each_variable_has_values(self):
        for name, dashboard in DASHBOARDS.items():
            for variable in dashboard["templating"]["list"]:
                # The rules are not installed here, and no segment is gone.
                if variable["type"] == "query" and variable["name"] not in ("recorded", "gone"):
                    with self.subTest(f"{name}: {variable['name']}"):
                        until(lambda: self.values(dashboard, variable["name"], self.hidden(name, ALL)), lambda: variable["definition"])

    def test_each_query_for_all_exports_answers(self):
        self.panels_answer("export-jobs", ALL)

    def test_each_query_for_one_segment_answers(self):
        self.panels_answer("segment", {**ALL, "application": APPLICATION, "segment": EVENTFUL, "region": "us-east-1"})

    def test_each_query_about_the_exporter_answers(self):
        self.panels_answer("exporter", ALL)

    def test_one_of_several_values_can_be_chosen(self):
        chosen = {**ALL, "segment": f"({EVENTFUL}|{DENIED})", "status": "(PROCESSING|COMPLETED)"}
        titles = {panel["title"]: panel for panel in DASHBOARDS["export-jobs"]["panels"] if "targets" in panel}
        count = self.demo.answers(lambda: fill(titles["Watched segments"]["targets"][0]["expr"], chosen), instant=True)
        self.assertTrue(count)
        expr = titles["Export jobs"]["targets"][0]["expr"]

        def listed():
            return self.demo.answer(fill(expr, self.hidden("export-jobs", chosen)), True)

        until(
            lambda: {series["metric"].get("job_id") for series in listed()} >= {"partly", "running0000"},
            lambda: "the jobs of the segment",
        )
        jobs = listed()
        self.assertEqual({series["metric"]["segment_id"] for series in jobs}, {EVENTFUL})
        self.assertEqual({series["value"][1] for series in jobs}, {"4", "7"})

    def test_the_export_of_all_endpoints_has_a_dashboard_too(self):
        """The segment id of such an export is empty, and so is the variable in the link of its alert."""
        chosen = {**ALL, "application": WHOLE, "segment": ""}
        titles = {panel["title"]: panel for panel in DASHBOARDS["segment"]["panels"] if "targets" in panel}
        for title in ("Newest export", "Readable", "Data age", "Export jobs"):
            with self.subTest(title):
                expr = titles[title]["targets"][0]["expr"]
                self.demo.answers(lambda: fill(expr, self.hidden("segment", chosen)), instant=True)

    def test_two_replicas_double_nothing(self):
        """All exporters together show the same as one of them, for each STATUS_SERIES."""
        self.demo.fake.control("POST", "clock", {"stop_at": int(time.time() * 1000)})
        self.demo.fake.control("DELETE", "faults")
        since = time.time()

        def all_have_seen_it():
            now = time.time()
            fresh = f"count by (instance) (pinpoint_target_last_success_timestamp_seconds > {since})"
            readable = "count by (instance) (pinpoint_target_up)"
            # One target does not exist. The other target that failed no longer fails.
            return (
                now
                if len(self.demo.prometheus.query(f"{fresh} == {readable} - 1", now)) == len(self.demo.exporters)
                else None
            )

        now = until(all_have_seen_it, self.demo.prometheus.log)
        compared = 0
        for name in ("export-jobs", "segment"):
            every = with_hidden(name, ALL, lambda expr: self.demo.prometheus.query(expr, now))
            for panel in DASHBOARDS[name]["panels"]:
                for target in panel.get("targets", ()):
                    # The age of the data differs between replicas.
                    if not target["instant"] or "last_success" in target["expr"]:
                        continue
                    with self.subTest(f"{panel['title']} {target['refId']}"):
                        together, *alone = (
                            by_labels(
                                self.demo.prometheus.query(fill(target["expr"], {**every, "instance": instance}), now)
                            )
                            for instance in (".+", *(exporter.address for exporter in self.demo.exporters))
                        )
                        self.assertTrue(together)
                        self.assertEqual(alone, [together, together])
                        compared += 1
        self.assertGreater(compared, 30)


if __name__ == "__main__":
    unittest.main()
