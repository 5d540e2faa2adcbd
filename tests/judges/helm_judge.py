"""Helm, and what the API server would say, as judges of the chart in deploy/helm and of deploy/kubernetes.

    .venv/bin/python tests/judges/helm_judge.py target/debug/pinpoint-exporter target/tools

The second argument is the folder with the programs of tests/tools. Each folder in tests/judges/helm holds values and
what the chart makes of them. UPDATE=1 writes everything that is derived: these renderings, deploy/kubernetes, the chart's
copies of rules and dashboards, the table in its README, and the definitions of Kubernetes in its schema.
"""

import concurrent.futures
import contextlib
import copy
import functools
import itertools
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
import unittest
import xml.etree.ElementTree

import yaml

import helm_schema
from limits import HANG_LIMIT
from ports import free_port

ROOT = pathlib.Path(__file__).parents[2]
EXPORTER = pathlib.Path(sys.argv.pop(1) if len(sys.argv) > 1 else "target/debug/pinpoint-exporter").resolve()
TOOLS = pathlib.Path(sys.argv.pop(1) if len(sys.argv) > 1 else "target/tools").resolve()
CHART = ROOT / "deploy/helm"
MANIFESTS = ROOT / "deploy/kubernetes"
CASES_FOLDER = ROOT / "tests/judges/helm"
CASES = sorted(path.parent for path in CASES_FOLDER.glob("*/values.yaml"))
UPDATE = bool(os.environ.get("UPDATE"))
# As the libraries of tests/tools/helm have it. Helm's own idea of it is filled in by its releases alone.
KUBERNETES = "1.37.0"
# The newest version whose module has the CustomResourceDefinitions. tests/run fetches it.
OPERATOR = "github.com/prometheus-operator/prometheus-operator@v0.85.0"
# The newest version that the proxy serves.
GRAFANA_OPERATOR = "github.com/grafana/grafana-operator/v5@v5.18.0"
# The API server, of which tests/tools/helm/judge is made.
API_SERVER = f"k8s.io/kubernetes@v{KUBERNETES}"
# What the chart copies from elsewhere in the repository, and therefore is not kept again in the renderings.
RULES = ROOT / "deploy/prometheus/rules/pinpoint.yaml"
SETTINGS_RULES = ROOT / "deploy/prometheus/rules/pinpoint-settings.yaml"
DASHBOARDS = sorted((ROOT / "grafana/dashboards").glob("*.json"))
COPIES = {CHART / "files/rules/pinpoint.yaml": RULES} | {CHART / "files/dashboards" / file.name: file for file in DASHBOARDS}


def run(program, *arguments, text=None, status=0):
    """The output of a program, which has to end with the status."""
    ended = subprocess.run(
        [str(program), *map(str, arguments)], input=text, capture_output=True, text=True, timeout=HANG_LIMIT)
    if (ended.returncode == 0) != (status == 0):
        raise AssertionError(f"{program} {arguments}: status {ended.returncode}\n{ended.stdout}\n{ended.stderr}")
    return ended.stdout if status == 0 else ended.stderr


def helm(*arguments, text=None, status=0):
    return run(TOOLS / "helm", *arguments, text=text, status=status)


def template(values="", chart=CHART, status=0, release="pinpoint-exporter"):
    """What the chart makes of values, given as YAML."""
    return helm("template", release, chart, "--namespace", "monitoring", "--kube-version", KUBERNETES,
                "--values", "-", text=values, status=status)


def attempt(values):
    """Helm's rendering of values, which it may refuse."""
    return subprocess.run(
        [TOOLS / "helm", "template", "a", CHART, "--kube-version", KUBERNETES, "--values", "-"],
        input=json.dumps(values), capture_output=True, text=True, timeout=HANG_LIMIT, check=False)


@functools.cache
def rendered(case):
    return template((case / "values.yaml").read_text())


def objects(text):
    return [each for each in yaml.safe_load_all(text) if each]


def module(path):
    """The folder of a Go module, which Go verifies."""
    return pathlib.Path(json.loads(run("go", "mod", "download", "-json", path))["Dir"])


@functools.cache
def definitions():
    """Files with the CustomResourceDefinitions of both operators."""
    crds = module(OPERATOR) / "example/prometheus-operator-crd"
    files = [crds / f"monitoring.coreos.com_{kind}.yaml" for kind in ("servicemonitors", "podmonitors", "prometheusrules")]
    return [*files, module(GRAFANA_OPERATOR) / "config/crd/bases/grafana.integreatly.org_grafanadashboards.yaml"]


def findings(manifests):
    """What the API server would say to each, or to each pair of an object that exists and the one that replaces it."""
    return json.loads(run(TOOLS / "judge", *definitions(), text=json.dumps(manifests)))


def abridged(text):
    """With the path of a file of the repository in place of its text, as the chart indents it."""
    for file, indent in [(RULES, 2), *((dashboard, 4) for dashboard in DASHBOARDS)]:
        lines = file.read_text().strip().splitlines()
        whole = "\n".join(" " * indent + line for line in lines)
        text = text.replace(whole, " " * indent + f"({file.relative_to(ROOT)})")
    # Rules that values change are no text of the file; tests compare them.
    return re.sub(r"(\n  groups:\n).*?(\n    - name: pinpoint-settings\n)",
                  rf"\1    (changed: {RULES.relative_to(ROOT)})\2", text, flags=re.DOTALL)


def pod(manifests):
    workload = next(each for each in manifests if each["kind"] in ("Deployment", "StatefulSet"))
    return workload["spec"]["template"]["spec"]


def updated(path, text):
    """The text of a file that is derived; UPDATE=1 writes it anew."""
    if UPDATE:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return path.read_text() if path.exists() else None


def described(values):
    """Rows for the values.yaml's text: the name of each value that a comment describes, its default, the description."""
    defaults, path, described = yaml.safe_load(values), [], None
    for line in values.splitlines():
        if match := re.match(r" *# -- (.*)", line):
            described = match[1]
        elif described and (match := re.match(r" *# (.*)", line)):
            described += " " + match[1]
        elif match := re.match(r"( *)([A-Za-z_]+):", line):
            path[len(match[1]) // 2:] = [match[2]]
            if described:
                yield ".".join(path), functools.reduce(lambda value, key: value[key], path, defaults), described
            described = None
        elif not line.strip():
            described = None


def in_folder(text, folder):
    """With the folder in place of the one that the container has."""
    return text.replace("/etc/pinpoint-exporter", folder)


def mount(manifests, folder):
    """Puts into the folder what the Pod has in its volumes: the chart's Secret, and those that users bring."""
    secrets = {each["metadata"]["name"]: each["stringData"] for each in manifests if each["kind"] == "Secret"}
    maps = {each["metadata"]["name"]: each["data"] for each in manifests if each["kind"] == "ConfigMap"}
    with tempfile.TemporaryDirectory() as made:
        certificate, key = (pathlib.Path(made) / name for name in ("tls.crt", "tls.key"))
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
            "-subj", "/CN=localhost", "-keyout", key, "-out", certificate)
        brought = {"tls.crt": certificate.read_text(), "tls.key": key.read_text()}
    brought["web-config.yaml"] = "tls_server_config: {cert_file: tls.crt, key_file: tls.key}"
    brought["targets"] = "6e0b7591a90841d2b5d93fa11143e5a7/*"
    names = {each["name"]: each["secret"]["secretName"] if "secret" in each else each["configMap"]["name"]
             for each in pod(manifests)["volumes"]}
    for each in pod(manifests)["containers"][0]["volumeMounts"]:
        at = pathlib.Path(in_folder(each["mountPath"], folder))
        at.mkdir(parents=True)
        for name, text in {**secrets, **maps}.get(names[each["name"]], brought).items():
            (at / name).write_text(in_folder(text, folder))


def setUpModule():
    """Everything else is rendered with these, so they are updated first."""
    for path, source in COPIES.items():
        updated(path, source.read_text())
    updated(CHART / "values.schema.json", whole_schema())


@functools.cache
def whole_schema():
    """The text of the schema, with the definitions of Kubernetes as they are."""
    document = json.loads((module(API_SERVER) / "api/openapi-spec/swagger.json").read_text())
    schema = json.loads((CHART / "values.schema.json").read_text())
    own = {name: value for name, value in schema["definitions"].items() if not name.startswith(helm_schema.PREFIX)}
    return helm_schema.text({**schema, "definitions": {**own, **helm_schema.kubernetes(schema, document)}})


def client_certificate(folder):
    """A certificate authority, and a client certificate that it signed."""
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    authority, request = folder / "tls/ca.crt", folder / "client.csr"
    run("openssl", "req", "-x509", *curve, "-subj", "/CN=authority", "-keyout", folder / "ca.key", "-out", authority)
    run("openssl", "req", *curve, "-subj", "/CN=client", "-keyout", folder / "client.key", "-out", request)
    (folder / "extensions").write_text("basicConstraints=CA:FALSE\nextendedKeyUsage=clientAuth\n")
    run("openssl", "x509", "-req", "-in", request, "-CA", authority, "-CAkey", folder / "ca.key", "-CAcreateserial",
        "-days", 2, "-extfile", folder / "extensions", "-out", folder / "client.crt")


@contextlib.contextmanager
def serving(environment):
    """The port of an exporter that serves until the end of the block. It reaches no AWS."""
    port = free_port()
    environment = {
        **environment, "PINPOINT_EXPORTER_TARGETS": "APP/SEGMENT", "PINPOINT_EXPORTER_LISTEN_ADDRESS": f"127.0.0.1:{port}",
        "AWS_REGION": "eu-west-1", "AWS_ENDPOINT_URL_PINPOINT": "http://127.0.0.1:9", "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b"}
    with subprocess.Popen([EXPORTER], env=environment, stderr=subprocess.DEVNULL) as exporter:
        try:
            give_up = time.monotonic() + HANG_LIMIT
            while subprocess.run([EXPORTER, "healthcheck"], env=environment, capture_output=True, check=False).returncode:
                if exporter.poll() is not None or time.monotonic() > give_up:
                    raise AssertionError(f"the exporter does not serve; its status is {exporter.poll()}")
            yield port
        finally:
            exporter.terminate()


class Charts(unittest.TestCase):
    maxDiff = None

    def test_helm_finds_nothing_in_the_chart(self):
        for case in CASES:
            with self.subTest(case.name):
                report = helm("lint", "--strict", "--kube-version", KUBERNETES, CHART, "--values", case / "values.yaml")
                found = re.findall(r"^\[(?!INFO).*", report, re.MULTILINE)
                self.assertEqual(found, [])

    def test_values_are_rendered_as_they_were_kept(self):
        self.assertGreaterEqual(len(CASES), 10)
        for case in CASES:
            with self.subTest(case.name):
                kept = case / "rendered.yaml"
                if UPDATE:
                    kept.write_text(abridged(rendered(case)))
                self.assertEqual(abridged(rendered(case)), kept.read_text())

    def test_the_api_server_would_take_every_object(self):
        manifests = [(case.name, each) for case in CASES for each in objects(rendered(case))]
        for (case, each), found in zip(manifests, findings([each for _, each in manifests]), strict=True):
            with self.subTest(case, kind=each["kind"], name=each["metadata"]["name"]):
                self.assertEqual(found, [])
        kinds = {each["kind"] for _, each in manifests}
        self.assertEqual(kinds, {
            "ConfigMap", "Deployment", "GrafanaDashboard", "NetworkPolicy", "Pod", "PodDisruptionBudget", "PodMonitor",
            "PrometheusRule", "Secret", "Service", "ServiceAccount", "ServiceMonitor", "StatefulSet"})

    def test_every_set_of_values_can_be_upgraded_to_every_other_with_helm_3_and_4(self):
        """Objects that both have, as Helm 3 and 4 send them; what has another name or is a hook is made anew."""
        releases = {case.name: {(each["kind"], each["metadata"]["name"]): each for each in objects(rendered(case))
                                if "helm.sh/hook" not in each["metadata"].get("annotations", {})} for case in CASES}
        upgrades = list(itertools.permutations(releases, 2))
        self.assertGreaterEqual(len(upgrades), 90)
        pairs = [(upgrade, key) for upgrade in upgrades for key in releases[upgrade[0]].keys() & releases[upgrade[1]].keys()]
        asked = [[releases[before][key], releases[after][key]] for (before, after), key in pairs]
        for (upgrade, key), found in zip(pairs, findings(asked), strict=True):
            with self.subTest(upgrade=upgrade, object=key):
                self.assertEqual(found, [])

    def test_an_upgrade_that_the_api_server_refuses_is_found(self):
        (old,) = (each for each in objects(template()) if each["kind"] == "Deployment")
        without_strategy, recreate, another_selector, duplicate = (copy.deepcopy(old) for _ in range(4))
        del without_strategy["spec"]["strategy"]
        recreate["spec"]["strategy"] = {"type": "Recreate"}
        another_selector["spec"]["selector"]["matchLabels"]["a"] = "b"
        another_selector["spec"]["template"]["metadata"]["labels"]["a"] = "b"
        duplicate["spec"]["template"]["spec"]["containers"][0]["env"] *= 2
        found = findings([[without_strategy, recreate], [old, another_selector], [old, duplicate], [old, recreate]])
        for texts, expected in zip(found, [
            [r"Helm 4: .*rollingUpdate: Forbidden"], [r"Helm 3: .*field is immutable", r"Helm 4: .*field is immutable"],
            [r"Helm 4: .*duplicate entries for key"], [],
        ], strict=True):
            self.assertEqual(len(texts), len(expected), texts)
            for text, pattern in zip(texts, expected, strict=True):
                self.assertRegex(text, pattern)

    def test_pods_are_restarted_when_tls_is_switched_on_or_off(self):
        def of(web_config):
            made = objects(template(json.dumps({"webConfig": web_config, "podAnnotations": {"a": "b"}})))
            return next(each["spec"]["template"] for each in made if each["kind"] == "Deployment")

        users = {"basic_auth_users": {"a": "b"}}
        for off, on in [
            ({"content": users}, {"content": {**users, "tls_server_config": {"cert_file": "a", "key_file": "b"}}}),
            ({"existingSecret": "web"}, {"existingSecret": "web", "tls": True}),
            ({}, {"tls": True}),
        ]:
            with self.subTest(on=on):
                self.assertEqual(of(off)["metadata"].get("annotations"), {"a": "b"})
                self.assertEqual(of(on)["metadata"]["annotations"], {"a": "b", "pinpoint-exporter/tls": "true"})
        # What the exporter sees by itself restarts nothing.
        self.assertEqual(of({"content": users}), of({"content": {"basic_auth_users": {"a": "c"}}}))

    def test_series_have_the_job_and_the_name_of_the_pod_as_instance(self):
        for values in ["serviceMonitor: {enabled: true, job: 'true'}", "{podMonitor: {enabled: true}, serviceMonitor: {job: 'true'}}"]:
            (monitor,) = (each["spec"] for each in objects(template(values)) if each["kind"].endswith("Monitor"))
            (endpoint,) = monitor.get("endpoints") or monitor["podMetricsEndpoints"]
            self.assertEqual(endpoint["relabelings"], [
                {"targetLabel": "job", "replacement": "true"},
                {"targetLabel": "instance", "sourceLabels": ["__meta_kubernetes_pod_name"]}])
            self.assertEqual(monitor["sampleLimit"], 100000)
        # As the scrape configuration for the plain manifests does.
        scrape = yaml.safe_load(re.findall(r"```yaml\n(scrape_configs.*?)```", (MANIFESTS / "README.md").read_text(), re.DOTALL)[0])
        self.assertIn({"target_label": "instance", "source_labels": ["__meta_kubernetes_pod_name"]},
                      scrape["scrape_configs"][0]["relabel_configs"])

    def test_helm_test_runs_check_with_the_environment_of_the_release(self):
        for case in CASES:
            with self.subTest(case.name):
                made = objects(rendered(case))
                (check,) = (each for each in made if each["kind"] == "Pod")
                self.assertEqual(check["metadata"]["annotations"]["helm.sh/hook"], "test")
                # `helm test --logs` reads the log after the test.
                self.assertNotIn("hook-succeeded", check["metadata"]["annotations"]["helm.sh/hook-delete-policy"])
                (container,) = check["spec"]["containers"]
                self.assertEqual(container["args"], ["check"])
                exporter = pod(made)["containers"][0]
                self.assertEqual(container["image"], exporter["image"])
                # The Pod has no number, so it checks the targets of all shards.
                self.assertEqual(container.get("env", []), [
                    each for each in exporter.get("env", []) if each.get("value") is None
                    or not each["value"].startswith("auto/")])
                selector = next(each["spec"]["selector"] for each in made if each["kind"] == "Service")
                self.assertFalse(selector.items() <= check["metadata"]["labels"].items())

    def test_the_readme_describes_every_value(self):
        readme = CHART / "README.md"
        text = (CHART / "values.yaml").read_text()
        rows = list(described(text))

        def covered(name, value):
            return name in {each for each, *_ in rows} or (
                isinstance(value, dict) and value and all(covered(f"{name}.{key}", each) for key, each in value.items()))

        for name, value in yaml.safe_load(text).items():
            self.assertTrue(covered(name, value), name)
        table = "| value | default | |\n| --- | --- | --- |\n" + "".join(
            f"| `{name}` | `{json.dumps(value)}` | {description} |\n" for name, value, description in rows)
        before, _, after = re.fullmatch(
            "(.*<!-- values -->\n)(.*)(<!-- /values -->.*)", readme.read_text(), re.DOTALL).groups()
        whole = before + table + after
        self.assertEqual(updated(readme, whole), whole)

    def test_the_icon_and_the_maintainers_are_there(self):
        chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
        path = chart["icon"].removeprefix("https://raw.githubusercontent.com/pinpoint-exporter/pinpoint-exporter/main/")
        self.assertTrue(xml.etree.ElementTree.parse(ROOT / path).getroot().tag.endswith("svg"))
        self.assertEqual(chart["maintainers"], [{"name": "pinpoint-exporter", "url": "https://github.com/pinpoint-exporter"}])

    def test_a_wrong_field_is_found_in_every_kind(self):
        whole = {}
        for case in CASES:
            for each in objects(rendered(case)):
                whole.setdefault(each["kind"], each)
        wrong = [
            ("Deployment", ["spec", "replica"], 1, 'unknown field "spec.replica"'),
            ("Deployment", ["spec", "replicas"], "one", "cannot unmarshal string"),
            ("Deployment", ["spec", "template", "spec", "containers", 0, "livenessProbe", "httpGet", "url"], "/",
             "livenessProbe.httpGet.url"),
            ("Deployment", ["spec", "template", "spec", "hostNetwork"], True, "restricted"),
            ("Deployment", ["spec", "template", "spec", "securityContext", "runAsNonRoot"], False, "restricted"),
            ("Deployment", ["metadata", "name"], "Pinpoint", "metadata.name"),
            ("StatefulSet", ["spec", "strategy"], {}, 'unknown field "spec.strategy"'),
            ("StatefulSet", ["spec", "template", "spec", "containers", 0, "securityContext", "privileged"], True,
             "restricted"),
            ("Service", ["spec", "ports", 0, "targetport"], "metrics", "targetport"),
            ("Service", ["metadata", "labels", "team"], "a b", "metadata.labels"),
            ("ServiceAccount", ["automountServiceAccountTokens"], False, "automountServiceAccountTokens"),
            ("ConfigMap", ["data", "pinpoint.json"], {}, "cannot unmarshal object"),
            ("Secret", ["stringdata"], {}, "stringdata"),
            ("NetworkPolicy", ["spec", "egress", 0, "port"], 53, "spec.egress[0].port"),
            ("PodDisruptionBudget", ["spec", "maxUnavailables"], 1, "maxUnavailables"),
            ("ServiceMonitor", ["spec", "endpoints", 0, "intervall"], "1m", "endpoints[0].intervall"),
            ("ServiceMonitor", ["spec", "endpoints", 0, "interval"], "a minute", "spec.endpoints[0].interval"),
            ("ServiceMonitor", ["spec", "selector"], None, "spec.selector"),
            ("PrometheusRule", ["spec", "groups", 0, "rules", 0, "severity"], "critical", "rules[0].severity"),
            ("PrometheusRule", ["spec", "groups", 0, "rules", 0, "for"], "5 minutes", "rules[0].for"),
            ("PrometheusRule", ["spec", "groups", 0, "rules", 0, "expr"], None, "rules[0].expr"),
            ("PodMonitor", ["spec", "podMetricsEndpoints", 0, "intervall"], "1m", "podMetricsEndpoints[0].intervall"),
            ("GrafanaDashboard", ["spec", "selector"], {}, 'unknown field "spec.selector"'),
            ("Pod", ["spec", "restartPolicy"], "Sometimes", "spec.restartPolicy"),
            # What only the API server's own validation finds.
            ("Deployment", ["spec", "template", "spec", "containers", 0, "resources", "limits"], {"memory": "1Mi"},
             "must be less than or equal to memory limit"),
            ("Service", ["metadata", "name"], "a.b", "metadata.name"),
            ("Deployment", ["spec", "selector", "matchLabels", "a"], "b", "does not match template"),
        ]
        self.assertEqual({kind for kind, *_ in wrong}, set(whole))
        manifests = []
        for kind, path, value, _ in wrong:
            changed = copy.deepcopy(whole[kind])
            at = changed
            for step in path[:-1]:
                at = at[step]
            at[path[-1]] = value
            manifests.append(changed)
        for (kind, path, _, expected), found in zip(wrong, findings(manifests), strict=True):
            with self.subTest(kind, path=path):
                self.assertIn(expected, "\n".join(found))

    def test_the_chart_has_the_rules_and_dashboards_of_the_repository(self):
        for path, source in COPIES.items():
            with self.subTest(path.name):
                self.assertEqual(path.read_text(), source.read_text())
        self.assertEqual({path for path in (CHART / "files").rglob("*") if path.is_file()}, set(COPIES))
        self.assertEqual([path for path in CHART.rglob("*") if path.is_symlink()], [])

        def made(case, kind):
            return [each for each in objects(rendered(CASES_FOLDER / case)) if each["kind"] == kind]

        (rule,) = made("operator", "PrometheusRule")
        *shipped, settings, further = rule["spec"]["groups"]
        self.assertEqual(shipped, yaml.safe_load(RULES.read_text())["groups"])
        self.assertEqual((settings["name"], further["name"]), ("pinpoint-settings", "of-our-own"))
        files = {f"pinpoint-{file.name}": file.read_text() for file in DASHBOARDS}
        self.assertEqual(len(files), 3)
        self.assertEqual({name: text for each in made("dashboards", "ConfigMap") for name, text in each["data"].items()}, files)
        self.assertEqual({f"pinpoint-{json.loads(each['spec']['json'])['uid'].removeprefix('pinpoint-')}.json"
                          for each in made("grafana-operator", "GrafanaDashboard")}, set(files))
        for each in made("grafana-operator", "GrafanaDashboard"):
            self.assertIn(each["spec"]["json"], files.values())

    def test_prometheus_takes_the_rules(self):
        made = [each for case in CASES for each in objects(rendered(case)) if each["kind"] == "PrometheusRule"]
        self.assertEqual(len(made), 2)
        for each in made:
            with tempfile.TemporaryDirectory() as folder:
                path = pathlib.Path(folder) / "rules.yaml"
                path.write_text(yaml.safe_dump(each["spec"]))
                # Two rules that are the same are a finding too.
                run(TOOLS / "promtool", "check", "rules", "--lint=all", "--lint-fatal", path)

    def rules(self, values):
        made = objects(template(json.dumps({"prometheusRule": {"enabled": True}, **values})))
        (rule,) = (each for each in made if each["kind"] == "PrometheusRule")
        return rule["spec"]["groups"]

    def test_the_settings_of_the_rules_are_values(self):
        def records(values):
            (group,) = (each for each in self.rules(values) if each["name"] == "pinpoint-settings")
            return [(each["record"], each["expr"], each.get("labels", {})) for each in group["rules"]]

        budgets = [("pinpoint:export_job_budget:seconds", f"vector({seconds})", {"status": status}) for status, seconds in [
            ("CANCELLING", 23400), ("COMPLETING", 23400), ("CREATED", 1800), ("FAILING", 23400), ("INITIALIZING", 3600),
            ("PENDING_JOB", 7200), ("PREPARING_FOR_INITIALIZATION", 3600), ("PROCESSING", 21600)]]
        job = [("pinpoint:scrape_job:info", "vector(1)", {"job": "pinpoint"})]
        limit = [("pinpoint:scrape_sample_limit:samples", "vector(100000)", {})]
        self.assertEqual(records({}), job + limit + budgets)
        self.assertEqual(
            records({"serviceMonitor": {"job": "a", "sampleLimit": 0},
                     "prometheusRule": {"enabled": True, "grafanaUrl": "https://grafana.example/g/", "exportJobBudgets": {
                         "CREATED": "1d1s", **{status: None for _, _, labels in budgets for status in labels.values()
                                               if status != "CREATED"}}}}),
            [("pinpoint:scrape_job:info", "vector(1)", {"job": "a"}),
             ("pinpoint:grafana:info", "vector(1)", {"url": "https://grafana.example/g"}),
             ("pinpoint:export_job_budget:seconds", "vector(86401)", {"status": "CREATED"})])
        # They are those of the file for users without Helm, but for Grafana's address.
        (group,) = yaml.safe_load(SETTINGS_RULES.read_text())["groups"]
        kept = [(each["record"], each["expr"], each.get("labels", {})) for each in group["rules"]]
        self.assertCountEqual([each for each in kept if each[0] != "pinpoint:grafana:info"], job + limit + budgets)

    def test_single_alerts_can_be_left_out_and_labelled(self):
        whole = {each.get("alert"): each for group in self.rules({}) for each in group["rules"]}
        values = {"prometheusRule": {"enabled": True, "disabled": {"PinpointThrottled": True, "PinpointDataStale": False},
                                     "additionalRuleLabels": {"team": "a", "page": "true"}}}
        rules = [each for group in self.rules(values) for each in group["rules"]]
        alerts = {each["alert"]: each for each in rules if "alert" in each}
        self.assertEqual(set(alerts), set(whole) - {"PinpointThrottled", None})
        for name, alert in alerts.items():
            labels = {**whole[name]["labels"], "team": "a", "page": "true"}
            self.assertEqual(alert, {**whole[name], "labels": labels})
        for each in rules:
            if "record" in each:
                self.assertNotIn("team", each.get("labels", {}))

    def test_the_values_of_the_readme_make_what_the_api_server_would_take(self):
        blocks = re.findall(r"```yaml\n(# my-values.yaml.*?)```", (ROOT / "deploy/README.md").read_text(), re.DOTALL)
        blocks += re.findall(r"```yaml\n(.*?)```", (CHART / "README.md").read_text(), re.DOTALL)
        self.assertGreaterEqual(len(blocks), 5)
        for values in blocks:
            made = objects(template(values))
            self.assertGreater(len(made), 2)
            self.assertEqual(findings(made), [[]] * len(made))

    def test_probes_fit_who_may_ask_and_those_of_ones_own_stand(self):
        itself = {"exec": {"command": ["/pinpoint-exporter", "healthcheck"]}}
        web = {"existingSecret": "a"}
        for values, live, ready in [
            ({}, {"httpGet": {"path": "/-/healthy", "port": "metrics"}}, {"httpGet": {"path": "/-/ready", "port": "metrics"}}),
            ({"webConfig": web}, itself, itself),
            ({"webConfig": {**web, "tls": True}}, itself, itself),
            # The file comes by other means.
            ({"webConfig": {"tls": True}}, itself, itself),
            ({"webConfig": {"content": {"basic_auth_users": {"a": "b"}}}}, itself, itself),
            ({"webConfig": web, "livenessProbe": {"tcpSocket": {"port": 9787}}}, {"tcpSocket": {"port": 9787}}, itself),
            ({"webConfig": web, "readinessProbe": None}, itself, None),
        ]:
            with self.subTest(values=values):
                (container,) = pod(objects(template(json.dumps(values))))["containers"]
                figures = {"periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 3}
                self.assertEqual(container["livenessProbe"], {**live, **figures})
                self.assertEqual(container.get("readinessProbe"), ready and {**ready, **figures})

    def test_the_versions_of_chart_and_image_are_the_programs(self):
        version = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
        self.assertEqual(yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"], version)
        self.assertIn(f"\nARG VERSION={version}\n", (ROOT / "Dockerfile").read_text())

    def notes(self, values):
        """The notes and the objects. `helm template` leaves the notes out, so a ConfigMap shows them here."""
        with tempfile.TemporaryDirectory() as folder:
            chart = pathlib.Path(folder) / "chart"
            shutil.copytree(CHART, chart)
            notes = (chart / "templates/NOTES.txt").read_text()
            (chart / "templates/notes.yaml").write_text(
                '{{- define "notes" }}' + notes + "{{ end -}}\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: notes}\n"
                'data:\n  notes: |\n    {{- include "notes" . | nindent 4 }}\n')
            made = objects(template(values, chart=chart))
        (notes,) = (each["data"]["notes"] for each in made if each["metadata"]["name"] == "notes")
        return notes, made

    def test_the_notes_name_objects_that_are_there(self):
        for name in ["default", "shards", "names", "web-config"]:
            with self.subTest(name):
                notes, made = self.notes((CASES_FOLDER / name / "values.yaml").read_text())
                there = {(each["metadata"].get("namespace"), f"{each['kind'].lower()}/{each['metadata']['name']}"):
                         each for each in made}
                named = re.findall(r"--namespace (\S+) (?:port-forward|exec) (\S+)", notes)
                self.assertEqual(len(named), 2)
                self.assertLessEqual(set(named), set(there))
                port = there[named[0]]["spec"]["ports"][0]["port"]
                self.assertRegex(notes, rf" 9787:{port}\n  curl .*://localhost:9787/metrics\n")

    def test_the_curl_of_the_notes_reads_the_metrics(self):
        tls = {"cert_file": "/etc/pinpoint-exporter/tls/tls.crt", "key_file": "/etc/pinpoint-exporter/tls/tls.key"}
        client = {"client_ca_file": "/etc/pinpoint-exporter/tls/ca.crt", "client_auth_type": "RequireAndVerifyClientCert"}
        users = {"it's": run("htpasswd", "-nbBC", 4, "", "secret").strip(":\n")}
        for content in [
            {}, {"basic_auth_users": users}, {"tls_server_config": tls}, {"tls_server_config": tls, "basic_auth_users": users},
            {"tls_server_config": {**tls, **client}, "basic_auth_users": users},
        ]:
            with self.subTest(content=content), tempfile.TemporaryDirectory() as folder:
                notes, made = self.notes(json.dumps({"webConfig": {
                    "content": content, "certificateSecret": "tls" if "tls_server_config" in content else ""}}))
                web_config = {}
                if content:
                    mount(made, folder)
                    web_config["PINPOINT_EXPORTER_WEB_CONFIG_FILE"] = f"{folder}/web/web-config.yaml"
                if "client_ca_file" in content.get("tls_server_config", {}):
                    client_certificate(pathlib.Path(folder))
                (curl,) = re.findall(r"^  (curl .*)$", notes, re.MULTILINE)
                # curl asks a person for the password.
                curl = curl.replace("--user 'it'\\''s'", "--user 'it'\\''s:secret'")
                with serving(web_config) as port:
                    metrics = run("sh", "-c", f"cd '{folder}' && " + curl.replace("localhost:9787", f"localhost:{port}")
                                  .replace("curl ", "curl --fail --silent --show-error "))
                self.assertIn("pinpoint_exporter_build_info", metrics)

    def test_the_package_renders_what_the_folder_does(self):
        with tempfile.TemporaryDirectory() as folder:
            helm("package", CHART, "--destination", folder)
            (package,) = pathlib.Path(folder).iterdir()
            for case in CASES:
                with self.subTest(case.name):
                    self.assertEqual(template((case / "values.yaml").read_text(), chart=package), rendered(case))

    def test_a_chart_without_its_files_says_so(self):
        with tempfile.TemporaryDirectory() as folder:
            chart = pathlib.Path(folder) / "chart"
            run("cp", "-r", CHART, chart)
            run("rm", "-r", chart / "files")
            said = template("prometheusRule: {enabled: true}", chart=chart, status=1)
            self.assertIn("the chart lacks files/rules/pinpoint.yaml", said)
            said = template("dashboards: {enabled: true}", chart=chart, status=1)
            self.assertIn("the chart lacks files/dashboards/export-jobs.json", said)


class Values(unittest.TestCase):
    def test_wrong_ones_are_refused_with_their_place(self):
        digest = "sha256:" + "0" * 63
        content = {"basic_auth_users": {"a": "b"}}
        wrong = [
            ({"replica": 2}, "'replica' not allowed"),
            ({"replicas": "two"}, "/replicas"),
            ({"shards": -1}, "/shards"),
            ({"shards": 2, "replicas": 2}, "/replicas"),
            ({"shards": 2, "service": {"type": "NodePort"}}, "/service/type"),
            ({"shards": 2, "settings": {"SHARD": "0/2"}}, "/settings/SHARD"),
            ({"settings": {"CACHE_TLL": "50s"}}, "'CACHE_TLL' not allowed"),
            ({"settings": {"CACHE_TTL": 50}}, "/settings/CACHE_TTL"),
            ({"settings": {"MAX_ATTEMPTS": 0}}, "/settings/MAX_ATTEMPTS"),
            ({"settings": {"PAGE_SIZE": "many"}}, "/settings/PAGE_SIZE"),
            ({"settings": {"TARGETS": ""}}, "/settings/TARGETS"),
            ({"settings": {"TARGETS": []}}, "/settings/TARGETS"),
            ({"settings": {"TARGETS": None, "TARGETS_FILE": ""}}, "nothing is observed"),
            ({"settings": {"TARGETS_FILE": "targets"}}, "/settings/TARGETS_FILE"),
            ({"settings": {"STATUS_SERIES": "some"}}, "/settings/STATUS_SERIES"),
            ({"settings": {"LISTEN_ADDRESS": "0.0.0.0:80"}}, "/settings/LISTEN_ADDRESS"),
            ({"settings": {"WEB_CONFIG_FILE": "/web.yaml"}}, "'WEB_CONFIG_FILE' not allowed"),
            ({"aws": {"endpoint": "pinpoint.example"}}, "/aws/endpoint"),
            ({"aws": {"secretKey": "x"}}, "'secretKey' not allowed"),
            ({"image": {"pullPolicy": "Sometimes"}}, "/image/pullPolicy"),
            ({"image": {"digest": digest}}, "/image/digest"),
            ({"image": {"tag": "a b"}}, "/image/tag"),
            ({"imagePullSecrets": ["mirror"]}, "/imagePullSecrets/0"),
            ({"service": {"port": 70000}}, "/service/port"),
            ({"serviceAccount": {"annotations": {"a": 1}}}, "/serviceAccount/annotations/a"),
            ({"serviceMonitor": {"interval": "1 minute"}}, "/serviceMonitor/interval"),
            ({"serviceMonitor": {"basicAuth": {"username": "a"}}}, "/serviceMonitor/basicAuth/username"),
            ({"prometheusRule": {"additionalGroups": [{"name": "a"}]}}, "/prometheusRule/additionalGroups/0"),
            ({"networkPolicy": {"ports": []}}, "/networkPolicy/ports"),
            ({"podDisruptionBudget": {"minAvailable": "half"}}, "/podDisruptionBudget/minAvailable"),
            ({"podDisruptionBudget": {"minAvailable": 1, "maxUnavailable": 1}}, "/podDisruptionBudget/minAvailable"),
            ({"webConfig": {"content": content, "existingSecret": "a"}}, "/webConfig/existingSecret"),
            ({"livenessProbe": {"period": 3}}, "'period' not allowed"),
            ({"terminationGracePeriodSeconds": 5}, "/terminationGracePeriodSeconds"),
            ({"resources": {"request": {}}}, "'request' not allowed"),
            ({"extraEnv": [{"value": "a"}]}, "/extraEnv/0"),
            ({"nameOverride": "Pinpoint_"}, "/nameOverride"),
            # Names and labels that the API server refuses.
            ({"fullnameOverride": "a.b"}, "/fullnameOverride"),
            ({"fullnameOverride": "1pinpoint"}, "/fullnameOverride"),
            ({"fullnameOverride": "a" * 53}, "/fullnameOverride"),
            ({"nameOverride": "a.b"}, "/nameOverride"),
            ({"nameOverride": "-a"}, "/nameOverride"),
            ({"nameOverride": 123}, "/nameOverride"),
            ({"namespaceOverride": "a.b"}, "/namespaceOverride"),
            ({"namespaceOverride": "a" * 64}, "/namespaceOverride"),
            ({"serviceAccount": {"name": "a..b"}}, "/serviceAccount/name"),
            ({"aws": {"existingSecret": "a_b"}}, "/aws/existingSecret"),
            ({"aws": {"region": "eu west"}}, "/aws/region"),
            ({"aws": {"endpoint": "http://a\nb"}}, "/aws/endpoint"),
            ({"webConfig": {"certificateSecret": "A"}}, "/webConfig/certificateSecret"),
            ({"priorityClassName": 123}, "/priorityClassName"),
            ({"priorityClassName": "High"}, "/priorityClassName"),
            ({"commonLabels": {"app.kubernetes.io/name": "a"}}, "/commonLabels"),
            ({"podLabels": {"app.kubernetes.io/instance": "a"}}, "/podLabels"),
            ({"service": {"labels": {"helm.sh/chart": "a"}}}, "/service/labels"),
            ({"commonLabels": {"a b": "c"}}, "/commonLabels"),
            ({"commonLabels": {"a": "b c"}}, "/commonLabels/a"),
            ({"commonLabels": {"a": "b" * 64}}, "/commonLabels/a"),
            ({"commonLabels": {"a": True}}, "/commonLabels/a"),
            ({"podAnnotations": {"a/b/c": "d"}}, "/podAnnotations"),
            ({"podAnnotations": {"pinpoint-exporter/tls": "false"}}, "/podAnnotations"),
            ({"nodeSelector": {"a": "b/c"}}, "/nodeSelector/a"),
            ({"image": {"repository": "Pinpoint"}}, "/image/repository"),
            ({"image": {"registry": "a b"}}, "/image/registry"),
            ({"global": {"imageRegistry": "http://a"}}, "/global/imageRegistry"),
            ({"imagePullSecrets": [{"name": "A"}]}, "/imagePullSecrets/0/name"),
            # Numbers and quantities.
            ({"resources": {"limits": {"memory": "16Mi"}}}, "resources.requests.memory (32Mi) must not be above"),
            ({"resources": {"limits": {"cpu": 0.005}}}, "resources.requests.cpu (10m) must not be above"),
            ({"resources": {"limits": {"memory": "64 MB"}}}, "/resources/limits/memory"),
            ({"resources": {"limits": {"cpu": -1}}}, "/resources/limits/cpu"),
            ({"resources": {"limits": {"gpu": 1}}}, "'gpu' not allowed"),
            ({"resources": {"claims": [{"name": "a"}]}}, "'claims' not allowed"),
            ({"podDisruptionBudget": {"minAvailable": "150%"}}, "/podDisruptionBudget/minAvailable"),
            ({"podDisruptionBudget": {"unhealthyPodEvictionPolicy": "Never"}},
             "/podDisruptionBudget/unhealthyPodEvictionPolicy"),
            ({"revisionHistoryLimit": -1}, "/revisionHistoryLimit"),
            ({"terminationGracePeriodSeconds": 3000000000}, "/terminationGracePeriodSeconds"),
            ({"livenessProbe": {"successThreshold": 2}}, "/livenessProbe/successThreshold"),
            ({"readinessProbe": {"terminationGracePeriodSeconds": 5}}, "/readinessProbe"),
            ({"livenessProbe": {"tcpSocket": {"port": 1}, "exec": {"command": ["a"]}}}, "/livenessProbe"),
            ({"livenessProbe": {"httpGet": {"path": "/"}}}, "/livenessProbe/httpGet"),
            # Strategies.
            ({"strategy": {"type": "Rolling"}}, "/strategy/type"),
            ({"shards": 2, "strategy": {"type": "Recreate"}}, "/strategy/type"),
            ({"strategy": {"type": "OnDelete"}}, "/strategy/type"),
            ({"strategy": {"type": "Recreate", "rollingUpdate": {"maxSurge": 1}}}, "/strategy/rollingUpdate"),
            ({"strategy": {"rollingUpdate": {"partition": 1}}}, "/strategy/rollingUpdate"),
            ({"shards": 2, "strategy": {"rollingUpdate": {"maxSurge": 1}}}, "/strategy/rollingUpdate"),
            ({"strategy": {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 0}}}, "cannot both be 0"),
            ({"strategy": {"rollingUpdate": {"maxSurge": "1"}}}, "/strategy/rollingUpdate/maxSurge"),
            # Variables, containers and volumes.
            ({"extraEnv": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]}, "extraEnv has A twice"),
            ({"extraEnv": [{"name": "A=B", "value": "1"}]}, "/extraEnv/0/name"),
            ({"extraEnv": [{"name": "A", "value": 1}]}, "/extraEnv/0/value"),
            ({"extraEnv": [{"name": "A", "value": "1", "valueFrom": {"secretKeyRef": {"name": "a", "key": "b"}}}]},
             "/extraEnv/0"),
            ({"extraEnv": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "a"}}}]},
             "/extraEnv/0/valueFrom/secretKeyRef"),
            ({"extraEnvFrom": [{"secretRef": {"nam": "a"}}]}, "/extraEnvFrom/0"),
            ({"extraVolumes": [{"name": "a"}]}, "/extraVolumes/0"),
            ({"extraVolumes": [{"name": "A", "emptyDir": {}}]}, "/extraVolumes/0/name"),
            ({"extraVolumes": [{"name": "a", "emptyDir": {}}, {"name": "a", "emptyDir": {}}]}, "two volumes are named a"),
            ({"extraVolumes": [{"name": "tls", "emptyDir": {}}], "webConfig": {"certificateSecret": "a"}},
             "two volumes are named tls"),
            ({"extraVolumeMounts": [{"name": "a", "mountPath": "/a"}]}, "mounts the volume a"),
            ({"extraVolumes": [{"name": "a", "emptyDir": {}}], "extraVolumeMounts": [{"name": "a", "mountPath": "a:b"}]},
             "/extraVolumeMounts/0/mountPath"),
            ({"sidecars": [{"name": "pinpoint-exporter", "image": "a"}]}, "two containers are named pinpoint-exporter"),
            ({"sidecars": [{"name": "a"}]}, "/sidecars/0"),
            ({"initContainers": [{"name": "a", "image": "b", "command": "c"}]}, "/initContainers/0/command"),
            ({"tolerations": [{"operater": "Exists"}]}, "/tolerations/0"),
            ({"tolerations": [{"key": "a", "effect": "Never"}]}, "/tolerations/0/effect"),
            ({"affinity": {"nodeAffinity": {"required": []}}}, "/affinity/nodeAffinity"),
            ({"topologySpreadConstraints": [{"topologyKey": "zone"}]}, "/topologySpreadConstraints/0"),
            ({"podSecurityContext": {"runAsUser": "root"}}, "/podSecurityContext/runAsUser"),
            ({"securityContext": {"readOnly": True}}, "'readOnly' not allowed"),
            ({"dnsConfig": {"nameserver": []}}, "/dnsConfig"),
            ({"networkPolicy": {"from": [{"ipBlock": {"cidr": "10.0.0.0"}}]}}, "/networkPolicy/from/0/ipBlock/cidr"),
            # Settings that the exporter refuses.
            ({"settings": {"CACHE_TTL": "50"}}, "/settings/CACHE_TTL"),
            ({"settings": {"CACHE_TTL": "1 fortnight"}}, "/settings/CACHE_TTL"),
            ({"settings": {"MAX_STALENESS": "30s"}},
             "settings.MAX_STALENESS (30s) must be at least settings.CACHE_TTL (50s)"),
            ({"settings": {"SCRAPE_TIMEOUT_OFFSET": "10s"}}, "settings.SCRAPE_TIMEOUT_OFFSET (10s) must be shorter"),
            ({"settings": {"REQUEST_TIMEOUT": "0s"}}, "settings.REQUEST_TIMEOUT (0s) must be longer than 0s"),
            ({"settings": {"ROLE_EXTERNAL_ID": "a"}}, "settings.ROLE_EXTERNAL_ID needs settings.ROLE_ARNS"),
            ({"settings": {"SHARD": "2/2"}}, "settings.SHARD: 2/2"),
            ({"settings": {"NAMES": "some"}}, "/settings/NAMES"),
            ({"settings": {"TARGETS": None}}, "nothing is observed"),
            ({"targetsFile": {"content": "a/b", "existingConfigMap": "c"}}, "/targetsFile/existingConfigMap"),
            ({"targetsFile": {"content": "a/b"}, "settings": {"TARGETS_FILE": "/a"}}, "targetsFile and TARGETS_FILE"),
            ({"targetsFile": {"content": "a" * 1000001}}, "larger than a ConfigMap"),
            # Scrapes and rules.
            ({"serviceMonitor": {"enabled": True, "interval": "15s"}},
             "serviceMonitor.scrapeTimeout (30s) must not be longer"),
            ({"podMonitor": {"enabled": True}, "serviceMonitor": {"interval": "15s"}}, "serviceMonitor.scrapeTimeout (30s)"),
            ({"serviceMonitor": {"enabled": True, "interval": "50s"}},
             "serviceMonitor.interval (50s) must be longer than settings.CACHE_TTL (50s)"),
            ({"serviceMonitor": {"enabled": True}, "settings": {"CACHE_TTL": "1min"}}, "settings.CACHE_TTL (1min)"),
            ({"serviceMonitor": {"enabled": True}, "extraEnv": [{"name": "PINPOINT_EXPORTER_CACHE_TTL", "value": "2m"}]},
             "settings.CACHE_TTL (2m)"),
            ({"serviceMonitor": {"enabled": True}, "podMonitor": {"enabled": True}}, "scrape every Pod twice"),
            ({"serviceMonitor": {"interval": "1m1d"}}, "/serviceMonitor/interval"),
            ({"serviceMonitor": {"job": True}}, "/serviceMonitor/job"),
            ({"serviceMonitor": {"job": "a\n        - targetLabel: b"}}, "/serviceMonitor/job"),
            ({"serviceMonitor": {"job": "$1"}}, "/serviceMonitor/job"),
            ({"serviceMonitor": {"namespace": "A"}}, "/serviceMonitor/namespace"),
            ({"serviceMonitor": {"sampleLimit": -1}}, "/serviceMonitor/sampleLimit"),
            ({"serviceMonitor": {"targetLabels": ["a b"]}}, "/serviceMonitor/targetLabels/0"),
            ({"serviceMonitor": {"relabelings": [{"target_label": "a"}]}}, "/serviceMonitor/relabelings/0"),
            ({"serviceMonitor": {"tlsConfig": {"ca_file": "a"}}}, "/serviceMonitor/tlsConfig"),
            ({"prometheusRule": {"enabled": True, "disabled": {"PinpointDown": True}}},
             "there is no alert PinpointDown; there are Pinpoint"),
            ({"prometheusRule": {"additionalRuleLabels": {"severity": "a"}}}, "/prometheusRule/additionalRuleLabels"),
            ({"prometheusRule": {"additionalRuleLabels": {"a-b": "a"}}}, "/prometheusRule/additionalRuleLabels"),
            ({"prometheusRule": {"grafanaUrl": "grafana"}}, "/prometheusRule/grafanaUrl"),
            ({"prometheusRule": {"exportJobBudgets": {"CREATED": "soon"}}}, "/prometheusRule/exportJobBudgets/CREATED"),
            ({"prometheusRule": {"exportJobBudgets": {"DONE": "1h"}}}, "/prometheusRule/exportJobBudgets"),
            ({"prometheusRule": {"enabled": True, "additionalGroups": [{"name": "pinpoint-exporter", "rules": []}]}},
             "there is a group pinpoint-exporter already"),
            ({"prometheusRule": {"additionalGroups": [{"name": "a", "rules": [{"alert": "b"}]}]}},
             "/prometheusRule/additionalGroups/0/rules/0"),
            ({"dashboards": {"namespace": "A"}}, "/dashboards/namespace"),
            ({"dashboards": {"grafanaOperator": {"resyncPeriod": "often"}}}, "/dashboards/grafanaOperator/resyncPeriod"),
        ]
        with concurrent.futures.ThreadPoolExecutor() as pool:
            attempts = list(pool.map(attempt, [values for values, _ in wrong]))
        for (values, place), attempted in zip(wrong, attempts, strict=True):
            with self.subTest(values=values):
                self.assertNotEqual(attempted.returncode, 0)
                self.assertIn(place, attempted.stderr)

    def test_a_release_whose_name_no_service_can_have_is_refused_with_the_cure(self):
        for release in ["1pinpoint", "a.b"]:
            self.assertIn("Set fullnameOverride", template(release=release, status=1))
            # It is no problem for other objects.
            made = objects(template("fullnameOverride: exporter", release=release))
            self.assertEqual(findings(made), [[]] * len(made))

    def test_the_api_server_takes_whatever_the_chart_lets_through(self):
        """Text that YAML reads as something else, or that is no name, in the place of every text of values.yaml."""
        base = yaml.safe_load((CASES_FOLDER / "every-object.yaml").read_text())

        def places(value, path=()):
            if isinstance(value, dict) and value:
                for key, each in value.items():
                    yield from places(each, (*path, key))
            elif isinstance(value, str) or value is None:
                yield path

        def made(case):
            """What the chart makes of the text in that place, or nothing if it refuses it."""
            path, text = case
            values = copy.deepcopy(base)
            at = values
            for step in path[:-1]:
                at = at.setdefault(step, {})
            at[path[-1]] = text
            ended = attempt(values)
            return [(*case, each) for each in objects(ended.stdout)] if ended.returncode == 0 else []

        cases = itertools.product(
            places(yaml.safe_load((CHART / "values.yaml").read_text())), ["true", "12", "a.b", "-A b\n"])
        with concurrent.futures.ThreadPoolExecutor() as pool:
            taken = [each for each in pool.map(made, cases) if each]
        self.assertGreater(len(taken), 30)
        objects_taken = list(itertools.chain(*taken))
        for (path, text, each), found in zip(objects_taken, findings([each for *_, each in objects_taken]), strict=True):
            with self.subTest(path=path, text=text, kind=each["kind"]):
                self.assertEqual(found, [])

    def test_extra_variables_replace_those_of_the_chart(self):
        for values in [
            {"settings": {"TARGETS": "a/b"}, "extraEnv": [{"name": "PINPOINT_EXPORTER_TARGETS", "value": "c/d"}]},
            {"aws": {"region": "eu-west-1"}, "extraEnv": [{"name": "AWS_REGION", "value": "c/d"}]},
            {"aws": {"existingSecret": "a"}, "extraEnv": [{"name": "AWS_ACCESS_KEY_ID", "value": "c/d"}]},
            {"shards": 2, "extraEnv": [{"name": "PINPOINT_EXPORTER_SHARD", "value": "c/d"}]},
            {"webConfig": {"existingSecret": "a"}, "extraEnv": [{"name": "PINPOINT_EXPORTER_WEB_CONFIG_FILE", "value": "c/d"}]},
        ]:
            with self.subTest(values=values):
                (container,) = pod(objects(template(json.dumps(values))))["containers"]
                (extra,) = values["extraEnv"]
                self.assertEqual([each for each in container["env"] if each["name"] == extra["name"]], [extra])

    def test_the_example_is_left_out_when_targets_come_from_elsewhere(self):
        def variables(values):
            (container,) = pod(objects(template(json.dumps(values))))["containers"]
            return {each["name"]: each.get("value", "from elsewhere") for each in container.get("env", [])}

        name = "PINPOINT_EXPORTER_TARGETS"
        self.assertIn("123456789012", variables({})[name])
        file = "/etc/pinpoint-exporter/targets/targets"
        reference = {"valueFrom": {"secretKeyRef": {"name": "a", "key": "b"}}}
        for values, expected in [
            ({"targetsFile": {"content": "a/b"}}, {f"{name}_FILE": file}),
            ({"targetsFile": {"existingConfigMap": "a"}}, {f"{name}_FILE": file}),
            ({"targetsFile": {"content": ["a/b"]}, "settings": {"TARGETS": "c/d"}}, {name: "c/d", f"{name}_FILE": file}),
            ({"settings": {"TARGETS_FILE": "/a"}}, {f"{name}_FILE": "/a"}),
            ({"extraEnv": [{"name": name, **reference}]}, {name: "from elsewhere"}),
            ({"settings": {"TARGETS": None}, "extraEnvFrom": [{"secretRef": {"name": "a"}}]}, {}),
        ]:
            with self.subTest(values=values):
                self.assertEqual(variables(values), expected)

    def test_the_definitions_of_kubernetes_are_the_api_servers(self):
        self.assertEqual((CHART / "values.schema.json").read_text(), whole_schema())

    def test_the_settings_are_those_of_the_exporter(self):
        table = re.search("<!-- settings -->(.*)<!-- /settings -->", (ROOT / "docs/SETTINGS.md").read_text(), re.DOTALL)[1]
        known = set(re.findall(r"^\| `([A-Z_]+)` ", table, re.MULTILINE))
        schema = json.loads((CHART / "values.schema.json").read_text())
        self.assertEqual(set(schema["properties"]["settings"]["properties"]) | {"WEB_CONFIG_FILE"}, known)

    def test_the_exporter_takes_the_environment_and_the_web_config_that_it_gets(self):
        """Each container's variables, but for those from Secrets, given to `plan`, which reads all settings."""
        with_web_config = set()
        for case in CASES:
            with self.subTest(case.name), tempfile.TemporaryDirectory() as folder:
                made = objects(rendered(case))
                variables = {each["name"]: each["value"] for each in pod(made)["containers"][0].get("env", [])
                             if "value" in each}
                variables.pop("AWS_CA_BUNDLE", None)
                given = {"AWS_REGION": "eu-west-1", "HOSTNAME": "pinpoint-exporter-1", **variables}
                if file := given.get("PINPOINT_EXPORTER_TARGETS_FILE"):
                    mount(made, folder)
                    given["PINPOINT_EXPORTER_TARGETS_FILE"] = in_folder(file, folder)
                elif "PINPOINT_EXPORTER_TARGETS" not in given:
                    # From a Secret or a ConfigMap.
                    given["PINPOINT_EXPORTER_TARGETS"] = "APP/SEGMENT"
                if file := given.get("PINPOINT_EXPORTER_WEB_CONFIG_FILE"):
                    with_web_config.add(case.name)
                    given["PINPOINT_EXPORTER_WEB_CONFIG_FILE"] = in_folder(file, folder)
                    # It does read it.
                    self.assertIn("WEB_CONFIG_FILE", self.plan(given, status=64))
                    mount(made, folder)
                self.plan(given, status=0)
        self.assertEqual(with_web_config, {"probes", "web-config", "web-config-secret"})

    def plan(self, environment, status):
        ended = subprocess.run(
            [EXPORTER, "plan", "--offline", "--segments", "10"],
            capture_output=True, text=True, timeout=HANG_LIMIT, env=environment)
        self.assertEqual(ended.returncode, status, ended.stderr)
        return ended.stderr


class Manifests(unittest.TestCase):
    """deploy/kubernetes: the default values, rendered, for those without Helm."""

    def test_they_are_what_the_chart_renders(self):
        text = template()
        # They are not Helm's.
        text = re.sub(r"^ *(helm\.sh/chart|app\.kubernetes\.io/managed-by): .*\n", "", text, flags=re.MULTILINE)
        kept = {}
        for part in text.split("---\n")[1:]:
            source, manifest = re.match(r"# Source: pinpoint-exporter/templates/(\S+)\n(.*)", part, re.DOTALL).groups()
            if source.startswith("tests/"):
                continue
            kept[source.replace("workload", "deployment")] = manifest
        if UPDATE:
            for name, manifest in kept.items():
                (MANIFESTS / name).write_text(manifest)
        there = {path.name: path.read_text() for path in MANIFESTS.glob("*.yaml")}
        there.pop("kustomization.yaml")
        self.assertEqual(there, kept)

    def test_kustomize_builds_all_of_them(self):
        built = objects(run(TOOLS / "kustomize", MANIFESTS))
        kept = [each for path in MANIFESTS.glob("*.yaml") if path.name != "kustomization.yaml"
                for each in objects(path.read_text())]
        by_kind = lambda each: each["kind"]  # noqa: E731
        self.assertEqual(sorted(built, key=by_kind), sorted(kept, key=by_kind))
        self.assertEqual(findings(built), [[]] * len(built))

    def blocks(self):
        """The YAML of its README: a kustomization, and a scrape configuration."""
        return re.findall(r"```yaml\n(.*?)```", (MANIFESTS / "README.md").read_text(), re.DOTALL)

    def test_the_kustomization_of_the_readme_changes_what_it_says(self):
        with tempfile.TemporaryDirectory() as folder:
            (pathlib.Path(folder) / "pinpoint-exporter/deploy").mkdir(parents=True)
            # Kustomize takes no link that leads out of its folder.
            shutil.copytree(MANIFESTS, pathlib.Path(folder) / "pinpoint-exporter/deploy/kubernetes")
            (pathlib.Path(folder) / "kustomization.yaml").write_text(self.blocks()[0])
            built = objects(run(TOOLS / "kustomize", folder))
        self.assertEqual(findings(built), [[]] * len(built))
        (container,) = pod(built)["containers"]
        self.assertEqual(container["image"], "registry.example/pinpoint-exporter:0.1.0")
        self.assertEqual({each["name"]: each["value"] for each in container["env"]}, {
            "PINPOINT_EXPORTER_TARGETS": "6e0b7591a90841d2b5d93fa11143e5a7/*", "AWS_REGION": "eu-west-1"})
        (account,) = (each for each in built if each["kind"] == "ServiceAccount")
        self.assertIn("eks.amazonaws.com/role-arn", account["metadata"]["annotations"])

    def test_prometheus_takes_the_scrape_configuration_of_the_readme(self):
        with tempfile.TemporaryDirectory() as folder:
            config = pathlib.Path(folder) / "prometheus.yml"
            config.write_text(self.blocks()[1])
            # Debian's does not know Kubernetes.
            run(TOOLS / "promtool", "check", "config", config)


if __name__ == "__main__":
    unittest.main()
