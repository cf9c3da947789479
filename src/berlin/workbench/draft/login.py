"""Guesses the table `[auth]`: from a login and what the chat used of it, or from the chat alone."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from berlin.errors import ConfigurationError
from berlin.language.secrets_scan import looks_secret
from berlin.workbench.draft.follow import find_source, given_headers, given_members
from berlin.workbench.draft.leaves import (
    DROP,
    GUESS,
    Place,
    change_leaves,
    last_name,
    leaves,
    pointer,
)
from berlin.workbench.draft.sources.captured import Captured, Exchange
from berlin.workbench.draft.sources.headers import LEFT_OUT, kept_headers

LEAST_TOKEN_CHARS = 6

_PASSWORDS = ("password", "passwd", "pwd", "pass", "secret", "passphrase", "pw", "p")
_ACCOUNTS = (
    *("account", "username", "user", "email", "login", "loginname", "phone", "mobile", "userid"),
    *("name", "identifier", "mail", "u", "uid"),
)
_KEY_HEADERS = re.compile(
    r"authorization|(x-)?(api|auth|access|session|user)?-?(key|token)|x-.*-(api-?)?(key|token)",
    re.IGNORECASE,
)
_KEY_PARAMETERS = frozenset({"key", "apikey", "token", "accesstoken", "authtoken"})
_EXPIRIES = {
    "expires_in": ("expiresin", "expirein", "ttl", "lifetime", "valids", "maxage"),
    "expires_at": ("expiresat", "expireat", "expires", "expiry", "expiretime", "exp", "validuntil"),
}
_FIRST_TIME = 10**8  # above it, a number of seconds is a date
_HASH = re.compile(r"[0-9a-f]{32}|[0-9a-f]{40}|[0-9a-f]{64}")
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


class LoginGuess(msgspec.Struct, frozen=True):
    """The login of a service.

    Attributes:
        auth: the table `[auth]`, with whole URLs; empty if it needs none.
        notes: comments for its lines.
        secrets: values that must not appear in the recipe.
    """

    auth: dict[str, Any]
    notes: dict[tuple[str, ...], str]
    secrets: frozenset[str]


class _Carried(NamedTuple):
    """A value carried in one place of a request."""

    attach: dict[str, str]
    value: str


def guess_key(chat: Captured) -> LoginGuess:
    """Return how a request authenticates itself, where no login is known."""
    carried = list(_carried(chat))
    secrets = frozenset(c.value for c in carried if len(c.value) >= LEAST_TOKEN_CHARS)
    for attach, value in carried:
        scheme, _, rest = value.rpartition(" ")
        if "header" in attach and attach["header"].lower() == "authorization":
            if scheme.lower() == "basic":
                return LoginGuess({"flow": "basic"}, {}, secrets | {rest})
            prefix = f"{scheme} " if scheme else ""
            bearer = {"header": "Authorization", "prefix": prefix}
            auth: dict[str, Any] = {"flow": "api-key"}
            if prefix != "Bearer ":
                auth["attach"] = bearer if prefix else {"header": "Authorization"}
            return LoginGuess(auth, {}, secrets | {rest})
    for attach, _ in carried:
        if "cookie" not in attach:
            return LoginGuess({"flow": "api-key", "attach": attach}, {}, secrets)
    if carried:
        note = f"{GUESS}: the whole Cookie header is the key; a login would be better"
        auth = {"flow": "api-key", "attach": {"cookie": "*"}}
        return LoginGuess(auth, {("auth", "attach"): note}, secrets)
    return LoginGuess({}, {}, frozenset())


def guess_login(login: Exchange, chat: Captured, before: Sequence[Exchange] = ()) -> LoginGuess:
    """Return the login whose token a chat carries.

    Args:
        login: the request with the password.
        chat: the request that carries the token.
        before: earlier requests; a page among them may have issued what the login carries.

    Raises:
        ConfigurationError: if the chat carries nothing that the login issued, or the login has no
            password.
    """
    place, attach, given = _find_token(login, chat)
    kind, document = login.request.document()
    if isinstance(document, dict) and "grant_type" in document:
        return _oauth(login.request, document, attach, given)
    notes: dict[tuple[str, ...], str] = {}
    secrets = {given, *login.cookies.values()}
    given_steps, known = _given_before(login, document, before)
    step: dict[str, Any] = {"path": login.request.origin + login.request.path}
    if login.request.method != "POST":
        step["method"] = login.request.method
    if login.request.query:
        step["query"] = _filled(login.request.query, secrets, notes)
    body = _filled(document, secrets, notes, known) if kind else None
    headers = kept_headers(login.request, frozenset(secrets))
    headers |= {n: known[v] for n, v in given_headers(login.request) if v in known}
    if headers:
        step["headers"] = headers
    if kind:
        step[kind] = body
    sent = str(step)
    if "{password}" not in sent:
        raise ConfigurationError(
            "no member of the login request looks like a password; name it `password` in the "
            "pasted request"
        )
    step["take"] = {"token": place, **_expiry(login.document())}
    if login.status in (301, 302, 303):
        step["success"] = [login.status]
        location = next((v for n, v in login.headers if n.lower() == "location"), "")
        if login.request.path not in location:
            step["refused_at"] = login.request.path
    auth: dict[str, Any] = {"flow": "login"}
    if attach != {"header": "Authorization", "prefix": "Bearer "}:
        auth["attach"] = attach
    secrets |= known.keys()
    return LoginGuess({**auth, "steps": [*given_steps, step]}, notes, frozenset(secrets))


def _given_before(
    login: Exchange, document: Any, before: Sequence[Exchange]
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Return the requests that issued what a login carries, and the placeholder of each value."""
    steps: list[dict[str, Any]] = []
    known: dict[str, str] = {}
    request = login.request
    for n, (_, value) in enumerate((*given_members(document), *given_headers(request))):
        if value in known:
            continue
        source = find_source(value, before, request.origin)
        if source is None:
            continue
        name = f"csrf_{n + 1}" if n else "csrf"
        known[value] = f"{{{name}}}"
        asked = source.exchange.request
        path = asked.origin + asked.path
        step = next((s for s in steps if s["path"] == path), None)
        if step is None:
            step = {"path": path, "method": asked.method, "take": {}}
            steps.append(step)
        step["take"][name] = source.place
    return steps, known


def _find_token(login: Exchange, chat: Captured) -> tuple[Any, dict[str, str], str]:
    """Return the token's place in a login's response, how the chat carries it, and its value."""
    carried = list(_carried(chat))
    cookies = login.cookies
    places: list[tuple[Any, str]] = [
        (pointer(place), value)
        for place, value in leaves(login.document())
        if place and isinstance(value, str) and len(value) >= LEAST_TOKEN_CHARS
    ]
    places += [
        ({"header": name}, value)
        for name, value in login.headers
        if name.lower() != "set-cookie" and len(value) >= LEAST_TOKEN_CHARS
    ]
    for place, given in sorted(places, key=lambda found: -len(found[1])):
        for attach, value in carried:
            if value.endswith(given):
                prefix = value.removesuffix(given)
                return place, {**attach, "prefix": prefix} if prefix else attach, given
    shared = [name for name in cookies if name in chat.cookies]
    if len(shared) == 1:
        return {"cookie": shared[0]}, {"cookie": shared[0]}, cookies[shared[0]]
    if shared:
        return {"cookie": "*"}, {"cookie": "*"}, cookies[shared[0]]
    raise ConfigurationError(
        "the chat carries nothing that the answer to the login gave, in no header, cookie or "
        "parameter: take both from one session, with all headers"
    )


def _carried(chat: Captured) -> Iterator[_Carried]:
    """Yield the values that may authenticate the request."""
    for name, value in chat.headers:
        lower = name.lower()
        if lower == "cookie" or re.search("csrf|xsrf", lower):
            continue
        if _KEY_HEADERS.fullmatch(name) or (
            not LEFT_OUT.fullmatch(name) and looks_secret(name, value)
        ):
            yield _Carried({"header": name}, value)
    for name, value in chat.query.items():
        if last_name((name,)) in _KEY_PARAMETERS or looks_secret(name, value):
            yield _Carried({"query": name}, value)
    for name, value in chat.cookies.items():
        yield _Carried({"cookie": name}, value)


def _filled(
    document: Any,
    secrets: set[str],
    notes: dict[tuple[str, ...], str],
    known: Mapping[str, str] = {},
) -> Any:
    """Return a login's body with placeholders for account and password."""
    members = [(place, value) for place, value in leaves(document) if isinstance(value, str)]
    password = _best(members, _PASSWORDS)
    account = _best([m for m in members if m[0] != password], _ACCOUNTS)
    values = dict(members)
    typed = {values[place]: place for place in (account, password) if place is not None}

    def change(place: Place, value: Any) -> Any:
        # A form may ask for the same value twice.
        place = typed.get(value, place) if isinstance(value, str) and value else place
        if place == password:
            secrets.add(str(value))
            if _HASH.fullmatch(str(value)):
                notes["auth", "steps"] = (
                    f"{GUESS}: {place[-1]} was a hash; Berlin sends the password itself"
                )
            return "{password}"
        if place == account:
            secrets.add(str(value))
            return "{account}"
        if isinstance(value, str) and value in known:
            return known[value]
        if isinstance(value, str) and _UUID.fullmatch(value):
            return "{uuid4}"
        if value is None or looks_secret(place[-1], value):
            notes["auth", "steps"] = f"{GUESS}: {place[-1]} was left out"
            if isinstance(value, str):
                secrets.add(value)
            return DROP
        return value

    return change_leaves(document, change)


def _best(members: list[tuple[Place, str]], names: tuple[str, ...]) -> Place | None:
    """Return the place whose name comes first among these."""
    known = [(names.index(last_name(p)), p) for p, value in members if last_name(p) in names]
    return min(known)[1] if known else None


def _expiry(document: Any) -> dict[str, str]:
    for place, value in leaves(document):
        for ours, names in _EXPIRIES.items():
            if last_name(place) in names and isinstance(value, int | float | str):
                if ours == "expires_in" and str(value).isdecimal() and int(value) > _FIRST_TIME:
                    ours = "expires_at"
                is_short = ours == "expires_at" and isinstance(value, int) and value < _FIRST_TIME
                return {"expires_in" if is_short else ours: pointer(place)}
    return {}


def _oauth(
    request: Captured, form: dict[str, Any], attach: dict[str, str], token: str
) -> LoginGuess:
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
    if attach != {"header": "Authorization", "prefix": "Bearer "}:
        auth["attach"] = attach
    known = (form.get(n, "") for n in ("client_secret", "username", "password", "refresh_token"))
    return LoginGuess(auth, {}, frozenset({token, *filter(None, known)}))
