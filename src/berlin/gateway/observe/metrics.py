"""The gateway's metrics, in the text format of Prometheus."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import accumulate
from typing import TYPE_CHECKING

from berlin.errors import BerlinError, ConfigurationError
from berlin.gateway.observe.cells import Name, Row
from berlin.gateway.observe.over_workers import BYTES, cells_of, metrics_of_workers, rows_of_all
from berlin.gateway.observe.visit import Observer, Visit
from berlin.gateway.refusals import STATUS_CODES
from berlin.gateway.workers.worker import Worker
from berlin.ledger.writer import LedgerCounts

if TYPE_CHECKING:
    from prometheus_client import Metric

# In seconds: from a cached first event to an answer that takes minutes.
BUCKETS_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
OTHER = "other"
_MAX_ENDS = 1024

# Each request is counted in one row, that of its face, provider, outcome and status: the request,
# its events, its seconds (their sum, and in which bucket they are), and those to its first event.
_END = "end"
_SECONDS = 2
_FIRST = _SECONDS + 2 + len(BUCKETS_S)
_SIZE = _FIRST + 2 + len(BUCKETS_S)
# Which labels and numbers of these rows are summed up for a metric.
_OF_ENDS = {
    "requests_total": ((0, 1, 2, 3), slice(1)),
    "events_total": ((1,), slice(1, _SECONDS)),
    "request_seconds": ((0, 1), slice(_SECONDS, _FIRST)),
    "first_event_seconds": ((1,), slice(_FIRST, _SIZE)),
}

# Name: help text, labels. The end of a name says whether it is a counter, histogram or gauge.
_METRICS = {
    "requests_total": ("Requests at their end.", "face", "provider", "outcome", "status"),
    "events_total": ("Events of answers.", "provider"),
    "upstream_errors_total": ("Errors of services.", "provider", "code"),
    "logins_total": ("Logins at services.", "provider", "result"),
    "failed_attempts_total": ("Attempts at an answer that failed.", "provider", "code"),
    "fallbacks_total": ("Answers of another provider than the first.", "model"),
    "first_event_seconds": ("From a request to the first event.", "provider"),
    "request_seconds": ("From a request to the end of its answer.", "face", "provider"),
    "open_streams": ("Answers being written.", "face"),
    "circuit": ("0 closed, 1 half-open, 2 open.", "provider"),
    "open_requests": ("Requests of a provider that are not answered to the end.", "provider"),
    "waiting": ("Requests that wait for a provider.", "provider"),
    "ledger_rows_total": ("Rows written into the database.",),
    "ledger_lost_total": ("Rows that could be written nowhere.",),
    "ledger_refused_total": ("Requests refused for lack of room for their row.",),
    "ledger_failures_total": ("Failed attempts to write into the database.",),
    "ledger_waiting_bytes": ("Bytes of rows that the database does not have yet.",),
    "ledger_up": ("Whether the last write to the database worked.",),
}
# Counters and gauges by the member of `LedgerCounts`; they are shown only with a ledger.
_LEDGER_COUNTERS = {
    "written": "ledger_rows_total",
    "lost": "ledger_lost_total",
    "refused": "ledger_refused_total",
    "failures": "ledger_failures_total",
}
_LEDGER_GAUGES = {"waiting_bytes": "ledger_waiting_bytes", "works": "ledger_up"}
# How gauges of several workers become one, where it is not their sum.
_OVER_WORKERS = {"circuit": max, "ledger_up": min}


class PrometheusMetrics(Observer):
    """Metrics that are plain numbers until somebody asks. None of its methods raises.

    Labels are bounded: unconfigured faces and providers, unknown codes and invalid statuses all
    count as "other". Text from a client, such as a model name, is never a label.

    Args:
        providers: names of the providers in the configuration.
        faces: names of the faces.
        worker: which of several workers this process is; each counts in files that all can read,
            and continues the count of the one before it.

    Raises:
        ImportError: if prometheus-client is not installed.
    """

    def __init__(
        self,
        providers: Collection[str],
        faces: Collection[str],
        worker: Worker | None = None,
    ) -> None:
        from prometheus_client import CollectorRegistry

        self._providers = frozenset(providers)
        self._faces = frozenset(faces)
        self._outcomes = frozenset(
            {"ok", "client_left", "refused", *_codes(BerlinError), *STATUS_CODES.values()}
        )
        self._worker = worker
        self._counters, self._gauges = (cells_of(worker, kind) for kind in BYTES)
        self._ends: dict[tuple[str, str, str, int], Row] = {}
        self._ledger_before: dict[str, int] = {}
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def ended(self, visit: Visit) -> None:
        """Count a request at its end."""
        end = visit.face, visit.provider, visit.outcome, visit.status
        row = self._ends.get(end) or self._row_of(*end)
        seconds = visit.seconds
        row[0] += 1
        row[1] += visit.events
        row[_SECONDS] += seconds
        row[_SECONDS + 1 + bisect_left(BUCKETS_S, seconds)] += 1
        if visit.first_event_at is not None:
            seconds = visit.first_event_at - visit.began_at
            row[_FIRST] += seconds
            row[_FIRST + 1 + bisect_left(BUCKETS_S, seconds)] += 1
        if visit.error is not None or visit.started is not None:
            self._count_failures(visit, _known(visit.provider, self._providers))

    def _count_failures(self, visit: Visit, provider: str) -> None:
        failure, answered_by = visit.upstream_failure, visit.answered_by
        if failure is not None:
            self._count("upstream_errors_total", provider, _known(failure, self._outcomes))
        for attempt in visit.failed:
            of = _known(attempt.provider, self._providers)
            self._count("failed_attempts_total", of, attempt.code)
        if answered_by and any(attempt.provider != answered_by for attempt in visit.failed):
            self._count("fallbacks_total", provider)

    def _row_of(self, face: str, provider: str, outcome: str, status: int) -> Row:
        """Return the row in which requests that end like this are counted."""
        row = self._counters.row(
            _END,
            _known(face, self._faces),
            _known(provider, self._providers),
            _known(outcome, self._outcomes),
            str(status) if 100 <= status <= 599 else OTHER,
            size=_SIZE,
        )
        if len(self._ends) < _MAX_ENDS:
            self._ends[face, provider, outcome, status] = row
        return row

    def close(self) -> None:
        """Do nothing: what was counted is read until the end."""

    def end_login(self, provider: str, result: str) -> None:
        """Count a login at a service."""
        labels = _known(provider, self._providers), _known(result, self._outcomes)
        self._count("logins_total", *labels)

    def set_streams(self, by_face: Mapping[str, int]) -> None:
        """Set how many answers are being written."""
        counts: Counter[str] = Counter()
        for face, count in by_face.items():
            counts[_known(face, self._faces)] += count
        for face, count in counts.items():
            self._set(count, "open_streams", face)

    def set_requests(self, provider: str, open_now: int, waiting: int) -> None:
        """Set how many requests a provider has: open ones, and those of them that wait."""
        label = _known(provider, self._providers)
        self._set(open_now, "open_requests", label)
        self._set(waiting, "waiting", label)

    def set_circuit(self, provider: str, state: str) -> None:
        """Set whether the circuit breaker of a provider is `closed`, `half-open` or `open`."""
        value = ("closed", "half-open", "open").index(state)
        self._set(value, "circuit", _known(provider, self._providers))

    def set_ledger(self, counts: LedgerCounts) -> None:
        """Set what the ledger has done since the start."""
        for member, name in _LEDGER_COUNTERS.items():
            value = getattr(counts, member)
            self._count(name, by=value - self._ledger_before.get(member, 0))
            self._ledger_before[member] = value
        for member, name in _LEDGER_GAUGES.items():
            self._set(int(getattr(counts, member)), name)

    def know(self, providers: Iterable[str]) -> None:
        """Set the names of the providers, after a change of the configuration."""
        self._providers |= frozenset(providers)
        self._ends.clear()

    def render(self) -> tuple[bytes, str]:
        """Return all metrics, also in a thread; with several workers, those of all."""
        from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

        return generate_latest(self._registry), CONTENT_TYPE_PLAIN_0_0_4

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics, as the library's registry asks for them."""
        from prometheus_client.core import (
            CounterMetricFamily,
            GaugeMetricFamily,
            HistogramMetricFamily,
        )

        # Copied in one step: this runs in a thread, while the loop may make another row.
        own = *self._counters.rows.items(), *self._gauges.rows.items()
        found = _summed(own if self._worker is None else rows_of_all(self._worker))
        for name, (text, *labels) in _METRICS.items():
            if name not in found and name.startswith("ledger_"):
                continue
            rows, of = found[name].items(), f"berlin_{name}"
            if name.endswith("_seconds"):
                histogram = HistogramMetricFamily(of, text, labels=labels)
                for values, (total, *counts) in rows:
                    buckets = list(zip(_BOUNDS, accumulate(counts), strict=True))
                    histogram.add_metric(values, buckets, total)
                yield histogram
                continue
            kind = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
            family = kind(of, text, labels=labels)
            for values, (number,) in rows:
                family.add_metric(values, number)
            yield family
        if self._worker is not None:
            yield from metrics_of_workers(self._worker)

    def _count(self, *name: str, by: int = 1) -> None:
        self._counters.row(*name)[0] += by

    def _set(self, value: int, *name: str) -> None:
        self._gauges.row(*name)[0] = value


_BOUNDS = (*map(str, BUCKETS_S), "+Inf")


def _summed(rows: Iterable[tuple[Name, Row]]) -> dict[str, dict[Name, list[float]]]:
    """Return the numbers of each metric by its labels, over all workers."""
    found: dict[str, dict[Name, list[float]]] = defaultdict(dict)

    def add(name: str, labels: Name, numbers: Iterable[float]) -> None:
        known = found[name].get(labels)
        both = zip(numbers, known, strict=True) if known is not None else ((n,) for n in numbers)
        found[name][labels] = [*map(_OVER_WORKERS.get(name, sum), both)]

    for (name, *labels), row in rows:
        if name != _END:
            add(name, tuple(labels), row)
            continue
        for metric, (places, part) in _OF_ENDS.items():
            if any(row[part]):
                add(metric, tuple(labels[place] for place in places), row[part])
    return found


def open_metrics(
    wanted: bool | None,
    providers: Collection[str],
    faces: Collection[str],
    worker: Worker | None = None,
) -> PrometheusMetrics | None:
    """Return metrics; `None` if they are not wanted.

    Args:
        wanted: `None` means: if prometheus-client is installed.
        providers: names of the providers in the configuration.
        faces: names of the faces.
        worker: which of several workers this process is.

    Raises:
        ConfigurationError: if they are wanted and prometheus-client is not installed.
    """
    if wanted is False:
        return None
    try:
        return PrometheusMetrics(providers, faces, worker)
    except ImportError as error:
        if wanted is None:
            return None
        raise ConfigurationError(
            "metrics need prometheus-client: pip install 'berlin-llm[gateway]'"
        ) from error


def _known(value: str, known: Collection[str]) -> str:
    return value if value in known else OTHER


def _codes(error: type[BerlinError]) -> Iterable[str]:
    yield error.code
    for kind in error.__subclasses__():
        yield from _codes(kind)
