"""The board on which workers write their states."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from berlin.errors import ConfigurationError
from berlin.gateway.workers.board import Board, State
from berlin.gateway.workers.memory import map_file
from berlin.gateway.workers.worker import Worker


def test_two_views_of_one_board(tmp_path: Path) -> None:
    """What one process writes, another one reads; slots are given out lowest first."""
    parent = Board(tmp_path / "board", 2)
    assert parent.free_slot() == 0
    parent.write(0, 11, State.READY)
    parent.write(1, 12, State.STARTING)
    worker = Worker(1, tmp_path)
    assert worker.problem == "starting"
    worker.report(State.READY)
    assert parent.count(State.READY) == 2
    assert parent.free_slot() == 2
    parent.was_ready = True
    parent.restarts += 3
    assert (worker.problem, worker.board.restarts, worker.board.workers) == ("", 3, 2)
    parent.stopping = True
    assert worker.problem == "stopping"
    parent.close()
    worker.board.close()


def test_shared_memory(tmp_path: Path) -> None:
    """Memory of a name is the same for all workers, and zero at first."""
    Board(tmp_path / "board", 2).close()
    one, two = Worker(0, tmp_path), Worker(1, tmp_path)
    mine, other = one.memory("counts", 64), two.memory("counts", 64)
    assert bytes(other) == bytes(64)
    mine[3] = 7
    assert other[3] == 7
    for worker in (one, two):
        worker.board.close()


def test_shared_memory_without_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk is an error when the memory is made, and not the end of the process later."""
    Board(tmp_path / "board", 2).close()
    worker = Worker(0, tmp_path)

    def full(descriptor: int, offset: int, size: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(ConfigurationError, match=r"no room .*No space left.*XDG_RUNTIME_DIR"):
        worker.memory("counts", 64)
    worker.board.close()
    with pytest.raises(ConfigurationError, match="no room"):
        Board(tmp_path / "other", 2)


def test_memory_that_workers_use_is_not_made_shorter(tmp_path: Path) -> None:
    """A worker of another release may want less of it, while an older one still writes to all."""
    older = map_file(tmp_path / "counters-0", 8192)
    map_file(tmp_path / "counters-0", 4096)
    assert (tmp_path / "counters-0").stat().st_size == 8192
    older[8191] = 1
    assert map_file(tmp_path / "counters-0", 8192)[8191] == 1
