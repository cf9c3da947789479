"""Formats driven by hand."""

from __future__ import annotations

from berlin.formats.contract import Format
from berlin.types import ChatRequest, HttpRequest, HttpResponse


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
