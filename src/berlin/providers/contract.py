"""What a provider is: an answer to a request, in bursts of events."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from typing import Protocol, TypeAlias

from berlin.types import ChatRequest, StreamEvent

# Longer conversations are parsed and encoded in a thread, so that the loop goes on.
LONG_CONVERSATION = 500
LONG_TEXT = 256 * 1024

Burst: TypeAlias = list[StreamEvent]
"""Events that came together, in one read of the network; never empty."""


class Bursts(Protocol):
    """An answer, burst by burst: an asynchronous generator, or an object that looks like one.

    Wrappers are not generators: each generator costs as much at its beginning and its end as
    hundreds of events do, and the loop needs to know only the innermost one to close it.
    """

    def __aiter__(self) -> AsyncIterator[Burst]:
        """Return itself."""
        ...

    def __anext__(self) -> Awaitable[Burst]:
        """Return the next burst. Raises BerlinError, and StopAsyncIteration at the end."""
        ...

    def aclose(self) -> Awaitable[None]:
        """Leave the answer: its connection is closed."""
        ...


class Provider(Protocol):
    """Answers requests with bursts of events. What is made of providers works for each read of
    the network, not for each token. `ChatProvider` adds the methods that programs use.
    """

    def bursts(self, request: ChatRequest) -> Bursts:
        """Answer a request; exactly one event is `Finished`, and it is the last."""
        ...

    async def aclose(self) -> None:
        """Close connections. Another request opens new ones."""
        ...


def is_long(request: ChatRequest) -> bool:
    """Return whether a request is so long that work on all of it belongs in a thread."""
    messages = request.messages
    return len(messages) > LONG_CONVERSATION or sum(len(m.text) for m in messages) > LONG_TEXT
