"""Metrics of several workers in one scrape, whichever worker answers it.

Each worker counts in files of its slot, in the folder of the gateway. They are mapped into memory,
so that what a worker counted before it was killed is not lost, and the next worker in the slot goes
on counting from there: no counter goes backwards.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from berlin.gateway.workers.board import State
from berlin.gateway.workers.worker import Worker

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Metric

FOLDER = "metrics"


def share_metrics(worker: Worker) -> CollectorRegistry:
    """Let this process count in files, and return what renders those of all workers.

    It must be called before a metric is made, and once in a process.
    """
    from prometheus_client import CollectorRegistry, values

    folder = worker.folder / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
    slot = worker.slot
    values.ValueClass = values.MultiProcessValue(lambda: slot)  # type: ignore[no-untyped-call]  # not typed
    registry = CollectorRegistry()
    registry.register(WorkerMetrics(worker))
    return registry


def forget_gauges(folder: Path, slot: int) -> None:
    """Remove the present state of a worker that has ended; its counters stay."""
    for file in (folder / FOLDER).glob(f"gauge_live*_{slot}.db"):
        with contextlib.suppress(OSError):
            file.unlink()


class WorkerMetrics:
    """What all workers have counted, and the metrics of the workers themselves, from the board."""

    def __init__(self, worker: Worker) -> None:
        self._folder = worker.folder / FOLDER
        self._board = worker.board

    def collect(self) -> Iterable[Metric]:
        """Yield the metrics."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
        from prometheus_client.multiprocess import MultiProcessCollector

        files = [str(file) for file in self._folder.glob("*.db") if _has_begun(file)]
        yield from MultiProcessCollector.merge(files)  # type: ignore[no-untyped-call]  # not typed
        board = self._board
        yield GaugeMetricFamily("berlin_workers", "Configured workers.", board.workers)
        ready = board.count(State.READY)
        yield GaugeMetricFamily("berlin_workers_ready", "Workers that accept requests.", ready)
        text = "Workers that ended unasked and were replaced."
        yield CounterMetricFamily("berlin_worker_restarts", text, board.restarts)


def _has_begun(file: Path) -> bool:
    """Return whether a file has values; one that another worker is just making is empty."""
    try:
        return file.stat().st_size > 0
    except FileNotFoundError:
        return False
