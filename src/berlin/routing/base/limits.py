"""The limits of one provider or model: a gate, its queue, and what answers usually cost."""

from __future__ import annotations

import time
from typing import Any

from berlin.routing.base.clock import Clock
from berlin.routing.base.gate import Gate
from berlin.routing.base.line import Line
from berlin.routing.base.meter import prompt_tokens
from berlin.routing.counters.contract import Reservation
from berlin.routing.counters.learned import Learned
from berlin.routing.counters.memory import MemoryCounters
from berlin.types import ChatRequest

WAIT_S = 30.0
WAITING = 256
FIRST_GUESS_TOKENS = 300


class Limits:
    """Limits of one account, which several wrappers may share.

    Args:
        gate: admits requests.
        counts_tokens: whether it counts tokens.
        wait_s: the longest wait in seconds.
        waiting: the most waiting requests; 0 for no queue.
        clock: a monotonic clock, in seconds.
    """

    def __init__(
        self,
        gate: Gate,
        *,
        counts_tokens: bool = False,
        wait_s: float = WAIT_S,
        waiting: int = WAITING,
        clock: Clock = time.monotonic,
    ) -> None:
        self.gate = gate
        self.counts_tokens = counts_tokens
        self.line = Line(gate, waiting)
        self.wait_s = wait_s
        self.clock = clock
        self._answers = Learned(FIRST_GUESS_TOKENS)

    @classmethod
    def local(
        cls,
        concurrent: int | None = None,
        requests_per_minute: int | None = None,
        tokens_per_minute: int | None = None,
        clock: Clock = time.monotonic,
        **options: Any,
    ) -> Limits:
        """Return limits counted in this process only.

        Args:
            concurrent: concurrent requests.
            requests_per_minute: requests in any 60 seconds.
            tokens_per_minute: tokens in any 60 seconds.
            clock: a monotonic clock, in seconds.
            options: as above.
        """
        counters = MemoryCounters(clock)
        gate = Gate(counters, "", concurrent, requests_per_minute, tokens_per_minute)
        counts_tokens = tokens_per_minute is not None
        return cls(gate, counts_tokens=counts_tokens, clock=clock, **options)

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

    def leave(self, passed: Reservation, tokens: int | None = None) -> None:
        """Make room for the next request; see `Gate.leave`."""
        self.gate.leave(passed, tokens)
        self.line.change()
