"""Slows down clients that guess passwords or keys, in bounded memory that cannot be flushed."""

from __future__ import annotations

import hashlib
import secrets
import struct
import time
from array import array
from collections import OrderedDict
from collections.abc import Callable, Hashable

import msgspec

ROWS, CELLS = 4, 16_384
MAX_FORGIVEN = 10_000


class Pace(msgspec.Struct, frozen=True):
    """The allowed pace of failures.

    Attributes:
        free: failures without a wait; from the next one on, each doubles the wait.
        first_wait_s: the first wait in seconds.
        longest_wait_s: the longest wait in seconds.
        forget_s: seconds without a failure after which all failures are forgotten.
    """

    free: int = 4
    first_wait_s: float = 2.0
    longest_wait_s: float = 300.0
    forget_s: float = 3_600.0

    def wait(self, failures: int) -> float:
        """Return the seconds to wait after this many failures."""
        over = failures - self.free - 1
        return 0.0 if over < 0 else min(self.first_wait_s * 2 ** min(over, 16), self.longest_wait_s)


class Throttle:
    """Counts failures by key.

    A table that evicts its oldest entry can be flushed of a victim by failures under made-up keys.
    So this one evicts nothing: it is a count-min sketch (Cormode and Muthukrishnan, 2005) of `ROWS`
    rows of cells that are chosen by a hash with a secret. A key shares cells with others, and its
    count is that of its lowest cell: never too low, and too high only if other keys have filled all
    of its cells. A key that succeeded is counted separately and exactly, so that password owners do
    not suffer from guessers.

    Args:
        pace: the allowed pace of failures.
        clock: a monotonic clock, in seconds.
    """

    def __init__(
        self, pace: Pace | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._pace = pace or Pace()
        self._clock = clock
        self._secret = secrets.token_bytes(16)
        self._counts = array("H", bytes(2 * ROWS * CELLS))
        self._failed_at = array("d", bytes(8 * ROWS * CELLS))
        self._succeeded: OrderedDict[Hashable, tuple[int, float]] = OrderedDict()

    def wait(self, key: Hashable) -> float:
        """Return the seconds until this key may try again; 0 if it may now."""
        count, failed_at = self._known(key)
        return max(0.0, failed_at + self._pace.wait(count) - self._clock()) if count else 0.0

    def fail(self, key: Hashable) -> None:
        """Count a failure."""
        now = self._clock()
        count = min(self._known(key)[0] + 1, 0xFFFF)
        if key in self._succeeded:
            self._succeeded[key] = (count, now)
            return
        for cell in self._cells(key):
            if self._live(cell)[0] <= count:  # a fuller cell counts others more than this key
                self._counts[cell] = count
                self._failed_at[cell] = now

    def succeed(self, key: Hashable) -> None:
        """Forget the failures of a key. Its cells are unchanged: others share them."""
        self._succeeded[key] = (0, 0.0)
        self._succeeded.move_to_end(key)
        if len(self._succeeded) > MAX_FORGIVEN:
            self._succeeded.popitem(last=False)

    def has_succeeded(self, key: Hashable) -> bool:
        """Return whether a key succeeded before, as far as remembered."""
        return key in self._succeeded

    def _known(self, key: Hashable) -> tuple[int, float]:
        exact = self._succeeded.get(key)
        if exact is not None:
            return exact if self._clock() - exact[1] <= self._pace.forget_s else (0, 0.0)
        return min(map(self._live, self._cells(key)))

    def _live(self, cell: int) -> tuple[int, float]:
        failed_at = self._failed_at[cell]
        if self._clock() - failed_at > self._pace.forget_s:
            return 0, 0.0
        return self._counts[cell], failed_at

    def _cells(self, key: Hashable) -> list[int]:
        text = repr(key).encode("utf-8", "surrogatepass")
        digest = hashlib.blake2b(text, digest_size=4 * ROWS, key=self._secret).digest()
        columns = struct.unpack(f"{ROWS}I", digest)
        return [row * CELLS + column % CELLS for row, column in enumerate(columns)]
