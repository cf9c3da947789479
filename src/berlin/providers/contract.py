"""The interface of a provider: answers a request with bursts of events."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from typing import Protocol, TypeAlias

from berlin.types import ChatRequest, StreamEvent

# Longer conversations are parsed and encoded in a thread, so that the loop is not blocked.
LONG_CONVERSATION = 500
LONG_TEXT = 256 * 1024

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
    """Return whether a request is long enough that processing it belongs in a thread."""
    messages, tools = request.messages, request.tools
    if len(messages) > LONG_CONVERSATION or len(tools) > LONG_CONVERSATION:
        return True
    size = 0
    for message in messages:
        if len(message.parts) > LONG_CONVERSATION:
            return True
        size += len(message.text)
    for tool in tools:
        size += len(tool.parameters)
    return size > LONG_TEXT
