"""The interface of a flow: one way to obtain a token."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NoReturn, Protocol, TypeAlias

import msgspec

from berlin.auth.credentials import Credentials
from berlin.auth.grant import Grant
from berlin.types import HttpRequest, HttpResponse, Secret

Send: TypeAlias = Callable[[HttpRequest], Awaitable[HttpResponse]]
"""Sends one request of a flow and returns the whole response."""


class DeviceCode(msgspec.Struct, frozen=True):
    """The instructions to the user for a device code.

    Attributes:
        url: the page to open.
        code: what to type there.
        whole_url: a page with the code already filled in; `""` if there is none.
        device_code: the code sent in token requests.
        interval: seconds between two polls.
        lifetime: seconds until the code expires.
    """

    url: str
    code: str
    whole_url: str
    device_code: Secret
    interval: float
    lifetime: float


class Person(Protocol):
    """Interaction with the person who takes part in a login."""

    def show_code(self, code: DeviceCode) -> None:
        """Show which page to open and the code to enter there."""
        ...

    async def open_page(self, url: str, back: str) -> str | None:
        """Open a page in a browser of this machine, or show its address.

        Args:
            back: the address on this machine to which the browser is redirected.

        Returns:
            the final address of the browser, if the person pastes it (the browser may run on
            another machine); `None` if nothing can be pasted.
        """
        ...


class Flow(Protocol):
    """One way to obtain a token.

    Attributes:
        asks: whether a login sends a request to the service, and so verifies the credentials.
    """

    needs: tuple[str, ...]
    asks: bool

    @property
    def needs_person(self) -> bool:
        """Whether a full login needs a person."""
        ...

    async def attend(self, credentials: Credentials, send: Send, person: Person) -> Grant:
        """Obtain a token by an interactive full login.

        Raises:
            AuthenticationError: if the person refuses or does not act in time.
            BerlinError: for all other failures.
        """
        ...

    async def obtain(self, credentials: Credentials, send: Send) -> Grant:
        """Obtain a token by a full login.

        Raises:
            AuthenticationError: if the credentials are refused.
            BerlinError: for all other failures.
        """
        ...

    async def renew(
        self, credentials: Credentials, refresh_token: Secret, send: Send
    ) -> Grant | None:
        """Get the next token with a refresh token; `None` if this flow has no renewal.

        Raises:
            AuthenticationError: if the refresh token is no longer valid.
            BerlinError: for all other failures.
        """
        ...


class Unattended:
    """A flow without user interaction, and without a way to renew a token."""

    needs: tuple[str, ...] = ()
    asks = True
    needs_person = False

    async def attend(self, credentials: Credentials, send: Send, person: Person) -> NoReturn:
        """Refuse: this flow is not interactive."""
        raise AssertionError("no flow without user interaction is asked for one")

    async def renew(self, credentials: Credentials, refresh_token: Secret, send: Send) -> None:
        """Return `None`: a new token is obtained instead."""
