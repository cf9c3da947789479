"""Ollama's embeddings: `/api/embed`, and the older `/api/embeddings` for serving only."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw

from berlin.errors import InvalidRequestError, ProtocolError
from berlin.formats.client_request import check_model, decode_typed
from berlin.formats.embeddings.contract import (
    EmbeddingCall,
    EmbeddingFormat,
    check_vectors,
    encode_each,
    estimated_tokens,
    pack,
)
from berlin.types.embeddings import EmbeddingRequest, Embeddings, vector_of
from berlin.types.http import HttpRequest
from berlin.wire.json import DECODE_ERRORS, encode_line


class _OldBody(msgspec.Struct):
    model: str = ""
    prompt: str | None = None


class _Answer(msgspec.Struct):
    embeddings: list[Raw]
    prompt_eval_count: Any = None


_OLD_BODY = msgspec.json.Decoder(_OldBody)
_DECODE_ANSWER = msgspec.json.Decoder(_Answer).decode
_DECODE_VECTOR = msgspec.json.Decoder(list[float]).decode


class OllamaEmbeddings(EmbeddingFormat):
    """The dialect, both ways; see `EmbeddingFormat`."""

    path = "/api/embed"
    may_be_empty = True

    def encode_request(self, request: EmbeddingRequest, path: str) -> HttpRequest:
        """Return the request. Raises InvalidRequestError."""
        if not all(isinstance(text, str) for text in request.inputs):
            raise InvalidRequestError.about("input", "must be text: this service takes no tokens")
        return super().encode_request(request, path)

    def decode_response(self, body: bytes, count: int) -> Embeddings:
        """Decode a service's response. Raises ProtocolError."""
        try:
            answer = _DECODE_ANSWER(body)
            packed = [pack(_DECODE_VECTOR(vector)) for vector in answer.embeddings]
        except DECODE_ERRORS as error:
            raise ProtocolError(f"the answer is not a list of embeddings: {error}") from error
        vectors = check_vectors(packed, count)
        tokens = answer.prompt_eval_count
        return Embeddings(vectors, tokens if type(tokens) is int else None)

    def encode_response(self, call: EmbeddingCall, answer: Embeddings) -> bytes:
        """Return the body of the answer to a call."""
        tokens = answer.input_tokens
        if tokens is None:
            tokens = estimated_tokens(call)
        fields = {
            "model": call.request.model,
            "embeddings": encode_each(map(vector_of, answer.vectors)),
            "total_duration": 0,
            "load_duration": 0,
            "prompt_eval_count": tokens,
        }
        return encode_line(fields)


class OllamaOldEmbeddings(OllamaEmbeddings):
    """`/api/embeddings`, for serving only: one prompt, one vector."""

    def decode_request(self, body: bytes) -> EmbeddingCall:
        """Decode a client's request. Raises InvalidRequestError."""
        sent = decode_typed(body, _OLD_BODY)
        inputs = self.read_inputs(sent.prompt, "prompt")
        return EmbeddingCall(EmbeddingRequest(inputs, check_model(sent.model)))

    def encode_response(self, call: EmbeddingCall, answer: Embeddings) -> bytes:
        """Return the body of the answer to a call."""
        vectors = [*map(vector_of, answer.vectors), []]
        return encode_line({"embedding": vectors[0]})
