"""Metrics of several workers in one scrape."""

from __future__ import annotations

from pathlib import Path

from berlin.errors import TLSError
from berlin.gateway.observe.cells import Cells
from berlin.gateway.observe.metrics import PrometheusMetrics
from berlin.gateway.observe.over_workers import forget_gauges
from berlin.gateway.observe.visit import Visit
from berlin.gateway.workers.board import Board
from berlin.gateway.workers.worker import Worker


def worker(tmp_path: Path, slot: int) -> PrometheusMetrics:
    """Return the metrics of a worker that starts in a slot."""
    return PrometheusMetrics(["s"], ["openai"], Worker(slot, tmp_path))


def count(metrics: PrometheusMetrics, seconds: float = 0.2, **attributes: object) -> None:
    """Count a request."""
    visit = Visit("POST", "/", "", {}, face="openai", provider="s", status=200)
    visit.seconds, visit.events, visit.first_event_at = seconds, 3, visit.began_at + 0.01
    for name, value in attributes.items():
        setattr(visit, name, value)
    metrics.ended(visit)


def value(metrics: PrometheusMetrics, name: str, **labels: str) -> float | None:
    """Return a number that a scrape shows."""
    shown = (sample for family in metrics.collect() for sample in family.samples)
    for sample in shown:
        if sample.name == f"berlin_{name}" and labels.items() <= sample.labels.items():
            return sample.value
    return None


def test_all_workers_show_the_same_sum(tmp_path: Path) -> None:
    """Counters and histograms are added up, whichever worker is asked; errors of one are shown."""
    Board(tmp_path / "board", 2).close()
    first, second = worker(tmp_path, 0), worker(tmp_path, 1)
    for metrics in (first, second, second):
        count(metrics)
    count(first, seconds=99.0, error=TLSError("bad"))
    for metrics in (first, second):
        assert value(metrics, "requests_total", outcome="ok", status="200") == 3
        assert value(metrics, "events_total", provider="s") == 12
        assert value(metrics, "request_seconds_bucket", le="0.25") == 3
        assert value(metrics, "request_seconds_count", face="openai") == 4
        assert value(metrics, "first_event_seconds_count", provider="s") == 4
        assert value(metrics, "upstream_errors_total", code="upstream_tls") == 1
        assert value(metrics, "workers") == 2


def test_a_slot_goes_on_counting(tmp_path: Path) -> None:
    """The worker after a killed one continues its counters, and its gauges are forgotten."""
    Board(tmp_path / "board", 2).close()
    killed, other = worker(tmp_path, 0), worker(tmp_path, 1)
    for metrics, state in ((killed, "open"), (other, "half-open")):
        count(metrics)
        metrics.set_circuit("s", state)
        metrics.set_requests("s", 2, 1)
    assert (value(other, "open_requests"), value(other, "circuit")) == (4, 2)
    forget_gauges(tmp_path, 0)
    forget_gauges(tmp_path, 3)  # it had none
    assert (value(other, "open_requests"), value(other, "circuit")) == (2, 1)
    assert value(other, "requests_total") == 2
    next_one = worker(tmp_path, 0)
    count(next_one)
    assert value(other, "requests_total") == value(next_one, "requests_total") == 3


def test_what_finds_no_room_is_counted_by_its_worker() -> None:
    """A row that does not fit is in the memory of the process; a row half made is not there."""
    memory = memoryview(bytearray(96))
    cells = Cells(memory)
    cells.row("a", "b", size=2)[1] += 1
    cells.row("c")[0] += 1
    cells.row("much", size=50)[49] += 1
    assert {name: row.tolist() for name, row in Cells(memory).rows.items()} == {
        ("a", "b"): [0, 1],
        ("c",): [1],
    }
    assert cells.row("much", size=50)[49] == 1
    memory[8:] = bytes(88)  # only a head: the process was killed while it made the row
    memory[:8] = bytes(8)
    memory[8:13] = b'["a",'
    assert Cells(memory).rows == {}


def test_a_name_that_a_killed_worker_left_is_overwritten() -> None:
    """The next row begins with zeros, and what follows it is free, whatever was left there."""
    memory = memoryview(bytearray(512))
    memory[8:408] = b'["' + b"x" * 398  # killed before the head of this row was written
    cells = Cells(memory)
    cells.row("a")[0] += 1
    cells.row("b", size=3)[1] += 2
    assert {name: row.tolist() for name, row in Cells(memory).rows.items()} == {
        ("a",): [1],
        ("b",): [0, 2, 0],
    }


def test_hundreds_of_providers_have_room(tmp_path: Path) -> None:
    """Requests of every provider, by each face and with several ends, are seen by all workers."""
    Board(tmp_path / "board", 2).close()
    first, second = worker(tmp_path, 0), worker(tmp_path, 1)
    first.know(f"provider-{n}" for n in range(500))
    for n in range(500):
        for status in (200, 429, 500, 502):
            count(first, provider=f"provider-{n}", status=status)
    shown = [
        sample.value
        for family in second.collect()
        for sample in family.samples
        if sample.name == "berlin_requests_total"
    ]
    assert sum(shown) == 2000
