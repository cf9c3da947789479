"""The usual cost of an answer, learned from recent ones."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import OrderedDict, deque
from collections.abc import Hashable, Sequence

SAMPLES = 64
MAX_NAMES = 10_000
QUANTILE = 0.95


class Learned:
    """The 95th percentile of the latest values, by name; memory is bounded.

    Args:
        first: what is expected before there is a value.
    """

    def __init__(self, first: int) -> None:
        self._first = first
        self._values: OrderedDict[Hashable, _Latest] = OrderedDict()

    def expect(self, names: Sequence[Hashable]) -> int:
        """Return the expected value of the first of these names that has any."""
        for name in names:
            values = self._values.get(name)
            if values is not None:
                return values.quantile
        return self._first

    def learn(self, value: int, names: Sequence[Hashable]) -> None:
        """Record a value for each of these names."""
        for name in names:
            latest = self._values.get(name)
            if latest is None:
                latest = self._values[name] = _Latest()
                if len(self._values) > MAX_NAMES:
                    self._values.popitem(last=False)
            else:
                self._values.move_to_end(name)
            values, ordered = latest.values, latest.ordered
            if len(values) == SAMPLES:
                oldest = values.popleft()
                if oldest == value:  # nothing changes
                    values.append(value)
                    continue
                del ordered[bisect_left(ordered, oldest)]
            values.append(value)
            insort(ordered, value)
            latest.quantile = ordered[math.ceil(QUANTILE * len(ordered)) - 1]


class _Latest:
    """The latest values, also in order of size."""

    __slots__ = ("ordered", "quantile", "values")

    def __init__(self) -> None:
        self.values: deque[int] = deque()
        self.ordered: list[int] = []
        self.quantile = 0
