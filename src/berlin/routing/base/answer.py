"""Answers of wrappers: the steps before the first burst, and the outcome recorded at the end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Self, TypeAlias

from berlin.errors import BerlinError, EmptyResponseError, TruncatedStreamError
from berlin.providers.contract import Burst, Bursts, Provider
from berlin.providers.long import MAX_EVENTS
from berlin.types import AnswerLimit, ChatRequest, Finished

End: TypeAlias = Callable[[BaseException | None], asyncio.Future[None] | None]
"""Records the outcome of an answer; returns what is done when other processes see it, if the caller
is to wait for that before it hears of the end."""
Note: TypeAlias = Callable[[Burst], None]


class ReadyBursts:
    """Bursts that are already available."""

    def __init__(self, bursts: Iterable[Burst] = ()) -> None:
        self._left = iter(bursts)
        self._passed = 0

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Burst:
        burst = next(self._left, None)
        if burst is None:
            raise StopAsyncIteration
        self._passed += len(burst)
        if self._passed > MAX_EVENTS:  # a consumer that never waits would hold the loop
            self._passed = 0
            await asyncio.sleep(0)
        return burst

    async def aclose(self) -> None:
        """Discard the rest."""
        self._left = iter(())


_NOTHING = ReadyBursts()


class Opening:
    """An answer that must be started first. From then on it is one provider's answer, at no extra
    cost.

    Args:
        begin: starts it, and returns the first burst. The rest comes from the provider that it has
            asked last, or from what it has put in its place.
        request: what is asked.

    Attributes:
        asked: where the rest comes from.
    """

    def __init__(
        self, begin: Callable[[Opening, ChatRequest], Awaitable[Burst]], request: ChatRequest
    ) -> None:
        self._begin = begin
        self._request = request
        self.asked: Bursts = _NOTHING
        self._rest: Bursts | None = None
        self._ended = False

    def __aiter__(self) -> Self:
        return self

    def __anext__(self) -> Awaitable[Burst]:
        if self._rest is not None:
            return self._rest.__anext__()
        return self._open()

    async def aclose(self) -> None:
        """Stop the answer, even while it is being started."""
        self._ended = True
        await (self._rest or self.asked).aclose()

    async def ask(self, provider: Provider, request: ChatRequest) -> Burst:
        """Ask a provider and return its first burst, once all have come if it must be whole.

        Raises:
            BerlinError: if there is none.
        """
        answer = self.asked = provider.bursts(request)
        try:
            first = await answer.__anext__()
        except StopAsyncIteration:
            raise EmptyResponseError("the provider ended without an answer") from None
        if (request.whole or not request.stream) and type(first[-1]) is not Finished:
            held, limit = [list(first)], AnswerLimit()
            async for burst in answer:
                for event in burst:
                    limit.count(event)
                if len(held[-1]) + len(burst) > MAX_EVENTS:
                    held.append([])
                held[-1] += burst
            if type(held[-1][-1]) is not Finished:
                raise TruncatedStreamError("the answer ended without saying that it was finished")
            first, *rest = held
            self.asked = ReadyBursts(rest)
        return first

    async def ask_watched(
        self, provider: Provider, request: ChatRequest, end: End, note: Note | None = None
    ) -> Burst:
        """Ask like `ask`; the bursts and the outcome of the answer are noted as by `Watched`."""
        try:
            first = await self.ask(provider, request)
        except BerlinError as error:
            if (seen := end(error)) is not None:
                await seen
            raise
        except BaseException:
            end(LEFT)
            raise
        if note is not None:
            note(first)
        if type(first[-1]) is Finished:
            if (seen := end(None)) is not None:
                await seen
        else:
            self.asked = Watched(self.asked, end, note)
        return first

    async def _open(self) -> Burst:
        if self._ended:
            raise StopAsyncIteration
        self._ended = True
        first = await self._begin(self, self._request)
        self._rest = self.asked
        return first


class Passed:
    """An answer that is passed on; a subclass looks at it."""

    def __init__(self, answer: Bursts) -> None:
        self._answer = answer

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Burst:
        return await self._answer.__anext__()

    async def aclose(self) -> None:
        """Stop the answer."""
        await self._answer.aclose()


class Watched(Passed):
    """An answer whose outcome is recorded once: `None`, the error, or `LEFT`.

    Args:
        answer: the answer.
        end: called with the outcome; `LEFT` means that the caller did not wait for the end.
        note: called with each burst.
    """

    def __init__(self, answer: Bursts, end: End, note: Note | None = None) -> None:
        super().__init__(answer)
        self._end: End | None = end
        self._note = note

    async def __anext__(self) -> Burst:
        try:
            burst = await self._answer.__anext__()
        except StopAsyncIteration:
            if (seen := self._record(None)) is not None:
                await seen
            raise
        except BerlinError as error:
            if (seen := self._record(error)) is not None:
                await seen
            raise
        except BaseException:  # cancelled, or a bug: it says nothing about the provider
            self._record(LEFT)
            raise
        if self._note is not None:
            self._note(burst)
        return burst

    async def aclose(self) -> None:
        """Stop the answer."""
        self._record(LEFT)
        await self._answer.aclose()

    def __del__(self) -> None:
        # Dropped by a caller that neither read it to its end nor closed it.
        self._record(LEFT)

    def _record(self, how: BaseException | None) -> asyncio.Future[None] | None:
        end, self._end = self._end, None
        return end(how) if end is not None else None


LEFT = BaseException("the caller left")
"""The outcome of an answer whose caller did not wait for its end."""
