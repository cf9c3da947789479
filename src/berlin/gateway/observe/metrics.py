"""The gateway's metrics, in the text format of Prometheus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from berlin.errors import BerlinError, ConfigurationError
from berlin.gateway.observe.over_workers import share_metrics
from berlin.gateway.observe.visit import Observer, Visit
from berlin.gateway.refusals import STATUS_CODES
from berlin.gateway.workers.worker import Worker
from berlin.ledger.writer import LedgerCounts

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

# In seconds: from a cached first event to an answer that takes minutes.
BUCKETS_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
OTHER = "other"
_OF_LEDGER = {
    "written": ("berlin_ledger_rows_total", "Rows written into the database."),
    "lost": ("berlin_ledger_lost_total", "Rows that could be written nowhere."),
    "refused": (
        "berlin_ledger_refused_total",
        "Requests refused because there was no room for their row.",
    ),
    "failures": ("berlin_ledger_failures_total", "Failed attempts to write into the database."),
}


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
        from prometheus_client import CollectorRegistry, Gauge, Histogram
        from prometheus_client import Counter as Total

        self._providers = frozenset(providers)
        self._faces = frozenset(faces)
        self._outcomes = frozenset(
            {"ok", "client_left", "refused", *_codes(BerlinError), *STATUS_CODES.values()}
        )
        self._registry = CollectorRegistry()
        # What is rendered: with several workers, the sum of their files.
        self._shown = self._registry if worker is None else share_metrics(worker)

        def counter(name: str, text: str, *labels: str) -> Total:
            return Total(name, text, labels, namespace="berlin", registry=self._registry)

        def gauge(
            name: str, text: str, *labels: str, over: Literal["livesum", "livemax"] = "livesum"
        ) -> Gauge:
            return Gauge(
                *(name, text, labels),
                namespace="berlin",
                registry=self._registry,
                multiprocess_mode=over,
            )

        def histogram(name: str, text: str, *labels: str) -> Histogram:
            return Histogram(
                *(name, text, labels),
                namespace="berlin",
                registry=self._registry,
                buckets=BUCKETS_S,
            )

        self._requests = counter(
            "requests_total", "Requests at their end.", "face", "provider", "outcome", "status"
        )
        self._events = counter("events_total", "Events of answers.", "provider")
        self._first_event = histogram(
            "first_event_seconds", "From a request to the first event.", "provider"
        )
        self._seconds = histogram(
            "request_seconds", "From a request to the end of its answer.", "face", "provider"
        )
        self._errors = counter("upstream_errors_total", "Errors of services.", "provider", "code")
        self._logins = counter("logins_total", "Logins at services.", "provider", "result")
        self._streams = gauge("open_streams", "Answers being written.", "face")
        self._known_series: dict[tuple[Any, ...], Any] = {}
        self._attempts = counter(
            "failed_attempts_total", "Attempts at an answer that failed.", "provider", "code"
        )
        self._fallbacks = counter(
            "fallbacks_total", "Answers of another provider than the first.", "model"
        )
        self._circuits = gauge(
            "circuit", "0 closed, 1 half-open, 2 open.", "provider", over="livemax"
        )
        self._requests_now = gauge(
            "open_requests", "Requests of a provider that are not answered to the end.", "provider"
        )
        self._ledger: LedgerMetrics | None = None
        self._waiting = gauge("waiting", "Requests that wait for a provider.", "provider")

    def ended(self, visit: Visit) -> None:
        """Count a request at its end."""
        face, provider = _known(visit.face, self._faces), _known(visit.provider, self._providers)
        outcome = _known(visit.outcome, self._outcomes)
        status = str(visit.status) if 100 <= visit.status <= 599 else OTHER
        self._series(self._requests, face, provider, outcome, status).inc()
        self._series(self._seconds, face, provider).observe(visit.seconds)
        if visit.events > 0:
            self._series(self._events, provider).inc(visit.events)
        if visit.first_event_s is not None:
            self._series(self._first_event, provider).observe(visit.first_event_s)
        failure = visit.upstream_failure
        if failure is not None:
            self._series(self._errors, provider, _known(failure, self._outcomes)).inc()

        for attempt in visit.failed:
            labels = (_known(attempt.provider, self._providers), attempt.code)
            self._series(self._attempts, *labels).inc()
        if any(attempt.provider != visit.answered_by for attempt in visit.failed) and (
            visit.answered_by
        ):
            self._series(self._fallbacks, provider).inc()

    def close(self) -> None:
        """Do nothing: what was counted is read until the end."""

    def end_login(self, provider: str, result: str) -> None:
        """Count a login at a service."""
        labels = _known(provider, self._providers), _known(result, self._outcomes)
        self._logins.labels(*labels).inc()

    def set_streams(self, by_face: Mapping[str, int]) -> None:
        """Set how many answers are being written."""
        counts: Counter[str] = Counter()
        for face, count in by_face.items():
            counts[_known(face, self._faces)] += count
        for face, count in counts.items():
            self._series(self._streams, face).set(count)

    def set_requests(self, provider: str, open_now: int, waiting: int) -> None:
        """Set how many requests a provider has: open ones, and those of them that wait."""
        label = _known(provider, self._providers)
        self._series(self._requests_now, label).set(open_now)
        self._series(self._waiting, label).set(waiting)

    def set_circuit(self, provider: str, state: str) -> None:
        """Set whether the circuit breaker of a provider is `closed`, `half-open` or `open`."""
        value = ("closed", "half-open", "open").index(state)
        self._circuits.labels(_known(provider, self._providers)).set(value)

    def set_ledger(self, counts: LedgerCounts) -> None:
        """Set what the ledger has done since the start."""
        if self._ledger is None:
            self._ledger = LedgerMetrics(self._registry)
        self._ledger.set(counts)

    def _series(self, metric: Any, *labels: str) -> Any:
        """Return the series of a metric with these labels, of which there is a bounded number.

        The library's own lookup costs more than counting.
        """
        key = (metric, *labels)
        series = self._known_series.get(key)
        if series is None:
            series = self._known_series[key] = metric.labels(*labels)
        return series

    def know(self, providers: Iterable[str]) -> None:
        """Set the names of the providers, after a change of the configuration."""
        self._providers |= frozenset(providers)

    def render(self) -> tuple[bytes, str]:
        """Return all metrics; with several workers, those of all."""
        from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

        return generate_latest(self._shown), CONTENT_TYPE_PLAIN_0_0_4


class LedgerMetrics:
    """Counters and gauges that follow what the ledger counts itself; they exist only with a ledger.

    Args:
        registry: where they are registered.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        from prometheus_client import Counter as Total
        from prometheus_client import Gauge

        self._counters = {
            name: Total(metric, text, registry=registry)
            for name, (metric, text) in _OF_LEDGER.items()
        }
        self._before = dict.fromkeys(_OF_LEDGER, 0)
        self._waiting = Gauge(
            "berlin_ledger_waiting_bytes",
            "Bytes of rows that the database does not have yet.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._up = Gauge(
            "berlin_ledger_up",
            "Whether the last write to the database worked.",
            registry=registry,
            multiprocess_mode="livemin",
        )

    def set(self, counts: LedgerCounts) -> None:
        """Take what the ledger has counted since the start."""
        for name, counter in self._counters.items():
            value = getattr(counts, name)
            counter.inc(value - self._before[name])
            self._before[name] = value
        self._waiting.set(counts.waiting_bytes)
        self._up.set(int(counts.works))


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
