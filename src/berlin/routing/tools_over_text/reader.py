"""Parses one answer of a text service: its text, its calls, and its mistakes."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from typing import assert_never

from berlin.errors import RewrittenError
from berlin.routing.tools_over_text.offer import Offer
from berlin.routing.tools_over_text.scanner import Found, Scanner
from berlin.types import (
    ExtraDelta,
    Finished,
    ReasoningDelta,
    Started,
    StreamEvent,
    TextDelta,
    TextReplaced,
    ToolCallDelta,
    Usage,
    UsageReport,
)


def new_call_id() -> str:
    """Return an id for a call: the service has none."""
    return f"call_{secrets.token_hex(12)}"


_SWALLOWED = "A call is inside another block that was never closed, so no tool was called."


class Reader:
    """Turns the text of an answer into text and calls, burst by burst.

    Args:
        offer: what may be called.
        before: what the client has received of an earlier answer.
        holds_text: whether text is passed on only with a call that follows it.
        new_id: makes the ids of calls.

    Attributes:
        answer: the whole answer as the service wrote it.
        calls: how many calls the client has received so far.
        usage: the usage reported by the service.
        finished: the end of the answer.
    """

    def __init__(
        self,
        offer: Offer,
        before: Reader | None = None,
        *,
        holds_text: bool = False,
        new_id: Callable[[], str] = new_call_id,
    ) -> None:
        self._offer = offer
        self._new_id = new_id
        self.calls: int = before.calls if before is not None else 0
        self._is_second = before is not None
        # Separate texts stay separate even for clients that join them.
        self._before = self.calls
        self._has_text: bool = before is not None and before._has_text
        self._gap = self._is_second
        self._held: list[StreamEvent] | None = [] if holds_text else None
        if offer.response_format is not None:
            self._held = []
        self._scanner = Scanner(offer.opening) if offer.tools else None
        self._pieces: list[str] = []
        self._problems: list[str] = []
        self._json = ""
        self.usage: Usage | None = None
        self.finished: Finished | None = None

    @property
    def answer(self) -> str:
        """The whole answer as the service wrote it."""
        return "".join(self._pieces)

    @property
    def has_called(self) -> bool:
        """Whether this answer has a valid call."""
        return self.calls > self._before

    def take(self, burst: Iterable[StreamEvent]) -> list[StreamEvent]:
        """Take the next events, and return those for the client; the end is held back."""
        events: list[StreamEvent] = []
        for event in burst:
            match event:
                case TextDelta():
                    self._pieces.append(event.text)
                    if self._scanner is None:
                        self._give(event, events)
                    else:
                        self._add(self._scanner.feed(event.text), events)
                case UsageReport():
                    self.usage = event.usage
                case Finished():
                    self.finished = event
                    if self._scanner is not None:
                        self._add(self._scanner.finish(), events)
                        if self._scanner.is_swallowed and not self.has_called:
                            self._problems.append(_SWALLOWED)
                case TextReplaced():
                    raise RewrittenError.of_stream()
                case Started():
                    if not self._is_second:
                        events.append(event)
                case ReasoningDelta() | ToolCallDelta() | ExtraDelta():
                    events.append(event)
                case _:
                    assert_never(event)
        return events

    def end(self) -> list[StreamEvent]:
        """Return the part of a correct answer that was held back."""
        return [TextDelta(self._json)] if self._json else []

    def problem(self) -> str:
        """Return what is wrong with the whole answer, in words for the model."""
        offer = self._offer
        if self._problems:
            return "\n".join(self._problems)
        if self.has_called:
            return ""
        if offer.is_required:
            return "The answer contains no tool call, but one is required."
        if offer.response_format is not None:
            checked = offer.check_json(self.answer)
            self._json = checked.text
            return checked.problem
        return ""

    def question(self) -> str:
        """Return the follow-up question that the answer needs; `""` for none."""
        offer, prompt = self._offer, self._offer.prompt
        problem = self.problem()
        if self._problems:
            return prompt.correction.format(problem=problem, fence=offer.example)
        if problem and offer.is_required:
            return prompt.missing.format(fence=offer.example)
        if problem:
            return prompt.json_correction.format(problem=problem, fence=offer.example)
        return prompt.unkept.format(fence=offer.example) if self.only_announces else ""

    @property
    def only_announces(self) -> bool:
        """Whether the answer announces work that no call does."""
        offer = self._offer
        if self._problems or self.has_called or not offer.tools or offer.choice != "auto":
            return False
        return offer.response_format is None and offer.only_announces(self.answer)

    def _add(self, found: list[Found], events: list[StreamEvent]) -> None:
        for item in found:
            if isinstance(item, str):
                self._give(TextDelta(item), events)
                continue
            checked = self._offer.check(item)
            if checked.problem:
                self._problems.append(checked.problem)
            elif not (self._offer.is_single and self.calls):
                # Of several calls where one is allowed, the first counts.
                call = ToolCallDelta(self.calls, self._new_id(), item.name, checked.text)
                self.calls += 1
                self._gap = True
                if self._held is not None:
                    events += self._held
                    self._held = None
                events.append(call)

    def _give(self, text: TextDelta, events: list[StreamEvent]) -> None:
        if self._gap and self._has_text:
            text = TextDelta(f"\n\n{text.text}")
        self._gap, self._has_text = False, True
        if self._held is None:
            events.append(text)
        else:
            self._held.append(text)
