"""Rules, alerts, runbooks and the configurations of Prometheus and Alertmanager, judged by promtool, amtool, pint and yamllint, and
held against one another and against the metrics that there are.

    .venv/bin/python tests/judges/alerts_judge.py [--quick] promtool [another promtool …] [pint]

Each promtool named runs the tests of the alerts; the first one checks the configurations too. Without pint, its test is skipped.
With --quick, the test of the tests is skipped, which runs all of them once more.
"""

import concurrent.futures
import fnmatch
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

import yaml

from limits import HANG_LIMIT

QUICK = "--quick" in sys.argv
PROGRAMS = [argument for argument in sys.argv[1:] if argument != "--quick"]
PROMTOOLS = [program for program in PROGRAMS if not program.endswith("pint")] or ["promtool"]
PINT = next((pathlib.Path(program).resolve() for program in PROGRAMS if program.endswith("pint")), None)
ROOT = pathlib.Path(__file__).parents[2]
PROMETHEUS, RUNBOOKS = ROOT / "deploy/prometheus", ROOT / "deploy/runbooks"
RULES, SETTINGS = PROMETHEUS / "rules/pinpoint.yaml", PROMETHEUS / "rules/pinpoint-settings.yaml"
TESTS = sorted((PROMETHEUS / "tests").glob("*.yaml"))
ALERTMANAGER = ROOT / "deploy/alertmanager/alertmanager.yml"
TEMPLATES = ROOT / "deploy/alertmanager/pinpoint.tmpl"
RUNBOOK_URL = "https://github.com/pinpoint-exporter/pinpoint-exporter/blob/main/deploy/runbooks/{}.md"
# What each annotation `dashboard_url` begins with.
GRAFANA = "{{ with query `pinpoint:grafana:info` }}{{ . | first | label `url` }}{{ end }}"
DASHBOARDS = {"pinpoint-export-jobs", "pinpoint-segment", "pinpoint-exporter"}
SECTIONS = ["Meaning", "Impact", "Diagnosis", "Mitigation", "When to silence"]
RECEIVERS = {"critical": "pager", "warning": "chat", "info": "digest"}
# What makes an alert without `for` fire where its tests say that it is near.
NEARER = {
    "PinpointExportFailed": ("> time() - 3 * 86400", "> time() - 4 * 86400"),
    "PinpointExportPartlyFailed": ("> 0\n", ">= 0\n"),
    "PinpointExportEmpty": (":max == 0\n", ":max <= 1\n"),
}


def run(*command, **options):
    """Exit status and output of a program."""
    done = subprocess.run(
        [str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=HANG_LIMIT,
        check=False, **options)
    return done.returncode, done.stdout


def each(function, arguments):
    """The results of a function that waits for programs, for all of these at once."""
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(function, arguments))


def load(file):
    return yaml.safe_load(file.read_text(encoding="utf-8"))


def rules():
    return [rule for file in [SETTINGS, RULES] for group in load(file)["groups"] for rule in group["rules"]]


def alerts():
    return [rule for rule in rules() if "alert" in rule]


def names():
    return sorted({rule["alert"] for rule in alerts()})


def assertions():
    """(file, test, assertion) for each of the tests of the alerts."""
    for file in TESTS:
        for test in load(file)["tests"]:
            for assertion in test.get("alert_rule_test", []):
                yield file, test, assertion


def labels_of_alerts():
    """The names of the labels that each alert has in its tests."""
    labels = {name: set() for name in names()}
    for _, _, assertion in assertions():
        for alert in assertion["exp_alerts"]:
            labels[assertion["alertname"]] |= set(alert["exp_labels"])
    return labels


def catalogue():
    """The type of each metric, and its labels, from a whole scrape."""
    golden = (ROOT / "tests/it/golden/metrics.txt").read_text(encoding="utf-8")
    types = dict(re.findall(r"^# TYPE (\w+) (\w+)$", golden, re.MULTILINE))
    labels = {name: {"job", "instance"} for name in types}
    for name, found in re.findall(r"^(\w+)(?:\{(.*)\})? ", golden, re.MULTILINE):
        family = name if name in types else re.sub(r"_(bucket|sum|count)$", "", name)
        labels[family] |= set(re.findall(r'(\w+)="', found))
    return types, labels


def metrics_of(text):
    """The names in a text that look like metrics of the exporter, without those that rules record."""
    return {word for word in re.findall(r"(?<![\w:/.-])pinpoint_\w+(?![\w:(/-])", text) if word != "pinpoint_exporter"}


def receivers_of_the_readme():
    """The example of receivers, as YAML."""
    page = (ALERTMANAGER.parent / "README.md").read_text(encoding="utf-8")
    [example] = re.findall(r"^```yaml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    return example


def promql_of(file):
    return re.findall(r"^```promql\n(.*?)^```", file.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def table(file):
    """The rows of a page's table of alerts."""
    return re.findall(r"^\| \[(\w+)\]\(([^)]+)\) \| (.*) \|$", file.read_text(encoding="utf-8"), re.MULTILINE)


class Programs(unittest.TestCase):
    """What promtool, amtool, pint and yamllint find."""

    def check(self, *command):
        status, output = run(*command)
        self.assertEqual(status, 0, output)
        return output

    def test_promtool_finds_nothing_in_the_rules(self):
        for file in [SETTINGS, RULES, PROMETHEUS / "expected-intervals.example.yaml"]:
            for promtool in PROMTOOLS:
                output = self.check(promtool, "check", "rules", "--lint=all", "--lint-fatal", file)
                self.assertNotIn("duplicate", output)

    def test_promtool_finds_nothing_in_the_configuration(self):
        for promtool in PROMTOOLS:
            output = self.check(promtool, "check", "config", "--lint=all", "--lint-fatal", PROMETHEUS / "prometheus.yml")
            self.assertIn("2 rule files found", output)

    def test_amtool_finds_nothing_in_the_configuration(self):
        self.assertIn(" - 1 templates", self.check("amtool", "check-config", ALERTMANAGER))

    def test_amtool_finds_nothing_in_the_receivers_of_the_readme(self):
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "alertmanager.yml"
            shutil.copy(TEMPLATES, folder)
            file.write_text(f"route: {{receiver: chat}}\ntemplates: [{TEMPLATES.name}]\n{receivers_of_the_readme()}", encoding="utf-8")
            self.check("amtool", "check-config", file)

    def pint(self, folder):
        return run(PINT, "--config", ROOT / ".pint.hcl", "--no-color", "--offline", "lint",
                   "--min-severity", "info", "--fail-on", "info", folder)

    @unittest.skipUnless(PINT, "pint is not among the arguments")
    def test_pint_finds_nothing_but_what_is_wrong(self):
        status, output = self.pint(RULES.parent)
        self.assertEqual(status, 0, output)
        with tempfile.TemporaryDirectory() as folder:
            wrong = RULES.read_text(encoding="utf-8").replace("severity: critical", "severity: bad", 1)
            (pathlib.Path(folder) / "rules.yaml").write_text(wrong, encoding="utf-8")
            status, output = self.pint(folder)
        self.assertIn("`severity` label value `bad` must match", output)
        self.assertNotEqual(status, 0, output)

    def test_yamllint_finds_nothing(self):
        config = "{extends: default, rules: {line-length: disable, document-start: disable, brackets: disable}}"
        self.check(sys.executable, "-m", "yamllint", "--strict", "-d", config, PROMETHEUS, ALERTMANAGER)

    def test_every_test_of_the_alerts_holds(self):
        self.assertGreater(len(TESTS), 24)
        for promtool in PROMTOOLS:
            for file, (status, output) in zip(TESTS, each(lambda file: run(promtool, "test", "rules", file), TESTS)):
                with self.subTest(promtool=promtool, file=file.name):
                    self.assertEqual(status, 0, output)

    def test_every_query_of_the_runbooks_can_be_parsed(self):
        queries = [(file.name, query) for file in sorted(RUNBOOKS.glob("*.md")) for query in promql_of(file)]
        self.assertGreater(len(queries), 24)
        group = [{"record": f"query:{number}", "expr": query} for number, (_, query) in enumerate(queries)]
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            yaml.safe_dump({"groups": [{"name": "runbooks", "rules": group}]}, file)
            file.flush()
            self.check(PROMTOOLS[0], "check", "rules", file.name)

    def test_whatever_loads_the_rules_loads_their_settings(self):
        """The chart and the packages have tests of their own."""
        both = {f"rules/{RULES.name}", f"rules/{SETTINGS.name}"}
        configurations = [
            file for file in (ROOT / "deploy").rglob("*.y*ml")
            if "\nrule_files:" in file.read_text(encoding="utf-8") and file not in TESTS
        ]
        self.assertGreaterEqual(len(configurations), 2)
        for file in configurations:
            with self.subTest(str(file)):
                patterns = load(file)["rule_files"]
                self.assertEqual({name for name in both if any(fnmatch.fnmatch(name, pattern) for pattern in patterns)}, both)
        blocks = 0
        for page in [ROOT / "README.md", *ROOT.glob("docs/*.md"), *(ROOT / "deploy").rglob("*.md")]:
            for block in re.findall(r"^```\w*\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
                named = {name for name in both if name in block}
                if named:
                    blocks += 1
                    self.assertEqual(named, both, f"{page}: {block}")
        self.assertGreaterEqual(blocks, 1)

    def test_the_figures_of_the_scrape_fit_together(self):
        """With the exporter's defaults, which docs/SETTINGS.md has."""
        table_of_settings = (ROOT / "docs/SETTINGS.md").read_text(encoding="utf-8")
        units = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}

        def seconds(duration):
            number, unit = re.fullmatch(r"(\d+)([a-z]+)", duration).groups()
            return int(number) * units[unit]

        def default(setting):
            return seconds(re.search(rf"^\| `{setting}` \| `(\w+)`", table_of_settings, re.MULTILINE)[1])

        configuration = load(PROMETHEUS / "prometheus.yml")
        [scrape] = configuration["scrape_configs"]
        interval, timeout = seconds(scrape["scrape_interval"]), seconds(scrape["scrape_timeout"])
        rises = [
            default("SCRAPE_TIMEOUT_OFFSET"), timeout, default("CACHE_TTL"), interval, default("REFRESH_TIMEOUT"),
            default("MAX_STALENESS"),
        ]
        self.assertEqual(rises, sorted(set(rises)))
        self.assertLessEqual(2 * interval, min(map(seconds, re.findall(r"last_over_time\([^[]*\[(\w+)\]", RULES.read_text()))))
        self.assertEqual(seconds(configuration["global"]["evaluation_interval"]), interval)
        records = {rule["record"]: rule for rule in rules() if "record" in rule}
        self.assertEqual(records["pinpoint:scrape_job:info"]["labels"], {"job": scrape["job_name"]})
        self.assertEqual(records["pinpoint:scrape_sample_limit:samples"]["expr"], f"vector({scrape['sample_limit']})")


class Alerts(unittest.TestCase):
    """What every alert has."""

    def test_every_alert_has_its_labels_and_annotations(self):
        for rule in alerts():
            with self.subTest(rule["alert"]):
                self.assertIn(rule["labels"]["severity"], RECEIVERS)
                annotations = rule["annotations"]
                self.assertEqual(set(annotations), {"summary", "description", "runbook_url", "dashboard_url"})
                self.assertEqual(annotations["runbook_url"], RUNBOOK_URL.format(rule["alert"]))
                self.assertTrue((RUNBOOKS / f"{rule['alert']}.md").is_file())
                self.assertTrue(annotations["dashboard_url"].startswith(GRAFANA), annotations["dashboard_url"])
                path, _, variables = annotations["dashboard_url"].removeprefix(GRAFANA).partition("?")
                self.assertIn(path.removeprefix("/d/"), DASHBOARDS)
                for variable in filter(None, variables.split("&")):
                    self.assertRegex(variable, r"^var-[a-z]+=\{\{ .*\$labels\.\w+ \}\}$")
                for text in [annotations["summary"], annotations["description"]]:
                    self.assertGreater(len(text), 20)
                    self.assertNotRegex(text, r"\$value (?!\| humanize)", "a value for people is humanised")

    def test_alerts_about_a_segment_or_an_application_begin_with_its_name_and_have_its_ids(self):
        segment, application = (
            f'printf "{record}:info{{{",".join(f"{label}=%q" for label in labels)}}}" '
            f"{' '.join(f'$labels.{label}' for label in labels)} | query"
            for record, labels in [
                ("segment:pinpoint_segment_title", ["aws_account_id", "aws_region", "application_id", "segment_id"]),
                ("application:pinpoint_application_title", ["aws_account_id", "aws_region", "application_id"]),
            ]
        )
        labels, named = labels_of_alerts(), 0
        for rule in alerts():
            if "application_id" not in labels[rule["alert"]]:
                continue
            named += 1
            title = segment if "segment_id" in labels[rule["alert"]] else application
            with self.subTest(rule["alert"]):
                for text in [rule["annotations"]["summary"], rule["annotations"]["description"]]:
                    self.assertRegex(text, r"^(\{\{ if \$labels\.\w+ \}\})?\{\{ with " + re.escape(title))
                self.assertRegex(rule["annotations"]["description"], r"Application (\{\{ \$labels\.application_id|\{\{ \.) \}\}")
        self.assertGreater(named, 14)

    def test_every_alert_has_a_test_that_fires_and_one_that_stays_silent_with_exact_labels_and_annotations(self):
        fires, silent = set(), set()
        for file, test, assertion in assertions():
            name = assertion["alertname"]
            self.assertIn(name, names(), file.name)
            for alert in assertion["exp_alerts"]:
                with self.subTest(file=file.name, test=test["name"]):
                    self.assertIn("severity", alert["exp_labels"])
                    self.assertEqual(
                        set(alert["exp_annotations"]), {"summary", "description", "runbook_url", "dashboard_url"})
            (fires if assertion["exp_alerts"] else silent).add(name)
        self.assertEqual(sorted(fires), names(), "alerts that no test fires")
        self.assertEqual(sorted(silent), names(), "alerts of which no test says that they are silent")

    @unittest.skipIf(QUICK, "make test-all has it")
    def test_the_silent_tests_are_near(self):
        """An alert that comes a little earlier makes a test of its own fail."""

        def outputs_of(name):
            document = load(RULES)
            for rule in (rule for group in document["groups"] for rule in group["rules"] if rule.get("alert") == name):
                before = dict(rule)
                self.make_nearer(rule)
                self.assertNotEqual(rule, before, name)
            files = [file for file in TESTS if file.name.startswith(name)]
            with tempfile.TemporaryDirectory() as folder:
                folder = pathlib.Path(folder)
                (folder / "rules").mkdir()
                (folder / "tests").mkdir()
                shutil.copy(SETTINGS, folder / "rules")
                (folder / "rules/pinpoint.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
                copies = [shutil.copy(file, folder / "tests") for file in files]
                return "\n".join(run(PROMTOOLS[0], "test", "rules", copy)[1] for copy in copies)

        for name, output in zip(names(), each(outputs_of, names())):
            with self.subTest(name):
                self.assertIn(f"alertname: {name}, time: ", output)

    @staticmethod
    def make_nearer(rule):
        if "for" not in rule:
            rule["expr"] = rule["expr"].replace(*NEARER[rule["alert"]])
        elif rule["for"] == "1d":
            rule["for"] = "23h50m"
        else:
            # Two steps of the tests, since ranges of Prometheus 2 and 3 differ by one.
            rule["for"] = f"{max(int(rule['for'].removesuffix('m')) - 2, 0)}m"

    def test_each_trap_has_a_test(self):
        def tests_of(name):
            tests = load(PROMETHEUS / f"tests/{name}.yaml")["tests"]
            return [(test, [bool(assertion["exp_alerts"]) for assertion in test["alert_rule_test"]]) for test in tests]

        def values(test):
            return [series["values"] for series in test["input_series"]]

        for name in ["newer-success", "exporter-restarted", "one-failed-scrape", "two-replicas", "job-aged-out"]:
            self.assertTrue(any(any(fires) for _, fires in tests_of(name)), f"{name}: something fires")
            self.assertTrue(any(not all(fires) for _, fires in tests_of(name)), f"{name}: something is silent")
        # Fires, and ends with the success that comes later.
        self.assertTrue(all(fires[0] and not fires[-1] for _, fires in tests_of("newer-success")))
        # A scrape is missing, and what fired before goes on at that minute.
        bridged = [test for test, fires in tests_of("one-failed-scrape") if any(fires) and "stale" in str(values(test))]
        self.assertTrue(bridged)
        # Two instances of the same job and the same segment.
        for test, _ in tests_of("two-replicas"):
            instances = {found for series in test["input_series"] for found in re.findall(r'instance="(\w+)', series["series"])}
            self.assertEqual(len(instances), 2, test["name"])

    def test_every_alert_has_a_runbook_with_every_section_and_every_runbook_an_alert(self):
        pages = {file.stem: file for file in RUNBOOKS.glob("*.md") if file.stem != "README"}
        self.assertEqual(sorted(pages), names())
        labels = labels_of_alerts()
        for name, file in pages.items():
            with self.subTest(name):
                title, *sections = re.split(r"^## ", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
                self.assertTrue(title.startswith(f"# {name}\n"))
                self.assertEqual([section.splitlines()[0] for section in sections], SECTIONS)
                for section in sections:
                    self.assertGreater(len(section.split()), 5, section)
                diagnosis = sections[SECTIONS.index("Diagnosis")]
                self.assertIn("```promql", diagnosis)
                self.assertIn("```sh", "".join(sections))
                severities = {rule["labels"]["severity"].capitalize() for rule in alerts() if rule["alert"] == name}
                found = re.fullmatch(r"# \w+\n\n([A-Z][^\n]+\.)\n\n(\w+)\. Labels: ([^\n]+)\.\n\n", title)
                self.assertTrue(found, "one sentence that says what is wrong and who suffers, then the severity and the labels")
                sentence, severity, named = found.groups()
                self.assertLess(len(sentence.split()), 30)
                self.assertEqual({severity}, severities)
                self.assertEqual(set(re.findall(r"`(\w+)`", named)), labels[name] - {"severity"})

    def test_the_tables_of_alerts_are_the_rules(self):
        severities = {rule["alert"]: rule["labels"]["severity"] for rule in alerts()}
        rows = {name: cells.split(" | ") for name, _, cells in table(RUNBOOKS / "README.md")}
        self.assertEqual({name: cells[0] for name, cells in rows.items()}, severities)
        rows = table(PROMETHEUS / "README.md")
        self.assertEqual([name for name, _, _ in rows], list(severities), "the order is that of the rules")
        self.assertIn(f"a rules file with {len(rows)} alerts", (ROOT / "README.md").read_text(encoding="utf-8"))
        waits = {rule["alert"]: set() for rule in alerts()}
        for rule in alerts():
            waits[rule["alert"]].add(rule.get("for", "at once"))
        for name, link, cells in rows:
            with self.subTest(name):
                severity, wait, meaning = cells.split(" | ")
                self.assertEqual(link, f"../runbooks/{name}.md")
                self.assertEqual((severity, set(wait.split(", "))), (severities[name], waits[name]))
                self.assertGreater(len(meaning.split()), 3)

    def test_the_budgets_of_the_page_are_the_rules(self):
        budgets = {
            rule["labels"]["status"]: int(re.fullmatch(r"vector\((\d+)\)", rule["expr"])[1])
            for rule in rules() if rule.get("record") == "pinpoint:export_job_budget:seconds"
        }
        page = (PROMETHEUS / "README.md").read_text(encoding="utf-8")
        shown = re.findall(r"^\| ([A-Z_]+) \| ([\d.]+) h \|$", page, re.MULTILINE)
        self.assertEqual({status: float(hours) * 3600 for status, hours in shown}, budgets)


class Expressions(unittest.TestCase):
    """What the expressions are made of."""

    def test_every_metric_exists(self):
        types, _ = catalogue()
        suffixed = {f"{name}_{suffix}" for name in types if types[name] == "histogram" for suffix in ["bucket", "sum", "count"]}
        texts = {"rules": "\n".join(rule["expr"] for rule in rules())}
        texts |= {file.name: "\n".join(promql_of(file)) for file in RUNBOOKS.glob("*.md")}
        texts["tests"] = "\n".join(
            series["series"] for file in TESTS for test in load(file)["tests"] for series in test["input_series"])
        for name, text in texts.items():
            with self.subTest(name):
                self.assertEqual(metrics_of(text) - set(types) - suffixed, set())
        self.assertGreater(len(metrics_of(texts["rules"])), 20)

    def test_the_tests_give_metrics_no_label_that_they_do_not_have(self):
        types, labels = catalogue()
        for file in TESTS:
            for test in load(file)["tests"]:
                for series in test["input_series"]:
                    name, found = re.fullmatch(r"([\w:]+)(.*)", series["series"]).groups()
                    if name in types:
                        unknown = set(re.findall(r'(\w+)="', found)) - labels[name]
                        self.assertEqual(unknown, set(), f"{file.name}: {series['series']}")

    def test_what_is_recorded_is_named_for_what_it_aggregates_and_is_used(self):
        recorded = {rule["record"] for rule in rules() if "record" in rule}
        used = "\n".join(" ".join([rule["expr"], *rule.get("annotations", {}).values()]) for rule in rules())
        for name in recorded:
            self.assertRegex(name, r"^[a-z_]+:[a-z0-9_]+:[a-z0-9_]+$")
            self.assertIn(name, used, "a record that nothing reads")
        reads = set(re.findall(r"(?<![\w:])[a-z_]+:[a-z0-9_]+:[a-z0-9_]+", used))
        self.assertEqual(reads - recorded, {"pinpoint:expected_export_interval:seconds"}, "the user's own file records it")

    def test_rates_are_of_counters_and_differences_of_gauges(self):
        types, _ = catalogue()
        texts = [rule["expr"] for rule in rules()] + [query for file in RUNBOOKS.glob("*.md") for query in promql_of(file)]
        seen = set()
        for text in texts:
            for function, name in re.findall(r"\b(i?rate|increase|i?delta|deriv)\(\s*([\w:]+)", text):
                gauge = types.get(re.sub(r"_(bucket|sum|count)$", "", name), types.get(name, "gauge")) == "gauge"
                self.assertEqual(function in {"delta", "idelta", "deriv"}, gauge, text)
                seen.add(function)
        self.assertGreaterEqual(seen, {"rate", "increase", "delta"})

    def test_up_is_compared_and_never_joined(self):
        uses = [rule["expr"].strip() for rule in rules() if re.search(r"(?<![\w:])up\b", rule["expr"])]
        job = "pinpoint:scrape_job:info"
        self.assertEqual(uses, [f"up == 0 and on (job) {job}", f"({job} or absent({job}))\nunless on (job) up"])

    def test_no_failed_scrape_is_seen(self):
        """Whatever is read from the exporter is read over a range, but for `up`, and for names, where the current one comes first."""
        for rule in rules():
            for name, what in re.findall(r"(?<![\w:])(pinpoint_\w+)(?![\w:])(?:\{[^}]*\})?(\[\d+m\])?", rule["expr"]):
                current_name = re.fullmatch(r"pinpoint_(application|segment)_info", name)
                bridged = what or current_name and f"last_over_time({name}{{" in rule["expr"]
                self.assertTrue(bridged, f"{name} in {rule.get('alert') or rule['record']}")

    def test_replicas_count_once(self):
        """What an alert is about names no instance, but for the alerts about an instance."""
        for rule in alerts():
            if "$labels.instance" in rule["annotations"]["summary"] or rule["alert"] == "PinpointExporterAbsent":
                continue
            text = re.sub(r"\s+", " ", rule["expr"])
            for name in metrics_of(text):
                within = rf"(by|without) \([^)]*\) \( last_over_time\({name}|(and|unless) on \([^)]*\) last_over_time\({name}"
                self.assertRegex(text, within, rule["alert"])


class Routes(unittest.TestCase):
    """Alertmanager's configuration."""

    def receivers(self, *labels):
        status, output = run("amtool", "config", "routes", "test", f"--config.file={ALERTMANAGER}", *labels)
        self.assertEqual(status, 0, output)
        return output.splitlines()[-1]

    def test_every_alert_goes_where_its_severity_says(self):
        wanted = sorted({(rule["alert"], rule["labels"]["severity"]) for rule in alerts()})
        found = each(lambda alert: self.receivers(f"alertname={alert[0]}", f"severity={alert[1]}"), wanted)
        self.assertEqual(dict(zip(wanted, found)), {alert: RECEIVERS[alert[1]] for alert in wanted})

    def test_no_alert_is_repeated_after_alertmanager_forgot_it(self):
        """Its default retention is 120 hours, and newer versions warn of longer intervals."""
        route = load(ALERTMANAGER)["route"]["routes"][0]
        intervals = [one["repeat_interval"] for one in [route, *route["routes"]] if "repeat_interval" in one]
        self.assertEqual(len(intervals), 3)
        hours = {"h": 1, "d": 24}
        for interval in intervals:
            self.assertLess(int(interval[:-1]) * hours[interval[-1]], 120, interval)

    def test_ten_failures_are_one_message(self):
        route = load(ALERTMANAGER)["route"]["routes"][0]
        for one in [route, *route["routes"]]:
            self.assertEqual(set(one.get("group_by", route["group_by"])) & {"application_id", "segment_id", "job_id"}, set())

    def test_the_alerts_of_others_go_the_default_way(self):
        self.assertEqual(self.receivers("alertname=NodeDown", "severity=critical"), load(ALERTMANAGER)["route"]["receiver"])

    def test_inhibition_names_alerts_that_exist_and_labels_that_both_have(self):
        labels = labels_of_alerts()
        for rule in load(ALERTMANAGER)["inhibit_rules"]:
            sides = []
            for side in ["source_matchers", "target_matchers"]:
                text = rule[side][0]
                self.assertTrue(text.startswith("alertname="), text)
                alternatives = re.fullmatch(r'alertname=~?"?([^"]+)"?', text)[1].split("|")
                if alternatives == ["Pinpoint.+"]:
                    alternatives = names()
                self.assertLessEqual(set(alternatives), set(names()))
                sides.append(alternatives)
            for label in rule.get("equal", []):
                for name in sides[0] + sides[1]:
                    self.assertIn(label, labels[name], f"{name} in {rule}")


class Texts(unittest.TestCase):
    """The templates for mail, Slack and PagerDuty, rendered by amtool."""

    NAME = '<!channel> "News" & <b>'

    def render(self, template, count=1, kind="text"):
        alerts_of = [
            {
                "status": "firing", "startsAt": "2026-11-28T09:00:00Z", "endsAt": "0001-01-01T00:00:00Z",
                "labels": {"alertname": "PinpointExportFailed", "severity": "critical"},
                "annotations": {
                    "summary": f"{self.NAME} {number}: the export failed", "description": f"{self.NAME}: an export job failed.",
                    "runbook_url": RUNBOOK_URL.format("PinpointExportFailed"), "dashboard_url": "http://grafana.example/d/x",
                },
            } for number in range(count)
        ]
        data = {
            "receiver": "chat", "status": "firing", "alerts": alerts_of, "groupLabels": {}, "commonAnnotations": {},
            "commonLabels": {"alertname": "PinpointExportFailed", "aws_region": "eu-west-1"},
            "externalURL": "http://alertmanager.example",
        }
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(data, file)
            file.flush()
            status, output = run(
                "amtool", "template", "render", f"--template.glob={TEMPLATES}", f"--template.data={file.name}",
                f"--template.type={kind}", f'--template.text={{{{ template "{template}" . }}}}')
        self.assertEqual(status, 0, output)
        return output

    def test_every_text_has_name_description_runbook_and_dashboard(self):
        for template, kind in [("pinpoint.text", "text"), ("pinpoint.html", "html"), ("pinpoint.slack.text", "text")]:
            with self.subTest(template):
                output = self.render(template, kind=kind)
                for part in ["News", "the export failed", "an export job failed.", RUNBOOK_URL.format("PinpointExportFailed"),
                             "http://grafana.example/d/x", "PinpointExportFailed", "critical"]:
                    self.assertIn(part, output)

    def test_a_title_names_the_segment_or_counts_the_alerts(self):
        self.assertEqual(self.render("pinpoint.title").strip(), f"[FIRING] {self.NAME} 0: the export failed")
        for template in ["pinpoint.title", "pinpoint.slack.title"]:
            self.assertEqual(self.render(template, 10).strip(), "[FIRING] 10 × PinpointExportFailed in eu-west-1")

    def test_no_name_is_a_command_or_markup(self):
        for template, kind in [("pinpoint.slack.title", "text"), ("pinpoint.slack.text", "text"), ("pinpoint.html", "html")]:
            output = self.render(template, kind=kind)
            self.assertNotIn("<!channel>", output)
            self.assertIn("&lt;!channel&gt;", output)

    def test_a_message_lists_20_alerts_and_says_where_the_others_are(self):
        for template, kind in [("pinpoint.text", "text"), ("pinpoint.html", "html"), ("pinpoint.slack.text", "text")]:
            self.assertNotIn("http://alertmanager.example", self.render(template, 20, kind))
            output = self.render(template, 21, kind)
            self.assertEqual(output.count("the export failed"), 20)
            self.assertIn("http://alertmanager.example", output)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
