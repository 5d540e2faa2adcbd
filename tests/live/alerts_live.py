"""The alerts live: the exporter on the fake, Prometheus with the shipped rules, Alertmanager with the shipped routes and
inhibitions, and a receiver of what it sends.

    .venv/bin/python tests/live/alerts_live.py target/debug/fake-pinpoint target/debug/pinpoint-exporter

The shipped files are used as they are, except for durations, where a minute is MINUTE here, and the receiver's address.
"""

import http.server
import json
import pathlib
import re
import sys
import threading
import time
import unittest

from stack import ACCESS_KEY, Stack, ask, scrape_config, until

PROGRAMS = sys.argv[1:3] if len(sys.argv) > 2 else ["target/debug/fake-pinpoint", "target/debug/pinpoint-exporter"]
DEPLOY = pathlib.Path(__file__).parents[2] / "deploy"
RULES = DEPLOY / "prometheus/rules/pinpoint.yaml"
SETTINGS = DEPLOY / "prometheus/rules/pinpoint-settings.yaml"
ALERTMANAGER = DEPLOY / "alertmanager/alertmanager.yml"
TEMPLATES = DEPLOY / "alertmanager/pinpoint.tmpl"
# Seconds for a minute of the rules. Prometheus scrapes and evaluates each second, so the ranges of five minutes, which bridge failed
# scrapes, bridge 20 of them here and 5 in production: a busy machine has more time than an operator's.
MINUTE = 4
SEGMENTS = ["mail", "news", "push", "sms"]
OTHER_KEY = {"access_key_id": "AKIAANOTHERKEY000000", "secret_access_key": "another"}


def shortened_rules():
    """The rules with shorter `for` and ranges. A day stays a day."""
    text, count = re.subn(
        r"(?m)(^ +for: |\[)(\d+)m(?=\]|$)", lambda found: f"{found[1]}{int(found[2]) * MINUTE}s",
        RULES.read_text(encoding="utf-8"))
    assert count > 40, count
    return text


def routes_with(receiver):
    """Alertmanager's configuration with another receiver."""
    text = ALERTMANAGER.read_text(encoding="utf-8").replace("http://localhost:9095", receiver)
    return text.replace(f"- {TEMPLATES.name}", f"- {TEMPLATES}")


def shortened_routes(receiver):
    """Alertmanager's configuration with shorter waits, and with the receiver that we look at."""
    text = routes_with(receiver)
    text, count = re.subn(r"(group_wait|group_interval): \w+", r"\1: 1s", text)
    assert count == 6, count
    return text


class Receiver:
    """What Alertmanager sends to: remembers the notifications."""

    def __init__(self):
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.messages.append((self.path.strip("/"), body.decode()))
                for alert in json.loads(body).get("alerts", []):
                    outer.notifications.append((self.path.strip("/"), alert["status"], about(alert["labels"])))
                    outer.annotations[about(alert["labels"])] = alert["annotations"]
                self.send_response(200)
                self.end_headers()
                # What Slack answers.
                self.wfile.write(b"ok")

            def log_message(self, *_):
                pass

        self.notifications, self.annotations, self.messages = [], {}, []
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = "http://{}:{}".format(*self.server.server_address)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


def about(labels):
    """An alert in short: its name, and the segment or the instance that it is about."""
    what = labels.get("segment_id") or labels.get("instance")
    return f"{labels['alertname']} {what}" if what else labels["alertname"]


class Live(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.stack = self.enterContext(Stack(*PROGRAMS))
        self.receiver, self.told = Receiver(), set()
        self.addCleanup(self.receiver.stop)
        self.begin = int(time.time() * 1000)
        # Each segment has an export that went well.
        self.jobs = {segment: {"good": self.job(age=3 * 60)} for segment in SEGMENTS}

    def job(self, age, lasts=30, **more):
        """A job that was created so many minutes before the test began."""
        return {"created": self.begin - int(age * 60_000), "lasts": f"{lasts}m", **more}

    def world(self):
        segments = {
            segment: {"jobs": [{"id": name, **job} for name, job in jobs.items()]} for segment, jobs in self.jobs.items()
        }
        return {"applications": {"shop": {"segments": segments}}}

    def change(self, **segments):
        """New jobs of segments, or others in the place of those that have the same name."""
        for segment, jobs in segments.items():
            self.jobs[segment].update(jobs)
        self.fake.control("PUT", "world", self.world())

    def start(self):
        self.fake = self.stack.fake(world=self.world())
        # Every other scrape finds the cache fresh, as with two Prometheus servers.
        self.exporter = self.stack.exporter(self.fake, TARGETS="shop/*", CACHE_TTL="1500ms", DISCOVERY_TTL="2s")
        self.alertmanager = self.stack.alertmanager(shortened_routes(self.receiver.url))
        rules = self.stack.folder / RULES.name
        rules.write_text(shortened_rules(), encoding="utf-8")
        self.prometheus = self.stack.prometheus(
            scrape_config([self.exporter], rules=[SETTINGS, rules], alertmanagers=[self.alertmanager]))

    def state(self):
        """Alerts that wait and that fire in Prometheus, that are sent and that are inhibited in Alertmanager."""
        found = self.alertmanager.alerts()
        active = [alert for alert in found if alert["status"]["state"] == "active"]
        inhibited = [alert for alert in found if alert["status"]["inhibitedBy"]]
        return {
            "pending": sorted(about(labels) for labels in self.prometheus.alerts("pending")),
            "firing": sorted(about(labels) for labels in self.prometheus.alerts("firing")),
            "active": sorted(about(alert["labels"]) for alert in active),
            "inhibited": sorted(about(alert["labels"]) for alert in inhibited),
        }

    def expect(self, *alerts, inhibited=()):
        """Waits until just these alerts fire, nothing waits to, and Alertmanager has sent of all but the inhibited ones."""
        wanted = {
            "pending": [], "firing": sorted([*alerts, *inhibited]), "active": sorted(alerts), "inhibited": sorted(inhibited),
        }
        self.wait(lambda: self.state() == wanted, wanted)

    def until_alertmanager_forgot_all_but(self, groups):
        """Waits until Alertmanager has dealt with alerts that ended while they were muted, and has so many groups left."""
        metric = f"\nalertmanager_dispatcher_aggregation_groups {groups}\n"
        self.wait(lambda: metric in ask("GET", f"{self.alertmanager.url}/metrics"), metric)

    def expect_notifications(self, *notifications):
        """Waits for notifications, and makes sure that no others came since the last time.

        Prometheus sends a resolved alert again for 15 minutes, and a message about its group lists it even if it was muted before. So
        the end of an alert of which nobody was told does not count.
        """
        self.wait(lambda: set(self.receiver.notifications) >= set(notifications), notifications)
        self.told |= {(to, alert) for to, status, alert in self.receiver.notifications if status == "firing"}
        found = {(to, status, alert) for to, status, alert in self.receiver.notifications if (to, alert) in self.told}
        self.assertEqual(sorted(found), sorted(notifications))
        self.receiver.notifications.clear()

    def wait(self, condition, wanted):
        until(condition, lambda: f"{wanted}\n{self.state()}\n{self.receiver.notifications}\n{self.exporter.log()}")

    def test_the_right_notifications_arrive_and_no_others_and_they_resolve(self):
        self.start()
        self.prometheus.until(f"count(pinpoint_target_up == 1) == {len(SEGMENTS)}")
        self.expect()
        self.assertEqual(self.receiver.notifications, [])
        self.a_job_fails_and_another_one_of_the_segment_hangs()
        self.jobs_hang_and_one_is_done_but_for_some_endpoints()
        self.the_key_is_revoked()
        self.the_exporter_is_killed()

    def a_job_fails_and_another_one_of_the_segment_hangs(self):
        self.change(mail={"bad": self.job(age=60, lasts=20, end="FAILED"), "hung": self.job(age=8 * 60, end="STUCK")})
        self.expect("PinpointExportFailed mail", inhibited=["PinpointExportStuck mail"])
        self.expect_notifications(("pager", "firing", "PinpointExportFailed mail"))
        [title] = self.prometheus.query('segment:pinpoint_segment_title:info{segment_id="mail"}')
        annotations = self.receiver.annotations["PinpointExportFailed mail"]
        self.assertEqual(annotations["summary"], f"{title['metric']['title']}: the export failed")
        self.assertTrue(annotations["dashboard_url"].startswith("http://localhost:3000/d/pinpoint-segment?"))
        # First the one that hung: if both ended at once, Alertmanager might hear of the one that inhibits a moment earlier.
        self.change(mail={"hung": self.job(age=8 * 60, lasts=60)})
        self.expect("PinpointExportFailed mail")
        self.change(mail={"next": self.job(age=10, lasts=5)})
        self.expect()
        self.expect_notifications(("pager", "resolved", "PinpointExportFailed mail"))

    def jobs_hang_and_one_is_done_but_for_some_endpoints(self):
        self.change(
            push={"hung": self.job(age=60, end="STUCK")}, sms={"hung": self.job(age=8 * 60, end="STUCK")},
            news={"partly": self.job(age=60, lasts=20, endpoints=10000, failed_endpoints=12)})
        alerts = ["PinpointExportNoProgress push", "PinpointExportStuck sms", "PinpointExportPartlyFailed news"]
        self.expect(*alerts)
        self.expect_notifications(*(("chat", "firing", alert) for alert in alerts))
        # One ends after all, the others are followed by a success.
        self.change(
            push={"hung": self.job(age=60)}, sms={"next": self.job(age=10, lasts=5)},
            news={"next": self.job(age=10, lasts=5)})
        self.expect()
        self.expect_notifications(*(("chat", "resolved", alert) for alert in alerts))

    def the_key_is_revoked(self):
        self.fake.accept(OTHER_KEY)
        self.expect("PinpointCredentialsFailing")
        self.expect_notifications(("pager", "firing", "PinpointCredentialsFailing"))
        self.fake.accept(ACCESS_KEY)
        self.expect()
        self.expect_notifications(("pager", "resolved", "PinpointCredentialsFailing"))

    def the_exporter_is_killed(self):
        """While an export is failed. Its alert ends with its series, but nobody is told that it is resolved."""
        failed, down = "PinpointExportFailed mail", f"PinpointExporterDown {self.exporter.address}"
        self.change(mail={"worse": self.job(age=4, lasts=2, end="FAILED")})
        self.expect(failed)
        self.expect_notifications(("pager", "firing", failed))
        self.exporter.kill()
        self.wait(lambda: down in self.state()["active"] and failed not in self.state()["firing"], down)
        self.expect_notifications(("pager", "firing", down))
        self.until_alertmanager_forgot_all_but(1)
        self.exporter.start()
        self.expect(failed)
        self.expect_notifications(("pager", "resolved", down))


class Messages(unittest.TestCase):
    """The shipped texts in the receivers of Alertmanager's README, as Slack and PagerDuty get them."""

    def test_ten_failed_exports_are_one_message_with_names_summaries_and_runbooks(self):
        page = (ALERTMANAGER.parent / "README.md").read_text(encoding="utf-8")
        receiver = Receiver()
        self.addCleanup(receiver.stop)
        with Stack(*PROGRAMS) as stack:
            key = stack.folder / "key"
            key.write_text("key", encoding="utf-8")
            url = stack.folder / "url"
            url.write_text(f"{receiver.url}/slack", encoding="utf-8")
            pagerduty, slack = (
                re.search(rf"^    {kind}_configs:\n((?:      .*\n)+)", page, re.MULTILINE)[0] for kind in ["pagerduty", "slack"])
            slack = slack.replace("/etc/alertmanager/slack-url", str(url))
            pagerduty = pagerduty.replace("/etc/alertmanager/pagerduty-key", f"{key}\n        url: {receiver.url}/pagerduty")
            config = shortened_routes(receiver.url)
            config, count = re.subn(r"(?m)^  - name: pager\n(?:    .*\n)+", f"  - name: pager\n{pagerduty}{slack}", config)
            self.assertEqual(count, 1)
            alertmanager = stack.alertmanager(config)
            ask("POST", f"{alertmanager.url}/api/v2/alerts", [{
                "labels": {
                    "alertname": "PinpointExportFailed", "severity": "critical", "aws_region": "eu-west-1", "segment_id": str(number),
                },
                "annotations": {
                    "summary": f"Newsletter <{number}> of Shop: the export failed", "description": "An export job failed.",
                    "runbook_url": "https://runbooks.example/failed", "dashboard_url": "https://grafana.example/d/x",
                },
            } for number in range(10)])
            until(lambda: {path for path, _ in receiver.messages} == {"slack", "pagerduty"}, alertmanager.log)
            self.assertEqual(sorted(path for path, _ in receiver.messages), ["pagerduty", "slack"])
            texts = {path: json.loads(body) for path, body in receiver.messages}
            [attachment] = texts["slack"]["attachments"]
            self.assertEqual(attachment["title"], "[FIRING] 10 × PinpointExportFailed in eu-west-1")
            payload = texts["pagerduty"]["payload"]
            self.assertEqual(payload["summary"], "[FIRING] 10 × PinpointExportFailed in eu-west-1")
            for number in range(10):
                self.assertIn(f"Newsletter &lt;{number}&gt; of Shop: the export failed", attachment["text"])
                self.assertIn(f"Newsletter <{number}> of Shop: the export failed", payload["custom_details"]["alerts"])
            for text in [attachment["text"], payload["custom_details"]["alerts"]]:
                for part in ["An export job failed.", "https://runbooks.example/failed", "https://grafana.example/d/x"]:
                    self.assertEqual(text.count(part), 10)


class Inhibition(unittest.TestCase):
    """Each of the shipped inhibitions, in Alertmanager alone."""

    ACCOUNT = {"aws_account_id": "111122223333"}
    REGION = {**ACCOUNT, "aws_region": "eu-west-1"}
    SEGMENT = {**REGION, "application_id": "shop", "segment_id": "news"}
    TARGET_ALERTS = ["PinpointTargetDown", "PinpointDataStale", "PinpointSegmentNotFound"]
    OPERATION_ALERTS = ["PinpointThrottled", "PinpointErrorRatioHigh"]
    JOB_ALERTS = [
        "PinpointExportStuck", "PinpointExportNoProgress", "PinpointExportPartlyFailed", "PinpointExportFailing",
    ]

    def assert_inhibited(self, muted, loud):
        """Alertmanager mutes these alerts, and not those."""
        with Stack(*PROGRAMS) as stack:
            alertmanager = stack.alertmanager(routes_with("http://127.0.0.1:9"))
            labels = [{"alertname": name, "number": str(at), **own} for at, (name, own) in enumerate([*muted, *loud])]
            ask("POST", f"{alertmanager.url}/api/v2/alerts", [{"labels": one} for one in labels])

            def inhibited():
                found = alertmanager.alerts()
                return {int(alert["labels"]["number"]) for alert in found if alert["status"]["inhibitedBy"]}

            wanted = set(range(len(muted)))
            until(lambda: inhibited() >= wanted, lambda: f"{labels}\n{inhibited()}")
            self.assertEqual(len(alertmanager.alerts()), len(labels))
            self.assertEqual(inhibited(), wanted)

    def test_an_exporter_that_is_down_mutes_all_else(self):
        instance = {"job": "pinpoint", "instance": "a:9787"}
        for source in [("PinpointExporterDown", instance), ("PinpointExporterAbsent", {"job": "pinpoint"})]:
            others = [(name, self.SEGMENT) for name in ["PinpointExportFailed", *self.TARGET_ALERTS]]
            self.assert_inhibited([*others, ("PinpointClockSkewed", instance)], [("NodeDown", instance), source])

    def test_a_service_that_is_gone_mutes_what_the_api_says_of_that_region(self):
        source = ("PinpointServiceGone", self.REGION)
        muted = [
            *((name, self.SEGMENT) for name in self.TARGET_ALERTS), ("PinpointDiscoveryFailing", self.REGION),
            ("PinpointCredentialsFailing", self.ACCOUNT),
            *((name, {"operation": "GetSegments"}) for name in self.OPERATION_ALERTS),
        ]
        elsewhere = {**self.SEGMENT, "aws_region": "us-east-1"}
        loud = [
            *((name, elsewhere) for name in self.TARGET_ALERTS), ("PinpointExportFailed", self.SEGMENT),
            ("PinpointCredentialsFailing", {"aws_account_id": "210987654321"}), source,
        ]
        self.assert_inhibited(muted, loud)
        # By itself, since it mutes others.
        self.assert_inhibited([("PinpointAccessDenied", self.REGION)], [source])

    def test_access_that_is_denied_mutes_old_data_of_that_region_and_the_ratio_of_errors(self):
        source = ("PinpointAccessDenied", self.REGION)
        muted = [("PinpointDataStale", self.SEGMENT), ("PinpointErrorRatioHigh", {"operation": "GetSegments"})]
        elsewhere = {**self.SEGMENT, "aws_account_id": "210987654321"}
        loud = [("PinpointDataStale", elsewhere), ("PinpointThrottled", {"operation": "GetSegments"}), source]
        self.assert_inhibited(muted, loud)

    def test_a_failed_export_mutes_the_other_jobs_of_its_segment(self):
        source = ("PinpointExportFailed", self.SEGMENT)
        muted = [(name, {**self.SEGMENT, "job_id": "j1"}) for name in self.JOB_ALERTS]
        elsewhere = {**self.SEGMENT, "segment_id": "mail"}
        loud = [*((name, elsewhere) for name in self.JOB_ALERTS), ("PinpointExportOverdue", self.SEGMENT), source]
        self.assert_inhibited(muted, loud)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
