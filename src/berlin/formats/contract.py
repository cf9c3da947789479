"""The interface of a format: one dialect, encoded and decoded in both directions."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any, Protocol, TypeAlias, runtime_checkable

import msgspec

from berlin.errors import BerlinError
from berlin.formats.decoding import EventDecoder
from berlin.formats.encoding import EventEncoder
from berlin.language.step import CompiledStep
from berlin.types import ChatRequest, ChatResponse, HttpRequest, HttpResponse

Exchange: TypeAlias = Generator[HttpRequest, HttpResponse, HttpRequest]
"""The requests of one chat: yields preparing ones, takes responses, returns the chat's own."""


class ClientCall(msgspec.Struct, frozen=True):
    """The decoded request of a client.

    Attributes:
        stream: whether to stream the answer.
        include_usage: whether a stream includes the usage.
    """

    request: ChatRequest
    stream: bool = True
    include_usage: bool = False


class Format(Protocol):
    """Turns requests into bytes and bytes into events, and the reverse."""

    content_type: str
    """The content type of the streamed answer."""

    poll_s: float | None
    """Seconds between polls, for a service that is polled until its answer is complete."""

    def encode_request(self, request: ChatRequest) -> Exchange:
        """Return the requests, step by step. Raises InvalidRequestError."""
        ...

    def decoder(self) -> EventDecoder:
        """Return a decoder for one answer."""
        ...

    def describe_error(self, body: bytes) -> str:
        """Return the message in the body of an error response, in at most 300 characters."""
        ...

    def decode_request(self, body: bytes) -> ClientCall:
        """Decode a client's request. Raises InvalidRequestError."""
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
    """A format whose requests contain values of the login, such as a user id."""

    session_names: frozenset[str]
    """Those that it needs; empty if none."""

    prepare: list[CompiledStep]
    """The requests before the chat."""

    def encode_with(self, request: ChatRequest, session: Mapping[str, Any]) -> Exchange:
        """Return the requests, with values of the login. Raises InvalidRequestError."""
        ...
