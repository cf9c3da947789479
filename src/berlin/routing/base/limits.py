"""The limits of one provider or model, the queue before them, and the usual cost of an answer."""

from __future__ import annotations

import asyncio
import math
import time
from contextlib import suppress
from typing import Any

from berlin.errors import LimitReachedError
from berlin.formats.tokens import prompt_tokens
from berlin.routing.base.clock import Clock
from berlin.routing.base.queue import Queue
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
from berlin.routing.counters.owner import process
from berlin.types import ChatRequest

WAIT_S = 30.0
WAITING = 256
FIRST_GUESS_TOKENS = 300

LOOK_AGAIN_S = 1.0
"""The longest wait for the end of a running request: those admitted under an earlier configuration
make room without a notice."""

_MINUTE = Sliding(60.0)


class Limits:
    """Limits of one account, which several wrappers may share. No request waits for them beyond its
    deadline; the queue belongs to one event loop at a time.

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
        self._queue: Queue[Reservation] = Queue(
            waiting,
            LimitReachedError,
            f"{waiting} requests are already waiting; nothing was sent",
            "the limit left no room within {:g} s; nothing was sent",
            lambda waiter: self._undo(waiter.outcome.result()),
        )
        self._changed: asyncio.Event | None = None
        self._pump: asyncio.Task[None] | None = None
        self.wait_s = wait_s
        self.clock = clock
        self._answers = Learned(FIRST_GUESS_TOKENS)

    @classmethod
    def local(cls, *, clock: Clock = time.monotonic, **options: Any) -> Limits:
        """Return limits counted in this process only, with the options above."""
        return cls(MemoryCounters(clock), clock=clock, **options)

    @property
    def waiting(self) -> int:
        """The number of waiting requests."""
        return self._queue.count

    async def take(self, tokens: int) -> Reservation | float:
        """Admit a request, or return the seconds until it is worth trying again.

        `inf` means: not before a running request has finished.

        Raises:
            LimitReachedError: if shared counts cannot be used, and nothing is admitted without.
        """
        claims, most = self._claims, self._most_tokens
        if most is not None:
            claims = [*claims, Claim(self._tokens, _MINUTE, most, min(tokens, most))]
        reply = await self._counters.reserve(process.reservation(), claims)
        return reply.wait_s if isinstance(reply, Refusal) else reply

    def leave(self, passed: Reservation, tokens: int | None = None) -> asyncio.Future[None] | None:
        """Record that a request has finished, and what it cost in tokens, if that is known.

        Returns:
            what is done when other processes see it; see `Counters.settle`.
        """
        amounts = [
            0 if claim.window == RUNNING else tokens if claim.counter == self._tokens else None
            for claim in passed.claims
        ]
        seen = self._counters.settle(passed, amounts)
        self.change()
        return seen

    def reserve(self, request: ChatRequest) -> int:
        """Return the probable cost of a request in tokens."""
        if not self.counts_tokens:
            return 0
        answer = self._answers.expect((request.model,))
        most = request.options.get("max_tokens")
        if isinstance(most, int) and most > 0:
            answer = min(answer, most)
        return prompt_tokens(request) + answer

    def learn(self, model: str, output_tokens: int) -> None:
        """Record the number of tokens of a complete answer of a model."""
        self._answers.learn(output_tokens, (model,))

    async def enter(self, tenant: str, tokens: int, wait_s: float) -> Reservation:
        """Wait until the request is admitted.

        Raises:
            LimitReachedError: if the queue is full or the wait was too long; nothing was sent.
        """
        if not self._queue.count:
            turn = await self.take(tokens)
            if isinstance(turn, Reservation):
                return turn
            if wait_s < turn < math.inf:
                raise LimitReachedError(
                    f"the limit leaves no room for {turn:.0f} s; nothing was sent", retry_after=turn
                )
        waiter = self._queue.join(tenant, tokens)
        if self._pump is None or self._pump.done():
            self._pump = asyncio.create_task(self._let_through())
        try:
            return await self._queue.wait(waiter, wait_s)
        except BaseException:
            self.change()  # the next one may need less
            raise

    def change(self) -> None:
        """Check again: a request finished, or cost less than reserved."""
        if self._changed is not None:
            self._changed.set()

    async def _let_through(self) -> None:
        """Admit the first of the queue, repeatedly, until it is empty."""
        self._changed = asyncio.Event()
        while (waiter := self._queue.next()) is not None:
            self._changed.clear()
            try:
                turn = await self.take(waiter.tokens)
            except LimitReachedError as error:  # shared counts that cannot be used now
                self._queue.refuse(waiter, error.message)
                continue
            if isinstance(turn, float):
                with suppress(TimeoutError):
                    # At least a millisecond: the clock may not advance by less.
                    async with asyncio.timeout(min(max(turn, 0.001), LOOK_AGAIN_S)):
                        await self._changed.wait()
            elif waiter.outcome.done():
                self._undo(turn)
            else:
                self._queue.grant(waiter, turn)

    def _undo(self, passed: Reservation) -> None:
        self._counters.settle(passed, [0] * len(passed.claims))
