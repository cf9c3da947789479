"""Sends captured requests again, to learn the answers that a file lacks."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from berlin.recipes.build import USER_AGENT
from berlin.transport import Transport
from berlin.types import Endpoint, HttpRequest, HttpResponse, Secret
from berlin.workbench.draft.keys import tokens_in
from berlin.workbench.draft.leaves import leaves
from berlin.workbench.draft.sources.captured import Captured, Exchange

CONNECT_S = 10.0
# The library writes these itself; a compressed answer in a form it does not know is of no use.
_OWN = frozenset({"host", "content-length", "connection", "accept-encoding", "transfer-encoding"})
_REFUSED = frozenset({301, 302, 303, 401, 403})


async def send(request: Captured, *, allow_http: bool = False) -> Exchange:
    """Send a request to where it was sent, and return it with its response. Raises BerlinError."""
    endpoint = Endpoint.of(request.origin, allow_http=allow_http)
    headers: dict[str, str | Secret] = {
        name: Secret(value)
        for name, value in request.headers
        if not name.startswith(":") and name.lower() not in _OWN
    }
    transport = Transport(endpoint, USER_AGENT)
    path = request.url.removeprefix(request.origin)
    try:
        call = HttpRequest(request.method, path, headers, {}, request.body, is_found=True)
        answer = await transport.open(call, CONNECT_S)
        try:
            return _exchange(request, await answer.whole())
        finally:
            answer.close()
    finally:
        await transport.aclose()


async def send_chat(
    chat: Captured, before: Sequence[Exchange], *, allow_http: bool = False
) -> Exchange:
    """Send a chat after a login that was just sent: with the login's tokens in place of its own.

    Raises:
        BerlinError: if there is no response.
    """
    renewed = _renewed(chat, before)
    if renewed != chat:
        exchange = await send(renewed, allow_http=allow_http)
        if exchange.status not in _REFUSED:
            return exchange
    return await send(chat, allow_http=allow_http)


def _renewed(chat: Captured, before: Sequence[Exchange]) -> Captured:
    """Return a chat with the values that a new login issued instead of the old ones."""
    cookies = {name: value for exchange in before for name, value in exchange.cookies.items()}
    changed = {
        old: cookies[name]
        for name, old in chat.cookies.items()
        if name in cookies and old != cookies[name]
    }
    issued = [
        value
        for exchange in before
        for _, value in leaves(exchange.document())
        if isinstance(value, str) and len(value) >= 8
    ]
    for attach, carried in tokens_in(chat):
        old = carried.rpartition(" ")[2]
        if "cookie" not in attach and issued and old not in issued:
            changed[old] = max(issued, key=lambda value: _likeness(value, old))
    headers = []
    for name, value in chat.headers:
        for old, new in changed.items():
            value = value.replace(old, new) if old else value
        headers.append((name, value))
    return msgspec.structs.replace(chat, headers=tuple(headers))


def _likeness(value: str, old: str) -> tuple[bool, int]:
    """Return how much a value looks like an old token: its kind first, then its length."""
    kind = value[:3] == old[:3] and value.count(".") == old.count(".")
    return kind, -abs(len(value) - len(old))


def _exchange(request: Captured, answer: HttpResponse) -> Exchange:
    headers = [(name, value) for name, value in answer.headers.items() if name != "set-cookie"]
    headers += [("set-cookie", f"{name}={value}") for name, value in answer.cookies.items()]
    return Exchange(request, answer.body, answer.status, tuple(headers))
