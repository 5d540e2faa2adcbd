"""The exporter and a Go program on exporter-toolkit (tests/tools/toolkit), attacked in the same way.

    python3 tests/judges/attack_judge.py target/debug/pinpoint-exporter target/debug/fake-pinpoint target/tools/toolkit

It prints the tables of docs/PORT.md. ATTACK_SECONDS is how long each attack lasts (5).
"""

import base64
import http.client
import json
import multiprocessing
import os
import pathlib
import re
import select
import socket
import ssl
import statistics
import subprocess
import sys
import threading
import time
import unittest

TOOLKIT = sys.argv.pop(3) if len(sys.argv) > 3 else "target/tools/toolkit"

import web_config_judge as judge  # noqa: E402, it takes the other arguments
from limits import HANG_LIMIT, UNHURRIED  # noqa: E402

setUpModule = judge.setUpModule
SECONDS = float(os.environ.get("ATTACK_SECONDS", "5"))
ATTACKER, OTHER = "127.0.0.1", "127.0.0.2"
# Prometheus's default scrape timeout.
SCRAPE_LIMIT = 10
MEMORY_LIMIT = 64
PROTOCOLS = {"HTTP/1.1": "http", "TLS": "https", "HTTP/2": "https"}
FORK = multiprocessing.get_context("fork")


class Server:
    """The exporter, or the Go program, with jobs that change between two scrapes."""

    def __init__(self, name, protocol, jobs=450, descriptors=None, hangs=False, users=False):
        self.protocol, self.scheme = protocol, PROTOCOLS[protocol]
        text = judge.TLS if self.scheme == "https" else ""
        if users:
            text += "basic_auth_users:\n" + "".join(f"  {user}: {judge.hashed(10)}\n" for user in ["alice", "bob"])
        config = judge.FOLDER / "attacked.yml"
        config.write_text(text)
        api = silent() if hangs else world(jobs)
        limit = f"ulimit -n {descriptors};" if descriptors else ""
        variables = {"AWS_EC2_METADATA_DISABLED": "true", "NO_PROXY": "*"}
        if name == "exporter":
            program = [judge.EXPORTER]
            variables |= {
                "AWS_REGION": "eu-west-1", "AWS_ENDPOINT_URL_PINPOINT": api, "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
                "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "PINPOINT_EXPORTER_TARGETS": "app/seg",
                "PINPOINT_EXPORTER_CACHE_TTL": "0s", "PINPOINT_EXPORTER_LISTEN_ADDRESS": "127.0.0.1:0", **UNHURRIED,
            }
            if text:
                variables["PINPOINT_EXPORTER_WEB_CONFIG_FILE"] = config
        else:
            program = [TOOLKIT, "-config", config if text else "", "-jobs", str(jobs), "-api", api + "/_fake/load"]
        self.process = judge.start(["/bin/sh", "-c", f'{limit} exec "$0" "$@"', *program], variables)
        for line in self.process.stderr:
            if found := re.search(r"address=(?:\[::\]|127\.0\.0\.1):(\d+)", line):
                self.port = int(found[1])
                break
        threading.Thread(target=self.process.stderr.read, daemon=True).start()
        while not self.answers(ATTACKER, "/-/healthy") and not users:
            time.sleep(0.05)

    def answers(self, address, path, marker=""):
        """Whether a client at this address gets the whole answer in time."""
        version = "--http2" if self.protocol == "HTTP/2" else "--http1.1"
        answer = judge.run("curl", "--silent", "--fail", "--noproxy", "*", "--cacert", judge.FOLDER / "ca.pem", version,
                           "--interface", address, "--max-time", str(SCRAPE_LIMIT), "--header",
                           "X-Prometheus-Scrape-Timeout-Seconds: 2", f"{self.scheme}://localhost:{self.port}{path}")
        return answer.returncode == 0 and marker in answer.stdout.decode()

    def memory(self):
        """The most that it has had, in MiB."""
        lines = pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1]) / 1024

    def end(self):
        self.process.kill()
        self.process.wait()


def world(jobs):
    """The address of an API with so many running jobs."""
    running = {"id": "job-", "created": "-1h", "lasts": "26h", "every": "1ms", "times": jobs, "endpoints": 1_000_000_000}
    (judge.FOLDER / "attacked.json").write_text(json.dumps({"applications": {"app": {"segments": {"seg": {"jobs": [running]}}}}}))
    fake = judge.start([judge.FAKE, "--listen", "127.0.0.1:0", "--world", judge.FOLDER / "attacked.json"], {})
    return fake.stdout.readline().split()[-1]


def silent():
    """The address of an API that never answers."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    unittest.addModuleCleanup(listener.close)
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


class Attack:
    """Clients of one address in a process of their own, each a thread that begins anew when its connection is cut."""

    def __init__(self, server, client, number):
        self.begun = FORK.Semaphore(0)
        self.process = FORK.Process(target=self.run, args=(server, client, number), daemon=True)
        self.process.start()
        # All of them are there, or have failed to be.
        deadline = time.monotonic() + 30
        for _ in range(number):
            self.begun.acquire(timeout=max(0, deadline - time.monotonic()))

    def run(self, server, client, number):
        threading.stack_size(256 * 1024)
        for turn in range(number):
            threading.Thread(target=self.again, args=(server, client, turn), daemon=True).start()
        time.sleep(HANG_LIMIT + 10 * SECONDS)

    def again(self, server, client, turn):
        is_first = True
        while True:
            try:
                with connect(server, client.address(turn)) as connection:
                    client.begin(connection, server, turn)
                    if is_first:
                        self.begun.release()
                    is_first = False
                    client.go_on(connection, turn)
            except OSError:
                if is_first:
                    self.begun.release()
                is_first = False
                time.sleep(0.1)

    def end(self):
        self.process.kill()
        self.process.join()


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


def requests(server, path, number, header=""):
    """So many requests at once."""
    if server.protocol != "HTTP/2":
        return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{header}\r\n".encode() * number
    fields = b"\x82\x87\x01\x09localhost\x04" + bytes([len(path)]) + path.encode()
    if header:
        name, value = header.strip().lower().split(": ")
        fields += bytes([0, len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
    frame = lambda kind, flags, stream, payload: (
        len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload)
    # As many as the exporter takes at once.
    streams = (frame(1, 5, 1 + 2 * number, fields) for number in range(min(number, 16)))
    return b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"") + b"".join(streams)


def wait_until_cut(connection):
    poll = select.poll()
    poll.register(connection, select.POLLRDHUP)
    poll.poll()


class Slow:
    """A third takes its answer at 8 KB/s, a third takes nothing, and a third takes nothing of 300 small answers."""

    address = staticmethod(lambda turn: ATTACKER)

    def begin(self, connection, server, turn):
        connection.sendall(requests(server, "/-/healthy", 300) if turn % 3 == 2 else requests(server, "/metrics", 1))

    def go_on(self, connection, turn):
        while turn % 3 == 0 and connection.recv(8192):
            time.sleep(1)
        if turn % 3:
            wait_until_cut(connection)


class Waiting(Slow):
    """All of them wait for a day."""

    def begin(self, connection, server, turn):
        connection.sendall(requests(server, "/metrics", 1, "X-Prometheus-Scrape-Timeout-Seconds: 86400\r\n"))

    def go_on(self, connection, turn):
        while connection.recv(8192):
            connection.settimeout(None)


class Guessing(Slow):
    """One wrong password after the other, from a number of addresses."""

    def __init__(self, addresses):
        self.addresses = addresses

    def address(self, turn):
        return f"127.0.0.{100 + turn % self.addresses}"

    def begin(self, connection, server, turn):
        self.server = server

    def go_on(self, connection, turn):
        connection.settimeout(None)
        for number in range(1 << 30):
            guess = base64.b64encode(f"alice:{turn} {number}".encode()).decode()
            connection.sendall(requests(self.server, "/metrics", 1, f"Authorization: Basic {guess}\r\n"))
            if not connection.recv(4096):
                return


class Visits:
    """Requests of one address, twice a second, each on a new connection."""

    def __init__(self, server, address, path, marker=""):
        self.failed, self.number, self.slowest, self.done = 0, 0, 0, threading.Event()
        self.thread = threading.Thread(target=self.run, args=(server, address, path, marker))
        self.thread.start()

    def run(self, *visit):
        server, *visit = visit
        while not self.done.is_set():
            begin = time.monotonic()
            self.failed += not server.answers(*visit)
            took = time.monotonic() - begin
            self.slowest = max(self.slowest, took)
            self.number += 1
            self.done.wait(max(0, 0.5 - took))

    def end(self):
        self.done.set()
        self.thread.join()


def under_attack(client, number, marker, name, protocol, **options):
    """What the others see, and what it costs."""
    server = Server(name, protocol, **options)
    for _ in range(3):
        server.answers(OTHER, "/metrics", marker)
    before = server.memory()
    attack = Attack(server, client, number)
    scrapes, checks = Visits(server, OTHER, "/metrics", marker), Visits(server, ATTACKER, "/-/healthy")
    time.sleep(SECONDS)
    scrapes.end()
    checks.end()
    attack.end()
    memory = server.memory() - before
    server.end()
    return scrapes, checks, memory


UP = "\npinpoint_target_up"
ATTACKS = [
    ("512 clients take 1.2 MB slowly or not at all", Slow(), 512, f"{UP}", {}),
    ("512 scrapes wait for an API that hangs", Waiting(), 512, "", {"hangs": True}),
    ("60 clients keep 60 versions of 3.1 MB", Slow(), 60, f"{UP}", {"jobs": 1200}),
    ("200 clients, 64 file descriptors", Slow(), 200, f"{UP}", {"descriptors": 64, "jobs": 20}),
]


class Attacked(unittest.TestCase):
    def test_others_are_served_and_memory_is_bounded_and_better_than_with_the_toolkit(self):
        print("\n| attack | over | | scrapes failed | slowest scrape | health checks failed | memory |")
        print("| --- | --- | --- | --- | --- | --- | --- |")
        for attack, client, number, marker, options in ATTACKS:
            for protocol in PROTOCOLS:
                seen = {}
                for name in ["exporter", "toolkit"]:
                    seen[name] = under_attack(client, number, marker, name, protocol, **options)
                    scrapes, checks, memory = seen[name]
                    print(f"| {attack} | {protocol} | {name} | {scrapes.failed} of {scrapes.number} | {scrapes.slowest:.2f} s | "
                          f"{checks.failed} of {checks.number} | +{memory:.0f} MiB |", flush=True)
                with self.subTest(attack=attack, protocol=protocol):
                    scrapes, checks, memory = seen["exporter"]
                    self.assertEqual((scrapes.failed, checks.failed), (0, 0))
                    self.assertLessEqual(memory, MEMORY_LIMIT)


if __name__ == "__main__":
    unittest.main(verbosity=2)
