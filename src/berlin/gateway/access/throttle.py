"""Slows down clients that guess passwords or keys, in bounded memory that cannot be flushed."""

from __future__ import annotations

import hashlib
import mmap
import secrets
import struct
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable

import msgspec

from berlin.gateway.workers.worker import Worker

ROWS, CELLS = 4, 16_384
SKETCH_BYTES = (8 + 2) * ROWS * CELLS  # the time of the last failure, and how many there were
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


ADDRESS_PACE = Pace(free=30, first_wait_s=1.0, longest_wait_s=60.0)
"""Wrong keys, and wrong passwords of any account, from one address: many people may share it."""


class Sketch(msgspec.Struct, frozen=True):
    """The memory of a throttle.

    Attributes:
        memory: `SKETCH_BYTES` bytes, at first zeros.
        secret: keys the hash that chooses cells.
    """

    memory: memoryview
    secret: bytes

    @classmethod
    def of(cls, worker: Worker | None, name: str) -> Sketch | None:
        """Return the sketch that all workers share; `None` where there is one process."""
        if worker is None:
            return None
        return cls(worker.memory(f"throttle-{name}", SKETCH_BYTES), worker.secret(name)[:16])


class Throttle:
    """Counts failures by key.

    A table that evicts its oldest entry can be flushed of a victim by failures under made-up keys.
    So this one evicts nothing: it is a count-min sketch (Cormode and Muthukrishnan, 2005) of `ROWS`
    rows of cells that are chosen by a hash with a secret. A key shares cells with others, and its
    count is that of its lowest cell: never too low, and too high only if other keys have filled all
    of its cells. A key that succeeded is counted separately and exactly, so that password owners do
    not suffer from guessers.

    Several workers count in the same memory. Each knows only its own successes. Two failures under
    one key in the same microsecond may count as one.

    Args:
        pace: the allowed pace of failures.
        clock: a monotonic clock that all processes share, in seconds.
        sketch: the cells; by default those of this process.
    """

    def __init__(
        self,
        pace: Pace | None = None,
        clock: Callable[[], float] = time.monotonic,
        sketch: Sketch | None = None,
    ) -> None:
        self._pace = pace or Pace()
        self._clock = clock
        # Pages that nobody has failed in take no memory.
        sketch = sketch or Sketch(memoryview(mmap.mmap(-1, SKETCH_BYTES)), secrets.token_bytes(16))
        self._secret = sketch.secret
        times = 8 * ROWS * CELLS
        self._failed_at = sketch.memory[:times].cast("d")
        self._counts = sketch.memory[times:].cast("H")
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
