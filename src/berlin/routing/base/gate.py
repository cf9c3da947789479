"""Admission by limits: concurrent requests, and requests and tokens in any 60 seconds."""

from __future__ import annotations

import math
from collections import deque
from typing import Protocol

from berlin.routing.base.clock import Clock

WINDOW_S = 60.0


class Pass:
    """One admitted request.

    Attributes:
        at: when it was admitted.
        tokens: its cost in tokens; reserved first, settled at its end.
    """

    __slots__ = ("at", "tokens")

    def __init__(self, at: float, tokens: int) -> None:
        self.at = at
        self.tokens = tokens


class Gate(Protocol):
    """Counts admitted requests, in this process or together with others."""

    async def take(self, tokens: int) -> Pass | float:
        """Admit a request, or return the seconds until it is worth trying again.

        `inf` means: not before a running request has finished.
        """
        ...

    def settle(self, passed: Pass, tokens: int) -> None:
        """Record the actual cost of a request."""
        ...

    def leave(self, passed: Pass) -> None:
        """Record that a request has finished."""
        ...

    def undo(self, passed: Pass) -> None:
        """Record that nothing was sent."""
        ...


class LocalGate:
    """Counts the requests that this process admits, in a sliding window: never more than the limit
    in any 60 seconds.

    Args:
        clock: a monotonic clock, in seconds.
        concurrent: concurrent requests.
        requests_per_minute: requests in any 60 seconds.
        tokens_per_minute: tokens in any 60 seconds, as reserved; a request that alone needs more is
            admitted when no other is.
    """

    def __init__(
        self,
        clock: Clock,
        concurrent: int | None = None,
        requests_per_minute: int | None = None,
        tokens_per_minute: int | None = None,
    ) -> None:
        self._clock = clock
        self.concurrent = concurrent
        self.requests_per_minute = requests_per_minute
        self.tokens_per_minute = tokens_per_minute
        self._inside = 0
        self._recent: deque[Pass] = deque()
        self._tokens = 0

    async def take(self, tokens: int) -> Pass | float:
        """Admit a request, or return the seconds until it is worth trying again."""
        return self.try_take(tokens)

    def try_take(self, tokens: int) -> Pass | float:
        """Like `take`, but synchronous."""
        now = self._clock()
        self._forget(now)
        if self.concurrent is not None and self._inside >= self.concurrent:
            return math.inf
        if self.tokens_per_minute is not None:
            tokens = min(tokens, self.tokens_per_minute)
        free_at = max(self._free_at_by_count(), self._free_at_by_tokens(tokens))
        if free_at > now:
            return free_at - now
        passed = Pass(now, tokens)
        self._inside += 1
        if self.requests_per_minute is not None or self.tokens_per_minute is not None:
            self._recent.append(passed)
            self._tokens += tokens
        return passed

    def settle(self, passed: Pass, tokens: int) -> None:
        """Record the actual cost of a request."""
        self._forget(self._clock())
        if self._recent and passed.at >= self._recent[0].at:
            self._tokens += tokens - passed.tokens
            passed.tokens = tokens

    def leave(self, passed: Pass) -> None:
        """Record that a request has finished."""
        self._inside -= 1

    def undo(self, passed: Pass) -> None:
        """Record that nothing was sent."""
        self._inside -= 1
        if passed in self._recent:
            self._recent.remove(passed)
            self._tokens -= passed.tokens

    def _forget(self, now: float) -> None:
        recent = self._recent
        while recent and recent[0].at + WINDOW_S <= now:
            self._tokens -= recent.popleft().tokens

    def _free_at_by_count(self) -> float:
        limit = self.requests_per_minute
        if limit is None or len(self._recent) < limit:
            return 0.0
        return self._recent[len(self._recent) - limit].at + WINDOW_S

    def _free_at_by_tokens(self, tokens: int) -> float:
        limit = self.tokens_per_minute
        if limit is None:
            return 0.0
        over = self._tokens + tokens - limit
        free_at = 0.0
        for passed in self._recent:
            if over <= 0:
                break
            over -= passed.tokens
            free_at = passed.at + WINDOW_S
        return free_at
