"""The interface of a provider: answers a request with bursts of events."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import msgspec

from berlin.types import ChatRequest, StreamEvent, TextPart

# Longer conversations are parsed and encoded in a thread, so that the loop is not blocked.
LONG_CONVERSATION = 500
LONG_TEXT = 256 * 1024
_ITEM_CHARS = LONG_TEXT // LONG_CONVERSATION
_SMALL = frozenset((int, float, bool, type(None)))
_COMPOSED = (dict, list, tuple, Mapping, Sequence)

Burst: TypeAlias = list[StreamEvent]
"""Events that arrived together, in one network read; never empty."""


class Bursts(Protocol):
    """An answer, burst by burst: an asynchronous generator or an object with its interface.

    Wrappers are not generators: starting and ending a generator costs as much as hundreds of
    events, and the loop only needs to know the innermost one to close it.
    """

    def __aiter__(self) -> AsyncIterator[Burst]:
        """Return itself."""
        ...

    def __anext__(self) -> Awaitable[Burst]:
        """Return the next burst. Raises BerlinError, and StopAsyncIteration at the end."""
        ...

    def aclose(self) -> Awaitable[None]:
        """Stop the answer and close its connection."""
        ...


class Provider(Protocol):
    """Answers requests with bursts of events. Wrappers of providers do work per network read, not
    per token. `ChatProvider` adds the methods that programs use.
    """

    def bursts(self, request: ChatRequest) -> Bursts:
        """Answer a request; exactly one event is `Finished`, and it is the last."""
        ...

    async def aclose(self) -> None:
        """Close connections. The next request opens new ones."""
        ...


def is_long(request: ChatRequest) -> bool:
    """Return whether a request is so long that processing it belongs in a thread."""
    if len(request.messages) > LONG_CONVERSATION or len(request.tools) > LONG_CONVERSATION:
        return True
    size = 0
    others: list[Any] = []  # all that is not just text
    for message in request.messages:
        parts = message.parts
        if len(parts) == 1 and type(parts[0]) is TextPart and parts[0].extra is None:
            size += len(parts[0].text)
        else:
            others.append(parts)
        if message.extra is not None:
            others.append(message.extra)
    members = request.extra.members if request.extra is not None else ()
    beside = (request.tools, request.options, members, request.response_format)
    others += [more for more in beside if more]
    return size > LONG_TEXT or (bool(others) and _is_large(others, LONG_TEXT - size))


def _is_large(values: list[Any], most: int) -> bool:
    """Return whether values have more characters than this; each value counts a few.

    Where there is more, only a part of it is looked at.
    """
    while values:
        value = values.pop()
        if type(value) in _SMALL:
            continue
        if isinstance(value, str):
            most -= len(value)
        elif isinstance(value, msgspec.Struct):
            values.extend(getattr(value, name) for name in value.__struct_fields__)
        elif isinstance(value, _COMPOSED):
            most -= _ITEM_CHARS * len(value)
            if most >= 0:
                values.extend(value)
                if isinstance(value, Mapping):
                    values.extend(value.values())
        if most < 0:
            return True
    return False
