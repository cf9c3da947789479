"""The folder that workers share."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from berlin.gateway.workers.parent import _new_folder


def test_what_a_killed_gateway_has_left_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new gateway removes the folders of gateways that are gone, and no others."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    abandoned, alive, starting = (tmp_path / f"berlin-{n}" for n in range(3))
    for folder in (abandoned, alive, starting):
        folder.mkdir()
        (folder / "responses.sqlite").touch()
    for folder in (abandoned, alive):
        (folder / "board").touch()
    other = tmp_path / "another-program"
    other.mkdir()
    lock = os.open(alive, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        new = _new_folder()
    finally:
        os.close(lock)
    assert {*tmp_path.iterdir()} == {alive, starting, other, new}
    assert (new.stat().st_mode & 0o777, (new / "secret").stat().st_size) == (0o700, 32)
