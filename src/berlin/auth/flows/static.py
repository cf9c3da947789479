"""Flows without a login: an API key, HTTP basic authentication, a given pair of keys."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable

from berlin.auth.attach import Attach, Attachment, FlowMap, check_attach
from berlin.auth.contract import Flow, Send, Unattended
from berlin.auth.credentials import Credentials
from berlin.auth.grant import Grant, check_token
from berlin.errors import ConfigurationError, ProtocolError
from berlin.language.step import SESSION_NAMES
from berlin.types import Secret


class NoneMap(FlowMap, frozen=True, tag="none"):
    """`flow = "none"`: the service needs no credentials."""

    rejected_statuses: tuple[int, ...] = ()

    def flow(self) -> Flow | None:
        """Return nothing."""
        return None


class ApiKeyMap(FlowMap, frozen=True, tag="api-key"):
    """`flow = "api-key"`: the key is the token.

    Attributes:
        optional: whether the service may be used without a key; then none is sent if none is given.
    """

    rejected_statuses: tuple[int, ...] = ()
    optional: bool = False

    def flow(self) -> Flow | None:
        """Return the flow."""
        check_attach(self.attach, SESSION_NAMES)
        return Given(("api_key",), _api_key)


class BasicMap(FlowMap, frozen=True, tag="basic"):
    """`flow = "basic"`: account and password in each request (RFC 7617)."""

    attach: Attach = Attachment(header="Authorization", prefix="Basic ")
    rejected_statuses: tuple[int, ...] = ()

    def flow(self) -> Flow | None:
        """Return the flow."""
        check_attach(self.attach, SESSION_NAMES)
        return Given(("account", "password"), _account)


class Given(Unattended):
    """Makes the token from the credentials, without any request; see `Flow`.

    Args:
        make: makes the token from their values.
    """

    asks = False

    def __init__(self, needs: tuple[str, ...], make: Callable[[dict[str, str]], Grant]) -> None:
        self.needs = needs
        self._make = make

    async def obtain(self, credentials: Credentials, send: Send) -> Grant:
        """Make the token; see `Flow`."""
        return self._make(credentials.values())


def _api_key(values: dict[str, str]) -> Grant:
    try:
        return Grant(check_token(values["api_key"]), time.time())
    except ProtocolError as error:
        raise ConfigurationError(f"the API key cannot be sent: {error.message}") from error


def _account(values: dict[str, str]) -> Grant:
    if ":" in values["account"]:
        raise ConfigurationError("basic authentication allows no ':' in the account (RFC 7617)")
    pair = f"{values['account']}:{values['password']}".encode()
    return Grant(Secret(base64.b64encode(pair).decode()), time.time())
