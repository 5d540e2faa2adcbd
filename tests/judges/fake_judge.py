"""boto3 and botocore as judges of the fake Pinpoint, with its verification of signatures on.

    .venv/bin/python tests/judges/fake_judge.py target/debug/fake-pinpoint
"""

import datetime
import http.client
import json
import os
import subprocess
import sys
import tempfile
import unittest
import urllib.parse

os.environ.update(
    AWS_EC2_METADATA_DISABLED="true",
    AWS_CONFIG_FILE=os.devnull,
    AWS_SHARED_CREDENTIALS_FILE=os.devnull,
    NO_PROXY="*",
)

import boto3  # noqa: E402
from botocore.auth import SigV4Auth  # noqa: E402
from botocore.awsrequest import AWSRequest  # noqa: E402
from botocore.config import Config  # noqa: E402
from botocore.credentials import Credentials  # noqa: E402
from botocore.exceptions import ClientError  # noqa: E402

from limits import HANG_LIMIT  # noqa: E402
from ports import free_port  # noqa: E402

FAKE = sys.argv.pop(1) if len(sys.argv) > 1 else "target/debug/fake-pinpoint"
REGION = "eu-west-1"
KEY, SECRET, TOKEN = "AKIAJUDGEJUDGEJUDGE0", "judge/secret+key", "judge/session+token=="
APP = "6e0b7591a90841d2b5d93fa11143e5a7"
ODD = "odd/app +%2F é日"

JOB = {
    "id": "whole", "created": "2026-01-01T00:00:00.250Z", "lasts": "10m", "endpoints": 1000, "pieces": 4,
    "failed_endpoints": 3, "failed_pieces": 1, "s3_url_prefix": "s3://b/p/",
    "role_arn": "arn:aws:iam::123456789012:role/r", "segment_version": 7,
}
VERBATIM = {
    "ApplicationId": "another", "CompletedPieces": 1, "CompletionDate": "some day", "CreationDate": "a day",
    "Definition": {"RoleArn": "r", "S3UrlPrefix": "p", "SegmentId": "s", "SegmentVersion": 2}, "FailedPieces": 3,
    "Failures": ["x", "é\0\""], "Id": "i/d", "JobStatus": "RESTING", "TotalFailures": 4, "TotalPieces": 5,
    "TotalProcessed": 2147483647, "Type": "t",
}
ROW = {"id": "row-", "created": "-150m", "lasts": "90s", "every": "1h", "times": 2, "end": "STUCK"}
WORLD = {
    "applications": {
        APP: {
            "name": "judged",
            "tags": {"team": "commerce", "cost centre": "é\""},
            "segments": {
                **{f"segment-{n}": {"imported": n % 2 == 1, "name": f"Segment {n}"} for n in range(7)},
                "jobs": {"jobs": [JOB] + [{"id": f"job-{n}", "created": "-30m", "lasts": "1h"} for n in range(9)]},
            },
            "jobs": [{"id": "of-all", "created": "-2h", "lasts": "1h", "end": "FAILED"}],
        },
        "third": {"segments": {"verbatim": {"jobs": [{"item": VERBATIM}]}, "row": {"jobs": [ROW]}}},
        ODD: {"segments": {ODD: {"jobs": [{"id": ODD, "created": "-1d", "lasts": "1m"}]}}},
    }
}
MODELLED = [
    "BadRequestException", "InternalServerErrorException", "PayloadTooLargeException", "ForbiddenException",
    "NotFoundException", "MethodNotAllowedException", "TooManyRequestsException",
]


class Judge(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        world = os.path.join(cls.folder.name, "world.json")
        with open(world, "w", encoding="utf-8") as file:
            json.dump(WORLD, file)
        cls.port = free_port()
        cls.process = subprocess.Popen(
            [FAKE, "--listen", f"127.0.0.1:{cls.port}", "--world", world, "--region", REGION,
             "--access-key-id", KEY, "--secret-access-key", SECRET, "--session-token", TOKEN],
            stdout=subprocess.PIPE, text=True,
        )
        assert "listening at" in cls.process.stdout.readline()

    @classmethod
    def tearDownClass(cls):
        cls.process.terminate()
        assert cls.process.wait(HANG_LIMIT) == 0, "it ends well when it is asked to"
        cls.process.stdout.close()
        cls.folder.cleanup()

    def setUp(self):
        self.control("DELETE", "faults")
        self.control("DELETE", "requests")

    def control(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=HANG_LIMIT)
        connection.request(method, f"/_fake/{path}", None if body is None else json.dumps(body))
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        self.assertEqual(answer.status, 200, text)
        return json.loads(text)

    def client(self, key=KEY, secret=SECRET, token=TOKEN, region=REGION):
        return boto3.client(
            "pinpoint", region_name=region, endpoint_url=f"http://127.0.0.1:{self.port}",
            aws_access_key_id=key, aws_secret_access_key=secret, aws_session_token=token,
            config=Config(retries={"total_max_attempts": 1}, connect_timeout=HANG_LIMIT, read_timeout=HANG_LIMIT),
        )

    def pages(self, call, member, **parameters):
        """All items, and the number of pages."""
        items, pages, token = [], 0, {}
        while True:
            page = call(**parameters, PageSize="2", **token)[member]
            items += page["Item"]
            pages += 1
            if not page.get("NextToken"):
                return items, pages
            token = {"Token": page["NextToken"]}

    def error_of(self, call):
        with self.assertRaises(ClientError) as raised:
            call()
        return raised.exception

    def test_all_pages_of_all_listings_are_read(self):
        client = self.client()
        apps, pages = self.pages(client.get_apps, "ApplicationsResponse")
        self.assertEqual(({app["Id"] for app in apps}, pages), ({APP, ODD, "third"}, 2))
        segments, pages = self.pages(client.get_segments, "SegmentsResponse", ApplicationId=APP)
        self.assertEqual((len({segment["Id"] for segment in segments}), pages), (8, 4))
        self.assertEqual({segment["SegmentType"] for segment in segments}, {"IMPORT", "DIMENSIONAL"})
        jobs, pages = self.pages(
            client.get_segment_export_jobs, "ExportJobsResponse", ApplicationId=APP, SegmentId="jobs")
        self.assertEqual((len({job["Id"] for job in jobs}), pages), (10, 5))
        jobs, pages = self.pages(client.get_export_jobs, "ExportJobsResponse", ApplicationId=APP)
        self.assertEqual((len({job["Id"] for job in jobs}), pages), (11, 6))
        self.assertIn("of-all", {job["Id"] for job in jobs})

    def test_applications_and_segments_have_the_fields_of_the_model(self):
        client = self.client()
        apps = {app["Id"]: app for app in self.pages(client.get_apps, "ApplicationsResponse")[0]}
        self.assertEqual(apps[APP], {
            "Arn": f"arn:aws:mobiletargeting:us-east-1:123456789012:apps/{APP}", "CreationDate": "1970-01-01T00:00:00.000Z",
            "Id": APP, "Name": "judged", "tags": {"team": "commerce", "cost centre": "é\""},
        })
        self.assertEqual((apps["third"]["Name"], apps["third"]["tags"]), ("third", {}))
        segments, _ = self.pages(client.get_segments, "SegmentsResponse", ApplicationId=APP)
        [segment] = [segment for segment in segments if segment["Id"] == "segment-3"]
        date = "1970-01-01T00:00:00.000Z"
        self.assertEqual(segment, {
            "ApplicationId": APP, "Arn": f"arn:aws:mobiletargeting:us-east-1:123456789012:apps/{APP}/segments/segment-3",
            "CreationDate": date, "Id": "segment-3", "LastModifiedDate": date, "Name": "Segment 3", "SegmentType": "IMPORT",
            "Version": 1, "tags": {},
        })
        [unnamed] = [segment for segment in segments if segment["Id"] == "jobs"]
        self.assertNotIn("Name", unnamed)
        model = client.meta.service_model
        for name, item in [("ApplicationResponse", apps[APP]), ("SegmentResponse", unnamed)]:
            self.assertLessEqual(set(model.shape_for(name).required_members), set(item), name)

    def test_applications_and_segments_are_renamed_while_it_runs(self):
        world = self.control("GET", "world")
        client = self.client()
        self.control("POST", "names", {"application": APP, "name": "renamed"})
        self.control("POST", "names", {"application": APP, "segment": "segment-1", "name": "", "tags": {"a": "b"}})
        app = client.get_app(ApplicationId=APP)["ApplicationResponse"]
        self.assertEqual((app["Name"], app["tags"]["team"]), ("renamed", "commerce"))
        segment = client.get_segment(ApplicationId=APP, SegmentId="segment-1")["SegmentResponse"]
        self.assertEqual((segment.get("Name"), segment["tags"], segment["SegmentType"]), (None, {"a": "b"}, "IMPORT"))
        self.control("PUT", "world", world)

    def test_a_job_has_the_fields_it_should(self):
        jobs = self.client().get_segment_export_jobs(ApplicationId=APP, SegmentId="jobs")["ExportJobsResponse"]["Item"]
        failure = "endpoint-{:06}: the endpoint could not be exported"
        self.assertEqual(
            jobs[0],
            {
                "ApplicationId": APP, "CompletedPieces": 3, "CompletionDate": "2026-01-01T00:10:00.250Z",
                "CreationDate": "2026-01-01T00:00:00.250Z",
                "Definition": {"RoleArn": "arn:aws:iam::123456789012:role/r", "S3UrlPrefix": "s3://b/p/",
                               "SegmentId": "jobs", "SegmentVersion": 7},
                "FailedPieces": 1, "Failures": [failure.format(n) for n in range(3)], "Id": "whole",
                "JobStatus": "COMPLETED", "TotalFailures": 3, "TotalPieces": 4, "TotalProcessed": 1000, "Type": "EXPORT",
            },
        )
        running = jobs[1]
        self.assertEqual(running["JobStatus"], "PROCESSING")
        self.assertNotIn("CompletionDate", running)
        self.assertTrue(0 < running["TotalProcessed"] < 10_000)

    def test_an_item_of_the_world_file_arrives_as_it_is(self):
        answer = self.client().get_segment_export_jobs(ApplicationId="third", SegmentId="verbatim")
        self.assertEqual(answer["ExportJobsResponse"]["Item"], [VERBATIM])

    def test_a_row_of_jobs_of_the_world_file_has_as_many_as_it_says(self):
        answer = self.client().get_segment_export_jobs(ApplicationId="third", SegmentId="row")
        jobs = answer["ExportJobsResponse"]["Item"]
        self.assertEqual([(job["Id"], job["JobStatus"]) for job in jobs],
                         [("row-0000", "PROCESSING"), ("row-0001", "PROCESSING")])
        begins = [datetime.datetime.fromisoformat(job["CreationDate"].replace("Z", "+00:00")) for job in jobs]
        self.assertEqual(begins[1] - begins[0], datetime.timedelta(hours=1))

    def test_a_world_that_was_read_can_be_put_back(self):
        world = self.control("GET", "world")
        self.assertEqual(world["applications"]["third"]["segments"]["verbatim"]["jobs"], [{"item": VERBATIM}])
        self.control("PUT", "world", world)
        self.assertEqual(self.control("GET", "world"), world)

    def test_the_log_tells_what_botocore_sent(self):
        self.client().get_segment_export_jobs(ApplicationId=ODD, SegmentId=ODD, PageSize="5")
        [request] = self.control("GET", "requests")
        self.assertEqual((request["operation"], request["status"], request["segment"], request["query"]),
                         ("GetSegmentExportJobs", 200, ODD, "page-size=5"))
        self.assertIn(["x-amz-security-token", TOKEN], request["headers"])

    def test_the_other_reads_and_the_creation_of_a_job(self):
        client = self.client()
        self.assertEqual(client.get_app(ApplicationId=APP)["ApplicationResponse"]["Name"], "judged")
        segment = client.get_segment(ApplicationId=APP, SegmentId="segment-1")["SegmentResponse"]
        self.assertEqual((segment["Id"], segment["SegmentType"]), ("segment-1", "IMPORT"))
        request = {"RoleArn": "arn:aws:iam::1:role/x", "S3UrlPrefix": "s3://x/", "SegmentId": "segment-2"}
        created = client.create_export_job(ApplicationId=APP, ExportJobRequest=request)["ExportJobResponse"]
        self.assertEqual((created["JobStatus"], created["Definition"]["SegmentId"]), ("CREATED", "segment-2"))
        read = client.get_export_job(ApplicationId=APP, JobId=created["Id"])["ExportJobResponse"]
        self.assertEqual(read["Id"], created["Id"])
        self.control("POST", "clock", {"advance": 150_000})
        listed = client.get_segment_export_jobs(ApplicationId=APP, SegmentId="segment-2")["ExportJobsResponse"]["Item"]
        self.assertEqual([(job["Id"], job["JobStatus"]) for job in listed], [(created["Id"], "PROCESSING")])
        self.control("POST", "clock", {"advance": -150_000})

    def test_ids_of_every_kind_are_understood(self):
        jobs = self.client().get_segment_export_jobs(ApplicationId=ODD, SegmentId=ODD)["ExportJobsResponse"]["Item"]
        self.assertEqual([(job["Id"], job["ApplicationId"]) for job in jobs], [(ODD, ODD)])

    def test_each_modelled_exception_is_recognised_as_its_own(self):
        client = self.client()
        for name in MODELLED:
            for place in ["header", "type", "code"]:
                for written in [name, f"com.amazonaws.pinpoint#{name}:http://internal.amazon.com/"]:
                    fault = {"kind": "error", "name": written, "place": place, "message": "as asked"}
                    self.control("POST", "faults", {"fault": fault, "times": 1})
                    with self.assertRaises(getattr(client.exceptions, name)) as raised:
                        client.get_segment_export_jobs(ApplicationId=APP, SegmentId="jobs")
                    self.assertEqual(raised.exception.response["Error"]["Message"], "as asked")

    def test_what_does_not_exist_is_not_found(self):
        client = self.client()
        for call in [
            lambda: client.get_segment_export_jobs(ApplicationId=APP, SegmentId="none"),
            lambda: client.get_export_jobs(ApplicationId="none"),
            lambda: client.get_export_job(ApplicationId=APP, JobId="none"),
        ]:
            with self.assertRaises(client.exceptions.NotFoundException):
                call()
        for parameters in [{"PageSize": "none"}, {"PageSize": "0"}, {"Token": "none"}]:
            with self.assertRaises(client.exceptions.BadRequestException):
                client.get_export_jobs(ApplicationId=APP, **parameters)

    def test_wrong_credentials_are_refused_as_aws_does(self):
        for client, name in [
            (self.client(secret="wrong"), "InvalidSignatureException"),
            (self.client(key="AKIANOBODYNOBODY0000"), "UnrecognizedClientException"),
            (self.client(token="another"), "UnrecognizedClientException"),
            (self.client(token=None), "UnrecognizedClientException"),
            (self.client(region="us-east-1"), "InvalidSignatureException"),
        ]:
            error = self.error_of(lambda: client.get_apps())
            self.assertEqual((error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]),
                             (name, 403))

    def signed(self, method="GET", query="page-size=10", body=None):
        """A request signed by botocore."""
        path = "/v1/apps/" + urllib.parse.quote(ODD, safe="") + "/jobs/export"
        url = f"http://127.0.0.1:{self.port}{path}?{query}".rstrip("?")
        request = AWSRequest(method=method, url=url, data=body)
        SigV4Auth(Credentials(KEY, SECRET, TOKEN), "mobiletargeting", REGION).add_auth(request)
        return {"method": method, "path": path, "query": query, "headers": dict(request.headers.items()), "body": body}

    def send(self, method, path, query, headers, body):
        """The status and the name of the error."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=HANG_LIMIT)
        connection.putrequest(method, f"{path}?{query}".rstrip("?"), skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.putheader("Content-Length", str(len(body or b"")))
        connection.endheaders(body)
        answer = connection.getresponse()
        answer.read()
        connection.close()
        return answer.status, answer.getheader("x-amzn-errortype")

    @staticmethod
    def with_byte(text, at, byte):
        """The text with another byte at one place."""
        changed = text[:at] + byte + text[at:][1:]
        assert len(changed) == len(text) and changed != text
        return changed

    def test_a_request_that_botocore_signed_passes_and_one_changed_byte_fails(self):
        right = self.signed()
        path, query, headers = right["path"], right["query"], right["headers"]
        self.assertEqual(self.send(**right), (200, None))

        def header(name, at, *bytes_):
            value = headers[name]
            place = range(len(value))[at]
            byte = next(byte for byte in bytes_ if byte != value[place])
            return {**right, "headers": {**headers, name: self.with_byte(value, place, byte)}}

        invalid, unknown = "InvalidSignatureException", "UnrecognizedClientException"
        credential = headers["Authorization"].index("Credential=") + len("Credential=")
        for what, request, name in [
            ("path", {**right, "path": self.with_byte(path, path.index("odd"), "0")}, invalid),
            ("path, in its escapes", {**right, "path": self.with_byte(path, path.index("%2F") + 2, "f")}, invalid),
            ("query", {**right, "query": self.with_byte(query, -1 % len(query), "1")}, invalid),
            ("query, in a name", {**right, "query": self.with_byte(query, 0, "P")}, invalid),
            ("query, added", {**right, "query": query + "&x="}, invalid),
            ("second", header("X-Amz-Date", -2, "1", "2"), invalid),
            ("day", header("X-Amz-Date", 7, "1", "2"), invalid),
            ("token", header("X-Amz-Security-Token", -3, "x"), unknown),
            ("first of the token", header("X-Amz-Security-Token", 0, "x"), unknown),
            ("signature", header("Authorization", -1, "0", "1"), invalid),
            ("access key id", header("Authorization", credential + len(KEY) - 1, "1"), unknown),
        ]:
            with self.subTest(what):
                self.assertEqual(self.send(**request), (403, name))
        for missing, status, name in [
            ("Authorization", 403, "MissingAuthenticationTokenException"),
            ("X-Amz-Date", 400, "IncompleteSignatureException"),
            ("X-Amz-Security-Token", 403, "UnrecognizedClientException"),
        ]:
            with self.subTest(missing):
                rest = {key: value for key, value in headers.items() if key != missing}
                self.assertEqual(self.send(**{**right, "headers": rest}), (status, name))
        self.assertEqual(self.send(**right), (200, None))

    def test_a_body_that_botocore_signed_passes_and_one_changed_byte_fails(self):
        body = b'{"RoleArn": "arn:aws:iam::1:role/x", "S3UrlPrefix": "s3://x/", "SegmentId": "none"}'
        right = self.signed("POST", "", body)
        # Understood, and refused for its segment only: nothing is created.
        self.assertEqual(self.send(**right), (404, "NotFoundException"))
        changed = self.with_byte(body, body.index(b"none"), b"N")
        self.assertEqual(self.send(**{**right, "body": changed}), (403, "InvalidSignatureException"))
        self.assertEqual(self.send(**{**right, "method": "GET"}), (403, "InvalidSignatureException"))
        self.assertEqual(self.send(**right), (404, "NotFoundException"))

    def test_a_request_of_another_time_is_refused(self):
        for minutes, message in [(6, "Signature expired"), (-6, "Signature not yet current")]:
            self.control("POST", "clock", {"advance_server": minutes * 60_000})
            error = self.error_of(lambda: self.client().get_apps())
            self.assertEqual(error.response["Error"]["Code"], "InvalidSignatureException")
            self.assertIn(message, error.response["Error"]["Message"])
            self.control("POST", "clock", {"advance_server": -minutes * 60_000})
        self.client().get_apps()

    def test_an_expired_token_is_refused(self):
        key = {"access_key_id": KEY, "secret_access_key": SECRET, "session_token": TOKEN}
        self.control("PUT", "keys", [{**key, "expired": True}])
        self.assertEqual(self.error_of(lambda: self.client().get_apps()).response["Error"]["Code"],
                         "ExpiredTokenException")
        self.control("PUT", "keys", [key])
        self.client().get_apps()

    def test_a_wrong_world_file_is_refused_with_its_place(self):
        job = '{"applications": {"a": {"jobs": [\n{"id": "ok", "created": "-1h", "lasts": "1h"},\n%s\n]}}}'
        for world, problem, line in [
            ('{"applications":\n{"a": {"segmnets": {}}}}', "segmnets", 2),
            ('{"applications": {}, "more": 1}', "more", 1),
            (job % '{"id": "x", "created": "-1h", "lasts": "1h", "colour": 1}', "colour", 3),
            (job % '{"item": {}, "id": "x"}', "`id`", 3),
            (job % '{"id": "x", "created": "-26x", "lasts": "1h"}', "-26x", 3),
            (job % '{"id": "x", "created": "2026-01-31", "lasts": "1h"}', "2026-01-31", 3),
            (job % '{"id": "x", "created": "-26h", "lasts": "soon"}', "soon", 3),
            (job % '{"id": "x", "created": "-26h", "lasts": "90"}', "90", 3),
            (job % '{"id": "x", "created": "-26h", "lasts": -90}', "-90", 3),
            (job % '{"id": "x", "created": "-26h", "lasts": "1h", "every": "1 h"}', "1 h", 3),
            (job % '{"id": "x", "created": "-26h", "lasts": "1h", "end": "DONE"}', "DONE", 3),
            (job % '{"id": "x", "created": "-26h"}', "lasts", 3),
            (job % "7", "7", 3),
            ("{", "EOF", 1),
            ("", "EOF", 1),
        ]:
            with self.subTest(world):
                file = os.path.join(self.folder.name, "wrong.json")
                with open(file, "w", encoding="utf-8") as out:
                    out.write(world)
                listen = ["--listen", f"127.0.0.1:{free_port()}"]
                ended = subprocess.run([FAKE, *listen, "--world", file], capture_output=True, text=True, timeout=HANG_LIMIT)
                self.assertEqual((ended.returncode, ended.stdout), (64, ""))
                self.assertIn(f"--world {file}: ", ended.stderr)
                self.assertIn(problem, ended.stderr.split(": ", 2)[2])
                self.assertRegex(ended.stderr, rf"at line {line} column \d+\n$")

    def test_a_wrong_command_line_is_refused(self):
        for arguments, problem in [
            (["--wrold", "x"], "--wrold"),
            (["--world"], "--world"),
            (["--world", os.path.join(self.folder.name, "none.json")], "none.json"),
            (["--listen", "here"], "--listen here"),
            (["--listen", f"127.0.0.1:{self.port}"], f"cannot listen at 127.0.0.1:{self.port}"),
        ]:
            with self.subTest(arguments):
                ended = subprocess.run([FAKE, *arguments], capture_output=True, text=True, timeout=HANG_LIMIT)
                self.assertEqual(ended.returncode, 64)
                self.assertIn(problem, ended.stderr)


if __name__ == "__main__":
    unittest.main()
