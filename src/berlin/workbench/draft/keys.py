"""Guesses how a request authenticates itself, where no login is known."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple
from urllib.parse import unquote

import msgspec

from berlin.errors import BerlinError
from berlin.language.backwards import decode_basic
from berlin.language.secrets_scan import looks_secret, names_secret
from berlin.workbench.draft.leaves import GUESS, Place, last_name, leaves
from berlin.workbench.draft.sources.captured import LEFT_OUT, Captured, Exchange

BEARER = {"header": "Authorization", "prefix": "Bearer "}
LEAST_CHARS = 5
LEAST_TOKEN_CHARS = 6

_KEY_HEADERS = re.compile(
    r"authorization|(x-)?(api|auth|access|session|user)?-?(key|token)|x-.*-(api-?)?(key|token)|(x-)?session(-id)?",
    re.IGNORECASE,
)
_KEY_PARAMETERS = frozenset({"key", "apikey", "token", "accesstoken", "authtoken"})


class LoginGuess(msgspec.Struct, frozen=True):
    """The way a service authenticates its users.

    Attributes:
        auth: the table `[auth]`, with whole URLs; empty if it needs none.
        notes: comments for its lines.
        credentials: what the user logged in with, by the names of `Credentials`.
    """

    auth: dict[str, Any] = {}
    notes: dict[tuple[str, ...], str] = {}
    credentials: dict[str, str] = {}


class Token(NamedTuple):
    """A value carried in one place of a request."""

    attach: dict[str, str]
    value: str


def guess_key(chat: Captured, said: Any = None) -> LoginGuess:
    """Return how a request authenticates itself, where no login is known.

    Args:
        said: the messages that are exchanged before the question, if it opens a WebSocket.
    """
    flow = {"flow": "api-key"}
    carried = list(tokens_in(chat))
    for attach, value in carried:
        if attach.get("header", "").lower() == "authorization":
            scheme, _, key = value.rpartition(" ")
            if scheme.lower() == "basic":
                account, _, password = decode_basic(key).partition(":")
                known = {"account": account, "password": password} if account else {}
                return LoginGuess({"flow": "basic"}, {}, known)
            prefix = {"prefix": f"{scheme} "} if scheme else {}
            attach = {"header": "Authorization", **prefix}
            more = {} if attach == BEARER else {"attach": attach}
            return LoginGuess({**flow, **more}, {}, {"api_key": key})
    for attach, value in carried:
        if "cookie" not in attach:
            return LoginGuess({**flow, "attach": attach}, {}, {"api_key": value})
    if carried:
        note = f"{GUESS}: the whole Cookie header is the key; a login would be better"
        key = "; ".join(f"{name}={value}" for name, value in chat.cookies.items())
        auth = {**flow, "attach": {"cookie": "*"}}
        return LoginGuess(auth, {("auth", "attach"): note}, {"api_key": key})
    for place, value in leaves(said):
        if isinstance(value, str) and len(value) >= LEAST_TOKEN_CHARS and _is_key(place, value):
            note = f"{GUESS}: the key is carried by a message"
            return LoginGuess(flow, {("auth",): note}, {"api_key": value.rpartition(" ")[2]})
    return LoginGuess()


def _is_key(place: Place, value: str) -> bool:
    name = last_name(place)
    return name in _KEY_PARAMETERS or name == "authorization" or looks_secret(name, value)


def tokens_in(chat: Captured) -> Iterator[Token]:
    """Yield the values that may authenticate a request."""
    for name, value in chat.headers:
        lower = name.lower()
        if lower == "cookie" or re.search("csrf|xsrf", lower):
            continue
        if _KEY_HEADERS.fullmatch(name) or (
            not LEFT_OUT.fullmatch(name) and looks_secret(name, value)
        ):
            yield Token({"header": name}, value)
    for name, value in chat.query.items():
        if last_name((name,)) in _KEY_PARAMETERS or looks_secret(name, value):
            yield Token({"query": name}, value)
    for name, value in chat.cookies.items():
        yield Token({"cookie": name}, value)


def held_secrets(exchanges: Sequence[Exchange]) -> frozenset[str]:
    """Return the values that never get into a recipe.

    These are the values of cookies, of headers with tokens and of members named like secrets.
    """
    values: set[str] = set()
    for exchange in exchanges:
        request = exchange.request
        values |= {value for _, value in tokens_in(request)}
        values |= {*request.cookies.values(), *exchange.cookies.values()}
        values |= {request.header("authorization"), request.header("proxy-authorization")}
        with contextlib.suppress(BerlinError):
            members = leaves(request.document()[1])
            values |= {str(v) for place, v in members if place and names_secret(place[-1])}
    values |= {unquote(value) for value in values}
    # Also the parts of a digest, and of a cookie that is a list.
    values |= {part for value in values for part in _PARTS.split(value)}
    urls = {exchange.request.origin for exchange in exchanges}
    urls |= {re.sub("[^/]*[0-9][^/]*", "", exchange.request.path) for exchange in exchanges}
    shown = {value for value in values if any(value.strip("/") in url for url in urls)}
    return frozenset(filter(_is_secret, values - shown))


_PARTS = re.compile(r'[\s,;."]+')


def _is_secret(value: str) -> bool:
    """Whether a cookie's value is more than a plain setting, such as `en-US` or a path."""
    is_mixed = bool(re.search("[0-9]", value) and re.search("[A-Za-z]", value))
    is_word = re.fullmatch(r"[A-Za-z]{0,12}([-_][A-Za-z]{2,4})?|/[/A-Za-z_-]*", value)
    return len(value) > (3 if is_mixed else LEAST_CHARS) and (
        looks_secret("token", value) or not is_word
    )
