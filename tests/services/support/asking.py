"""Ask a service through a provider, and keep what came."""

from __future__ import annotations

from dataclasses import dataclass

from berlin.providers.http import HttpProvider
from berlin.routing.retry import Retry
from berlin.types import ChatRequest, ChatResponse, TextDelta
from berlin.types.accumulate import Accumulator
from support.recipes import TIMEOUTS


@dataclass(frozen=True)
class Answer:
    """A streamed answer: what it comes to, and its pieces of text as they came."""

    whole: ChatResponse
    pieces: list[str]


async def answer_to(provider: HttpProvider, request: ChatRequest) -> Answer:
    """Read the answer to its end.

    Raises:
        BerlinError: whatever the provider raises.
    """
    total, pieces = Accumulator(), []
    # As every provider of a user: a kept connection that the server has just closed is tried again.
    async for burst in Retry(provider, TIMEOUTS).bursts(request):
        for event in burst:
            total.add(event)
            if isinstance(event, TextDelta):
                pieces.append(event.text)
    return Answer(total.response(), pieces)
