"""Compare the pinned packages, and the oldest versions that Berlin allows, with known advisories.

    python packaging/advisories.py                    # with packaging/advisories.tsv, offline
    python packaging/advisories.py --database FOLDER  # also with a copy of a database

A database is a folder with advisories in the OSV format: as YAML, such as a clone of the PyPA
advisory database, or as JSON, such as an unpacked export of OSV.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

ROOT = Path(__file__).parent.parent
KNOWN = ROOT / "packaging" / "advisories.tsv"
ACCEPTED = ROOT / "packaging" / "accepted.tsv"
_PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)


@dataclass(frozen=True)
class Advisory:
    """A vulnerability of a package: affected from one version on, up to but not including another.

    Attributes:
        fixed: the first version without it; `None` if there is none.
    """

    package: str
    id: str
    introduced: Version
    fixed: Version | None

    def affects(self, version: Version) -> bool:
        """Return whether a version has it."""
        return self.introduced <= version and (self.fixed is None or version < self.fixed)


@dataclass(frozen=True)
class Pin:
    """A package at a version, and the file that says so."""

    file: str
    package: str
    version: Version


def read_rows(path: Path) -> Iterator[list[str]]:
    """Yield the rows of a table whose columns are separated by tabs."""
    for line in path.read_text().splitlines():
        if line and not line.startswith("#"):
            yield line.split("\t")


def read_known(path: Path = KNOWN) -> list[Advisory]:
    """Return the advisories that the project carries."""
    return [
        Advisory(package, name, Version("0"), Version(fixed))
        for package, name, fixed in read_rows(path)
    ]


def read_database(folder: Path) -> Iterator[Advisory]:
    """Yield the advisories for PyPI in a folder of files in the OSV format."""
    for file in sorted(folder.rglob("*.json")):
        yield from _of_json(json.loads(file.read_text()))
    for file in sorted(folder.rglob("*.yaml")):
        yield from _of_yaml(file.read_text())


def _of_json(entry: dict[str, Any]) -> Iterator[Advisory]:
    if entry.get("withdrawn"):
        return
    for affected in entry.get("affected", ()):
        package = affected.get("package", {})
        if package.get("ecosystem") != "PyPI":
            continue
        for span in affected.get("ranges", ()):
            if span["type"] == "ECOSYSTEM":
                pairs = [pair for event in span["events"] for pair in event.items()]
                yield from _spans(package["name"], entry["id"], pairs)


def _of_yaml(text: str) -> Iterator[Advisory]:
    """Read what the PyPA database writes, all of it in one form; a YAML parser is not needed."""
    if re.search(r"^withdrawn:", text, re.MULTILINE):
        return
    name = re.search(r"^id: *(\S+)", text, re.MULTILINE)
    for affected in re.split(r"^- package:", text, flags=re.MULTILINE)[1:]:
        package = re.search(r"^ +name: *(\S+)", affected, re.MULTILINE)
        for span in re.split(r"^ *- type: *", affected, flags=re.MULTILINE)[1:]:
            if name and package and span.startswith("ECOSYSTEM"):
                pairs = re.findall(
                    r"^ *-? *(introduced|fixed): *[\"']?([^\s\"']+)", span, re.MULTILINE
                )
                yield from _spans(package[1].strip("\"'"), name[1], pairs)


def _spans(package: str, name: str, events: list[tuple[str, str]]) -> Iterator[Advisory]:
    introduced: Version | None = None
    try:
        for event, text in events:
            if event == "introduced":
                introduced = Version(text)
            elif event == "fixed" and introduced is not None:
                yield Advisory(canonicalize_name(package), name, introduced, Version(text))
                introduced = None
    except InvalidVersion:
        return
    if introduced is not None:
        yield Advisory(canonicalize_name(package), name, introduced, None)


def read_pins(root: Path = ROOT) -> Iterator[Pin]:
    """Yield all pins, and as pins the oldest versions that `pyproject.toml` allows."""
    for file in sorted((root / "requirements").glob("*.txt")):
        for name, version in _PIN.findall(file.read_text()):
            yield Pin(f"requirements/{file.name}", canonicalize_name(name), Version(version))
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    for text in {*project["dependencies"], *(text for extra in extras for text in extra)}:
        needed = Requirement(text)
        for bound in needed.specifier:
            if bound.operator == ">=":
                yield Pin("pyproject.toml", canonicalize_name(needed.name), Version(bound.version))


def read_accepted(path: Path = ACCEPTED) -> set[tuple[str, str]]:
    """Return the pairs of file and package for which the project has a reason to keep them."""
    return {(file, package) for file, package, _reason in read_rows(path)}


def main(arguments: list[str] | None = None) -> int:
    """Print each pin with a known weakness, and end with 1 if there is one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--database", type=Path, metavar="FOLDER")
    given = parser.parse_args(arguments)
    advisories = read_known()
    if given.database is not None:
        advisories += read_database(given.database)
    by_package: dict[str, list[Advisory]] = {}
    for advisory in advisories:
        by_package.setdefault(advisory.package, []).append(advisory)
    accepted, pins = read_accepted(), list(read_pins())
    bad = 0
    for pin in pins:
        if (pin.file, pin.package) in accepted:
            continue
        for advisory in by_package.get(pin.package, ()):
            if advisory.affects(pin.version):
                bad += 1
                fixed = f"fixed in {advisory.fixed}" if advisory.fixed else "not fixed"
                print(f"{pin.file}: {pin.package} {pin.version}: {advisory.id}, {fixed}")
    print(f"{len(pins)} pins, {len(advisories)} advisories, {bad} affected")
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main())
