"""A provider that plays a test's script: events, errors and pauses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence

from berlin.errors import BerlinError
from berlin.providers.contract import Burst
from berlin.providers.facade import ChatProvider
from berlin.types import ChatRequest, Finished, StreamEvent, TextDelta

STEP_S = 0.01


class ScriptedProvider(ChatProvider):
    """Answers each request with the next script; the last one is repeated.

    Args:
        *scripts: lists of events, pieces of text, errors to raise, and pauses in seconds.

    Attributes:
        requests: the requests received, in order.
        closed: how many answers were abandoned before their end.
    """

    def __init__(self, *scripts: Sequence[StreamEvent | str | BerlinError | float]) -> None:
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
                    # In small steps: timers of others ring within it, however busy the machine is.
                    for _ in range(max(1, round(step / STEP_S))):
                        await asyncio.sleep(min(step, STEP_S))
                else:
                    yield [step]
            done = True
        finally:
            self.closed += not done
