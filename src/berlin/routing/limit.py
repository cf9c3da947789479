"""Keeps a provider within limits: concurrent requests, and requests and tokens per minute."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from berlin.errors import LimitReachedError
from berlin.providers.contract import Burst, Bursts, Provider
from berlin.routing.base.answer import LEFT, Opening, Watched
from berlin.routing.base.attempts import within
from berlin.routing.base.gate import Pass
from berlin.routing.base.limits import Limits, prompt_tokens
from berlin.routing.base.line import Line
from berlin.routing.base.wrapper import Wrapper
from berlin.types import ChatRequest, Finished, TextDelta, UsageReport
from berlin.types.usage import estimate_tokens


class Limit(Wrapper):
    """Queues requests fairly until the limits admit them.

    Tokens are reserved before a request is sent: those of the prompt, and the average of earlier
    answers; at its end the estimate is replaced by the actual cost.

    Args:
        inner: the provider.
        limits: shared limits; by default made from `options`.
        options: those of `Limits.local`, such as `concurrent` and `tokens_per_minute`.
    """

    def __init__(self, inner: Provider, limits: Limits | None = None, **options: Any) -> None:
        super().__init__(inner)
        self.limits = limits or Limits.local(**options)

    @property
    def line(self) -> Line:
        """The queue of waiting requests."""
        return self.limits.line

    def bursts(self, request: ChatRequest) -> Bursts:
        """Answer a request; see `Provider`."""
        return _Limited(self, request)


class _Limited(Opening):
    def __init__(self, limit: Limit, request: ChatRequest) -> None:
        super().__init__()
        self._limit = limit
        self._request = request

    async def _begin(self) -> Burst:
        limits, inner, request = self._limit.limits, self._limit.inner, self._request
        began_at = limits.clock()
        total = (request.timeouts or self._limit.timeouts).total
        wait_s = min(limits.wait_s, total)
        try:
            passed = await limits.line.enter(request.tenant, limits.reserve(request), wait_s)
        except LimitReachedError as error:
            error.provider = self._limit.name or None
            raise
        waited = limits.clock() - began_at
        if waited > 0:
            request = within(request, self._limit.timeouts, total - waited)
        meter = _Meter(limits, passed, request) if limits.counts_tokens else None

        def end(how: BaseException | None) -> None:
            if meter is not None and how is not LEFT:
                meter.settle(whole=how is None)
            limits.leave(passed)

        try:
            first = await self._ask(inner, request)
        except BaseException as error:
            end(error if isinstance(error, Exception) else LEFT)
            raise
        if meter is not None:
            meter.note(first)
        if type(first[-1]) is Finished:
            end(None)
        elif meter is None:
            self._asked = Watched(self._asked, end)
        else:
            self._asked = _Metered(self._asked, end, meter.note)
        return first


class _Meter:
    """Counts the tokens of one request: as reported by the service, or estimated."""

    def __init__(self, limits: Limits, passed: Pass, request: ChatRequest) -> None:
        self._limits = limits
        self._passed = passed
        self._input = prompt_tokens(request)
        self._chars = 0
        self._reported: tuple[int, int] | None = None

    def note(self, burst: Burst) -> None:
        """Record a burst."""
        for event in burst:
            if type(event) is TextDelta:
                self._chars += len(event.text)
            elif type(event) is UsageReport:
                self._reported = (event.usage.input_tokens, event.usage.output_tokens)

    def settle(self, *, whole: bool) -> None:
        """Replace the reservation by the actual cost; learn from complete answers."""
        guessed = (self._input, estimate_tokens(self._chars))
        input_tokens, output_tokens = self._reported or guessed
        self._limits.gate.settle(self._passed, input_tokens + output_tokens)
        if whole:
            self._limits.learn(output_tokens)


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
