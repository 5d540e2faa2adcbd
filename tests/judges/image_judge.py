"""buildah and podman as the judges of the Dockerfile: what its images hold, that they come out the same again, and that they
run with nothing, as the user that they name, also together as deploy/compose has them; and systemd as that of its unit.

    sudo .venv/bin/python tests/judges/image_judge.py

The base image is made here, of Debian's packages and this machine's Rust, since no registry of images is asked. It is kept,
with the images, in target/image.
"""

import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import socketserver
import subprocess
import tempfile
import threading
import time
import tomllib
import unittest
import urllib.request

from limits import HANG_LIMIT
from ports import free_port

ROOT = pathlib.Path(__file__).parents[2]
FOLDER = ROOT / "target/image"
# As build.yaml names them.
IMAGE, FAKE = "localhost/pinpoint-exporter", "localhost/fake-pinpoint"
DOCKERFILE = (ROOT / "Dockerfile").read_text()
BASE = re.search(r"^ARG RUST_IMAGE=(\S+)$", DOCKERFILE, re.MULTILINE)[1]
SUITE = BASE.rsplit("-", 1)[1]
SYSTEMD = "localhost/systemd"
REVISION, EPOCH = "0123456789ab", 1_780_000_000
MEGABYTES = 12
APP = "6e0b7591a90841d2b5d93fa11143e5a7"
# Of web configurations.
USER = "prometheus:correct horse"
# Known only to the DNS server below.
HOST = "pinpoint.test"
# Of a build, and of all else.
LONG = 3600


def run(*command, check=True, timeout=HANG_LIMIT, **options):
    ended = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=timeout, **options)
    if check and ended.returncode != 0:
        raise AssertionError(f"{command}: status {ended.returncode}\n{ended.stdout[-4000:]}\n{ended.stderr[-4000:]}")
    return ended


STORAGE = ["--root", FOLDER / "storage", "--runroot", FOLDER / "run"]


def buildah(*arguments, **options):
    return run("buildah", *STORAGE, *arguments, **options).stdout.strip()


def podman(*arguments, **options):
    return run("podman", *STORAGE, "--cgroup-manager", "cgroupfs", "--events-backend", "none", "--runtime", "runc",
               *arguments, **options)


def make(tag, packages, add=lambda folder: None):
    """An image of Debian's packages, and of what is added to them, unless it is there."""
    if run("buildah", *STORAGE, "inspect", "--type", "image", tag, check=False).returncode == 0:
        return
    with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
        run("debootstrap", "--variant=minbase", f"--include={packages}", SUITE, folder, timeout=LONG)
        add(pathlib.Path(folder))
        container = buildah("from", "scratch")
        buildah("add", "--quiet", container, folder, "/", timeout=LONG)
        buildah("config", "--env", "CARGO_HOME=/usr/local/cargo", "--env", "PATH=/usr/local/bin:/usr/bin:/bin", container)
        buildah("commit", "--quiet", "--rm", container, tag, timeout=LONG)


def add_rust(folder):
    toolchain = pathlib.Path(run("rustc", "--print", "sysroot", cwd=ROOT).stdout.strip())
    for part in ("bin", "lib"):
        shutil.copytree(toolchain / part, folder / "usr/local" / part, symlinks=True, dirs_exist_ok=True)


def build(tag, *arguments, context=ROOT):
    """Builds the Dockerfile without any cache but cargo's downloads."""
    # The CA certificates of this machine, which may have to trust a proxy.
    buildah("bud", "--isolation", "chroot", "--pull-never", "--format", "docker", "--network", "host",
            "--volume", "/etc/ssl/certs:/etc/ssl/certs:ro", "--build-arg", f"REVISION={REVISION}",
            "--build-arg", f"SOURCE_DATE_EPOCH={EPOCH}", "--timestamp", EPOCH, "--tag", tag, *arguments, context,
            timeout=LONG)


def setUpModule():
    if os.geteuid() != 0:
        raise SystemExit("debootstrap makes the base image, and that takes root: sudo make test-deploy")
    FOLDER.mkdir(parents=True, exist_ok=True)
    with timed("base images"):
        make(BASE, "gcc,libc6-dev,ca-certificates", add_rust)
        make(SYSTEMD, "systemd,systemd-sysv,dbus,curl")
    for tag, arguments in [(IMAGE, []), (FAKE, ["--target", "fake"])]:
        with timed(tag):
            build(tag, *arguments)


def write_web_config(folder, text=""):
    """TLS with a certificate for this machine, and a password; and what the text says of TLS besides."""
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
        "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
        "-keyout", folder / "tls.key", "-out", folder / "tls.crt")
    name, password = run("htpasswd", "-nbBC", "10", *USER.split(":")).stdout.strip().split(":")
    (folder / "web-config.yaml").write_text(
        f"tls_server_config:\n  cert_file: tls.crt\n  key_file: tls.key\n{text}basic_auth_users: {{{name}: {password}}}\n")


@contextlib.contextmanager
def timed(what):
    begin = time.monotonic()
    yield
    print(f"{what}: {time.monotonic() - begin:.0f} s", flush=True)


def get(url):
    with urllib.request.urlopen(url, timeout=HANG_LIMIT) as answer:
        return answer.read().decode()


def eventually(what):
    """What it gives, once it gives something and does not fail."""
    end = time.monotonic() + HANG_LIMIT
    while True:
        with contextlib.suppress(OSError):
            if found := what():
                return found
        if time.monotonic() > end:
            raise AssertionError("it did not come about")
        time.sleep(0.05)


class Names(socketserver.BaseRequestHandler):
    """A DNS server that knows one name: HOST is 127.0.0.1, and has no address of another kind."""

    KNOWN = b"".join(bytes([len(part)]) + part.encode() for part in HOST.split(".")) + b"\0"

    def handle(self):
        query, server = self.request
        end = query.index(b"\0", 12) + 1
        known = query[12:end] == self.KNOWN
        address = known and query[end:end + 2] == b"\0\1"
        header = query[:2] + (b"\x85\x80" if known else b"\x85\x83") + b"\0\1" + bytes([0, address]) + b"\0\0\0\0"
        answer = b"\xc0\x0c\0\1\0\1\0\0\0\0\0\4\x7f\0\0\1" if address else b""
        server.sendto(header + query[12:end + 4] + answer, self.client_address)


@contextlib.contextmanager
def names():
    # 127.0.0.53 may be systemd's.
    address = "127.0.0.9"
    with socketserver.UDPServer((address, 53), Names) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield address
        server.shutdown()


# As strict as a container can be: nothing to write, no capability, no way to get one.
STRICT = ["--read-only", "--read-only-tmpfs=false", "--cap-drop", "all", "--security-opt", "no-new-privileges"]
# Limits that every machine can give.
LIMITS = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"]


@contextlib.contextmanager
def container(image, *arguments, options=("--network", "host")):
    name = podman("run", "--detach", *STRICT, *LIMITS, *options, image, *arguments).stdout.strip()
    try:
        yield name
    finally:
        podman("rm", "--force", "--time", "0", name)


def process(name):
    """The process of a container, as this machine sees it."""
    return int(podman("inspect", "--format", "{{.State.Pid}}", name).stdout)


class Image(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        (cls.image,) = json.loads(podman("image", "inspect", IMAGE).stdout)

    def test_it_holds_the_program_and_a_ca_bundle_and_nothing_else(self):
        mounted = buildah("from", "--pull-never", IMAGE)
        self.addCleanup(buildah, "rm", mounted)
        root = pathlib.Path(buildah("mount", mounted))
        files = {str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir()}
        self.assertEqual(files, {"pinpoint-exporter", "etc/ssl/certs/ca-certificates.crt"})
        self.assertGreater((root / "etc/ssl/certs/ca-certificates.crt").read_text().count("BEGIN CERTIFICATE"), 50)
        program = root / "pinpoint-exporter"
        self.assertEqual((program.stat().st_mode & 0o777, int(program.stat().st_mtime)), (0o755, EPOCH))
        # Not linked to anything.
        self.assertNotIn("INTERP", run("readelf", "--program-headers", program).stdout)

    def test_it_is_small(self):
        print(f"image: {self.image['Size']} bytes", flush=True)
        self.assertLess(self.image["Size"], MEGABYTES * 1_000_000)

    def test_it_says_what_it_is_and_how_it_is_run(self):
        config = self.image["Config"]
        self.assertEqual(config["User"], "65532:65532")
        self.assertEqual(config["Entrypoint"], ["/pinpoint-exporter"])
        self.assertEqual(list(config["ExposedPorts"]), ["9787/tcp"])
        self.assertEqual(self.image["Healthcheck"]["Test"], ["CMD", "/pinpoint-exporter", "healthcheck"])
        version = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
        labels = {name.removeprefix("org.opencontainers.image."): value for name, value in config["Labels"].items()}
        self.assertLessEqual({
            "title": "pinpoint-exporter", "licenses": "Apache-2.0", "version": version, "revision": REVISION,
        }.items(), labels.items())
        self.assertLessEqual({"description", "url", "source", "documentation"}, labels.keys())

    def test_the_same_source_in_another_place_gives_the_same_image(self):
        with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
            for file in run("git", "ls-files", "-z", cwd=ROOT).stdout.split("\0")[:-1]:
                copy = pathlib.Path(folder) / file
                copy.parent.mkdir(parents=True, exist_ok=True)
                if (ROOT / file).is_file():
                    shutil.copyfile(ROOT / file, copy)
            build(f"{IMAGE}:again", context=folder)
        (again,) = json.loads(podman("image", "inspect", f"{IMAGE}:again").stdout)
        # All but the id: buildah writes its container's id and host name into what is hashed.
        for part in ("RootFS", "Config", "Healthcheck", "History", "Created", "Architecture", "Os", "Size"):
            with self.subTest(part):
                self.assertEqual(again[part], self.image[part])


class Container(unittest.TestCase):
    """The exporter's container on the fake's. It finds the fake by DNS, which a static program does by itself."""

    def setUp(self):
        stack = contextlib.ExitStack()
        self.addCleanup(stack.close)
        port, self.port = free_port(), free_port()
        resolver = stack.enter_context(names())
        stack.enter_context(container(FAKE, "--listen", f"127.0.0.1:{port}", "--region", "us-east-1"))
        eventually(lambda: get(f"http://127.0.0.1:{port}/_fake/requests"))
        # The key is the example of AWS's documentation.
        self.environment = ["--network", "host", "--dns", resolver]
        for variable in [
            f"PINPOINT_EXPORTER_TARGETS={APP}/*", f"PINPOINT_EXPORTER_LISTEN_ADDRESS=127.0.0.1:{self.port}",
            f"AWS_ENDPOINT_URL_PINPOINT=http://{HOST}:{port}", "AWS_REGION=us-east-1", "AWS_EC2_METADATA_DISABLED=true",
            "AWS_ACCESS_KEY_ID=AKIAIOSFODNN7EXAMPLE", "AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        ]:
            self.environment += ["--env", variable]
        self.name = stack.enter_context(container(IMAGE, options=self.environment))
        eventually(lambda: get(f"http://127.0.0.1:{self.port}/-/ready"))

    def healthy(self):
        return podman("healthcheck", "run", self.name, check=False).returncode == 0

    def test_it_shows_what_the_fake_has(self):
        metrics = get(f"http://127.0.0.1:{self.port}/metrics")
        up = re.findall(r"^pinpoint_target_up\{.*\} (\d)$", metrics, re.MULTILINE)
        self.assertGreater(len(up), 3, metrics)
        self.assertEqual(set(up), {"1"})
        self.assertRegex(metrics, rf'pinpoint_exporter_build_info\{{.*revision="{REVISION}"')

    def test_it_runs_as_its_user_with_nothing_to_write_and_no_capability(self):
        at = pathlib.Path(f"/proc/{process(self.name)}")
        status = dict(line.split(":\t", 1) for line in (at / "status").read_text().splitlines())
        self.assertEqual(status["Uid"].split(), ["65532"] * 4)
        self.assertEqual(status["Gid"].split(), ["65532"] * 4)
        self.assertEqual((int(status["CapPrm"], 16), int(status["CapBnd"], 16), status["NoNewPrivs"]), (0, 0, "1"))
        root = next(line.split() for line in (at / "mountinfo").read_text().splitlines() if line.split()[4] == "/")
        self.assertIn("ro", root[5].split(","))

    def test_it_is_healthy_and_no_longer_so_when_the_server_stops(self):
        self.judge_health()

    def test_so_it_is_behind_tls_a_password_and_client_certificates(self):
        """`healthcheck` has neither, and there is no shell to bring them."""
        clients = "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: tls.crt\n"
        environment = self.environment
        for text, to_nobody, to_the_user in [("", "401", "200"), (clients, "000", "000")]:
            with self.subTest(text), tempfile.TemporaryDirectory(dir=FOLDER) as folder, contextlib.ExitStack() as stack:
                folder = pathlib.Path(folder)
                write_web_config(folder, text)
                for path in (folder, *folder.iterdir()):
                    path.chmod(0o755)
                self.port = free_port()
                self.environment = [
                    *environment, "--env", f"PINPOINT_EXPORTER_LISTEN_ADDRESS=127.0.0.1:{self.port}",
                    "--volume", f"{folder}:/web:ro", "--env", "PINPOINT_EXPORTER_WEB_CONFIG_FILE=/web/web-config.yaml"]
                self.name = stack.enter_context(container(IMAGE, options=self.environment))
                eventually(self.healthy)

                def status(*options):
                    asked = run("curl", "--silent", "--noproxy", "*", "--cacert", folder / "tls.crt", "--output", os.devnull,
                                "--write-out", "%{http_code}", *options, f"https://127.0.0.1:{self.port}/-/healthy", check=False)
                    return asked.stdout

                self.assertEqual((status(), status("--user", USER)), (to_nobody, to_the_user))
                certificate = ["--cert", folder / "tls.crt", "--key", folder / "tls.key"]
                self.assertEqual(status("--user", USER, *certificate), "200")
                self.judge_health()

    def judge_health(self):
        self.assertTrue(self.healthy())
        server = process(self.name)
        os.kill(server, signal.SIGSTOP)
        # Three failures, from the end of the start period on.
        eventually(lambda: not self.healthy() and self.health() == "unhealthy")
        os.kill(server, signal.SIGCONT)
        self.assertTrue(self.healthy())
        self.assertEqual(self.health(), "healthy")
        # The same command beside a server that has ended.
        podman("stop", self.name)
        self.assertEqual(podman("inspect", "--format", "{{.State.ExitCode}}", self.name).stdout.strip(), "0")
        ended = podman("run", "--rm", *STRICT, *LIMITS, *self.environment, IMAGE, "healthcheck", check=False)
        self.assertEqual(ended.returncode, 1, ended.stderr)

    def health(self):
        """As podman keeps it."""
        return podman("inspect", "--format", "{{.State.Health.Status}}", self.name).stdout.strip()


class Together(unittest.TestCase):
    """The services of compose.yaml in one network, with the environment, command and mounts that it gives them. For the images
    that no registry gives here Debian's Prometheus and Alertmanager stand in; Grafana has no stand-in and is left out."""

    STAND_IN = {
        "prometheus": "prometheus --config.file=/etc/prometheus/prometheus.yml --storage.tsdb.path=/tmp",
        "alertmanager": "prometheus-alertmanager --config.file=/etc/alertmanager/alertmanager.yml --storage.path=/tmp"
                        " --cluster.listen-address=",
    }

    def start(self, stack, name, *options):
        service = self.services[name]
        options = list(options)
        for variable, value in service.get("environment", {}).items():
            options += ["--env", f"{variable}={value}"]
        for mount in service.get("volumes", []):
            options += ["--volume", f"{mount['source']}:{mount['target']}:ro"]
        if name in self.STAND_IN:
            command = self.STAND_IN[name].split()
            options += ["--tmpfs", "/tmp"]
            # The program, and the templates of Debian's Alertmanager.
            for path in (shutil.which(command[0]), "/usr/share/prometheus"):
                options += ["--volume", f"{path}:{path}:ro"]
            return stack.enter_context(container(SYSTEMD, *command, options=options))
        return stack.enter_context(container(service["image"], *service.get("command") or [], options=options))

    def ask(self, container, url):
        answer = podman("exec", container, "curl", "-sSf", url, check=False)
        if answer.returncode != 0:
            raise OSError(answer.stderr)
        return json.loads(answer.stdout)

    def test_prometheus_sees_the_jobs_and_alertmanager_hears_of_the_failed_one(self):
        parsed = run(ROOT / "target/tools/compose", *(ROOT / "deploy/compose" / name for name in ("compose.yaml", "build.yaml")))
        self.services = json.loads(parsed.stdout)["services"]
        with contextlib.ExitStack() as stack:
            hosts = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(dir=FOLDER))) / "hosts"
            hosts.write_text("".join(f"127.0.0.1 {name}\n" for name in ["localhost", *self.services]))
            names = ["--volume", f"{hosts}:/etc/hosts:ro"]
            network = [*names, "--network", f"container:{self.start(stack, 'fake', '--network', 'none', *names)}"]
            for name in ("exporter", "alertmanager"):
                self.start(stack, name, *network)
            prometheus = self.start(stack, "prometheus", *network)

            def failed():
                alerts = self.ask(prometheus, "http://alertmanager:9093/api/v2/alerts")
                return "PinpointExportFailed" in {each["labels"]["alertname"] for each in alerts}

            eventually(failed)
            query = "http://prometheus:9090/api/v1/query?query=pinpoint_target_up"
            up = [each["value"][1] for each in self.ask(prometheus, query)["data"]["result"]]
            self.assertGreater(len(up), 3)
            self.assertEqual(set(up), {"1"})


class Service(unittest.TestCase):
    """systemd itself runs the unit, installed as deploy/README.md says, beside the fake."""

    def test_the_lines_of_the_readme_lead_to_metrics(self):
        section = (ROOT / "deploy/README.md").read_text().split("\n## ")[1]
        _package, start, install = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
        # What root does here without `sudo`; the program is the image's; and an editor.
        install = install.replace("make build\n", "").replace("sudo ", "")
        edit = "sudoedit /etc/pinpoint-exporter/environment\n"
        self.assertIn(edit, start)
        settings = {
            "AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL_PINPOINT": "http://localhost:9788",
            "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE", "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        }
        written = "".join(f"echo '{name}={value}' >>/etc/pinpoint-exporter/environment\n" for name, value in settings.items())
        start = start.replace(edit, written).replace("sudo ", "").replace("curl ", "curl -sS --retry 20 --retry-connrefused ")

        mounted = buildah("from", "--pull-never", IMAGE)
        self.addCleanup(buildah, "rm", mounted)
        program = pathlib.Path(buildah("mount", mounted)) / "pinpoint-exporter"
        init = podman(
            "run", "--detach", "--systemd", "always", "--privileged", "--network", "none", *LIMITS,
            "--volume", f"{ROOT}/deploy:/repository/deploy:ro", "--volume", f"{program}:/repository/target/release/{program.name}:ro",
            "--workdir", "/repository", SYSTEMD, "/lib/systemd/systemd").stdout.strip()
        self.addCleanup(podman, "rm", "--force", "--time", "0", init)
        with container(FAKE, options=["--network", f"container:{init}"]):
            eventually(lambda: podman("exec", init, "systemctl", "is-system-running", check=False).returncode == 0)
            said = podman("exec", init, "sh", "-euc", install + start).stdout
            self.assertIn("Everything works", said)
            self.assertIn("pinpoint_target_up{", said)
            # The figures of the process need what the unit leaves it to see.
            for figure in ("process_start_time_seconds", "process_resident_memory_bytes", "process_open_fds"):
                self.assertIn(f"\n{figure} ", said)
            show = podman("exec", init, "systemctl", "show", "--property", "MainPID", "--value", "pinpoint-exporter").stdout
            status = podman("exec", init, "cat", f"/proc/{show.strip()}/status").stdout
            self.assertRegex(status, r"CapPrm:\t0+\n")
            self.assertRegex(status, r"NoNewPrivs:\t1\n")
            # The filter of system calls.
            self.assertRegex(status, r"Seccomp:\t2\n")
            self.protect(init)
            # Wrong settings: it is not started again.
            podman("exec", init, "sh", "-euc", "echo PINPOINT_EXPORTER_TARGETS= >>/etc/pinpoint-exporter/environment")
            podman("exec", init, "systemctl", "restart", "pinpoint-exporter")
            eventually(lambda: self.show(init) == "exit-code 64 0")

    def protect(self, init):
        """The addition of the README, with files that root alone may read."""
        (addition,) = re.findall(r"```ini\n(.*?)```", (ROOT / "deploy/README.md").read_text(), re.DOTALL)
        with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
            folder = pathlib.Path(folder)
            write_web_config(folder)
            for path in folder.iterdir():
                path.chmod(0o600)
                podman("cp", path, f"{init}:/etc/pinpoint-exporter/{path.name}")
            (folder / "override.conf").write_text(addition)
            at = "/etc/systemd/system/pinpoint-exporter.service.d"
            podman("exec", init, "mkdir", at)
            podman("cp", folder / "override.conf", f"{init}:{at}/override.conf")
        # Outside of containers systemd does so itself. Without it the services do not see the credentials that it mounts.
        podman("exec", init, "mount", "--make-rshared", "/")
        podman("exec", init, "sh", "-euc", "systemctl daemon-reload; systemctl restart pinpoint-exporter")
        curl = ["curl", "-sSf", "--retry", "20", "--retry-delay", "1", "--retry-connrefused",
                "--cacert", "/etc/pinpoint-exporter/tls.crt"]
        metrics = "https://localhost:9787/metrics"
        self.assertIn("pinpoint_target_up{", podman("exec", init, *curl, "--user", USER, metrics).stdout)
        self.assertIn("401", podman("exec", init, *curl, metrics, check=False).stderr)
        # The unit's filter leaves to the thread that looks at passwords how to yield the processor.
        command = "cat /proc/$(systemctl show --property MainPID --value pinpoint-exporter)/task/*/stat"
        stat = podman("exec", init, "sh", "-euc", command)
        niceness = [int(line.rsplit(") ", 1)[1].split()[16]) for line in stat.stdout.splitlines()]
        self.assertEqual(max(niceness) - min(niceness), 10)

    def show(self, init):
        shown = podman("exec", init, "systemctl", "show", "--property", "Result,ExecMainStatus,NRestarts", "pinpoint-exporter")
        found = dict(line.split("=", 1) for line in shown.stdout.splitlines())
        return f"{found['Result']} {found['ExecMainStatus']} {found['NRestarts']}"


if __name__ == "__main__":
    unittest.main()
