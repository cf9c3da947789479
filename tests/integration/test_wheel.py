"""The package as users get it: a wheel, installed apart from the source."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from berlin.recipes.recipe import recipe_names
from support.manual import ROOT
from support.wheel import build_wheel

PAGES = sorted(page.name for page in (ROOT / "docs").glob("*.md"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel in a folder of its own, before the dependencies on the path."""
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(folder)
    return folder


def run(installed: Path, *args: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run Python with the wheel and the dependencies, and nothing of the source."""
    dependencies = sysconfig.get_paths()["purelib"]
    # A folder on the path is no site folder: what installs the source in place is not read there.
    environ = {"PYTHONPATH": f"{installed}:{dependencies}", "HOME": str(cwd), "LC_ALL": "C.UTF-8"}
    return subprocess.run(
        [sys.executable, "-S", *args],
        cwd=cwd,
        env=environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )


def test_the_wheel_holds_recipes_manual_and_types(wheel: Path) -> None:
    """All recipes, all pages and the mark of typed packages travel; tests do not."""
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {f"berlin/recipes/shipped/{name}.toml" for name in recipe_names()} <= names
    assert {f"berlin/providers/manual/{page}" for page in PAGES} <= names
    assert "berlin/py.typed" in names
    assert not [name for name in names if name.startswith(("tests", "docs", "bench", "src"))]


def test_it_runs_without_the_source(installed: Path, tmp_path: Path) -> None:
    """The commands run from the wheel alone, in a folder that is not the repository."""
    where = run(installed, "-c", "import berlin; print(berlin.__file__)", cwd=tmp_path)
    assert where.stdout.startswith(str(installed)), where.stderr
    listed = run(installed, "-m", "berlin", "recipe", "list", cwd=tmp_path)
    assert len(listed.stdout.splitlines()) == len(recipe_names()), listed.stderr
    answered = run(installed, "-m", "berlin", "chat", "-m", "embedded", "license", cwd=tmp_path)
    assert "MIT" in answered.stdout, answered.stderr
