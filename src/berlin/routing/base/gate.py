"""Admission by limits: concurrent requests, and requests and tokens in any 60 seconds."""

from __future__ import annotations

from itertools import count

from berlin.routing.counters.contract import (
    RUNNING,
    Claim,
    Counters,
    Refusal,
    Reservation,
    Sliding,
)
from berlin.routing.counters.shared import OWNER

_MINUTE = Sliding(60.0)
_ids = count()


class Gate:
    """Counts admitted requests, in this process or together with others.

    Args:
        counters: where they are counted.
        name: identifies the limits.
        concurrent: concurrent requests.
        requests_per_minute: requests in any 60 seconds.
        tokens_per_minute: tokens in any 60 seconds, as reserved; a request that alone needs more is
            admitted when no other is.
    """

    def __init__(
        self,
        counters: Counters,
        name: str = "",
        concurrent: int | None = None,
        requests_per_minute: int | None = None,
        tokens_per_minute: int | None = None,
    ) -> None:
        self._counters = counters
        self._claims = [
            Claim(f"{name}:{what}", window, limit, kept=what == "requests")
            for what, window, limit in (
                ("running", RUNNING, concurrent),
                ("requests", _MINUTE, requests_per_minute),
            )
            if limit is not None
        ]
        self._tokens = f"{name}:tokens"
        self._most_tokens = tokens_per_minute

    async def take(self, tokens: int) -> Reservation | float:
        """Admit a request, or return the seconds until it is worth trying again.

        `inf` means: not before a running request has finished.

        Raises:
            LimitReachedError: if shared counts cannot be used, and nothing is admitted without.
        """
        claims = self._claims
        most = self._most_tokens
        if most is not None:
            claims = [*claims, Claim(self._tokens, _MINUTE, most, min(tokens, most))]
        told = await self._counters.reserve(f"{OWNER}-{next(_ids)}", claims)
        return told.wait_s if isinstance(told, Refusal) else told

    def leave(self, passed: Reservation, tokens: int | None = None) -> None:
        """Record that a request has finished, and what it cost in tokens, if that is known."""
        self._counters.settle(passed, {} if tokens is None else {self._tokens: tokens})

    def undo(self, passed: Reservation) -> None:
        """Record that nothing was sent."""
        self._counters.undo(passed)
