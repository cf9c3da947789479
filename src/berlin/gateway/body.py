"""Reads the body of a client's request, with limits on size, time and total memory."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Hashable

from aiohttp.streams import EMPTY_PAYLOAD

from berlin.errors import OverloadedError
from berlin.gateway import web
from berlin.gateway.refusals import HttpFault

MAX_BODY_BYTES = 20 * 1024 * 1024
MAX_LOGIN_BYTES = 64 * 1024
BODY_TIMEOUT_S = 30.0

# Bytes held at any time: per authenticated client, and for all others together.
CLIENT_BYTES = 256 * 1024 * 1024
STRANGERS_BYTES = 32 * 1024 * 1024
# Smaller bodies are not counted: the number of connections bounds them.
UNCOUNTED_BYTES = 64 * 1024
RETRY_AFTER_S = 2.0

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_NO_JSON = ("text/", "multipart/", "application/x-www-form-urlencoded", "application/xml")


class BodyBudget:
    """Counts the bytes of bodies in memory, per client and for all unauthenticated clients.

    Args:
        client_bytes: per client with a valid key or token, or, if no key is needed, per address.
        strangers_bytes: for all others together.
    """

    def __init__(
        self, client_bytes: int = CLIENT_BYTES, strangers_bytes: int = STRANGERS_BYTES
    ) -> None:
        self._client_bytes = client_bytes
        self._strangers_bytes = strangers_bytes
        self._held: Counter[Hashable] = Counter()

    def held(self, client: Hashable) -> int:
        """Return how many bytes are held for a client; `None` for all unauthenticated clients."""
        return self._held[client]

    def take(self, client: Hashable, size: int) -> None:
        """Count bytes for a client; `None` for an unauthenticated client.

        Raises:
            OverloadedError: if its budget is used up; nothing was counted.
        """
        limit = self._strangers_bytes if client is None else self._client_bytes
        if self._held[client] + size > limit:
            raise OverloadedError(
                f"too many large requests: {limit} bytes are being read already; try again",
                retry_after=RETRY_AFTER_S,
            )
        self._held[client] += size

    def give_back(self, client: Hashable, size: int) -> None:
        """Release bytes."""
        self._held[client] -= size
        if self._held[client] <= 0:
            del self._held[client]


class Bodies:
    """Reads bodies; their bytes are counted until the request is released.

    Args:
        budget: the memory budget.
        timeout_s: seconds that a body may take to arrive.
    """

    def __init__(self, budget: BodyBudget | None = None, timeout_s: float = BODY_TIMEOUT_S) -> None:
        self.budget = budget or BodyBudget()
        self._timeout_s = timeout_s

    async def read(self, request: web.Request, client: Hashable) -> bytes:
        """Return the body of a client that has already been authenticated.

        Raises:
            HttpFault: if it is declared as a form, text, or compressed, is longer than
                `MAX_BODY_BYTES`, or does not arrive in time; aiohttp itself waits forever.
            OverloadedError: if the client's budget is used up.
        """
        _check_kind(request)
        if request.content.is_eof() and (request.content_length or 0) <= UNCOUNTED_BYTES:
            return _take_arrived(request)
        _check_length(request.content_length or 0, MAX_BODY_BYTES)
        # Reserve the whole announced length: partly read bodies could wait for each other.
        return await self._read(request, client, request.content_length or 0, MAX_BODY_BYTES)

    async def read_login(self, request: web.Request) -> bytes:
        """Return the body of a client that is not authenticated yet. Raises as `read` does."""
        _check_kind(request)
        _check_length(request.content_length or 0, MAX_LOGIN_BYTES)
        if request.content.is_eof() and request.content_length is not None:
            # Strangers who do not send theirs cannot keep it out by using up the budget.
            return _take_arrived(request)
        return await self._read(request, None, MAX_LOGIN_BYTES, MAX_LOGIN_BYTES)

    def release(self, request: web.Request) -> None:
        """Stop counting the body of a request that has ended."""
        if request.held is not None:
            self.budget.give_back(*request.held)

    async def _read(
        self, request: web.Request, client: Hashable, announced: int, limit: int
    ) -> bytes:
        self.budget.take(client, announced)
        request.held = client, announced
        pieces, size = [], 0
        if request.headers.get("Expect", "").lower() == "100-continue":
            # Only now: a client whose request is refused need not send it.
            await request.writer.write(_CONTINUE)
        try:
            async with asyncio.timeout(self._timeout_s):
                while piece := await request.content.readany():
                    size += len(piece)
                    _check_length(size, limit)
                    if size > announced:
                        self.budget.take(client, size - announced)
                        announced = size
                        request.held = client, size
                    pieces.append(piece)
        except TimeoutError as error:
            raise HttpFault(408) from error
        return b"".join(pieces)


def _take_arrived(request: web.Request) -> bytes:
    """Return a body that arrived with the head, as nearly all do, and forget it with its buffer."""
    content = request.content
    body = b"" if content is EMPTY_PAYLOAD else b"".join(content._buffer)
    request._payload = EMPTY_PAYLOAD
    request._cache.clear()  # it has the buffer too
    return body


def _check_kind(request: web.Request) -> None:
    # A web page can make a browser send forms and text anywhere without a CORS preflight.
    is_json = request.headers.get("Content-Type") == "application/json"  # nearly all
    if not is_json and request.content_type.startswith(_NO_JSON) and not _is_curl(request):
        raise HttpFault(415)
    encoding = request.headers.get("Content-Encoding", "identity").lower()
    if encoding not in ("", "identity"):
        raise HttpFault(415, "send the body as it is: no Content-Encoding is supported")


def _is_curl(request: web.Request) -> bool:
    """Return whether this is what `curl -d` sends to Ollama, as its documentation's examples do.

    A browser that posts a form sends the page's origin.
    """
    is_form = request.content_type == "application/x-www-form-urlencoded"
    is_ollama = request.visit.face == "ollama"
    return is_form and is_ollama and not any(name in request.headers for name in _OF_BROWSERS)


_OF_BROWSERS = ("Origin", "Referer", "Sec-Fetch-Site", "Sec-Fetch-Mode", "Cookie")


def _check_length(size: int, limit: int) -> None:
    if size > limit:
        raise HttpFault(413)
