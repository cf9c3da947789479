"""Limits the requests of a caller per minute."""

from __future__ import annotations

import math
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable

WINDOW_S = 60
MAX_KEYS = 10_000


class _Window:
    """The requests of one key in the last minute: `[second, count]`, oldest first."""

    def __init__(self) -> None:
        self.seconds: deque[list[int]] = deque()
        self.total = 0


class RequestRate:
    """A sliding window: never more than the limit in any 60 seconds.

    All of the limit may be used at once; there is no second burst at the edge of a minute. It
    counts in whole seconds, conservatively: a request counts for 60 to 61 seconds. A refused
    request does not count. Memory: 61 counts for each key, and `MAX_KEYS` keys, of which the least
    recently used is evicted first.

    Args:
        clock: a monotonic clock, in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._windows: OrderedDict[Hashable, _Window] = OrderedDict()

    def take(self, key: Hashable, per_minute: int) -> float:
        """Count a request if it is allowed and return 0; otherwise return the seconds until it is.

        Args:
            key: the caller's key.
            per_minute: the limit; it may differ between calls.
        """
        if per_minute < 1:  # edited in the file by hand
            return float(WINDOW_S)
        now = self._clock()
        window = self._windows.pop(key, None) or _Window()
        self._windows[key] = window
        if len(self._windows) > MAX_KEYS:
            self._windows.popitem(last=False)
        seconds = window.seconds
        while seconds and now >= _leaves(seconds[0][0]):
            window.total -= seconds.popleft()[1]
        if window.total >= per_minute:
            return _wait(window, per_minute) - now
        second = math.floor(now)
        if seconds and seconds[-1][0] == second:
            seconds[-1][1] += 1
        else:
            seconds.append([second, 1])
        window.total += 1
        return 0.0


def _leaves(second: int) -> float:
    return second + 1 + WINDOW_S


def _wait(window: _Window, per_minute: int) -> float:
    """Return the seconds until enough requests have left the window to admit one."""
    left = window.total
    for second, count in window.seconds:
        left -= count
        if left < per_minute:
            return _leaves(second)
    raise AssertionError("a limit is at least 1")
