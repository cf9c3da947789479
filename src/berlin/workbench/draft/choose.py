"""Chooses the chat among all requests that a browser sent, and the request that has its answer."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from berlin.errors import BerlinError, ConfigurationError
from berlin.workbench.draft.answer import guess_answer
from berlin.workbench.draft.documents import cut_answer, find_known
from berlin.workbench.draft.follow import Issued, carried_by, links_in
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
    session = Session(exchanges, prompt or "")
    found = [n for n, exchange in enumerate(exchanges) if _is_chat(exchange, prompt)]

    def has_text(n: int) -> bool:
        return session.is_read(session.answer(n))

    def rank(n: int) -> tuple[bool, bool, bool, int]:
        exchange = exchanges[n]
        # Titles and suggestions are made of the prompt too, but not piece by piece.
        is_post = exchange.request.method == "POST"
        return has_text(n), is_post, not session.is_one(n), len(exchange.answer)

    on_socket = chat_on_socket(exchanges, prompt)
    if on_socket is not None and not any(map(has_text, found)):
        at, exchanges[on_socket[0]] = on_socket
        return at
    found = found or [n for n, exchange in enumerate(exchanges) if _is_chat(exchange, None)]
    return max(found or range(len(exchanges)), key=rank)


class Session:
    """The exchanges of a session, each examined only once: a file may have thousands."""

    def __init__(self, exchanges: Sequence[Exchange], prompt: str) -> None:
        self._exchanges = exchanges
        self.is_read = cache(lambda n: _is_read(exchanges[n], prompt))
        self.is_one = cache(lambda n: _is_one(exchanges[n]))
        self._carried = cache(lambda n: tuple(carried_by(exchanges[n].request)))
        self._links = cache(lambda n: links_in(self._carried(n)).keys())

    def answer(self, chat: int) -> int:
        """Return the index of the exchange with the answer to a chat.

        That is the chat, unless its response issued an id (a ticket, a URL) that a later request
        carries, or both carry an id that the client made, and the text is in the later response.
        """
        is_read = self.is_read(chat)
        if is_read and not self.is_one(chat):
            return chat
        own = self._exchanges[chat]
        issued, origins = Issued([own]), frozenset({own.request.origin})
        later = [
            n
            for n in range(chat + 1, len(self._exchanges))
            if (
                self._links(chat) & self._links(n)
                or any(issued.find(carried, 1, origins) for carried in self._carried(n))
            )
            and self.is_read(n)
            and not (is_read and self.is_one(n))
        ]
        return max(later, key=lambda n: len(self._exchanges[n].answer), default=chat)


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
