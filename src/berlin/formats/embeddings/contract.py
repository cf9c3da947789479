"""The interface of an embeddings dialect, and what the dialects share."""

from __future__ import annotations

import sys
from array import array
from typing import Any, Protocol

import msgspec

from berlin.errors import InvalidRequestError, ProtocolError
from berlin.types.embeddings import EmbeddingRequest, Embeddings
from berlin.types.http import HttpRequest

MAX_INPUTS = 10_000
MAX_DIMENSIONS = 65_536


class EmbeddingCall(msgspec.Struct, frozen=True):
    """The decoded request of a client.

    Attributes:
        request: the inputs and the model.
        base64: whether vectors are to be written in base64, not as lists of numbers.
    """

    request: EmbeddingRequest
    base64: bool = False


class EmbeddingFormat(Protocol):
    """Turns requests for embeddings into bytes and responses into vectors, and the reverse."""

    path: str
    """The path below the endpoint's URL."""

    def encode_request(self, request: EmbeddingRequest, path: str) -> HttpRequest:
        """Return the request. Raises InvalidRequestError."""
        ...

    def decode_response(self, body: bytes, count: int) -> Embeddings:
        """Decode a service's response to this many inputs. Raises ProtocolError."""
        ...

    def decode_request(self, body: bytes) -> EmbeddingCall:
        """Decode a client's request. Raises InvalidRequestError."""
        ...

    def encode_response(self, call: EmbeddingCall, answer: Embeddings) -> bytes:
        """Return the body of the answer to a call."""
        ...


def pack(values: list[float]) -> bytes:
    """Return a vector. Raises ProtocolError for invalid numbers."""
    try:
        vector = array("f", values)
    except (OverflowError, TypeError) as error:
        raise ProtocolError(f"a vector contains something that is not a number: {error}") from error
    if sys.byteorder == "big":
        vector.byteswap()
    return vector.tobytes()


def check_vectors(vectors: list[bytes], count: int) -> tuple[bytes, ...]:
    """Check that there are as many vectors as inputs, and return them. Raises ProtocolError."""
    if len(vectors) != count or len({len(vector) for vector in vectors}) > 1:
        raise ProtocolError(
            f"the service answers with {len(vectors)} vectors to {count} inputs, "
            "or with vectors of different lengths"
        )
    return tuple(vectors)


def read_inputs(given: Any, param: str) -> tuple[str | tuple[int, ...], ...]:
    """Return the inputs that a client sent. Raises InvalidRequestError."""
    items = given if isinstance(given, list) else [given]
    if items and all(_is_token(item) for item in items):
        items = [items]
    if len(items) > MAX_INPUTS:
        raise InvalidRequestError.about(param, f"more than {MAX_INPUTS} inputs")
    inputs: list[str | tuple[int, ...]] = []
    for item in items:
        if isinstance(item, str) and item:
            inputs.append(item)
        elif isinstance(item, list) and item and all(map(_is_token, item)):
            inputs.append(tuple(item))
        else:
            raise InvalidRequestError.about(
                param, "must be text that is not empty, or a list of it"
            )
    if not inputs:
        raise InvalidRequestError.about(param, "is empty: give at least one text")
    return tuple(inputs)


def check_dimensions(value: int | None) -> int | None:
    """Return the requested length of vectors. Raises InvalidRequestError."""
    if value is not None and not 1 <= value <= MAX_DIMENSIONS:
        raise InvalidRequestError.about("dimensions", f"must be from 1 to {MAX_DIMENSIONS}")
    return value


def _is_token(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
