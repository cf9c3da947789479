"""The interface for sending requests: the real transport, and those that record and replay."""

from __future__ import annotations

from typing import Protocol

from berlin.types import HttpRequest, HttpResponse


class Answer(Protocol):
    """A response whose body has not been read yet.

    Attributes:
        status: the HTTP status.
        headers: names in lower case.
    """

    status: int
    headers: dict[str, str]

    async def read(self) -> bytes:
        """Return the next bytes; `b""` is the end. Raises TransportError, ProtocolError."""
        ...

    async def whole(self, limit: int = ...) -> HttpResponse:
        """Return the whole response, its body cut at the limit."""
        ...

    def close(self) -> None:
        """Release the connection."""
        ...


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
