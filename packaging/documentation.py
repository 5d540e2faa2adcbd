"""Copies README.md and docs into a folder, without pictures.

    python3 packaging/documentation.py 0.1.0 FOLDER

Links to other files of the repository become links to that version on GitHub, because the folder does not contain them.
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).parents[1]
REPOSITORY = "https://github.com/pinpoint-exporter/pinpoint-exporter"
# CHANGELOG.md and LICENSE are not copied: the RPM has them, but in the .deb they have other names.
COPIED = ["README.md", *sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("docs/*.*"))]
LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)#\s]+)")


def linked(document, version):
    """The document's text, with links that also work outside the repository."""
    def absolute(match):
        target = (document.parent / match[1]).resolve()
        if not target.exists():
            sys.exit(f"{document.relative_to(ROOT)} links to {match[1]}, which does not exist: correct the link")
        path = str(target.relative_to(ROOT))
        if path in COPIED:
            return match[1]
        kind = "raw" if target.suffix in (".png", ".svg") else "tree" if target.is_dir() else "blob"
        return f"{REPOSITORY}/{kind}/v{version}/{path}"

    return LINK.sub(absolute, document.read_text())


def main(version, folder):
    for path in COPIED:
        document, copy = ROOT / path, pathlib.Path(folder) / path
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(linked(document, version) if document.suffix == ".md" else document.read_text())


if __name__ == "__main__":
    main(*sys.argv[1:])
