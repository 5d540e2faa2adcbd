"""Draws the stats, tables and time series of the dashboards with Grafana's own components in Chromium.

    .venv/bin/python tests/live/drawings_live.py target/debug/fake-pinpoint target/debug/pinpoint-exporter
    .venv/bin/python tests/live/drawings_live.py --pictures docs/images

The data comes from a real Prometheus. The README's pictures take 6 minutes, so that there is history to show.

State timelines are not drawn, because none of Grafana's packages has them.
"""

import contextlib
import functools
import html
import html.parser
import http.server
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import unittest

from demo import ALL, APPLICATION, DASHBOARDS, EVENTFUL, NAMES, ROOT, WHOLE, Demo, fill, numbers, with_hidden
from stack import HANG_LIMIT, Stack, until

sys.path.append(str(ROOT / "grafana/generator"))
from panels import place  # noqa: E402

PICTURES = pathlib.Path(sys.argv.pop(sys.argv.index("--pictures") + 1)) if "--pictures" in sys.argv else None
FAKE = sys.argv.pop(1) if len(sys.argv) > 1 and PICTURES is None else "target/debug/fake-pinpoint"
EXPORTER = sys.argv.pop(1) if len(sys.argv) > 1 and PICTURES is None else "target/debug/pinpoint-exporter"
TOOLS = ROOT / "tests/tools/grafana"
CHOSEN = {"export-jobs": ALL, "exporter": ALL, "segment": {**ALL, "application": APPLICATION, "segment": EVENTFUL}}
WIDTH = 1280
# The panels of each dashboard in the README's pictures.
PICTURED = {
    "export-jobs": {
        "Targets down",
        "Failed",
        "Stuck",
        "Overdue",
        "Lost endpoints",
        "Empty",
        "Watched segments",
        "Running exports",
        "Never exported",
        "Oldest data",
        "Segments by urgency",
        "Export jobs",
        "Progress of running exports",
        "Throughput",
    },
    "segment": {
        "Newest export",
        "Last success",
        "Last failure",
        "Endpoints",
        "Lost share",
        "Readable",
        "Data age",
        "Export jobs",
        "Progress of running exports",
        "Time left",
    },
    "exporter": {
        "Down",
        "Version",
        "Targets down",
        "Failed lists",
        "Oldest data",
        "Error ratio",
        "Credentials",
        "Clock skew",
        "Requests",
        "Errors",
        "Latency",
        "Refresh duration",
        "Targets that cannot be read",
    },
}
CHROMIUM = (
    "chromium",
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--virtual-time-budget=20000",
)


def drawable(name, titles=None):
    """The panels that can be drawn, or only those with these titles, without gaps between them."""
    panels = [
        panel
        for panel in DASHBOARDS[name]["panels"]
        if panel["type"] in ("stat", "table", "timeseries") and (titles is None or panel["title"] in titles)
    ]
    return place(json.loads(json.dumps(panels)))


def drawing(demo, name, begin, titles=None):
    """The content of the page: the panels with the results of their queries, all at the same time, as Grafana sends them."""
    panels = drawable(name, titles)
    targets = [target for panel in panels for target in panel["targets"]]

    def answered():
        demo.throttle()
        now = time.time()
        chosen = with_hidden(name, CHOSEN[name], lambda expr: demo.prometheus.query(expr, now))
        answers = [
            demo.answer(fill(target["expr"], chosen), target["instant"], begin, now) for target in targets
        ]
        return (now, iter(answers)) if all(map(numbers, answers)) else None

    now, answers = until(answered, lambda: f"not all queries of {name} have an answer\n{demo.prometheus.log()}")
    return {
        "from": begin,
        "to": now,
        "width": WIDTH,
        "panels": [
            {"panel": panel, "results": [{"target": target, "result": next(answers)} for target in panel["targets"]]}
            for panel in panels
        ],
    }


class Page:
    """A folder that is served on loopback, with a page for each dashboard."""

    def __init__(self, folder):
        self.folder = folder
        for file in ("draw.js", "draw.css"):
            shutil.copy(TOOLS / "build" / file, folder)
        (folder / "public").symlink_to(TOOLS / "node_modules/@grafana/ui/dist/public")
        handler = functools.partial(Quiet, directory=folder)
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def write(self, name, content):
        """Writes a page that draws this content."""
        data = json.dumps(content).replace("<", "\\u003c")
        (self.folder / f"{name}.html").write_text(
            '<!doctype html><meta charset="utf-8"><link rel="stylesheet"'
            ' href="draw.css"><style>body{margin:8px}</style><div'
            ' id="root"></div><script>window.__grafana_public_path__ = "/public/"; window.DRAWING ='
            f' {data}</script><script src="draw.js"></script>',
            encoding="utf-8",
        )

    def show(self, name, *arguments):
        """The output of Chromium for this page."""
        with tempfile.TemporaryDirectory() as profile:
            url = f"http://127.0.0.1:{self.server.server_port}/{name}.html"
            command = [*CHROMIUM, f"--user-data-dir={profile}", *arguments, url]
            return subprocess.run(command, capture_output=True, text=True, timeout=HANG_LIMIT, check=True).stdout

    def close(self):
        """Stops the server."""
        self.server.shutdown()
        self.server.server_close()


class Quiet(http.server.SimpleHTTPRequestHandler):
    """A server that logs nothing."""

    def log_message(self, *_):
        pass


def shown(document):
    """The text and the markup of each panel of a page, by its title."""
    parts = iter(re.split(r'<div data-panel="([^"]*)"', document)[1:])
    found = {}
    for title, markup in zip(parts, parts):
        text = re.sub(r"<[^>]*>", " ", re.sub(r"<(style|script)\b.*?</\1>", "", markup, flags=re.S))
        found[html.unescape(title)] = (re.sub(r"\s+", " ", html.unescape(text)), markup)
    return found


class Drawn(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        stack = cls.enterClassContext(Stack(FAKE, EXPORTER))
        cls.page = cls.enterClassContext(contextlib.closing(Page(stack.folder)))
        begin, demo = time.time(), Demo(stack)
        cls.documents = {}
        for name in DASHBOARDS:
            cls.page.write(name, drawing(demo, name, begin))
            cls.documents[name] = cls.page.show(name, f"--window-size={WIDTH},4000", "--dump-dom")

    def test_every_panel_is_drawn(self):
        for name, document in self.documents.items():
            self.assertNotIn("FAILED Error", document)
            found = shown(document)
            for panel in drawable(name):
                with self.subTest(f"{name}: {panel['title']}"):
                    text, markup = found[panel["title"]]
                    self.assertNotIn(panel["fieldConfig"]["defaults"]["noValue"], text)
                    self.assertNotIn("No data", text)
                    if panel["type"] == "timeseries":
                        self.assertIn("<canvas", markup)

    def test_states_have_their_names(self):
        newest, _ = shown(self.documents["segment"])["Newest export"]
        self.assertRegex(newest, "CREATED|INITIALIZ|PROCESSING|COMPLET|PENDING")
        jobs, _ = shown(self.documents["export-jobs"])["Export jobs"]
        for status in ("COMPLETED", "FAILED", "PROCESSING"):
            self.assertIn(status, jobs)

    def test_a_legend_names_its_series(self):
        found = shown(self.documents["exporter"])
        self.assertIn("GetSegmentExportJobs AccessDeniedException", found["Errors"][0])
        self.assertIn("CACHE_TTL", found["Refresh duration"][0])

    def test_an_export_without_a_segment_has_a_name(self):
        self.assertIn(f"all of {WHOLE[:8]}", shown(self.documents["export-jobs"])["Export jobs"][0])

    def test_a_segment_has_its_name_and_the_first_digits_of_its_id(self):
        found = shown(self.documents["export-jobs"])
        for title in ("Segments by urgency", "Export jobs", "Progress of running exports"):
            with self.subTest(title):
                self.assertIn(f"{NAMES[EVENTFUL]} ({EVENTFUL[:8]})", found[title][0])

    def test_the_most_urgent_segment_comes_first(self):
        rows, _ = shown(self.documents["export-jobs"])["Segments by urgency"]
        # The other reasons are on the second page of the table.
        words = ["Not readable", "Failed", "Stuck", "Overdue", "Lost endpoints", "Running"]
        places = [rows.index(word, rows.index("Not readable")) for word in words]
        self.assertEqual(places, sorted(places))


def pictures(folder):
    """Draws the dashboards after the world has run for a while."""
    folder.mkdir(parents=True, exist_ok=True)
    with Stack(FAKE, EXPORTER) as stack, contextlib.closing(Page(stack.folder)) as page:
        demo, begin = Demo(stack), time.time()
        while time.time() < begin + 360:
            demo.throttle()
            time.sleep(1)
        for name, titles in PICTURED.items():
            content = drawing(demo, name, begin, titles)
            page.write(name, content)
            height = (
                max(one["panel"]["gridPos"]["y"] + one["panel"]["gridPos"]["h"] for one in content["panels"]) * 38 + 8
            )
            page.show(name, f"--window-size={WIDTH + 8},{height}", f"--screenshot={folder / f'dashboard-{name}.png'}")


if __name__ == "__main__":
    if PICTURES:
        sys.argv.remove("--pictures")
        pictures(PICTURES.resolve())
    else:
        unittest.main()
