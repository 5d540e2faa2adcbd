"""What the rules and the dashboards cost a Prometheus with 10,000 jobs, and with the other worlds that have a limit.

    .venv/bin/python tests/live/load_live.py target/debug/fake-pinpoint target/debug/pinpoint-exporter [--before COMMIT] [--world WORLD]…

A real Prometheus scrapes real exporters and evaluates the rules. The day before is copied from a scrape into blocks. Then each
query of each panel, annotation and variable is sent as Grafana sends it, and the processor time of Prometheus is read before
and after. With --before, the rules and dashboards of that commit are measured too, on the same data.
"""

import argparse
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass

import demo
from stack import Stack, scrape_config, until

ROOT = pathlib.Path(__file__).parents[2]
RULES = ROOT / "deploy/prometheus/rules"
ALL = {"account": ".*", "region": ".*", "application": ".*", "segment": ".*"}
# The scrape interval of the data. The rules are evaluated more often, so that there are rounds to measure.
MINUTE = 60
DAY = 86400
ROUND = 10
# Each query is sent this often, and the least time counts: what else happens in the process only adds to it.
TIMES = 3
# The width of a dashboard in pixels, which decides the step between two points.
WIDTH = 1220
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class World:
    """What is watched, and what it may cost."""

    segments: int
    jobs: int
    running: int
    replicas: int
    status_series: str
    # In seconds of the processor, of a panel and of a dashboard.
    panel: float
    dashboard: float | None = None


WORLDS = {
    "10,000 jobs": World(500, 20, 500, 1, "current", panel=1, dashboard=5),
    "240 segments": World(240, 8, 12, 1, "all", panel=2),
    "16 segments": World(16, 8, 4, 2, "all", panel=0.3),
}
APPLICATIONS = 5


def identifier(*parts):
    """An id like those of AWS."""
    return hashlib.md5(repr(parts).encode()).hexdigest()


def segment_of(world, number):
    """A segment with its jobs. Some need attention, so that the charts of the most urgent segments have something to show."""
    runs = number < world.running
    jobs = [
        demo.job(identifier(number, age), f"-{age * 8 + 3}h", "25m", endpoints=240000, pieces=24)
        for age in range(world.jobs - runs)
    ]
    if runs:
        jobs.append(demo.job(identifier(number, "runs"), "-2h", "5h", endpoints=240000, pieces=24, failed_endpoints=10))
    if number % 25 == 3:
        jobs[0] |= {"end": "FAILED"}
    return {"name": f"Segment number {number}", "jobs": jobs}


def fake_world(world):
    """The world of the fake Pinpoint."""
    numbers = range(world.segments)
    return {
        "applications": {
            identifier("application", app): {
                "name": f"Application {app}",
                "segments": {
                    identifier("segment", number): segment_of(world, number) for number in numbers[app::APPLICATIONS]
                },
            }
            for app in range(APPLICATIONS)
        }
    }


def processor_time(program):
    """The processor time of a process so far, in seconds."""
    fields = pathlib.Path(f"/proc/{program.process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


class History:
    """Blocks with a day of what the exporters show now."""

    def __init__(self, folder, exporters, urgent):
        self.folder = folder
        self.segments = self.jobs = b""
        for exporter in exporters:
            for line in exporter.scrape().splitlines():
                name, brace, rest = line.partition("{")
                if not brace or not name.startswith("pinpoint_") or name.startswith("pinpoint_api_"):
                    continue
                line = f'{name}{{job="pinpoint",instance="{exporter.address}",{rest}\n'.encode()
                if not name.startswith("pinpoint_export_job_"):
                    self.segments += line
                elif any(segment in rest for segment in urgent):
                    self.jobs += line

    def write(self, until_time):
        """Two hours at a time, because promtool holds what it reads."""
        until_time = int(until_time)
        first = until_time - DAY
        # The blocks of Prometheus begin at even hours.
        for begin in range(first - first % 7200, until_time, 7200):
            file = self.folder / "history"
            with open(file, "wb") as text:
                for moment in range(max(begin, first), min(begin + 7200, until_time), MINUTE):
                    text.write((self.segments + self.jobs).replace(b"\n", b" %d\n" % moment))
                text.write(b"# EOF\n")
            subprocess.run(
                ["promtool", "tsdb", "create-blocks-from", "openmetrics", file, self.folder / "data"],
                check=True, stdout=subprocess.DEVNULL,
            )
            file.unlink()


class Build:
    """The rules and the dashboards of a commit, else those of the working tree."""

    def __init__(self, folder, commit):
        folder.mkdir()
        self.rules = [folder / "pinpoint.yaml", folder / "pinpoint-settings.yaml"]
        for file in self.rules:
            file.write_text(self.read(commit, RULES / file.name), encoding="utf-8")
        names = demo.DASHBOARDS
        self.dashboards = {
            name: json.loads(self.read(commit, ROOT / f"grafana/dashboards/{name}.json")) for name in names
        }

    @staticmethod
    def read(commit, file):
        if commit is None:
            return file.read_text(encoding="utf-8")
        return subprocess.run(
            ["git", "show", f"{commit}:{file.relative_to(ROOT)}"], cwd=ROOT, check=True, capture_output=True, text=True
        ).stdout


def seconds(text):
    """A time as Grafana writes it."""
    return float(re.match(r"[\d.]+", text)[0]) * {"s": 1, "m": 60, "h": 3600, "d": DAY}[text[-1]]


def step_of(span, pixels, least):
    """The step that Grafana chooses: its rounding of seconds and minutes, as far as a day needs it."""
    wanted = span / pixels
    rounded = next((step for limit, step in ((45, 30), (90, 60), (210, 120), (450, 300)) if wanted < limit), 600)
    return max(rounded, least)


class Load:
    """One Prometheus with one build."""

    def __init__(self, stack, exporters, build, data):
        self.build, self.exporters = build, exporters
        self.prometheus = stack.prometheus(scrape_config([]), "--storage.tsdb.retention.time=2d")
        # The blocks have to be there before it starts.
        self.prometheus.kill()
        shutil.copytree(data, self.prometheus.folder / "data", dirs_exist_ok=True, copy_function=os.link)
        self.prometheus.start()

    def rounds(self, rules=(), number=6):
        """The processor time of a round of the rules, and of a sixth of a scrape."""
        config = json.loads(scrape_config(self.exporters, interval=f"{MINUTE}s", rules=rules))
        config["global"]["evaluation_interval"] = f"{ROUND}s"
        self.prometheus.configure(json.dumps(config))
        self.prometheus.until(f"count(up == 1) == {len(self.exporters)}")
        time.sleep(3 * ROUND)
        begin, started = processor_time(self.prometheus), time.monotonic()
        time.sleep(number * ROUND)
        return (processor_time(self.prometheus) - begin) / (time.monotonic() - started) * ROUND

    def rules(self):
        """The processor time that the rules take in a round, and the number of recorded series."""
        without = self.rounds()
        both = self.rounds(self.build.rules)
        self.now = time.time() - 1
        recorded = int(self.prometheus.query('count({__name__=~".+:.+"})', self.now)[0]["value"][1])
        # From here on nothing but queries costs time.
        self.prometheus.configure(scrape_config([]))
        time.sleep(3)
        return both - without, recorded

    def cost(self, path, **parameters):
        """The processor time of a request, and its answer."""
        ask = self.prometheus.post if path.startswith("query") else self.prometheus.get
        found = []
        for _ in range(TIMES):
            before = processor_time(self.prometheus)
            answer = ask(path, **parameters)
            found.append(processor_time(self.prometheus) - before)
        return min(found), answer

    def variables(self, dashboard, chosen):
        """Reads each variable in turn, as Grafana does, and gives the cost of each and the choices."""
        costs = {}
        for variable in dashboard["templating"]["list"]:
            if variable["type"] != "query":
                continue
            name, definition = variable["name"], variable["definition"]
            if found := re.fullmatch(r"label_values\((.+), (\w+)\)", definition, re.S):
                expr = {"match[]": demo.fill(found[1], chosen)}
                path = f"label/{found[2]}/values"
                costs[f"${name}"], values = self.cost(path, **expr, start=self.now - DAY, end=self.now)
            else:
                expr = demo.fill(re.fullmatch(r"query_result\((.+)\)", definition, re.S)[1], chosen)
                costs[f"${name}"], answer = self.cost("query", query=expr, time=self.now)
                values = [value for _, value in demo.options(variable, chosen, lambda _: answer["result"])]
            if name not in chosen:
                chosen[name] = demo.regex(values) if variable["multi"] else next(iter(values), "")
        return costs

    def dashboard(self, name):
        """The processor time of each panel, annotation and variable of a dashboard."""
        dashboard = self.build.dashboards[name]
        chosen = {"status": ".+", "why": ".*", **ALL}
        for variable in dashboard["templating"]["list"]:
            if variable["name"] in chosen and variable["type"] == "custom":
                chosen[variable["name"]] = variable["allValue"]
        if name == "segment":
            running = 'topk(1, pinpoint_segment_latest_export_job_status{status="PROCESSING"} == 1)'
            (one,) = self.prometheus.query(running, self.now)
            chosen |= {"application": one["metric"]["application_id"], "segment": one["metric"]["segment_id"]}
        costs = self.variables(dashboard, chosen)
        for panel in dashboard["panels"]:
            span = seconds(panel["timeFrom"]) if "timeFrom" in panel else DAY
            least = seconds(panel["interval"]) if "interval" in panel else MINUTE
            step = step_of(span, panel["gridPos"]["w"] * WIDTH / 24, least)
            total = 0
            for target in panel.get("targets", ()):
                macros = {
                    "__interval": f"{step:.0f}s",
                    "__interval_ms": f"{step * 1000:.0f}",
                    "__rate_interval": f"{max(4 * MINUTE, step + MINUTE):.0f}s",
                }
                expr = demo.promql.substitute(target["expr"], {**demo.MACROS, **macros, **chosen})
                if target["instant"]:
                    total += self.cost("query", query=expr, time=self.now)[0]
                else:
                    total += self.cost("query_range", query=expr, start=self.now - span, end=self.now, step=step)[0]
            if panel.get("targets"):
                costs[panel["title"]] = total
        for one in dashboard["annotations"]["list"]:
            expr = demo.fill(one["expr"], chosen)
            costs[one["name"]] = self.cost("query_range", query=expr, start=self.now - DAY, end=self.now, step=300)[0]
        return costs


def measure(name, world, arguments):
    """The costs of each build in a world. Gives what exceeds a limit in the working tree."""
    with Stack(arguments.fake, arguments.exporter) as stack:
        fake = stack.fake(world=fake_world(world))
        applications = ", ".join(f"{identifier('application', app)}/*" for app in range(APPLICATIONS))
        exporters = [
            stack.exporter(
                fake, TARGETS=applications, CACHE_TTL="10m", NAMES="all", STATUS_SERIES=world.status_series,
                MAX_REQUESTS_PER_SECOND="0", FINISHED_JOBS_PER_SEGMENT="0", FINISHED_JOB_MAX_AGE="0s",
            )
            for _ in range(world.replicas)
        ]
        jobs = world.segments * world.jobs
        for exporter in exporters:
            until(lambda: exporter.scrape().count("pinpoint_export_job_info{") == jobs, exporter.log)
        numbers = range(3, world.segments, 25) if world.segments > 50 else range(world.segments)
        history = History(stack.folder, exporters, [identifier("segment", number) for number in numbers][:20])
        history.write(time.time() - 5 * MINUTE)
        builds = {"now": None} if arguments.before is None else {"before": arguments.before, "now": None}
        found = {}
        for label, commit in builds.items():
            load = Load(stack, exporters, Build(stack.folder / f"build-{label}", commit), stack.folder / "data")
            cost, recorded = load.rules()
            found[label] = {
                "rules": {"a round of the rules": cost, "recorded series": recorded},
                **{dashboard: load.dashboard(dashboard) for dashboard in ("export-jobs", "segment", "exporter")},
            }
            load.prometheus.kill()
        return report(name, world, found)


def report(name, world, found):
    """Prints the costs, and gives what exceeds a limit."""
    exceeded = []
    print(f"\n## {name}\n")
    for part, costs in found["now"].items():
        before = found.get("before", {}).get(part, {})
        print(f"| {part} | {'before | now | ratio' if before else 'now'} |\n| --- |{' --- |' * (3 if before else 1)}")
        rows, old = (side if part == "rules" else {"all": sum(side.values()), **side} for side in (costs, before))
        for row in {**rows, **old}:
            cells = [f"{side[row]:.3g}" if row in side else "-" for side in ([old, rows] if before else [rows])]
            if before:
                cells.append(f"{old[row] / rows[row]:.1f}" if old.get(row) and rows.get(row) else "-")
            print(f"| {row} | {' | '.join(cells)} |")
        print(flush=True)
        if part == "rules":
            continue
        limits = dict.fromkeys(costs, world.panel)
        if world.dashboard and part == "export-jobs":
            limits["all"] = world.dashboard
        exceeded += [
            f"{name}, {part}: {row} takes {rows[row]:.2f} s, limit {limit} s"
            for row, limit in limits.items()
            if rows[row] > limit
        ]
    return exceeded


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("fake")
    parser.add_argument("exporter")
    parser.add_argument("--before", metavar="COMMIT")
    parser.add_argument("--world", action="append", choices=WORLDS)
    arguments = parser.parse_args()
    exceeded = []
    for name in arguments.world or WORLDS:
        exceeded += measure(name, WORLDS[name], arguments)
    sys.exit("\n".join(exceeded) if exceeded else 0)


if __name__ == "__main__":
    main()
