"""Runs the shell commands that the documentation shows.

    .venv/bin/python tests/judges/commands_judge.py target/debug/pinpoint-exporter target/debug/fake-pinpoint

Every command in a `sh` block of the pages below must be in one of the lists here: this judge runs it, `make` has its target,
another test runs it, or it is run by hand for the reason that the list states. A command is listed by its text, without
comments and line breaks.
"""

import functools
import hashlib
import http.server
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
import unittest

from limits import HANG_LIMIT

ROOT = pathlib.Path(__file__).parents[2]
sys.path.append(str(ROOT / "tests/live"))
from stack import ACCESS_KEY, Stack, ask, free_address, until  # noqa: E402

EXPORTER = pathlib.Path(sys.argv.pop(1) if len(sys.argv) > 1 else "target/debug/pinpoint-exporter").resolve()
FAKE = pathlib.Path(sys.argv.pop(1) if len(sys.argv) > 1 else "target/debug/fake-pinpoint").resolve()
PAGES = sorted({
    ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", ROOT / "grafana/README.md",
    *ROOT.glob("docs/*.md"), *ROOT.glob("deploy/**/README.md"),
})

# Run here, with the fake Pinpoint in place of AWS and a server on loopback in place of github.com.
RUN = {
    "VERSION=0.1.0 ARCH=amd64",
    'curl --fail --location --remote-name-all "https://github.com/pinpoint-exporter/pinpoint-exporter/releases/download/v$VERSION/'
    '{pinpoint-exporter-$VERSION.linux-$ARCH.tar.gz,SHA256SUMS}"',
    "sha256sum --check --ignore-missing SHA256SUMS",
    'tar xzf "pinpoint-exporter-$VERSION.linux-$ARCH.tar.gz"',
    "export AWS_REGION=eu-west-1 AWS_ACCESS_KEY_ID=… AWS_SECRET_ACCESS_KEY=…",
    "curl http://localhost:9787/metrics",
    "pinpoint-exporter check",
    "pinpoint-exporter plan",
    "pinpoint-exporter plan --offline --segments 5000 --applications 50 --jobs-per-segment 20",
    "promtool test rules tests/*.yaml",
}
# These serve until they are ended.
SERVE = {
    "PINPOINT_EXPORTER_TARGETS='6e0b7591a90841d2b5d93fa11143e5a7/*' pinpoint-exporter",
}
IMAGE = "make test-deploy: tests/judges/image_judge.py"
RELEASE = "make test-release: tests/judges/release_judge.py"
CHART = "needs a cluster; tests/judges/helm_judge.py renders the chart and checks it as the API server would"
CLUSTER = "by hand: needs a cluster"
SERVICE = "needs systemd as PID 1; tests/judges/systemd_judge.py checks the unit, make test-release installs the package"
ACCOUNT = "by hand: needs an AWS account"
UPLOAD = "needs an AWS account; tests/judges/ecs_judge.py uploads the same files to moto"
# Not run here, and why, or where instead.
ELSEWHERE = {
    "git clone https://github.com/pinpoint-exporter/pinpoint-exporter": "by hand: needs github.com",
    "cd pinpoint-exporter": "by hand: needs the clone",
    'sudo install -m 0755 "pinpoint-exporter-$VERSION.linux-$ARCH/pinpoint-exporter" /usr/local/bin/': "by hand: changes the machine",
    "sudo apt install ./pinpoint-exporter_0.1.0-1_amd64.deb": RELEASE,
    "sudo dnf install ./pinpoint-exporter-0.1.0-1.x86_64.rpm": RELEASE,
    "sudoedit /etc/pinpoint-exporter/environment": "by hand: opens an editor",
    "sudo systemctl daemon-reload": SERVICE,
    "sudo systemctl enable --now pinpoint-exporter": SERVICE,
    "sudo systemd-run --quiet --wait --pipe --property DynamicUser=yes --property EnvironmentFile=/etc/pinpoint-exporter/environment "
    "pinpoint-exporter check": SERVICE,
    "sudo install -D --mode 0755 target/release/pinpoint-exporter /usr/local/bin/pinpoint-exporter": IMAGE,
    "sudo install -D --mode 0644 deploy/systemd/pinpoint-exporter.service /etc/systemd/system/pinpoint-exporter.service": IMAGE,
    "sudo install -D --mode 0600 deploy/systemd/environment.example /etc/pinpoint-exporter/environment": IMAGE,
    "docker run --detach --name pinpoint-exporter --publish 127.0.0.1:9787:9787 "
    "--env PINPOINT_EXPORTER_TARGETS='6e0b7591a90841d2b5d93fa11143e5a7/*' --env AWS_REGION=eu-west-1 --env AWS_ACCESS_KEY_ID "
    "--env AWS_SECRET_ACCESS_KEY ghcr.io/pinpoint-exporter/pinpoint-exporter:0.1.0": IMAGE,
    "docker exec pinpoint-exporter /pinpoint-exporter check": IMAGE,
    "docker run --detach --name pinpoint-exporter --publish 127.0.0.1:9787:9787 --read-only --cap-drop ALL "
    "--security-opt no-new-privileges --env PINPOINT_EXPORTER_TARGETS='6e0b7591a90841d2b5d93fa11143e5a7/*' "
    "--env AWS_REGION=eu-west-1 --env AWS_ACCESS_KEY_ID --env AWS_SECRET_ACCESS_KEY "
    "ghcr.io/pinpoint-exporter/pinpoint-exporter:0.1.0": IMAGE,
    "docker compose --file deploy/compose/compose.yaml up": IMAGE,
    "docker compose --file deploy/compose/compose.yaml --file deploy/compose/build.yaml up --build": IMAGE,
    "helm install pinpoint-exporter oci://ghcr.io/pinpoint-exporter/pinpoint-exporter/charts/pinpoint-exporter --version 0.1.0 "
    "--namespace monitoring --create-namespace --set-string settings.TARGETS='6e0b7591a90841d2b5d93fa11143e5a7/*' "
    "--set aws.region=eu-west-1": CHART,
    "helm install pinpoint-exporter oci://ghcr.io/pinpoint-exporter/pinpoint-exporter/charts/pinpoint-exporter "
    "--namespace monitoring --create-namespace --values my-values.yaml": CHART,
    "helm test pinpoint-exporter --namespace monitoring --logs": CLUSTER,
    "kubectl create namespace monitoring": CLUSTER,
    "kubectl apply --kustomize .": "needs a cluster; tests/judges/helm_judge.py builds it with kustomize",
    "kubectl --namespace monitoring exec deployment/pinpoint-exporter -- /pinpoint-exporter check": CLUSTER,
    "kubectl --namespace monitoring port-forward service/pinpoint-exporter 9787 &": CLUSTER,
    "kubectl --namespace monitoring create configmap pinpoint-targets --from-file targets": CLUSTER,
    "fill() { sed -e s/REGION/eu-west-1/ -e s/ACCOUNT/123456789012/ -e s/APP/6e0b7591a90841d2b5d93fa11143e5a7/ \"$1\"; }": ACCOUNT,
    'aws iam create-role --role-name pinpoint-exporter --assume-role-policy-document "$(fill trust/ecs.json)"': ACCOUNT,
    "aws iam put-role-policy --role-name pinpoint-exporter --policy-name read-export-jobs "
    '--policy-document "$(fill segments-of-an-application.json)"': ACCOUNT,
    "aws cloudformation deploy --stack-name pinpoint-exporter --template-file cloudformation.yaml --capabilities CAPABILITY_IAM "
    "--parameter-overrides Watch=segments-of-an-application ApplicationId=6e0b7591a90841d2b5d93fa11143e5a7 Cluster=default "
    "VpcId=vpc-0123456789abcdef0 Subnets=subnet-0123456789abcdef0,subnet-0fedcba9876543210":
        "needs an AWS account; tests/judges/ecs_judge.py resolves the template",
    'aws logs tail --follow "$(aws cloudformation describe-stacks --stack-name pinpoint-exporter '
    "--query 'Stacks[0].Outputs[?OutputKey==`LogGroupName`].OutputValue' --output text)\"": ACCOUNT,
    "aws amp create-rule-groups-namespace --workspace-id ws-01234567-89ab-cdef-0123-456789abcdef --name pinpoint "
    "--data fileb://../prometheus/rules/pinpoint.yaml": UPLOAD,
    "aws amp create-rule-groups-namespace --workspace-id ws-01234567-89ab-cdef-0123-456789abcdef --name pinpoint-settings "
    "--data fileb://../prometheus/rules/pinpoint-settings.yaml": UPLOAD,
    'docker run --rm --network host --volume "$PWD/collector.yaml:/etc/otelcol-contrib/config.yaml:ro" '
    "--env OTLP_ENDPOINT=http://localhost:4318 docker.io/otel/opentelemetry-collector-contrib:0.120.0":
        "by hand: needs the image; tests/judges/ecs_judge.py checks the file",
    "promtool check config /etc/prometheus/prometheus.yml": "tests/judges/alerts_judge.py, with the file of deploy/prometheus",
    "sudo systemctl reload prometheus": "by hand: needs Prometheus as a service",
    "amtool check-config alertmanager.yml": "tests/judges/alerts_judge.py",
    "curl -X POST http://localhost:9093/-/reload": "by hand: needs Alertmanager",
    'git tag --sign v0.1.0 --message "Release 0.1.0"': "by hand: makes a release",
    "git push origin v0.1.0": "by hand: makes a release",
    "cosign verify-blob SHA256SUMS --bundle SHA256SUMS.sigstore.json --certificate-identity-regexp "
    "'^https://github.com/pinpoint-exporter/pinpoint-exporter/' --certificate-oidc-issuer "
    "https://token.actions.githubusercontent.com": "by hand: needs a published release",
    "gh attestation verify pinpoint-exporter_0.1.0-1_amd64.deb --repo pinpoint-exporter/pinpoint-exporter":
        "by hand: needs a published release",
    "cp provisioning/dashboards/pinpoint.yaml /etc/grafana/provisioning/dashboards/": "by hand: changes the machine",
    "cp provisioning/datasources/prometheus.yaml /etc/grafana/provisioning/datasources/": "by hand: changes the machine",
    "mkdir -p /var/lib/grafana/dashboards/pinpoint": "by hand: changes the machine",
    "cp dashboards/*.json /var/lib/grafana/dashboards/pinpoint/": "by hand: changes the machine",
    "systemctl restart grafana-server": "by hand: changes the machine",
}


def commands(block):
    """The commands of a block, one for each line that is not continued, without comments."""
    joined = re.sub(r" *\\\n *", " ", block)
    lines = (re.sub(r"(^|\s+)#.*$", "", line).strip() for line in joined.splitlines())
    return [line for line in lines if line]


@functools.cache
def blocks():
    """(page, commands) for each shell block. A block in a list is indented."""
    found = []
    for page in PAGES:
        for block in re.findall(r"^ *```(?:sh|bash|shell|console)\n(.*?)^ *```", page.read_text(), re.MULTILINE | re.DOTALL):
            found.append((page, commands(block)))
    return found


class Listed(unittest.TestCase):
    def test_every_command_of_the_documentation_is_run_or_has_a_reason(self):
        targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
        self.assertGreater(len(blocks()), 10)
        for page, found in blocks():
            for command in found:
                with self.subTest(page=str(page.relative_to(ROOT)), command=command):
                    if made := re.fullmatch(r"(?:sudo )?make ([a-z-]+)", command):
                        self.assertIn(made[1], targets, "there is no such target in the Makefile")
                    else:
                        self.assertTrue(
                            command in RUN | SERVE or command in ELSEWHERE,
                            "unknown command: add its text to a list in tests/judges/commands_judge.py")

    def test_every_command_of_the_lists_is_in_the_documentation(self):
        shown = {command for _, found in blocks() for command in found}
        self.assertEqual(sorted((RUN | SERVE | set(ELSEWHERE)) - shown), [])

    def test_every_test_that_the_list_names_exists(self):
        named = {name for reason in ELSEWHERE.values() for name in re.findall(r"tests/\S+\.py", reason)}
        self.assertGreater(len(named), 3)
        for name in named:
            self.assertTrue((ROOT / name).is_file(), name)


class Run(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = cls.enterClassContext(Stack(FAKE, EXPORTER))
        # README's example is in another region than the fake's default.
        cls.fake = cls.stack.fake("--region", "eu-west-1")
        cls.exporter = cls.stack.exporter(cls.fake, AWS_REGION="eu-west-1", TARGETS="6e0b7591a90841d2b5d93fa11143e5a7/*")
        folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        cls.programs = folder / "programs"
        cls.programs.mkdir()
        (cls.programs / "pinpoint-exporter").symlink_to(EXPORTER)
        cls.release = make_release(folder / "github.com")
        cls.server = cls.enterClassContext(http.server.ThreadingHTTPServer(
            ("127.0.0.1", 0), functools.partial(Quiet, directory=folder / "github.com")))
        threading.Thread(target=cls.server.serve_forever, daemon=True).start()
        cls.addClassCleanup(cls.server.shutdown)

    def script(self, lines):
        """The commands with addresses and keys of this test in place of those of the documentation."""
        text = "\n".join(["set -eu", *lines])
        for was, here in {
            "http://localhost:9787": self.exporter.url,
            "https://github.com": "http://{}:{}".format(*self.server.server_address),
            "AWS_ACCESS_KEY_ID=…": f"AWS_ACCESS_KEY_ID={ACCESS_KEY['access_key_id']}",
            "AWS_SECRET_ACCESS_KEY=…": f"AWS_SECRET_ACCESS_KEY={ACCESS_KEY['secret_access_key']}",
        }.items():
            text = text.replace(was, here)
        return text

    def environment(self, folder):
        return {
            "PATH": f"{self.programs}:{os.environ['PATH']}", "HOME": folder, "NO_PROXY": "*",
            "AWS_EC2_METADATA_DISABLED": "true", "AWS_REGION": "eu-west-1", "AWS_ENDPOINT_URL_PINPOINT": self.fake.url,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY["access_key_id"], "AWS_SECRET_ACCESS_KEY": ACCESS_KEY["secret_access_key"],
            "PINPOINT_EXPORTER_TARGETS": "6e0b7591a90841d2b5d93fa11143e5a7/*",
        }

    def test_the_commands_succeed_in_the_order_of_their_block(self):
        ran = set()
        for page, found in blocks():
            lines = [command for command in found if command in RUN]
            # Variables alone are for a program that serves, which the next test runs.
            if all(line.startswith("export ") for line in lines) or set(lines) <= ran:
                continue
            ran |= set(lines)
            with self.subTest(page=str(page.relative_to(ROOT)), commands=lines), tempfile.TemporaryDirectory() as folder:
                if page.parent != ROOT:
                    shutil.copytree(page.parent, folder, dirs_exist_ok=True)
                # The page of releases verifies what the README has downloaded.
                if lines[0].startswith("sha256sum"):
                    shutil.copytree(self.release, folder, dirs_exist_ok=True)
                ended = subprocess.run(
                    ["bash", "-c", self.script(lines)], cwd=folder, env=self.environment(folder), capture_output=True, text=True,
                    timeout=HANG_LIMIT)
                self.assertEqual(ended.returncode, 0, ended.stdout + ended.stderr)
                self.assertNotEqual(ended.stdout + ended.stderr, "")
        self.assertGreaterEqual(len(ran), 3)

    def test_the_commands_that_serve_are_scraped_and_end_on_a_signal(self):
        ran = 0
        for page, found in blocks():
            lines = [command for command in found if command in RUN | SERVE and not command.startswith("curl")]
            if not set(lines) & SERVE:
                continue
            ran += 1
            address = free_address()
            with self.subTest(page=str(page.relative_to(ROOT)), commands=lines), tempfile.TemporaryDirectory() as folder:
                variables = {**self.environment(folder), "PINPOINT_EXPORTER_LISTEN_ADDRESS": address}
                self.scrape_and_end(["bash", "-c", self.script(lines)], variables, folder, address)
        self.assertGreaterEqual(ran, 1)

    def test_the_demo_serves_and_leaves_nothing_behind(self):
        fake, exporter, prometheus = (free_address() for _ in range(3))
        with tempfile.TemporaryDirectory() as folder:
            variables = {
                # A make that runs this judge passes its own variables on, which change what the demo's make prints.
                **{name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")},
                "TMPDIR": folder, "CARGO_TARGET_DIR": str(EXPORTER.parents[1]), "FAKE_PORT": fake.split(":")[1],
                "EXPORTER_PORT": exporter.split(":")[1], "PROMETHEUS_PORT": prometheus.split(":")[1],
            }
            output = self.scrape_and_end(["make", "demo"], variables, ROOT, exporter, until_printed="Ctrl-C ends it.")
            until(lambda: not os.listdir(folder), lambda: f"left behind: {os.listdir(folder)}")
        first = output.splitlines()[0]
        self.assertIn("The first time takes a minute or two", first)
        # cargo's own lines, which --quiet would hide.
        self.assertIn("Finished", output)
        self.assertIn(f"http://{prometheus}/graph", output)

    def test_the_demo_says_what_is_missing(self):
        """Without cargo it says so; without Prometheus it runs and says how to get it."""
        needed = ["sh", "dirname", "cat", "rm", "mktemp", "env", "sleep", "make"]
        with tempfile.TemporaryDirectory() as folder:
            programs = pathlib.Path(folder) / "bin"
            programs.mkdir()
            for name in needed:
                (programs / name).symlink_to(shutil.which(name))
            ended = subprocess.run(
                ["demo/run"], cwd=ROOT, env={"PATH": str(programs)}, capture_output=True, text=True, timeout=HANG_LIMIT)
            self.assertEqual((ended.returncode, ended.stdout), (69, ""))
            self.assertIn("needs cargo: install Rust from https://rustup.rs", ended.stderr)
            for name in ["cargo", "cc", "curl"]:
                (programs / name).write_text(f'#!/bin/sh\nPATH=$REAL_PATH exec {shutil.which(name)} "$@"\n')
                (programs / name).chmod(0o755)
            fake, exporter = free_address(), free_address()
            variables = {
                "PATH": str(programs), "REAL_PATH": os.environ["PATH"], "HOME": os.environ["HOME"],
                "CARGO_TARGET_DIR": str(EXPORTER.parents[1]), "FAKE_PORT": fake.split(":")[1],
                "EXPORTER_PORT": exporter.split(":")[1],
                **{name: value for name, value in os.environ.items() if name in ("CARGO_HOME", "RUSTUP_HOME")},
            }
            output = self.scrape_and_end(["demo/run"], variables, ROOT, exporter, until_printed="Ctrl-C ends it.")
            self.assertIn("apt install prometheus", output)

    def scrape_and_end(self, command, variables, folder, address, until_printed=""):
        """Starts a command, scrapes what it serves, ends it with SIGTERM, and returns what it printed."""
        with tempfile.TemporaryFile("w+") as log:
            process = subprocess.Popen(
                command, cwd=folder, env=variables, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)

            def printed():
                log.seek(0)
                return log.read()

            def metrics():
                if process.poll() is not None:
                    raise AssertionError(f"{command} ended with {process.returncode}:\n{printed()}")
                found = answers(address)
                return found if until_printed in printed() else ""

            try:
                found = until(metrics, printed)
                self.assertRegex(found, r"(?m)^pinpoint_target_up\{.*\} 1$")
                os.killpg(process.pid, signal.SIGTERM)
                process.wait(HANG_LIMIT)
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait(HANG_LIMIT)
            until(lambda: not answers(address), lambda: f"{command} has ended, but {address} still answers")
            return printed()


def answers(address):
    """What is scraped from an address; nothing if nobody listens there."""
    try:
        return ask("GET", f"http://{address}/metrics")
    except OSError:
        return ""


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def make_release(site):
    """Puts a release with an archive and its checksums into the folder of a web server. Returns the release's folder."""
    release = site / "pinpoint-exporter/pinpoint-exporter/releases/download/v0.1.0"
    release.mkdir(parents=True)
    name = "pinpoint-exporter-0.1.0.linux-amd64"
    with tarfile.open(release / f"{name}.tar.gz", "w:gz") as archive:
        archive.add(ROOT / "README.md", f"{name}/README.md")
    digest = hashlib.sha256((release / f"{name}.tar.gz").read_bytes()).hexdigest()
    (release / "SHA256SUMS").write_text(f"{digest}  {name}.tar.gz\n")
    return release


if __name__ == "__main__":
    unittest.main()
