"""The dashboards of grafana/dashboards, judged as JSON: by Grafana's schema and by what is asked of a good dashboard.

    .venv/bin/python tests/judges/dashboards_judge.py

Grafana's foundation SDK is generated from Grafana's schema, here that of 10.1: what it does not know it loses. What
grafana/dashboard-linter would find is here too, with its names in the tests' words; the linter itself is in none of the
registries that the tests may use.
"""

import itertools
import json
import pathlib
import re
import subprocess
import sys
import unittest
import urllib.parse

import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import Dashboard

import catalogue
import promql
from limits import HANG_LIMIT

ROOT = pathlib.Path(__file__).parents[2]
FILES = sorted((ROOT / "grafana/dashboards").glob("*.json"))
DASHBOARDS = {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in FILES}
BY_UID = {one["uid"]: one for one in DASHBOARDS.values()}
FAMILIES = catalogue.families()
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
WATCHED = ("job", "instance", "account", "region", "application", "segment", "status")
# The variable that stands for a label.
VARIABLES = {
    "job": "job",
    "instance": "instance",
    "aws_account_id": "account",
    "aws_region": "region",
    "application_id": "application",
    "segment_id": "segment",
}
# Members of Grafana's Prometheus plugin, which the schema of dashboards leaves to it: src/types.ts of the plugin has them.
PLUGINS_OWN = {
    "/annotations/list/expr",
    "/annotations/list/step",
    "/annotations/list/titleFormat",
    "/annotations/list/textFormat",
    "/annotations/list/useValueForTime",
    "/templating/list/definition",
}
UNITS = {value for name, value in vars(units).items() if isinstance(value, str) and not name.startswith("_")}


def setUpModule():
    register_default_plugins()


def panels(dashboard):
    """The panels that show something, which rows do not."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def all_panels(*kinds):
    """Each panel of each dashboard, or those of these kinds, with a name for messages."""
    return [
        (f"{name}: {panel['title']}", panel)
        for name, one in DASHBOARDS.items()
        for panel in panels(one)
        if not kinds or panel["type"] in kinds
    ]


def queries():
    """Each query of each panel, with a name for messages."""
    return [
        (f"{name} {target['refId']}", target["expr"]) for name, panel in all_panels() for target in panel["targets"]
    ]


def annotations():
    """Each query of an annotation, with a name for messages."""
    return [
        (f"{name}: {one['name']}", one["expr"])
        for name, dashboard in DASHBOARDS.items()
        for one in dashboard["annotations"]["list"]
    ]


def variables(dashboard):
    """The variables by name."""
    return {one["name"]: one for one in dashboard["templating"]["list"]}


def tree(expr):
    """The tree of a query, with the variables of its strings left alone."""
    return promql.parse(expr, keep=WATCHED)


def strings(value):
    """All strings within a JSON value."""
    if isinstance(value, str):
        yield value
    for one in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from strings(one)


def lost(before, after, path=""):
    """The paths of what is not the same any more."""
    if isinstance(before, dict) and isinstance(after, dict):
        return [
            found
            for key, value in before.items()
            for found in (lost(value, after[key], f"{path}/{key}") if key in after else [f"{path}/{key}"])
        ]
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        return [found for one, other in zip(before, after) for found in lost(one, other, path)]
    return [] if before == after else [path]


def state_numbers(expr):
    """The states that a query turns into numbers, by these; empty for another query."""
    return {
        int(node.args[0].args[0].val): node.args[2].val
        for node, _ in promql.walk(tree(expr))
        if isinstance(node, promql.syntax.Call)
        and node.func.name == "label_replace"
        and isinstance(node.args[0], promql.syntax.Call)
        and node.args[0].func.name == "vector"
    }


def mapped_texts(mappings):
    """What value mappings turn numbers into."""
    return {
        int(value): (result["text"], result["color"])
        for mapping in mappings
        if mapping["type"] == "value"
        for value, result in mapping["options"].items()
    }


class Files(unittest.TestCase):
    def test_the_dashboards_are_what_the_generator_writes(self):
        run = subprocess.run(
            [sys.executable, "-B", str(ROOT / "grafana/generator"), "--check"],
            capture_output=True,
            text=True,
            timeout=HANG_LIMIT,
            check=False,
        )
        self.assertEqual((run.returncode, run.stdout, run.stderr), (0, "", ""))

    def test_the_chart_has_the_same_dashboards(self):
        template = (ROOT / "deploy/helm/templates/dashboards.yaml").read_text(encoding="utf-8")
        listed = re.search(r"\$file := list (.*) }}", template).group(1)
        self.assertEqual(sorted(json.loads(f"[{listed.replace(' ', ',')}]")), [file.name for file in FILES])

    def test_uids_are_those_that_links_have(self):
        uids = {name: one["uid"] for name, one in DASHBOARDS.items()}
        self.assertEqual(uids, {name: f"pinpoint-{name}" for name in ("export-jobs", "segment", "exporter")})

    def test_the_readmes_pictures_are_there_and_small(self):
        readme = (ROOT / "README.md").read_text(encoding="utf-8")
        for name in DASHBOARDS:
            picture = f"docs/images/dashboard-{name}.png"
            self.assertIn(f"]({picture})", readme)
            self.assertLess((ROOT / picture).stat().st_size, 200_000)

    def test_the_provisioning_finds_dashboards_and_datasource(self):
        providers = yaml.safe_load((ROOT / "grafana/provisioning/dashboards/pinpoint.yaml").read_text(encoding="utf-8"))
        self.assertEqual(providers["apiVersion"], 1)
        folder = pathlib.PurePosixPath(providers["providers"][0]["options"]["path"])
        self.assertTrue(folder.is_absolute())
        sources = yaml.safe_load(
            (ROOT / "grafana/provisioning/datasources/prometheus.yaml").read_text(encoding="utf-8")
        )
        self.assertEqual((sources["apiVersion"], sources["datasources"][0]["type"]), (1, "prometheus"))
        self.assertTrue(sources["datasources"][0]["isDefault"])


class Schema(unittest.TestCase):
    def test_grafanas_schema_knows_every_member(self):
        for name, dashboard in DASHBOARDS.items():
            with self.subTest(name):
                back = json.loads(JSONEncoder().encode(Dashboard.from_json(dashboard)))
                self.assertEqual(set(lost(dashboard, back)) - PLUGINS_OWN, set())

    def test_the_schema_notices_a_wrong_member(self):
        wrong = json.loads(json.dumps(DASHBOARDS["segment"]))
        wrong["panels"][1]["options"]["colourMode"] = "value"
        wrong["panels"][2]["fieldConfig"]["defaults"]["units"] = "s"
        back = json.loads(JSONEncoder().encode(Dashboard.from_json(wrong)))
        self.assertEqual(
            set(lost(wrong, back)) - PLUGINS_OWN, {"/panels/options/colourMode", "/panels/fieldConfig/defaults/units"}
        )

    def test_units_are_grafanas(self):
        for name, panel in all_panels():
            with self.subTest(name):
                overrides = [
                    one["value"]
                    for override in panel["fieldConfig"]["overrides"]
                    for one in override["properties"]
                    if one["id"] == "unit"
                ]
                self.assertLessEqual({panel["fieldConfig"]["defaults"]["unit"], *overrides}, UNITS)


class Panels(unittest.TestCase):
    def test_a_dashboard_says_what_it_is_for_and_is_not_edited_in_place(self):
        for name, one in DASHBOARDS.items():
            with self.subTest(name):
                self.assertTrue(one["title"] and one["description"] and one["tags"])
                self.assertFalse(one["editable"])
                self.assertEqual(one["timezone"], "browser")

    def test_a_panel_has_title_description_unit_and_a_text_for_no_value(self):
        for name, panel in all_panels():
            with self.subTest(name):
                defaults = panel["fieldConfig"]["defaults"]
                for text in (panel["title"], panel["description"], defaults["unit"], defaults["noValue"]):
                    self.assertTrue(text)
                self.assertRegex(panel["description"], r"^[A-Z].*\?", "it asks what the panel answers")
                self.assertTrue(panel["targets"])

    def test_titles_differ(self):
        for name, one in DASHBOARDS.items():
            with self.subTest(name):
                named = [panel["title"] for panel in panels(one)]
                self.assertEqual(len(named), len(set(named)))

    def test_panels_lie_within_the_grid_and_not_upon_each_other(self):
        for name, one in DASHBOARDS.items():
            with self.subTest(name):
                cells = [
                    (x, y)
                    for panel in one["panels"]
                    for place in [panel["gridPos"]]
                    for x, y in itertools.product(
                        range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"])
                    )
                ]
                self.assertEqual(len(cells), len(set(cells)))
                self.assertLess(max(x for x, _ in cells), 24)
                ids = [panel["id"] for panel in one["panels"]]
                self.assertEqual(len(ids), len(set(ids)))

    def test_what_changes_over_time_has_a_legend(self):
        for name, panel in all_panels("timeseries", "state-timeline"):
            with self.subTest(name):
                self.assertTrue(panel["options"]["legend"]["showLegend"])
                for target in panel["targets"]:
                    self.assertNotIn(target["legendFormat"], ("", "__auto"))
                    self.assertEqual((target["range"], target["instant"]), (True, False))

    def test_legends_name_labels_that_the_query_leaves(self):
        for name, panel in all_panels():
            for target in panel["targets"]:
                with self.subTest(name):
                    query = tree(target["expr"])
                    known = {*promql.grouping_labels(query), *(label for label, _ in promql.labels_made(query))}
                    for selector, above in promql.selectors(query):
                        if not promql.aggregation_of(above):
                            known |= {"instance", *FAMILIES[promql.metric(selector)].labels}
                    self.assertLessEqual(set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])), known)

    def test_every_datasource_is_the_variable(self):
        for name, one in DASHBOARDS.items():
            with self.subTest(name):
                sources = [
                    part["datasource"]
                    for part in (
                        *panels(one),
                        *(target for panel in panels(one) for target in panel["targets"]),
                        *one["annotations"]["list"],
                        *(variable for variable in one["templating"]["list"] if variable["type"] == "query"),
                    )
                ]
                self.assertTrue(all(source == DATASOURCE for source in sources))

    def test_states_are_mapped_in_the_order_of_a_jobs_life(self):
        *known, unknown = catalogue.statuses()
        expected = {0: unknown, **dict(enumerate(known, 1))}
        found = 0
        for name, panel in all_panels():
            with self.subTest(name):
                for target in panel["targets"]:
                    numbers = state_numbers(target["expr"])
                    if not numbers:
                        continue
                    found += 1
                    self.assertEqual(numbers, expected)
                    mappings = panel["fieldConfig"]["defaults"]["mappings"]
                    if panel["type"] == "table":
                        columns = panel["transformations"][1]["options"]["renameByName"]
                        title = columns[f"Value #{target['refId']}"]
                        mappings = next(
                            one["value"]
                            for override in panel["fieldConfig"]["overrides"]
                            if override["matcher"]["options"] == title
                            for one in override["properties"]
                            if one["id"] == "mappings"
                        )
                    texts = mapped_texts(mappings)
                    self.assertEqual({number: text for number, (text, _) in texts.items()}, expected)
                    self.assertEqual(
                        len({colour for _, colour in texts.values()}), len(expected), "a colour of its own for each"
                    )
        self.assertGreaterEqual(found, 6)

    def test_a_table_names_columns_that_it_has(self):
        for name, panel in all_panels("table"):
            with self.subTest(name):
                columns = set(panel["transformations"][1]["options"]["renameByName"].values())
                named = {
                    override["matcher"]["options"]
                    for override in panel["fieldConfig"]["overrides"]
                    if override["matcher"]["id"] == "byName"
                }
                named |= {one["displayName"] for one in panel["options"]["sortBy"]}
                self.assertLessEqual(named, columns)
                labels = {
                    key for key in panel["transformations"][1]["options"]["renameByName"] if not key.startswith("Value")
                }
                left = {label for target in panel["targets"] for label in promql.grouping_labels(tree(target["expr"]))}
                left |= {label for target in panel["targets"] for label, _ in promql.labels_made(tree(target["expr"]))}
                self.assertLessEqual(labels, left)
                self.assertLessEqual(
                    left - {"status", "job_id"}, labels | set(panel["transformations"][1]["options"]["excludeByName"])
                )
                for target in panel["targets"]:
                    self.assertEqual((target["format"], target["instant"]), ("table", True))

    def test_the_export_jobs_table_shows_progress_state_and_links(self):
        overrides = {
            override["matcher"]["options"]: {one["id"]: one["value"] for one in override["properties"]}
            for panel in panels(DASHBOARDS["export-jobs"])
            if panel["title"] == "Export jobs"
            for override in panel["fieldConfig"]["overrides"]
        }
        self.assertEqual(overrides["Progress"]["custom.cellOptions"]["type"], "gauge")
        self.assertEqual(overrides["Status"]["custom.cellOptions"]["type"], "color-background")
        self.assertTrue(overrides["Segment"]["links"] and overrides["S3 prefix"]["links"])

    def test_failures_and_restarts_are_marked(self):
        for name, wanted in (
            ("export-jobs", ["Failed exports", "Exporter restarts"]),
            ("segment", ["Failed exports", "Exporter restarts"]),
            ("exporter", ["Exporter restarts"]),
        ):
            self.assertEqual([one["name"] for one in DASHBOARDS[name]["annotations"]["list"]], wanted)


class Variables(unittest.TestCase):
    def test_they_are_those_of_the_dashboard(self):
        chosen = ["datasource", "job", "instance", "account", "region", "application"]
        self.assertEqual(list(variables(DASHBOARDS["export-jobs"])), [*chosen, "segment", "status"])
        self.assertEqual(list(variables(DASHBOARDS["segment"])), [*chosen, "segment", "status"])
        self.assertEqual(list(variables(DASHBOARDS["exporter"])), [*chosen, "cache_ttl", "max_staleness"])

    def test_the_first_are_named_as_in_other_dashboards(self):
        for name, one in DASHBOARDS.items():
            with self.subTest(name):
                labels = {variable["name"]: variable["label"] for variable in one["templating"]["list"]}
                self.assertEqual(
                    [labels[first] for first in ("datasource", "job", "instance")], ["Data source", "Job", "Instance"]
                )
                self.assertEqual([variables(one)[several]["multi"] for several in ("job", "instance")], [True, True])
                self.assertEqual(variables(one)["datasource"]["query"], "prometheus")

    def test_they_are_read_again_with_the_time_and_labelled(self):
        for name, one in DASHBOARDS.items():
            with self.subTest(name):
                for variable in one["templating"]["list"]:
                    self.assertTrue(variable["label"])
                    if variable["type"] == "query":
                        alone = (name, variable["name"]) == ("segment", "segment")
                        self.assertEqual(variable["refresh"], 1 if alone else 2)
                        self.assertRegex(variable["query"]["query"], r"^label_values\(.+, \w+\)$")
                        self.assertEqual(variable["query"]["query"], variable["definition"])

    def test_all_also_means_the_empty_account_and_the_empty_segment(self):
        for name, one in DASHBOARDS.items():
            with self.subTest(name):
                named = variables(one)
                self.assertEqual([named[name]["allValue"] for name in ("job", "instance")], [".+", ".+"])
                for name in ("account", "region", "application", "segment"):
                    if name in named and named[name]["multi"]:
                        self.assertEqual(named[name]["allValue"], ".*")

    def test_one_segment_is_one(self):
        named = variables(DASHBOARDS["segment"])
        for name in ("application", "segment"):
            self.assertEqual((named[name]["multi"], named[name]["includeAll"]), (False, False))

    def test_the_statuses_are_the_exporters(self):
        for name in ("export-jobs", "segment"):
            status = variables(DASHBOARDS[name])["status"]
            self.assertEqual(status["query"].split(","), catalogue.statuses())
            self.assertEqual([one["value"] for one in status["options"]], ["$__all", *catalogue.statuses()])

    def test_every_variable_that_is_used_exists_and_every_one_is_used(self):
        for name, one in DASHBOARDS.items():
            with self.subTest(name):
                used = {
                    name or other
                    for text in strings(one)
                    for name, other in re.findall(r"\$(?:\{(\w+)(?:[.:][\w.]+)?\}|(\w+))", text)
                    if not (name or other).isdigit() and not (name or other).startswith("__")
                }
                self.assertEqual(used, set(variables(one)))


class Queries(unittest.TestCase):
    def all(self):
        """The queries of panels, annotations and variables."""
        asked = [
            (
                f"{name}: ${variable['name']}",
                re.fullmatch(r"label_values\((.+), \w+\)", variable["definition"]).group(1),
            )
            for name, one in DASHBOARDS.items()
            for variable in one["templating"]["list"]
            if variable["type"] == "query"
        ]
        return [*queries(), *annotations(), *asked]

    def test_what_a_query_selects_is_limited_by_the_variables(self):
        for name, expr in [*queries(), *annotations()]:
            with self.subTest(name):
                for selector, _ in promql.selectors(tree(expr)):
                    found = {label: (sign, value) for label, sign, value in promql.matchers(selector)}
                    labels = {"job", "instance", *FAMILIES[promql.metric(selector)].labels}
                    for label in labels & set(VARIABLES):
                        # The dashboard of the exporter has no variable for segments; its panels show all.
                        if (
                            label == "segment_id"
                            and label not in found
                            and "$application" in found["application_id"][1]
                        ):
                            continue
                        sign, value = found[label]
                        self.assertEqual((sign, value.removesuffix("|")), ("=~", f"${VARIABLES[label]}"))

    def test_counters_stand_under_rate_and_gauges_do_not(self):
        for name, expr in self.all():
            with self.subTest(name):
                for selector, above in promql.selectors(tree(expr)):
                    function, kind = promql.function_of(above), FAMILIES[promql.metric(selector)].kind
                    if kind == "counter":
                        self.assertIn(function, ("rate", "increase"))
                    else:
                        self.assertNotIn(function, ("rate", "irate", "increase", "resets"))

    def test_ranges_follow_the_scrape_interval(self):
        for name, expr in self.all():
            with self.subTest(name):
                for node, _ in promql.walk(tree(expr)):
                    if isinstance(node, (promql.syntax.MatrixSelector, promql.syntax.SubqueryExpr)):
                        self.assertEqual(
                            promql.syntax.display_duration(node.range), promql.STAND_INS["__rate_interval"]
                        )

    def test_replicas_are_made_one(self):
        for name, expr in queries():
            with self.subTest(name):
                for selector, above in promql.selectors(tree(expr)):
                    if "application_id" in FAMILIES[promql.metric(selector)].labels:
                        self.assertIn(promql.aggregation_of(above), ("max", "min", "quantile", "count"))

    def test_finished_states_are_filtered_or_numbered(self):
        """A state set counts only where it is at 1, or is compared with 1 around the aggregation."""
        for name, expr in queries():
            with self.subTest(name):
                for selector, above in promql.selectors(tree(expr)):
                    if promql.metric(selector).endswith("_job_status"):
                        compared = [
                            node
                            for node in above
                            if isinstance(node, promql.syntax.BinaryExpr) and str(node.op) == "=="
                        ]
                        self.assertTrue(compared)

    def test_nothing_is_multiplied_with_up(self):
        for name, expr in queries():
            with self.subTest(name):
                for selector, above in promql.selectors(tree(expr)):
                    if promql.metric(selector) == "up":
                        self.assertEqual(above, ())

    def test_no_recording_rule_is_needed(self):
        for name, expr in self.all():
            with self.subTest(name):
                for selector, _ in promql.selectors(tree(expr)):
                    self.assertIn(promql.metric(selector), FAMILIES)


class Links(unittest.TestCase):
    def addresses(self):
        """Each link to a dashboard from a table, a rule or a runbook."""
        for name, panel in all_panels():
            for override in panel["fieldConfig"]["overrides"]:
                for one in override["properties"]:
                    if one["id"] == "links":
                        yield from ((f"{name}: {link['title']}", link["url"]) for link in one["value"])
        rules = [*(ROOT / "deploy/prometheus").rglob("*.yaml"), *(ROOT / "deploy/runbooks").glob("*.md")]
        for file in rules:
            for url in re.findall(r"/d/pinpoint-[^\s\"`)]*(?:\\\n\s+&[^\s\"`)]*)*", file.read_text(encoding="utf-8")):
                yield f"{file.name}: {url}", re.sub(r"\\\n\s+", "", re.sub(r"\{\{[^}]*\}\}", "x", url))

    def test_dashboards_lead_to_each_other_with_variables_and_time(self):
        for name, one in DASHBOARDS.items():
            with self.subTest(name):
                others = [link["url"].removeprefix("/d/") for link in one["links"]]
                self.assertEqual(sorted([*others, one["uid"]]), sorted(BY_UID))
                self.assertTrue(
                    all(link["includeVars"] and link["keepTime"] and link["tooltip"] for link in one["links"])
                )

    def test_links_lead_to_dashboards_with_their_variables(self):
        found = 0
        for name, url in self.addresses():
            with self.subTest(name):
                if not url.startswith("/d/"):
                    continue
                found += 1
                path, _, query = url.partition("?")
                dashboard = BY_UID[path.removeprefix("/d/")]
                kept = re.findall(r"\$\{(\w+):queryparam\}", query)
                given = [
                    name.removeprefix("var-")
                    for name in urllib.parse.parse_qs(query, keep_blank_values=True)
                    if name.startswith("var-")
                ]
                self.assertLessEqual({*kept, *given}, set(variables(dashboard)))
        self.assertGreaterEqual(found, 25)

    def test_an_empty_label_stays_empty_in_a_link(self):
        """Grafana puts the text of a cell into a link, and that is the text for no value if there is one."""
        for name, panel in all_panels("table"):
            with self.subTest(name):
                texts = {
                    tuple(override["matcher"].values()): one["value"]
                    for override in panel["fieldConfig"]["overrides"]
                    for one in override["properties"]
                    if one["id"] == "noValue"
                }
                self.assertEqual(texts, {("byType", "number"): "–", ("byType", "string"): ""})

    def test_links_in_a_table_name_its_fields(self):
        for name, panel in all_panels("table"):
            with self.subTest(name):
                fields = set(panel["transformations"][1]["options"]["renameByName"])
                named = {
                    field
                    for text in strings(panel["fieldConfig"])
                    for field in re.findall(r"__data\.fields\.(\w+)", text)
                }
                self.assertLessEqual(named, fields)
                self.assertTrue(named)


if __name__ == "__main__":
    unittest.main()
