"""One answer: shown while it streams, and stored even if it is stopped or breaks off."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import aclosing
from typing import Any, Protocol

import msgspec

from berlin.cli.chat.spinner import spinner
from berlin.cli.terminal import Writer, json_line, open_writer
from berlin.errors import RewrittenError
from berlin.providers.facade import ChatProvider
from berlin.types import (
    ChatRequest,
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


class Answer:
    """The answer so far.

    Attributes:
        usage: the tokens it took, if the service says.
        end: its last event; `None` if it did not get there.
    """

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self.usage: Usage | None = None
        self.end: Finished | None = None

    @property
    def text(self) -> str:
        """The text so far."""
        return "".join(self._pieces)

    def add(self, event: StreamEvent) -> None:
        """Take the next event."""
        match event:
            case TextDelta():
                self._pieces.append(event.text)
            case TextReplaced():
                self._pieces = [event.text]
            case UsageReport():
                self.usage = event.usage
            case Finished():
                self.end = event


class Screen(Protocol):
    """Shows the events of one answer."""

    def show(self, event: StreamEvent) -> None:
        """Show the next event."""
        ...

    def close(self) -> None:
        """Show the rest."""
        ...


class TextScreen:
    """Text for display and pipes.

    Args:
        open_writer: opens the writer, only when there is text, so that a spinner may run before.
    """

    def __init__(self, open_writer: Callable[[], Writer]) -> None:
        self._open = open_writer
        self._writer: Writer | None = None

    def show(self, event: StreamEvent) -> None:
        """Show text and reasoning; nothing else is shown."""
        if isinstance(event, TextDelta | ReasoningDelta):
            if self._writer is None:
                self._writer = self._open()
            if isinstance(event, TextDelta):
                self._writer.write(event.text)
            else:
                self._writer.reason(event.text)
        elif isinstance(event, TextReplaced):
            raise RewrittenError.of_stream()

    def close(self) -> None:
        """End the text."""
        if self._writer is not None:
            self._writer.close()


class JsonScreen:
    """One JSON object per line for each event: for programs."""

    def show(self, event: StreamEvent) -> None:
        """Write an event immediately."""
        sys.stdout.write(json_line(event_as_json(event)) + "\n")
        sys.stdout.flush()

    def close(self) -> None:
        """Do nothing: each line is complete."""


def open_screen(
    *, as_json: bool, raw: bool, reasoning: bool | None, verbose: bool = False, asked: str = ""
) -> Screen:
    """Return the screen selected by the options."""
    screen: Screen = TextScreen(lambda: open_writer(raw=raw, reasoning=reasoning))
    if as_json:
        screen = JsonScreen()
    if not verbose:
        return screen
    from berlin.cli.chat.verbose import VerboseScreen

    return VerboseScreen(screen, asked)


async def show_answer(
    provider: ChatProvider, request: ChatRequest, screen: Screen, into: Answer
) -> None:
    """Stream an answer to a screen.

    Args:
        screen: shows the answer; always closed at the end.

    Raises:
        BerlinError: if there is no answer, or it breaks off.
    """
    async with spinner() as waited, aclosing(provider.stream(request)) as events:
        try:
            async for event in events:
                if isinstance(event, TextDelta | ReasoningDelta | ToolCallDelta):
                    waited()
                into.add(event)
                screen.show(event)
        finally:
            waited()
            screen.close()


_TYPES: dict[type[StreamEvent], str] = {
    Started: "started",
    TextDelta: "text",
    TextReplaced: "text_replaced",
    ReasoningDelta: "reasoning",
    ToolCallDelta: "tool_call",
    UsageReport: "usage",
    ExtraDelta: "extra",
    Finished: "finished",
}
_OMITTED = {ToolCallDelta: {"extra"}, Finished: {"stop_sequence", "extra"}}


def event_as_json(event: StreamEvent) -> dict[str, Any]:
    """Return an event as the object that `--json` writes."""
    members = msgspec.to_builtins(event.usage if isinstance(event, UsageReport) else event)
    omitted = _OMITTED.get(type(event), ())
    shown = {name: value for name, value in members.items() if name not in omitted}
    return {"type": _TYPES[type(event)], **shown}
