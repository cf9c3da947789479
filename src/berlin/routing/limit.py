"""Keeps a provider within limits: concurrent requests, and requests and tokens per minute."""

from __future__ import annotations

from typing import Any

from berlin.errors import LimitReachedError
from berlin.providers.contract import Burst, Bursts, Provider
from berlin.routing.base.answer import LEFT, Opening, Watched
from berlin.routing.base.attempts import within
from berlin.routing.base.limits import Limits
from berlin.routing.base.line import Line
from berlin.routing.base.meter import Meter, Metered, prompt_tokens
from berlin.routing.base.wrapper import Wrapper
from berlin.types import ChatRequest, Finished


class Limit(Wrapper):
    """Queues requests fairly until the limits admit them.

    Tokens are reserved before a request is sent: those of the prompt, and the 95th percentile of
    the model's latest answers; at its end the estimate is replaced by the actual cost.

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
        meter = Meter(prompt_tokens(request)) if limits.counts_tokens else None

        def end(how: BaseException | None) -> None:
            tokens = None
            if meter is not None and how is not LEFT:
                usage = meter.usage
                tokens = usage.input_tokens + usage.output_tokens
                if how is None:
                    limits.learn(request.model, usage.output_tokens)
            limits.leave(passed, tokens)

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
            self._asked = Metered(self._asked, end, meter)
        return first
