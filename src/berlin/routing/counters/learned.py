"""The usual cost of an answer, learned from recent ones."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import OrderedDict, deque
from collections.abc import Hashable

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

    def expect(self, *names: Hashable) -> int:
        """Return the expected value of the first of these names that has any."""
        for name in names:
            values = self._values.get(name)
            if values is not None:
                return values.quantile
        return self._first

    def learn(self, value: int, *names: Hashable) -> None:
        """Record a value for each of these names."""
        for name in names:
            values = self._values.get(name)
            if values is None:
                values = self._values[name] = _Latest()
                if len(self._values) > MAX_NAMES:
                    self._values.popitem(last=False)
            else:
                self._values.move_to_end(name)
            values.add(value)


class _Latest:
    """The latest values, also in order of size."""

    __slots__ = ("_ordered", "_values", "quantile")

    def __init__(self) -> None:
        self._values: deque[int] = deque()
        self._ordered: list[int] = []
        self.quantile = 0

    def add(self, value: int) -> None:
        values, ordered = self._values, self._ordered
        if len(values) == SAMPLES:
            del ordered[bisect_left(ordered, values.popleft())]
        values.append(value)
        insort(ordered, value)
        self.quantile = ordered[math.ceil(QUANTILE * len(ordered)) - 1]
