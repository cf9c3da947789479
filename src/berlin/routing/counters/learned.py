"""The usual cost of an answer, learned from recent ones."""

from __future__ import annotations

import math
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
        self._values: OrderedDict[Hashable, deque[int]] = OrderedDict()

    def expect(self, *names: Hashable) -> int:
        """Return the expected value of the first of these names that has any."""
        for name in names:
            values = self._values.get(name)
            if values:
                return sorted(values)[math.ceil(QUANTILE * len(values)) - 1]
        return self._first

    def learn(self, value: int, *names: Hashable) -> None:
        """Record a value for each of these names."""
        for name in names:
            values = self._values.get(name)
            if values is None:
                values = self._values[name] = deque(maxlen=SAMPLES)
                if len(self._values) > MAX_NAMES:
                    self._values.popitem(last=False)
            else:
                self._values.move_to_end(name)
            values.append(value)
