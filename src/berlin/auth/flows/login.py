"""The login flow: one or several HTTP steps turn credentials into a token.

A step sends a template and takes values out of the answer, by JSON Pointer, from a header or from
a cookie. Later steps may use what earlier ones took. Cookies stay between the steps.
"""

from __future__ import annotations

import time
import uuid
from typing import Any

import msgspec

from berlin.auth.attach import BEARER, Attachment
from berlin.auth.contract import Flow, Send, Unattended
from berlin.auth.credentials import NAMES, Credentials
from berlin.auth.grant import Grant, parse_grant
from berlin.errors import (
    AuthenticationError,
    ConfigurationError,
    InvalidRequestError,
    ProtocolError,
)
from berlin.language.step import CompiledStep, Step, compile_steps, read_object
from berlin.types import HttpResponse, Secret
from berlin.wire.pointer import first_at, parse_pointer
from berlin.wire.snippet import snippet
from berlin.wire.status import EXPLANATIONS, describe_error, error_from_answer

# What services answer to a wrong password, besides 401.
REFUSED_STATUSES = frozenset({400, 401, 403, 422})

_CODES = tuple(parse_pointer(p) for p in ("/error/code", "/code", "/status"))


class LoginMap(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="flow", tag="login"
):
    """`flow = "login"`: the table `[auth]` of a service with a login of its own.

    Attributes:
        steps: the requests, in order.
        refresh: the requests that get the next token; they may use `{refresh_token}`.
        attach: how requests carry the token.
        rejected_statuses: the statuses that mean: the token is no longer good.
        optional: whether the service may be used without a login; then there is none if no
            credentials are given.
    """

    steps: list[Step]
    refresh: list[Step] = []
    attach: Attachment = BEARER
    rejected_statuses: tuple[int, ...] = (401,)
    optional: bool = False

    def flow(self) -> Flow:
        """Return the compiled flow. Raises ConfigurationError."""
        return LoginFlow(self)


class LoginFlow(Unattended):
    """The flow that a `LoginMap` describes.

    Raises:
        ConfigurationError: if the description cannot be right.
    """

    def __init__(self, login: LoginMap) -> None:
        self._steps = compile_steps(login.steps, (*NAMES, "uuid4"))
        self._refresh = compile_steps(login.refresh, (*NAMES, "refresh_token", "uuid4"))
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


async def _run(steps: list[CompiledStep], values: dict[str, str], send: Send, where: str) -> Grant:
    taken: dict[str, Any] = {}
    cookies: dict[str, str] = {}
    said = ""
    for step in steps:
        given = {**values, **taken, "uuid4": str(uuid.uuid4())}
        try:
            request = step.request(given, cookies)
        except InvalidRequestError as error:  # a value that an earlier step took
            raise ProtocolError(error.message) from error
        response = await send(request)
        document = read_answer(response, values.get("account", ""), where, json=bool(step.pointers))
        cookies.update(response.cookies)
        said = outline(document)
        taken |= step.take(response, document, cookies)
        last = step is steps[-1]
        for name, value in taken.items():
            if not last and not isinstance(value, str | int | float):
                raise ProtocolError(f"{where}: {step.step.path} gave no {name}; it says: {said}")
    return parse_grant(taken, time.time(), said, where, _place_of_token(steps))


def _place_of_token(steps: list[CompiledStep]) -> str:
    places = [step.pointers["token"] for step in steps if "token" in step.pointers]
    return f"/{'/'.join(places[-1])}" if places else ""


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
    try:
        document = read_object(response.body, where)
    except ProtocolError:
        if not json:
            return {}
        raise
    _check_envelope(document, account, said)
    return document


def _check_envelope(document: Any, account: str, said: str) -> None:
    """Find the refusal inside a 200: `{"code": 401, "message": …}`."""
    code = first_at(document, _CODES)
    if isinstance(code, int | str) and str(code) in map(str, REFUSED_STATUSES):
        raise AuthenticationError(f"the service refuses account {account!r}: {said}", status=401)


def outline(document: Any) -> str:
    """Return what a good answer says: its message, or where it has values, but never a value."""
    message = first_at(document, EXPLANATIONS)
    if isinstance(message, str):
        return snippet(message)
    return f"its answer has {', '.join(_pointers(document, ''))[:200] or 'nothing'}"


def _pointers(document: Any, above: str) -> list[str]:
    if not isinstance(document, dict) or above.count("/") >= 3:
        return [above] if above else []
    return [p for key, value in document.items() for p in _pointers(value, f"{above}/{key}")]


def explain(body: bytes) -> str:
    """Return what an answer to a login says of an error: its message, or its beginning."""
    return describe_error(body, EXPLANATIONS)
