"""Leaves a dependency alone for a moment after a failure: it costs one wait and not many."""

from __future__ import annotations

import logging
import random
import time

from berlin.routing.base.clock import Chance, Clock

REST_S = 2.0

_log = logging.getLogger("berlin.routing")


class Resting:
    """A dependency that is not used for a moment after it has failed.

    The moment is `REST_S` with jitter, so that not all callers return at once.

    Args:
        what: what it is, for the log.
        resting_clock: a monotonic clock, in seconds.
        chance: numbers from 0 to 1.
    """

    def __init__(
        self, what: str, resting_clock: Clock = time.monotonic, chance: Chance = random.random
    ) -> None:
        self._what = what
        self._resting_clock = resting_clock
        self._chance = chance
        self._rests_until = 0.0

    @property
    def rests(self) -> bool:
        """Whether it failed a moment ago and is not used for now."""
        return self._rests_until > 0.0 and self._resting_clock() < self._rests_until

    def rest(self, error: BaseException) -> None:
        """Record a failure."""
        first = not self.rests
        self._rests_until = self._resting_clock() + REST_S * (0.5 + self._chance())
        if first:
            reason = f"{type(error).__name__}: {str(error)[:100]}".replace("\n", " ")
            _log.warning("shared.failed what=%s reason=%s", self._what, reason)
