"""The interface for sending requests: the real transport, and those that record and replay."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol, TypeVar

from berlin.types import HttpRequest, HttpResponse

_T = TypeVar("_T")

MAX_WHOLE_BODY_BYTES = 4 * 1024 * 1024

LONG_BYTES = 128 * 1024
"""What is longer is read in a thread."""


async def off_loop(size: int, work: Callable[[], _T]) -> _T:
    """Return the result of some work: in a thread if it is about more than `LONG_BYTES`."""
    return await asyncio.to_thread(work) if size > LONG_BYTES else work()


class Answer(Protocol):
    """A response whose body has not been read yet.

    Attributes:
        status: the HTTP status.
        headers: names in lower case.
    """

    status: int
    headers: dict[str, str]

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies that it sets."""
        return {}

    @property
    def has_ended(self) -> bool:
        """Whether it is known that nothing more comes."""
        return False

    async def read(self) -> bytes:
        """Return the next bytes; `b""` is the end. Raises TransportError, ProtocolError."""
        ...

    async def whole(self, limit: int = MAX_WHOLE_BODY_BYTES) -> HttpResponse:
        """Return the whole response, its body cut at the limit."""
        parts: list[bytes] = []
        size = 0
        while size < limit and (data := await self.read()):
            parts.append(data)
            size += len(data)
        return HttpResponse(self.status, self.headers, self.cookies, b"".join(parts)[:limit])

    def close(self) -> None:
        """Release the connection, if there is one."""
        return


class Sender(Protocol):
    """Sends requests to one endpoint."""

    async def open(self, request: HttpRequest, connect_timeout: float) -> Answer:
        """Send a request and return the response once its headers have arrived.

        Raises:
            TransportError: if there is no response.
            ProtocolError: if it is not HTTP.
        """
        ...

    async def aclose(self) -> None:
        """Close the connections of the running loop."""
        ...
