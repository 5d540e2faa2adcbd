"""The library with which Docker Compose reads its files as the judge of deploy/compose, promtool of its Prometheus.

    .venv/bin/python tests/judges/compose_judge.py target/debug/pinpoint-exporter target/tools
"""

import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

import yaml

from limits import HANG_LIMIT

ROOT = pathlib.Path(__file__).parents[2]
EXPORTER = pathlib.Path(sys.argv.pop(1) if len(sys.argv) > 1 else "target/debug/pinpoint-exporter").resolve()
TOOLS = pathlib.Path(sys.argv.pop(1) if len(sys.argv) > 1 else "target/tools").resolve()
FOLDER = ROOT / "deploy/compose"


def parse(file):
    return subprocess.run(
        [TOOLS / "compose", file], capture_output=True, text=True, timeout=HANG_LIMIT)


def mounts(service):
    return {pathlib.Path(each["source"]): pathlib.Path(each["target"]) for each in service.get("volumes", [])}


class Compose(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        parsed = parse(FOLDER / "compose.yaml")
        assert (parsed.returncode, parsed.stderr) == (0, ""), parsed.stderr
        cls.services = json.loads(parsed.stdout)["services"]

    def test_it_has_all_of_them(self):
        self.assertEqual(set(self.services), {"fake", "exporter", "prometheus", "alertmanager", "grafana"})

    def test_the_parser_finds_a_wrong_key_and_a_wrong_value(self):
        right = (FOLDER / "compose.yaml").read_text()
        for was, wrong, said in [
            ("read_only: true", "readonly: true", "readonly"),
            ("read_only: true", "read_only: [true]", "read_only"),
            ("depends_on: [fake]", "depends_on: [faked]", "faked"),
            ('"127.0.0.1:9090:9090"', '"127.0.0.1:9090:90900"', "90900"),
        ]:
            with self.subTest(wrong), tempfile.TemporaryDirectory() as folder:
                self.assertIn(was, right)
                file = pathlib.Path(folder) / "compose.yaml"
                file.write_text(right.replace(was, wrong))
                ended = parse(file)
                self.assertNotEqual(ended.returncode, 0)
                self.assertIn(said, ended.stderr)

    def test_every_path_that_it_mounts_or_builds_exists(self):
        for name, service in self.services.items():
            for source in mounts(service):
                with self.subTest(name, source=source):
                    self.assertTrue(source.exists())
                    self.assertTrue(source.is_relative_to(ROOT))
            if build := service.get("build"):
                with self.subTest(name):
                    dockerfile = (pathlib.Path(build["context"]) / build["dockerfile"]).read_text()
                    if "target" in build:
                        self.assertRegex(dockerfile, rf"(?m)^FROM .* AS {build['target']}$")

    def test_what_cargo_asks_for_is_in_the_context_of_the_builds(self):
        """A workspace with a member that .dockerignore leaves out cannot be built."""
        kept = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
        files = subprocess.run(
            ["git", "ls-files", *kept], cwd=ROOT, capture_output=True, text=True, timeout=HANG_LIMIT).stdout.splitlines()
        self.assertGreater(len(files), 20)
        with tempfile.TemporaryDirectory() as folder:
            for file in files:
                copy = pathlib.Path(folder) / file
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / file, copy)
            ended = subprocess.run(
                ["cargo", "metadata", "--locked", "--offline", "--no-deps", "--format-version", "1"],
                cwd=folder, capture_output=True, text=True, timeout=HANG_LIMIT)
        self.assertEqual(ended.returncode, 0, ended.stderr)

    def test_every_image_that_is_not_built_has_a_version(self):
        for name, service in self.services.items():
            with self.subTest(name):
                self.assertTrue("build" in service or re.search(r":v?\d+\.\d+\.\d+$", service["image"]))

    def test_ports_are_open_to_this_machine_alone(self):
        for name, service in self.services.items():
            for port in service["ports"]:
                with self.subTest(name, port=port):
                    self.assertEqual(port["host_ip"], "127.0.0.1")

    def test_the_exporter_takes_its_environment(self):
        ended = subprocess.run(
            [EXPORTER, "plan", "--offline", "--segments", "10"],
            capture_output=True, text=True, timeout=HANG_LIMIT, env=self.services["exporter"]["environment"])
        self.assertEqual((ended.returncode, ended.stderr), (0, ""))

    def test_prometheus_takes_its_files_as_they_are_mounted(self):
        with tempfile.TemporaryDirectory() as folder:
            for source, target in mounts(self.services["prometheus"]).items():
                at = pathlib.Path(folder) / target.relative_to("/")
                at.parent.mkdir(parents=True, exist_ok=True)
                at.symlink_to(source)
            file = pathlib.Path(folder) / "etc/prometheus/prometheus.yml"
            ended = subprocess.run(
                ["promtool", "check", "config", file], capture_output=True, text=True, timeout=HANG_LIMIT)
            self.assertEqual(ended.returncode, 0, ended.stderr)
            self.assertIn("2 rule files found", ended.stdout)

    def test_grafana_finds_prometheus_and_the_dashboards(self):
        grafana = self.services["grafana"]
        inside = {target: source for source, target in mounts(grafana).items()}
        provisioning = inside[pathlib.Path("/etc/grafana/provisioning")]
        (provider,) = yaml.safe_load((provisioning / "dashboards/pinpoint.yaml").read_text())["providers"]
        dashboards = inside[pathlib.Path(provider["options"]["path"])]
        self.assertEqual({path.name for path in dashboards.glob("*.json")},
                         {"export-jobs.json", "segment.json", "exporter.json"})
        (source,) = yaml.safe_load((provisioning / "datasources/prometheus.yaml").read_text())["datasources"]
        self.assertEqual(source["url"], "http://prometheus:9090")

    def test_prometheus_looks_for_services_that_are_there(self):
        config = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
        looked_for = [*config["scrape_configs"], *config["alerting"]["alertmanagers"]]
        for target in (target for each in looked_for for group in each["static_configs"] for target in group["targets"]):
            name, port = target.split(":")
            name = "prometheus" if name == "localhost" else name
            with self.subTest(target):
                self.assertIn(int(port), [each["target"] for each in self.services[name]["ports"]])


if __name__ == "__main__":
    unittest.main()
