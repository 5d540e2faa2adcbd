"""Checks the JSON of grafana/dashboards against Grafana's schema and against rules for good dashboards.

    .venv/bin/python tests/judges/dashboards_judge.py

Grafana's foundation SDK is generated from Grafana's schema, here that of Grafana 10.1. It drops members that it does not know. The
rules of grafana/dashboard-linter are here too. The linter itself is in none of the registries that the tests can use.
"""

import itertools
import json
import pathlib
import re
import subprocess
import sys
import tempfile
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
sys.path.append(str(ROOT / "tests/live"))
from demo import ALL, fill, options  # noqa: E402

FILES = sorted((ROOT / "grafana/dashboards").glob("*.json"))
DASHBOARDS = {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in FILES}
BY_UID = {one["uid"]: one for one in DASHBOARDS.values()}
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
# The variables in strings of queries.
CHOSEN = ("job", "instance", "account", "region", "application", "segment", "status", "why")
# Hidden variables: whether the rules are installed, and the ids in charts and tables.
DRAWN = ("recorded", "shown", "gone", "running", "listed")
# Series of rules that are settings of the user. A query reads them if they exist.
SETTINGS = ("pinpoint:expected_export_interval:seconds", "pinpoint:export_job_budget:seconds")
# Series of rules that a query reads instead of the series of all jobs.
RECORDS = {
    rule["record"]
    for group in yaml.safe_load((ROOT / "deploy/prometheus/rules/pinpoint.yaml").read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
    if "record" in rule
}
RULES_RECORD = "segment:pinpoint_segment:info"
FAMILIES = {**catalogue.families(), **{name: catalogue.Family("gauge") for name in (*SETTINGS, *RECORDS)}}
# Matchers that select few jobs, or series that are read only if the rules are not installed. No series has a label `recorded`.
FEW_JOBS = {("job_id", "$running"), ("job_id", "$listed"), ("segment_id", "$shown|$gone|"), ("recorded", "$recorded")}
# The variable of each label.
VARIABLES = {
    "job": "job",
    "instance": "instance",
    "aws_account_id": "account",
    "aws_region": "region",
    "application_id": "application",
    "segment_id": "segment",
}
# Intermediate labels, from which a query makes its final label.
ON_THE_WAY = {"exception", "short", "segment_name", "application_name", "time", "reason"}
# Members of Grafana's Prometheus plugin, which are not in the schema of dashboards. They are in src/types.ts of the plugin.
PLUGINS_OWN = {
    "/annotations/list/expr",
    "/annotations/list/step",
    "/annotations/list/titleFormat",
    "/annotations/list/textFormat",
    "/annotations/list/useValueForTime",
    "/templating/list/definition",
}
# The width of a panel across the whole window, without its borders.
PANEL_AT_1280 = 1220
UNITS = {value for name, value in vars(units).items() if isinstance(value, str) and not name.startswith("_")}


def setUpModule():
    register_default_plugins()


def panels(dashboard):
    """The panels except rows, which show nothing."""
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


def asked_of(variable):
    """The query of a variable and, if it reads a label, the label."""
    found = re.fullmatch(r"label_values\((.+), (\w+)\)|query_result\((.+)\)", variable["definition"], re.S)
    return found.group(1) or found.group(3), found.group(2)


def tree(expr):
    """The syntax tree of a query. Variables in its strings stay."""
    return promql.parse(expr, keep=(*CHOSEN, *DRAWN))


def strings(value):
    """All strings within a JSON value."""
    if isinstance(value, str):
        yield value
    for one in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from strings(one)


def lost(before, after, path=""):
    """The paths of members that are missing or different."""
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
    """The states that a query turns into numbers, by number. Other queries have none."""
    return {
        int(node.args[0].args[0].val): node.args[2].val
        for node, _ in promql.walk(tree(expr))
        if isinstance(node, promql.syntax.Call)
        and node.func.name == "label_replace"
        and node.args[1].val == "status"
        and isinstance(node.args[0], promql.syntax.Call)
        and node.args[0].func.name == "vector"
        # A budget is in seconds.
        and node.args[0].args[0].val < 100
    }


def mapped_texts(mappings):
    """The texts and colours of value mappings, by number."""
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

    def test_a_panel_has_title_description_and_unit(self):
        for name, panel in all_panels():
            with self.subTest(name):
                defaults = panel["fieldConfig"]["defaults"]
                for text in (panel["title"], panel["description"], defaults["unit"]):
                    self.assertTrue(text)
                self.assertRegex(panel["description"], r"^[A-Z][^?]*\.$", "it says what the panel shows, and asks nothing")
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
                        columns = panel["transformations"][-1]["options"]["renameByName"]
                        title = columns[f"Value #{target['refId']}"]
                        mappings = next(
                            one["value"]
                            for override in panel["fieldConfig"]["overrides"]
                            if override["matcher"]["options"] == title
                            for one in override["properties"]
                            if one["id"] == "mappings"
                        )
                    texts = mapped_texts(mappings)
                    states = {number: texts[number][0] for number in expected}
                    self.assertEqual(states, expected)
                    colours = [colour for number, (_, colour) in texts.items() if number < 100]
                    self.assertEqual(len(set(colours)), len(colours), "a colour of its own for each")
        self.assertGreaterEqual(found, 6)

    def test_a_table_names_columns_that_it_has(self):
        for name, panel in all_panels("table"):
            with self.subTest(name):
                columns = set(panel["transformations"][-1]["options"]["renameByName"].values())
                named = {
                    override["matcher"]["options"]
                    for override in panel["fieldConfig"]["overrides"]
                    if override["matcher"]["id"] == "byName"
                }
                named |= {one["displayName"] for one in panel["options"]["sortBy"]}
                self.assertLessEqual(named, columns)
                labels = {
                    key for key in panel["transformations"][-1]["options"]["renameByName"] if not key.startswith("Value")
                }
                left = {label for target in panel["targets"] for label in promql.grouping_labels(tree(target["expr"]))}
                left |= {label for target in panel["targets"] for label, _ in promql.labels_made(tree(target["expr"]))}
                self.assertLessEqual(labels, left)
                self.assertLessEqual(
                    left - {"status", *ON_THE_WAY, *(() if "job" in labels else ("job_id",))},
                    labels | set(panel["transformations"][-1]["options"]["excludeByName"]),
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
        self.assertTrue(overrides["Segment"]["links"] and overrides["Files"]["links"])

    def test_failures_and_restarts_are_marked(self):
        for name, wanted in (
            ("export-jobs", ["Failed exports", "Exporter restarts"]),
            ("segment", ["Failed exports", "Exporter restarts"]),
            ("exporter", ["Exporter restarts"]),
        ):
            self.assertEqual([one["name"] for one in DASHBOARDS[name]["annotations"]["list"]], wanted)


def shown_state(panel, value):
    """The text and the colour of a value in a state timeline, by the rules of Grafana's TimelineChart (9.4 to 12.3).

    With `mergeValues` and the colour mode `thresholds` it draws threshold bands and ignores the value mappings. The base step is
    minus infinity, so a lone base step reads "-∞+".
    """
    defaults = panel["fieldConfig"]["defaults"]
    steps = defaults["thresholds"]["steps"]
    if panel["options"]["mergeValues"] and defaults["color"]["mode"] == "thresholds" and steps:
        at = max(index for index, step in enumerate(steps) if step["value"] is None or step["value"] <= value)
        if steps[at]["value"] is None and len(steps) > 1:
            return f"< {steps[at + 1]['value']}", steps[at]["color"]
        return f"{'-∞' if steps[at]['value'] is None else steps[at]['value']}+", steps[at]["color"]
    fixed = defaults["color"].get("fixedColor", steps[0]["color"])
    return mapped_texts(defaults["mappings"]).get(value, (str(value), fixed))


def properties(panel):
    """The properties of the overrides of a panel, by the names of the columns or series."""
    found = {}
    for override in panel["fieldConfig"]["overrides"]:
        if override["matcher"]["id"] == "byName":
            one = found.setdefault(override["matcher"]["options"], {})
            one.update({part["id"]: part["value"] for part in override["properties"]})
    return found


def visible_columns(panel):
    """The columns that a table shows."""
    overrides = properties(panel)
    titles = panel["transformations"][-1]["options"]["renameByName"].values()
    return {title: overrides.get(title, {}) for title in titles if not overrides.get(title, {}).get("custom.hidden")}


class RealGrafana(unittest.TestCase):
    """Checks for faults that a real Grafana 12.3 showed."""

    def test_a_state_timeline_shows_the_mapped_texts_and_colours(self):
        found = all_panels("state-timeline")
        self.assertGreaterEqual(len(found), 3)
        for name, panel in found:
            with self.subTest(name):
                # With a text for no value Grafana fills the gaps of a timeline.
                self.assertNotIn("noValue", panel["fieldConfig"]["defaults"])
                for value, shown in mapped_texts(panel["fieldConfig"]["defaults"]["mappings"]).items():
                    self.assertEqual(shown_state(panel, value), shown)

    def test_threshold_bands_would_hide_the_mappings(self):
        panel = json.loads(json.dumps(all_panels("state-timeline")[0][1]))
        panel["fieldConfig"]["defaults"]["color"] = {"mode": "thresholds"}
        self.assertEqual(shown_state(panel, 9)[0], "-∞+")

    def test_links_between_dashboards_carry_only_variables_that_each_has_with_the_same_choices(self):
        carried = ["datasource", "job", "instance", "account", "region"]
        for name, one in DASHBOARDS.items():
            for link in one["links"]:
                with self.subTest(f"{name}: {link['title']}"):
                    self.assertFalse(link["includeVars"])
                    self.assertTrue(link["keepTime"] and link["tooltip"])
                    path, _, query = link["url"].partition("?")
                    self.assertEqual(re.findall(r"\$\{(\w+):queryparam\}", query), carried)
                    self.assertEqual(query.count("&"), len(carried) - 1)
                    target = variables(BY_UID[path.removeprefix("/d/")])
                    for variable in carried:
                        self.assertEqual(variables(one)[variable]["includeAll"], target[variable]["includeAll"])

    def test_the_default_data_source_is_chosen(self):
        for name, one in DASHBOARDS.items():
            with self.subTest(name):
                current = variables(one)["datasource"]["current"]
                self.assertEqual((current.get("text"), current.get("value")), ("default", "default"))

    def test_all_jobs_are_those_of_exporters(self):
        """With `.+` for All, the panels would show `up` and `process_*` of every job that Prometheus scrapes."""
        for name, one in DASHBOARDS.items():
            with self.subTest(name):
                for variable in ("job", "instance"):
                    self.assertFalse(variables(one)[variable].get("allValue"))

    def test_a_text_for_no_value_states_no_fact(self):
        """Grafana also shows this text when the query failed, so only a query that succeeded can say "None"."""
        for name, panel in all_panels("stat", "table", "timeseries"):
            with self.subTest(name):
                self.assertEqual(panel["fieldConfig"]["defaults"]["noValue"], "No data")

    def test_a_table_and_a_timeline_have_a_row_that_says_why_they_are_empty(self):
        """Grafana shows only the header of an empty table, and an error instead of an empty timeline."""
        for name, panel in all_panels("table"):
            with self.subTest(name):
                query = tree(panel["targets"][0]["expr"])
                while isinstance(query, (promql.syntax.ParenExpr, promql.syntax.Call)):
                    query = query.expr if isinstance(query, promql.syntax.ParenExpr) else query.args[0]
                self.assertIsInstance(query, promql.syntax.BinaryExpr)
                self.assertEqual(str(query.op), "or")
                self.assertTrue(
                    any(str(node.op) == "count" for node, _ in promql.walk(query.rhs) if hasattr(node, "op")),
                    "the other side of `or` counts what is watched",
                )
        for name, panel in all_panels("state-timeline"):
            with self.subTest(name):
                asked = {promql.metric(one) for target in panel["targets"] for one, _ in promql.selectors(tree(target["expr"]))}
                self.assertTrue(asked & {"pinpoint_target_up", "up"}, "it has a state for what cannot be read")

    def test_the_base_threshold_is_no_verdict(self):
        """It also colours the text for no value."""
        for name, panel in all_panels("stat", "table", "timeseries"):
            steps = [panel["fieldConfig"]["defaults"]["thresholds"], *(
                one["thresholds"] for one in properties(panel).values() if "thresholds" in one
            )]
            for one in steps:
                with self.subTest(name):
                    self.assertIn(one["steps"][0]["color"], ("text", "blue", "#8e8e8e"))

    def test_a_line_at_a_threshold_is_no_green_one(self):
        for name, panel in all_panels("timeseries"):
            with self.subTest(name):
                defaults = panel["fieldConfig"]["defaults"]
                if defaults["custom"]["thresholdsStyle"]["mode"] != "off":
                    lines = {step["color"] for step in defaults["thresholds"]["steps"][1:]}
                    self.assertLessEqual(lines, {"orange", "red"})

    def test_an_axis_has_a_height_when_everything_is_zero(self):
        """Grafana's axis of a constant 0 reaches to 100, which is 10,000 % of a share."""
        for name, panel in all_panels("timeseries"):
            with self.subTest(name):
                defaults = panel["fieldConfig"]["defaults"]
                if defaults["custom"].get("scaleDistribution", {}).get("type") == "log":
                    continue
                self.assertTrue("max" in defaults or defaults["custom"].get("axisSoftMax", 0) > 0)
                self.assertTrue("min" in defaults or defaults["custom"].get("axisSoftMin", 0) < 0)

    def test_a_limit_line_is_no_area_and_does_not_crush_the_data(self):
        found = 0
        for name, panel in all_panels("timeseries"):
            limits = [target["legendFormat"] for target in panel["targets"] if not promql.selectors(tree(target["expr"]))]
            for limit in limits:
                with self.subTest(f"{name}: {limit}"):
                    found += 1
                    line = properties(panel)[limit]
                    self.assertEqual((line["custom.fillOpacity"], line["custom.lineStyle"]["fill"]), (0, "dash"))
                    self.assertEqual(panel["fieldConfig"]["defaults"]["custom"]["scaleDistribution"]["type"], "log")
        self.assertEqual(found, 2)

    def test_a_table_fits_a_window_of_1280_pixels(self):
        for name, panel in all_panels("table"):
            with self.subTest(name):
                overrides = visible_columns(panel)
                widths = {title: one.get("custom.width", 0) for title, one in overrides.items()}
                self.assertLessEqual(sum(widths.values()), PANEL_AT_1280)
                for title, width in widths.items():
                    sorted_by = any(one["displayName"] == title for one in panel["options"]["sortBy"])
                    signs = 16 * (sorted_by + overrides[title].get("custom.filterable", False))
                    self.assertGreaterEqual(width, len(title) * 7.3 + 24 + signs, f"the header {title} is not cut")
                    if title == "Segment":
                        self.assertGreaterEqual(width, 266, "an id of 32 digits, or a name and 8 digits")
                    if title in ("Status", "State"):
                        self.assertGreaterEqual(width, 235, "PREPARING_FOR_INITIALIZATION")

    def test_a_title_fits_its_panel_in_a_window_of_1280_pixels(self):
        for name, panel in all_panels():
            with self.subTest(name):
                self.assertLessEqual(len(panel["title"]) * 7.8 + 56, panel["gridPos"]["w"] * 1248 / 24)

    def test_a_stat_shows_no_instance_names(self):
        for name, panel in all_panels("stat"):
            with self.subTest(name):
                self.assertNotEqual(panel["options"]["textMode"], "value_and_name")
                self.assertNotIn("instance", " ".join(target["legendFormat"] for target in panel["targets"]))

    def test_the_header_takes_one_line_of_1280_pixels(self):
        for name, one in DASHBOARDS.items():
            with self.subTest(name):
                shown = [variable for variable in one["templating"]["list"] if variable["hide"] != 2]
                self.assertLessEqual(sum(len(variable["label"]) * 7 + 24 + 110 for variable in shown), 1248)
                for hidden in ("job", "account", "region"):
                    self.assertEqual(variables(one)[hidden]["hide"], 2)

    def test_a_legend_begins_with_what_is_greatest_now(self):
        for name, panel in all_panels("timeseries"):
            with self.subTest(name):
                legend = panel["options"]["legend"]
                self.assertEqual((legend["sortBy"], legend["sortDesc"]), ("Last *", True))

    def test_a_legend_tells_the_series_of_a_query_apart(self):
        """Each label of the result is in the legend. The label `segment` stands for the four labels of a segment."""
        segment = {"aws_account_id", "aws_region", "application_id", "segment_id"}
        for name, panel in all_panels("timeseries"):
            for target in panel["targets"]:
                with self.subTest(f"{name} {target['refId']}"):
                    legend = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
                    left = promql.labels_left(tree(target["expr"]))
                    if left is None:
                        continue
                    if name.startswith("segment: "):
                        left -= segment
                    if "segment" in legend:
                        left -= segment
                    if "application" in legend:
                        left -= {"application_id"}
                    if legend & {"job", "begun"}:
                        left -= {"job_id"}
                    self.assertLessEqual(left, legend)

    def test_a_lone_point_is_drawn(self):
        for name, panel in all_panels("timeseries"):
            with self.subTest(name):
                self.assertEqual(panel["fieldConfig"]["defaults"]["custom"]["showPoints"], "auto")

    def test_running_exports_have_a_time_range_of_their_own(self):
        """An export takes minutes, so in a range of 7 days it would be a single point."""
        for title in ("Progress of running exports", "Time left", "Throughput"):
            for name in ("export-jobs", "segment"):
                with self.subTest(f"{name}: {title}"):
                    panel = next(panel for panel in panels(DASHBOARDS[name]) if panel["title"] == title)
                    self.assertEqual(panel["timeFrom"], "6h")

    def test_a_chart_is_limited_to_what_can_be_read(self):
        """Charts of segments select those in the hidden variable `shown`, and charts of jobs select the running ones."""
        for name, panel in all_panels("timeseries", "state-timeline"):
            if not name.startswith("export-jobs: "):
                continue
            for target in panel["targets"]:
                if "{{segment}}" not in target["legendFormat"]:
                    continue
                with self.subTest(name):
                    for selector, _ in promql.selectors(tree(target["expr"])):
                        values = {value for _, _, value in promql.matchers(selector)}
                        self.assertTrue(selector.at or values & {"$shown|$gone|", "$running"}, selector.prettify())


class Alerts(unittest.TestCase):
    """Compares the numbers of the dashboards with the expressions of the alerts, in a world that promtool evaluates."""

    # Early, so that promtool has little to evaluate. Earlier events have negative times.
    NOW = 1200
    HOUR = 3600

    def setUp(self):
        self.series = {}

    def put(self, name, value, **labels):
        """Adds a series of both replicas. The second has STATUS_SERIES=current."""
        for instance in ("a", "b"):
            if instance == "b" and name.endswith("_status") and not value:
                continue
            named = ",".join(f"{label}={json.dumps(text)}" for label, text in labels.items())
            self.series[f'{name}{{job="pinpoint",instance="{instance}",{named}}}'] = value

    def segment(self, segment, *jobs, up=1, readable=True, series=True, **names):
        """Adds a segment with jobs: the status, hours since creation and end, and counts. Without `series`, jobs have no own series."""
        where = {"aws_account_id": "", "aws_region": "us-east-1", "application_id": "app", "segment_id": segment}
        self.put("pinpoint_target_up", up, **where)
        self.put("pinpoint_target_last_success_timestamp_seconds", self.NOW - 30, **where)
        if not up:
            self.put("pinpoint_target_error", 1, **where, exception="AccessDeniedException")
        for name, value in names.items():
            self.put("pinpoint_segment_info", 1, **where, segment_name=value, segment_type="DYNAMIC")
        if not readable:
            return
        for reason in ("age", "count"):
            self.put("pinpoint_segment_suppressed_export_jobs", 0, **where, reason=reason)
        ended = {}
        modelled = catalogue.statuses()[:9]
        statuses = [*modelled, *sorted({job[0] for job in jobs} - set(modelled))]
        for number, (status, created, completed, counts) in enumerate(jobs):
            if completed is not None:
                ended[status] = max(ended.get(status, -1e12), self.NOW - completed * self.HOUR)
            if not series:
                continue
            one = {**where, "job_id": f"{segment}-{number}"}
            for other in statuses:
                self.put("pinpoint_export_job_status", int(other == status), **one, status=other)
            self.put("pinpoint_export_job_created_timestamp_seconds", self.NOW - created * self.HOUR, **one)
            if completed is not None:
                self.put("pinpoint_export_job_completed_timestamp_seconds", self.NOW - completed * self.HOUR, **one)
            for count, value in counts.items():
                self.put(f"pinpoint_export_job_{count}", value, **one)
        for status in statuses:
            self.put(
                "pinpoint_segment_export_jobs", sum(job[0] == status for job in jobs), **where, status=status
            )
        for status, name in (("COMPLETED", "completed"), ("FAILED", "failed")):
            if status in ended:
                self.put(f"pinpoint_segment_last_{name}_export_timestamp_seconds", ended[status], **where)
        if jobs:
            newest = min(jobs, key=lambda job: job[1])
            for status in statuses:
                self.put("pinpoint_segment_latest_export_job_status", int(status == newest[0]), **where, status=status)
            self.put(
                "pinpoint_segment_latest_export_job_created_timestamp_seconds",
                self.NOW - newest[1] * self.HOUR,
                **where,
            )

    def expect(self, segment, interval):
        """Adds an expected interval, as the recording rule in the user's own file does."""
        name = f'pinpoint:expected_export_interval:seconds{{application_id="app",segment_id="{segment}"}}'
        self.series[name] = interval * self.HOUR

    def ask(self, *questions):
        """Evaluates queries in the world with the alerts' rules. promtool compares the results with the expected ones."""
        tests = [
            {"expr": expr, "eval_time": "20m", "exp_samples": [{"labels": labels, "value": value} for labels, value in answer]}
            for expr, answer in questions
        ]
        content = {
            "rule_files": [str(file) for file in sorted((ROOT / "deploy/prometheus/rules").glob("*.yaml"))],
            "evaluation_interval": "1m",
            "tests": [
                {
                    "interval": "1m",
                    "input_series": [{"series": name, "values": f"{value}x24"} for name, value in self.series.items()],
                    "promql_expr_test": tests,
                }
            ],
        }
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "world.yaml"
            file.write_text(json.dumps(content), encoding="utf-8")
            run = subprocess.run(
                ["promtool", "test", "rules", file], capture_output=True, text=True, timeout=HANG_LIMIT, check=False
            )
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)

    @staticmethod
    def query(title, dashboard="export-jobs", number=0, **chosen):
        """A query of a panel with All chosen and the rules installed."""
        panel = next(one for one in panels(DASHBOARDS[dashboard]) if one["title"] == title)
        return fill(panel["targets"][number]["expr"], {**ALL, "recorded": "yes", **chosen})

    @staticmethod
    def without_rules(expr):
        """The query as if the rules were not installed. In the world they are, so this renames their records."""
        for record in RECORDS:
            expr = expr.replace(f"{record}{{", f"without:{record}{{")
        return expr.replace('recorded="yes"', 'recorded=""')

    @staticmethod
    def alerts(*names):
        """A query for the number of segments that the alerts select."""
        selected = [
            f"max by (aws_account_id, aws_region, application_id, segment_id) ({rule['expr']})"
            for file in sorted((ROOT / "deploy/prometheus/rules").glob("*.yaml"))
            for group in yaml.safe_load(file.read_text(encoding="utf-8"))["groups"]
            for rule in group["rules"]
            if rule.get("alert") in names
        ]
        assert len(selected) >= len(names)
        return f"count({' or '.join(f'({one})' for one in selected)}) or vector(0)"

    def eventful(self):
        """Adds segments for every alert about segments, and segments that almost fire one."""
        good = {"processed_endpoints": 100, "failed_endpoints": 0, "failed_pieces": 0}
        running = ("PROCESSING", 1, None, {"processed_endpoints": 10, "failed_endpoints": 0})
        self.segment("well", ("COMPLETED", 2, 1, good))
        self.segment("cancelled", ("COMPLETED", 9, 8, good), ("CANCELLED", 2, 1, {}))
        self.segment("unknown", ("COMPLETED", 9, 8, good), ("UNKNOWN", 2, None, {}))
        self.segment("failed-and-tries-again", ("COMPLETED", 50, 49, good), ("FAILED", 3, 2, {}), running)
        self.segment("failed-six-times", *(("FAILED", 12 - n, 11 - n, {}) for n in range(6)), running)
        self.segment("failed-without-a-date", ("COMPLETED", 9, 8, good), ("FAILED", 3, None, {}), running)
        self.segment("failed-without-a-date-mended", ("FAILED", 5, None, {}), ("COMPLETED", 4, 3, good))
        self.segment("failed-without-a-date-or-series", ("COMPLETED", 9, 8, good), ("FAILED", 3, None, {}), series=False)
        self.segment("succeeded-without-series", ("FAILED", 5, None, {}), ("COMPLETED", 4, 3, good), series=False)
        self.segment("failed-long-ago", ("FAILED", 80, 79, {}))
        self.segment("failed-and-mended", ("FAILED", 5, 4, {}), ("COMPLETED", 3, 2, good))
        self.segment("failing", ("FAILING", 1, None, {}))
        self.segment("stuck", ("PROCESSING", 8, None, {}))
        self.segment("stuck-in-created", ("COMPLETED", 9, 8, good), ("CREATED", 1, None, {}))
        self.segment("not-yet-stuck", ("PROCESSING", 5, None, {}))
        self.segment("stuck-but-a-success-followed", ("PROCESSING", 8, None, {}), ("COMPLETED", 2, 1, good))
        self.segment("late", ("COMPLETED", 31, 30, good))
        self.expect("late", 26)
        self.segment("in-time", ("COMPLETED", 21, 20, good))
        self.expect("in-time", 26)
        self.segment("expected-and-never-ran")
        self.expect("expected-and-never-ran", 26)
        self.segment("never-ran")
        self.segment("empty", ("COMPLETED", 2, 1, {**good, "processed_endpoints": 0}))
        self.segment("all-lost", ("COMPLETED", 2, 1, {**good, "processed_endpoints": 0, "failed_endpoints": 7}))
        self.segment("partly", ("COMPLETED", 2, 1, {**good, "failed_endpoints": 1}))
        self.segment("pieces", ("COMPLETED", 2, 1, {**good, "failed_pieces": 1}))
        self.segment("lost-long-ago", ("COMPLETED", 80, 79, {**good, "failed_endpoints": 90}))
        self.segment("loses-now", ("PROCESSING", 1, None, {"processed_endpoints": 10, "failed_endpoints": 1}))
        self.segment("loses-all-now", ("PROCESSING", 1, None, {"processed_endpoints": 0, "failed_endpoints": 7}))
        self.segment("loses-a-little-now", ("PROCESSING", 1, None, {"processed_endpoints": 100, "failed_endpoints": 1}))
        self.segment("denied", up=0, readable=False)

    def test_a_number_agrees_with_its_alert(self):
        self.eventful()
        for title, names, number in (
            ("Failed", ("PinpointExportFailed",), 4),
            ("Stuck", ("PinpointExportStuck",), 2),
            ("Overdue", ("PinpointExportOverdue",), 2),
            ("Lost endpoints", ("PinpointExportFailureRatioHigh", "PinpointExportPartlyFailed"), 5),
            ("Empty", ("PinpointExportEmpty",), 1),
            ("Never exported", ("PinpointExportNeverRan",), 1),
        ):
            with self.subTest(title):
                asked = (self.query(title), self.without_rules(self.query(title)), self.alerts(*names))
                self.ask(*((expr, [("{}", number)]) for expr in asked))
        with self.subTest("Targets down"):
            down = "count(target:pinpoint_target_up:max == 0)"
            self.ask(*((expr, [("{}", 1)]) for expr in (self.query("Targets down"), down)))

    def test_a_row_says_the_most_urgent_reason(self):
        self.eventful()
        reasons = {
            "denied": 1,
            **{name: 2 for name in ("failed-and-tries-again", "failed-six-times")},
            **{name: 2 for name in ("failed-without-a-date", "failed-without-a-date-or-series")},
            "failing": 3,
            **{name: 4 for name in ("stuck", "stuck-in-created")},
            **{name: 5 for name in ("late", "expected-and-never-ran")},
            **{name: 6 for name in ("all-lost", "partly", "pieces", "loses-now", "loses-all-now")},
            "empty": 7,
            "never-ran": 8,
            **{name: 10 for name in ("cancelled", "unknown")},
            **{name: 9 for name in ("not-yet-stuck", "stuck-but-a-success-followed", "loses-a-little-now")},
            **{
                name: 11
                for name in (
                    *("well", "failed-without-a-date-mended", "failed-long-ago", "failed-and-mended"),
                    *("in-time", "lost-long-ago", "succeeded-without-series"),
                )
            },
        }
        rows = f"sum by (segment_id) ({self.query('Segments by urgency')})"
        places = [(f'{{segment_id="{name}"}}', place) for name, place in reasons.items()]
        self.ask((rows, places), (self.without_rules(rows), places))
        failed = f"count({self.query('Segments by urgency', why='(Failed|Stuck)')})"
        self.ask((failed, [("{}", 6)]))
        none = self.query("Segments by urgency", why="(Overdue|nothing)", segment="well")
        self.ask((none, [("{}", 100)]))

    def test_a_number_is_not_known_when_nothing_can_be_read(self):
        self.segment("denied", up=0, readable=False)
        for title in ("Failed", "Stuck", "Lost endpoints", "Empty", "Never exported", "Running exports"):
            with self.subTest(title):
                self.ask((self.query(title), [("{}", -2)]))
        self.series.clear()
        self.ask(*((self.query(title), []) for title in ("Failed", "Stuck", "Running exports", "Targets down", "Overdue")))
        self.segment("denied", up=0, readable=False)
        for title in ("Newest export", "Last success", "Last failure", "Endpoints", "Lost share"):
            with self.subTest(title):
                self.ask((self.query(title, "segment"), [("{}", -2)]))

    def test_a_segment_that_never_ran_is_told_from_one_that_cannot_be_read(self):
        self.segment("never-ran")
        for title in ("Newest export", "Last success", "Last failure", "Endpoints", "Lost share"):
            with self.subTest(title):
                self.ask((self.query(title, "segment"), [("{}", -1)]))

    def names(self):
        """The query of the variable for segments: the texts that it shows, with their ids."""
        variable = variables(DASHBOARDS["export-jobs"])["segment"]
        return fill(asked_of(variable)[0], ALL)

    def test_names_stand_for_ids_where_they_are_known(self):
        well = ("COMPLETED", 2, 1, {"processed_endpoints": 1})
        first, second, third = (digit * 32 for digit in "123")
        self.segment(first, well, name="Weekly letter")
        self.segment(second, well, name="Weekly letter")
        self.segment(third, well)
        labels = {
            first: "Weekly letter (11111111)",
            second: "Weekly letter (22222222)",
            third: third,
        }
        self.ask(
            (self.names(), [(f'{{segment_id="{name}",segment="{text}"}}', 1) for name, text in labels.items()]),
            (
                f"count by (segment, application) ({self.query('Segments by urgency')})",
                [(f'{{segment="{text}",application="app"}}', 1) for text in labels.values()],
            ),
            (
                f"count by (segment) ({self.query('Duration of the last successful export', shown='.*', gone='')})",
                [(f'{{segment="{text}"}}', 1) for text in labels.values()],
            ),
        )

    def test_a_segment_is_one_while_replicas_know_different_names(self):
        """Replicas read the names at different times."""
        self.segment("renamed", ("COMPLETED", 2, 1, {"processed_endpoints": 1}), before="Old name", after="New name")
        table = self.query("Segments by urgency")
        self.ask(*((f"count({expr})", [("{}", 1)]) for expr in (self.names(), table)))

    def test_a_variable_shows_hostile_names_and_keeps_their_ids(self):
        for hostile in ('a "quoted" one', '",segment_id="x"} 1', "$1 \\ back", "two\nlines", "}", "<b>"):
            with self.subTest(hostile):
                series = {
                    "metric": {"segment": f"{hostile} (11111111)", "segment_id": "1" * 32},
                    "value": [1.5, "1"],
                }
                variable = variables(DASHBOARDS["export-jobs"])["segment"]
                self.assertEqual(
                    options(variable, ALL, lambda _, series=series: [series]), [(f"{hostile} (11111111)", "1" * 32)]
                )

    def test_colours_change_where_alerts_fire(self):
        rules = {
            rule["alert"]: rule["expr"]
            for file in sorted((ROOT / "deploy/prometheus/rules").glob("*.yaml"))
            for group in yaml.safe_load(file.read_text(encoding="utf-8"))["groups"]
            for rule in group["rules"]
            if "alert" in rule
        }
        for dashboard, title, alert, pattern in (
            ("export-jobs", "Oldest data", "PinpointDataStale", r"> (300)\b"),
            ("exporter", "Clock skew", "PinpointClockSkewed", r"> (60)\b"),
            ("exporter", "Credentials", "PinpointCredentialsExpiring", r"time\(\) \+ (240)\b"),
            ("exporter", "Error ratio", "PinpointErrorRatioHigh", r"> (0\.1)\b"),
            ("export-jobs", "Share of endpoints lost", "PinpointExportFailureRatioHigh", r"> (0\.05)\b"),
        ):
            with self.subTest(title):
                panel = next(one for one in panels(DASHBOARDS[dashboard]) if one["title"] == title)
                steps = {step["value"] for step in panel["fieldConfig"]["defaults"]["thresholds"]["steps"]}
                self.assertIn(float(re.search(pattern, rules[alert]).group(1)), steps)

class Variables(unittest.TestCase):
    def test_they_are_those_of_the_dashboard(self):
        chosen = ["datasource", "job", "instance", "account", "region", "application"]
        self.assertEqual(list(variables(DASHBOARDS["export-jobs"])), [*chosen, "segment", "status", "why", *DRAWN])
        self.assertEqual(list(variables(DASHBOARDS["segment"])), [*chosen, "segment", "status", "recorded", *DRAWN[3:]])
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
                        kind = {"label_values": 1, "query_result": 3}[variable["definition"].partition("(")[0]]
                        self.assertEqual(variable["query"]["qryType"], kind)
                        self.assertEqual(variable["query"]["query"], variable["definition"])

    def test_all_also_means_the_empty_account_and_the_empty_segment(self):
        for name, one in DASHBOARDS.items():
            with self.subTest(name):
                named = variables(one)
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
            (f"{name}: ${variable['name']}", asked_of(variable)[0])
            for name, one in DASHBOARDS.items()
            for variable in one["templating"]["list"]
            if variable["type"] == "query"
        ]
        return [*queries(), *annotations(), *asked]

    def test_what_a_query_selects_is_limited_by_the_variables(self):
        for name, expr in [*queries(), *annotations()]:
            with self.subTest(name):
                for selector, _ in promql.selectors(tree(expr)):
                    if promql.metric(selector) in SETTINGS:
                        continue
                    found = {}
                    for label, sign, value in promql.matchers(selector):
                        if value and (label, value) not in FEW_JOBS:
                            found[label] = (sign, value)
                    labels = {"job", "instance", *FAMILIES[promql.metric(selector)].labels}
                    if promql.metric(selector) in RECORDS:
                        # Records have no label of the exporter, but a query can count only what the chosen exporters show.
                        labels = {"aws_account_id", "aws_region", "application_id", "segment_id"}
                    for label in labels & set(VARIABLES):
                        # The dashboard of the exporter has no variable for segments. Its panels show all segments.
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
                        # A query that asks whether a series exists needs no rate.
                        some = any(isinstance(node, promql.syntax.BinaryExpr) and str(node.op) == ">" for node in above)
                        self.assertIn(function, ("rate", "increase", *([None] if some else [])))
                    else:
                        self.assertNotIn(function, ("rate", "irate", "increase", "resets"))

    def test_ranges_follow_the_scrape_interval(self):
        for name, expr in self.all():
            with self.subTest(name):
                for node, _ in promql.walk(tree(expr)):
                    if isinstance(node, (promql.syntax.MatrixSelector, promql.syntax.SubqueryExpr)):
                        # Only hidden variables and names read the whole time range, and they do so once.
                        once = ": $" in name or getattr(getattr(node, "vector_selector", None), "at", None)
                        allowed = {promql.STAND_INS["__rate_interval"]} | ({"1d"} if once else set())
                        self.assertIn(promql.syntax.display_duration(node.range), allowed)

    def test_replicas_are_made_one(self):
        for name, expr in queries():
            with self.subTest(name):
                for selector, above in promql.selectors(tree(expr)):
                    if "application_id" in FAMILIES[promql.metric(selector)].labels:
                        self.assertIn(promql.aggregation_of(above), ("max", "min", "quantile", "count", "group"))

    def test_finished_states_are_filtered_or_numbered(self):
        """A query of a state set compares it with 1, directly or around the aggregation."""
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
                        self.assertEqual({promql.metric(one) for one, _ in promql.selectors(tree(expr))}, {"up"})

    def test_a_record_stands_beside_what_is_read_without_it(self):
        """Recording rules are optional. `Alerts` compares the queries with and without them."""
        found = 0
        for name, expr in self.all():
            with self.subTest(name):
                asked = promql.selectors(tree(expr))
                records = [one for one, _ in asked if promql.metric(one) in RECORDS - {RULES_RECORD}]
                computed = [one for one, _ in asked if ("recorded", "=", "$recorded") in promql.matchers(one)]
                self.assertEqual(bool(records), bool(computed))
                found += bool(records)
        self.assertGreater(found, 6)

    def test_nothing_has_the_label_that_tells_whether_the_rules_are_installed(self):
        self.assertFalse(any("recorded" in family.labels for family in FAMILIES.values()))
        for dashboard in ("export-jobs", "segment"):
            expr, _ = asked_of(variables(DASHBOARDS[dashboard])["recorded"])
            self.assertEqual(expr, f'label_replace(group({RULES_RECORD}), "recorded", "yes", "", "")')

    def unlimited(self, expr):
        """The selectors of the series of all jobs. There can be 10,000 jobs."""
        for selector, _ in promql.selectors(tree(expr)):
            if "job_id" in FAMILIES[promql.metric(selector)].labels:
                if not {(label, value) for label, _, value in promql.matchers(selector)} & FEW_JOBS:
                    yield selector.prettify()

    def test_a_query_about_all_segments_reads_the_series_of_few_jobs(self):
        """With 10,000 jobs, each selector of all jobs takes 0.1 s of processor time, and each join takes another 0.1 s."""
        for name, expr in self.all():
            if name.startswith("export-jobs: "):
                with self.subTest(name):
                    # Only the newest jobs must be selected from all jobs. If no state is chosen, one selector is enough.
                    few = 3 if name == "export-jobs: $listed" else 0
                    self.assertLessEqual(len(list(self.unlimited(expr))), few)

    def test_a_query_that_reads_the_series_of_all_jobs_is_noticed(self):
        ids = ", ".join(sorted(FAMILIES["pinpoint_export_job_pieces"].labels))
        for wrong in (
            f"max by ({ids}) (pinpoint_export_job_created_timestamp_seconds)",
            'pinpoint_export_job_status{status="FAILED"} == 1',
            'pinpoint_export_job_pieces{job_id=~".+"}',
        ):
            with self.subTest(wrong):
                self.assertEqual(len(list(self.unlimited(wrong))), 1)

    def test_a_query_looks_into_the_past_with_all_its_selectors_or_with_none(self):
        """For each selector of a query, Prometheus reads as far back as for the oldest one."""
        for name, expr in self.all():
            if ": $" in name:
                with self.subTest(name):
                    past = [node for node, _ in promql.walk(tree(expr)) if isinstance(node, promql.syntax.MatrixSelector)]
                    self.assertLessEqual(len(promql.selectors(tree(expr))), 3 if past else 100)


class Links(unittest.TestCase):
    def addresses(self):
        """Each link to a dashboard from a table, a number, a rule or a runbook."""
        for name, panel in all_panels():
            links = [*panel["fieldConfig"]["defaults"].get("links", ())]
            for one in properties(panel).values():
                links += one.get("links", ())
            yield from ((f"{name}: {link['title']}", link["url"]) for link in links)
        rules = [*(ROOT / "deploy/prometheus").rglob("*.yaml"), *(ROOT / "deploy/runbooks").glob("*.md")]
        for file in rules:
            for url in re.findall(r"/d/pinpoint-[^\s\"`)]*(?:\\\n\s+&[^\s\"`)]*)*", file.read_text(encoding="utf-8")):
                yield f"{file.name}: {url}", re.sub(r"\\\n\s+", "", re.sub(r"\{\{[^}]*\}\}", "x", url))

    def test_dashboards_lead_to_each_other(self):
        for name, one in DASHBOARDS.items():
            with self.subTest(name):
                others = [link["url"].partition("?")[0].removeprefix("/d/") for link in one["links"]]
                self.assertEqual(sorted([*others, one["uid"]]), sorted(BY_UID))

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
        """Grafana puts the text of a cell into a link. For an empty cell, this is the text for no value."""
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
                fields = set(panel["transformations"][-1]["options"]["renameByName"])
                named = {
                    field
                    for text in strings(panel["fieldConfig"])
                    for field in re.findall(r"__data\.fields\.(\w+)", text)
                }
                self.assertLessEqual(named, fields)
                self.assertTrue(named)

    def test_each_number_that_needs_attention_leads_to_what_it_counts(self):
        ours = {panel["title"]: panel for panel in panels(DASHBOARDS["export-jobs"])}
        reasons = variables(DASHBOARDS["export-jobs"])["why"]["query"].split(",")
        titles = ("Failed", "Stuck", "Overdue", "Lost endpoints", "Empty", "Never exported")
        for title, reason in [*zip(titles, titles), ("Running exports", "Running")]:
            with self.subTest(title):
                (link,) = ours[title]["fieldConfig"]["defaults"]["links"]
                self.assertIn(reason, reasons)
                self.assertTrue(link["url"].startswith(f"/d/pinpoint-export-jobs?var-why={urllib.parse.quote(reason)}&"))
        (link,) = ours["Targets down"]["fieldConfig"]["defaults"]["links"]
        self.assertTrue(link["url"].startswith("/d/pinpoint-exporter?"))

    def test_each_reason_has_a_runbook(self):
        """The links in the tables contain a label. A file exists for each of its values."""
        found = set()
        for panel in (
            next(one for one in panels(DASHBOARDS["export-jobs"]) if one["title"] == "Segments by urgency"),
            next(one for one in panels(DASHBOARDS["exporter"]) if one["title"] == "Targets that cannot be read"),
        ):
            self.assertTrue(any("runbooks/${__data.fields.runbook}.md" in text for text in strings(panel)))
            made = promql.labels_made(tree(panel["targets"][0]["expr"]))
            found |= {value for label, value in made if label == "runbook"}
        self.assertGreater(len(found), 10)
        for runbook in found:
            self.assertTrue((ROOT / f"deploy/runbooks/{runbook}.md").is_file(), runbook)


if __name__ == "__main__":
    unittest.main()
