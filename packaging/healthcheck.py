"""Adds the Dockerfile's HEALTHCHECK to the images of an OCI layout, because buildah leaves it out.

    python3 packaging/healthcheck.py LAYOUT

OCI's specification has no health check. But Docker's own builder writes it into the image configuration, and Docker and podman
read it there.
"""

import hashlib
import json
import pathlib
import re
import shlex
import sys

DOCKERFILE = (pathlib.Path(__file__).parents[1] / "Dockerfile").read_text()


def healthcheck():
    (line,) = re.findall(r"^HEALTHCHECK (.*) CMD (\[.*\])$", DOCKERFILE, re.MULTILINE)
    options = dict(option.removeprefix("--").split("=") for option in shlex.split(line[0]))
    seconds = {"interval": "Interval", "timeout": "Timeout", "start-period": "StartPeriod"}
    found = {"Test": ["CMD", *json.loads(line[1])], "Retries": int(options["retries"])}
    for option, name in seconds.items():
        found[name] = int(options[option].removesuffix("s")) * 1_000_000_000
    return found


def main(layout):
    blobs = layout / "blobs/sha256"

    def replace(descriptor, change):
        """Replaces the blob of a descriptor with a changed one, and updates the descriptor."""
        old = blobs / descriptor["digest"].removeprefix("sha256:")
        value = json.loads(old.read_text())
        change(value)
        new = json.dumps(value, separators=(",", ":")).encode()
        digest = hashlib.sha256(new).hexdigest()
        old.unlink()
        (blobs / digest).write_bytes(new)
        descriptor.update(digest=f"sha256:{digest}", size=len(new))

    def with_healthcheck(config):
        config["config"]["Healthcheck"] = healthcheck()

    def with_config(manifest):
        replace(manifest["config"], with_healthcheck)

    def with_manifests(index):
        for descriptor in index["manifests"]:
            replace(descriptor, with_config)

    root = json.loads((layout / "index.json").read_text())
    for descriptor in root["manifests"]:
        replace(descriptor, with_manifests)
    (layout / "index.json").write_text(json.dumps(root, separators=(",", ":")))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
