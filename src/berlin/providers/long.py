"""Keeps long answers from blocking the loop: decoded in a thread, delivered in slices."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from berlin.formats.decoding import EventDecoder
from berlin.providers.attempt import Body
from berlin.providers.contract import Burst
from berlin.types import (
    ExtraDelta,
    ReasoningDelta,
    StreamEvent,
    TextDelta,
    TextReplaced,
    ToolCallDelta,
)

MAX_EVENTS = 512
"""The most events of a burst."""

MAX_CHARS = 64 * 1024
"""The most text of a burst, unless it is one event."""

MAX_PIECE_CHARS = 1024 * 1024
"""Longer text becomes several events; shorter text stays as the service cut it."""

# What one event costs beside its text, in characters.
_EVENT_CHARS = MAX_CHARS // MAX_EVENTS


def decode(decoder: EventDecoder, data: bytes, answer: Body) -> Burst:
    """Return the events that the next bytes of an answer complete; `b""` is its end.

    If the end came with the last bytes, there is one burst for both.
    """
    events = decoder.feed(data) if data else []
    if decoder.done or (data and not answer.has_ended):
        return events
    return [*events, *decoder.finish()]


def slices(events: Burst) -> Iterator[Burst]:
    """Cut many or long events into bursts of a bounded cost; long text becomes several events."""
    part: Burst = []
    size = 0
    for event in events:
        for piece, chars in _pieces(event):
            if size + chars > MAX_CHARS and part:
                yield part
                part, size = [], 0
            part.append(piece)
            size += chars
    yield part


def _pieces(event: StreamEvent) -> Iterator[tuple[StreamEvent, int]]:
    match event:
        case TextDelta(text) | ReasoningDelta(text):
            for piece in _parts(text):
                yield type(event)(piece), len(piece) + _EVENT_CHARS
        case ToolCallDelta(arguments=text):
            first, *others = _parts(text)
            yield msgspec.structs.replace(event, arguments=first), len(first) + _EVENT_CHARS
            for piece in others:
                yield ToolCallDelta(event.index, "", "", piece), len(piece) + _EVENT_CHARS
        case TextReplaced(text):
            yield event, len(text) + _EVENT_CHARS
        case ExtraDelta():
            yield event, MAX_CHARS // 8
        case _:
            yield event, _EVENT_CHARS


def _parts(text: str) -> list[str]:
    if len(text) <= MAX_PIECE_CHARS:
        return [text]
    return [text[at : at + MAX_PIECE_CHARS] for at in range(0, len(text), MAX_PIECE_CHARS)]
