"""The programs of a live test, each on a free port of loopback: the fake Pinpoint, the exporter, Prometheus, Alertmanager.

    with Stack("target/debug/fake-pinpoint", "target/debug/pinpoint-exporter") as stack:
        fake = stack.fake(world={"applications": {…}})
        exporter = stack.exporter(fake, TARGETS="app/*", CACHE_TTL="1s")
        prometheus = stack.prometheus(scrape_config([exporter], interval="1s"))
        prometheus.until('up{job="pinpoint"} == 1')

A program is up when its constructor returns. All of them, and their folder, are gone when the block ends. A wait ends with
the event, or after `HANG_LIMIT` with the log of the program that it was for.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

sys.path.append(str(pathlib.Path(__file__).parents[1] / "judges"))
from limits import HANG_LIMIT, UNHURRIED  # noqa: E402
from ports import free_port  # noqa: E402

# How often an event is looked for.
PAUSE = 0.05
REGION = "us-east-1"
# The example of AWS's documentation, which the fake accepts unless it is told otherwise.
ACCESS_KEY = {"access_key_id": "AKIAIOSFODNN7EXAMPLE", "secret_access_key": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"}

_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def ask(method, url, body=None, form=None):
    """The body of the answer to a request. `body` is sent as JSON, `form` as a form."""
    data, kind = (None if body is None else json.dumps(body).encode()), "application/json"
    if form is not None:
        data, kind = urllib.parse.urlencode(form).encode(), "application/x-www-form-urlencoded"
    request = urllib.request.Request(url, method=method, data=data, headers={"Content-Type": kind})
    with _direct.open(request, timeout=HANG_LIMIT) as answer:
        return answer.read().decode()


def free_address():
    """An address of loopback that nobody listens at."""
    return f"127.0.0.1:{free_port()}"


def until(condition, explain):
    """What the condition gives, as soon as it gives something."""
    deadline = time.monotonic() + HANG_LIMIT
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {HANG_LIMIT} s: {explain()}")
        time.sleep(PAUSE)
    return found


def scrape_config(exporters, interval="1s", job="pinpoint", rules=(), alertmanagers=()):
    """A configuration of Prometheus for these exporters, rule files and Alertmanagers. JSON is YAML too."""
    return json.dumps({
        "global": {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval},
        "rule_files": [str(pathlib.Path(file).resolve()) for file in rules],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [one.address for one in alertmanagers]}]}]},
        "scrape_configs": [{
            "job_name": job, "static_configs": [{"targets": [one.address for one in exporters]}],
        }],
    }, indent=2)


class Stack:
    """The running programs of one test, and the folder that they write to."""

    def __init__(self, fake_program="target/debug/fake-pinpoint", exporter_program="target/debug/pinpoint-exporter"):
        self.fake_program, self.exporter_program = fake_program, exporter_program
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="pinpoint-live-"))
        self.programs = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for program in reversed(self.programs):
            program.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self, kind, *arguments):
        """A program, which is stopped with the others."""
        folder = self.folder / str(len(self.programs))
        folder.mkdir()
        program = kind(folder, *arguments)
        self.programs.append(program)
        program.start()
        return program

    def fake(self, *arguments, world=None):
        """A fake Pinpoint with this world, else its demo's. `arguments` are those of the program."""
        return self.start(Fake, self.fake_program, arguments, world)

    def exporter(self, fake, **settings):
        """An exporter of the fake. `settings` are those of the README, and AWS's own variables by their whole name."""
        return self.start(Exporter, self.exporter_program, fake, settings)

    def prometheus(self, config, *arguments):
        """A Prometheus with the text of a configuration."""
        return self.start(Prometheus, config, arguments)

    def alertmanager(self, config, *arguments):
        """An Alertmanager with the text of a configuration."""
        return self.start(Alertmanager, config, arguments)


class Program:
    """A process that serves HTTP at `address`, which it keeps when it is started again."""

    READY = "/-/ready"

    def __init__(self, folder, arguments, variables):
        self.folder, self.arguments, self.variables = folder, arguments, variables
        self.process = None

    def start(self):
        """Runs it, and waits until it is ready."""
        with open(self.folder / "log", "a", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                self.arguments, env={"PATH": os.environ["PATH"], "HOME": str(self.folder), **self.variables},
                cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until(self.is_ready, lambda: f"{self.arguments[0]} is not ready:\n{self.log()}")

    def is_ready(self):
        if self.process.poll() is not None:
            raise AssertionError(f"{self.arguments[0]} ended with {self.process.returncode}:\n{self.log()}")
        try:
            ask("GET", self.url + self.READY)
        except OSError:
            return False
        return True

    def kill(self):
        """Ends it at once, as a crash would."""
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait(HANG_LIMIT)

    def log(self):
        return (self.folder / "log").read_text(encoding="utf-8")

    @property
    def url(self):
        return f"http://{self.address}"


class Fake(Program):
    """A fake Pinpoint; tests/fake-pinpoint/README.md says what it takes."""

    READY = "/_fake/load"

    def __init__(self, folder, program, arguments, world):
        self.address = free_address()
        own = ["--listen", self.address, "--region", REGION]
        if world is not None:
            (folder / "world.json").write_text(json.dumps(world), encoding="utf-8")
            own += ["--world", str(folder / "world.json")]
        super().__init__(folder, [os.path.abspath(program), *own, *arguments], {})

    def control(self, method, path, body=None):
        """Drives it: `control("POST", "clock", {"advance": 1000})`."""
        return json.loads(ask(method, f"{self.url}/_fake/{path}", body) or "null")

    def advance(self, seconds):
        """Turns the clock by which jobs live."""
        self.control("POST", "clock", {"advance": int(seconds * 1000)})

    def accept(self, *keys):
        """Accepts the signatures of these keys alone."""
        self.control("PUT", "keys", list(keys))


class Exporter(Program):
    """An exporter of a fake."""

    def __init__(self, folder, program, fake, settings):
        self.address = free_address()
        variables = {
            "AWS_REGION": REGION, "AWS_ENDPOINT_URL_PINPOINT": fake.url,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY["access_key_id"], "AWS_SECRET_ACCESS_KEY": ACCESS_KEY["secret_access_key"],
            "AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "PINPOINT_EXPORTER_LISTEN_ADDRESS": self.address, **UNHURRIED,
        }
        for name, value in settings.items():
            variables[name if name.startswith("AWS_") else f"PINPOINT_EXPORTER_{name}"] = value
        super().__init__(folder, [os.path.abspath(program)], variables)

    def scrape(self):
        """The text of one scrape."""
        return ask("GET", f"{self.url}/metrics")


class Configured(Program):
    """A program that reads `config.yml` in its folder, and again when told to."""

    def configure(self, config):
        """Writes a configuration, and has it read if the program runs."""
        (self.folder / "config.yml").write_text(config, encoding="utf-8")
        if self.process:
            ask("POST", f"{self.url}/-/reload")


class Prometheus(Configured):
    """A Prometheus."""

    def __init__(self, folder, config, arguments):
        self.address = free_address()
        super().__init__(folder, [
            "prometheus", "--config.file=config.yml", "--storage.tsdb.path=data", "--web.enable-lifecycle",
            f"--web.listen-address={self.address}", *arguments,
        ], {})
        self.configure(config)

    def get(self, path, **parameters):
        """`data` of an answer of the API: `get("series", **{"match[]": "up"})`."""
        return json.loads(ask("GET", f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"))["data"]

    def post(self, path, **parameters):
        """The same by POST, as Grafana asks: a query can be longer than a URL may be."""
        return json.loads(ask("POST", f"{self.url}/api/v1/{path}", form=parameters))["data"]

    def query(self, expression, time=None):
        """The result of an instant query: a list of `{"metric": {…}, "value": [time, "…"]}`. An error names the query."""
        parameters = {"query": expression} if time is None else {"query": expression, "time": time}
        try:
            return self.get("query", **parameters)["result"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{expression}\n{error.read().decode()}") from error

    def until(self, expression):
        """The result of a query as soon as it has one."""
        return until(lambda: self.query(expression), lambda: f"{expression}\n{self.log()}")

    def until_empty(self, expression):
        """Waits until a query has no result any more."""
        until(lambda: not self.query(expression), lambda: f"{expression} is {self.query(expression)}")

    def alerts(self, state="firing"):
        """The labels of the alerts in that state."""
        return [alert["labels"] for alert in self.get("alerts")["alerts"] if alert["state"] == state]


class Alertmanager(Configured):
    """An Alertmanager by itself."""

    def __init__(self, folder, config, arguments):
        self.address = free_address()
        super().__init__(folder, [
            "prometheus-alertmanager", "--config.file=config.yml", "--storage.path=data", "--cluster.listen-address=",
            f"--web.listen-address={self.address}", *arguments,
        ], {})
        self.configure(config)

    def alerts(self):
        """The alerts that it knows, with `labels`, and with `status` that tells what inhibits them."""
        return json.loads(ask("GET", f"{self.url}/api/v2/alerts"))
