"""Events and requests without what travels beside the known: what every dialect has a word for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

import msgspec

from berlin.types import ChatRequest, ExtraDelta, StreamEvent, UsageReport


def bare(events: Iterable[StreamEvent]) -> list[StreamEvent]:
    """Return the events that every dialect knows, without their extras."""
    return [_without(event) for event in events if not isinstance(event, ExtraDelta)]


def bare_request(request: ChatRequest) -> ChatRequest:
    """Return a request without the extras of its parts, messages and tools."""
    messages = tuple(
        msgspec.structs.replace(
            message, extra=None, parts=tuple(_without(part) for part in message.parts)
        )
        for message in request.messages
    )
    tools = tuple(_without(tool) for tool in request.tools)
    reasoning = request.reasoning and _without(request.reasoning)
    return msgspec.structs.replace(
        request, messages=messages, tools=tools, reasoning=reasoning, extra=None, stream=True
    )


_StructT = TypeVar("_StructT", bound=msgspec.Struct)


def _without(value: _StructT) -> _StructT:
    if isinstance(value, UsageReport):
        usage = msgspec.structs.replace(value.usage, extra=None)
        return msgspec.structs.replace(value, usage=usage)
    return msgspec.structs.replace(value, extra=None) if hasattr(value, "extra") else value
