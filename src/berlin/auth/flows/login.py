"""The login flow: one or several HTTP steps turn credentials into a token.

A step sends a template and takes values from the response: from its JSON, a header, a cookie or a
web page. Later steps may use what earlier ones took. Cookies are kept between the steps.
"""

from __future__ import annotations

import re
import time
from functools import partial
from typing import Any

import msgspec

from berlin.auth.attach import FlowMap, check_attach
from berlin.auth.contract import Flow, Person, Send
from berlin.auth.credentials import CODE, NAMES, Credentials
from berlin.auth.grant import Grant, parse_grant
from berlin.errors import (
    AuthenticationError,
    ConfigurationError,
    InvalidRequestError,
    MissingCredentialsError,
    ProtocolError,
)
from berlin.language.step import (
    MAX_STEP_VALUES,
    SESSION_NAMES,
    CompiledStep,
    Let,
    Step,
    compile_steps,
)
from berlin.language.values.functions import make_values, totp
from berlin.transport.sender import off_loop
from berlin.types import HttpRequest, HttpResponse, Secret
from berlin.wire.framings.contract import BOM
from berlin.wire.html import is_page
from berlin.wire.json import decoded_or_none
from berlin.wire.pointer import first_at, parse_pointer
from berlin.wire.snippet import snippet
from berlin.wire.status import EXPLANATIONS, describe_error, error_from_answer

# Statuses with which services answer a wrong password, besides 401.
REFUSED_STATUSES = frozenset({400, 401, 403, 422})

MAX_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})

LOGIN_NAMES = frozenset({*NAMES, CODE, "totp"})
"""The placeholders available to all steps of a login."""

_TITLE = re.compile(rb"<title>([^<]{1,200})</title>", re.IGNORECASE)
_CODES = tuple(parse_pointer(p) for p in ("/error/code", "/code", "/status"))


class LoginMap(FlowMap, frozen=True, tag="login"):
    """`flow = "login"`: the table `[auth]` of a service with its own login.

    Attributes:
        steps: the requests, in order.
        refresh: the requests that renew the token; they may use `{refresh_token}`.
        let: placeholders whose value is shared by all steps, such as `nonce = "{random_hex:16}"`.
        optional: whether the service may be used without a login; then none happens if no
            credentials are given.
    """

    steps: list[Step]
    refresh: list[Step] = msgspec.field(default_factory=list)
    let: dict[str, str] = msgspec.field(default_factory=dict)
    optional: bool = False

    def flow(self) -> Flow:
        """Return the compiled flow. Raises ConfigurationError."""
        return LoginFlow(self)


class LoginFlow:
    """The flow that a `LoginMap` describes. Raises ConfigurationError."""

    asks = True

    def __init__(self, login: LoginMap) -> None:
        self._let = Let(login.let, LOGIN_NAMES)
        self._steps = compile_steps(login.steps, LOGIN_NAMES | login.let.keys())
        self._refresh = compile_steps(login.refresh, LOGIN_NAMES | login.let.keys())
        used = {name for step in self._steps for name in step.used} | self._let.used
        used |= {"totp_seed"} if "totp" in used else set()
        self.needs = tuple(name for name in (*NAMES, CODE) if name in used)
        if not any("token" in step.take for step in login.steps):
            raise ConfigurationError('no step of [auth] takes a "token"')
        names = {name for step in (*login.steps, *login.refresh) for name in step.take}
        check_attach(login.attach, SESSION_NAMES | names)

    @property
    def needs_person(self) -> bool:
        """Whether a full login needs a person: one who types a one-time code."""
        return CODE in self.needs

    async def attend(self, credentials: Credentials, send: Send, person: Person) -> Grant:
        """Obtain a token with the code that the person typed; see `Flow`."""
        missing = [name for name in self.needs if name not in credentials.values()]
        if missing:
            raise MissingCredentialsError(f"the login needs {' and '.join(missing)}")
        return await self.obtain(credentials, send)

    async def obtain(self, credentials: Credentials, send: Send) -> Grant:
        """Obtain a token by running all steps; see `Flow`."""
        return await self._run(self._steps, credentials.values(), send, "the login")

    async def renew(
        self, credentials: Credentials, refresh_token: Secret, send: Send
    ) -> Grant | None:
        """Renew the token by running the refresh steps; see `Flow`."""
        if not self._refresh:
            return None
        values = {**credentials.values(), "refresh_token": refresh_token.reveal()}
        grant = await self._run(self._refresh, values, send, "the refresh")
        if grant.refresh_token is None:
            # If the service returns no new one, the old one stays valid.
            grant = msgspec.structs.replace(grant, refresh_token=refresh_token)
        return grant

    async def _run(
        self, steps: list[CompiledStep], values: dict[str, Any], send: Send, where: str
    ) -> Grant:
        used = {name for step in steps for name in step.used} | self._let.used
        values = {**values, **make_values(used)}
        if "totp" in used:
            values["totp"] = totp(values["totp_seed"])
        values |= self._let.render(values)
        taken: dict[str, Any] = {}
        cookies: dict[str, str] = {}
        said = ""
        for step in steps:
            try:
                request = step.request({**values, **taken}, cookies)
            except InvalidRequestError as error:  # a value that an earlier step took
                raise ProtocolError(error.message) from error
            account = values.get("account", "")
            response, good = await _send(step.step, request, send, cookies, account)
            read = partial(_read, step, response, account, where, good, cookies)
            said, found = await off_loop(len(response.body), read)
            taken |= found
            last = step is steps[-1]
            for name, value in taken.items():
                if not last and not isinstance(value, str | int | float):
                    raise ProtocolError(
                        f"{where}: {step.step.path} gave no {name}; it says: {said}"
                    )
        return parse_grant(taken, time.time(), said, where, _place_of_token(steps))


def _read(
    step: CompiledStep,
    response: HttpResponse,
    account: str,
    where: str,
    good: tuple[int, ...],
    cookies: dict[str, str],
) -> tuple[str, dict[str, Any]]:
    """Return the outline of a response, and the values that the step takes from it."""
    document = read_answer(response, account, where, good, json=step.needs_json)
    return outline(document), step.take(response, document, cookies)


async def _send(
    step: Step, request: HttpRequest, send: Send, cookies: dict[str, str], account: str
) -> tuple[HttpResponse, tuple[int, ...]]:
    """Send a step, follow its redirects if it says so, and keep all cookies.

    Returns:
        the last response, and the statuses that mean success.
    """
    good = step.success
    for _ in range(MAX_REDIRECTS + 1):
        response = await send(request)
        for name, value in response.cookies.items():
            cookies[name] = value
            if not value:  # how a service deletes a cookie
                del cookies[name]
        location = response.headers.get("location", "")
        if response.status not in _REDIRECTS:
            return response, good
        if step.refused_at and step.refused_at in location:
            raise AuthenticationError(
                f"the service refuses account {account!r}: it leads to {snippet(location, 80)!r}",
                status=response.status,
            )
        if not step.follow or (good and response.status not in good):
            return response, good
        if response.status not in (301, 302, 303) or not location:
            raise ProtocolError(f"{step.path} answers {response.status} with nowhere to follow to")
        given: dict[str, str | Secret] = {"Accept": "text/html, */*;q=0.5"}
        if cookies:
            given["Cookie"] = Secret("; ".join(f"{n}={v}" for n, v in cookies.items()))
        request, good = HttpRequest("GET", location, given, is_found=True), ()
    raise ProtocolError(f"{step.path} redirects more than {MAX_REDIRECTS} times")


def _place_of_token(steps: list[CompiledStep]) -> str:
    places = [step.step.take["token"] for step in steps if "token" in step.step.take]
    if not places:
        return ""
    return places[-1] if isinstance(places[-1], str) else places[-1].words


def read_answer(
    response: HttpResponse,
    account: str,
    where: str,
    good: tuple[int, ...] = (),
    *,
    json: bool = True,
) -> dict[str, Any]:
    """Return the JSON object in a login's response.

    Args:
        where: the request, for the error.
        good: the statuses that mean success; by default 200 to 299.
        json: whether values of its JSON are needed; otherwise a page or an empty body is fine.

    Raises:
        AuthenticationError: if the service refuses the credentials.
        BerlinError: for every other status that is not a success.
        ProtocolError: if the response must be a JSON object and is not.
    """
    said = describe_error(response.body, EXPLANATIONS)
    if response.status in REFUSED_STATUSES:
        raise AuthenticationError(
            f"the service refuses account {account!r}: {said}"
            if account
            else f"the service refuses the credentials: {said}",
            status=response.status,
        )
    if good and response.status == 200 and 200 not in good:
        # Services tell browsers by showing the form again.
        raise AuthenticationError(
            f"the service refuses account {account!r}: it answers 200 in place of "
            f"{' or '.join(map(str, good))}",
            status=200,
        )
    is_good = response.status in good if good else 200 <= response.status < 300
    if not is_good:
        raise error_from_answer(response.status, response.headers, f"{said} (at {where})")
    document = decoded_or_none(response.body.removeprefix(BOM), MAX_STEP_VALUES)
    if not isinstance(document, dict):
        if not json:
            return {}
        # Not quoted: what looks like no JSON object may still hold a token.
        raise ProtocolError(f"{where} answers {response.status}: {_kind_of(response.body)}")
    _check_envelope(document, account, said)
    return document


def _kind_of(body: bytes) -> str:
    """Describe a body that should have been a JSON object, without quoting it."""
    if not body:
        return "nothing"
    if not is_page(body):
        return f"{len(body)} bytes that are not a JSON object"
    title = _TITLE.search(body)
    named = f" titled {snippet(title[1], 60)!r}" if title else ""
    return f"a web page{named} instead of a JSON object; is the URL right?"


def _check_envelope(document: Any, account: str, said: str) -> None:
    """Detect a refusal inside a 200: `{"code": 401, "message": …}`."""
    code = first_at(document, _CODES)
    if isinstance(code, int | str) and str(code) in map(str, REFUSED_STATUSES):
        raise AuthenticationError(f"the service refuses account {account!r}: {said}", status=401)


def outline(document: Any) -> str:
    """Summarise a successful response: its message, or its structure, but never a value."""
    message = first_at(document, EXPLANATIONS)
    if isinstance(message, str):
        return snippet(message)
    return f"its answer has {', '.join(_pointers(document, ''))[:200] or 'nothing'}"


def _pointers(document: Any, above: str) -> list[str]:
    if not isinstance(document, dict) or above.count("/") >= 3:
        return [above] if above else []
    return [p for key, value in document.items() for p in _pointers(value, f"{above}/{key}")]
