"""Formats driven by hand."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import msgspec
import pytest

from berlin.errors import BerlinError, InvalidRequestError
from berlin.formats.contract import ClientCall, Format
from berlin.providers.contract import Provider
from berlin.types import (
    Accumulator,
    ChatRequest,
    ChatResponse,
    HttpRequest,
    HttpResponse,
    StreamEvent,
)
from support.bare import bare, bare_request


def sent(chat: Format, request: ChatRequest, *answers: HttpResponse) -> HttpRequest:
    """Return the request that streams, after these answers to those that prepare it."""
    exchange = chat.encode_request(request)
    try:
        next(exchange)
        for answer in answers:
            exchange.send(answer)
    except StopIteration as done:
        last: HttpRequest = done.value
        return last
    raise AssertionError("more requests prepare the chat than there are answers")


def body_of(chat: Format, request: ChatRequest) -> dict[str, Any]:
    """Return the JSON body of the request that streams."""
    document = json.loads(sent(chat, request).body)
    assert isinstance(document, dict)
    return document


def decoded(chat: Format, data: bytes) -> tuple[list[StreamEvent], BerlinError | None]:
    """Return the events of an answer, and why it is bad; the same for every byte alone."""
    outcomes = []
    for size in (len(data) or 1, 1):
        decoder = chat.decoder()
        reads = [data[n : n + size] for n in range(0, len(data), size)]
        events = [event for read in reads for event in decoder.feed(read)]
        outcomes.append((bare(events + decoder.finish()), decoder.failure))
    (whole, failure), (bytewise, other) = outcomes
    assert bytewise == whole
    assert (type(other), str(other)) == (type(failure), str(failure))
    return whole, failure


def fold(events: Iterable[StreamEvent]) -> ChatResponse:
    """Return the answer that events make."""
    answer = Accumulator()
    for event in events:
        answer.add(event)
    return answer.response()


async def answered(provider: Provider, request: ChatRequest) -> ChatResponse:
    """Return the answer of a provider."""
    return fold([event async for burst in provider.bursts(request) for event in burst])


def asked(chat: Format, **members: Any) -> ClientCall:
    """Return what a client's request with these members asks for, without extras."""
    body = {"model": "m", "messages": [{"role": "user", "content": "Hello"}], **members}
    call = chat.decode_request(json.dumps(body).encode())
    return msgspec.structs.replace(call, request=bare_request(call.request))


def refused(chat: Format, body: Any) -> InvalidRequestError:
    """Return the error that a client's request is."""
    with pytest.raises(InvalidRequestError) as raised:
        chat.decode_request(body if isinstance(body, bytes) else json.dumps(body).encode())
    return raised.value
