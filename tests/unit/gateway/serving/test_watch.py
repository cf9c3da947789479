"""Files that are written while they are read: the configuration in use stays."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from berlin.errors import ConfigurationError
from berlin.gateway.serving.watch import ConfigFiles, files_state


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, ConfigFiles]:
    """Return a configuration and what watches it."""
    path = tmp_path / "berlin.toml"
    path.write_text("default = 'a'\n")
    return path, ConfigFiles(path, files_state(path))


CHANGES: list[Callable[[Path], object]] = [
    lambda path: path.write_text(""),
    lambda path: path.write_text("default = 'b'\n"),
    lambda path: path.unlink(),
    lambda path: (path.parent / "recipe.toml").write_text("x = 1"),
]


@pytest.mark.parametrize("change", CHANGES)
def test_files_that_change_while_they_are_read(
    files: tuple[Path, ConfigFiles], change: Callable[[Path], object]
) -> None:
    """What was read then is not used: it may be half of one and half of another."""
    path, watched = files
    with pytest.raises(ConfigurationError, match="changed while it was read"):
        watched.whole(lambda: change(path))()


def test_a_file_that_is_empty_when_it_is_read(files: tuple[Path, ConfigFiles]) -> None:
    """It was whole a moment ago, when it was looked at: somebody is writing it."""
    path, watched = files
    read: list[str] = []
    load = watched.whole(lambda: read.append(path.read_text()))
    path.write_text("\n")
    with pytest.raises(ConfigurationError, match="is empty"):
        load()
    path.write_text("default = 'b'\n")
    load()
    assert read == ["default = 'b'\n"]


@pytest.mark.parametrize("becomes", [os.mkfifo, os.mkdir], ids=["pipe", "folder"])
def test_a_file_that_becomes_something_else(
    files: tuple[Path, ConfigFiles], becomes: Callable[[Path], object]
) -> None:
    """A pipe is not waited for: looking goes on, and a file in its place is taken up again."""
    path, watched = files
    path.unlink()
    becomes(path)
    assert watched.look(asked=True)  # reading it says what is wrong
    path.rmdir() if path.is_dir() else path.unlink()
    path.write_text("default = 'b'\n")
    assert watched.look(asked=True)
