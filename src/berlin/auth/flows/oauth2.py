"""OAuth 2.0: client credentials, password, refresh token (RFC 6749) and device code (RFC 8628)."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Awaitable, Callable
from typing import Any, Literal
from urllib.parse import quote_plus

import msgspec

from berlin.auth.attach import BEARER, Attach, check_attach
from berlin.auth.contract import DeviceCode, Flow, Send
from berlin.auth.credentials import Credentials
from berlin.auth.flows.login import outline, read_answer
from berlin.auth.grant import Grant, parse_grant
from berlin.errors import (
    AuthenticationError,
    ConfigurationError,
    MissingCredentialsError,
    ProtocolError,
    ServiceUnavailableError,
)
from berlin.language.form import encode_form
from berlin.language.step import SESSION_NAMES
from berlin.types import HttpRequest, HttpResponse, Secret
from berlin.wire.snippet import snippet

GrantKind = Literal["client_credentials", "password", "refresh_token", "device_code"]

DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
# RFC 8628, 3.2 and 3.5.
DEFAULT_INTERVAL_S = 5.0
SLOW_DOWN_S = 5.0
LEAST_INTERVAL_S = 1.0  # 0 would ask without a pause, and without an end

_NEEDS: dict[str, tuple[str, ...]] = {
    "client_credentials": ("client_id", "client_secret"),
    "password": ("account", "password"),
    "refresh_token": ("refresh_token",),
    "device_code": ("client_id",),
}


class OAuth2Map(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="flow", tag="oauth2"
):
    """`flow = "oauth2"`: the table `[auth]`.

    Attributes:
        grant: which of the four.
        token_url: the token endpoint: a whole URL, or a path below the endpoint's URL.
        device_url: the device authorization endpoint, for `device_code`.
        scope: what is asked for, separated by blanks.
        client_auth: how the client says who it is: `basic` or in the `body` (RFC 6749, 2.3.1).
        parameters: further parameters of the token request, such as `audience`.
        attach: how requests carry the token.
        rejected_statuses: the statuses that mean: the token is no longer good.
    """

    grant: GrantKind
    token_url: str
    device_url: str = ""
    scope: str = ""
    client_auth: Literal["basic", "body"] = "basic"
    parameters: dict[str, str] = {}
    attach: Attach = BEARER
    rejected_statuses: tuple[int, ...] = (401,)

    def flow(self) -> Flow:
        """Return the flow. Raises ConfigurationError."""
        if (self.grant == "device_code") != bool(self.device_url):
            raise ConfigurationError('device_url belongs to grant = "device_code", and only there')
        check_attach(self.attach, SESSION_NAMES)
        return OAuth2Flow(self)


class OAuth2Flow:
    """The flow that an `OAuth2Map` describes."""

    def __init__(self, oauth: OAuth2Map) -> None:
        self._map = oauth
        self.needs = _NEEDS[oauth.grant]
        self.asks = True

    @property
    def needs_person(self) -> bool:
        """Whether a full login needs a person."""
        return self._map.grant == "device_code"

    async def attend(
        self, credentials: Credentials, send: Send, announce: Callable[[DeviceCode], None]
    ) -> Grant:
        """Get a token while a person enters a code; see `Flow`."""
        code = await self.begin(credentials, send)
        announce(code)
        return await self.wait(code, credentials, send)

    async def obtain(self, credentials: Credentials, send: Send) -> Grant:
        """Get a token by a full login; see `Flow`."""
        values = credentials.values()
        match self._map.grant:
            case "device_code":
                raise MissingCredentialsError("a person has to log in first: run `berlin login`")
            case "refresh_token":
                return await self.renew(credentials, credentials.refresh_token, send)
            case "password":
                form = {"username": values["account"], "password": values["password"]}
            case _:
                form = {}
        return await self._ask(credentials, {"grant_type": self._map.grant, **form}, send)

    async def renew(self, credentials: Credentials, refresh_token: Secret, send: Send) -> Grant:
        """Get the next token (RFC 6749, 6); see `Flow`."""
        form = {"grant_type": "refresh_token", "refresh_token": refresh_token.reveal()}
        grant = await self._ask(credentials, form, send)
        if grant.refresh_token is None:
            grant = msgspec.structs.replace(grant, refresh_token=refresh_token)
        return grant

    async def begin(self, credentials: Credentials, send: Send) -> DeviceCode:
        """Ask for a device code (RFC 8628, 3.1).

        Raises:
            BerlinError: if the service gives none.
        """
        form = {"scope": self._map.scope} if self._map.scope else {}
        response = await send(self._request(self._map.device_url, credentials, form))
        answer = read_answer(response, "", "the device authorization")
        try:
            given = msgspec.convert(answer, _DeviceAnswer)
        except msgspec.ValidationError as error:
            raise ProtocolError(f"the device authorization: {error}") from error
        return DeviceCode(
            given.verification_uri or given.verification_url,
            given.user_code,
            given.verification_uri_complete,
            Secret(given.device_code),
            max(given.interval, LEAST_INTERVAL_S),
            given.expires_in,
        )

    async def wait(
        self,
        code: DeviceCode,
        credentials: Credentials,
        send: Send,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> Grant:
        """Ask again and again until the person is done (RFC 8628, 3.4 and 3.5).

        Raises:
            AuthenticationError: if the person refuses, or does nothing in time.
        """
        form = {"grant_type": DEVICE_GRANT, "device_code": code.device_code.reveal()}
        interval, waited = code.interval, 0.0
        while waited < code.lifetime:
            await sleep(interval)
            waited += interval
            response = await send(self._request(self._map.token_url, credentials, form))
            match _error_of(response):
                case "authorization_pending":
                    continue
                case "slow_down":
                    interval += SLOW_DOWN_S
                case "":
                    return self._grant_of(response)
                case "access_denied":
                    raise AuthenticationError("the person refused the access")
                case "expired_token":
                    break
                case other:
                    raise AuthenticationError(f"the service ends the login: {snippet(other)}")
        raise AuthenticationError("nobody entered the code in time; run `berlin login` again")

    async def _ask(self, credentials: Credentials, form: dict[str, str], send: Send) -> Grant:
        if self._map.scope and form["grant_type"] != "refresh_token":
            form = {**form, "scope": self._map.scope}
        return self._grant_of(await send(self._request(self._map.token_url, credentials, form)))

    def _grant_of(self, response: HttpResponse) -> Grant:
        if _error_of(response) in ("temporarily_unavailable", "server_error"):
            raise ServiceUnavailableError("the token service is temporarily unavailable")
        answer = read_answer(response, "", "the token request")
        kind = answer.get("token_type")
        # RFC 6749, 7.1: a token of a type that is not understood must not be used.
        if isinstance(kind, str) and kind.lower() != "bearer":
            raise ProtocolError(f"the token is of type {kind[:40]!r}; only bearer is understood")
        values = {**answer, "token": answer.get("access_token")}
        return parse_grant(values, time.time(), outline(answer), "the token request")

    def _request(self, url: str, credentials: Credentials, form: dict[str, Any]) -> HttpRequest:
        headers: dict[str, str | Secret] = {
            "Content-Type": "application/x-www-form-urlencoded",
            "Accept": "application/json",
        }
        fields = {**self._map.parameters, **form}
        values = credentials.values()
        client, secret = values.get("client_id", ""), values.get("client_secret", "")
        if secret and self._map.client_auth == "basic":
            # RFC 6749, 2.3.1: both are encoded as in a form before they are joined.
            pair = f"{quote_plus(client)}:{quote_plus(secret)}".encode()
            headers["Authorization"] = Secret("Basic " + base64.b64encode(pair).decode())
        else:
            fields.update({"client_id": client} if client else {})
            fields.update({"client_secret": secret} if secret else {})
        return HttpRequest("POST", url, headers, body=encode_form(fields))


class _DeviceAnswer(msgspec.Struct):
    device_code: str
    user_code: str
    expires_in: float
    verification_uri: str = ""
    verification_url: str = ""  # what one large vendor calls it
    verification_uri_complete: str = ""
    interval: float = DEFAULT_INTERVAL_S


def _error_of(response: HttpResponse) -> str:
    """Return the error code of RFC 6749, 5.2, or `""` where there is none.

    Some services answer it with status 200 (docs.github.com: device flow).
    """
    try:
        document = msgspec.json.decode(response.body)
    except (ValueError, RecursionError):
        return ""
    error = document.get("error") if isinstance(document, dict) else None
    if isinstance(document, dict) and "access_token" in document:
        return ""
    return error if isinstance(error, str) else ""
