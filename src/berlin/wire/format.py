"""The contract of a format: one dialect, read and written from both ends."""

from __future__ import annotations

from typing import Protocol

from berlin.errors import BerlinError
from berlin.types import ChatRequest, HttpRequest, StreamEvent
from berlin.types.secret import CUT


class EventDecoder(Protocol):
    """Turns the bytes of one answer into events, whatever the reads look like."""

    failure: BerlinError | None
    """Why the answer is bad, once that is known. The events returned before are good."""

    def feed(self, data: bytes) -> list[StreamEvent]:
        """Take the next bytes and return the events that they complete."""
        ...

    def finish(self) -> list[StreamEvent]:
        """Take the end of the answer and return the last events."""
        ...


class EventEncoder(Protocol):
    """Turns the events of one answer into bytes."""

    def encode_event(self, event: StreamEvent) -> bytes:
        """Return the bytes of one event."""
        ...

    def encode_error(self, error: BerlinError) -> bytes:
        """Return the bytes that tell of an error after the answer has begun."""
        ...


class Format(Protocol):
    """How a request becomes bytes and bytes become events, and the other way round."""

    content_type: str
    """Of the streamed answer."""

    def encode_request(self, request: ChatRequest) -> HttpRequest:
        """Return what is sent. Raises InvalidRequestError."""
        ...

    def decoder(self) -> EventDecoder:
        """Return a decoder for one answer."""
        ...

    def describe_error(self, body: bytes) -> str:
        """Return what the body of an error answer says, in at most 300 characters."""
        ...

    def decode_request(self, body: bytes) -> ChatRequest:
        """Return the request that a client sent. Raises InvalidRequestError."""
        ...

    def encoder(self) -> EventEncoder:
        """Return an encoder for one answer."""
        ...


def snippet(data: bytes | str, limit: int = 200) -> str:
    """Return the beginning of foreign text as one printable line, to be shown in an error."""
    text = data.decode("utf-8", "replace") if isinstance(data, bytes) else data
    line = " ".join(text[: 4 * limit].split())
    line = "".join(c if c.isprintable() else "\ufffd" for c in line)
    return line if len(line) <= limit else f"{line[:limit]}{CUT}"
