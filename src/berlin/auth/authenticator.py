"""Authenticates the requests of a provider: obtains, attaches and replaces tokens."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec

from berlin.auth.access import AccessToken
from berlin.auth.attach import Attach, attachments
from berlin.auth.contract import Flow, Person, Send
from berlin.auth.credentials import Credentials, KeptCredentials
from berlin.auth.grant import Grant, check_token
from berlin.auth.guidance import explain_missing, login_command
from berlin.auth.tokens.source import TokenSource
from berlin.errors import (
    AuthenticationError,
    BerlinError,
    ConfigurationError,
    MissingCredentialsError,
    ProtocolError,
)
from berlin.language.step import SESSION_NAMES
from berlin.language.values.functions import MADE
from berlin.types import HttpRequest, Secret, mask
from berlin.types.masking import SHORTEST_CHARS

_TOKEN_ONLY = frozenset({"token"})


class ServiceLogin(msgspec.Struct, frozen=True):
    """How a service authenticates its clients.

    Attributes:
        flow: how tokens are obtained; `None` if the service needs none.
        attach: how requests carry them.
        rejected_statuses: the statuses that mean that the token is no longer valid.
        variables: the environment variables that may hold the credentials, by name.
        url: the endpoint's URL, which a signature covers.
        name: the provider's name in the configuration.
    """

    flow: Flow | None
    attach: Attach
    rejected_statuses: tuple[int, ...] = (401,)
    variables: Mapping[str, str] = {}
    url: str = ""
    name: str = ""


class Authenticator:
    """Authenticates requests: obtains tokens, attaches them, and replaces rejected ones.

    Args:
        credentials: the user's credentials; `None` if only a given token is used.

    Attributes:
        observe: called after each login, with `ok` or the code of the error.
        hint: added to the error about missing credentials.
    """

    def __init__(
        self,
        login: ServiceLogin,
        credentials: Credentials | None,
        source: TokenSource,
    ) -> None:
        self.login = login
        self.source = source
        self._flow = login.flow
        self._log_in_by = login_command(login.name)
        source.keeps_refresh_token = login.flow is not None and login.flow.needs_person
        self._attachments = attachments(login.attach)
        self._credentials = credentials or Credentials()
        if source.kept.given != self._credentials:
            source.kept = KeptCredentials(self._credentials)
        self.observe: Callable[[str], None] = lambda result: None
        self.hint = ""

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """The secrets that must never appear in a message."""
        secrets = (*self._credentials.secrets, *self.source.kept.latest.secrets)
        return (*dict.fromkeys(secrets), *self.source.seen)

    @property
    def names(self) -> tuple[str, ...]:
        """What clients of a gateway must not see: the service's host, and the account."""
        parts, account = urlsplit(self.login.url), self.source.kept.latest.account
        host = parts.hostname or ""
        # A host's name that is an ordinary word is one only in a URL, or before a port.
        hosts = (host,) if set(".:") & set(host) else (f"//{host}", f"{host}:{parts.port}")
        return (*hosts, account) if len(account) >= SHORTEST_CHARS else hosts

    @property
    def renews(self) -> bool:
        """Whether a rejected token can be replaced."""
        return self._flow is not None and self._flow.asks

    @property
    def is_browser_session(self) -> bool:
        """Whether the service uses a browser session, and shows a login page when it expires."""
        return self.renews and any(attachment.cookie for attachment in self._attachments)

    def token_at_hand(self) -> Secret | None:
        """Return the token if there is no login to wait for. Raises AuthenticationError."""
        return None if self._flow is None else self.source.at_hand()

    async def token(self, send: Send) -> Secret | None:
        """Return a token, logging in if necessary; `None` if the service needs none.

        Raises:
            MissingCredentialsError: if there are no credentials.
            AuthenticationError: if the service refuses the credentials.
            BerlinError: any other error of the login.
        """
        if self._flow is None:
            return None
        flow = self._flow
        return await self.source.get(lambda refresh_token: self._login(flow, refresh_token, send))

    async def log_in(self, send: Send, person: Person | None) -> bool:
        """Log in again if that needs a person, and keep the token. Raises BerlinError.

        Returns:
            whether that was needed; otherwise the next request logs in by itself.
        """
        if self._flow is not None and self._flow.needs_person:
            if person is None:
                raise MissingCredentialsError(
                    f"a person has to log in first: run {self._log_in_by}"
                )
            credentials = await self.source.kept.read()
            grant = await self._flow.attend(credentials, send, person)
            await self.source.install(grant)
            return True
        self.source.adopt(None)
        return False

    async def use_session(self, cookies: str) -> None:
        """Keep a browser's session instead of logging in.

        Args:
            cookies: the value of its Cookie header.

        Raises:
            ConfigurationError: if the service does not use a session cookie, or it is not among
                these.
        """
        names = [attachment.cookie for attachment in self._attachments if attachment.cookie]
        if not names:
            raise ConfigurationError(
                "this service's session is not a cookie; log in without --cookie"
            )
        given = cookies.removeprefix("Cookie:").strip()
        named = dict(pair.strip().partition("=")[::2] for pair in given.split(";"))
        if names[0] != "*" and names[0] not in named:
            raise ConfigurationError(
                f"there is no cookie {names[0]!r} among these; copy the value of the request "
                "header Cookie, as the network tab of the browser shows it"
            )
        try:
            token = check_token(given if names[0] == "*" else named[names[0]], "the cookie")
        except ProtocolError as error:
            raise ConfigurationError(error.message) from error
        await self.source.install(Grant(token, time.time(), values=named))

    async def access(self, send: Send) -> AccessToken:
        """Return a token for use by other programs, logging in if necessary.

        Raises:
            ConfigurationError: if the service needs no token.
            BerlinError: as `token` does.
        """
        token = await self.token(send)
        if token is None:
            raise ConfigurationError("this service needs no token")
        carried = self.attach(HttpRequest("GET", "/"), token)
        headers = {n: _secret(value) for n, value in carried.headers.items()}
        query = {n: _secret(value) for n, value in carried.query.items()}
        return AccessToken(token, headers, query, self.source.expires_at(token))

    def adopt(self, token: str | None) -> None:
        """Use a token obtained elsewhere. Raises ProtocolError if it cannot be sent."""
        self.source.adopt(None if token is None else check_token(token))

    def reject(self, token: Secret | None) -> None:
        """Report a token that the service rejected."""
        if token is not None:
            self.source.reject(token)

    def attach(self, request: HttpRequest, token: Secret | None) -> HttpRequest:
        """Return the request with its token and the other values the login took for it.

        Raises:
            AuthenticationError: if the login is from before these values were taken.
        """
        if token is None:
            return request
        for attachment in self._attachments:
            if attachment.names <= _TOKEN_ONLY:
                request = attachment.apply(request, token)
            else:
                values = self.session(token, attachment.names)
                request = attachment.apply(request, token, values, self.login.url)
        return request

    def session(self, token: Secret | None, names: Iterable[str]) -> dict[str, Any]:
        """Return the values of the login's placeholders; empty without a token.

        Raises:
            AuthenticationError: if the login is from before these values were taken.
        """
        if token is None:
            return {}
        known = self._credentials.values()
        ours = {name: known[name] for name in SESSION_NAMES if name in known}
        values = {**ours, **self.source.values_of(token), "token": token.reveal()}
        missing = sorted({*names} - values.keys() - SESSION_NAMES - MADE.keys())
        if missing:
            raise AuthenticationError(f"the login in use took no {' and no '.join(missing)}")
        return values

    async def _login(self, flow: Flow, refresh_token: Secret | None, send: Send) -> Grant:
        try:
            grant = await self._renew_or_obtain(flow, refresh_token, send)
        except BerlinError as error:
            self.observe(error.code)
            # Already here, because the error is remembered, stored and chained for every waiter.
            secrets = (*self.secrets, *((refresh_token,) if refresh_token else ()))
            error.args = (mask(error.message, secrets), *error.args[1:])
            error.private = True  # this request is not a client's own
            raise
        self.observe("ok")
        return grant

    async def _renew_or_obtain(self, flow: Flow, refresh_token: Secret | None, send: Send) -> Grant:
        refused: AuthenticationError | None = None
        if refresh_token is not None:
            credentials = await self.source.kept.read()
            try:
                grant = await flow.renew(credentials, refresh_token, send)
            except AuthenticationError as error:
                refused = error  # expired or already used: do a full login
            else:
                if grant is not None:
                    return grant
        try:
            return await self._obtain(flow, send)
        except MissingCredentialsError:
            if refused is None:
                raise
            # A refusal, and not something missing: that is remembered, so that no other process
            # asks with this refresh token again.
            message = (
                "the login has ended, since its refresh token was refused "
                f"({refused.message}): run {self._log_in_by}"
            )
            refused.args = (message, *refused.args[1:])
            raise refused from None

    async def _obtain(self, flow: Flow, send: Send) -> Grant:
        missing = [name for name in flow.needs if name not in self._credentials.names]
        if missing:
            message = explain_missing(missing, self.login.variables, self.login.name)
            raise MissingCredentialsError(f"{message}. {self.hint}" if self.hint else message)
        credentials = await self.source.kept.read()
        try:
            return await flow.obtain(credentials, send)
        except MissingCredentialsError as error:
            error.args = (f"{error.message}: run {self._log_in_by}", *error.args[1:])
            raise


def _secret(value: str | Secret) -> Secret:
    return value if isinstance(value, Secret) else Secret(value)
