"""lintian, rpmlint, dpkg, rpm, systemd, Helm, skopeo and qemu as the judges of the files that `make release` leaves in dist/.

    sudo .venv/bin/python tests/judges/release_judge.py target/debug/fake-pinpoint
"""

import contextlib
import hashlib
import json
import os
import pathlib
import platform
import posixpath
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import unittest
import urllib.request

from ports import free_port

ROOT = pathlib.Path(__file__).parents[2]
DIST = ROOT / "dist"
FAKE = pathlib.Path(sys.argv.pop(1) if len(sys.argv) > 1 else "target/debug/fake-pinpoint").resolve()
NAME = "pinpoint-exporter"
RULES = {f"rules/{file.name}" for file in (ROOT / "deploy/prometheus/rules").glob("*.yaml")}
# Of the machine that judges, by Debian's name and by rpm's.
HOST = {"x86_64": ("amd64", "x86_64"), "aarch64": ("arm64", "aarch64")}[platform.machine()]
EMULATORS = {"amd64": "qemu-x86_64-static", "arm64": "qemu-aarch64-static"}
LIMIT = 1200


def run(*command, check=True, **options):
    ended = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=LIMIT, **options)
    if check and ended.returncode != 0:
        raise AssertionError(f"{command}: status {ended.returncode}\n{ended.stdout[-4000:]}\n{ended.stderr[-4000:]}")
    return ended


def one(pattern):
    (file,) = (file for file in DIST.glob(pattern) if file.suffix != ".json")
    return file


def eventually(what):
    """What it gives, once it does not fail."""
    end = time.monotonic() + LIMIT
    while True:
        try:
            return what()
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)


def get(url):
    with urllib.request.urlopen(url, timeout=LIMIT) as answer:
        return answer.read().decode()


class Files(unittest.TestCase):
    def test_the_checksums_are_of_every_file(self):
        sums = dict(reversed(line.split("  ")) for line in (DIST / "SHA256SUMS").read_text().splitlines())
        self.assertEqual(set(sums), {file.name for file in DIST.iterdir()} - {"SHA256SUMS"})
        for name, digest in sums.items():
            self.assertEqual(hashlib.sha256((DIST / name).read_bytes()).hexdigest(), digest, name)

    def test_every_file_has_a_bill_of_materials_that_names_its_digest(self):
        files = [file for file in DIST.iterdir() if not file.name.endswith(".json") and file.name != "SHA256SUMS"]
        self.assertEqual(len(files), 9)
        for file in files:
            bill = json.loads((DIST / f"{file.name}.cdx.json").read_text())
            (digest,) = bill["metadata"]["component"]["hashes"]
            self.assertEqual(digest["content"], hashlib.sha256(file.read_bytes()).hexdigest())
            names = {component["name"] for component in bill["components"]}
            if file.suffix == ".tgz":
                self.assertEqual(names, {f"ghcr.io/{NAME}/{NAME}"})
            elif file.name.startswith("fake-pinpoint"):
                self.assertLessEqual({"fake-pinpoint", "hyper"}, names)
                self.assertNotIn("aws-sigv4", names)
            else:
                self.assertLessEqual({NAME, "hyper", "aws-sigv4"}, names, file)

    def test_an_archive_holds_what_an_installation_by_hand_needs(self):
        for arch in EMULATORS:
            with tarfile.open(one(f"*linux-{arch}.tar.gz")) as archive:
                members = {member.name.split("/", 1)[1]: member for member in archive if member.isfile()}
                texts = {name: archive.extractfile(member).read().decode() for name, member in members.items()
                         if name == "README.md" or name.startswith("docs/")}
            self.assertLessEqual({
                NAME, "README.md", "LICENSE", "CHANGELOG.md", f"{NAME}.1", f"{NAME}.service", "environment.example",
                "expected-intervals.example.yaml", "dashboards/export-jobs.json", "docs/SETTINGS.md",
            }, set(members))
            # What Prometheus loads when it reads every file of the folder.
            self.assertEqual({name for name in members if name.startswith("rules/")}, RULES)
            self.assertEqual(members[NAME].mode & 0o777, 0o755)
            self.assertEqual({(member.uid, member.gid) for member in members.values()}, {(0, 0)})
            self.look_at_links(texts)

    def look_at_links(self, texts):
        """That every relative link leads to another of these files."""
        self.assertGreater(len(texts), 10)
        for name, text in texts.items():
            links = [link for link in re.findall(r"\]\(([^)#\s]+)", text) if "://" not in link]
            self.assertEqual([link for link in links if posixpath.normpath(f"{posixpath.dirname(name)}/{link}".lstrip("/")) not in texts],
                             [], name)

    def test_the_manual_page_has_no_mistake(self):
        with tarfile.open(one(f"*linux-{HOST[0]}.tar.gz")) as archive:
            (page,) = (archive.extractfile(member).read() for member in archive if member.name.endswith(".1"))
        findings = run("mandoc", "-T", "lint", "-W", "warning,stop", input=page.decode(), check=False)
        self.assertEqual((findings.returncode, findings.stdout), (0, ""))
        self.assertIn("PINPOINT_EXPORTER_TARGETS", page.decode().replace("\\", ""))

    def test_the_chart_renders_without_a_checkout(self):
        with tempfile.TemporaryDirectory() as folder:
            chart = shutil.copy(one("*.tgz"), folder)
            with tarfile.open(chart) as archive:
                self.assertFalse([member.name for member in archive if not (member.isfile() or member.isdir())])
            rendered = run(ROOT / "target/tools/helm", "template", chart, "--kube-version", "1.30.0", "--set", "settings.TARGETS=app/*",
                           "--set", "aws.region=eu-west-1", "--set", "prometheusRule.enabled=true",
                           "--set", "dashboards.enabled=true").stdout
        self.assertIn("PinpointExportFailed", rendered)
        self.assertIn("kind: Deployment", rendered)


class Images(unittest.TestCase):
    def configurations(self, name):
        """The configuration of an image, by architecture, and its version."""
        archive = one(f"{name}-*.oci.tar")
        version = re.search(r"-(\d+\.\d+\.\d+)\.oci", archive.name)[1]
        with tempfile.TemporaryDirectory() as folder:
            with tarfile.open(archive) as opened:
                opened.extractall(folder, filter="data")
            run("skopeo", "copy", "--all", f"oci:{folder}:{version}", f"dir:{folder}/copied")

            def blob(descriptor):
                return json.loads((pathlib.Path(folder) / "blobs" / descriptor["digest"].replace(":", "/")).read_text())

            (index,) = json.loads((pathlib.Path(folder) / "index.json").read_text())["manifests"]
            found = {entry["platform"]["architecture"]: blob(blob(entry)["config"]) for entry in blob(index)["manifests"]}
        self.assertEqual({architecture: image["architecture"] for architecture, image in found.items()},
                         {architecture: architecture for architecture in EMULATORS})
        return version, [image["config"] for image in found.values()]

    def test_the_exporters_has_both_architectures_and_says_how_it_is_run(self):
        version, found = self.configurations(NAME)
        for image in found:
            self.assertEqual(image["User"], "65532:65532")
            self.assertEqual(image["Entrypoint"], [f"/{NAME}"])
            self.assertEqual(image["Healthcheck"]["Test"], ["CMD", f"/{NAME}", "healthcheck"])
            self.assertEqual(image["Labels"]["org.opencontainers.image.version"], version)

    def test_the_fakes_has_both_architectures_and_listens_for_other_containers(self):
        for image in self.configurations("fake-pinpoint")[1]:
            self.assertEqual(image["User"], "65532:65532")
            self.assertEqual(image["Entrypoint"], ["/fake-pinpoint"])
            self.assertEqual(image["Cmd"], ["--listen", "0.0.0.0:9788"])
            self.assertEqual(image["Labels"]["org.opencontainers.image.title"], "fake-pinpoint")


class Program(unittest.TestCase):
    def test_the_program_of_each_architecture_answers_a_scrape(self):
        port = free_port()
        fake = subprocess.Popen([FAKE, "--listen", f"127.0.0.1:{port}"], stdout=subprocess.DEVNULL)
        self.addCleanup(fake.wait)
        self.addCleanup(fake.kill)
        eventually(lambda: get(f"http://127.0.0.1:{port}/_fake/requests"))
        for arch, emulator in EMULATORS.items():
            with self.subTest(arch), tempfile.TemporaryDirectory() as folder:
                with tarfile.open(one(f"*linux-{arch}.tar.gz")) as archive:
                    archive.extractall(folder, filter="data")
                (program,) = pathlib.Path(folder).glob(f"*/{NAME}")
                self.assertNotIn("INTERP", run("readelf", "--program-headers", program).stdout)
                own = free_port()
                process = subprocess.Popen([*([] if arch == HOST[0] else [emulator]), program], env={
                    "PATH": os.environ["PATH"], "AWS_EC2_METADATA_DISABLED": "true", "AWS_REGION": "us-east-1",
                    # The key is the example of AWS's documentation.
                    "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
                    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
                    "AWS_ENDPOINT_URL_PINPOINT": f"http://127.0.0.1:{port}",
                    "PINPOINT_EXPORTER_TARGETS": "*/*", "PINPOINT_EXPORTER_SCRAPE_TIMEOUT": "1m",
                    "PINPOINT_EXPORTER_REQUEST_TIMEOUT": "1m",
                    "PINPOINT_EXPORTER_LISTEN_ADDRESS": f"127.0.0.1:{own}",
                }, stderr=subprocess.DEVNULL)
                try:
                    metrics = eventually(lambda: get(f"http://127.0.0.1:{own}/metrics"))
                    process.terminate()
                    self.assertEqual(process.wait(LIMIT), 0)
                finally:
                    process.kill()
                    process.wait()
                self.assertRegex(metrics, r"\npinpoint_target_up\{.*\} 1\n")


class Packages(unittest.TestCase):
    def test_lintian_finds_nothing(self):
        for package in DIST.glob("*.deb"):
            ended = run("lintian", "--fail-on", "error,warning", package, check=False)
            self.assertEqual((ended.returncode, ended.stdout), (0, ""))

    def test_rpmlint_finds_nothing(self):
        for package in DIST.glob("*.rpm"):
            ended = run("rpmlint", "--config", ROOT / "packaging/rpmlint.toml", package, check=False)
            self.assertRegex(ended.stdout, " 0 errors, 0 warnings")

    def test_dpkg_installs_upgrades_removes_and_purges_it(self):
        with system() as root:
            package = shutil.copy(one(f"*_{HOST[0]}.deb"), root)
            newer = rebuilt(package, root)

            def dpkg(*arguments):
                return run("chroot", root, "dpkg", *arguments)

            dpkg("--install", f"/{pathlib.Path(package).name}")
            self.look(root)
            environment = root / f"etc/{NAME}/environment"
            environment.write_text("PINPOINT_EXPORTER_TARGETS=own/*\n")
            dpkg("--install", f"/{newer.name}")
            self.assertEqual(environment.read_text(), "PINPOINT_EXPORTER_TARGETS=own/*\n")
            dpkg("--remove", NAME)
            self.assertFalse((root / f"usr/bin/{NAME}").exists())
            self.assertTrue(environment.exists(), "what the operator wrote stays until it is purged")
            dpkg("--purge", NAME)
            self.assertFalse([path for path in root.glob(f"**/{NAME}*") if root / "usr/share/doc" not in path.parents
                              and path.suffix != ".deb"])

    def test_rpm_installs_upgrades_and_removes_it(self):
        with system() as root:
            run("rpm", "--root", root, "--initdb")
            rpm = ["rpm", "--root", root, "--nodeps", "--noscripts"]
            package = one(f"*.{HOST[1]}.rpm")
            run(*rpm, "--install", package)
            self.look(root)
            run("rpm", "--root", root, "--verify", NAME, "--nodeps")
            environment = root / f"etc/{NAME}/environment"
            environment.write_text("PINPOINT_EXPORTER_TARGETS=own/*\n")
            run(*rpm, "--upgrade", "--force", package)
            self.assertEqual(environment.read_text(), "PINPOINT_EXPORTER_TARGETS=own/*\n")
            run("rpm", "--root", root, "--erase", "--nodeps", "--noscripts", NAME)
            self.assertFalse((root / f"usr/bin/{NAME}").exists())
            self.assertTrue((root / f"etc/{NAME}/environment.rpmsave").exists())

    def look(self, root):
        """That it is installed, not enabled, and that its program and unit are right."""
        program = run("chroot", root, f"/usr/bin/{NAME}", "--version")
        self.assertIn(NAME, program.stdout)
        self.assertEqual((root / f"etc/{NAME}/environment").stat().st_mode & 0o777, 0o600)
        self.assertFalse([*root.glob(f"etc/systemd/system/**/{NAME}.service")])
        self.assertEqual({f"rules/{file.name}" for file in (root / f"usr/share/{NAME}/rules").iterdir()}, RULES)
        self.assertTrue((root / f"usr/share/doc/{NAME}/docs/SETTINGS.md").exists())
        unit = root / f"usr/lib/systemd/system/{NAME}.service"
        ended = run("systemd-analyze", "verify", "--man=no", f"--root={root}", unit.name, check=False)
        findings = [line for line in ended.stderr.splitlines() if NAME in line]
        self.assertEqual(findings, [])


@contextlib.contextmanager
def system():
    """A small Debian in a folder of its own."""
    base = ROOT / "target/release-system"
    if not (base / "etc/debian_version").exists():
        shutil.rmtree(base, ignore_errors=True)
        base.parent.mkdir(exist_ok=True)
        run("debootstrap", "--variant=minbase", "--include=systemd,procps", "bookworm", base)
    with tempfile.TemporaryDirectory(dir=base.parent) as folder:
        root = pathlib.Path(folder) / "root"
        run("cp", "--archive", base, root)
        yield root


def rebuilt(package, root):
    """The package with a higher version."""
    with tempfile.TemporaryDirectory() as folder:
        run("dpkg-deb", "--raw-extract", package, folder)
        control = pathlib.Path(folder) / "DEBIAN/control"
        control.write_text(re.sub(r"^Version: .*$", "Version: 999.0.0-1", control.read_text(), flags=re.MULTILINE))
        newer = root / "newer.deb"
        run("dpkg-deb", "--build", "--root-owner-group", folder, newer)
        return newer


def setUpModule():
    if os.geteuid() != 0:
        raise SystemExit("debootstrap and chroot need root: sudo make test-release")
    if not DIST.is_dir():
        raise SystemExit("there is no dist/: run make release first")


if __name__ == "__main__":
    unittest.main(verbosity=2)
