"""The device code flow: a person enters a code in a browser on any device (RFC 8628)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import msgspec

from berlin.auth.contract import DeviceCode, Send
from berlin.auth.flows.login import read_answer
from berlin.auth.flows.oauth2.discovery import Endpoints
from berlin.auth.flows.oauth2.endpoint import error_of, read_grant, token_request
from berlin.auth.flows.oauth2.table import DEVICE_GRANT, OAuth2Map
from berlin.auth.grant import Grant
from berlin.errors import (
    AuthenticationError,
    ConnectionLostError,
    ProtocolError,
    UpstreamTimeoutError,
)
from berlin.types import HttpResponse, Secret
from berlin.wire.snippet import snippet

# RFC 8628, 3.2 and 3.5.
DEFAULT_INTERVAL_S = 5.0
SLOW_DOWN_S = 5.0
LEAST_INTERVAL_S = 1.0  # 0 would poll without a pause, forever


async def ask_for_code(
    described: OAuth2Map, endpoints: Endpoints, values: dict[str, str], send: Send
) -> DeviceCode:
    """Request a device code (RFC 8628, 3.1).

    Raises:
        BerlinError: if the service returns none.
    """
    form = {"scope": described.scope} if described.scope else {}
    request = token_request(described, endpoints.device, values, form, endpoints.token)
    return read_code(await send(request))


def read_code(response: HttpResponse, rename: Callable[[str], str] = str) -> DeviceCode:
    """Return the code in the answer to a device authorization.

    Args:
        response: the answer.
        rename: returns the name of a member in RFC 8628.

    Raises:
        BerlinError: if there is none.
    """
    answer = read_answer(response, "", "the device authorization")
    try:
        named = {rename(name): value for name, value in answer.items()}
        given = msgspec.convert(named, _DeviceAnswer, strict=False)
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


async def wait_for_token(
    described: OAuth2Map,
    endpoints: Endpoints,
    code: DeviceCode,
    values: dict[str, str],
    send: Send,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Grant:
    """Return the token once the person has entered the code.

    Raises:
        AuthenticationError: if the person refuses or does not act in time.
    """
    form = {"grant_type": DEVICE_GRANT, "device_code": code.device_code.reveal()}

    async def ask() -> HttpResponse:
        return await send(token_request(described, endpoints.token, values, form))

    return read_grant(described, await wait_for_person(code, ask, sleep))


async def wait_for_person(
    code: DeviceCode,
    ask: Callable[[], Awaitable[HttpResponse]],
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> HttpResponse:
    """Poll until the person has entered the code (RFC 8628, 3.4 and 3.5).

    Args:
        code: what the person was shown.
        ask: asks for the token once.
        sleep: waits for some seconds.

    Returns:
        the response that has the token, or refuses it.

    Raises:
        AuthenticationError: if the person refuses or does not act in time.
    """
    interval, waited = code.interval, 0.0
    while waited < code.lifetime:
        await sleep(interval)
        waited += interval
        said = "server_error"  # also if the connection is lost: the person is on the way
        with suppress(ConnectionLostError, UpstreamTimeoutError):
            response = await ask()
            is_busy = response.status == 429 or response.status >= 500
            said = error_of(response) or ("server_error" if is_busy else "")
        match said:
            case "authorization_pending":
                continue
            case "temporarily_unavailable" | "server_error":
                interval *= 2
            case "slow_down":
                interval += SLOW_DOWN_S
            case "":
                return response
            case "access_denied":
                raise AuthenticationError("the access was refused in the browser")
            case "expired_token":
                break
            case other:
                raise AuthenticationError(f"the service ends the login: {snippet(other)}")
    raise AuthenticationError("nobody entered the code in time; run `berlin login` again")


class _DeviceAnswer(msgspec.Struct):
    device_code: str
    user_code: str
    expires_in: float
    verification_uri: str = ""
    verification_url: str = ""  # one large vendor's name for it
    verification_uri_complete: str = ""
    interval: float = DEFAULT_INTERVAL_S
