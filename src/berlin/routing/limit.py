"""Keeps a provider within limits: concurrent requests, and requests and tokens per minute."""

from __future__ import annotations

import asyncio
from typing import Any

from berlin.errors import LimitReachedError
from berlin.formats.tokens import TokenCount
from berlin.providers.contract import Burst, Bursts, Provider
from berlin.routing.base.answer import LEFT, Opening
from berlin.routing.base.attempts import within
from berlin.routing.base.limits import Limits
from berlin.routing.base.meter import Meter
from berlin.routing.base.wrapper import Wrapper
from berlin.types import ChatRequest
from berlin.types.usage import usage_with


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

    def bursts(self, request: ChatRequest) -> Bursts:
        """Answer a request; see `Provider`."""
        return Opening(self._begin, request)

    async def _begin(self, answer: Opening, request: ChatRequest) -> Burst:
        limits = self.limits
        began_at = limits.clock()
        total = (request.timeouts or self.timeouts).total
        wait_s = min(limits.wait_s, total)
        try:
            passed = await limits.enter(request.tenant, limits.reserve(request), wait_s)
        except LimitReachedError as error:
            error.provider = self.name or None
            raise
        waited = limits.clock() - began_at
        if waited > 0:
            request = within(request, self.timeouts, total - waited)
        meter = Meter() if limits.counts_tokens else None
        input_tokens = 0 if meter is None else TokenCount(request).input_tokens

        def end(how: BaseException | None) -> asyncio.Future[None] | None:
            tokens = None
            if meter is not None and how is not LEFT:
                usage = usage_with(meter.reported, input_tokens, meter.chars)
                tokens = usage.input_tokens + usage.output_tokens
                if how is None:
                    limits.learn(request.model, usage.output_tokens)
            return limits.leave(passed, tokens)

        note = meter.note if meter is not None else None
        return await answer.ask_watched(self.inner, request, end, note)
