"""What a flow is, and how a provider authenticates its requests with one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, NoReturn, Protocol, TypeAlias

import msgspec

from berlin.auth.access import AccessToken
from berlin.auth.attach import Attach, attachments
from berlin.auth.credentials import Credentials
from berlin.auth.grant import Grant, check_token
from berlin.auth.guidance import explain_missing, login_command, login_has_ended, needs_person
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
from berlin.types import HttpRequest, HttpResponse, Secret, mask

Send: TypeAlias = Callable[[HttpRequest], Awaitable[HttpResponse]]
"""Sends one request of a flow and gives the whole answer."""

_TOKEN_ONLY = frozenset({"token"})


class DeviceCode(msgspec.Struct, frozen=True):
    """What a person has to do for a device code.

    Attributes:
        url: the page to open.
        code: what to type there.
        whole_url: a page that knows the code already; `""` if there is none.
        device_code: what the token is asked with.
        interval: seconds between two questions.
        lifetime: seconds until it is too late.
    """

    url: str
    code: str
    whole_url: str
    device_code: Secret
    interval: float
    lifetime: float


class Person(Protocol):
    """The person who takes part in a login, as a command or a program shows it to them."""

    def show_code(self, code: DeviceCode) -> None:
        """Show which page to open, and what to type there."""
        ...

    async def open_page(self, url: str, back: str) -> str | None:
        """Open a page in a browser of this machine, or show its address.

        Args:
            url: the page.
            back: the address on this machine to which the browser comes back.

        Returns:
            the address to which the browser went at last, if the person pastes it (the browser may
            run on another machine); `None` if nothing can be pasted.
        """
        ...


class Flow(Protocol):
    """One way to get a token.

    Attributes:
        needs: the credentials without which it cannot begin.
        asks: whether a login asks the service anything, and so shows that they are right.
    """

    needs: tuple[str, ...]
    asks: bool

    @property
    def needs_person(self) -> bool:
        """Whether a full login needs a person."""
        ...

    async def attend(self, credentials: Credentials, send: Send, person: Person) -> Grant:
        """Get a token by a full login in which a person takes part.

        Raises:
            AuthenticationError: if the person refuses, or does nothing in time.
            BerlinError: whatever else went wrong.
        """
        ...

    async def obtain(self, credentials: Credentials, send: Send) -> Grant:
        """Get a token by a full login.

        Raises:
            AuthenticationError: if the credentials are refused.
            BerlinError: whatever else went wrong.
        """
        ...

    async def renew(
        self, credentials: Credentials, refresh_token: Secret, send: Send
    ) -> Grant | None:
        """Get the next token with a refresh token; `None` if this flow has no such way.

        Raises:
            AuthenticationError: if the refresh token is no longer good.
            BerlinError: whatever else went wrong.
        """
        ...


class Authenticator:
    """Authenticates requests: gets tokens, attaches them, and takes back those refused.

    Args:
        flow: how tokens are got; `None` if the service asks for none.
        attach: how requests carry them.
        credentials: what the user brings; `None` if only a given token is to be used.
        source: where the token is kept.
        rejected_statuses: the statuses that mean: the token is no longer good.
        variables: the environment variables in which the credentials may be, by name.
        url: the endpoint's URL, which a signature covers.
        name: the provider's name in the configuration.

    Attributes:
        observe: called after each login, with `ok` or the code of the error.
    """

    def __init__(
        self,
        flow: Flow | None,
        attach: Attach,
        credentials: Credentials | None,
        source: TokenSource,
        rejected_statuses: tuple[int, ...] = (401,),
        variables: Mapping[str, str] | None = None,
        url: str = "",
        name: str = "",
    ) -> None:
        self._url = url
        self.source = source
        self._log_in_by = login_command(name)
        self._variables = variables or {}
        self.rejected_statuses = rejected_statuses
        self._flow = flow
        self._attachments = attachments(attach)
        self._credentials = credentials or Credentials()
        self._read: tuple[Secret, ...] = ()
        self.observe: Callable[[str], None] = _ignore

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """What must never show in a message."""
        return (*self._credentials.secrets, *self._read, *self.source.seen)

    @property
    def renews(self) -> bool:
        """Whether there can be another token in place of a refused one."""
        return self._flow is not None and self._flow.asks

    @property
    def is_browser_session(self) -> bool:
        """Whether the service knows a browser's session, and shows a login page when it ends."""
        return self.renews and any(attachment.cookie for attachment in self._attachments)

    def token_at_hand(self) -> Secret | None:
        """Return the token if no login has to be waited for. Raises AuthenticationError."""
        return None if self._flow is None else self.source.at_hand()

    async def token(self, send: Send) -> Secret | None:
        """Return a token, after a login if need be; `None` if the service asks for none.

        Args:
            send: sends one request of the login.

        Raises:
            MissingCredentialsError: if there is nothing to log in with.
            AuthenticationError: if the service refuses the credentials.
            BerlinError: whatever else the login ended with.
        """
        if self._flow is None:
            return None
        flow = self._flow
        return await self.source.get(lambda refresh_token: self._login(flow, refresh_token, send))

    async def log_in(self, send: Send, person: Person | None) -> bool:
        """Log in anew where that needs a person, and keep the token.

        Args:
            send: sends one request of the login.
            person: who takes part.

        Returns:
            whether that was needed; else the next request logs in by itself.

        Raises:
            BerlinError: if that fails.
        """
        if self._flow is not None and self._flow.needs_person:
            if person is None:
                raise MissingCredentialsError(needs_person(self._log_in_by))
            credentials = await self._fresh()
            grant = await self._flow.attend(credentials, send, person)
            await self.source.install(grant)
            return True
        self.source.adopt(None)
        return False

    async def use_session(self, cookies: str) -> None:
        """Keep the session of a browser, in place of a login.

        Args:
            cookies: the value of its Cookie header.

        Raises:
            ConfigurationError: if the session is not a cookie, or is not among these.
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
        """Return a token as other programs use it, after a login if need be.

        Raises:
            ConfigurationError: if the service asks for no token.
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
        """Use a token that somebody else got. Raises ProtocolError if it cannot be sent."""
        self.source.adopt(None if token is None else check_token(token))

    def reject(self, token: Secret | None) -> None:
        """Hand in a token that the service refused."""
        if token is not None:
            self.source.reject(token)

    def attach(self, request: HttpRequest, token: Secret | None) -> HttpRequest:
        """Return the request with its token, and what else the login took for it.

        Raises:
            AuthenticationError: if the login is an old one that did not take all of it.
        """
        if token is None:
            return request
        for attachment in self._attachments:
            if attachment.names <= _TOKEN_ONLY:
                request = attachment.apply(request, token)
            else:
                values = self.session(token, attachment.names)
                request = attachment.apply(request, token, values, self._url)
        return request

    def session(self, token: Secret | None, names: Iterable[str]) -> dict[str, Any]:
        """Return the values that placeholders of the login stand for; none without a token.

        Args:
            token: the token in use.
            names: the placeholders.

        Raises:
            AuthenticationError: if the login is an old one that did not take all of them.
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
            # Here already: it is remembered, stored, and the cause of what each waiter gets.
            secrets = (*self.secrets, *((refresh_token,) if refresh_token else ()))
            error.args = (mask(error.message, secrets), *error.args[1:])
            error.private = True  # no client asked for this request
            raise
        self.observe("ok")
        return grant

    async def _renew_or_obtain(self, flow: Flow, refresh_token: Secret | None, send: Send) -> Grant:
        refused: AuthenticationError | None = None
        if refresh_token is not None:
            credentials = await self._fresh()
            try:
                grant = await flow.renew(credentials, refresh_token, send)
            except AuthenticationError as error:
                refused = error  # too old, or used before: a full login
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
            refused.args = (login_has_ended(refused.message, self._log_in_by), *refused.args[1:])
            raise refused from None

    async def _obtain(self, flow: Flow, send: Send) -> Grant:
        missing = self._missing(flow)
        if missing:
            message = explain_missing(missing, self._variables, self._log_in_by)
            raise MissingCredentialsError(message)
        credentials = await self._fresh()
        try:
            return await flow.obtain(credentials, send)
        except MissingCredentialsError as error:
            error.args = (f"{error.message}: run {self._log_in_by}", *error.args[1:])
            raise

    async def _fresh(self) -> Credentials:
        """Return the credentials as they are now, and remember what must not show."""
        if not self._credentials.kept:
            return self._credentials
        credentials = await asyncio.to_thread(self._credentials.fresh)
        self._read = credentials.secrets
        return credentials

    def _missing(self, flow: Flow) -> list[str]:
        return [name for name in flow.needs if name not in self._credentials.names]


class Unattended:
    """A flow in which no person takes part."""

    needs_person = False

    async def attend(self, credentials: Credentials, send: Send, person: Person) -> NoReturn:
        """Refuse: there is nothing to do for a person."""
        raise NotImplementedError


def _secret(value: str | Secret) -> Secret:
    return value if isinstance(value, Secret) else Secret(value)


def _ignore(result: str) -> None:
    """Nobody watches the logins."""
