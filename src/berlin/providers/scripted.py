"""A provider that plays a test's script: events, errors and pauses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import TypeAlias

from berlin.errors import BerlinError
from berlin.providers.contract import Burst
from berlin.providers.facade import ChatProvider
from berlin.types import ChatRequest, Finished, StreamEvent, TextDelta

Step: TypeAlias = StreamEvent | str | BerlinError | float | Callable[[], Awaitable[object]]


class ScriptedProvider(ChatProvider):
    """Answers each request with the next script; the last one is repeated.

    Args:
        *scripts: lists of events, pieces of text, errors to raise, pauses in seconds, and functions
            that end a pause.

    Attributes:
        requests: the requests received, in order.
        closed: how many answers were abandoned before their end.
    """

    def __init__(self, *scripts: Sequence[Step]) -> None:
        self._scripts = scripts or (["Hello", Finished()],)
        self.requests: list[ChatRequest] = []
        self.closed = 0

    async def bursts(self, request: ChatRequest) -> AsyncGenerator[Burst]:
        """Play the next script."""
        script = self._scripts[min(len(self.requests), len(self._scripts) - 1)]
        self.requests.append(request)
        done = False
        try:
            for step in script:
                if isinstance(step, BerlinError):
                    done = True
                    raise step.again()
                if isinstance(step, str):
                    yield [TextDelta(step)]
                elif isinstance(step, int | float):
                    await asyncio.sleep(step)
                elif callable(step):
                    await step()
                else:
                    yield [step]
            done = True
        finally:
            self.closed += not done
