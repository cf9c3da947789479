"""Flows without a login: an API key, and HTTP basic authentication."""

from __future__ import annotations

import base64
import time

import msgspec

from berlin.auth.attach import BEARER, Attach, Attachment, attachments, check_attach
from berlin.auth.contract import Flow, Send, Unattended
from berlin.auth.credentials import Credentials
from berlin.auth.grant import Grant, check_token
from berlin.errors import ConfigurationError, ProtocolError
from berlin.language.step import SESSION_NAMES
from berlin.types import Secret


class NoneMap(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="flow", tag="none"
):
    """`flow = "none"`: the service needs no credentials."""

    attach: Attach = BEARER
    rejected_statuses: tuple[int, ...] = ()

    def flow(self) -> Flow | None:
        """Return nothing."""
        return None


class ApiKeyMap(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="flow", tag="api-key"
):
    """`flow = "api-key"`: the key is the token.

    Attributes:
        optional: whether the service may be used without a key; then none is sent if none is given.
    """

    attach: Attach = BEARER
    rejected_statuses: tuple[int, ...] = ()
    optional: bool = False

    def flow(self) -> Flow | None:
        """Return the flow."""
        check_attach(self.attach, SESSION_NAMES)
        return _Given(("api_key",))


class BasicMap(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="flow", tag="basic"
):
    """`flow = "basic"`: account and password in each request (RFC 7617)."""

    attach: Attach = Attachment(header="Authorization", prefix="Basic ")
    rejected_statuses: tuple[int, ...] = ()

    def flow(self) -> Flow | None:
        """Return the flow."""
        check_attach(self.attach, SESSION_NAMES)
        return _Given(("account", "password"))


class AwsMap(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="flow", tag="aws"):
    """`flow = "aws"`: each request is signed with an access key: its id is `client_id`, its secret
    `client_secret`.

    Attributes:
        attach: how requests are signed: `sign = "aws4"` with `service` and `region`.
    """

    attach: Attach
    rejected_statuses: tuple[int, ...] = ()

    def flow(self) -> Flow | None:
        """Return the flow. Raises ConfigurationError."""
        if not any(one.sign for one in attachments(self.attach)):
            raise ConfigurationError('flow = "aws" needs attach = { sign = "aws4", … }')
        check_attach(self.attach, SESSION_NAMES | {"secret_access_key"})
        return _Given(("client_id", "client_secret"))


class _Given(Unattended):
    """Makes the token from the credentials, without any request."""

    def __init__(self, needs: tuple[str, ...]) -> None:
        self.needs = needs
        self.asks = False

    async def obtain(self, credentials: Credentials, send: Send) -> Grant:
        values = credentials.values()
        if self.needs == ("api_key",):
            try:
                return Grant(check_token(values["api_key"]), time.time())
            except ProtocolError as error:
                raise ConfigurationError(f"the API key cannot be sent: {error.message}") from error
        if self.needs == ("client_id", "client_secret"):
            secret = values["client_secret"]
            token = check_token(values["client_id"], "the id of the access key")
            return Grant(token, time.time(), values={"secret_access_key": secret})
        if ":" in values["account"]:
            raise ConfigurationError("basic authentication allows no ':' in the account (RFC 7617)")
        pair = f"{values['account']}:{values['password']}".encode()
        return Grant(Secret(base64.b64encode(pair).decode()), time.time())

    async def renew(
        self, credentials: Credentials, refresh_token: Secret, send: Send
    ) -> Grant | None:
        return None
