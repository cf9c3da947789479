"""Keeps a provider below a limit: requests at once, and requests and tokens in a minute."""

from __future__ import annotations

import time
from collections.abc import Callable

from berlin.providers.contract import Burst, Bursts, Provider
from berlin.routing.base.answer import LEFT, Opening, Watched
from berlin.routing.base.attempts import within
from berlin.routing.base.clock import Clock
from berlin.routing.base.gate import Gate, LocalGate, Pass
from berlin.routing.base.line import Line
from berlin.routing.base.wrapper import Wrapper
from berlin.types import ChatRequest, Finished, TextDelta, UsageReport
from berlin.types.usage import estimate_tokens

WAIT_S = 30.0
WAITING = 256
FIRST_GUESS_TOKENS = 300
LEARNING_RATE = 0.1


class Limit(Wrapper):
    """Lets requests wait in a fair line until the limits have room for them.

    Tokens are reserved before a request is sent: those of the prompt, and as many for the answer
    as answers had so far; at its end, what it has really cost takes the place of the guess.

    Args:
        inner: the provider.
        concurrent: requests at once.
        requests_per_minute: requests in any 60 seconds.
        tokens_per_minute: tokens in any 60 seconds.
        wait_s: seconds that a request waits at most.
        waiting: requests that wait at most; 0 for no line.
        gate: what counts, where it is shared with other processes.
        clock: seconds on a monotonic clock.
    """

    def __init__(
        self,
        inner: Provider,
        *,
        concurrent: int | None = None,
        requests_per_minute: int | None = None,
        tokens_per_minute: int | None = None,
        wait_s: float = WAIT_S,
        waiting: int = WAITING,
        gate: Gate | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        super().__init__(inner)
        self.gate = gate or LocalGate(clock, concurrent, requests_per_minute, tokens_per_minute)
        self.counts_tokens = tokens_per_minute is not None
        self.wait_s = wait_s
        self.line = Line(self.gate, waiting)
        self.clock = clock
        self._answer_tokens = float(FIRST_GUESS_TOKENS)

    def bursts(self, request: ChatRequest) -> Bursts:
        """Answer a request; see `Provider`."""
        return _Limited(self, request)

    def reserve(self, request: ChatRequest) -> int:
        """Return how many tokens a request is likely to cost."""
        if not self.counts_tokens:
            return 0
        prompt = estimate_tokens(sum(len(message.text) for message in request.messages))
        answer = self._answer_tokens
        most = request.options.get("max_tokens")
        if isinstance(most, int) and most > 0:
            answer = min(answer, most)
        return prompt + round(answer)

    def learn(self, output_tokens: int) -> None:
        """Take note of how many tokens a whole answer had."""
        self._answer_tokens += LEARNING_RATE * (output_tokens - self._answer_tokens)

    def leave(self, passed: Pass) -> None:
        """Make room for the next one."""
        self.gate.leave(passed)
        self.line.change()


class _Limited(Opening):
    def __init__(self, limit: Limit, request: ChatRequest) -> None:
        super().__init__()
        self._limit = limit
        self._request = request

    async def _begin(self) -> Burst:
        limit, request = self._limit, self._request
        began_at = limit.clock()
        total = (request.timeouts or limit.timeouts).total
        tokens = limit.reserve(request)
        passed = await limit.line.enter(request.tenant, tokens, min(limit.wait_s, total))
        waited = limit.clock() - began_at
        if waited > 0:
            request = within(request, limit.timeouts, total - waited)
        meter = _Meter(limit, passed, request) if limit.counts_tokens else None

        def end(how: BaseException | None) -> None:
            if meter is not None and how is not LEFT:
                meter.settle(whole=how is None)
            limit.leave(passed)

        try:
            first = await self._ask(limit.inner, request)
        except BaseException as error:
            end(error if isinstance(error, Exception) else LEFT)
            raise
        if meter is not None:
            meter.note(first)
        if type(first[-1]) is Finished:
            end(None)
        else:
            watched = Watched(self._asked, end)
            self._asked = watched if meter is None else _Metered(self._asked, end, meter.note)
        return first


class _Meter:
    """Counts the tokens of one request: as the service reports them, or a guess."""

    def __init__(self, limit: Limit, passed: Pass, request: ChatRequest) -> None:
        self._limit = limit
        self._passed = passed
        self._input = estimate_tokens(sum(len(message.text) for message in request.messages))
        self._chars = 0
        self._reported: tuple[int, int] | None = None

    def note(self, burst: Burst) -> None:
        """Take note of what came."""
        for event in burst:
            if type(event) is TextDelta:
                self._chars += len(event.text)
            elif type(event) is UsageReport:
                self._reported = (event.usage.input_tokens, event.usage.output_tokens)

    def settle(self, *, whole: bool) -> None:
        """Replace what was reserved by what it has cost; learn from answers that are whole."""
        guessed = (self._input, estimate_tokens(self._chars))
        input_tokens, output_tokens = self._reported or guessed
        self._limit.gate.settle(self._passed, input_tokens + output_tokens)
        if whole:
            self._limit.learn(output_tokens)


class _Metered(Watched):
    """An answer whose tokens are counted."""

    def __init__(
        self,
        answer: Bursts,
        end: Callable[[BaseException | None], None],
        note: Callable[[Burst], None],
    ) -> None:
        super().__init__(answer, end)
        self._count = note

    async def __anext__(self) -> Burst:
        burst = await super().__anext__()
        self._count(burst)
        return burst
