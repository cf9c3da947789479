"""Shows the text of a service that rewrites it only once it has settled."""

from __future__ import annotations

import asyncio
from typing import Self

from berlin.providers.contract import Burst, Bursts, Provider
from berlin.routing.base.wrapper import Wrapper
from berlin.types import (
    ChatRequest,
    Finished,
    StreamEvent,
    TextDelta,
    TextReplaced,
    ToolCallDelta,
)


class Settled(Wrapper):
    """Holds back the beginning of a text until the service has stopped rewriting it.

    Some services first show a spinner or a draft. What a stream has shown cannot be taken back, so
    the text is shown after it has not been rewritten for a while, or at its end. What is rewritten
    later ends the stream with an error, as without this wrapper.

    Args:
        inner: the wrapped provider.
        settle_s: seconds without a rewrite, from the first text or the last rewrite on.
    """

    def __init__(self, inner: Provider, settle_s: float) -> None:
        super().__init__(inner)
        self._settle_s = settle_s

    def bursts(self, request: ChatRequest) -> Bursts:
        """Answer a request; see `Provider`."""
        answer = self.inner.bursts(request)
        return answer if request.whole else _Settling(answer, self._settle_s)


class _Settling:
    """An answer whose text is held back at first; everything else is passed on."""

    def __init__(self, answer: Bursts, settle_s: float) -> None:
        self._answer = answer
        self._settle_s = settle_s
        self._text = ""
        self._shows_at: float | None = None
        self._is_settled = False
        # The next burst, if it had not come when the text was shown.
        self._waiting: asyncio.Future[Burst] | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Burst:
        while not self._is_settled:
            burst = await self._next()
            shown = self._show() if burst is None else self._take(burst)
            if shown:
                return shown
        waiting, self._waiting = self._waiting, None
        return await (waiting or self._answer.__anext__())

    async def aclose(self) -> None:
        """Stop the answer."""
        self._is_settled = True
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        await self._answer.aclose()

    async def _next(self) -> Burst | None:
        """Return the next burst; `None` if the text has settled before it came."""
        if self._shows_at is None:
            return await self._answer.__anext__()
        if self._waiting is None:
            self._waiting = asyncio.ensure_future(self._answer.__anext__())
        left = self._shows_at - asyncio.get_running_loop().time()
        done, _ = await asyncio.wait({self._waiting}, timeout=max(left, 0.0))
        if not done:
            return None
        waiting, self._waiting = self._waiting, None
        return await waiting

    def _take(self, burst: Burst) -> Burst:
        """Return the part of a burst that is shown now."""
        shown: list[StreamEvent] = []
        for event in burst:
            match event:
                case TextDelta() if not self._is_settled:
                    self._text += event.text
                    if self._shows_at is None:
                        self._wait_anew()
                case TextReplaced() if not self._is_settled:
                    self._text = event.text
                    self._wait_anew()
                case ToolCallDelta() | Finished():
                    shown += [*self._show(), event]
                case _:
                    shown.append(event)
        return shown

    def _wait_anew(self) -> None:
        self._shows_at = asyncio.get_running_loop().time() + self._settle_s

    def _show(self) -> Burst:
        """Return the text so far; what follows is passed on as it arrives."""
        self._is_settled = True
        text, self._text = self._text, ""
        return [TextDelta(text)] if text else []
