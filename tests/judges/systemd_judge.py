"""systemd as the judge of the unit in deploy/systemd, and the exporter of the environment file beside it.

    .venv/bin/python tests/judges/systemd_judge.py target/debug/pinpoint-exporter
"""

import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

from limits import HANG_LIMIT

ROOT = pathlib.Path(__file__).parents[2]
EXPORTER = pathlib.Path(sys.argv.pop(1) if len(sys.argv) > 1 else "target/debug/pinpoint-exporter").resolve()
UNIT = ROOT / "deploy/systemd/pinpoint-exporter.service"
ENVIRONMENT = ROOT / "deploy/systemd/environment.example"


def analyze(text, *arguments):
    """systemd-analyze of a unit, with the program where this machine has it."""
    with tempfile.TemporaryDirectory() as folder:
        unit = pathlib.Path(folder) / UNIT.name
        unit.write_text(text.replace("/usr/local/bin/pinpoint-exporter", str(EXPORTER)))
        return subprocess.run(
            ["systemd-analyze", *arguments, unit], capture_output=True, text=True, timeout=HANG_LIMIT)


def exposure(text):
    return analyze(text, "security", "--offline=true", "--threshold=20", "--no-pager")


class Unit(unittest.TestCase):
    def test_systemd_finds_nothing_in_it(self):
        ended = analyze(UNIT.read_text(), "verify", "--man=no")
        self.assertEqual((ended.returncode, ended.stdout, ended.stderr), (0, "", ""))

    def test_it_finds_nothing_in_the_addition_of_the_readme_either(self):
        (addition,) = re.findall(r"```ini\n(.*?)```", (ROOT / "deploy/README.md").read_text(), re.DOTALL)
        ended = analyze(UNIT.read_text() + addition, "verify", "--man=no")
        self.assertEqual((ended.returncode, ended.stdout, ended.stderr), (0, "", ""))

    def test_systemd_finds_a_misspelt_key_and_a_wrong_value(self):
        for right, wrong, said in [
            ("RestartSec=", "RestartSecs=", "Unknown key 'RestartSecs'"),
            ("ProtectSystem=strict", "ProtectSystem=stricter", "stricter"),
        ]:
            with self.subTest(wrong):
                self.assertIn(right, UNIT.read_text())
                ended = analyze(UNIT.read_text().replace(right, wrong), "verify", "--man=no")
                self.assertIn(said, ended.stderr)

    def test_its_exposure_is_under_two(self):
        ended = exposure(UNIT.read_text())
        self.assertEqual(ended.returncode, 0, ended.stdout)
        self.assertLess(float(re.search(r"exposure level for \S+: (\d+\.\d+)", ended.stdout)[1]), 2.0)

    def test_without_its_restrictions_it_would_not_be(self):
        bare = re.sub(r"^(?!\[|ExecStart|$).*\n", "", UNIT.read_text(), flags=re.MULTILINE)
        self.assertNotEqual(exposure(bare).returncode, 0)


class Environment(unittest.TestCase):
    def test_the_exporter_takes_the_example_and_all_that_it_leaves_out(self):
        lines = ENVIRONMENT.read_text().splitlines()
        shown = dict(line.split("=", 1) for line in lines if re.match("[A-Z]", line))
        whole = shown | dict(line[1:].split("=", 1) for line in lines if re.match("#[A-Z_]+=", line))
        self.assertLess(len(shown), len(whole))
        for environment in (shown, whole):
            ended = subprocess.run(
                [EXPORTER, "plan", "--offline", "--segments", "10"],
                capture_output=True, text=True, timeout=HANG_LIMIT, env=environment)
            self.assertEqual((ended.returncode, ended.stderr), (0, ""))


if __name__ == "__main__":
    unittest.main()
