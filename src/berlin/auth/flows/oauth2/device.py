"""The device code flow: a person enters a code in a browser on any device (RFC 8628)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Annotated, TypeAlias

import msgspec

from berlin.auth.contract import DeviceCode
from berlin.auth.flows.login import read_answer
from berlin.auth.flows.oauth2.endpoint import TokenClient, error_of, read_grant
from berlin.auth.flows.oauth2.table import DEVICE_GRANT
from berlin.auth.grant import Grant
from berlin.errors import (
    AuthenticationError,
    ConfigurationError,
    ConnectionLostError,
    ProtocolError,
    UpstreamTimeoutError,
)
from berlin.types import HttpResponse, Secret, split_url
from berlin.wire.snippet import snippet

# RFC 8628, 3.2 and 3.5.
DEFAULT_INTERVAL_S = 5.0
SLOW_DOWN_S = 5.0
MAX_CODE_CHARS = 200
LEAST_INTERVAL_S = 1.0  # 0 would poll without a pause, forever


async def ask_for_code(client: TokenClient) -> DeviceCode:
    """Request a device code (RFC 8628, 3.1). Raises BerlinError if the service returns none."""
    form = {"scope": client.described.scope} if client.described.scope else {}
    return read_code(await client.post(client.endpoints.device, form))


def read_code(response: HttpResponse, rename: Callable[[str], str] = str) -> DeviceCode:
    """Return the code in the answer to a device authorization. Raises BerlinError.

    Args:
        rename: returns the name of a member in RFC 8628.
    """
    answer = read_answer(response, "", "the device authorization")
    try:
        named = {rename(name): value for name, value in answer.items()}
        given = msgspec.convert(named, _DeviceAnswer, strict=False)
        url, whole_url = given.verification_uri or given.verification_url, given.whole_url
        # A person is shown them, and believes that Berlin says so.
        for shown in filter(None, (url, whole_url)):
            split_url(shown, "the page to open", ("https", "http"))
    except (msgspec.ValidationError, ConfigurationError) as error:
        raise ProtocolError(f"the device authorization: {error}") from error
    if not given.user_code.isprintable() or len(given.user_code) > MAX_CODE_CHARS:
        raise ProtocolError("the device authorization: its code cannot be shown")
    interval = max(given.interval, LEAST_INTERVAL_S)
    return DeviceCode(
        url, given.user_code, whole_url, Secret(given.device_code), interval, given.expires_in
    )


async def wait_for_token(
    client: TokenClient,
    code: DeviceCode,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Grant:
    """Return the token once the person has entered the code; see `wait_for_person`."""
    form = {"grant_type": DEVICE_GRANT, "device_code": code.device_code.reveal()}
    token_url = client.endpoints.token
    response = await wait_for_person(code, lambda: client.post(token_url, form), sleep)
    return read_grant(client.described, response)


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
        interval = min(interval, code.lifetime - waited)
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


_Seconds: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=1e9)]  # neither NaN nor infinite


class _DeviceAnswer(msgspec.Struct):
    device_code: str
    user_code: str
    expires_in: _Seconds
    verification_uri: str = ""
    verification_url: str = ""  # one large vendor's name for it
    whole_url: str = msgspec.field(default="", name="verification_uri_complete")
    interval: _Seconds = DEFAULT_INTERVAL_S
