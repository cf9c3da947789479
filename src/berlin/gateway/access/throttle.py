"""Slows down whoever guesses passwords."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable

FREE_FAILURES = 5
FIRST_WAIT_S = 2.0
LONGEST_WAIT_S = 300.0
MAX_KEYS = 10_000


class Throttle:
    """Counts failures by key; from the `FREE_FAILURES`th on, each doubles the wait.

    Args:
        clock: seconds that only go forward.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures: OrderedDict[Hashable, tuple[int, float]] = OrderedDict()

    def wait(self, key: Hashable) -> float:
        """Return the seconds until this key may try again; 0 if it may now."""
        _, until = self._failures.get(key, (0, 0.0))
        return max(0.0, until - self._clock())

    def fail(self, key: Hashable) -> None:
        """Take note of a failure."""
        count, _ = self._failures.pop(key, (0, 0.0))
        count += 1
        over = count - FREE_FAILURES
        wait = min(FIRST_WAIT_S * 2 ** min(over, 10), LONGEST_WAIT_S) if over >= 0 else 0.0
        self._failures[key] = (count, self._clock() + wait)
        if len(self._failures) > MAX_KEYS:
            self._failures.popitem(last=False)

    def succeed(self, key: Hashable) -> None:
        """Forget the failures of a key."""
        self._failures.pop(key, None)
