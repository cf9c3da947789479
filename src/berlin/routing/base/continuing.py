"""Lets another provider continue an answer that broke off."""

from __future__ import annotations

from typing import Protocol, Self

import msgspec

from berlin.errors import BerlinError, FailedAttempt
from berlin.providers.contract import Burst, Bursts
from berlin.routing.base.clock import Clock
from berlin.types import (
    ChatRequest,
    ExtraDelta,
    Finished,
    Message,
    ReasoningDelta,
    Started,
    TextDelta,
    TextReplaced,
    ToolCallDelta,
)

SHORTEST_REPEAT = 20
"""The shortest text, in characters, that is taken for a repetition."""


class Continuable(Bursts, Protocol):
    """An answer that another provider can continue."""

    def try_next(self, request: ChatRequest) -> bool:
        """Prepare to request the rest; return whether there is a provider for it."""
        ...


class Continued:
    """An answer whose text is kept, so that another provider can continue it.

    Only text can be continued: before the first text, and after a tool call, the error is raised
    unchanged. The reasoning of the continuing provider is dropped, and so is the text so far if it
    begins anew instead of going on. A second `Started` marks where it continues.

    Args:
        answer: the answer.
        request: the request that it answers.
        budget: the most continuations.
        clock: a monotonic clock, in seconds.
    """

    def __init__(
        self, answer: Continuable, request: ChatRequest, budget: int, clock: Clock
    ) -> None:
        self._answer = answer
        self._request = request
        self._budget = budget
        self._clock = clock
        self._began_at = clock()
        self._pieces: list[str] = []
        self._called = False
        self._failure: BerlinError | None = None
        self._repeats = _Repeats("")
        self._started = Started()
        self._broken: tuple[FailedAttempt, ...] = ()
        self.aclose = answer.aclose

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Burst:
        while True:
            try:
                burst = await self._answer.__anext__()
            except BerlinError as error:
                self._continue_after(error)
                continue
            burst = self._rest_of(burst) if self._failure is not None else burst
            for event in burst:
                if type(event) is TextDelta:
                    self._pieces.append(event.text)
                elif type(event) is TextReplaced:
                    self._pieces = [event.text]
                elif type(event) is ToolCallDelta:
                    self._called = True
                elif type(event) is Started and self._failure is None:
                    self._started = event
            if burst:
                return burst

    def _continue_after(self, error: BerlinError) -> None:
        """Request the rest of the answer.

        Raises:
            BerlinError: the error, or the original one, if there is no provider to ask.
        """
        # A refused continuation never replaces the original error.
        self._failure = self._failure or error
        shown = "".join(self._pieces)
        text = shown.rstrip()
        able = text and not self._called and self._budget > 0 and error.fallback
        # Services refuse a prefix that ends with white space, and start with what was stripped.
        prefix = (*self._request.messages, Message.of("assistant", text))
        request = msgspec.structs.replace(self._request, messages=prefix)
        if not able or not self._answer.try_next(request):
            raise self._failure
        self._budget -= 1
        began_at, self._began_at = self._began_at, self._clock()
        who, seconds = self._started, self._began_at - began_at
        broken = FailedAttempt(who.provider, who.model, error.code, began_at, seconds)
        self._broken = (*who.failed, broken)
        self._repeats = _Repeats(shown)

    def _continued_by(self, started: Started) -> Started:
        """Return `Started` of the continuing provider, with all earlier attempts."""
        return msgspec.structs.replace(
            started,
            attempts=self._started.attempts + started.attempts,
            failed=(*self._broken, *started.failed),
        )

    def _rest_of(self, burst: Burst) -> Burst:
        """Return the part of a burst that has not been shown yet."""
        rest: Burst = []
        for event in burst:
            if type(event) is Started:
                event = self._started = self._continued_by(event)
            if type(event) is TextDelta:
                text = self._repeats.remove(event.text)
                rest += [TextDelta(text)] if text else []
            elif type(event) in (Finished, ToolCallDelta):
                text = self._repeats.left()
                rest += [*([TextDelta(text)] if text else ()), event]
            elif type(event) is not ReasoningDelta and type(event) is not ExtraDelta:
                rest.append(event)
        return rest


class _Repeats:
    """Removes what a continuation repeats: the white space at the end of the text so far, which it
    did not get, or all of the text, if it begins anew.

    Args:
        shown: the text so far.
    """

    def __init__(self, shown: str) -> None:
        space = shown[len(shown.rstrip()) :]
        # A short text may come twice for good reason.
        self._candidates = [shown] if len(shown) >= SHORTEST_REPEAT else []
        self._candidates += [space] if space else []
        self._held = ""

    def remove(self, text: str) -> str:
        """Return the new part of the next piece, as far as it is known."""
        if not self._candidates:
            return text
        self._held += text
        for known in self._candidates:
            if len(self._held) < len(known) and known.startswith(self._held):
                return ""  # it may become a repetition
        return self.left()

    def left(self) -> str:
        """Return the new part of the text that was held back."""
        held, candidates = self._held, self._candidates
        self._held, self._candidates = "", []
        return next((held[len(c) :] for c in candidates if held.startswith(c)), held)
