"""exporter-toolkit as the judge of the protected port: the program of tests/tools/toolkit is the same exporter on its library.

    python3 tests/judges/toolkit_judge.py target/debug/pinpoint-exporter target/debug/fake-pinpoint target/tools/toolkit

The files and clients of the toolkit's own tests must get the same answer from both, but for the differences that docs/PORT.md
lists. With `--measure` both are attacked instead, and the tables of docs/PORT.md are printed. Each attack lasts
ATTACK_SECONDS (30), over ATTACK_PROTOCOLS (HTTP/1.1,TLS,HTTP/2). Each start with passwords is repeated ATTACK_STARTS (3) times.
"""

import base64
import json
import multiprocessing
import os
import pathlib
import re
import select
import shutil
import socket
import ssl
import statistics
import sys
import threading
import time
import unittest

THIRD = 3 + ("--measure" in sys.argv)
TOOLKIT = sys.argv.pop(THIRD) if len(sys.argv) > THIRD else "target/tools/toolkit"

import web_config_judge as judge  # noqa: E402, it takes the other arguments
from limits import HANG_LIMIT, UNHURRIED  # noqa: E402

ROOT = pathlib.Path(__file__).parents[2]
SECONDS = float(os.environ.get("ATTACK_SECONDS", "30"))
STARTS = int(os.environ.get("ATTACK_STARTS", "3"))
ATTACKER, OTHER = "127.0.0.1", "127.0.0.2"
# Prometheus's default scrape timeout.
SCRAPE_LIMIT = 10
# MiB.
MEMORY_LIMIT = 64
PROTOCOLS = os.environ.get("ATTACK_PROTOCOLS", "HTTP/1.1,TLS,HTTP/2").split(",")
FORK = multiprocessing.get_context("fork")
setUpModule = judge.setUpModule


class Program:
    """The exporter, or the same on exporter-toolkit, with a web configuration or none. `port` is `None` if it refuses it."""

    def __init__(self, name, config=None, api="", jobs=1, descriptors=None):
        variables = {"AWS_EC2_METADATA_DISABLED": "true", "NO_PROXY": "*"}
        if name == "exporter":
            program = [judge.EXPORTER]
            variables |= {
                "AWS_REGION": "eu-west-1", "AWS_ENDPOINT_URL_PINPOINT": api or judge.WORLD_URL,
                "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
                "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "PINPOINT_EXPORTER_TARGETS": "app/seg",
                "PINPOINT_EXPORTER_CACHE_TTL": "0s", "PINPOINT_EXPORTER_LISTEN_ADDRESS": "127.0.0.1:0", **UNHURRIED,
            }
            if config:
                variables["PINPOINT_EXPORTER_WEB_CONFIG_FILE"] = config
        else:
            program = [TOOLKIT, "-config", config or "", "-jobs", str(jobs), "-api", (api or judge.WORLD_URL) + "/_fake/load"]
        limit = f"ulimit -n {descriptors};" if descriptors else ""
        self.process = judge.start(["/bin/sh", "-c", f'{limit} exec "$0" "$@"', *program], variables)
        self.log, self.port, address = "", None, None
        for line in self.process.stderr:
            self.log += line
            address = re.search(r"address=127\.0\.0\.1:(\d+)", line) or address
            if address and ("serving" in line or "TLS is" in line):
                self.port = int(address[1])
                break
        threading.Thread(target=self.process.stderr.read, daemon=True).start()

    def memory(self):
        """The most that it has had, in MiB."""
        lines = pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1]) / 1024

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def end(self):
        self.process.kill()
        self.process.wait()


# What the toolkit's tests say of a client, as options of curl.
CIPHERS = {
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA": "ECDHE-RSA-AES256-SHA",
}
CURVES = {"CurveP384": "P-384", "CurveP521": "P-521"}


class Case:
    """A row of the tables in the toolkit's tests."""

    def __init__(self, row, folder):
        def value(name, pattern):
            found = re.search(rf"\b{name}:\s+{pattern}", row)
            return found[1] if found else None

        self.name, self.folder = value("Name", r"[`\"](.*)[`\"],\n"), folder
        file = value("YAMLConfigPath", '"(.*)"')
        self.config = folder / file if file else None
        self.scheme = "https" if value("UseTLSClient", "(true)") else "http"
        self.requests = 1 + int(value("Requests", r"(\d+)") or 0)
        self.cipher = CIPHERS.get(value("ActualCipher", r"tls\.(\w+)"))
        # OpenSSL does not accept the certificate of their server.
        self.options = ["--insecure"]
        self.is_theirs = "ExpectedError" in row or "UseTLSClient" in row
        self.succeeds = value("ExpectedError", "(ErrorMap)") is None
        if value("ClientMaxTLSVersion", r"tls\.(VersionTLS11)"):
            self.options += ["--tlsv1.0", "--tls-max", "1.1", "--ciphers", "DEFAULT@SECLEVEL=0"]
        if suites := value("CipherSuites", r"\[\]uint16\{([^}]*)\}"):
            suites = re.findall(r"tls\.(\w+)", suites)
            self.options += ["--tls-max", "1.2", "--ciphers", ":".join(CIPHERS[suite] for suite in suites)]
        if curve := value("CurvePreferences", r"\[\]tls\.CurveID\{tls\.(\w+)\}"):
            self.options += ["--curves", CURVES[curve]]
        if user := value("Username", '"(.*)"'):
            self.options += ["--user", user + ":" + value("Password", '"(.*)"')]
        if certificate := value("ClientCertificate", '"(.*)"'):
            certificate = folder / "testdata" / certificate
            self.options += ["--cert", f"{certificate}.pem", "--key", f"{certificate}.key"]

    def outcome(self, name):
        """What becomes of the file, or else of the client."""
        program = Program(name, self.config)
        if program.port is None:
            program.end()
            return "the file is refused"
        for _ in range(self.requests):
            answer = judge.run("curl", "--silent", "--verbose", "--noproxy", "*", "--output", os.devnull, "--write-out",
                               "%{http_code}", *self.options, f"{self.scheme}://localhost:{program.port}/-/healthy")
            outcome = "TLS fails" if answer.stdout == b"000" else answer.stdout.decode()
            if outcome != "200":
                break
        program.end()
        if self.cipher:
            outcome += f" with {self.cipher in answer.stderr.decode()}"
        return outcome


def cases():
    """The rows of all tables of the toolkit's tests, and the files that no row names."""
    found = judge.run("go", "list", "-m", "-f", "{{.Dir}}", "github.com/prometheus/exporter-toolkit",
                      cwd=ROOT / "tests/tools/toolkit", check=True)
    source = pathlib.Path(found.stdout.decode().strip()) / "web"
    folder = judge.FOLDER / "toolkit"
    shutil.copytree(source / "testdata", folder / "testdata")
    for name in ["web_config_users.good.yml", "web_config_users_noTLS.good.yml"]:
        # The hash of one user takes ten seconds, and may stand for that of an unknown user.
        file = folder / "testdata" / name
        file.chmod(0o600)
        file.write_text(re.sub(r"\n +bob: .*", "", file.read_text()))
    tests = (source / "tls_config_test.go").read_text()
    rows = re.findall(r"^\t\t\{\n(\t\t\tName:.*?)^\t\t\},$", tests, re.MULTILINE | re.DOTALL)
    cases = [Case(row, folder) for row in rows]
    named = {case.config for case in cases}
    for file in sorted((folder / "testdata").glob("*.y*ml")):
        if file not in named:
            cases.append(Case(f'Name: "{file.name}",\nYAMLConfigPath: "testdata/{file.name}",', folder))
    return cases


def own_files():
    """Files about which the toolkit's tests are silent: a name and the text."""
    both = "  client_auth_type: RequireAndVerifyClientCert\n"
    text = {
        "http2: y": judge.TLS + "http_server_config:\n  http2: y\n",
        "http2: off": judge.TLS + "http_server_config:\n  http2: off\n",
        "http2 that is no boolean": judge.TLS + "http_server_config:\n  http2: maybe\n",
        "http2 in quotes": judge.TLS + 'http_server_config:\n  http2: "true"\n',
        "two documents": judge.TLS + "---\n" + judge.TLS,
        "one document with its markers": "---\n" + judge.TLS + "...\n",
        "a byte order mark": "\ufeff" + judge.TLS,
        "an alias": f"basic_auth_users:\n  a: &hash {judge.hashed(4)}\n  b: *hash\n",
        "cert beside cert_file": judge.TLS + "  cert: x\n",
        "no certificate in client_ca_file": judge.TLS + both + "  client_ca_file: server.key\n",
        "a section without fields": "tls_server_config:\n",
        "a section twice": judge.TLS + "tls_server_config: {}\n",
        "TLS 1.0": judge.TLS + "  min_version: TLS10\n",
        "X25519MLKEM768": judge.TLS + "  curve_preferences: [X25519MLKEM768]\n",
        "no cipher suite": judge.TLS + "  cipher_suites: []\n",
        "an interval of days": "rate_limit:\n  interval: 1d\n  burst: 9\n",
        "a negative burst": "rate_limit:\n  interval: 1s\n  burst: -1\n",
        "a hash of $2x$": f"basic_auth_users:\n  a: {judge.hashed(4).replace('$2y$', '$2x$')}\n",
        "a hash of $2$": f"basic_auth_users:\n  a: {judge.hashed(4).replace('$2y$', '$2$')}\n",
        "a hash that goes on": f"basic_auth_users:\n  a: {judge.hashed(4)}x\n",
        "a cost of 3": f"basic_auth_users:\n  a: {judge.hashed(4).replace('$04$', '$03$')}\n",
        "a cost of 19": f"basic_auth_users:\n  a: {judge.hashed(4).replace('$04$', '$19$')}\n",
        "an empty user": f'basic_auth_users:\n  "": {judge.hashed(4)}\n',
    }
    keys = {"RSA 1024": ["rsa:1024"], "RSA 4104": ["rsa:4104"], "P-521": ["ec", "-pkeyopt", "ec_paramgen_curve:secp521r1"],
            "P-384": ["ec", "-pkeyopt", "ec_paramgen_curve:secp384r1"], "Ed25519": ["ed25519"], "X.509 v1": ["rsa:2048"]}
    for name, key in keys.items():
        file = re.sub(r"\W", "", name)
        judge.openssl("req", "-newkey", *key, "-nodes", "-subj", "/CN=localhost", "-keyout", judge.FOLDER / f"{file}.key",
                      "-out", judge.FOLDER / "new.csr")
        extensions = [] if "v1" in name else ["-extfile", judge.FOLDER / "extension"]
        judge.openssl("x509", "-req", "-days", "2", "-in", judge.FOLDER / "new.csr", "-CA", judge.FOLDER / "ca.pem", "-CAkey",
                      judge.FOLDER / "ca.key", "-CAcreateserial", *extensions, "-out", judge.FOLDER / f"{file}.crt")
        text[name] = f"tls_server_config:\n  cert_file: {file}.crt\n  key_file: {file}.key\n"
    return text


# The cases whose outcome is another one here, and the row of docs/PORT.md that says so.
OLD_TLS = "TLS 1.0 and 1.1, cipher suites with CBC, the curve P-521, keys on P-521"
RSA = "RSA keys of 1024 bits, and of more than 4096 in the server's certificate or 8192 in a client's"
HASH = "bcrypt hashes that begin with `$2$`, or have more than 60 characters"
NO_AUTHORITY = "`RequireAndVerifyClientCert` without `client_ca_file`"
DIFFERENCES = {
    "valid tls config yml with all ciphers": OLD_TLS,
    "valid tls config yml with all curves": OLD_TLS,
    "valid tls config yml with some curves": OLD_TLS,
    "valid tls config yml with no common curves": OLD_TLS,
    "valid tls config yml with non-http2 ciphers but http2 enabled": "If the list of cipher suites lacks the one that HTTP/2",
    "valid rate limiter with an interval of one second": "A `burst` of 0",
    "web_config_auth_clientCAs_missing.bad.yml": NO_AUTHORITY,
    "web_config_noAuth.good.blocking.yml": NO_AUTHORITY,
    "http2 in quotes": "`true` and `false` in quotes",
    "two documents": "YAML aliases",
    "an alias": "YAML aliases",
    "cert beside cert_file": "`cert` beside `cert_file`",
    "no certificate in client_ca_file": "A `client_ca_file` without any certificate",
    "TLS 1.0": OLD_TLS,
    "an interval of days": "An `interval` in days",
    "a negative burst": "A `burst` of 0",
    "a hash of $2$": HASH,
    "a hash that goes on": HASH,
    "a cost of 19": "`min_version` above `max_version`; user names with a colon; bcrypt costs above 18",
    "RSA 1024": RSA,
    "RSA 4104": RSA,
    "P-521": OLD_TLS,
    "X.509 v1": "X.509 certificates of version 1",
}


@unittest.skipIf(judge.MEASURE, "this run measures")
class Judged(unittest.TestCase):
    def test_files_and_clients_meet_what_they_meet_with_the_toolkit_but_for_the_differences_that_are_documented(self):
        judged = cases()
        self.assertGreater(len(judged), 50)
        for name, text in own_files().items():
            (judge.FOLDER / f"{name}.yml").write_text(text)
            case = Case(f'Name: "{name}",\n', judge.FOLDER)
            case.config = judge.FOLDER / f"{name}.yml"
            judged.append(case)
        table = (ROOT / "docs/PORT.md").read_text()
        found = {}
        for case in judged:
            there, here = case.outcome("toolkit"), case.outcome("exporter")
            if case.is_theirs:
                self.assertEqual(there.startswith("200"), case.succeeds, f"{case.name}: {there}")
            if there != here:
                found[case.name] = f"{there}; here: {here}"
        self.assertEqual({name: DIFFERENCES.get(name) for name in found}.keys(), DIFFERENCES.keys(), found)
        for name, row in DIFFERENCES.items():
            self.assertIn(f"| {row}", table, name)


class Server(Program):
    """A program with jobs that change between two scrapes."""

    def __init__(self, name, protocol, jobs=450, hangs=False, users=False, **limits):
        self.protocol, self.scheme = protocol, "http" if protocol == "HTTP/1.1" else "https"
        text = judge.TLS if self.scheme == "https" else ""
        if users:
            text += f"basic_auth_users:\n  alice: {judge.hashed(10)}\n  bob: {judge.hashed(10)}\n"
        (judge.FOLDER / "attacked.yml").write_text(text)
        self.api = HangingApi() if hangs else world(jobs)
        address = self.api.address if hangs else self.api.stdout.readline().split()[-1]
        super().__init__(name, judge.FOLDER / "attacked.yml" if text else None, address, jobs, **limits)

    def status(self, address, path, *options):
        """What a client at this address gets in time, and the answer."""
        version = "--http2" if self.protocol == "HTTP/2" else "--http1.1"
        answer = judge.run("curl", "--silent", "--noproxy", "*", "--cacert", judge.FOLDER / "ca.pem", version, "--interface",
                           address, "--max-time", str(SCRAPE_LIMIT), "--write-out", "%{http_code}", *options,
                           f"{self.scheme}://localhost:{self.port}{path}")
        return (answer.stdout[-3:] if answer.returncode == 0 else b"000"), answer.stdout

    def answers(self, address, path, pattern=b""):
        """Whether a client at this address gets the whole answer in time."""
        status, text = self.status(address, path, "--header", "X-Prometheus-Scrape-Timeout-Seconds: 5")
        return status == b"200" and re.search(pattern, text) is not None

    def end(self):
        super().end()
        self.api.kill()


class HangingApi:
    """An API that accepts connections and never answers."""

    def __init__(self):
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self.address = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        self.connections = []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                self.connections.append(self.socket.accept())
            except OSError:
                return

    def kill(self):
        # Without it, the thread would wait for ever.
        self.socket.shutdown(socket.SHUT_RDWR)
        for connection, _ in [*self.connections, (self.socket, None)]:
            connection.close()


def world(jobs):
    """An API with so many running jobs."""
    running = {"id": "job-", "created": "-1h", "lasts": "26h", "every": "1ms", "times": jobs, "endpoints": 1_000_000_000}
    (judge.FOLDER / "attacked.json").write_text(json.dumps({"applications": {"app": {"segments": {"seg": {"jobs": [running]}}}}}))
    return judge.start([judge.FAKE, "--listen", "127.0.0.1:0", "--world", judge.FOLDER / "attacked.json"], {})


class Attack:
    """Clients in a process of their own, each a thread that begins anew when its connection is cut."""

    def __init__(self, server, client, number):
        self.server, self.client, self.number = server, client, number

    def __enter__(self):
        self.begun = FORK.Semaphore(0)
        self.process = FORK.Process(target=self.run, daemon=True)
        self.process.start()
        # All of them are there, or have failed to be.
        deadline = time.monotonic() + 30
        for _ in range(self.number):
            self.begun.acquire(timeout=max(0, deadline - time.monotonic()))

    def __exit__(self, *_):
        self.process.kill()
        self.process.join()

    def run(self):
        threading.stack_size(256 * 1024)
        for turn in range(self.number):
            threading.Thread(target=self.again, args=(turn,), daemon=True).start()
        threading.Event().wait()

    def again(self, turn):
        begun = False
        while True:
            try:
                with connect(self.server, self.client.address(turn)) as connection:
                    self.client.begin(connection, self.server, turn)
                    begun = begun or self.begun.release() is None
                    self.client.go_on(connection, turn)
            except OSError:
                begun = begun or self.begun.release() is None
                time.sleep(0.1)


def connect(server, address):
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
    connection.settimeout(SCRAPE_LIMIT)
    connection.bind((address, 0))
    connection.connect(("127.0.0.1", server.port))
    if server.scheme == "http":
        return connection
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2" if server.protocol == "HTTP/2" else "http/1.1"])
    return context.wrap_socket(connection)


def requests(server, path, number, name="", value="", before=0):
    """So many requests at once, after `before` others on the same connection."""
    if server.protocol != "HTTP/2":
        header = f"{name}: {value}\r\n" if name else ""
        return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{header}\r\n".encode() * number
    text = lambda text: bytes([len(text)]) + text.encode()
    fields = b"\x82\x87\x01" + text("localhost") + b"\x04" + text(path)
    if name:
        fields += b"\0" + text(name.lower()) + text(value)
    frame = lambda kind, flags, stream, payload: (
        len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload)
    # As many as the exporter takes at once.
    streams = b"".join(frame(1, 5, 1 + 2 * (before + index), fields) for index in range(min(number, 16)))
    return streams if before else b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"") + streams


class Slow:
    """A third takes its answer at 8 KB/s, a third takes nothing, and a third takes nothing of 300 small answers."""

    def address(self, _):
        return ATTACKER

    def begin(self, connection, server, turn):
        connection.sendall(requests(server, "/-/healthy", 300) if turn % 3 == 2 else requests(server, "/metrics", 1))

    def go_on(self, connection, turn):
        while turn % 3 == 0 and connection.recv(8192):
            time.sleep(1)
        if turn % 3:
            cut = select.poll()
            cut.register(connection, select.POLLRDHUP)
            cut.poll()


class Waiting(Slow):
    """All of them scrape, and would wait for a day."""

    def begin(self, connection, server, turn):
        connection.sendall(requests(server, "/metrics", 1, "X-Prometheus-Scrape-Timeout-Seconds", "86400"))

    def go_on(self, connection, turn):
        connection.settimeout(None)
        while connection.recv(8192):
            pass


class Guessing(Slow):
    """Each tries one wrong password after the other. They share so many addresses."""

    def __init__(self, addresses):
        self.addresses = addresses

    def address(self, turn):
        return f"127.0.0.{100 + turn % self.addresses}"

    def begin(self, connection, server, turn):
        connection.settimeout(None)
        self.guess(connection, server, turn, 0)

    def guess(self, connection, server, turn, number):
        self.server = server
        guess = base64.b64encode(f"alice:{turn} {number}".encode()).decode()
        connection.sendall(requests(server, "/metrics", 1, "Authorization", f"Basic {guess}", before=number))

    def go_on(self, connection, turn):
        number = 0
        with connection.makefile("rb") as answers:
            while self.is_answered(answers):
                number += 1
                self.guess(connection, self.server, turn, number)

    def is_answered(self, answers):
        if self.server.protocol != "HTTP/2":
            return answers.read1(4096)
        while frame := answers.read(9):
            answers.read(int.from_bytes(frame[:3], "big"))
            # An answer begins with a frame of headers.
            if frame[3] == 1:
                return True
        return False


class Visits:
    """Requests from an address twice a second, each on a new connection."""

    def __init__(self, server, address, path, pattern=b""):
        self.failed, self.number, self.slowest, self.done = 0, 0, 0, threading.Event()
        self.thread = threading.Thread(target=self.run, args=(server, address, path, pattern))

    def run(self, server, *visit):
        while not self.done.is_set():
            begin = time.monotonic()
            self.failed += not server.answers(*visit)
            took = time.monotonic() - begin
            self.slowest = max(self.slowest, took)
            self.number += 1
            self.done.wait(max(0, 0.5 - took))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        self.thread.join()


IS_UP = rb"(?m)^pinpoint_target_up\S* 1$"
# What is done, by whom and how many, what a scrape of another address must show, and the server.
ATTACKS = [
    ("512 clients take answers of 1.2 MB slowly or not at all", Slow(), 512, IS_UP, {}),
    ("the API hangs, and 512 scrapes wait for it, `ulimit -n 1024`", Waiting(), 512, b"", {"hangs": True, "descriptors": 1024}),
    ("60 clients take answers of 3 MB slowly, each another version", Slow(), 60, IS_UP, {"jobs": 1200}),
    ("200 clients take answers slowly, `ulimit -n 64`", Slow(), 200, IS_UP, {"jobs": 20, "descriptors": 64}),
]
NAMES = ["exporter", "toolkit"]


@unittest.skipUnless(judge.MEASURE, "measuring takes minutes")
class Measured(unittest.TestCase):
    def test_scrapes_and_health_checks_do_not_fail_and_memory_is_bounded(self):
        print("\n| attack | over | | scrapes failed | slowest | health checks failed | memory | descriptors | requests to the API |")
        print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
        for attack, client, number, pattern, options in ATTACKS:
            for protocol in PROTOCOLS:
                for name in NAMES:
                    server = Server(name, protocol, **options)
                    for _ in range(3):
                        server.answers(OTHER, "/metrics", pattern)
                    memory = server.memory()
                    with Attack(server, client, number):
                        # The kubelet's checks come from an address of the attacker's, at worst.
                        scrapes = Visits(server, OTHER, "/metrics", pattern)
                        checks = Visits(server, ATTACKER, "/-/healthy")
                        with scrapes, checks:
                            end, descriptors = time.monotonic() + SECONDS, 0
                            while time.monotonic() < end:
                                descriptors = max(descriptors, server.descriptors())
                                time.sleep(0.1)
                    memory = server.memory() - memory
                    asked = len(server.api.connections) if isinstance(server.api, HangingApi) else ""
                    server.end()
                    print(f"| {attack} | {protocol} | {name} | {scrapes.failed} of {scrapes.number} | {scrapes.slowest:.1f} s | "
                          f"{checks.failed} of {checks.number} | +{memory:.0f} MiB | {descriptors} | {asked} |", flush=True)
                    if name == "exporter":
                        with self.subTest(attack=attack, protocol=protocol):
                            self.assertEqual((scrapes.failed, checks.failed), (0, 0))
                            self.assertLessEqual(memory, MEMORY_LIMIT)

    def test_a_right_password_is_let_in(self):
        print("\n| the right password after a start | over | exporter | toolkit |")
        print("| --- | --- | --- | --- |")
        for attack, guessing, client, user in [
            ("20 times at once", None, OTHER, "alice"),
            ("beside 60 clients of one address that guess it", Guessing(1), OTHER, "alice"),
            ("beside 60 clients of 20 addresses that guess it", Guessing(20), OTHER, "alice"),
            ("behind the address of 60 clients that guess another user's", Guessing(1), "127.0.0.100", "bob"),
            ("behind the address of 60 clients that guess it", Guessing(1), "127.0.0.100", "alice"),
        ]:
            for protocol in PROTOCOLS:
                seen = {name: [let_in(name, protocol, guessing, client, user) for _ in range(STARTS)] for name in NAMES}
                told = (f"{statistics.median(seen[name]):.2f} s" for name in NAMES)
                print(f"| {attack} | {protocol} | {' | '.join(told)} |", flush=True)


def let_in(name, protocol, guessing, client, user):
    """How long it takes until the right password is let in, after a start. A client that is turned away tries again."""
    server = Server(name, protocol, users=True)
    times = []

    def try_it():
        begin = time.monotonic()
        while server.status(client, "/-/healthy", "--user", f"{user}:secret")[0] != b"200":
            assert time.monotonic() - begin < HANG_LIMIT, "it is not let in"
        times.append(time.monotonic() - begin)

    if guessing:
        with Attack(server, guessing, 60):
            try_it()
    else:
        clients = [threading.Thread(target=try_it) for _ in range(20)]
        for each in clients:
            each.start()
        for each in clients:
            each.join()
    server.end()
    return max(times)


if __name__ == "__main__":
    unittest.main(verbosity=2)
