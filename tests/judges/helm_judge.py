"""Helm, and what the API server would say, as judges of the chart in deploy/helm and of deploy/kubernetes.

    .venv/bin/python tests/judges/helm_judge.py target/debug/pinpoint-exporter target/tools

The second argument is the folder with the programs of tests/tools. Each folder in tests/judges/helm holds values and
what the chart makes of them; UPDATE=1 writes that anew, and deploy/kubernetes too.
"""

import copy
import functools
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import unittest

import yaml

from limits import HANG_LIMIT

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
# What the chart takes from elsewhere in the repository, and therefore is not kept again in the renderings.
RULES = ROOT / "deploy/prometheus/rules/pinpoint.yaml"
DASHBOARDS = sorted((ROOT / "grafana/dashboards").glob("*.json"))


def run(program, *arguments, text=None, status=0):
    """The output of a program, which has to end with the status."""
    ended = subprocess.run(
        [str(program), *map(str, arguments)], input=text, capture_output=True, text=True, timeout=HANG_LIMIT)
    if (ended.returncode == 0) != (status == 0):
        raise AssertionError(f"{program} {arguments}: status {ended.returncode}\n{ended.stdout}\n{ended.stderr}")
    return ended.stdout if status == 0 else ended.stderr


def helm(*arguments, text=None, status=0):
    return run(TOOLS / "helm", *arguments, text=text, status=status)


def template(values="", chart=CHART, status=0):
    """What the chart makes of values, given as YAML."""
    return helm("template", "pinpoint-exporter", chart, "--namespace", "monitoring", "--kube-version", KUBERNETES,
                "--values", "-", text=values, status=status)


@functools.cache
def rendered(case):
    return template((case / "values.yaml").read_text())


def objects(text):
    return [each for each in yaml.safe_load_all(text) if each]


@functools.cache
def definitions():
    """Files of the Prometheus operator's CustomResourceDefinitions, from its Go module, which Go verifies."""
    module = json.loads(run("go", "mod", "download", "-json", OPERATOR))
    crds = pathlib.Path(module["Dir"]) / "example/prometheus-operator-crd"
    return [crds / f"monitoring.coreos.com_{kind}.yaml" for kind in ("servicemonitors", "prometheusrules")]


def findings(manifests):
    """What the API server would say to each."""
    return json.loads(run(TOOLS / "judge", *definitions(), text=json.dumps(manifests)))


def abridged(text):
    """With the path of a file of the repository in place of its text, as the chart indents it."""
    for file, indent in [(RULES, 2), *((dashboard, 4) for dashboard in DASHBOARDS)]:
        lines = file.read_text().strip().splitlines()
        whole = "\n".join(" " * indent + line for line in lines)
        text = text.replace(whole, " " * indent + f"({file.relative_to(ROOT)})")
    return text


def pod(manifests):
    workload = next(each for each in manifests if each["kind"] in ("Deployment", "StatefulSet"))
    return workload["spec"]["template"]["spec"]


def in_folder(text, folder):
    """With the folder in place of the one that the container has."""
    return text.replace("/etc/pinpoint-exporter", folder)


def mount(manifests, folder):
    """Puts into the folder what the Pod has in its volumes: the chart's Secret, and those that users bring."""
    secrets = {each["metadata"]["name"]: each["stringData"] for each in manifests if each["kind"] == "Secret"}
    with tempfile.TemporaryDirectory() as made:
        certificate, key = (pathlib.Path(made) / name for name in ("tls.crt", "tls.key"))
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
            "-subj", "/CN=localhost", "-keyout", key, "-out", certificate)
        brought = {"tls.crt": certificate.read_text(), "tls.key": key.read_text()}
    brought["web-config.yaml"] = "tls_server_config: {cert_file: tls.crt, key_file: tls.key}"
    names = {each["name"]: each["secret"]["secretName"] for each in pod(manifests)["volumes"]}
    for each in pod(manifests)["containers"][0]["volumeMounts"]:
        at = pathlib.Path(in_folder(each["mountPath"], folder))
        at.mkdir(parents=True)
        for name, text in secrets.get(names[each["name"]], brought).items():
            (at / name).write_text(in_folder(text, folder))


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
            "ConfigMap", "Deployment", "NetworkPolicy", "PodDisruptionBudget", "PrometheusRule", "Secret", "Service",
            "ServiceAccount", "ServiceMonitor", "StatefulSet"})

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

    def test_rules_and_dashboards_are_the_very_files_of_the_repository(self):
        def made(case, kind):
            return [each for each in objects(rendered(CASES_FOLDER / case)) if each["kind"] == kind]

        (rule,) = made("operator", "PrometheusRule")
        *shipped, further = rule["spec"]["groups"]
        self.assertEqual(shipped, yaml.safe_load(RULES.read_text())["groups"])
        self.assertEqual(further["name"], "of-our-own")
        maps = {name: text for each in made("dashboards", "ConfigMap") for name, text in each["data"].items()}
        files = {f"pinpoint-{file.name}": file.read_text() for file in DASHBOARDS}
        self.assertEqual(len(files), 3)
        self.assertEqual(maps, files)

    def test_the_values_of_the_readme_make_what_the_api_server_would_take(self):
        blocks = re.findall(r"```yaml\n(# my-values.yaml.*?)```", (ROOT / "deploy/README.md").read_text(), re.DOTALL)
        self.assertEqual(len(blocks), 3)
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

    def test_the_notes_name_objects_that_are_there(self):
        """`helm template` leaves the notes out, so a ConfigMap shows them here."""
        with tempfile.TemporaryDirectory() as folder:
            chart = pathlib.Path(folder) / "chart"
            shutil.copytree(CHART, chart)
            notes = (chart / "templates/NOTES.txt").read_text()
            (chart / "templates/notes.yaml").write_text(
                '{{- define "notes" }}' + notes + "{{ end -}}\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: notes}\n"
                'data:\n  notes: |\n    {{- include "notes" . | nindent 4 }}\n')
            for name, scheme in [("default", "http"), ("shards", "http"), ("names", "http"), ("web-config", "https")]:
                with self.subTest(name):
                    made = objects(template((CASES_FOLDER / name / "values.yaml").read_text(), chart=chart))
                    (notes,) = (each["data"]["notes"] for each in made if each["metadata"]["name"] == "notes")
                    there = {(each["metadata"].get("namespace"), f"{each['kind'].lower()}/{each['metadata']['name']}"):
                             each for each in made}
                    named = re.findall(r"--namespace (\S+) (?:port-forward|exec) (\S+)", notes)
                    self.assertEqual(len(named), 2)
                    self.assertLessEqual(set(named), set(there))
                    port = there[named[0]]["spec"]["ports"][0]["port"]
                    self.assertIn(f" 9787:{port}\n  curl {scheme}://localhost:9787/metrics\n", notes)

    def test_the_package_renders_what_the_folder_does(self):
        with tempfile.TemporaryDirectory() as folder:
            helm("package", CHART, "--destination", folder)
            (package,) = pathlib.Path(folder).iterdir()
            for case in CASES:
                with self.subTest(case.name):
                    self.assertEqual(template((case / "values.yaml").read_text(), chart=package), rendered(case))

    def test_a_chart_without_the_files_of_its_repository_says_so(self):
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
        for values, place in [
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
            ({"settings": {"TARGETS": None}}, "'TARGETS'"),
            ({"settings": {"TARGETS": None, "TARGETS_FILE": ""}}, "/settings/TARGETS_FILE"),
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
        ]:
            with self.subTest(values=values):
                self.assertIn(place, template(json.dumps(values), status=1))

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
                variables = {each["name"]: each["value"] for each in pod(made)["containers"][0]["env"] if "value" in each}
                variables.pop("AWS_CA_BUNDLE", None)
                given = {"AWS_REGION": "eu-west-1", "HOSTNAME": "pinpoint-exporter-2", **variables}
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
