"""The base of the embeddings dialects."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from array import array
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import msgspec
from msgspec import UNSET, Raw, UnsetType

from berlin.errors import InvalidRequestError, ProtocolError
from berlin.formats.client_request import check_model, decode_member, decode_typed
from berlin.types.embeddings import EmbeddingRequest, Embeddings
from berlin.types.http import HttpRequest
from berlin.types.usage import estimate_tokens
from berlin.wire.json import encode_body, encode_line

MAX_INPUTS = 10_000
MAX_DIMENSIONS = 65_536
# Of a service's answer: a vector of 3,072 numbers as text has 64 KiB.
VECTOR_BYTES = 64 * 1024
MAX_ANSWER_BYTES = 2048 * VECTOR_BYTES


class EmbeddingCall(msgspec.Struct, frozen=True):
    """The decoded request of a client.

    Attributes:
        request: the inputs and the model.
        base64: whether vectors are to be written in base64, not as lists of numbers.
    """

    request: EmbeddingRequest
    base64: bool = False


class EmbeddingBody(msgspec.Struct):
    """The members of a request that both dialects have."""

    input: Raw | UnsetType = UNSET
    model: str | UnsetType = UNSET
    dimensions: int | None = None
    encoding_format: Any = None


class EmbeddingFormat(ABC):
    """Turns requests for embeddings into bytes and responses into vectors, and the reverse.

    Attributes:
        path: the path below the endpoint's URL.
        may_be_empty: whether a client may send no input: it loads the model, and gets no vectors.
        always: members of every request.
        body: decodes a client's request.
    """

    path: ClassVar[str]
    may_be_empty: ClassVar[bool] = False
    always: ClassVar[Mapping[str, Any]] = {}
    body: ClassVar[msgspec.json.Decoder[Any]] = msgspec.json.Decoder(EmbeddingBody)

    def encode_request(self, request: EmbeddingRequest, path: str) -> HttpRequest:
        """Return the request. Raises InvalidRequestError."""
        document = {"model": request.model, "input": list(request.inputs), **self.always}
        if request.dimensions is not None:
            document["dimensions"] = request.dimensions
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        return HttpRequest("POST", path, headers, body=encode_body(document))

    @abstractmethod
    def decode_response(self, body: bytes, count: int) -> Embeddings:
        """Decode a service's response to this many inputs. Raises ProtocolError."""

    def decode_request(self, body: bytes) -> EmbeddingCall:
        """Decode a client's request. Raises InvalidRequestError."""
        sent = decode_typed(body, self.body)
        inputs = self.read_inputs(decode_member(sent.input, "input"), "input")
        size = check_dimensions(sent.dimensions)
        request = EmbeddingRequest(inputs, check_model(sent.model), size)
        return EmbeddingCall(request, sent.encoding_format == "base64")

    def read_inputs(self, given: Any, param: str) -> tuple[str | tuple[int, ...], ...]:
        """Return the inputs that a client sent. Raises InvalidRequestError."""
        return () if self.may_be_empty and not given else read_inputs(given, param)

    @abstractmethod
    def encode_response(self, call: EmbeddingCall, answer: Embeddings) -> bytes:
        """Return the body of the answer to a call."""


def estimated_tokens(call: EmbeddingCall) -> int:
    """Return about how many tokens the inputs have, where the service does not say it."""
    return estimate_tokens(sum(map(len, call.request.inputs)))


def encode_each(values: Iterable[Any]) -> Raw:
    """Return a list as JSON; each of its values is encoded alone, so that other threads get their
    turn in between.
    """
    return Raw(b"[%b]" % b",".join(map(encode_line, values)))


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
