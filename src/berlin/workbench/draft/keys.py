"""Guesses how a request authenticates itself, where no login is known."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from berlin.language.backwards import decode_basic
from berlin.language.secrets_scan import looks_secret
from berlin.workbench.draft.leaves import GUESS, Place, last_name, leaves
from berlin.workbench.draft.sources.captured import LEFT_OUT, Captured

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
        secrets: values that must not appear in the recipe.
        credentials: what the user logged in with, by the names of `Credentials`.
    """

    auth: dict[str, Any]
    notes: dict[tuple[str, ...], str]
    secrets: frozenset[str]
    credentials: dict[str, str] = {}


class Token(NamedTuple):
    """A value carried in one place of a request."""

    attach: dict[str, str]
    value: str


def guess_key(chat: Captured, said: Any = None) -> LoginGuess:
    """Return how a request authenticates itself, where no login is known.

    Args:
        chat: the request.
        said: the messages that are exchanged before the question, if it opens a WebSocket.
    """
    carried = list(tokens_in(chat))
    secrets = frozenset(c.value for c in carried if len(c.value) >= LEAST_TOKEN_CHARS)
    for attach, value in carried:
        scheme, _, rest = value.rpartition(" ")
        if "header" in attach and attach["header"].lower() == "authorization":
            secrets |= {rest}
            if scheme.lower() == "basic":
                return LoginGuess({"flow": "basic"}, {}, secrets, _account_in(rest))
            prefix = f"{scheme} " if scheme else ""
            auth: dict[str, Any] = {"flow": "api-key"}
            if prefix != "Bearer ":
                auth["attach"] = {"header": "Authorization"}
                if prefix:
                    auth["attach"]["prefix"] = prefix
            return LoginGuess(auth, {}, secrets, {"api_key": rest})
    for attach, value in carried:
        if "cookie" not in attach:
            auth = {"flow": "api-key", "attach": attach}
            return LoginGuess(auth, {}, secrets, {"api_key": value})
    if carried:
        note = f"{GUESS}: the whole Cookie header is the key; a login would be better"
        auth = {"flow": "api-key", "attach": {"cookie": "*"}}
        key = {"api_key": "; ".join(f"{name}={value}" for name, value in chat.cookies.items())}
        return LoginGuess(auth, {("auth", "attach"): note}, secrets, key)
    for place, value in leaves(said):
        if isinstance(value, str) and len(value) >= LEAST_TOKEN_CHARS and _is_key(place, value):
            rest = value.rpartition(" ")[2]
            note = f"{GUESS}: the key is carried by a message"
            return LoginGuess(
                {"flow": "api-key"}, {("auth",): note}, secrets | {rest}, {"api_key": rest}
            )
    return LoginGuess({}, {}, frozenset())


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


def _account_in(encoded: str) -> dict[str, str]:
    account, colon, password = decode_basic(encoded).partition(":")
    return {"account": account, "password": password} if colon else {}
