"""The parts of an answer that say who gave it: headers, and the model's name in the body."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import TypeVar

import msgspec

from berlin.formats.contract import ClientCall, Format
from berlin.formats.embeddings.contract import EmbeddingCall
from berlin.formats.encoding import EventEncoder
from berlin.formats.responses.request import ResponsesCall
from berlin.gateway.catalog import Target
from berlin.gateway.observe.visit import Visit
from berlin.types import ChatResponse

MAX_HEADER_CHARS = 1000
COMMENT = b": keep-alive\n\n"
STREAM_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}

BeforeEnd = Callable[[], Awaitable[None]]

_Call = TypeVar("_Call", ClientCall, EmbeddingCall, ResponsesCall)


def with_model(call: _Call, target: Target) -> _Call:
    """Return a call with a model's name: an answer always names the requested model."""
    return call if call.request.model else _replace_model(call, target.full_name)


def _replace_model(call: _Call, model: str) -> _Call:
    request = msgspec.structs.replace(call.request, model=model)
    return msgspec.structs.replace(call, request=request)


class Head:
    """The beginning of the answer to one call. It is made once the answering provider is known.

    Args:
        format: the dialect of the answer.
        call: the client's request.
        target: the provider and model it names.
        visit: its record, which says who answers.
        before_end: awaited before the client of a stream hears of its end.
    """

    def __init__(
        self,
        format: Format,
        call: ClientCall,
        target: Target,
        visit: Visit,
        before_end: BeforeEnd | None = None,
    ) -> None:
        self.before_end = before_end
        self._format = format
        self._call = call
        self._target = target
        self._visit = visit
        self._encoder: EventEncoder | None = None

    def encoder(self) -> EventEncoder:
        """Return the encoder of the stream."""
        if self._encoder is None:
            self._encoder = self._format.encoder(self._named())
        return self._encoder

    def keep_alive(self, as_comment: bool) -> bytes:
        """Return what is sent in a silence: an empty piece, or a comment where there are any."""
        if as_comment and self._format.content_type.startswith("text/event-stream"):
            return COMMENT
        return self.encoder().keep_alive()

    def encode_response(self, answer: ChatResponse) -> bytes:
        """Return the body of a whole answer."""
        return self._format.encode_response(self._named(), answer)

    def headers(self) -> dict[str, str]:
        """Return the headers: who answered, after how many requests, and what was left out."""
        started, target = self._visit.started, self._target
        headers = {
            "x-berlin-model": printable(target.full_name.removesuffix(":")),
            "x-berlin-provider": printable(self._visit.answered_by or target.service.name),
            "x-berlin-attempts": str(started.attempts if started is not None else 1),
        }
        if started is not None and started.age_s is not None:
            headers["Age"] = str(int(started.age_s))
        if started is not None and started.dropped:
            headers["x-berlin-dropped"] = printable(", ".join(started.dropped), MAX_HEADER_CHARS)
        if self._call.stream:
            headers["Content-Type"] = self._format.content_type
            headers |= STREAM_HEADERS
        return headers

    def _named(self) -> ClientCall:
        """Return the call with the name of the model that answers, if others might have."""
        started = self._visit.started
        if started is None or not self._target.service.is_routed or not started.provider:
            return self._call
        return _replace_model(self._call, f"{started.provider}:{started.model}".removesuffix(":"))


@lru_cache
def printable(text: str, longest: int = 200) -> str:
    """Return text that is safe in a header."""
    return "".join(c if " " <= c <= "~" else "?" for c in text)[:longest]
