"""Writes a bill of materials (CycloneDX 1.5) beside each file of a release.

    python3 packaging/sbom.py WORK DIST

WORK/ARCH/PROGRAM.json lists the components of a program for an architecture. The bill of a file with one program has the components
of that program. The bill of an image has the components for both architectures. The chart contains no program, so its bill has the
image that the chart starts.
"""

import datetime
import hashlib
import json
import os
import pathlib
import sys
import uuid

NAMESPACE = uuid.UUID("6f2d9e0a-6f0d-5c53-9d53-2f2f4f0c8a11")
# The names of the two architectures in file names.
ARCHITECTURES = {"amd64": "amd64", "x86_64": "amd64", "arm64": "arm64", "aarch64": "arm64"}


def main(work, dist):
    version, epoch = os.environ["VERSION"], int(os.environ["SOURCE_DATE_EPOCH"])
    for file in sorted(dist.iterdir()):
        program = "fake-pinpoint" if file.name.startswith("fake-pinpoint") else "pinpoint-exporter"
        programs = {arch: json.loads((work / arch / f"{program}.json").read_text()) for arch in ("amd64", "arm64")}
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        names = {arch for name, arch in ARCHITECTURES.items() if name in file.name}
        if file.name.endswith(".tgz"):
            image = {"type": "container", "name": "ghcr.io/pinpoint-exporter/pinpoint-exporter", "version": version,
                     "bom-ref": "image"}
            components, dependencies = [image], [{"ref": "file", "dependsOn": ["image"]}]
        else:
            components, dependencies = merged([programs[arch] for arch in sorted(names or programs)])
        bill = {
            "bomFormat": "CycloneDX",
            "specVersion": "1.5",
            "serialNumber": f"urn:uuid:{uuid.uuid5(NAMESPACE, digest)}",
            "version": 1,
            "metadata": {
                "timestamp": datetime.datetime.fromtimestamp(epoch, datetime.UTC).isoformat(),
                "component": {"type": "file", "name": file.name, "version": version, "bom-ref": "file",
                              "hashes": [{"alg": "SHA-256", "content": digest}]},
            },
            "components": components,
            "dependencies": dependencies,
        }
        (dist / f"{file.name}.cdx.json").write_text(json.dumps(bill, indent=1, sort_keys=True) + "\n")


def merged(programs):
    """The components of the programs without duplicates, and their dependencies."""
    components, dependencies = {}, {"file": set()}
    for program in programs:
        own = program["metadata"]["component"]
        own.pop("components", None)
        dependencies["file"].add(own["bom-ref"])
        for component in [own, *program["components"]]:
            components[component["bom-ref"]] = component
        for dependency in program["dependencies"]:
            dependencies.setdefault(dependency["ref"], set()).update(dependency.get("dependsOn", []))
    return (
        [components[ref] for ref in sorted(components)],
        [{"ref": ref, "dependsOn": sorted(on)} for ref, on in sorted(dependencies.items())],
    )


if __name__ == "__main__":
    main(*map(pathlib.Path, sys.argv[1:3]))
