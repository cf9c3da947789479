"""The login flow: one or several HTTP steps turn credentials into a token.

A step sends a template and takes values out of the answer, by JSON Pointer, from a header or from
a cookie. Later steps may use what earlier ones took. Cookies stay between the steps.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import msgspec

from berlin.auth.attach import BEARER, Attachment
from berlin.auth.credentials import NAMES, Credentials
from berlin.auth.flow import Flow, Send
from berlin.auth.grant import Grant, parse_grant
from berlin.errors import AuthenticationError, ConfigurationError, ProtocolError
from berlin.types import HttpRequest, HttpResponse, Secret
from berlin.wire.form import encode_form
from berlin.wire.format import snippet
from berlin.wire.json import DECODE_ERRORS, encode_body
from berlin.wire.pointer import MISSING, first_at, get_at, parse_pointer
from berlin.wire.status import describe_error, error_from_answer
from berlin.wire.template import Template

# What services answer to a wrong password, besides 401.
REFUSED_STATUSES = frozenset({400, 401, 403, 422})

_EXPLANATIONS = tuple(
    parse_pointer(p)
    for p in ("/error_description", "/error/message", "/error", "/message", "/msg", "/detail")
)
_CODES = tuple(parse_pointer(p) for p in ("/error/code", "/code", "/status"))


class Place(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a value stands in an answer, if not in its JSON: `{ header = "…" }` and the like.

    Attributes:
        header: name of a header.
        cookie: name of a cookie; `"*"` takes all that the login set, as one Cookie header.
    """

    header: str = ""
    cookie: str = ""

    def __post_init__(self) -> None:
        if bool(self.header) == bool(self.cookie):
            raise ValueError("a place needs exactly one of header and cookie")


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One request of a login: a table `[[auth.steps]]`.

    Attributes:
        path: below the endpoint's URL, or a whole URL.
        method: the HTTP method.
        json: the body as JSON with placeholders.
        form: the body as a form with placeholders.
        headers: headers with placeholders.
        take: names of values and where they stand: a JSON Pointer, a header or a cookie. Of
            `token`, `refresh_token`, `expires_in`, `expires_in_ms` and `expires_at` Berlin knows
            the meaning; every name is a placeholder of the later steps.
    """

    path: str
    method: Literal["GET", "POST", "PUT"] = "POST"
    json: dict[str, Any] | None = None
    form: dict[str, Any] | None = None
    headers: dict[str, str] = {}
    take: dict[str, str | Place] = {}


class LoginMap(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="flow", tag="login"
):
    """`flow = "login"`: the table `[auth]` of a service with a login of its own.

    Attributes:
        steps: the requests, in order.
        refresh: the requests that get the next token; they may use `{refresh_token}`.
        attach: how requests carry the token.
        rejected_statuses: the statuses that mean: the token is no longer good.
    """

    steps: list[Step]
    refresh: list[Step] = []
    attach: Attachment = BEARER
    rejected_statuses: tuple[int, ...] = (401,)

    def flow(self) -> Flow:
        """Return the compiled flow. Raises ConfigurationError."""
        return LoginFlow(self)


class LoginFlow:
    """The flow that a `LoginMap` describes.

    Raises:
        ConfigurationError: if the description cannot be right.
    """

    def __init__(self, login: LoginMap) -> None:
        self._steps = _compile(login.steps, NAMES)
        self._refresh = _compile(login.refresh, (*NAMES, "refresh_token"))
        self.asks = True
        used = {name for step in self._steps for name in step.used}
        self.needs = tuple(name for name in NAMES if name in used)
        if not any("token" in step.take for step in login.steps):
            raise ConfigurationError('no step of [auth] takes a "token"')

    async def obtain(self, credentials: Credentials, send: Send) -> Grant:
        """Get a token by all steps; see `Flow`."""
        return await _run(self._steps, credentials.values(), send, "the login")

    async def renew(
        self, credentials: Credentials, refresh_token: Secret, send: Send
    ) -> Grant | None:
        """Get the next token by the refresh steps; see `Flow`."""
        if not self._refresh:
            return None
        values = {**credentials.values(), "refresh_token": refresh_token.reveal()}
        grant = await _run(self._refresh, values, send, "the refresh")
        if grant.refresh_token is None:
            # A service that gives no new one means that the old one goes on.
            grant = msgspec.structs.replace(grant, refresh_token=refresh_token)
        return grant


class _Step:
    def __init__(self, step: Step, names: Iterable[str]) -> None:
        if step.json is not None and step.form is not None:
            raise ConfigurationError(f"the step {step.path} has both json and form; keep one")
        known = frozenset(names)
        self.step = step
        body = step.form if step.form is not None else step.json
        self._body = Template(body, known) if body is not None else None
        self._headers = Template(step.headers, known)
        self.used = {*(self._body.names if self._body else ()), *self._headers.names}
        self.pointers = {
            name: parse_pointer(place)
            for name, place in step.take.items()
            if isinstance(place, str)
        }

    def request(self, values: Mapping[str, str], cookies: Mapping[str, str]) -> HttpRequest:
        headers: dict[str, str | Secret] = {"Accept": "application/json"}
        body = b""
        if self._body is not None:
            rendered = self._body.render(values)
            is_form = self.step.form is not None
            body = encode_form(rendered) if is_form else encode_body(rendered)
            kind = "application/x-www-form-urlencoded" if is_form else "application/json"
            headers["Content-Type"] = kind
        for name, value in self._headers.render(values).items():
            if any(c in value for c in "\r\n\0"):
                raise ProtocolError(f"the header {name} would hold a line break; nothing was sent")
            headers[name] = Secret(value)
        if cookies:
            headers["Cookie"] = Secret("; ".join(f"{n}={v}" for n, v in cookies.items()))
        return HttpRequest(self.step.method, self.step.path, headers, body=body)


def _compile(steps: list[Step], names: Iterable[str]) -> list[_Step]:
    known = set(names)
    compiled = []
    for step in steps:
        compiled.append(_Step(step, known))
        known |= set(step.take)
    return compiled


async def _run(steps: list[_Step], values: dict[str, str], send: Send, where: str) -> Grant:
    taken: dict[str, Any] = {}
    cookies: dict[str, str] = {}
    said = ""
    for step in steps:
        response = await send(step.request({**values, **taken}, cookies))
        document = read_answer(response, values.get("account", ""), where, json=bool(step.pointers))
        cookies.update(response.cookies)
        said = outline(document)
        for name, place in step.step.take.items():
            taken[name] = _take(step, name, place, response, document, cookies)
        last = step is steps[-1]
        for name, value in taken.items():
            if not last and not isinstance(value, str | int | float):
                raise ProtocolError(f"{where}: {step.step.path} gave no {name}; it says: {said}")
    return parse_grant(taken, time.time(), said, where, _place_of_token(steps))


def _place_of_token(steps: list[_Step]) -> str:
    places = [step.pointers["token"] for step in steps if "token" in step.pointers]
    return f"/{'/'.join(places[-1])}" if places else ""


def _take(
    step: _Step,
    name: str,
    place: str | Place,
    response: HttpResponse,
    document: Any,
    cookies: Mapping[str, str],
) -> Any:
    if isinstance(place, str):
        return get_at(document, step.pointers[name])
    if place.header:
        return response.headers.get(place.header.lower(), MISSING)
    if place.cookie == "*":
        return "; ".join(f"{n}={v}" for n, v in cookies.items()) or MISSING
    return cookies.get(place.cookie, MISSING)


def read_answer(
    response: HttpResponse, account: str, where: str, *, json: bool = True
) -> dict[str, Any]:
    """Return the JSON object of an answer to a login.

    Args:
        response: the answer.
        account: who logs in, for the error.
        where: what was asked, for the error.
        json: whether something is wanted of it; else a page or nothing will do.

    Raises:
        AuthenticationError: if the service refuses the credentials.
        BerlinError: for every other status that is no success.
        ProtocolError: if the answer is no JSON object, and is to be one.
    """
    said = explain(response.body)
    if response.status in REFUSED_STATUSES:
        raise AuthenticationError(
            f"the service refuses account {account!r}: {said}"
            if account
            else f"the service refuses the credentials: {said}",
            status=response.status,
        )
    if not 200 <= response.status < 300:
        raise error_from_answer(response.status, response.headers, f"{said} (at {where})")
    got = f"got {snippet(response.body)!r}"
    try:
        document = msgspec.json.decode(response.body)
    except DECODE_ERRORS as error:
        if not json:
            return {}
        raise ProtocolError(f"the answer to {where}: expected JSON, {got}") from error
    if not isinstance(document, dict):
        if not json:
            return {}
        raise ProtocolError(f"the answer to {where}: expected a JSON object, {got}")
    _check_envelope(document, account, said)
    return document


def _check_envelope(document: Any, account: str, said: str) -> None:
    """Find the refusal inside a 200: `{"code": 401, "message": …}`."""
    code = first_at(document, _CODES)
    if isinstance(code, int | str) and str(code) in map(str, REFUSED_STATUSES):
        raise AuthenticationError(f"the service refuses account {account!r}: {said}", status=401)


def outline(document: Any) -> str:
    """Return what a good answer says: its message, or where it has values, but never a value."""
    message = first_at(document, _EXPLANATIONS)
    if isinstance(message, str):
        return snippet(message)
    return f"its answer has {', '.join(_pointers(document, ''))[:200] or 'nothing'}"


def _pointers(document: Any, above: str) -> list[str]:
    if not isinstance(document, dict) or above.count("/") >= 3:
        return [above] if above else []
    return [p for key, value in document.items() for p in _pointers(value, f"{above}/{key}")]


def explain(body: bytes) -> str:
    """Return what an answer to a login says of an error: its message, or its beginning."""
    return describe_error(body, _EXPLANATIONS)
