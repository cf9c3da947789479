"""Follows values from the response that issued them to the request that carries them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import unquote

import msgspec

from berlin.language.secrets_scan import looks_secret
from berlin.wire.html import field_with, is_page, meta_with
from berlin.workbench.draft.leaves import leaves, pointer
from berlin.workbench.draft.sources.captured import Captured, Exchange

LEAST_CHARS = 6
CSRF = re.compile(r".*(csrf|xsrf).*", re.IGNORECASE)
# Form members issued by the page: CSRF tokens, and ids of the form itself.
_GIVEN = re.compile(
    r".*(csrf|xsrf|authenticity|nonce|requestverification|form_?build|execution).*|lt|_token|state",
    re.IGNORECASE,
)


class Source(msgspec.Struct, frozen=True):
    """The origin of a value.

    Attributes:
        exchange: the request whose response issued it.
        place: its place in the response, as a recipe writes it.
    """

    exchange: Exchange
    place: Any


def find_source(value: str, exchanges: Iterable[Exchange], origin: str) -> Source | None:
    """Return the latest exchange whose response contains a value, and where."""
    for exchange in reversed(list(exchanges)):
        if exchange.request.origin == origin and (place := _place(value, exchange)) is not None:
            return Source(exchange, place)
    return None


def given_members(document: Any) -> Iterator[tuple[str, str]]:
    """Yield names and values of form members that its page may have issued."""
    for place, value in leaves(document):
        if place and isinstance(value, str) and len(value) >= LEAST_CHARS:
            name = str(place[-1])
            if _GIVEN.fullmatch(name):
                yield name, value


def given_headers(request: Captured) -> Iterator[tuple[str, str]]:
    """Yield the anti-forgery (CSRF) headers of a request."""
    for name, value in request.headers:
        if CSRF.fullmatch(name) and len(value) >= LEAST_CHARS:
            yield name, value


def held_secrets(exchanges: Iterable[Exchange]) -> frozenset[str]:
    """Return the values of cookies and authorization headers: they never get into a recipe."""
    found: set[str] = set()
    for exchange in exchanges:
        request = exchange.request
        cookies = {**request.cookies, **exchange.cookies}
        found |= {form for value in cookies.values() for form in (value, unquote(value))}
        for name in ("authorization", "proxy-authorization"):
            found.add(request.header(name).rpartition(" ")[2])
    return frozenset(value for value in found if len(value) >= LEAST_CHARS and not _is_word(value))


def _is_word(value: str) -> bool:
    """Whether a cookie's value is a plain setting, such as `en-US`, and not a secret."""
    return not looks_secret("token", value) and bool(
        re.fullmatch(r"[A-Za-z]{0,12}([-_][A-Za-z]{2,4})?", value)
    )


def _place(value: str, exchange: Exchange) -> Any:
    for name, given in exchange.cookies.items():
        if given == value:
            return {"cookie": name}
        if unquote(given) == value:
            return {"cookie": name, "decode": "url"}
    for name, given in exchange.headers:
        if given == value and name.lower() != "set-cookie":
            return {"header": name}
    if not is_page(exchange.answer):
        places = (p for p, found in leaves(exchange.document()) if p and found == value)
        return next((pointer(place) for place in places), None)
    page = exchange.answer.decode("utf-8", "replace")
    if field := field_with(page, value):
        return {"field": field}
    if meta := meta_with(page, value):
        return {"meta": meta}
    return None
