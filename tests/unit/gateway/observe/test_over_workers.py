"""Metrics of several workers in one scrape."""

from __future__ import annotations

from pathlib import Path

from berlin.gateway.observe.over_workers import FOLDER, WorkerMetrics
from berlin.gateway.workers.board import Board
from berlin.gateway.workers.worker import Worker


def test_a_file_that_a_worker_is_just_making_disturbs_no_scrape(tmp_path: Path) -> None:
    """Its size is 0 for a moment; it has nothing to show yet."""
    Board(tmp_path / "board", 2).close()
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / "counter_1.db").touch()
    names = [metric.name for metric in WorkerMetrics(Worker(0, tmp_path)).collect()]
    assert names == ["berlin_workers", "berlin_workers_ready", "berlin_worker_restarts"]
