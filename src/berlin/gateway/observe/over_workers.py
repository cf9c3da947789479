"""Metrics of several workers in one scrape, whichever worker answers it.

Each worker counts in memory of its slot that all share. What a worker counted before it was killed
is not lost, and the next worker in the slot goes on from there: no counter goes backwards.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from berlin.gateway.observe.cells import Cells, Name, Row
from berlin.gateway.workers.board import State
from berlin.gateway.workers.worker import Worker

if TYPE_CHECKING:
    from prometheus_client import Metric

# Of each slot, allocated when it begins: what five hundred providers need.
BYTES = {"counters": 1024 * 1024, "gauges": 128 * 1024}


def cells_of(worker: Worker | None, kind: str, slot: int | None = None) -> Cells:
    """Return the counters or gauges of a slot, by default the worker's own."""
    if worker is None:
        return Cells()
    slot = worker.slot if slot is None else slot
    return Cells(worker.memory(f"{kind}-{slot}", BYTES[kind]))


def rows_of_all(worker: Worker) -> Iterator[tuple[Name, Row]]:
    """Yield the rows of all workers, also those of workers that have ended."""
    for path in worker.folder.iterdir():
        kind, _, slot = path.name.partition("-")
        if kind in BYTES:
            yield from cells_of(worker, kind, int(slot)).rows.items()


def forget_gauges(folder: Path, slot: int) -> None:
    """Remove the present state of a worker that has ended; its counters stay."""
    with contextlib.suppress(OSError):
        (folder / f"gauges-{slot}").unlink()


def metrics_of_workers(worker: Worker) -> Iterable[Metric]:
    """Yield the metrics of the workers, from the board."""
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    board = worker.board
    yield GaugeMetricFamily("berlin_workers", "Configured workers.", board.workers)
    ready = board.count(State.READY)
    yield GaugeMetricFamily("berlin_workers_ready", "Workers that accept requests.", ready)
    text = "Workers that ended unasked and were replaced."
    yield CounterMetricFamily("berlin_worker_restarts", text, board.restarts)
