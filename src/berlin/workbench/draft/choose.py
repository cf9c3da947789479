"""Chooses the chat among all requests that a browser sent, and the request that has its answer."""

from __future__ import annotations

from collections.abc import Sequence

from berlin.errors import BerlinError, ConfigurationError
from berlin.workbench.draft.answer import guess_answer
from berlin.workbench.draft.documents import cut_answer, find_known
from berlin.workbench.draft.follow import Issued, carried_by, made_by_client
from berlin.workbench.draft.leaves import said_as
from berlin.workbench.draft.request import find_prompt
from berlin.workbench.draft.sources.captured import Exchange
from berlin.workbench.draft.sources.frames import chat_on_socket


def find_chat(exchanges: list[Exchange], prompt: str | None) -> int:
    """Return the index of the chat: it carries the prompt, and has the longest answer.

    A chat on a WebSocket takes the place of the exchange that opened the socket. If no request
    carries the prompt, the likeliest is chosen, for a draft that says so.

    Raises:
        ConfigurationError: if there are no requests.
    """
    if not exchanges:
        raise ConfigurationError("there are no requests in the file: save it after a chat")
    on_socket = chat_on_socket(exchanges, prompt)
    found = [n for n, exchange in enumerate(exchanges) if _is_chat(exchange, prompt)]

    def has_text(n: int) -> bool:
        return _is_read(exchanges[find_answer(exchanges, n, prompt or "")], prompt or "")

    def rank(n: int) -> tuple[bool, bool, bool, int]:
        exchange = exchanges[n]
        # Titles and suggestions are made of the prompt too, but not piece by piece.
        is_post = exchange.request.method == "POST"
        return has_text(n), is_post, not _is_one(exchange), len(exchange.answer)

    if on_socket is not None and not any(map(has_text, found)):
        at, exchanges[on_socket[0]] = on_socket
        return at
    found = found or [n for n, exchange in enumerate(exchanges) if _is_chat(exchange, None)]
    return max(found or range(len(exchanges)), key=rank)


def find_answer(exchanges: Sequence[Exchange], chat: int, prompt: str) -> int:
    """Return the index of the exchange with the answer to a chat.

    That is the chat, unless its response issued an id (a ticket, a URL) that a later request
    carries, or both carry an id that the client made, and the text is in the later response.
    """
    own = exchanges[chat]
    is_read = _is_read(own, prompt)
    if is_read and not _is_one(own):
        return chat
    issued = Issued([own])
    origins = frozenset({own.request.origin})
    later = [
        n
        for n in range(chat + 1, len(exchanges))
        if (
            any(issued.find(carried, 1, origins) for carried in carried_by(exchanges[n].request))
            or made_by_client(carried_by(e.request) for e in (own, exchanges[n]))
        )
        and _is_read(exchanges[n], prompt)
        and not (is_read and _is_one(exchanges[n]))
    ]
    return max(later, key=lambda n: len(exchanges[n].answer), default=chat)


def find_polls(exchanges: Sequence[Exchange], at: int) -> list[Exchange]:
    """Return all exchanges that asked the same as one of them, for a service that is polled."""
    request = exchanges[at].request
    return [
        exchange
        for exchange in exchanges
        if (exchange.request.method, exchange.request.url) == (request.method, request.url)
        and isinstance(exchange.document(), dict)
    ]


def _is_read(exchange: Exchange, prompt: str) -> bool:
    if not 200 <= exchange.status < 300:
        return False
    try:
        guess_answer(exchange.answer, prompt)
    except BerlinError:
        return find_known(exchange) is not None
    return True


def _is_one(exchange: Exchange) -> bool:
    try:
        return cut_answer(exchange.answer).framing.is_single
    except BerlinError:
        return False


def _is_chat(exchange: Exchange, prompt: str | None) -> bool:
    request = exchange.request
    if not (200 <= exchange.status < 300 or not exchange.status) or request.method == "OPTIONS":
        return False
    try:
        if prompt is None:
            return bool(find_prompt(request)) and request.method == "POST"
    except BerlinError:
        return False
    return bool(said_as(prompt, request.texts()))
