"""OpenAI's embeddings. Source: OpenAI's API reference, and what its clients send."""

from __future__ import annotations

import base64
import binascii
from typing import Any, Literal

import msgspec
from msgspec import UNSET, Raw, UnsetType

from berlin.errors import ProtocolError
from berlin.formats.client_request import check_model, decode_member, decode_typed
from berlin.formats.embeddings.contract import (
    EmbeddingCall,
    check_dimensions,
    check_vectors,
    pack,
    read_inputs,
)
from berlin.types.embeddings import EmbeddingRequest, Embeddings, vector_of
from berlin.types.http import HttpRequest
from berlin.types.usage import estimate_tokens
from berlin.wire.json import DECODE_ERRORS, encode_body, encode_line


class _Body(msgspec.Struct):
    input: Raw | UnsetType = UNSET
    model: str | UnsetType = UNSET
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: int | None = None


class _Item(msgspec.Struct):
    embedding: list[float] | str
    index: int | None = None


class _Answer(msgspec.Struct):
    data: list[_Item]
    usage: Any = None


_DECODE_ANSWER = msgspec.json.Decoder(_Answer).decode
_DECODER = msgspec.json.Decoder(_Body)


class OpenAIEmbeddings:
    """The dialect, both ways; see `EmbeddingFormat`."""

    path = "/embeddings"

    def encode_request(self, request: EmbeddingRequest, path: str) -> HttpRequest:
        """Return the request. Base64 is four times shorter; services without it send numbers."""
        document: dict[str, Any] = {
            "model": request.model,
            "input": list(request.inputs),
            "encoding_format": "base64",
        }
        if request.dimensions is not None:
            document["dimensions"] = request.dimensions
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        return HttpRequest("POST", path, headers, body=encode_body(document))

    def decode_response(self, body: bytes, count: int) -> Embeddings:
        """Decode a service's response. Raises ProtocolError."""
        try:
            answer = _DECODE_ANSWER(body)
            placed = sorted(
                enumerate(answer.data), key=lambda at: at[0] if at[1].index is None else at[1].index
            )
            vectors = [_read_vector(item.embedding) for _, item in placed]
        except (*DECODE_ERRORS, binascii.Error) as error:
            raise ProtocolError(f"the answer is not a list of embeddings: {error}") from error
        tokens = answer.usage.get("prompt_tokens") if isinstance(answer.usage, dict) else None
        return Embeddings(check_vectors(vectors, count), tokens if type(tokens) is int else None)

    def decode_request(self, body: bytes) -> EmbeddingCall:
        """Decode a client's request. Raises InvalidRequestError."""
        sent = decode_typed(body, _DECODER)
        given = None if sent.input is UNSET else decode_member(sent.input, "input")
        request = EmbeddingRequest(
            read_inputs(given, "input"),
            check_model(None if sent.model is UNSET else sent.model),
            check_dimensions(sent.dimensions),
        )
        return EmbeddingCall(request, sent.encoding_format == "base64")

    def encode_response(self, call: EmbeddingCall, answer: Embeddings) -> bytes:
        """Return the body of the answer to a call."""
        write = _write_base64 if call.base64 else vector_of
        data = [
            {"object": "embedding", "index": n, "embedding": write(vector)}
            for n, vector in enumerate(answer.vectors)
        ]
        tokens = answer.input_tokens
        usage: dict[str, Any] = {"prompt_tokens": tokens, "total_tokens": tokens}
        if tokens is None:
            guess = estimate_tokens(sum(map(len, call.request.inputs)))
            usage = {"prompt_tokens": guess, "total_tokens": guess, "estimated": True}
        fields = {"object": "list", "data": data, "model": call.request.model, "usage": usage}
        return encode_line(fields)


def _read_vector(value: list[float] | str) -> bytes:
    if isinstance(value, list):
        return pack(value)
    data = base64.b64decode(value, validate=True)
    if len(data) % 4:
        raise ProtocolError("a vector is not made of 32-bit numbers")
    return data


def _write_base64(vector: bytes) -> str:
    return base64.b64encode(vector).decode()
