"""Goes on with an answer that broke off, where it broke off, by another provider."""

from __future__ import annotations

from typing import Protocol, Self

import msgspec

from berlin.errors import BerlinError, FailedAttempt
from berlin.providers.contract import Burst, Bursts
from berlin.routing.base.clock import Clock
from berlin.types import (
    ChatRequest,
    ExtraDelta,
    Message,
    ReasoningDelta,
    Started,
    TextDelta,
    TextReplaced,
    ToolCallDelta,
)


class Continuable(Bursts, Protocol):
    """An answer that another provider can go on with."""

    def go_on(self, request: ChatRequest) -> bool:
        """Prepare to ask for the rest; tell whether there is somebody to ask."""
        ...


class Continued:
    """An answer of which the text is kept, so that another provider can go on with it.

    Only text can be continued: before the first text, and after a tool call, the error is raised
    as it is. The reasoning of the one that goes on is dropped. A second `Started` marks the place
    where it goes on.

    Args:
        answer: the answer.
        request: the request that it answers.
        budget: how often it is continued at most.
        clock: seconds on a monotonic clock.
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
        self._overlap = ""
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
                self._go_on_after(error)
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

    def _go_on_after(self, error: BerlinError) -> None:
        """Ask for the rest of the answer.

        Raises:
            BerlinError: the error, or the one that it began with, if nobody is to be asked.
        """
        # The refusal of a continuation never takes the place of what really happened.
        self._failure = self._failure or error
        shown = "".join(self._pieces)
        text = shown.rstrip()
        able = text and not self._called and self._budget > 0 and error.fallback
        # Services refuse a prefix that ends with white space, and begin with what was cut off.
        prefix = (*self._request.messages, Message.of("assistant", text))
        request = msgspec.structs.replace(self._request, messages=prefix)
        if not able or not self._answer.go_on(request):
            raise self._failure
        self._budget -= 1
        began_at, self._began_at = self._began_at, self._clock()
        who, seconds = self._started, self._began_at - began_at
        broken = FailedAttempt(who.provider, who.model, error.code, began_at, seconds)
        self._broken = (*who.failed, broken)
        self._overlap = shown[len(text) :]

    def _went_on(self, started: Started) -> Started:
        """Return who goes on, with all the attempts before."""
        return msgspec.structs.replace(
            started,
            attempts=self._started.attempts + started.attempts,
            failed=(*self._broken, *started.failed),
        )

    def _rest_of(self, burst: Burst) -> Burst:
        """Return what of a burst has not been shown yet."""
        rest: Burst = []
        for event in burst:
            if type(event) is Started:
                event = self._started = self._went_on(event)
            if type(event) is TextDelta:
                text = event.text
                if self._overlap:
                    text = text.removeprefix(self._overlap)
                    self._overlap = ""
                rest += [TextDelta(text)] if text else []
            elif type(event) is not ReasoningDelta and type(event) is not ExtraDelta:
                rest.append(event)
        return rest
