"""What arrives at a user's machine: the wheel, the pins, and an import (P01 to P12)."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from support.manual import ROOT
from support.wheel import build_wheel

SHIPPED_ELSEWHERE = {"docs/": "berlin/providers/manual/", "src/": ""}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


def tracked() -> set[str]:
    """Return the files that the package has, by the repository's own list."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "src/berlin", "docs"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    names = listed.stdout.strip("\0").split("\0")
    return {
        target + name.removeprefix(folder)
        for name in names
        for folder, target in SHIPPED_ELSEWHERE.items()
        if name.startswith(folder)
    }


def test_p01_the_wheel_has_what_the_repository_has(wheel: Path) -> None:
    """No file is missing, none is added, and nothing in it runs at the start of Python."""
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert names == tracked()
    assert not [name for name in names if name.endswith(".pth") or "sitecustomize" in name]


def test_p02_a_second_build_has_the_same_bytes(wheel: Path, tmp_path: Path) -> None:
    """The wheel depends on the source alone."""
    assert build_wheel(tmp_path).read_bytes() == wheel.read_bytes()


@pytest.mark.parametrize("name", ["uv", "run", "dev", "gateway", "services", "agents"])
def test_p03_every_pin_has_hashes(name: str) -> None:
    """What CI and the container install is one version, and is checked by its hash."""
    text = (ROOT / "requirements" / f"{name}.txt").read_text("utf-8")
    pins = re.split(r"\n(?=[A-Za-z0-9])", re.sub(r"(?m)^\s*#.*\n?", "", text).strip())
    assert pins
    assert not [pin for pin in pins if "==" not in pin or "--hash=sha256:" not in pin]


WATCHED = """
import json, sys, threading
seen = []
def look(event, args):
    if event.startswith(("socket.", "subprocess.", "os.fork", "os.mkdir", "os.rem", "os.ren")):
        seen.append(event)
    if event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+"):
        seen.append(f"open {args[0]}")
sys.addaudithook(look)
import berlin
for name in berlin.__all__:
    getattr(berlin, name)
print(json.dumps([seen, threading.active_count()]))
"""


def test_p06_an_import_does_nothing_else(tmp_path: Path) -> None:
    """Importing all public names opens no socket, writes no file and starts no thread."""
    environ = {**os.environ, "HOME": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    ran = subprocess.run(
        [sys.executable, "-c", WATCHED],
        cwd=tmp_path,
        env=environ,
        check=True,
        capture_output=True,
        text=True,
    )
    assert json.loads(ran.stdout) == [[], 1]
    assert list(tmp_path.iterdir()) == []


def test_p11_the_container_is_nobody_in_particular() -> None:
    """In a container and as a service the gateway is not root, and writes to its folder only."""
    container = (ROOT / "packaging" / "Containerfile").read_text().split("FROM ")[-1]
    assert container.index("USER berlin") < container.index("ENTRYPOINT")
    assert re.findall(r"^VOLUME (.+)$", container, re.MULTILINE) == ["/data"]
    assert "HOME=/data XDG_CONFIG_HOME=/config XDG_DATA_HOME=/data" in container
    service = (ROOT / "packaging" / "berlin.service").read_text()
    assert {"DynamicUser=yes", "ProtectSystem=strict", "NoNewPrivileges=yes"} <= {
        *service.splitlines()
    }


def test_p12_every_dependency_has_its_reason() -> None:
    """There are few, and the manual says of each, also of the extras, why it is there."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    page = (ROOT / "docs" / "dependencies.md").read_text("utf-8")
    extras = [each for more in project["optional-dependencies"].values() for each in more]
    assert len(project["dependencies"]) <= 8
    for requirement in (*project["dependencies"], *extras):
        package = re.match(r"[A-Za-z0-9_.-]+", requirement)
        assert package is not None
        assert f"`{package[0]}`" in page, package[0]


def test_p05_ci_runs_nothing_that_others_can_change() -> None:
    """CI is a script of this repository; an action, wherever one is used, is pinned by commit."""
    listed = subprocess.run(
        ["git", "grep", "-hE", r"^\s*-?\s*uses:", "--", "*.yml", "*.yaml"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert [x for x in listed.stdout.splitlines() if not re.search(r"@[0-9a-f]{40}\b", x)] == []
    steps = re.findall(r"(?m)^(?!#|set |cd )(\S.*)$", (ROOT / ".ci" / "run").read_text("utf-8"))
    assert steps
    assert all(step.startswith("make ") for step in steps)


def test_p08_ci_runs_every_python_and_the_oldest_dependencies() -> None:
    """The declared Pythons are those that CI tries, and so are the oldest allowed dependencies."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    declared = re.findall(r"Python :: (3\.\d+)", " ".join(project["classifiers"]))
    only = re.search(r'make pythons ONLY="([^"]+)"', (ROOT / ".ci" / "run").read_text("utf-8"))
    assert only is not None
    # `make test` before it is the first of them.
    assert {declared[0], *only[1].split()} == {*declared, "oldest"}
    assert project["requires-python"] == f">={declared[0]}"


def test_p09_a_weakness_can_be_reported_privately() -> None:
    """SECURITY.md names a private way, the supported versions, and where the threat model is."""
    policy = (ROOT / "SECURITY.md").read_text("utf-8")
    assert "privately" in policy
    assert "## Supported versions" in policy
    assert "(docs/security.md)" in policy
    assert "## Threat model" in (ROOT / "docs" / "security.md").read_text("utf-8")
