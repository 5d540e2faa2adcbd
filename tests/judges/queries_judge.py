"""Checks that every metric, label and value in a query exists: in the dashboards, the rules, the runbooks and the other pages.

    .venv/bin/python tests/judges/queries_judge.py

Prometheus reports no error for a wrong name. The query is empty, and the alert never fires.
"""

import itertools
import json
import pathlib
import re
import unittest

import yaml

import catalogue
import promql

ROOT = pathlib.Path(__file__).parents[2]
FAMILIES = catalogue.families()
# Series that Prometheus writes itself.
PROMETHEUS = {
    "up",
    "scrape_duration_seconds",
    "scrape_samples_scraped",
    "prometheus_config_last_reload_successful",
    "ALERTS",
}
# A series of the user's own rules file.
USERS_OWN = "pinpoint:expected_export_interval:seconds"
# Labels with a fixed list of values.
CLOSED = ("status", "exception", "operation", "reason")
# Matchers of labels that the series can lack. For such series, an empty value selects all of them, and any other value none.
SWITCHES = (("recorded", "$recorded"), ("status", "$status"))
VARIABLES = (
    *("job", "instance", "account", "region", "application", "segment", "status", "why"),
    *("recorded", "shown", "gone", "running", "listed"),
)


def rule_groups():
    """The rules of all files."""
    for file in sorted((ROOT / "deploy/prometheus").glob("**/*.yaml")):
        if "tests" not in file.parts:
            for group in yaml.safe_load(file.read_text(encoding="utf-8")).get("groups", ()):
                yield from ((file.name, rule) for rule in group["rules"])


def values_of(label):
    """All values of a label in any metric."""
    return {value for family in FAMILIES.values() for value in family.labels.get(label, ())}


def queries_of(block):
    """The queries of a code block. A query begins at the start of a line, and indented lines continue it."""
    query = []
    for line in [*block.splitlines(), ""]:
        if line.startswith("#") or not line.strip() or (query and not line.startswith((" ", ")"))):
            if query:
                yield "\n".join(query)
            query = []
        if line.strip() and not line.startswith("#"):
            query.append(line)


def documents():
    """The pages for users."""
    return sorted([*ROOT.glob("*.md"), *(file for folder in ("docs", "deploy", "grafana") for file in (ROOT / folder).rglob("*.md"))])


def in_documents():
    """The queries of the documents' code blocks."""
    for file in documents():
        for block in re.findall(r"^```promql\n(.*?)^```", file.read_text(encoding="utf-8"), re.M | re.S):
            yield from ((f"{file.name}: {query}", query) for query in queries_of(block))


def in_dashboards():
    """The queries of the dashboards' panels, annotations and variables."""
    for file in sorted((ROOT / "grafana/dashboards").glob("*.json")):
        dashboard = json.loads(file.read_text(encoding="utf-8"))
        asked = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
        asked += [one["expr"] for one in dashboard["annotations"]["list"]]
        for variable in dashboard["templating"]["list"]:
            if variable["type"] == "query":
                metric, label, query = re.fullmatch(
                    r"label_values\((.+), (\w+)\)|query_result\((.+)\)", variable["definition"], re.S
                ).groups()
                asked.append(query or f"count by ({label}) ({metric})")
        yield from ((f"{file.name}: {expr}", expr) for expr in asked)


def in_rules():
    """The queries of the rules, including those in their annotations."""
    for file, rule in rule_groups():
        yield f"{file}: {rule.get('alert') or rule['record']}", rule["expr"]
        for text in rule.get("annotations", {}).values():
            for _, query in re.findall(r'query\s+(?:\(printf )?(["`])(.*?)\1', text, re.S):
                yield f"{file}: {rule['alert']} asks", query.replace("%q", '"x"')


class Names(unittest.TestCase):
    def setUp(self):
        self.records = {rule["record"] for _, rule in rule_groups() if "record" in rule} | {USERS_OWN}
        self.labels = {label for family in FAMILIES.values() for label in family.labels} | {"job", "instance"}
        self.values = {label: values_of(label) for label in CLOSED}
        for _, rule in rule_groups():
            made = [*promql.labels_made(promql.parse(rule["expr"])), *rule.get("labels", {}).items()]
            self.labels |= {label for label, _ in made}
            for label, value in made:
                if label in CLOSED:
                    self.values[label].add(value)

    def judge(self, cases):
        cases = list(cases)
        self.assertGreater(len(cases), 20)
        for name, expr in cases:
            with self.subTest(name):
                self.judge_one(promql.parse(expr, keep=VARIABLES))

    def judge_one(self, tree):
        for selector, _ in promql.selectors(tree):
            metric = promql.metric(selector)
            if selector.name is None:
                self.assertTrue(any(re.fullmatch(metric, family) for family in FAMILIES), metric)
            elif metric not in PROMETHEUS:
                self.assertIn(metric, {*FAMILIES, *self.records})
            known = {*FAMILIES[metric].labels, "job", "instance"} if metric in FAMILIES else {*self.labels, "__name__"}
            for label, sign, value in promql.matchers(selector):
                if (label, value) not in SWITCHES:
                    self.assertIn(label, known, f"a label of {metric}")
                if label in CLOSED and "$" not in value:
                    values = value.split("|") if "~" in sign else [value]
                    self.assertLessEqual(set(values), self.values[label], f"values of {label}")
        made = {label for label, _ in promql.labels_made(tree)}
        self.assertLessEqual(set(promql.grouping_labels(tree)), self.labels | made)

    def test_those_of_the_dashboards_exist(self):
        self.judge(in_dashboards())

    def test_those_of_the_rules_exist(self):
        self.judge(in_rules())

    def test_no_alert_reads_the_series_of_all_jobs(self):
        """There can be 10,000 jobs. Alerts read records, which have only the jobs of interest."""
        for file, rule in rule_groups():
            if "alert" in rule:
                with self.subTest(f"{file}: {rule['alert']}"):
                    for selector, _ in promql.selectors(promql.parse(rule["expr"])):
                        family = FAMILIES.get(promql.metric(selector))
                        self.assertNotIn("job_id", family.labels if family else ())

    def test_a_rule_selects_few_jobs_before_it_merges_replicas(self):
        """Merging 10,000 series takes longer than reading them."""
        found = 0
        for file, rule in rule_groups():
            for selector, above in promql.selectors(promql.parse(rule["expr"])):
                family = FAMILIES.get(promql.metric(selector))
                if not family or "job_id" not in family.labels or promql.aggregation_of(above) is None:
                    continue
                with self.subTest(f"{file}: {rule['record']}"):
                    inside = itertools.takewhile(lambda node: not isinstance(node, promql.syntax.AggregateExpr), reversed(above))
                    joined = any(isinstance(node, promql.syntax.BinaryExpr) and str(node.op) in ("and", "==") for node in inside)
                    self.assertTrue(joined, selector.prettify())
                    found += 1
        self.assertGreater(found, 5)

    def test_those_of_runbooks_and_readmes_exist(self):
        self.judge(in_documents())

    def test_metrics_that_a_document_names_in_its_text_exist(self):
        for file in documents():
            with self.subTest(file.name):
                words = set(re.findall(r"\bpinpoint_[a-z_]+[a-z]\b", file.read_text(encoding="utf-8"))) - {
                    "pinpoint_exporter"
                }
                histogram = {name.removesuffix("_bucket") for name in FAMILIES}
                groups = {word for word in words if any(name.startswith(f"{word}_") for name in FAMILIES)}
                recorded = {word for record in self.records for word in re.findall(r"pinpoint_[a-z_]+", record)}
                self.assertLessEqual(words - groups, {*FAMILIES, *histogram, *recorded})

    def test_a_wrong_name_label_or_value_is_noticed(self):
        for wrong in (
            "pinpoint_export_job_piece",
            'pinpoint_target_up{status="FAILED"}',
            'pinpoint_segment_export_jobs{status=~"FAILED|COMPLETE"}',
            "sum by (applications) (pinpoint_target_up)",
            'pinpoint_api_errors_total{exception!="CredentialError"}',
        ):
            with self.subTest(wrong), self.assertRaises(AssertionError):
                self.judge_one(promql.parse(wrong))


if __name__ == "__main__":
    unittest.main()
