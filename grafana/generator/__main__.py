"""Writes the dashboards, and the tables of their panels in grafana/README.md.

    python3 grafana/generator          # writes the files that differ
    python3 grafana/generator --check  # writes nothing; exits with status 1 if a file differs

It needs only Python 3.9. The written files are committed, so users of the dashboards do not need this program.
"""

import json
import pathlib
import sys

import export_jobs
import exporter
import segment

HERE = pathlib.Path(__file__).parent.parent
README = HERE / "README.md"
DASHBOARDS = {"export-jobs": export_jobs.DASHBOARD, "segment": segment.DASHBOARD, "exporter": exporter.DASHBOARD}


def panel_table(dashboard):
    """The rows of a dashboard as tables for the README."""
    lines = []
    for panel in dashboard["panels"]:
        if panel["type"] == "row":
            lines += ["", f"**{panel['title']}**", "", "| panel | what it shows |", "| --- | --- |"]
        else:
            lines.append(f"| {panel['title']} | {panel['description']} |")
    return "\n".join(lines[1:]) + "\n"


def readme():
    """The README with new tables."""
    text = README.read_text(encoding="utf-8")
    for name, dashboard in DASHBOARDS.items():
        begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        before, rest = text.split(begin)
        text = before + begin + panel_table(dashboard) + end + rest.split(end)[1]
    return text


def main():
    """Compares the files, and writes them unless `--check` is given."""
    files = {
        HERE / "dashboards" / f"{name}.json": json.dumps(dashboard, indent=2, ensure_ascii=False) + "\n"
        for name, dashboard in DASHBOARDS.items()
    }
    files[README] = readme()
    differ = [file for file, text in files.items() if not file.exists() or file.read_text(encoding="utf-8") != text]
    for file in differ:
        print(f"{file.relative_to(HERE.parent)} differs from the output of the generator")
        if "--check" not in sys.argv:
            file.parent.mkdir(exist_ok=True)
            file.write_text(files[file], encoding="utf-8")
    return 1 if differ and "--check" in sys.argv else 0


sys.exit(main())
