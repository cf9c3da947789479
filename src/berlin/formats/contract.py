"""The contract of a format: one dialect, read and written from both ends."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any, Protocol, TypeAlias, runtime_checkable

import msgspec

from berlin.errors import BerlinError
from berlin.language.step import CompiledStep
from berlin.types import ChatRequest, ChatResponse, HttpRequest, HttpResponse, StreamEvent

Exchange: TypeAlias = Generator[HttpRequest, HttpResponse, HttpRequest]
"""What is sent for one chat: yields the requests that prepare it, takes the whole answer of each,
and returns the request whose answer streams."""


class EventDecoder(Protocol):
    """Turns the bytes of one answer into events, whatever the reads look like."""

    failure: BerlinError | None
    """Why the answer is bad, once that is known. The events returned before are good."""

    done: bool
    """Whether the answer is whole, so that nothing more has to be read."""

    def feed(self, data: bytes) -> list[StreamEvent]:
        """Take the next bytes and return the events that they complete."""
        ...

    def finish(self) -> list[StreamEvent]:
        """Take the end of the answer and return the last events."""
        ...


class EventEncoder(Protocol):
    """Turns the events of one answer into bytes."""

    def encode_event(self, event: StreamEvent) -> bytes:
        """Return the bytes of one event; for the first and the last, also what stands around."""
        ...

    def encode_error(self, error: BerlinError) -> bytes:
        """Return the bytes that tell of an error after the answer has begun."""
        ...

    def keep_alive(self) -> bytes:
        """Return bytes that mean nothing, for a client that waits; `b""` if there are none."""
        ...


class ClientCall(msgspec.Struct, frozen=True):
    """What a client of a format asks for.

    Attributes:
        request: the chat.
        stream: whether the answer is to come in pieces, or whole.
        include_usage: whether a stream is to tell what the answer has cost.
    """

    request: ChatRequest
    stream: bool = True
    include_usage: bool = False


class Format(Protocol):
    """How a request becomes bytes and bytes become events, and the other way round."""

    content_type: str
    """Of the streamed answer."""

    poll_s: float | None
    """Seconds between two questions, if the service is asked until its answer is whole."""

    def encode_request(self, request: ChatRequest) -> Exchange:
        """Return what is sent, step by step. Raises InvalidRequestError."""
        ...

    def decoder(self) -> EventDecoder:
        """Return a decoder for one answer."""
        ...

    def describe_error(self, body: bytes) -> str:
        """Return what the body of an error answer says, in at most 300 characters."""
        ...

    def decode_request(self, body: bytes) -> ClientCall:
        """Return what a client sent. Raises InvalidRequestError."""
        ...

    def encoder(self, call: ClientCall) -> EventEncoder:
        """Return an encoder for the streamed answer to a call."""
        ...

    def encode_response(self, call: ClientCall, response: ChatResponse) -> bytes:
        """Return the body of the whole answer to a call."""
        ...

    def encode_error(self, error: BerlinError) -> bytes:
        """Return the body of an answer that is an error."""
        ...


@runtime_checkable
class SessionFormat(Format, Protocol):
    """A format whose requests hold values of the login, such as an id of the user."""

    session_names: frozenset[str]
    """Those that it needs; empty if none."""

    prepare: list[CompiledStep]
    """The requests before the chat."""

    def encode_with(self, request: ChatRequest, session: Mapping[str, Any]) -> Exchange:
        """Return what is sent, with values of the login. Raises InvalidRequestError."""
        ...
