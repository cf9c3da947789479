"""The workers as their parent sees them."""

from __future__ import annotations

import subprocess
from pathlib import Path

from berlin.gateway.workers.board import Board, State
from berlin.gateway.workers.children import STALLED_S, Child, Children, Descriptors
from berlin.gateway.workers.worker import Worker


def test_a_worker_that_hangs_is_killed(tmp_path: Path) -> None:
    """Its event loop has not run for half a minute; one that was never heard of is left alone, and
    after a stop of the parent itself all have the time again."""
    board = Board(tmp_path / "board", 2)
    children = Children([()], tmp_path, board, Descriptors(-1, -1, ()), lambda *_: 0)
    sleepers = [subprocess.Popen(["sleep", "60"]) for _ in range(2)]
    children.adopt([Child(one.pid, n, 0, 0.0) for n, one in enumerate(sleepers)])
    for slot, one in enumerate(sleepers):
        board.write(slot, one.pid, State.READY)
    try:
        board.beat(0, 1000)
        children.kill_stalled(1001 + STALLED_S)  # its first look: it may have been stopped
        assert [one.poll() for one in sleepers] == [None, None]
        for seconds in (10, 20, 31):
            children.kill_stalled(1001 + STALLED_S + seconds)
        assert sleepers[0].wait(10) == -9
        assert sleepers[1].poll() is None
    finally:
        for one in sleepers:
            one.kill()
            one.wait()
        board.close()


def test_a_configuration_is_loaded_when_all_workers_use_it(tmp_path: Path) -> None:
    """That the parent has told them is not enough: a request may come before they have read it."""
    board = Board(tmp_path / "board", 2)
    children = Children([()], tmp_path, board, Descriptors(-1, -1, ()), lambda *_: 0)
    children.adopt([Child(-1 - slot, slot, slot, 0.0) for slot in range(2)])
    children.keep_adopted()
    assert children.are_renewed
    children.renew()
    workers = [Worker(slot, tmp_path) for slot in range(2)]
    workers[0].use(board.generation)
    assert not children.are_renewed
    workers[1].use(board.generation)
    assert children.are_renewed
    children.renew()
    assert not children.are_renewed
    # The program that is started anew in a restart goes on counting.
    after = Children([()], tmp_path, board, Descriptors(-1, -1, ()), lambda *_: 0)
    after.renew()
    assert board.generation == 3
    for each in (board, *(worker.board for worker in workers)):
        each.close()
