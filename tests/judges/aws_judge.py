"""botocore as the judge of how AWS's surroundings are read: variables, files, profiles, proxies.

    .venv/bin/python tests/judges/aws_judge.py target/debug/pinpoint-exporter

Each case runs the exporter's `check` and botocore's Pinpoint client in the same surroundings. Both must ask the same hosts, in the same
way, with the same access keys, or both must fail. A stub on loopback is every host: a proxy that ends TLS itself, STS, SSO, a
container, an instance, and Pinpoint. `sts:GetCallerIdentity`, which only the exporter asks, is left out.

On three points the exporter differs, and they have no case here. It refuses a custom endpoint with FIPS or dual-stack, as AWS's other SDKs
do; botocore ignores the choice. It takes an empty variable as unset. It merges sections and properties that are repeated, which
botocore refuses.
"""

import contextlib
import dataclasses
import datetime
import http.server
import json
import os
import pathlib
import re
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.parse
from unittest import mock

# botocore finds the cache of SSO when it is imported.
HOME = pathlib.Path(tempfile.mkdtemp())
os.environ["HOME"] = str(HOME)

import botocore.session  # noqa: E402
from cryptography import x509  # noqa: E402
from cryptography.hazmat.primitives import hashes, serialization  # noqa: E402
from cryptography.hazmat.primitives.asymmetric import ec  # noqa: E402

from limits import HANG_LIMIT, UNHURRIED  # noqa: E402

EXPORTER = os.path.abspath(sys.argv.pop(1) if len(sys.argv) > 1 else "target/debug/pinpoint-exporter")
REGION = "eu-west-1"
ROLE = "arn:aws:iam::123456789012:role/"
KEY = {"AWS_ACCESS_KEY_ID": "AKIAENVIRONMENT00000", "AWS_SECRET_ACCESS_KEY": "secret/of+the/environment"}
FUTURE = "2099-01-01T00:00:00"


def key(name, token=False):
    """The lines of a profile with an access key of this name."""
    lines = f"aws_access_key_id = {access_key(name)}\naws_secret_access_key = secret/of+{name}\n"
    return lines + ("aws_session_token = a/token+==\n" if token else "")


def access_key(name):
    return "AKIA" + name.upper().ljust(16, "0")


class Authority:
    """Certificates of any host, and the file that makes them trusted."""

    def __init__(self, folder):
        self.folder, self.lock, self.contexts = folder, threading.Lock(), {}
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "judge")])
        certificate = self.certificate(self.name, self.key.public_key(), x509.BasicConstraints(True, None))
        self.bundle = folder / "bundle.pem"
        self.bundle.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def certificate(self, subject, public_key, *extensions):
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = x509.CertificateBuilder(
            self.name, subject, public_key, x509.random_serial_number(),
            now - datetime.timedelta(days=1), now + datetime.timedelta(days=7),
        )
        for extension in extensions:
            builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        own = x509.SubjectKeyIdentifier.from_public_key(public_key)
        return builder.add_extension(authority, False).add_extension(own, False).sign(self.key, hashes.SHA256())

    def context(self, host):
        with self.lock:
            if host not in self.contexts:
                own = ec.generate_private_key(ec.SECP256R1())
                name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "host")])
                names = x509.SubjectAlternativeName([x509.DNSName(host)])
                certificate = self.certificate(name, own.public_key(), names, x509.BasicConstraints(False, None))
                path = self.folder / f"{len(self.contexts)}.pem"
                path.write_bytes(
                    own.private_bytes(
                        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
                    ) + certificate.public_bytes(serialization.Encoding.PEM)
                )
                self.contexts[host] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                self.contexts[host].load_cert_chain(path)
            return self.contexts[host]


@dataclasses.dataclass(frozen=True)
class Asked:
    """What was asked: how the request came, of which host, for what, and whose key signed it."""

    way: str
    host: str
    what: str
    signer: str


class Stub(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    authority: Authority
    asked: list
    tunnel = None

    def do_CONNECT(self):
        self.send_response(200)
        self.end_headers()
        host, port = self.path.rsplit(":", 1)
        self.tunnel = host if port == "443" else self.path
        try:
            self.connection = self.authority.context(host).wrap_socket(self.connection, server_side=True)
        except OSError:
            self.close_connection = True
            return
        self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb", 0)
        self.close_connection = False

    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        url = urllib.parse.urlsplit(self.path)
        if self.tunnel:
            way, host = "tunnel", self.tunnel
        elif url.netloc:
            way, host = "proxy", url.netloc
        else:
            way, host = "direct", self.headers["Host"]
        parameters = dict(urllib.parse.parse_qsl(body))
        what, status, text = self.respond(url, parameters)
        signer = re.search(r"Credential=([^/]+)/", self.headers.get("Authorization", ""))
        if what != "sts:GetCallerIdentity":
            self.asked.append(Asked(way, host, what, signer.group(1) if signer else ""))
        self.send_response(status)
        self.send_header("Content-Type", "text/xml" if text.startswith("<") else "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.send_header("x-aws-ec2-metadata-token-ttl-seconds", "21600")
        self.end_headers()
        self.wfile.write(text.encode())

    do_GET = do_POST = do_PUT = answer

    def finish(self):
        super().finish()
        self.connection.close()

    def respond(self, url, parameters):
        action = parameters.get("Action")
        if action == "GetCallerIdentity":
            result = "<Account>123456789012</Account><Arn>arn:aws:iam::123456789012:user/u</Arn><UserId>u</UserId>"
            return "sts:GetCallerIdentity", 200, xml(action, result)
        if action:
            names = ["RoleArn", "ExternalId", "WebIdentityToken", "DurationSeconds"]
            what = [f"{name}={parameters[name]}" for name in names if name in parameters]
            # Without a name of the profile's, each client gives the session one of its own.
            if parameters.get("RoleSessionName", "").startswith("ours"):
                what.append(parameters["RoleSessionName"])
            role = parameters["RoleArn"].rsplit("/", 1)[1]
            result = (
                f"<Credentials><AccessKeyId>{access_key(role)}</AccessKeyId><SecretAccessKey>s</SecretAccessKey>"
                f"<SessionToken>t</SessionToken><Expiration>{FUTURE}Z</Expiration></Credentials><AssumedRoleUser>"
                f"<AssumedRoleId>A:b</AssumedRoleId><Arn>arn:aws:sts::123456789012:assumed-role/{role}/s</Arn>"
                "</AssumedRoleUser>"
            )
            return f"sts:{action} {' '.join(what)}", 200, xml(action, result)
        if url.path == "/container":
            what = f"container {self.headers.get('Authorization', '')}"
            return what, 200, json.dumps(temporary("container"))
        if url.path == "/latest/api/token":
            return "instance token", 200, "a-token"
        if url.path.rstrip("/").endswith("/security-credentials"):
            return "instance role", 200, "instance-role"
        if url.path.endswith("/security-credentials/instance-role"):
            found = {"Code": "Success", "LastUpdated": "2026-01-01T00:00:00Z", "Type": "AWS-HMAC"}
            return "instance key", 200, json.dumps(found | temporary("instance"))
        if url.path == "/federation/credentials":
            query = dict(urllib.parse.parse_qsl(url.query))
            found = {
                "accessKeyId": access_key("sso"), "secretAccessKey": "s", "sessionToken": "t", "expiration": 4070908800000,
            }
            what = f"sso {query['account_id']} {query['role_name']} {self.headers.get('x-amz-sso_bearer_token')}"
            return what, 200, json.dumps({"roleCredentials": found})
        if url.path == "/v1/apps/app/segments/segment/jobs/export":
            return "pinpoint", 200, '{"Item": []}'
        return f"unknown {url.path}", 404, "{}"

    def log_message(self, *_):
        pass


def xml(action, result):
    return (
        f'<{action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><{action}Result>{result}</{action}Result>'
        f"<ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></{action}Response>"
    )


def temporary(name):
    return {
        "AccessKeyId": access_key(name), "SecretAccessKey": "s", "Token": "t", "Expiration": f"{FUTURE}Z",
        "RoleArn": ROLE + name, "AccountId": "123456789012",
    }


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64


@dataclasses.dataclass
class Case:
    name: str
    # Files of ~/.aws by name, and other files.
    config: str = ""
    credentials: str = ""
    variables: dict = dataclasses.field(default_factory=dict)
    # What both must ask of Pinpoint: a part of it that is written down here, so that the two cannot agree on nothing.
    host: str = f"pinpoint.{REGION}.amazonaws.com"
    signer: str = ""
    # Neither may ask Pinpoint anything.
    fails: bool = False
    # Variables that botocore takes as set though they are empty; its run goes without them.
    botocore_lacks: tuple = ()


def process(command):
    return f"[default]\ncredential_process = {command}\n"


def cases(url):
    """`url` is the stub's. `{home}` stands for the home folder, `{port}` for the stub's port, in files and variables."""
    local = f"127.0.0.1:{url.rsplit(':', 1)[1]}"
    regional = f"region = {REGION}\n"
    services = f"services = ours\n[services ours]\npinpoint =\n  endpoint_url = {url}\nsts =\n  endpoint_url = {url}\n"
    role = f"[default]\nrole_arn = {ROLE}reader\nsource_profile = base\n"
    base = "[profile base]\n" + key("base")
    web = {"AWS_WEB_IDENTITY_TOKEN_FILE": "{home}/token", "AWS_ROLE_ARN": ROLE + "web"}
    fips, dualstack = {"AWS_USE_FIPS_ENDPOINT": "true"}, {"AWS_USE_DUALSTACK_ENDPOINT": "true"}
    no_region = {"AWS_REGION": None, "AWS_DEFAULT_REGION": None}
    plain = {"HTTP_PROXY": url, "AWS_ENDPOINT_URL_PINPOINT": "http://pinpoint.example.com"}
    direct = {"HTTP_PROXY": "http://127.0.0.1:9", "AWS_ENDPOINT_URL_PINPOINT": url}
    mine = {"AWS_PROFILE": "mine"}
    return [
        # Keys and profiles.
        Case("key of the environment", variables=KEY, signer="environment"),
        Case("temporary key of the environment", variables=KEY | {"AWS_SESSION_TOKEN": "t/+="}, signer="environment"),
        Case("the environment goes before files", "[default]\n" + key("config"), variables=KEY, signer="environment"),
        Case("key of the configuration file", "[default]\n" + key("config"), signer="config"),
        Case("key of the credentials file", credentials="[default]\n" + key("file", True), signer="file"),
        Case(
            "the credentials file goes first", "[default]\n" + key("config"), "[default]\n" + key("file"),
            signer="file",
        ),
        Case("profile of the configuration file", "[profile mine]\n" + key("mine"), variables=mine, signer="mine"),
        Case("profile of the credentials file", "", "[mine]\n" + key("mine"), mine, signer="mine"),
        Case("profile in quotes", '[profile "mine"]\n' + key("mine"), variables=mine, signer="mine"),
        Case("profile in single quotes", "[profile 'mine']\n" + key("mine"), variables=mine, signer="mine"),
        Case(
            "profile with a blank", '[profile "my own"]\n' + key("mine"), variables={"AWS_PROFILE": "my own"}, signer="mine",
        ),
        Case("default with its prefix", "[profile default]\n" + key("config"), signer="config"),
        Case("text after the bracket", "[default] # ours\n" + key("config"), signer="config"),
        Case(
            "indented properties elsewhere",
            "[profile other]\n  region = us-east-1\n  s3 =\n    a = b\n\n[default]\n" + key("config"), signer="config",
        ),
        Case("own properties indented", "[default]\n  " + key("config").replace("\n", "\n  "), signer="config"),
        Case("comments", "# a\n; b\n[default]\n# c = d\n  ; e\n" + key("config"), signer="config"),
        Case("Windows lines", ("[default]\n" + key("config")).replace("\n", "\r\n"), signer="config"),
        Case("colons", "[default]\n" + key("config").replace(" = ", ": "), signer="config"),
        Case("upper case", "[default]\n" + key("config").replace("aws_", "AWS_"), signer="config"),
        Case("files elsewhere", variables={"AWS_CONFIG_FILE": "~/other"}, signer="other"),
        Case(
            "a file that is not there", "", variables=KEY | {"AWS_CONFIG_FILE": "/no/such/file"},
            signer="environment",
        ),
        Case(
            "empty variables", "[default]\n" + key("config"),
            variables={"AWS_PROFILE": "", "AWS_CONFIG_FILE": "", "AWS_SHARED_CREDENTIALS_FILE": "", "AWS_ENDPOINT_URL": ""},
            botocore_lacks=("AWS_PROFILE", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"), signer="config",
        ),
        # Regions and endpoints.
        Case("region of the profile", "[default]\n" + regional + key("config"), variables=no_region, signer="config"),
        Case(
            "region of another partition", variables=KEY | {"AWS_REGION": "cn-north-1", "AWS_DEFAULT_REGION": "cn-north-1"},
            host="pinpoint.cn-north-1.amazonaws.com.cn", signer="environment",
        ),
        Case("FIPS", variables=KEY | fips, host=f"pinpoint-fips.{REGION}.amazonaws.com", signer="environment"),
        Case("dual-stack", variables=KEY | dualstack, host=f"pinpoint.{REGION}.api.aws", signer="environment"),
        Case(
            "FIPS, dual-stack", variables=KEY | fips | dualstack, host=f"pinpoint-fips.{REGION}.api.aws",
            signer="environment",
        ),
        Case(
            "FIPS of the profile", "[default]\nuse_fips_endpoint = true\n" + key("config"),
            host=f"pinpoint-fips.{REGION}.amazonaws.com", signer="config",
        ),
        Case(
            "dual-stack of the profile", "[default]\nuse_dualstack_endpoint = True\n" + key("config"),
            host=f"pinpoint.{REGION}.api.aws", signer="config",
        ),
        Case(
            "the environment goes before the profile", "[default]\nuse_fips_endpoint = true\n" + key("config"),
            variables={"AWS_USE_FIPS_ENDPOINT": "false"}, signer="config",
        ),
        Case(
            "endpoint of the environment", variables=KEY | {"AWS_ENDPOINT_URL": url}, host=local,
            signer="environment",
        ),
        Case(
            "endpoint of the service", variables=KEY | {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_ENDPOINT_URL_PINPOINT": url},
            host=local, signer="environment",
        ),
        Case(
            "endpoint of the profile", f"[default]\nendpoint_url = {url}\n" + key("config"), host=local,
            signer="config",
        ),
        Case("services", "[default]\n" + key("config") + services, host=local, signer="config"),
        Case(
            "services go before the profile's endpoint",
            "[default]\nendpoint_url = http://127.0.0.1:9\n" + key("config") + services, host=local, signer="config",
        ),
        Case(
            "a general variable goes before services",
            "[default]\n" + key("config") + services.replace(url, "http://127.0.0.1:9"),
            variables={"AWS_ENDPOINT_URL": url}, host=local, signer="config",
        ),
        Case(
            "endpoints ignored", "[default]\n" + key("config") + services,
            variables={"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true", "AWS_ENDPOINT_URL": url}, signer="config",
        ),
        Case(
            "endpoints ignored by the profile",
            "[default]\nignore_configured_endpoint_urls = true\n" + key("config") + services, signer="config",
        ),
        # Roles.
        Case("role", role + base, signer="reader"),
        Case(
            "role in FIPS", role + base, variables=fips, host=f"pinpoint-fips.{REGION}.amazonaws.com",
            signer="reader",
        ),
        Case(
            "role in FIPS of the profile", role + "use_fips_endpoint = true\n" + base,
            host=f"pinpoint-fips.{REGION}.amazonaws.com", signer="reader",
        ),
        Case(
            "role in dual-stack", role + base, variables=dualstack, host=f"pinpoint.{REGION}.api.aws",
            signer="reader",
        ),
        Case(
            "role with all it may have",
            role + "external_id = between-us\nrole_session_name = ours-1\nduration_seconds = 1800\n" + base, signer="reader",
        ),
        Case(
            "role with its own key",
            f"[default]\nrole_arn = {ROLE}reader\nsource_profile = default\n" + key("config"), signer="reader",
        ),
        Case(
            "role of a role", role + f"[profile base]\nrole_arn = {ROLE}middle\nsource_profile = last\n[profile last]\n" + key("last"),
            signer="reader",
        ),
        Case(
            "the key of a source goes before its role",
            role + f"[profile base]\nrole_arn = {ROLE}middle\nsource_profile = last\n" + key("base") + "[profile last]\n" + key("last"),
            signer="reader",
        ),
        Case("source in the credentials file", role, "[base]\n" + key("base"), signer="reader"),
        Case(
            "role of a process", role + process("{home}/process").replace("default", "profile base"),
            signer="reader",
        ),
        Case(
            "role of web identity", role + f"[profile base]\nrole_arn = {ROLE}web\nweb_identity_token_file = {{home}}/token\n",
            signer="reader",
        ),
        Case(
            "role of a container", f"[default]\nrole_arn = {ROLE}reader\ncredential_source = EcsContainer\n",
            variables={"AWS_CONTAINER_CREDENTIALS_FULL_URI": url + "/container"}, signer="reader",
        ),
        Case(
            "role at an endpoint of STS", role + base, variables={"AWS_ENDPOINT_URL_STS": url}, signer="reader",
        ),
        Case(
            "STS of services", role + "services = ours\n" + base + f"[services ours]\nsts =\n  endpoint_url = {url}\n",
            signer="reader",
        ),
        Case(
            "role at a general endpoint", role + base, variables={"AWS_ENDPOINT_URL": url}, host=local,
            signer="reader",
        ),
        # Web identity.
        Case("web identity", variables=web, signer="web"),
        Case(
            "web identity in FIPS", variables=web | fips, host=f"pinpoint-fips.{REGION}.amazonaws.com",
            signer="web",
        ),
        Case(
            "web identity in dual-stack", variables=web | dualstack, host=f"pinpoint.{REGION}.api.aws",
            signer="web",
        ),
        Case("web identity at an endpoint of STS", variables=web | {"AWS_ENDPOINT_URL_STS": url}, signer="web"),
        Case("web identity with a name", variables=web | {"AWS_ROLE_SESSION_NAME": "ours-2"}, signer="web"),
        Case(
            "web identity of the profile",
            f"[default]\nrole_arn = {ROLE}web\nweb_identity_token_file = {{home}}/token\n", signer="web",
        ),
        # Containers and instances: never through a proxy.
        Case(
            "container",
            variables={"AWS_CONTAINER_CREDENTIALS_FULL_URI": url + "/container", "HTTP_PROXY": "http://127.0.0.1:9"},
            signer="container",
        ),
        Case(
            "container with a token",
            variables={"AWS_CONTAINER_CREDENTIALS_FULL_URI": url + "/container", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": "{home}/token"},
            signer="container",
        ),
        Case(
            "instance", variables={"AWS_EC2_METADATA_DISABLED": "false", "AWS_EC2_METADATA_SERVICE_ENDPOINT": url},
            signer="instance",
        ),
        # Processes.
        Case("process", process("{home}/process"), signer="process"),
        Case("process with quotes", process("{home}/process 'a b' \"c d\" e\\ f"), signer="process"),
        Case("process with a comment sign", process("{home}/process '#' --x"), signer="process"),
        Case("process with a date of another form", process("{home}/process +0000"), signer="process"),
        Case("process before the key beside it", process("{home}/process") + key("config"), signer="process"),
        Case(
            "the credentials file before a process", process("{home}/process"), "[default]\n" + key("file"),
            signer="file",
        ),
        # SSO.
        Case(
            "SSO", "[default]\nsso_session = test\nsso_account_id = 123456789012\nsso_role_name = reader\n"
            f"[sso-session test]\nsso_region = {REGION}\nsso_start_url = https://portal.example.com/start\n", signer="sso",
        ),
        Case(
            "SSO without a session", "[default]\nsso_account_id = 123456789012\nsso_role_name = reader\n"
            f"sso_region = {REGION}\nsso_start_url = https://portal.example.com/start\n", signer="sso",
        ),
        # Proxies. The stub is one, too.
        Case("proxy without a scheme", variables=KEY | {"HTTPS_PROXY": local}, signer="environment"),
        Case(
            "lower case goes first", variables=KEY | {"HTTPS_PROXY": "http://127.0.0.1:9", "https_proxy": url},
            signer="environment",
        ),
        Case("proxy for plain HTTP", variables=KEY | plain, host="pinpoint.example.com", signer="environment"),
        Case(
            "STS through the proxy for plain HTTP",
            variables=web | plain | {"AWS_ENDPOINT_URL_STS": "http://sts.example.com"},
            host="pinpoint.example.com", signer="web",
        ),
        Case("no proxy for all", variables=KEY | direct | {"NO_PROXY": "*"}, host=local, signer="environment"),
        Case(
            "no proxy for an address", variables=KEY | direct | {"NO_PROXY": "example.com, 127.0.0.1"}, host=local,
            signer="environment",
        ),
        Case(
            "no proxy for an address with a port", variables=KEY | direct | {"no_proxy": local}, host=local,
            signer="environment",
        ),
        Case(
            "a proxy in spite of another port", variables=KEY | plain | {"NO_PROXY": "pinpoint.example.com:8080"},
            host="pinpoint.example.com", signer="environment",
        ),
        Case(
            "no proxy for a domain", variables=KEY | direct | {"NO_PROXY": ".localhost", "AWS_ENDPOINT_URL_PINPOINT": "http://localhost:{port}"},
            host="localhost:" + local.split(":")[1], signer="environment",
        ),
        Case(
            "a proxy in spite of another domain", variables=KEY | plain | {"NO_PROXY": "point.example.com"},
            host="pinpoint.example.com", signer="environment",
        ),
        # What cannot be.
        Case("no region", variables=KEY | no_region, fails=True),
        Case("no credentials", fails=True),
        Case("half a key", variables={"AWS_ACCESS_KEY_ID": "AKIA"}, fails=True),
        Case("half a key in the profile", "[default]\naws_access_key_id = AKIA\n", fails=True),
        Case("a profile that is not there", "[default]\n" + key("config"), variables=mine | KEY, fails=True),
        Case("a profile without its prefix", "[mine]\n" + key("mine"), variables=mine, fails=True),
        Case("rubbish", "[default]\nrubbish\n" + key("config"), fails=True),
        Case("a property before any section", "region = a\n[default]\n" + key("config"), fails=True),
        Case("services that are not there", "[default]\nservices = none\n" + key("config"), fails=True),
        Case("a source that is not there", role, fails=True),
        Case("a role without a source", f"[default]\nrole_arn = {ROLE}reader\n", fails=True),
        Case(
            "a circle of roles", role + f"[profile base]\nrole_arn = {ROLE}b\nsource_profile = default\n",
            fails=True,
        ),
        Case("web identity without a role", variables={"AWS_WEB_IDENTITY_TOKEN_FILE": "{home}/token"}, fails=True),
        Case("a process that fails", process("/bin/false"), fails=True),
        Case("a process that is not there", process("/no/such/program"), fails=True),
    ]


# The name of a cached login: SHA-1 of the session's name and of the start URL.
LOGINS = ("a94a8fe5ccb19ba61c4c0873d391e987982fbbd3", "f99d968d2b4037e9fb98a14ff5546d9ef0c014b8")


class AwsJudge(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.addClassCleanup(shutil.rmtree, HOME)
        cls.folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        Stub.authority, Stub.asked = Authority(cls.folder), []
        server = cls.enterClassContext(Server(("127.0.0.1", 0), Stub))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        cls.addClassCleanup(server.shutdown)
        cls.port = server.server_port
        cls.url = f"http://127.0.0.1:{cls.port}"

    @contextlib.contextmanager
    def surroundings(self, case):
        """The variables of a case, whose files are written."""
        def filled(text):
            return text.replace("{home}", str(HOME)).replace("{port}", str(self.port))

        home, aws = HOME, HOME / ".aws"
        (aws / "sso/cache").mkdir(parents=True)
        for name, text in [("config", case.config), ("credentials", case.credentials)]:
            (aws / name).write_bytes(filled(text).encode())
        (home / "other").write_text("[default]\n" + key("other"))
        (home / "token").write_text("a-web-token")
        printed = {
            "Version": 1, "AccessKeyId": access_key("process"), "SecretAccessKey": "s", "SessionToken": "t",
            "Expiration": FUTURE + "ZONE",
        }
        script = f"#!/bin/sh\nprintf '%s' '{json.dumps(printed)}' | sed \"s/ZONE/$(case $1 in +*) echo $1;; *) echo Z;; esac)/\"\n"
        (home / "process").write_text(script)
        (home / "process").chmod(0o755)
        login = {"accessToken": "of-the-login", "expiresAt": "2099-01-01T00:00:00Z", "region": REGION}
        for name in LOGINS:
            (aws / f"sso/cache/{name}.json").write_text(json.dumps(login))
        variables = {
            "HOME": str(home), "PATH": os.environ["PATH"], "AWS_EC2_METADATA_DISABLED": "true", "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION, "HTTPS_PROXY": self.url, "AWS_CA_BUNDLE": str(Stub.authority.bundle),
        } | case.variables
        try:
            yield {name: filled(value) for name, value in variables.items() if value is not None}
        finally:
            shutil.rmtree(aws)

    def exporter(self, variables):
        Stub.asked.clear()
        own = {"PINPOINT_EXPORTER_TARGETS": "app/segment", "PINPOINT_EXPORTER_MAX_ATTEMPTS": "1", **UNHURRIED}
        run = subprocess.run(
            [EXPORTER, "check", "--json"], env=variables | own, capture_output=True, timeout=HANG_LIMIT, text=True, check=False,
        )
        return run.returncode == 0, list(Stub.asked), run.stdout + run.stderr

    def botocore(self, variables):
        Stub.asked.clear()
        with mock.patch.dict(os.environ, variables, clear=True):
            try:
                session = botocore.session.Session()
                session.create_client("pinpoint").get_segment_export_jobs(ApplicationId="app", SegmentId="segment")
            except Exception as error:  # noqa: BLE001: whatever it is, there was no answer
                return False, list(Stub.asked), f"{type(error).__name__}: {error}"
        return True, list(Stub.asked), ""

    def compare(self, case, sabotage=lambda variables: variables):
        with self.surroundings(case) as variables:
            worked, asked, said = self.exporter(sabotage(dict(variables)))
            lacks = {name: value for name, value in variables.items() if name not in case.botocore_lacks}
            worked_there, asked_there, said_there = self.botocore(lacks)
        both = f"\nexporter: {asked}\n{said}\nbotocore: {asked_there}\n{said_there}"
        self.assertEqual(worked_there, not case.fails, "what the case expects of botocore" + both)
        self.assertEqual(worked, worked_there, both)
        if case.fails:
            self.assertFalse([it for it in asked + asked_there if it.what == "pinpoint"], both)
            return
        self.assertEqual(asked, asked_there, both)
        self.assertEqual((asked[-1].what, asked[-1].host, asked[-1].signer), ("pinpoint", case.host, access_key(case.signer)), both)

    def test_the_exporter_asks_what_botocore_asks(self):
        all_cases = cases(self.url)
        self.assertEqual(len(all_cases), len({case.name for case in all_cases}))
        for case in all_cases:
            with self.subTest(case.name):
                self.compare(case)
        print(f"{len(all_cases)} surroundings", file=sys.stderr)

    def test_a_program_that_overlooks_something_is_found_out(self):
        def without(name):
            return lambda variables: {other: value for other, value in variables.items() if other != name}

        def other_files(variables):
            return variables | {"AWS_CONFIG_FILE": os.devnull}

        by_name = {case.name: case for case in cases(self.url)}
        for name, sabotage in [
            ("FIPS", without("AWS_USE_FIPS_ENDPOINT")), ("web identity in FIPS", without("AWS_USE_FIPS_ENDPOINT")),
            ("services", other_files), ("profile in quotes", without("AWS_PROFILE")),
            ("no proxy for all", without("NO_PROXY")), ("a proxy in spite of another port", lambda it: it | {"NO_PROXY": "*"}),
            ("role at an endpoint of STS", without("AWS_ENDPOINT_URL_STS")),
            ("a profile that is not there", without("AWS_PROFILE")),
        ]:
            with self.subTest(name), self.assertRaises(AssertionError):
                self.compare(by_name[name], sabotage)

    def test_as_the_first_process_of_a_container_it_leaves_no_zombies(self):
        first = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
        first += [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
        if subprocess.run([*first, "true"], check=False, capture_output=True).returncode != 0:
            self.skipTest("unshare is not allowed here")
        script = HOME / "leaves-a-child"
        script.write_text("#!/bin/sh\nsleep 1000 >/dev/null 2>&1 & exec {}/process\n".format(HOME))
        script.chmod(0o755)
        own = {
            "PINPOINT_EXPORTER_TARGETS": "app/segment", "PINPOINT_EXPORTER_LISTEN_ADDRESS": "127.0.0.1:0",
            "PINPOINT_EXPORTER_LOG_LEVEL": "off",
        }
        case = Case("as the first process", process("{home}/leaves-a-child"))
        with self.surroundings(case) as variables, subprocess.Popen([*first, EXPORTER], env=variables | own) as run:
            try:
                exporter = self.until(lambda: children(run.pid))[0]
                # When the script has ended, its child is the exporter's.
                orphan = self.until(lambda: [pid for pid in children(exporter) if command_of(pid) == "sleep"])[0]
                os.kill(orphan, signal.SIGKILL)
                self.until(lambda: not pathlib.Path(f"/proc/{orphan}").exists())
                self.until(lambda: not children(exporter))
            finally:
                run.kill()

    def until(self, found):
        """What is found in the end. Only what hangs is not found by then."""
        end = time.monotonic() + HANG_LIMIT
        while time.monotonic() < end:
            if result := found():
                return result
            time.sleep(0.01)
        self.fail("it does not happen")


def stat(pid):
    """The name, the state and the parent of a process."""
    with contextlib.suppress(OSError):
        text = pathlib.Path(f"/proc/{pid}/stat").read_text()
        name, rest = text[text.index("(") + 1 : text.rindex(")")], text[text.rindex(")") + 1 :].split()
        return name, rest[0], int(rest[1])
    return "", "", 0


def command_of(pid):
    return stat(pid)[0]


def children(parent):
    """Zombies included."""
    pids = [int(path.name) for path in pathlib.Path("/proc").iterdir() if path.name.isdigit()]
    return [pid for pid in pids if stat(pid)[2] == parent]


if __name__ == "__main__":
    unittest.main()
