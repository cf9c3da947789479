"""OpenAI's embeddings. Source: OpenAI's API reference, and what its clients send."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import msgspec
from msgspec import Raw

from berlin.errors import ProtocolError
from berlin.formats.embeddings.contract import (
    EmbeddingBody,
    EmbeddingCall,
    EmbeddingFormat,
    check_vectors,
    encode_each,
    estimated_tokens,
    pack,
)
from berlin.types.embeddings import Embeddings, vector_of
from berlin.wire.json import DECODE_ERRORS, encode_line


class _Body(EmbeddingBody):
    encoding_format: Literal["float", "base64"] | None = None


class _Item(msgspec.Struct):
    embedding: list[float] | str
    index: int | None = None


class _Answer(msgspec.Struct):
    data: list[Raw]
    usage: Any = None


_DECODE_ANSWER = msgspec.json.Decoder(_Answer).decode
_DECODE_ITEM = msgspec.json.Decoder(_Item).decode


class OpenAIEmbeddings(EmbeddingFormat):
    """The dialect, both ways. Base64 is four times shorter; services without it send numbers."""

    path = "/embeddings"
    always: ClassVar[Mapping[str, Any]] = {"encoding_format": "base64"}
    body = msgspec.json.Decoder(_Body)

    def decode_response(self, body: bytes, count: int) -> Embeddings:
        """Decode a service's response. Raises ProtocolError."""
        try:
            answer = _DECODE_ANSWER(body)
            placed = sorted(_read_item(n, raw) for n, raw in enumerate(answer.data))
            vectors = [vector for _, _, vector in placed]
        except (*DECODE_ERRORS, binascii.Error) as error:
            raise ProtocolError(f"the answer is not a list of embeddings: {error}") from error
        tokens = answer.usage.get("prompt_tokens") if isinstance(answer.usage, dict) else None
        return Embeddings(check_vectors(vectors, count), tokens if type(tokens) is int else None)

    def encode_response(self, call: EmbeddingCall, answer: Embeddings) -> bytes:
        """Return the body of the answer to a call."""
        # As JSON, bytes are their base64.
        vectors = answer.vectors if call.base64 else map(vector_of, answer.vectors)
        data = encode_each(
            {"object": "embedding", "index": n, "embedding": vector}
            for n, vector in enumerate(vectors)
        )
        tokens = answer.input_tokens
        usage: dict[str, Any] = {"prompt_tokens": tokens, "total_tokens": tokens}
        if tokens is None:
            guess = estimated_tokens(call)
            usage = {"prompt_tokens": guess, "total_tokens": guess, "estimated": True}
        fields = {"object": "list", "data": data, "model": call.request.model, "usage": usage}
        return encode_line(fields)


def _read_item(n: int, raw: Raw) -> tuple[int, int, bytes]:
    """Return the place of a vector, its place in the answer, and the vector."""
    item: _Item = _DECODE_ITEM(raw)
    return n if item.index is None else item.index, n, _read_vector(item.embedding)


def _read_vector(value: list[float] | str) -> bytes:
    if isinstance(value, list):
        return pack(value)
    data = base64.b64decode(value, validate=True)
    if len(data) % 4:
        raise ProtocolError("a vector is not made of 32-bit numbers")
    return data
