"""What the exporter shows: families, their labels and the values that these can have, from the golden scrape.

A test of the Rust side holds the golden scrape, which has each family, equal to what the exporter answers.
"""

import dataclasses
import pathlib
import re

ROOT = pathlib.Path(__file__).parents[2]
GOLDEN = ROOT / "tests/it/golden/metrics.txt"


@dataclasses.dataclass
class Family:
    """A family: its type, its labels, and the values of each label in the scrape."""

    kind: str
    labels: dict = dataclasses.field(default_factory=dict)


def families():
    """The families by the names that queries use: a histogram's are its three parts."""
    found = {"up": Family("gauge", {})}
    for line in GOLDEN.read_text(encoding="utf-8").splitlines():
        if line.startswith("# TYPE "):
            name, kind = line.split()[2:]
            parts = [f"{name}_bucket", f"{name}_sum", f"{name}_count"] if kind == "histogram" else [name]
            found.update({part: Family("counter" if kind == "histogram" else kind) for part in parts})
        elif not line.startswith("#"):
            name, labels = re.fullmatch(r"(\w+)(?:\{(.*)\})? \S+", line).groups()
            for label, value in re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels or ""):
                found[name].labels.setdefault(label, []).append(value)
    return found


def statuses():
    """The states in the order of a job's life, and `UNKNOWN`, which the golden scrape has too."""
    return list(dict.fromkeys(families()["pinpoint_export_job_status"].labels["status"]))
