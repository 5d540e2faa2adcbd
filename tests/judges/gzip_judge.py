"""zlib, gzip, Node, Go, curl, Chromium and Prometheus as judges of compressed answers, which the exporter puts together from
pieces that were deflated apart.

    .venv/bin/python tests/judges/gzip_judge.py target/debug/pinpoint-exporter target/debug/fake-pinpoint target/tools

The third argument is the folder with the programs of tests/tools.
"""

import gzip
import hashlib
import http.client
import http.server
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import unittest
import zlib

from limits import HANG_LIMIT

ROOT = pathlib.Path(__file__).parents[2]
sys.path.append(str(ROOT / "tests/live"))
from stack import Stack, until  # noqa: E402

EXPORTER = sys.argv.pop(1) if len(sys.argv) > 1 else "target/debug/pinpoint-exporter"
FAKE = sys.argv.pop(1) if len(sys.argv) > 1 else "target/debug/fake-pinpoint"
TOOLS = pathlib.Path(sys.argv.pop(1) if len(sys.argv) > 1 else "target/tools").resolve()
# How many segments each world has, and how many jobs each of them.
SIZES = {"no job": (1, 0), "10 jobs": (1, 10), "1,000 jobs": (10, 100), "10,000 jobs": (100, 100)}
# The first scrape reads everything, and no later one anything.
SETTINGS = {
    "TARGETS": "*/*", "FINISHED_JOBS_PER_SEGMENT": "0", "FINISHED_JOB_MAX_AGE": "0s", "MAX_REQUESTS_PER_SECOND": "0",
    "CACHE_TTL": "1h", "DISCOVERY_TTL": "1h", "MAX_STALENESS": "2h",
}
# All that differs between two such scrapes.
CHANGING = {
    b"pinpoint_exporter_cache_lookups_total", b"pinpoint_exporter_cache_hits_total",
    b"pinpoint_exporter_last_scrape_duration_seconds", b"process_cpu_seconds_total", b"process_open_fds",
    b"process_resident_memory_bytes", b"process_threads", b"process_virtual_memory_bytes",
}
# Chromium stops at the end of the first member, so to it a second one is as if it were not there.
BLIND = {("doubled", "Chromium")}


def setUpModule():
    global WORLDS, ANSWERS, IN_CHROMIUM, PROMETHEUS
    stack = unittest.enterModuleContext(Stack(FAKE, EXPORTER))
    WORLDS = {name: World(stack, *size) for name, size in SIZES.items()}
    whole = WORLDS["10 jobs"].packed
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 0xff]) + whole[middle + 1:]
    bodies = {"whole": whole, "flipped": flipped, "cut": whole[:-100], "doubled": whole + whole}
    server = unittest.enterModuleContext(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler))
    server.bodies = {f"/{name}": body for name, body in bodies.items()}
    threading.Thread(target=server.serve_forever, daemon=True).start()
    unittest.addModuleCleanup(server.shutdown)
    ANSWERS = {name: Answer("{}:{}".format(*server.server_address), f"/{name}", body) for name, body in bodies.items()}
    served = WORLDS | ANSWERS
    # Each first scrape comes at a time of its own within the interval: it is waited for while others read.
    PROMETHEUS = stack.prometheus(json.dumps({"scrape_configs": [{
        "job_name": name, "scrape_interval": "20s", "scrape_timeout": "20s", "metrics_path": answer.path,
        "static_configs": [{"targets": [answer.address]}]} for name, answer in served.items()]}))
    IN_CHROMIUM = dict(zip(served, chromium([answer.url for answer in served.values()])))


class Answer:
    """A compressed answer, and where it is served."""

    def __init__(self, address, path, packed):
        self.address, self.path, self.url, self.packed = address, path, f"http://{address}{path}", packed


class World(Answer):
    """The first answer of an exporter to its first scrape, and a plain one to its second."""

    def __init__(self, stack, segments, jobs):
        self.jobs = jobs * segments
        self.address = stack.exporter(stack.fake(world=populated(segments, jobs)), **SETTINGS).address
        super().__init__(self.address, "/metrics", self.ask("gzip"))
        self.plain = self.ask(None)

    def ask(self, coding):
        connection = http.client.HTTPConnection(self.address, timeout=HANG_LIMIT)
        connection.request("GET", "/metrics", headers={"Accept-Encoding": coding} if coding else {})
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        if (answer.status, answer.headers["Content-Encoding"]) != (200, coding):
            raise AssertionError(f"{answer.status} {answer.headers}")
        return body


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves each of `server.bodies` as gzip, without its length: only who unpacks it can tell whether it is whole."""

    def do_GET(self):
        body = self.server.bodies.get(self.path)
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
        if body:
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, *_):
        pass


def populated(segments, jobs):
    """Ten segments to an application; ids as random as Pinpoint's, and among them some to be escaped, and not of ASCII."""
    applications = {}
    for segment in range(segments):
        strange = ' "ü"\\\n\U0001f600' if segment % 3 == 0 else ""
        application = applications.setdefault(f"app {segment // 10}", {"segments": {}})
        application["segments"][f"segment {segment}{strange}"] = {"jobs": [{
            "id": hashlib.md5(f"{segment} {job}".encode()).hexdigest() + (strange if job % 7 == 0 else ""),
            "created": "-2h", "lasts": "1h", "end": "COMPLETED" if job % 5 else "FAILED",
        } for job in range(jobs)]}
    return {"applications": applications}


def run(*command, given=b""):
    environment = {"PATH": os.environ["PATH"], "HOME": os.devnull}
    return subprocess.run(command, input=given, capture_output=True, timeout=HANG_LIMIT, check=True, env=environment)


def program(*command):
    return lambda packed: run(*command, given=packed).stdout


def in_pieces(size):
    """zlib as a reader of exactly one member, which comes in pieces."""
    def read(packed):
        member = zlib.decompressobj(wbits=31)
        text = b"".join(member.decompress(packed[at:at + size]) for at in range(0, len(packed), size))
        if not member.eof or member.unused_data:
            raise zlib.error("something follows the member" if member.eof else "the member has no end")
        return text
    return read


READERS = {
    "zlib": lambda packed: in_pieces(len(packed))(packed),
    **{f"zlib in pieces of {size}": in_pieces(size) for size in (1, 7, 4096)},
    "Python's gzip": gzip.decompress,
    "gzip": lambda packed: run("gzip", "-t", given=packed) and run("gzip", "-dc", given=packed).stdout,
    "Node": program("node", "-e", "process.stdout.write(zlib.gunzipSync(fs.readFileSync(0)))"),
    "Node's stream": program("node", "-e", "process.stdin.pipe(zlib.createGunzip()).pipe(process.stdout)"),
    "Go": program(TOOLS / "gunzip"),
}
REFUSALS = (zlib.error, EOFError, gzip.BadGzipFile, subprocess.CalledProcessError)


def curl(url):
    answer = run("curl", "--disable", "--silent", "--noproxy", "*", "--compressed",
                 "--write-out", "%{stderr}%header{content-encoding}", url)
    return answer.stdout if answer.stderr == b"gzip" else None


def chromium(urls):
    """What Chromium reads from each; nothing where it refuses."""
    with tempfile.TemporaryDirectory() as folder:
        run("node", ROOT / "tests/judges/page/read.mjs", folder, *urls)
        files = [pathlib.Path(folder, str(number)) for number in range(len(urls))]
        return [file.read_bytes() if file.exists() else None for file in files]


def or_refusal(read, given):
    try:
        return read(given)
    except REFUSALS:
        return None


def lasting(text):
    """The lines in their order, without the samples of what changes."""
    return [line for line in (text or b"").split(b"\n") if line.partition(b" ")[0].partition(b"{")[0] not in CHANGING]


def samples(text):
    return sum(not line.startswith(b"#") for line in text.splitlines())


class GzipJudge(unittest.TestCase):
    # No assertEqual of what is read: to describe how 36 MB differ takes it minutes.

    def test_the_answers_show_every_job_and_ids_that_are_escaped_or_not_of_ascii(self):
        for name, world in WORLDS.items():
            self.assertEqual(world.plain.count(b"\npinpoint_export_job_info{"), world.jobs, name)
            self.assertIn(' \\"ü\\"\\\\\\n\U0001f600"'.encode(), world.plain, name)

    def test_every_reader_reads_the_same_from_the_same_bytes(self):
        for name, world in WORLDS.items():
            text = READERS["zlib"](world.packed)
            self.assertTrue(lasting(text) == lasting(world.plain), name)
            for reader, read in READERS.items():
                self.assertTrue(read(world.packed) == text, f"{name}: {reader} reads something else")

    def test_curl_and_chromium_read_what_a_plain_client_reads(self):
        for name, world in WORLDS.items():
            plain = lasting(world.plain)
            self.assertTrue(lasting(curl(world.url)) == plain, f"{name}: curl reads something else")
            self.assertTrue(lasting(IN_CHROMIUM[name]) == plain, f"{name}: Chromium reads something else")

    def test_prometheus_takes_every_sample_and_a_spoilt_answer_otherwise(self):
        def taken():
            answer = PROMETHEUS.query("scrape_samples_scraped * up")
            return {series["metric"]["job"]: float(series["value"][1]) for series in answer}

        wanted = {name: samples(world.plain) for name, world in WORLDS.items()}
        wanted["whole"] = wanted["10 jobs"]
        # A loaded machine may cost one its first scrape.
        until(lambda: taken().items() >= wanted.items() and taken().keys() == (WORLDS | ANSWERS).keys(),
              lambda: f"{wanted}: {taken()}\n{PROMETHEUS.log()}")
        for spoilt in ANSWERS.keys() - wanted.keys():
            self.assertNotEqual(taken()[spoilt], wanted["whole"], spoilt)

    def test_a_spoilt_answer_is_refused_or_reads_otherwise(self):
        text = READERS["zlib"](ANSWERS["whole"].packed)
        for name, answer in ANSWERS.items():
            found = {reader: or_refusal(read, answer.packed) for reader, read in READERS.items()}
            found |= {"curl": or_refusal(curl, answer.url), "Chromium": IN_CHROMIUM[name]}
            for reader, read in found.items():
                if (name, reader) not in BLIND:
                    self.assertEqual(read == text, name == "whole", f"{name}: {reader}")


if __name__ == "__main__":
    unittest.main(verbosity=2)
