"""The heads of conversations, in this process."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

from berlin.routing.conversations.store import EXPIRE_S, MAX_COUNT, Head


class MemoryHeads:
    """Keeps the latest heads; excess and expired ones are removed.

    Args:
        expire_s: seconds after which a head is deleted.
        max_count: the most entries kept.
        clock: returns the time in seconds.
    """

    def __init__(
        self,
        expire_s: float = EXPIRE_S,
        max_count: int = MAX_COUNT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._expire_s = expire_s
        self._max = max_count
        self._clock = clock
        self._number = 0
        # Heads by number, oldest first; and the numbers by fingerprint.
        self._heads: OrderedDict[int, tuple[float, str, Head]] = OrderedDict()
        self._numbers: dict[str, list[int]] = {}

    async def take(self, key: str, *, keep: bool) -> Head | None:
        """Return the latest head with this fingerprint; see `Heads`."""
        self._forget_old()
        numbers = self._numbers.get(key)
        if not numbers:
            return None
        head = self._heads[numbers[-1]][2]
        if not keep:
            self._drop(numbers[-1])
        return head

    async def put(self, key: str, head: Head) -> None:
        """Store a head; see `Heads`."""
        self._number += 1
        self._heads[self._number] = (self._clock() + self._expire_s, key, head)
        self._numbers.setdefault(key, []).append(self._number)
        self._forget_old()

    async def aclose(self) -> None:
        """Keep everything: another event loop of this process may continue."""

    def _forget_old(self) -> None:
        now = self._clock()
        while self._heads:
            number, (expires, _, _) = next(iter(self._heads.items()))
            if expires > now and len(self._heads) <= self._max:
                return
            self._drop(number)

    def _drop(self, number: int) -> None:
        _, key, _ = self._heads.pop(number)
        numbers = self._numbers[key]
        numbers.remove(number)
        if not numbers:
            del self._numbers[key]
