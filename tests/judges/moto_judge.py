"""moto as a judge of the exporter: its Pinpoint of the discovery, its STS and IAM of credentials and roles.

    .venv/bin/python tests/judges/moto_judge.py target/debug/pinpoint-exporter target/debug/fake-pinpoint

moto checks signatures and permissions only where a test turns that on, and then those of STS alone: it refuses every
signature of a GET request, botocore's own too.
"""

import contextlib
import http.server
import json
import logging
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.error
import urllib.request
from unittest import mock

ISOLATED = {
    "AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}
os.environ.update(ISOLATED, NO_PROXY="*")

import boto3  # noqa: E402
from moto.server import ThreadedMotoServer  # noqa: E402
from moto.sts.models import STSBackend, sts_backends  # noqa: E402
from moto.sts.responses import TokenResponse  # noqa: E402

from limits import HANG_LIMIT, UNHURRIED  # noqa: E402

EXPORTER = sys.argv.pop(1) if len(sys.argv) > 1 else "target/debug/pinpoint-exporter"
FAKE = sys.argv.pop(1) if len(sys.argv) > 1 else "target/debug/fake-pinpoint"
REGION = "eu-west-1"
ACCOUNT, OTHER_ACCOUNT = "123456789012", "210987654321"
EXTERNAL_ID = "between:us/judge-77"
APP, SEGMENT = "6e0b7591a90841d2b5d93fa11143e5a7", "b66c9e42f71444b2aa2e0ffc1df28f60"
WORLD = {"applications": {APP: {"segments": {SEGMENT: {"jobs": [{"id": "j", "created": "-2h", "lasts": "1h"}]}}}}}
PINPOINT = f"pinpoint.{REGION}.amazonaws.com:443"
IAM = pathlib.Path(__file__).parents[2] / "deploy/iam"


def setUpModule():
    global MOTO
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    unittest.addModuleCleanup(server.stop)
    MOTO = "http://{}:{}".format(*server.get_host_and_port())
    envelope = mock.patch.object(TokenResponse, "_transform_response", as_sts_writes_it)
    envelope.start()
    unittest.addModuleCleanup(envelope.stop)


def as_sts_writes_it(_responder, headers, response):
    """moto puts `Errors` around the `Error` of a refusal. STS does not, and AWS's Rust SDK then finds neither code nor
    message, which stay as moto wrote them."""
    body, status = response
    return status["status"], headers, body.replace("<Errors>", "").replace("</Errors>", "")


def ask(method, url, body=None):
    request = urllib.request.Request(url, method=method, data=body, headers={"Content-Type": "text/plain"})
    with urllib.request.urlopen(request, timeout=HANG_LIMIT) as answer:
        return answer.read().decode()


def checks(on):
    """Whether moto verifies signatures and permissions from now on."""
    ask("POST", f"{MOTO}/moto-api/reset-auth", b"0" if on else b"inf")


def client(service, key=("AKIATHEFOUNDER000000", "founder", None)):
    identifier, secret, token = key
    return boto3.client(
        service, region_name=REGION, endpoint_url=MOTO,
        aws_access_key_id=identifier, aws_secret_access_key=secret, aws_session_token=token,
    )


def role_arn(name, account=ACCOUNT):
    return f"arn:aws:iam::{account}:role/{name}"


def target_arn(account=ACCOUNT):
    return f"arn:aws:mobiletargeting:{REGION}:{account}:apps/{APP}/segments/{SEGMENT}"


def iam(account):
    """IAM of an account. moto takes a caller's account from the access key."""
    role = client("sts").assume_role(RoleArn=role_arn("founder", account), RoleSessionName="founder")["Credentials"]
    return client("iam", (role["AccessKeyId"], role["SecretAccessKey"], role["SessionToken"]))


def create_user(name, may_assume=(), account=ACCOUNT):
    """The variables of a user who may assume these roles and nothing else."""
    users = iam(account)
    users.create_user(UserName=name)
    if may_assume:
        policy = json.loads((IAM / "assume-roles.json").read_text())
        policy["Statement"][0]["Resource"] = list(may_assume)
        users.put_user_policy(UserName=name, PolicyName="assume", PolicyDocument=json.dumps(policy))
    key = users.create_access_key(UserName=name)["AccessKey"]
    return {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}


def create_role(name, trusts, account=ACCOUNT):
    """A role that trusts these users if they know the external id."""
    users = [f"arn:aws:iam::{ACCOUNT}:user/{user}" for user in trusts]
    trust = json.loads((IAM / "trust/another-account.json").read_text().replace("EXTERNAL_ID", EXTERNAL_ID))
    trust["Statement"][0]["Principal"]["AWS"] = users
    trust = json.dumps(trust)
    return iam(account).create_role(RoleName=name, AssumeRolePolicyDocument=trust)["Role"]["Arn"]


def sessions(role):
    """Those that moto has given out for a role."""
    account = role.split(":")[4]
    return [session for session in sts_backends[account]["aws"].assumed_roles if session.role_arn == role]


class Process:
    """A program under test, with just these variables."""

    def __init__(self, arguments, variables, serving):
        self.log_file = tempfile.NamedTemporaryFile(suffix=".log")
        self.process = subprocess.Popen(
            arguments, env={**ISOLATED, **variables}, stdin=subprocess.DEVNULL,
            stdout=self.log_file, stderr=self.log_file)
        self.url = "http://" + self.until(lambda: re.search(serving, self.log()), self.log)[1]

    def until(self, condition, explain):
        """What the condition gives as soon as it gives something."""
        deadline = time.monotonic() + HANG_LIMIT
        while not (found := condition()):
            if time.monotonic() > deadline or self.process.poll() is not None:
                self.stop()
                raise AssertionError(f"not within {HANG_LIMIT} s:\n{explain()}")
            time.sleep(0.05)
        return found

    def log(self):
        """The lines that are written so far."""
        with open(self.log_file.name, encoding="utf-8") as file:
            return file.read()

    def whole_log(self):
        """The log of the stopped program. A running one may still write lines about a scrape that has ended."""
        self.stop()
        return self.log()

    def stop(self):
        self.process.terminate()
        self.process.wait(HANG_LIMIT)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
        self.log_file.close()


class Exporter(Process):
    """A running exporter that has looked for its credentials once."""

    def __init__(self, targets, variables):
        variables = {
            "AWS_REGION": REGION, "PINPOINT_EXPORTER_TARGETS": targets, "PINPOINT_EXPORTER_CACHE_TTL": "0s",
            "PINPOINT_EXPORTER_DISCOVERY_TTL": "1s", "PINPOINT_EXPORTER_MAX_ATTEMPTS": "1",
            "PINPOINT_EXPORTER_LISTEN_ADDRESS": "127.0.0.1:0", **UNHURRIED, **variables,
        }
        super().__init__([EXPORTER], variables, r"serving.*\baddress=(\S+)")
        self.until(self.is_ready, self.log)

    def is_ready(self):
        with contextlib.suppress(urllib.error.HTTPError):
            return ask("GET", f"{self.url}/-/ready")

    def scrape(self):
        return Scrape(ask("GET", f"{self.url}/metrics"))


class Scrape:
    """What one scrape shows."""

    def __init__(self, text):
        self.text = text
        self.samples = []
        for name, labels, value in re.findall(r"^(\w+)(?:\{(.*)\})? (\S+)$", text, re.MULTILINE):
            self.samples.append((name, dict(re.findall(r'(\w+)="([^"]*)"', labels)), float(value)))

    def by(self, label, name, **labels):
        """The values of a family by one label, of the series with these others."""
        return {
            has[label]: value for found, has, value in self.samples
            if found == name and labels.items() <= has.items()
        }

    def sum(self, name, **labels):
        return sum(value for found, has, value in self.samples if found == name and labels.items() <= has.items())


class Fake(Process):
    """A fake Pinpoint that accepts no signature of moto's keys, until it is told of one."""

    def __init__(self, *arguments):
        self.world = tempfile.NamedTemporaryFile("w", suffix=".json")
        json.dump(WORLD, self.world)
        self.world.flush()
        own = ["--listen", "127.0.0.1:0", "--world", self.world.name, "--region", REGION]
        super().__init__([FAKE, *own, *arguments], {}, r"listening at \S*?([\d.]+:\d+)")

    def accept(self, key):
        ask("PUT", f"{self.url}/_fake/keys", json.dumps([key]).encode())

    def requests(self):
        return json.loads(ask("GET", f"{self.url}/_fake/requests"))


class Proxy(http.server.BaseHTTPRequestHandler):
    """A proxy that notes where it should connect to, and refuses. So nothing leaves this machine."""

    @classmethod
    @contextlib.contextmanager
    def run(cls):
        """The variables to use it, and the list of what was asked for."""
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), cls) as server:
            server.asked = []
            threading.Thread(target=server.serve_forever, daemon=True).start()
            yield {"HTTPS_PROXY": "http://{}:{}".format(*server.server_address), "NO_PROXY": ""}, server.asked
            server.shutdown()

    def do_CONNECT(self):
        self.server.asked.append(self.path)
        self.send_error(502)

    def log_message(self, *_):
        pass


class MotoJudge(unittest.TestCase):
    def setUp(self):
        checks(False)
        ask("POST", f"{MOTO}/moto-api/reset")

    def assert_down(self, scrape, exception, exporter):
        self.assertEqual(scrape.by("exception", "pinpoint_target_error"), {exception: 1}, exporter.log())
        self.assertEqual(scrape.by("application_id", "pinpoint_target_up"), {APP: 0})

    def warning(self, exporter, *secrets):
        """The line about the failed target. No line of the log has a secret."""
        log = exporter.whole_log()
        for secret in secrets:
            self.assertNotIn(secret, log)
        lines = [line for line in log.splitlines() if "level=warn" in line and SEGMENT in line]
        self.assertEqual(len(lines), 1, log)
        return lines[0]


class Discovery(MotoJudge):
    def setUp(self):
        super().setUp()
        self.pinpoint = client("pinpoint")
        self.variables = {
            "AWS_ACCESS_KEY_ID": "AKIAANYONEANYONE0000", "AWS_SECRET_ACCESS_KEY": "any",
            "AWS_ENDPOINT_URL_PINPOINT": MOTO,
        }

    def create(self, name):
        return self.pinpoint.create_app(CreateApplicationRequest={"Name": name})["ApplicationResponse"]["Id"]

    def test_every_application_becomes_a_target_and_a_missing_operation_is_no_empty_list(self):
        apps = {self.create("one"), self.create("two")}
        with Exporter("*", self.variables) as exporter:
            scrape = exporter.scrape()
        self.assertEqual(scrape.by("application_id", "pinpoint_discovery_up"), {"": 1}, scrape.text)
        self.assertEqual(scrape.by("application_id", "pinpoint_target_up"), dict.fromkeys(apps, 0))
        # moto has no export jobs: its answer is a page of HTML with status 404.
        self.assertEqual(
            scrape.by("application_id", "pinpoint_target_error", exception="NotFoundException"), dict.fromkeys(apps, 1))
        self.assertNotIn("pinpoint_segment_export_jobs{", scrape.text)
        errors = scrape.by("exception", "pinpoint_api_errors_total", operation="GetApps")
        self.assertEqual((sum(errors.values()), scrape.sum("pinpoint_api_requests_total", operation="GetApps")), (0, 1))

    def test_the_segments_of_every_application_are_asked_for(self):
        apps = {self.create("one"), self.create("two"), self.create("three")}
        with Exporter("*/*", {**self.variables, "PINPOINT_EXPORTER_CACHE_TTL": "5m"}) as exporter:
            scrape = exporter.scrape()
        up = {"": 1, **dict.fromkeys(apps, 0)}
        self.assertEqual(scrape.by("application_id", "pinpoint_discovery_up"), up, scrape.text)
        failed = scrape.sum("pinpoint_api_errors_total", operation="GetSegments", exception="NotFoundException")
        self.assertEqual((failed, scrape.sum("pinpoint_api_requests_total", operation="GetSegments")), (3, 3))
        self.assertEqual(scrape.by("application_id", "pinpoint_target_up"), {})

    def test_a_scrape_asks_once_for_a_list_that_fails(self):
        self.create("one")
        with Exporter("*/*", self.variables) as exporter:
            scrape = exporter.scrape()
        self.assertEqual(scrape.sum("pinpoint_api_requests_total", operation="GetSegments"), 1)

    def test_applications_come_and_go_without_a_restart(self):
        with Exporter("*", self.variables) as exporter:
            def shown():
                return set(exporter.scrape().by("application_id", "pinpoint_target_up"))

            self.assertEqual(exporter.scrape().by("application_id", "pinpoint_discovery_up"), {"": 1})
            self.assertEqual(shown(), set())
            apps = {self.create("one"), self.create("two")}
            exporter.until(lambda: shown() == apps, exporter.log)
            gone = apps.pop()
            self.pinpoint.delete_app(ApplicationId=gone)
            exporter.until(lambda: shown() == apps, exporter.log)
            self.assertNotIn(gone, exporter.scrape().text)

class Policies(MotoJudge):
    """The files of `deploy/iam`, whose grammar moto checks when they are put."""

    FILLED = {"REGION": REGION, "EXPORTER_ACCOUNT": ACCOUNT, "ACCOUNT": ACCOUNT}

    def filled(self, folder):
        files = sorted(folder.glob("*.json"))
        self.assertGreater(len(files), 4)
        for file in files:
            with self.subTest(file.name):
                document = file.read_text()
                for word, value in self.FILLED.items():
                    document = document.replace(word, value)
                yield file.stem, document

    def test_iam_takes_every_policy(self):
        users = iam(ACCOUNT)
        users.create_user(UserName="owner")
        for name, document in self.filled(IAM):
            users.put_user_policy(UserName="owner", PolicyName=name, PolicyDocument=document)
        with self.assertRaisesRegex(users.exceptions.MalformedPolicyDocumentException, "Syntax errors"):
            users.put_user_policy(
                UserName="owner", PolicyName="broken", PolicyDocument=document.replace("Effect", "Affect"))

    def test_iam_takes_every_trust_policy(self):
        roles = iam(ACCOUNT)
        roles.create_role(RoleName="owned", AssumeRolePolicyDocument="{}")
        for _, document in self.filled(IAM / "trust"):
            roles.update_assume_role_policy(RoleName="owned", PolicyDocument=document)
        with self.assertRaisesRegex(roles.exceptions.MalformedPolicyDocumentException, "Unknown field|Syntax"):
            roles.update_assume_role_policy(RoleName="owned", PolicyDocument=document.replace("Effect", "Affect"))


class Roles(MotoJudge):
    """A target in the name of a role that demands an external id. Pinpoint is our fake."""

    def setUp(self):
        super().setUp()
        self.role = create_role("reader", trusts=["exporter", "stranger"])
        self.user = create_user("exporter", may_assume=[self.role])
        self.fake = self.enterContext(Fake())
        checks(True)

    def exporter(self, **variables):
        variables = {
            **self.user, "AWS_ENDPOINT_URL_STS": MOTO, "AWS_ENDPOINT_URL_PINPOINT": self.fake.url,
            "PINPOINT_EXPORTER_ROLE_ARNS": self.role, "PINPOINT_EXPORTER_ROLE_EXTERNAL_ID": EXTERNAL_ID,
            "PINPOINT_EXPORTER_LOG_LEVEL": "debug", **variables,
        }
        return Exporter(target_arn(), variables)

    def test_the_role_is_assumed_and_its_credentials_sign_what_pinpoint_is_asked(self):
        with self.exporter() as exporter:
            [session] = sessions(self.role)
            self.fake.accept({
                "access_key_id": session.access_key_id, "secret_access_key": session.secret_access_key,
                "session_token": session.session_token,
            })
            scrape = exporter.scrape()
            log = exporter.whole_log()
        self.assertEqual(scrape.by("aws_account_id", "pinpoint_target_up"), {ACCOUNT: 1}, log)
        self.assertEqual(scrape.by("aws_account_id", "pinpoint_segment_export_jobs", status="COMPLETED"), {ACCOUNT: 1})
        # moto takes a missing external id for a right one, which AWS does not: so what arrived is looked at.
        self.assertEqual((session.role_arn, session.external_id, session.session_name),
                         (self.role, EXTERNAL_ID, "pinpoint-exporter"))
        expiry = scrape.by("aws_account_id", "pinpoint_exporter_credentials_expiry_timestamp_seconds")
        self.assertEqual(set(expiry), {ACCOUNT})
        self.assertAlmostEqual(expiry[ACCOUNT], session.expiration.timestamp(), delta=1)
        for secret in [EXTERNAL_ID, session.secret_access_key, session.session_token, *self.user.values()]:
            self.assertNotIn(secret, log)

    def assert_refused(self, reasons, **variables):
        secrets = [EXTERNAL_ID, self.user["AWS_SECRET_ACCESS_KEY"], *variables.values()]
        with self.exporter(**variables) as exporter:
            scrape = exporter.scrape()
            self.assert_down(scrape, "CredentialsError", exporter)
            warning = self.warning(exporter, *secrets)
        for reason in reasons:
            self.assertIn(reason, warning)
        self.assertEqual(self.fake.requests(), [])
        self.assertEqual(scrape.sum("pinpoint_api_requests_total"), 0)
        self.assertEqual(sessions(self.role), [])
        for secret in secrets:
            self.assertNotIn(secret, scrape.text)

    def test_a_wrong_external_id_ends_before_pinpoint(self):
        self.assert_refused(
            ["AccessDenied", "user/exporter is not authorized to perform: sts:AssumeRole"],
            PINPOINT_EXPORTER_ROLE_EXTERNAL_ID="of:somebody/else-78")

    def test_a_wrong_secret_ends_before_pinpoint(self):
        self.assert_refused(["SignatureDoesNotMatch"], AWS_SECRET_ACCESS_KEY="wrong/secret+of+the+user")

    def test_a_key_that_nobody_has_ends_before_pinpoint(self):
        self.assert_refused(["InvalidClientTokenId"], AWS_ACCESS_KEY_ID="AKIANOBODYNOBODY0000")

    def test_a_user_who_may_not_assume_the_role_ends_before_pinpoint(self):
        checks(False)
        stranger = create_user("stranger", may_assume=[role_arn("another")])
        checks(True)
        self.assert_refused(["AccessDenied", "user/stranger is not authorized to perform: sts:AssumeRole"], **stranger)


class Accounts(MotoJudge):
    """Whose credentials they are. Pinpoint is AWS's own, behind a proxy that lets nothing through."""

    def run_exporter(self, variables, account=ACCOUNT):
        """A scrape of a target in an account, the log, and what the proxy was asked for."""
        checks(True)
        with Proxy.run() as (proxy, asked):
            variables = {"AWS_ENDPOINT_URL_STS": MOTO, **proxy, **variables}
            with Exporter(target_arn(account), variables) as exporter:
                scrape = exporter.scrape()
                return scrape, exporter.whole_log(), asked

    def assert_reaches_pinpoint(self, variables, account=ACCOUNT):
        scrape, log, asked = self.run_exporter(variables, account)
        self.assertEqual(asked, [PINPOINT], log)
        # Since the proxy refuses.
        self.assertEqual(scrape.by("exception", "pinpoint_target_error"), {"ConnectionError": 1}, log)
        self.assertEqual(scrape.sum("pinpoint_api_requests_total"), 1)

    def assert_never_reaches_pinpoint(self, reason, variables, account=ACCOUNT):
        scrape, log, asked = self.run_exporter(variables, account)
        self.assertEqual(asked, [], log)
        self.assertEqual(scrape.by("exception", "pinpoint_target_error"), {"CredentialsError": 1}, log)
        self.assertEqual(scrape.sum("pinpoint_api_requests_total"), 0)
        self.assertIn(reason, log)
        self.assertNotIn(variables.get("AWS_SECRET_ACCESS_KEY", "never"), log)

    def test_own_credentials_of_the_targets_account_reach_pinpoint(self):
        user = create_user("exporter")
        answer = STSBackend.get_caller_identity
        with mock.patch.object(STSBackend, "get_caller_identity", autospec=True, side_effect=answer) as asked:
            self.assert_reaches_pinpoint(user)
        self.assertEqual([call.args[1] for call in asked.call_args_list], [user["AWS_ACCESS_KEY_ID"]])

    def test_own_credentials_of_another_account_never_reach_pinpoint(self):
        self.assert_never_reaches_pinpoint(
            f"belong to account {OTHER_ACCOUNT}, the target to account {ACCOUNT}",
            create_user("exporter", account=OTHER_ACCOUNT))

    def test_own_credentials_with_a_wrong_secret_never_reach_pinpoint(self):
        user = {**create_user("exporter"), "AWS_SECRET_ACCESS_KEY": "wrong/secret+of+the+user"}
        self.assert_never_reaches_pinpoint("SignatureDoesNotMatch", user)

    def test_a_role_of_another_account_reaches_pinpoint_for_that_account(self):
        role = create_role("reader", trusts=["exporter"], account=OTHER_ACCOUNT)
        user = create_user("exporter", may_assume=[role])
        roles = {"PINPOINT_EXPORTER_ROLE_ARNS": role, "PINPOINT_EXPORTER_ROLE_EXTERNAL_ID": EXTERNAL_ID}
        self.assert_reaches_pinpoint({**user, **roles}, OTHER_ACCOUNT)
        [session] = sessions(role)
        self.assertEqual(session.external_id, EXTERNAL_ID)

    def test_a_role_whose_session_is_of_another_account_never_reaches_pinpoint(self):
        role = create_role("reader", trusts=["exporter"])
        user = create_user("exporter", may_assume=[role])
        assume = STSBackend._create_access_key

        def elsewhere(backend, role):
            return assume(backend, role.replace(ACCOUNT, OTHER_ACCOUNT))

        roles = {"PINPOINT_EXPORTER_ROLE_ARNS": role, "PINPOINT_EXPORTER_ROLE_EXTERNAL_ID": EXTERNAL_ID}
        with mock.patch.object(STSBackend, "_create_access_key", elsewhere):
            self.assert_never_reaches_pinpoint(f"belong to account {OTHER_ACCOUNT}", {**user, **roles})

    def test_a_profile_whose_role_is_of_another_account_never_reaches_pinpoint(self):
        role = create_role("reader", trusts=["exporter"], account=OTHER_ACCOUNT)
        user = create_user("exporter", may_assume=[role])
        with tempfile.NamedTemporaryFile("w", suffix=".config") as config:
            config.write(
                f"[profile leading]\nrole_arn = {role}\nexternal_id = {EXTERNAL_ID}\nsource_profile = own\n"
                f"[profile own]\naws_access_key_id = {user['AWS_ACCESS_KEY_ID']}\n"
                f"aws_secret_access_key = {user['AWS_SECRET_ACCESS_KEY']}\n")
            config.flush()
            profile = {"AWS_PROFILE": "leading", "AWS_CONFIG_FILE": config.name}
            self.assert_never_reaches_pinpoint(f"belong to account {OTHER_ACCOUNT}", profile)
            self.assert_reaches_pinpoint(profile, OTHER_ACCOUNT)
        self.assertEqual({session.external_id for session in sessions(role)}, {EXTERNAL_ID})

class Check(MotoJudge):
    """`pinpoint-exporter check`. It is over before the fake can learn of a session's key, so the fake takes any."""

    def setUp(self):
        super().setUp()
        self.role = create_role("reader", trusts=["exporter", "stranger"])
        self.user = create_user("exporter", may_assume=[self.role])
        self.user_arn = f"arn:aws:iam::{ACCOUNT}:user/exporter"
        self.fake = self.enterContext(Fake("--no-verify"))
        checks(True)
        self.own = {**self.user, "PINPOINT_EXPORTER_TARGETS": f"{APP}/{SEGMENT}"}
        self.assuming = {
            **self.user, "PINPOINT_EXPORTER_TARGETS": target_arn(), "PINPOINT_EXPORTER_ROLE_ARNS": self.role,
            "PINPOINT_EXPORTER_ROLE_EXTERNAL_ID": EXTERNAL_ID,
        }
        self.missing_role = {
            "Version": "2012-10-17",
            "Statement": [
                {"Sid": "AssumeRoles", "Effect": "Allow", "Action": "sts:AssumeRole", "Resource": [self.role]},
            ],
        }

    def check(self, variables, *arguments):
        """The exit status and what is printed, in which there is no secret."""
        secrets = [variables["AWS_SECRET_ACCESS_KEY"], self.user["AWS_SECRET_ACCESS_KEY"], EXTERNAL_ID]
        secrets.append(variables.get("PINPOINT_EXPORTER_ROLE_EXTERNAL_ID", EXTERNAL_ID))
        variables = {
            "AWS_REGION": REGION, "AWS_ENDPOINT_URL_STS": MOTO, "AWS_ENDPOINT_URL_PINPOINT": self.fake.url,
            "PINPOINT_EXPORTER_MAX_ATTEMPTS": "1", **ISOLATED, **UNHURRIED, **variables,
        }
        ended = subprocess.run(
            [EXPORTER, "check", *arguments], env=variables, capture_output=True, text=True, timeout=HANG_LIMIT)
        for secret in secrets + [session.session_token for session in sessions(self.role)]:
            self.assertNotIn(secret, ended.stdout + ended.stderr)
        return ended.returncode, ended.stdout

    def check_json(self, variables):
        status, printed = self.check(variables, "--json")
        answer = json.loads(printed)
        self.assertEqual(status == 0, answer["ok"], printed)
        return answer

    def assert_refused(self, reason, missing, changed):
        answer = self.check_json({**self.assuming, **changed})
        self.assertFalse(answer["ok"])
        [identity] = [identity for identity in answer["identity"] if identity["role_arn"] == self.role]
        self.assertEqual((identity["account"], identity["caller"]), (ACCOUNT, None))
        self.assertIn(reason, identity["error"])
        [target] = answer["targets"]
        self.assertEqual((target["ok"], target["jobs"], target["error"]["exception"]),
                         (False, None, "CredentialsError"))
        self.assertEqual(answer["missing"], missing)
        self.assertEqual(self.fake.requests(), [])

    def test_own_credentials_are_shown_as_who_they_are(self):
        answer = self.check_json(self.own)
        caller = {"account": ACCOUNT, "arn": self.user_arn}
        self.assertEqual(answer["identity"], [{"account": "", "role_arn": None, "caller": caller, "error": None}])
        [target] = answer["targets"]
        self.assertEqual((target["operation"], target["ok"], target["jobs"], target["error"]),
                         ("GetSegmentExportJobs", True, 1, None))
        self.assertIn(SEGMENT, target["target"])
        self.assertEqual((answer["missing"], answer["ok"]), (None, True))

    def test_an_assumed_role_is_shown_as_its_session(self):
        answer = self.check_json(self.assuming)
        [session] = sessions(self.role)
        self.assertEqual(session.external_id, EXTERNAL_ID)
        [identity] = [identity for identity in answer["identity"] if identity["role_arn"] == self.role]
        caller = {"account": ACCOUNT, "arn": session.arn}
        self.assertEqual((identity["account"], identity["caller"], identity["error"]), (ACCOUNT, caller, None))
        [target] = answer["targets"]
        self.assertEqual((target["ok"], target["jobs"], answer["missing"], answer["ok"]), (True, 1, None, True))
        [request] = self.fake.requests()
        self.assertIn(["x-amz-security-token", session.session_token], request["headers"])

    def test_a_wrong_external_id_ends_in_the_role_that_may_not_be_assumed(self):
        changed = {"PINPOINT_EXPORTER_ROLE_EXTERNAL_ID": "of:somebody/else-78"}
        self.assert_refused("AccessDenied", self.missing_role, changed)

    def test_a_missing_permission_ends_in_the_role_that_may_not_be_assumed(self):
        checks(False)
        stranger = create_user("stranger", may_assume=[role_arn("another")])
        checks(True)
        self.assert_refused("user/stranger", self.missing_role, stranger)

    def test_a_wrong_secret_ends_in_the_signature_and_in_no_permission(self):
        self.assert_refused("SignatureDoesNotMatch", None, {"AWS_SECRET_ACCESS_KEY": "wrong/secret+of+the+user"})

    def test_the_table_says_the_same(self):
        status, printed = self.check(self.own)
        self.assertEqual(status, 0, printed)
        self.assertIn(self.user_arn, printed)
        status, printed = self.check({**self.assuming, "PINPOINT_EXPORTER_ROLE_EXTERNAL_ID": "of:somebody/else-78"})
        self.assertNotEqual(status, 0, printed)
        for part in ["CredentialsError", "AccessDenied", "sts:AssumeRole", self.role]:
            self.assertIn(part, printed)

    def test_own_credentials_of_another_account_do_not_reach_pinpoint(self):
        checks(False)
        user = create_user("exporter", account=OTHER_ACCOUNT)
        checks(True)
        with Proxy.run() as (proxy, asked):
            answer = self.check_json({
                **user, **proxy, "PINPOINT_EXPORTER_TARGETS": target_arn(), "AWS_ENDPOINT_URL_PINPOINT": "",
            })
        self.assertEqual(asked, [])
        [target] = answer["targets"]
        self.assertEqual((target["ok"], target["error"]["exception"]), (False, "CredentialsError"))
        self.assertIn(f"belong to account {OTHER_ACCOUNT}", target["error"]["message"])
        self.assertEqual((answer["missing"], answer["ok"]), (None, False))


if __name__ == "__main__":
    unittest.main()
