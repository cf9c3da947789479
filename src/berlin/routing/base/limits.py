"""The limits of one provider or model, their queue, and the usual cost of an answer."""

from __future__ import annotations

import time
from itertools import count
from typing import Any

from berlin.routing.base.clock import Clock
from berlin.routing.base.line import Line
from berlin.routing.base.meter import prompt_tokens
from berlin.routing.counters.contract import (
    RUNNING,
    Claim,
    Counters,
    Refusal,
    Reservation,
    Sliding,
)
from berlin.routing.counters.learned import Learned
from berlin.routing.counters.memory import MemoryCounters
from berlin.routing.counters.shared import OWNER
from berlin.types import ChatRequest

WAIT_S = 30.0
WAITING = 256
FIRST_GUESS_TOKENS = 300

_MINUTE = Sliding(60.0)
_ids = count()


class Limits:
    """Limits of one account, which several wrappers may share.

    Args:
        counters: where requests are counted, in this process or together with others.
        name: identifies the limits.
        concurrent: concurrent requests.
        requests_per_minute: requests in any 60 seconds.
        tokens_per_minute: tokens in any 60 seconds, as reserved; a request that alone needs more is
            admitted when no other is.
        wait_s: the longest wait in seconds.
        waiting: the most waiting requests; 0 for no queue.
        clock: a monotonic clock, in seconds.
    """

    def __init__(
        self,
        counters: Counters,
        name: str = "",
        concurrent: int | None = None,
        requests_per_minute: int | None = None,
        tokens_per_minute: int | None = None,
        *,
        wait_s: float = WAIT_S,
        waiting: int = WAITING,
        clock: Clock = time.monotonic,
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
        self.counts_tokens = tokens_per_minute is not None
        self.line = Line(self.take, self.undo, waiting)
        self.wait_s = wait_s
        self.clock = clock
        self._answers = Learned(FIRST_GUESS_TOKENS)

    @classmethod
    def local(cls, *, clock: Clock = time.monotonic, **options: Any) -> Limits:
        """Return limits counted in this process only, with the options above."""
        return cls(MemoryCounters(clock), clock=clock, **options)

    async def take(self, tokens: int) -> Reservation | float:
        """Admit a request, or return the seconds until it is worth trying again.

        `inf` means: not before a running request has finished.

        Raises:
            LimitReachedError: if shared counts cannot be used, and nothing is admitted without.
        """
        claims, most = self._claims, self._most_tokens
        if most is not None:
            claims = [*claims, Claim(self._tokens, _MINUTE, most, min(tokens, most))]
        reply = await self._counters.reserve(f"{OWNER}-{next(_ids)}", claims)
        return reply.wait_s if isinstance(reply, Refusal) else reply

    def leave(self, passed: Reservation, tokens: int | None = None) -> None:
        """Record that a request has finished, and what it cost in tokens, if that is known."""
        self._counters.settle(passed, {} if tokens is None else {self._tokens: tokens})
        self.line.change()

    def undo(self, passed: Reservation) -> None:
        """Record that nothing was sent."""
        self._counters.undo(passed)

    def reserve(self, request: ChatRequest) -> int:
        """Return the probable cost of a request in tokens."""
        if not self.counts_tokens:
            return 0
        answer = self._answers.expect(request.model)
        most = request.options.get("max_tokens")
        if isinstance(most, int) and most > 0:
            answer = min(answer, most)
        return prompt_tokens(request) + answer

    def learn(self, model: str, output_tokens: int) -> None:
        """Record the number of tokens of a complete answer of a model."""
        self._answers.learn(output_tokens, model)
