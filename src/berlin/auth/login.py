"""The login flow: account and password become a token, and the token becomes a header."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal, TypeAlias

import msgspec

from berlin.auth.credentials import Credentials
from berlin.auth.token_source import TokenSource
from berlin.errors import AuthenticationError, MissingCredentialsError, ProtocolError
from berlin.types import HttpRequest, HttpResponse, Secret
from berlin.wire.exchange import ExchangeFormat
from berlin.wire.pointer import MISSING
from berlin.wire.status import error_from_answer

MAX_TOKEN_BYTES = 16 * 1024
PLACEHOLDERS = frozenset({"account", "password"})

# What services answer to a wrong password, besides 401.
REFUSED_STATUSES = frozenset({400, 401, 403, 422})

MISSING_CREDENTIALS = (
    "there is no account and password to log in with. Give them in one of four ways: "
    "as arguments (account=…, password=…), in the environment (BERLIN_ACCOUNT, BERLIN_PASSWORD), "
    "in the configuration file, or with `berlin login`"
)

Send: TypeAlias = Callable[[HttpRequest], Awaitable[HttpResponse]]
Describe: TypeAlias = Callable[[bytes], str]


class LoginMap(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The table `[auth]` of a recipe.

    Attributes:
        flow: the kind of authentication.
        path: where the login is posted, below the endpoint's URL.
        body: JSON with the placeholders `{account}` and `{password}`.
        token: pointer to the token in the answer.
        header: the header that carries the token.
        prefix: what stands before the token in it, such as `"Bearer "`.
    """

    flow: Literal["login"]
    path: str
    body: dict[str, Any]
    token: str
    header: str = "Authorization"
    prefix: str = ""


class LoginAuth:
    """Authenticates requests with a token that a login gives.

    Args:
        login: the description of the login.
        credentials: account and password; `None` if only a given token is to be used.
        source: where the token is kept.
        describe: finds the explanation in the body of an error answer.
    """

    def __init__(
        self,
        login: LoginMap,
        credentials: Credentials | None,
        source: TokenSource,
        describe: Describe,
    ) -> None:
        self.source = source
        self._map = login
        self._credentials = credentials
        self._describe = describe
        self._format = ExchangeFormat(login.body, PLACEHOLDERS, login.token)

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """What must never show in a message."""
        password = (self._credentials.password,) if self._credentials else ()
        token = (self.source.token,) if self.source.token else ()
        return (*password, *token)

    async def token(self, send: Send) -> Secret:
        """Return a token, after a login if need be.

        Args:
            send: sends one request of the login.

        Raises:
            AuthenticationError: if the service refuses the credentials.
            BerlinError: whatever else the login ended with.
        """
        return await self.source.get(lambda: self._login(send))

    def reject(self, token: Secret) -> None:
        """Hand in a token that the service refused."""
        self.source.reject(token)

    def headers(self, token: Secret) -> Mapping[str, Secret]:
        """Return the headers that carry the token."""
        return {self._map.header: Secret(f"{self._map.prefix}{token.reveal()}")}

    async def _login(self, send: Send) -> Secret:
        credentials = self._credentials
        if credentials is None:
            raise MissingCredentialsError(MISSING_CREDENTIALS)
        body = self._format.encode_request(
            {"account": credentials.account, "password": credentials.password.reveal()}
        )
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        response = await send(HttpRequest("POST", self._map.path, headers, body))
        said = self._describe(response.body)
        if response.status in REFUSED_STATUSES:
            raise AuthenticationError(
                f"the service refuses account {credentials.account!r}: {said}",
                status=response.status,
            )
        if not 200 <= response.status < 300:
            raise error_from_answer(response.status, response.headers, f"{said} (at the login)")
        try:
            token = self._format.decode_response(response.body)
        except ProtocolError as error:
            raise ProtocolError(f"the answer to the login: {error.message}") from error
        return self.checked(token, said)

    def checked(self, token: object, said: str = "") -> Secret:
        """Return a token that a header can carry.

        Raises:
            AuthenticationError: if there is none.
            ProtocolError: if it cannot be one.
        """
        if token is MISSING or token is None or token == "":
            raise AuthenticationError(
                f"the login gave no token at {self._map.token}; the service says: {said}"
            )
        if not isinstance(token, str):
            raise ProtocolError(
                f"the token at {self._map.token} must be text, not {type(token).__name__}"
            )
        if len(token) > MAX_TOKEN_BYTES:
            raise ProtocolError(f"the token is longer than {MAX_TOKEN_BYTES} bytes")
        if not all("!" <= c <= "~" for c in token):
            raise ProtocolError("the token holds characters that no HTTP header may carry")
        return Secret(token)
