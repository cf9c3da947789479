"""Build the release: a wheel and a source archive that are the same each time, and a list of
their contents (an SBOM in CycloneDX 1.6).

    python packaging/dist.py [folder]

The wheel is built twice; if the two differ in a byte, that is an error.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
NAME = "berlin-llm"
_PINNED = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)(?:\s*;\s*([^\\]+?))?\s*\\?$")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


def build(folder: Path, *, at: str) -> dict[str, str]:
    """Build wheel and archive into a folder, and return their hashes.

    Args:
        folder: where they go.
        at: seconds since the epoch, which become the time of every file in both.
    """
    environ = {**os.environ, "SOURCE_DATE_EPOCH": at, "PYTHONHASHSEED": "0", "TZ": "UTC"}
    command = (sys.executable, "-m", "hatchling", "build", "-d", str(folder))
    subprocess.run(command, cwd=ROOT, env=environ, check=True, stdout=subprocess.DEVNULL)  # noqa: S603  # ours
    made = sorted(file for file in folder.iterdir() if file.suffix in (".whl", ".gz"))
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in made}


def commit_time() -> str:
    """Return when the last change was made, or a fixed day outside of a repository."""
    shown = subprocess.run(
        ("git", "log", "-1", "--format=%ct"),  # noqa: S607  # the git on the path
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return shown.stdout.strip() or "1735689600"


def bill_of_materials(pinned: str, version: str, made: dict[str, str]) -> dict[str, Any]:
    """Return the components of a release.

    Args:
        pinned: the text of `requirements/run.txt`.
        version: that of Berlin.
        made: the files of the release, and their hashes.
    """
    purl = f"pkg:pypi/{NAME}@{version}"
    components = list(read_components(pinned))
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": purl,
                "name": NAME,
                "version": version,
                "purl": purl,
                "licenses": [{"license": {"id": "MIT"}}],
                "hashes": [{"alg": "SHA-256", "content": digest} for digest in made.values()],
            }
        },
        "components": components,
        "dependencies": [{"ref": purl, "dependsOn": [each["bom-ref"] for each in components]}],
    }


def read_components(pinned: str) -> list[dict[str, Any]]:
    """Return the packages that a file with hashes pins."""
    found: list[dict[str, Any]] = []
    for line in pinned.splitlines():
        named = _PINNED.match(line)
        if named:
            purl = f"pkg:pypi/{named[1].lower()}@{named[2]}"
            found.append(
                {
                    "type": "library",
                    "bom-ref": purl,
                    "name": named[1],
                    "version": named[2],
                    "purl": purl,
                    "hashes": [],
                }
            )
            if named[3]:
                found[-1]["properties"] = [{"name": "pypi:marker", "value": named[3].strip()}]
        for digest in _HASH.findall(line):
            found[-1]["hashes"].append({"alg": "SHA-256", "content": digest})
    return found


def main() -> int:
    """Build a release, and say what was made."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "dist"
    folder.mkdir(exist_ok=True)
    at = commit_time()
    with tempfile.TemporaryDirectory() as again:
        made, same = build(folder, at=at), build(Path(again), at=at)
    if made != same:
        print(f"the builds differ: {made} and {same}", file=sys.stderr)
        return 1
    wheel = next(name for name in made if name.endswith(".whl"))
    pinned = (ROOT / "requirements" / "run.txt").read_text()
    bill = bill_of_materials(pinned, wheel.split("-")[1], made)
    sbom = folder / f"{wheel.removesuffix('.whl')}.cdx.json"
    sbom.write_text(json.dumps(bill, indent=2) + "\n")
    for name, digest in made.items():
        print(f"{digest}  {name}")
    print(f"{len(bill['components'])} components in {sbom.name}; built twice with the same hashes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
