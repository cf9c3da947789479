"""The gateway's metrics, in the text format of Prometheus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from typing import Any

from berlin.errors import BerlinError, ConfigurationError
from berlin.gateway.observe.over_workers import share_metrics
from berlin.gateway.observe.visit import Observer, Visit
from berlin.gateway.refusals import STATUS_CODES
from berlin.gateway.workers.worker import Worker
from berlin.ledger.writer import LedgerCounts

# In seconds: from a cached first event to an answer that takes minutes.
BUCKETS_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
OTHER = "other"
_MAX_ENDS = 1024

# Name: help text, labels.
_COUNTERS = {
    "requests_total": ("Requests at their end.", "face", "provider", "outcome", "status"),
    "events_total": ("Events of answers.", "provider"),
    "upstream_errors_total": ("Errors of services.", "provider", "code"),
    "logins_total": ("Logins at services.", "provider", "result"),
    "failed_attempts_total": ("Attempts at an answer that failed.", "provider", "code"),
    "fallbacks_total": ("Answers of another provider than the first.", "model"),
}
_HISTOGRAMS = {
    "first_event_seconds": ("From a request to the first event.", "provider"),
    "request_seconds": ("From a request to the end of its answer.", "face", "provider"),
}
_GAUGES = {
    "open_streams": ("Answers being written.", "face"),
    "circuit": ("0 closed, 1 half-open, 2 open.", "provider"),
    "open_requests": ("Requests of a provider that are not answered to the end.", "provider"),
    "waiting": ("Requests that wait for a provider.", "provider"),
}
# They exist only with a ledger. Counters by the member of `LedgerCounts`.
_LEDGER_COUNTERS = {
    "written": ("ledger_rows_total", "Rows written into the database."),
    "lost": ("ledger_lost_total", "Rows that could be written nowhere."),
    "refused": (
        "ledger_refused_total",
        "Requests refused for lack of room for their row.",
    ),
    "failures": ("ledger_failures_total", "Failed attempts to write into the database."),
}
_LEDGER_GAUGES = {
    "waiting_bytes": ("ledger_waiting_bytes", "Bytes of rows that the database does not have yet."),
    "works": ("ledger_up", "Whether the last write to the database worked."),
}
# How gauges of several workers become one, where it is not their sum.
_OVER_WORKERS = {"circuit": "livemax", "ledger_up": "livemin"}


class PrometheusMetrics(Observer):
    """Metrics in their own registry. None of its methods raises.

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
        self._registry = CollectorRegistry()
        # What is rendered: with several workers, the sum of their files.
        self._shown = self._registry if worker is None else share_metrics(worker)
        self._metrics: dict[str, Any] = {}
        for table in (_COUNTERS, _HISTOGRAMS, _GAUGES):
            for name, (text, *labels) in table.items():
                self._add(name, text, labels)
        self._known_series: dict[tuple[str, ...], Any] = {}
        self._ends = lru_cache(_MAX_ENDS)(self._ends_of)
        self._ledger_before: dict[str, int] = {}

    def _add(self, name: str, text: str, labels: Iterable[str] = ()) -> None:
        from prometheus_client import Counter, Gauge, Histogram

        given: dict[str, Any] = {"namespace": "berlin", "registry": self._registry}
        metric: Counter | Gauge | Histogram
        if name.endswith("_total"):
            metric = Counter(name, text, labels, **given)
        elif name.endswith("_seconds"):
            metric = Histogram(name, text, labels, **given, buckets=BUCKETS_S)
        else:
            mode: Any = _OVER_WORKERS.get(name, "livesum")
            metric = Gauge(name, text, labels, **given, multiprocess_mode=mode)
        self._metrics[name] = metric

    def ended(self, visit: Visit) -> None:
        """Count a request at its end."""
        provider = _known(visit.provider, self._providers)
        requests, seconds = self._ends(visit.face, provider, visit.outcome, visit.status)
        requests.inc()
        seconds.observe(visit.seconds)
        if visit.events > 0:
            self._series("events_total", provider).inc(visit.events)
        if visit.first_event_at is not None:
            first_s = visit.first_event_at - visit.began_at
            self._series("first_event_seconds", provider).observe(first_s)
        failure = visit.upstream_failure
        if failure is not None:
            self._series("upstream_errors_total", provider, _known(failure, self._outcomes)).inc()
        for attempt in visit.failed:
            of = _known(attempt.provider, self._providers)
            self._series("failed_attempts_total", of, attempt.code).inc()
        answered_by = visit.answered_by
        if answered_by and any(attempt.provider != answered_by for attempt in visit.failed):
            self._series("fallbacks_total", provider).inc()

    def _ends_of(self, face: str, provider: str, outcome: str, status: int) -> tuple[Any, Any]:
        """Return the series in which each request that ends like this is counted."""
        face, outcome = _known(face, self._faces), _known(outcome, self._outcomes)
        shown = str(status) if 100 <= status <= 599 else OTHER
        return (
            self._series("requests_total", face, provider, outcome, shown),
            self._series("request_seconds", face, provider),
        )

    def close(self) -> None:
        """Do nothing: what was counted is read until the end."""

    def end_login(self, provider: str, result: str) -> None:
        """Count a login at a service."""
        labels = _known(provider, self._providers), _known(result, self._outcomes)
        self._series("logins_total", *labels).inc()

    def set_streams(self, by_face: Mapping[str, int]) -> None:
        """Set how many answers are being written."""
        counts: Counter[str] = Counter()
        for face, count in by_face.items():
            counts[_known(face, self._faces)] += count
        for face, count in counts.items():
            self._series("open_streams", face).set(count)

    def set_requests(self, provider: str, open_now: int, waiting: int) -> None:
        """Set how many requests a provider has: open ones, and those of them that wait."""
        label = _known(provider, self._providers)
        self._series("open_requests", label).set(open_now)
        self._series("waiting", label).set(waiting)

    def set_circuit(self, provider: str, state: str) -> None:
        """Set whether the circuit breaker of a provider is `closed`, `half-open` or `open`."""
        value = ("closed", "half-open", "open").index(state)
        self._series("circuit", _known(provider, self._providers)).set(value)

    def set_ledger(self, counts: LedgerCounts) -> None:
        """Set what the ledger has done since the start."""
        if not self._ledger_before:
            for name, text in (*_LEDGER_COUNTERS.values(), *_LEDGER_GAUGES.values()):
                self._add(name, text)
        for member, (name, _) in _LEDGER_COUNTERS.items():
            value = getattr(counts, member)
            self._metrics[name].inc(value - self._ledger_before.get(member, 0))
            self._ledger_before[member] = value
        for member, (name, _) in _LEDGER_GAUGES.items():
            self._metrics[name].set(int(getattr(counts, member)))

    def _series(self, *key: str) -> Any:
        """Return the series of a metric with these labels, of which there is a bounded number.

        The library's own lookup costs more than counting.
        """
        series = self._known_series.get(key)
        if series is None:
            series = self._known_series[key] = self._metrics[key[0]].labels(*key[1:])
        return series

    def know(self, providers: Iterable[str]) -> None:
        """Set the names of the providers, after a change of the configuration."""
        self._providers |= frozenset(providers)

    def render(self) -> tuple[bytes, str]:
        """Return all metrics; with several workers, those of all."""
        from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

        return generate_latest(self._shown), CONTENT_TYPE_PLAIN_0_0_4


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
