"""A page of Prometheus metrics as numbers, and what changed between two of them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import TypeAlias

Labels: TypeAlias = frozenset[tuple[str, str]]

_LINE = re.compile(r"([a-zA-Z_:][\w:]*)(?:\{(.*)\})?\s+(\S+)(?:\s+-?\d+)?")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_ESCAPES = {"\\\\": "\\", '\\"': '"', "\\n": "\n"}


class Scrape:
    """The series of one page.

    Args:
        text: the page, in the text format.
        at: when it was read, in seconds on a monotonic clock.
    """

    def __init__(self, text: str, at: float) -> None:
        self.at = at
        self._series: dict[str, dict[Labels, float]] = {}
        for line in text.splitlines():
            if line.startswith("#") or (found := _LINE.fullmatch(line.strip())) is None:
                continue
            name, labels, value = found.groups()
            try:
                self._series.setdefault(name, {})[_labels(labels or "")] = float(value)
            except ValueError:
                continue

    def __contains__(self, name: str) -> bool:
        return name in self._series

    def total(self, name: str, **labels: str) -> float:
        """Return the sum of the series of a metric that have these labels."""
        return sum(value for _, value in self._matching(name, labels))

    def by(self, name: str, label: str, **labels: str) -> dict[str, float]:
        """Return the sums for each value of a label."""
        sums: dict[str, float] = {}
        for found, value in self._matching(name, labels):
            key = dict(found).get(label, "")
            sums[key] = sums.get(key, 0.0) + value
        return sums

    def _matching(self, name: str, labels: Mapping[str, str]) -> Iterator[tuple[Labels, float]]:
        wanted = set(labels.items())
        for found, value in self._series.get(name, {}).items():
            if wanted <= found:
                yield found, value


class Change:
    """The change from one page to the next.

    Args:
        before: the earlier page; the same one as `now` shows totals of nothing.
    """

    def __init__(self, before: Scrape, now: Scrape) -> None:
        self._before = before
        self.now = now
        self._seconds = max(now.at - before.at, 1e-9)

    def added(self, name: str, **labels: str) -> float:
        """Return by how much a counter grew; after a restart of the gateway, its whole value."""
        now, before = self.now.total(name, **labels), self._before.total(name, **labels)
        return now - before if now >= before else now

    def rate(self, name: str, **labels: str) -> float:
        """Return by how much a counter grew each second."""
        return self.added(name, **labels) / self._seconds

    def quantile(self, name: str, share: float, **labels: str) -> float | None:
        """Return a quantile of what a histogram counted meanwhile; `None` if it was nothing.

        Args:
            name: the histogram's name, without `_bucket`.
            share: which quantile, such as 0.95.
            labels: only the series with these labels.
        """
        bounds = {
            float(bound): self.added(f"{name}_bucket", le=bound, **labels)
            for bound in self.now.by(f"{name}_bucket", "le", **labels)
        }
        ordered = sorted(bounds)
        if not ordered or bounds[ordered[-1]] <= 0:
            return None
        wanted, lower, below = share * bounds[ordered[-1]], 0.0, 0.0
        for bound in ordered:
            count = bounds[bound]
            if count >= wanted:
                if math.isinf(bound):
                    return lower
                inside = (wanted - below) / (count - below) if count > below else 1.0
                return lower + (bound - lower) * inside
            lower, below = bound, count
        return lower


def _labels(text: str) -> Labels:
    return frozenset(
        (name, re.sub(r'\\[\\"n]', lambda found: _ESCAPES[found[0]], value))
        for name, value in _LABEL.findall(text)
    )
