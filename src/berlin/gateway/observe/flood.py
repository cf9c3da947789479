"""Rate-limits log lines that any client can cause."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

PER_SECOND = 20
# Clients cannot cause these, and each of them counts.
_OF_THE_OPERATOR = ("config.", "models.", "worker.", "restart.")


class FloodFilter(logging.Filter):
    """Passes a number of lines of a kind per second; the next one says how many were left out.

    A kind is the text of the line before its values are filled in. A client without a key can cause
    some of them with every request: a refused origin, a throttled login.

    Args:
        per_second: lines of a kind per second.
        clock: a monotonic clock, in seconds.
    """

    def __init__(
        self, per_second: int = PER_SECOND, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__()
        self._per_second = per_second
        self._clock = clock
        self._seen: dict[str, tuple[int, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to write a line."""
        if record.msg.startswith(_OF_THE_OPERATOR):
            return True
        second = int(self._clock())
        since, count = self._seen.get(record.msg, (second, 0))
        left_out = 0
        if since != second:
            left_out, count = max(0, count - self._per_second), 0
        self._seen[record.msg] = (second, count + 1)
        if left_out:
            record.msg = f"{record.msg} left_out={left_out}"
        return count < self._per_second


_FILTER = FloodFilter()


def bound_log() -> None:
    """Rate-limit the gateway's log from now on."""
    logging.getLogger("berlin.gateway").addFilter(_FILTER)  # once, even if called repeatedly
