"""The parts of an answer that say who gave it: headers, and the model's name in the body."""

from __future__ import annotations

from functools import lru_cache
from typing import TypeVar

import msgspec

from berlin.formats.contract import ClientCall, EventEncoder, Format
from berlin.formats.embeddings.contract import EmbeddingCall
from berlin.formats.responses.request import ResponsesCall
from berlin.gateway.catalog import Target
from berlin.types import ChatResponse, Started

MAX_HEADER_CHARS = 1000


_Call = TypeVar("_Call", ClientCall, EmbeddingCall, ResponsesCall)


def with_model(call: _Call, target: Target) -> _Call:
    """Return a call with a model's name: an answer always names the requested model."""
    if call.request.model:
        return call
    request = msgspec.structs.replace(call.request, model=target.full_name)
    return msgspec.structs.replace(call, request=request)


class Head:
    """The beginning of the answer to one call. It is made once the answering provider is known.

    Args:
        format: the dialect of the answer.
        call: the client's request.
        target: the provider and model it names.
    """

    def __init__(self, format: Format, call: ClientCall, target: Target) -> None:
        self._format = format
        self._call = call
        self._target = target

    def encoder(self, started: Started | None) -> EventEncoder:
        """Return an encoder for the stream."""
        return self._format.encoder(self._named(started))

    def encode_response(self, answer: ChatResponse) -> bytes:
        """Return the body of a whole answer."""
        return self._format.encode_response(self._named(answer.started), answer)

    def headers(self, started: Started | None) -> dict[str, str]:
        """Return the headers that name the requested model and the provider that answered."""
        asked = self._target.full_name.removesuffix(":")
        headers = {"x-berlin-model": printable(asked)}
        headers |= headers_of_start(started, self._target.service.name)
        if self._call.stream:
            headers["Content-Type"] = self._format.content_type
        return headers

    def _named(self, started: Started | None) -> ClientCall:
        """Return the call with the name of the model that answers, if others might have."""
        if started is None or not self._target.service.is_routed or not started.provider:
            return self._call
        name = f"{started.provider}:{started.model}".removesuffix(":")
        request = msgspec.structs.replace(self._call.request, model=name)
        return msgspec.structs.replace(self._call, request=request)


def headers_of_start(started: Started | None, asked: str) -> dict[str, str]:
    """Return the headers for who answered, after how many requests, and what was left out.

    Args:
        started: the `Started` event, if any.
        asked: the name of the requested provider.
    """
    if started is None:
        return {"x-berlin-provider": printable(asked), "x-berlin-attempts": "1"}
    headers = {
        "x-berlin-provider": printable(started.provider or asked),
        "x-berlin-attempts": str(started.attempts),
    }
    if started.age_s is not None:
        headers["Age"] = str(int(started.age_s))
    if started.dropped:
        headers["x-berlin-dropped"] = printable(", ".join(started.dropped), MAX_HEADER_CHARS)
    return headers


@lru_cache
def printable(text: str, longest: int = 200) -> str:
    """Return text that is safe in a header."""
    return "".join(c if " " <= c <= "~" else "?" for c in text)[:longest]
