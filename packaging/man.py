"""Writes the manual page from the output of `--help`.

    pinpoint-exporter --help | python3 packaging/man.py VERSION
"""

import datetime
import os
import re
import sys

NAME = "pinpoint-exporter"
FILES = """\
.SH FILES
.TP
.I /etc/pinpoint-exporter/environment
The settings of the service, one variable per line. Only root can read this file.
.TP
.I /usr/share/pinpoint-exporter
Alert rules for Prometheus and dashboards for Grafana.
.SH SEE ALSO
.BR prometheus (1),
.BR systemctl (1)
.PP
https://github.com/pinpoint-exporter/pinpoint-exporter
"""
# On one line, at least two spaces separate a term from its description.
TERM = re.compile(r"^( {2}| {6}(?=-))(\S.*?)(?: {2,}(\S.*))?$")


def main(version, text):
    date = datetime.datetime.fromtimestamp(int(os.environ["SOURCE_DATE_EPOCH"]), datetime.UTC)
    summary, usage, *sections = re.split(r"\n\n", text.strip())
    print(f'.TH {NAME.upper()} 1 {date:%Y-%m-%d} "{NAME} {version}" "User Commands"')
    print(f".SH NAME\n{NAME} \\- {escaped(summary)}")
    print(f".SH SYNOPSIS\n.B {escaped(usage.removeprefix('Usage: '))}")
    for section in sections:
        write_section(section.split("\n"))
    print(FILES, end="")


def write_section(lines):
    """Prints a section: a title of one or more lines, followed by terms with their descriptions; or a paragraph."""
    title = []
    while lines and not lines[0].startswith(" "):
        title.append(lines.pop(0))
    title = " ".join(title)
    if not lines:
        heading, paragraph = title.split(": ", 1)
        print(f".SH {heading.upper()}\n{escaped(paragraph[0].upper() + paragraph[1:])}")
        return
    heading, _, note = title.removesuffix(":").partition(", ")
    print(f".SH {escaped(heading.upper())}")
    if note:
        print(escaped(note[0].upper() + note[1:] + "."))
    for line in lines:
        found = TERM.match(line)
        if found and (found[3] or not line.endswith(".")):
            print(f".TP\n.B {escaped(found[2])}")
            if found[3]:
                print(escaped(found[3]))
        else:
            print((".PP\n" if found else "") + escaped(line.strip()))


def escaped(text):
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + text if text.startswith((".", "'")) else text


if __name__ == "__main__":
    main(sys.argv[1], sys.stdin.read())
