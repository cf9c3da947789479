"""Guesses the table `[auth]` from a session: its login, and what the chat carries of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias
from urllib.parse import urljoin

import msgspec

from berlin.errors import BerlinError, ConfigurationError
from berlin.workbench.draft.follow import Chain
from berlin.workbench.draft.keys import (
    BEARER,
    LEAST_CHARS,
    LEAST_TOKEN_CHARS,
    LoginGuess,
    tokens_in,
)
from berlin.workbench.draft.leaves import GUESS, last_name, leaves, pointer
from berlin.workbench.draft.request import guess_request
from berlin.workbench.draft.sources.captured import Captured, Exchange

_EXPIRIES = {
    "expires_in": ("expiresin", "expirein", "ttl", "lifetime", "valids", "maxage"),
    "expires_at": ("expiresat", "expireat", "expires", "expiry", "expiretime", "exp", "validuntil"),
}
_FIRST_TIME = 10**8  # above it, a number of seconds is a date
_REDIRECTS = (301, 302, 303)


_PASSWORDS = ("password", "passwd", "pwd", "pass", "secret", "passphrase", "pw", "p")
_ACCOUNTS = (
    *("account", "username", "user", "email", "login", "loginname", "phone", "mobile", "userid"),
    *("name", "identifier", "mail", "u", "uid"),
)
_CODES = ("otp", "totp", "mfacode", "code", "otpcode", "verificationcode", "twofactorcode")
_HASH = re.compile(r"[0-9a-f]{32}|[0-9a-f]{40}|[0-9a-f]{64}")

_Token: TypeAlias = tuple[Any, dict[str, str], str]


class Found(msgspec.Struct, frozen=True):
    """A login in a session.

    Attributes:
        first: the index of the request with the password.
        last: the index of the one whose response issued the token.
        place: the token's place in that response.
        attach: how the chat carries it.
        token: its value.
    """

    first: int
    last: int
    place: Any
    attach: dict[str, str]
    token: str


def find_login(exchanges: Sequence[Exchange], chat: int) -> Found | None:
    """Return the login of a chat; `None` if the session has no request with a password.

    Raises:
        ConfigurationError: if the chat carries nothing that a login issued.
    """
    request = exchanges[chat].request
    firsts = [n for n in range(chat) if _has_password(exchanges[n].request)]
    pairs = [(first, last) for first in firsts for last in range(first, chat)]
    for find in (_given_token, _cookie_token):
        # The nearest first: an earlier attempt may have failed.
        for first, last in sorted(pairs, key=lambda pair: pair[1] - pair[0]):
            found = find(exchanges[: last + 1], request)
            if found is not None:
                place, attach, token = found
                return Found(first, last, place, attach, token)
    if not firsts:
        return None
    raise ConfigurationError(
        "the chat carries nothing that the answer to the login gave, in no header, cookie or "
        "parameter: take both from one session, with all headers"
    )


def guess_login(
    exchanges: Sequence[Exchange], found: Found, chain: Chain, chats: Sequence[int]
) -> LoginGuess:
    """Return the login whose token a chat carries. Raises ConfigurationError.

    Args:
        chain: what the requests of the session carry; the login's and the chat's are followed here.
        chats: the requests of the chat, which may carry other values of the login.
    """
    login = exchanges[found.first].request
    _, document = login.document()
    if isinstance(document, dict) and "grant_type" in document:
        return _oauth(login, document, found)
    chain.know(found.token, "token")
    for at in (found.first, found.last, *chats):
        chain.follow(at)
    earlier = sorted(at for at in chain.taken if at < found.last)
    typed = find_typed(exchanges[at].request for at in (found.first, found.last, *earlier))
    steps = _login_steps(exchanges, found, chain, typed)
    chain.in_login |= steps.keys() | {*_redirects(exchanges, found)}
    auth: dict[str, Any] = {"flow": "login"}
    attach = _with_cookies(exchanges, found, chain, steps)
    if attach != BEARER:
        auth["attach"] = attach
    return LoginGuess({**auth, "steps": list(steps.values())}, dict(typed.notes), typed.credentials)


def _login_steps(
    exchanges: Sequence[Exchange], found: Found, chain: Chain, typed: Typed
) -> dict[int, dict[str, Any]]:
    """Return the steps of a login, by the index of their exchange."""
    followed = _redirects(exchanges, found)
    names = {**chain.names, **typed.values}
    long = frozenset(value for value in names if len(value) > LEAST_CHARS)
    steps: dict[int, dict[str, Any]] = {}
    for at in sorted({*chain.taken, found.first, found.last} - {*followed}):
        if at > found.last and not any(isinstance(p, dict) for p in chain.taken[at].values()):
            continue  # it prepares the chat
        exchange = exchanges[at]
        guess = guess_request(exchange.request, "", long, names)
        step = guess.step
        if not step["path"].startswith("{"):
            step["path"] = exchange.request.origin + step["path"]
        if guess.notes:
            typed.notes["auth", "steps"] = "; ".join(guess.notes.values())
        if at == found.first and followed:
            step["follow"] = True
        elif exchange.status in _REDIRECTS and at in (found.first, found.last):
            step["success"] = [exchange.status]
        location = _location(exchange)
        if at == found.first and location and exchange.request.path not in location:
            step["refused_at"] = exchange.request.path
        step["take"] = dict(chain.taken.get(at, {}))
        steps[at] = step
    last = steps[found.first if found.last in followed else found.last]
    for at in followed:
        last["take"] |= chain.taken.get(at, {})
    last["take"] |= {"token": found.place, **_expiry(exchanges[found.last].document())}
    return steps


def _has_password(request: Captured) -> bool:
    try:
        _, document = request.document()
        is_grant = isinstance(document, dict) and "grant_type" in document
        return is_grant or "password" in find_typed([request]).values.values()
    except BerlinError:
        return False


def _given_token(session: Sequence[Exchange], chat: Captured) -> _Token | None:
    """Return the place, the attachment and the value of a token in JSON or in a header."""
    last = session[-1]
    places: list[tuple[Any, str]] = [
        (pointer(place), value)
        for place, value in leaves(last.document())
        if place and isinstance(value, str) and len(value) >= LEAST_TOKEN_CHARS
    ]
    places += [
        ({"header": name}, value)
        for name, value in last.headers
        if name.lower() != "set-cookie" and len(value) >= LEAST_TOKEN_CHARS
    ]
    carried = list(tokens_in(chat))
    for place, given in sorted(places, key=lambda found: -len(found[1])):
        for attach, value in carried:
            if value.endswith(given):
                prefix = value.removesuffix(given)
                return place, {**attach, "prefix": prefix} if prefix else attach, given
    return None


def _cookie_token(session: Sequence[Exchange], chat: Captured) -> _Token | None:
    """Return the same of a cookie, if the last response set one that the chat carries."""
    *_, last = session
    shared = [name for name, value in last.cookies.items() if chat.cookies.get(name) == value]
    # The names are enough where the file is of several sessions.
    shared = shared or [name for name in last.cookies if name in chat.cookies]
    if not shared:
        return None
    issued = {name for exchange in session for name in exchange.cookies if name in chat.cookies}
    name = shared[0] if len(issued) == 1 else "*"
    return {"cookie": name}, {"cookie": name}, last.cookies[shared[0]]


def _with_cookies(
    exchanges: Sequence[Exchange], found: Found, chain: Chain, steps: dict[int, dict[str, Any]]
) -> Any:
    """Return the attachment; with the session's cookies, where the chat carries them besides."""
    if "cookie" in found.attach:
        return found.attach
    login = exchanges[found.first : found.last + 1]
    chats = exchanges[found.last + 1 :]
    both = {(n, v) for exchange in login for n, v in exchange.cookies.items() if v}
    if not any(both & set(exchange.request.cookies.items()) for exchange in chats):
        return found.attach
    list(steps.values())[-1]["take"]["cookies"] = {"cookie": "*"}
    return [found.attach, {"cookie": "*", "value": "{cookies}"}]


def _redirects(exchanges: Sequence[Exchange], found: Found) -> list[int]:
    """Return the requests that only followed a redirect of the login, up to its token."""
    followed: list[int] = []
    for at in range(found.first, found.last):
        before, after = exchanges[at], exchanges[at + 1].request
        location = _location(before)
        if not location or after.method != "GET" or after.origin != before.request.origin:
            return []
        if urljoin(before.request.url, location) != after.url:
            return []
        followed.append(at + 1)
    return followed


def _location(exchange: Exchange) -> str:
    if exchange.status not in _REDIRECTS:
        return ""
    return next((v for n, v in exchange.headers if n.lower() == "location"), "")


def _expiry(document: Any) -> dict[str, str]:
    for place, value in leaves(document):
        for ours, names in _EXPIRIES.items():
            if last_name(place) in names and isinstance(value, int | float | str):
                if ours == "expires_in" and str(value).isdecimal() and int(value) > _FIRST_TIME:
                    ours = "expires_at"
                is_short = ours == "expires_at" and isinstance(value, int) and value < _FIRST_TIME
                return {"expires_in" if is_short else ours: pointer(place)}
    return {}


def _oauth(request: Captured, form: dict[str, Any], found: Found) -> LoginGuess:
    """Return the table for a request to a token endpoint (RFC 6749)."""
    grant = form["grant_type"]
    if grant not in ("client_credentials", "password", "refresh_token"):
        raise ConfigurationError(
            f"the grant {str(grant)[:40]!r} needs a browser; see the device code in the manual"
        )
    auth: dict[str, Any] = {
        "flow": "oauth2",
        "grant": grant,
        "token_url": request.origin + request.path,
    }
    if "scope" in form:
        auth["scope"] = form["scope"]
    if "client_secret" in form:
        auth["client_auth"] = "body"
    own = {"grant_type", "scope", "client_id", "client_secret", "username", "password"}
    more = {n: v for n, v in form.items() if n not in {*own, "refresh_token"}}
    if more:
        auth["parameters"] = more
    if found.attach != BEARER:
        auth["attach"] = found.attach
    given = {"username": "account", **{n: n for n in ("password", "refresh_token")}}
    given |= {n: n for n in ("client_id", "client_secret")}
    credentials = {ours: str(form[theirs]) for theirs, ours in given.items() if form.get(theirs)}
    return LoginGuess(auth, {}, credentials)


class Typed(msgspec.Struct):
    """The values that were typed.

    Attributes:
        credentials: the values, by the names of `Credentials`.
        values: the values, and the name of each.
        notes: comments for the table `[auth]`.
    """

    credentials: dict[str, str] = {}
    values: dict[str, str] = {}
    notes: dict[tuple[str, ...], str] = {}


def find_typed(requests: Iterable[Captured]) -> Typed:
    """Return what was typed into the requests of a login. Raises ConfigurationError."""
    documents = [(request, request.document()[1]) for request in requests]
    members = [
        (last_name(place), value)
        for request, document in documents
        for place, value in leaves(request.query if document is None else document)
        if isinstance(value, str) and value and place
    ]
    typed = Typed()
    password = _best(members, _PASSWORDS)
    account = _best([each for each in members if each[1] != password], _ACCOUNTS)
    code = _best([each for each in members if re.fullmatch(r"\d{6,8}", each[1])], _CODES)
    if code:  # it has expired
        typed.values[code] = "code"
    for name, value in (("account", account), ("password", password)):
        if value:
            typed.values[value], typed.credentials[name] = name, value
    if _HASH.fullmatch(password):
        del typed.credentials["password"]  # what was typed is not in the file
        typed.notes["auth", "steps"] = f"{GUESS}: the password was a hash; Berlin sends it as it is"
    return typed


def _best(members: list[tuple[str, str]], names: tuple[str, ...]) -> str:
    """Return the value whose name comes first among these, or ends like a long one of them."""

    def rank(name: str) -> int:
        ends = (n for n, known in enumerate(names) if len(known) > 4 and name.endswith(known))
        return names.index(name) if name in names else len(names) + next(ends, len(names))

    ranked = [(rank(name), n) for n, (name, _) in enumerate(members)]
    best, at = min(ranked, default=(2 * len(names), 0))
    return members[at][1] if best < 2 * len(names) else ""
