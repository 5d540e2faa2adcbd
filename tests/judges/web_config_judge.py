"""curl, OpenSSL's s_client and Prometheus as judges of the protected port.

    python3 tests/judges/web_config_judge.py target/debug/pinpoint-exporter target/debug/fake-pinpoint

With `--measure` it measures instead: what 1,000 wrong passwords a second cost a client that is known, and a minute of
certificates that are replaced under 50 scrapes a second.
"""

import collections
import http.client
import json
import os
import pathlib
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.error
import urllib.request

from limits import HANG_LIMIT, UNHURRIED

MEASURE = "--measure" in sys.argv and not sys.argv.remove("--measure")
EXPORTER = sys.argv.pop(1) if len(sys.argv) > 1 else "target/debug/pinpoint-exporter"
FAKE = sys.argv.pop(1) if len(sys.argv) > 1 else "target/debug/fake-pinpoint"
TLS = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n"
CLIENTS = ["nobody", "signed", "listed", "stranger"]
AUTHORITIES = "  client_ca_file: authorities.pem\n"
# Whom each policy lets in: `signed` has a certificate of an authority, `listed` one that it signed itself and that is listed as
# an authority, `stranger` one that nobody knows.
POLICIES = {
    "NoClientCert": ("", {"nobody", "signed", "listed", "stranger"}),
    "RequestClientCert": (AUTHORITIES, {"nobody", "signed", "listed", "stranger"}),
    "RequireAnyClientCert": (AUTHORITIES, {"signed", "listed", "stranger"}),
    "VerifyClientCertIfGiven": (AUTHORITIES, {"nobody", "signed", "listed"}),
    "RequireAndVerifyClientCert": (AUTHORITIES, {"signed", "listed"}),
}


def run(*command, **options):
    return subprocess.run(command, capture_output=True, timeout=HANG_LIMIT, **options)


def openssl(*arguments):
    made = run("openssl", *arguments)
    if made.returncode:
        raise RuntimeError(made.stderr.decode())


def setUpModule():
    global FOLDER, WORLD_URL
    temporary = tempfile.TemporaryDirectory()
    unittest.addModuleCleanup(temporary.cleanup)
    FOLDER = pathlib.Path(temporary.name)
    make_authority()
    renew_server()
    for name in ["listed", "stranger"]:
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                "-subj", f"/CN={name}", "-keyout", FOLDER / f"{name}.key", "-out", FOLDER / f"{name}.pem")
    sign("signed", "signed.pem", "signed.key", "extendedKeyUsage=clientAuth")
    (FOLDER / "authorities.pem").write_text((FOLDER / "ca.pem").read_text() + (FOLDER / "listed.pem").read_text())
    jobs = [{"id": f"job-{number}", "created": "-2h", "lasts": "1h"} for number in range(20)]
    world = {"applications": {"app": {"segments": {"seg": {"jobs": jobs}}}}}
    (FOLDER / "world.json").write_text(json.dumps(world))
    fake = start([FAKE, "--listen", "127.0.0.1:0", "--world", FOLDER / "world.json"], {})
    WORLD_URL = fake.stdout.readline().split()[-1]


def make_authority():
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=authority",
            "-keyout", FOLDER / "ca.key", "-out", FOLDER / "ca.pem")


def renew_server():
    """One file after the other, as certificates often come."""
    sign("localhost", "server.crt", "server.key", "subjectAltName=DNS:localhost,IP:127.0.0.1")


def sign(name, certificate, key, extension):
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-keyout", FOLDER / "new.key",
            "-out", FOLDER / "new.csr")
    (FOLDER / "extension").write_text(extension)
    openssl("x509", "-req", "-days", "2", "-in", FOLDER / "new.csr", "-CA", FOLDER / "ca.pem", "-CAkey",
            FOLDER / "ca.key", "-CAcreateserial", "-extfile", FOLDER / "extension", "-out", FOLDER / "new.crt")
    os.replace(FOLDER / "new.crt", FOLDER / certificate)
    os.replace(FOLDER / "new.key", FOLDER / key)


def start(command, variables):
    process = subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def end():
        process.kill()
        process.communicate()

    unittest.addModuleCleanup(end)
    return process


class Exporter:
    """An exporter with a web configuration."""

    def __init__(self, name, text):
        self.config = FOLDER / f"{name}.yml"
        self.config.write_text(text)
        self.process = start([EXPORTER], {
            "AWS_EC2_METADATA_DISABLED": "true", "AWS_REGION": "eu-west-1", "AWS_ENDPOINT_URL_PINPOINT": WORLD_URL,
            "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE", "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
            "PINPOINT_EXPORTER_TARGETS": "app/seg", "PINPOINT_EXPORTER_LISTEN_ADDRESS": "127.0.0.1:0",
            "PINPOINT_EXPORTER_WEB_CONFIG_FILE": self.config, "NO_PROXY": "*", **UNHURRIED,
        })
        self.log = []
        for line in self.process.stderr:
            self.log.append(line)
            words = [word for word in line.split() if word.startswith("address=")]
            if "serving" in line and words:
                self.port = int(words[0].rsplit(":", 1)[1])
                break
        else:
            raise RuntimeError("".join(self.log))
        threading.Thread(target=lambda: self.log.extend(self.process.stderr), daemon=True).start()

    def status(self, name):
        lines = pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith(name + ":")).split()[1])

    def end(self):
        self.process.kill()
        self.process.wait()


def certificate_of(client, certificate, key):
    return [] if client == "nobody" else [certificate, FOLDER / f"{client}.pem", key, FOLDER / f"{client}.key"]


def curl(port, *options, scheme="https", path="/-/healthy"):
    answer = run("curl", "--silent", "--noproxy", "*", "--cacert", FOLDER / "ca.pem", "--output", os.devnull,
                 "--write-out", "%{http_code} %{http_version}", *options, f"{scheme}://localhost:{port}{path}")
    return answer.stdout.decode().split()


def s_client(port, *options):
    request = b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    answer = run("openssl", "s_client", "-quiet", "-verify_return_error", "-CAfile", FOLDER / "ca.pem",
                 "-servername", "localhost", *options, "-connect", f"127.0.0.1:{port}", input=request)
    return b"200 OK" in answer.stdout


@unittest.skipIf(MEASURE, "this run measures")
class Judged(unittest.TestCase):
    def test_each_client_auth_type_by_curl_and_s_client(self):
        for policy, (authorities, let_in) in POLICIES.items():
            exporter = Exporter(policy, f"{TLS}  client_auth_type: {policy}\n{authorities}")
            for client in CLIENTS:
                expected = client in let_in
                for version in ["1.2", "1.3"]:
                    with self.subTest(policy=policy, client=client, version=version):
                        options = certificate_of(client, "--cert", "--key")
                        seen = curl(exporter.port, *options, f"--tlsv{version}", "--tls-max", version)
                        self.assertEqual(seen[0] == "200", expected, f"curl: {seen}")
                        options = certificate_of(client, "-cert", "-key")
                        seen = s_client(exporter.port, *options, "-tls" + version.replace(".", "_"))
                        self.assertEqual(seen, expected, "s_client")
            exporter.end()

    def test_each_client_auth_type_and_passwords_by_prometheus(self):
        expected, jobs = {}, []

        def scrape(name, exporter, up, **options):
            expected[name] = "1" if up else "0"
            jobs.append({"job_name": name, "scrape_interval": "5s", "scrape_timeout": "5s", "scheme": "https",
                         "static_configs": [{"targets": [f"localhost:{exporter.port}"]}], **options})

        for policy, (authorities, let_in) in POLICIES.items():
            exporter = Exporter(policy, f"{TLS}  client_auth_type: {policy}\n{authorities}")
            for client in CLIENTS:
                tls = {"ca_file": str(FOLDER / "ca.pem")}
                if client != "nobody":
                    tls |= {"cert_file": str(FOLDER / f"{client}.pem"), "key_file": str(FOLDER / f"{client}.key")}
                scrape(f"{policy} {client}", exporter, client in let_in, tls_config=tls)
        exporter = Exporter("users", f"{TLS}basic_auth_users:\n  alice: {hashed(10)}\n")
        trusted = {"ca_file": str(FOLDER / "ca.pem")}
        for name, up, options in [
            ("right", True, {"basic_auth": {"username": "alice", "password": "secret"}}),
            ("wrong", False, {"basic_auth": {"username": "alice", "password": "other"}}),
            ("unknown", False, {"basic_auth": {"username": "bob", "password": "secret"}}),
            ("without", False, {}),
        ]:
            scrape(f"password {name}", exporter, up, tls_config=trusted, **options)
        scrape("untrusted", exporter, False, basic_auth={"username": "alice", "password": "secret"})
        scrape("plain", exporter, False, **{"tls_config": {}})
        jobs[-1]["scheme"] = "http"
        # YAML is a superset of JSON.
        (FOLDER / "prometheus.yml").write_text(json.dumps({"scrape_configs": jobs}))
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        start(["prometheus", f"--config.file={FOLDER / 'prometheus.yml'}", f"--storage.tsdb.path={FOLDER / 'data'}",
               f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"], {})
        deadline = time.monotonic() + HANG_LIMIT
        while True:
            up = prometheus(port, "up")
            # A loaded machine may have cost one its first scrapes.
            if up == expected or time.monotonic() > deadline:
                break
            time.sleep(0.2)
        self.assertEqual(up, expected)

    def test_http2_and_what_is_no_tls(self):
        exporter = Exporter("http2", TLS)
        self.assertEqual(curl(exporter.port, "--http2", path="/metrics"), ["200", "2"])
        self.assertEqual(curl(exporter.port, "--http1.1", path="/metrics"), ["200", "1.1"])
        self.assertEqual(curl(exporter.port, scheme="http")[0], "400")
        exporter.end()
        exporter = Exporter("http1", TLS + "http_server_config:\n  http2: false\n")
        self.assertEqual(curl(exporter.port, "--http2", path="/metrics"), ["200", "1.1"])
        exporter.end()

    def test_passwords_by_curl(self):
        exporter = Exporter("passwords", f"basic_auth_users:\n  alice: {hashed(10)}\n")
        for user, expected in [("alice:secret", "200"), ("alice:other", "401"), ("bob:secret", "401"), ("", "401")]:
            options = ["--user", user] if user else []
            self.assertEqual(curl(exporter.port, *options, scheme="http", path="/metrics")[0], expected, user)
        exporter.end()

    def test_certificates_are_replaced_under_scrapes(self):
        replaced(lambda reloads, _: reloads == 3)


def hashed(cost):
    """What htpasswd makes of the password `secret`."""
    made = run("htpasswd", "-nbBC", str(cost), "alice", "secret", check=True)
    return made.stdout.decode().strip().split(":", 1)[1]


def prometheus(port, query):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/query?query={query}", timeout=HANG_LIMIT) as answer:
            result = json.load(answer)["data"]["result"]
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return {}
    return {series["metric"]["job"]: series["value"][1] for series in result}


def replaced(enough):
    """Replaces the certificate, and again as soon as the new one is taken up, until there were enough, by their number and the
    time. All the while five clients scrape ten times a second each, on new connections and on kept ones in turn. Any failure is
    raised. The scrapes, the time, and the certificates that were taken up."""
    exporter = Exporter("replaced", TLS)
    begin, done = time.monotonic(), threading.Event()
    scrapes, failures, times = collections.Counter(), [], set()
    trusted = ssl.create_default_context(cafile=FOLDER / "ca.pem")

    def scrape(number):
        connection = None
        try:
            while not done.is_set():
                due = time.monotonic() + 0.1
                if connection is None or scrapes[number] % 2:
                    if connection:
                        connection.close()
                    connection = http.client.HTTPSConnection("localhost", exporter.port, context=trusted, timeout=HANG_LIMIT)
                connection.request("GET", "/metrics", headers={"X-Prometheus-Scrape-Timeout-Seconds": "1"})
                answer = connection.getresponse()
                text = answer.read().decode()
                if answer.status != 200 or "last_reload_successful 1\n" not in text:
                    raise RuntimeError(f"{answer.status} {text}")
                times.add(text.split("\npinpoint_exporter_config_last_reload_success_timestamp_seconds ")[1].split()[0])
                scrapes[number] += 1
                time.sleep(max(0, due - time.monotonic()))
        except Exception as error:  # Whatever it is, it is a scrape that failed.
            failures.append(error)
        finally:
            connection.close()

    clients = [threading.Thread(target=scrape, args=(number,)) for number in range(5)]
    for client in clients:
        client.start()
    taken = 0
    while not failures and not enough(taken, time.monotonic() - begin):
        renew_server()
        deadline = time.monotonic() + HANG_LIMIT
        while len(times) - 1 <= taken and not failures:
            if time.monotonic() > deadline:
                raise AssertionError("a new certificate is not taken up")
            time.sleep(0.05)
        taken = len(times) - 1
    done.set()
    for client in clients:
        client.join()
    exporter.end()
    if failures:
        raise failures[0]
    return scrapes.total(), time.monotonic() - begin, taken


@unittest.skipUnless(MEASURE, "measuring takes minutes")
class Measured(unittest.TestCase):
    def test_certificates_are_replaced_under_50_scrapes_a_second(self):
        scrapes, seconds, taken = replaced(lambda _, elapsed: elapsed > 60)
        print(f"\n{scrapes} scrapes in {seconds:.0f} s, {taken} new certificates, no failure")

    def test_1000_wrong_passwords_a_second(self):
        exporter = Exporter("flood", f"basic_auth_users:\n  alice: {hashed(10)}\n")
        known = Known(exporter.port)
        known.scrape(2)
        before, during = [], []
        memory, threads = [exporter.status("VmRSS")], [exporter.status("Threads")]
        flood = Flood(exporter.port)
        for _ in range(5):
            before.append(known.scrape(4))
            with flood:
                during.append(known.scrape(8))
            memory.append(exporter.status("VmRSS"))
            threads.append(exporter.status("Threads"))
        rate = lambda rounds: statistics.median(len(each) / sum(each) for each in rounds)
        spread = lambda rounds: [round(len(each) / sum(each)) for each in rounds]
        millis = lambda rounds, share: 1000 * sorted(sum(rounds, []))[int(share * sum(map(len, rounds)))]
        print(f"\nwrong passwords: {flood.sent / flood.seconds:.0f}/s, answers {dict(flood.answers)}")
        print(f"scrapes a second: {rate(before):.0f} without {spread(before)}, {rate(during):.0f} with {spread(during)}, "
              f"ratio {rate(during) / rate(before):.2f}")
        for share in [0.5, 0.99]:
            print(f"quantile {share}: {millis(before, share):.2f} ms without, {millis(during, share):.2f} ms with")
        paced = [known.scrape(5, pause=0.05), None]
        with flood:
            paced[1] = known.scrape(5, pause=0.05)
        print("20 scrapes a second, median ms:", *(f"{1000 * statistics.median(each):.2f}" for each in paced))
        print(f"memory in KiB {memory}, threads {threads}")
        known.connection.close()
        self.assertEqual(set(flood.answers), {401, 429})
        self.assertLessEqual(max(threads), threads[0] + 2)


class Known:
    """A client whose password was found right, on a connection that it keeps."""

    def __init__(self, port):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=HANG_LIMIT)

    def scrape(self, seconds, pause=0):
        """Scrapes one after the other; how long each took."""
        took, end = [], time.monotonic() + seconds
        while time.monotonic() < end:
            begin = time.monotonic()
            self.connection.request("GET", "/metrics", headers={"Authorization": "Basic YWxpY2U6c2VjcmV0"})
            answer = self.connection.getresponse()
            text = answer.read()
            assert answer.status == 200 and b"pinpoint_" in text, answer.status
            took.append(time.monotonic() - begin)
            time.sleep(pause)
        return took


class Flood:
    """A process that sends a thousand wrong passwords a second, on fifty connections from one address."""

    RATE, CONNECTIONS = 1000, 50

    def __init__(self, port):
        self.port, self.sent, self.seconds, self.answers = port, 0, 0, collections.Counter()

    def __enter__(self):
        # What it costs is not the exporter's doing.
        self.process = subprocess.Popen(["nice", "-n", "5", sys.executable, "-c", FLOOD, str(self.port), str(self.RATE),
                                         str(self.CONNECTIONS)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __exit__(self, *_):
        out, _ = self.process.communicate()
        told = json.loads(out)
        self.sent += told["sent"]
        self.seconds += told["seconds"]
        self.answers.update({int(status): count for status, count in told["answers"].items()})


FLOOD = r"""
import base64, collections, json, os, select, socket, sys, time
port, rate, number = map(int, sys.argv[1:])
idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(number)]
poll, busy, answers, sent = select.epoll(), {}, collections.Counter(), 0
begin = time.monotonic()
stop = lambda: select.select([sys.stdin], [], [], 0)[0]
while not stop():
    due = int((time.monotonic() - begin) * rate) - sent
    while due > 0 and idle:
        connection = idle.pop()
        credentials = base64.b64encode(b"alice:wrong%d" % sent).decode()
        connection.sendall(f"GET /metrics HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {credentials}\r\n\r\n".encode())
        busy[connection.fileno()] = connection
        poll.register(connection, select.EPOLLIN)
        sent += 1
        due -= 1
    for file, _ in poll.poll(0.002):
        connection = busy.pop(file)
        poll.unregister(file)
        answer = connection.recv(4096)
        answers[int(answer[9:12])] += 1
        idle.append(connection)
print(json.dumps({"sent": sent, "seconds": time.monotonic() - begin, "answers": answers}))
"""

if __name__ == "__main__":
    unittest.main(verbosity=2)
