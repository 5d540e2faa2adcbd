"""Puts the tables of `make bench` and `make bench-peers` into the document, and draws the growth as an SVG.

    .venv/bin/python benches/plots.py target docs/BENCHMARKS.md docs/images/growth.svg
"""

import pathlib
import re
import sys

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot  # noqa: E402


def tables(source):
    """What a run has printed, without the lines of `tests/run`."""
    lines = source.read_text().splitlines()
    return "\n".join(line for line in lines if not line.startswith("==")).strip()


def insert(text, name, content):
    """The document with new content between the comments of that name."""
    begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    before, _, rest = text.partition(begin)
    return f"{before}{begin}{content}\n{end}{rest.partition(end)[2]}"


def growth(text):
    """The rows of the table: targets, jobs, text, first scrape, cached scrape, resident."""
    _, _, table = text.partition("### Growth\n")
    rows = re.findall(r"^\| (\d.*) \|$", table.partition("\n###")[0], re.MULTILINE)
    rows = [[float(cell) for cell in row.split(" | ")] for row in rows]
    if not rows:
        sys.exit("there is no growth table; run `make bench`, or CHAPTERS=growth make bench")
    return rows


def draw(rows, drawing):
    pyplot.rcParams.update({"svg.hashsalt": "growth", "svg.fonttype": "none", "font.size": 9})
    figure, panels = pyplot.subplots(1, 3, figsize=(11, 3.6), layout="constrained")
    kinds = {"one target": lambda targets: targets == 1, "targets of 10 jobs": lambda targets: targets > 1}
    names = ["first scrape, ms", "cached scrape, gzip, ms", "resident, MB"]
    for column, (panel, name) in enumerate(zip(panels, names, strict=True), start=3):
        for kind, belongs in kinds.items():
            points = [(row[1], row[column]) for row in rows if belongs(row[0])]
            panel.plot(*zip(*points, strict=True), marker="o", label=kind)
        panel.set(title=name, xlabel="jobs", xscale="log", yscale="log")
        panel.grid(alpha=0.3)
    panels[0].legend()
    figure.savefig(drawing, metadata={"Date": None})


def main(folder, document, drawing):
    document, text = pathlib.Path(document), pathlib.Path(document).read_text()
    for name in ("bench", "bench-peers"):
        if (source := pathlib.Path(folder, f"{name}.md")).exists():
            text = insert(text, name, tables(source))
    document.write_text(text)
    draw(growth(text), drawing)


main(*sys.argv[1:])
