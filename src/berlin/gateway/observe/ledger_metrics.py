"""The metrics of the ledger; they exist only where there is one."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge

from berlin.ledger.recorder import LedgerCounts

_COUNTERS = {
    "written": ("berlin_ledger_rows_total", "Rows written into the database."),
    "lost": ("berlin_ledger_lost_total", "Rows that could be written nowhere."),
    "refused": (
        "berlin_ledger_refused_total",
        "Requests refused because there was no room for their row.",
    ),
    "failures": ("berlin_ledger_failures_total", "Failed attempts to write into the database."),
}


class LedgerMetrics:
    """Counters and gauges that follow what the ledger counts itself.

    Args:
        registry: where they are registered.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._counters = {
            name: Counter(metric, text, registry=registry)
            for name, (metric, text) in _COUNTERS.items()
        }
        self._before = dict.fromkeys(_COUNTERS, 0)
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
