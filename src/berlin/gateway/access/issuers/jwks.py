"""The public keys of an issuer (RFC 7517), fetched when they are needed."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import msgspec

from berlin.auth.flows.oauth2.discovery import discover
from berlin.errors import BerlinError, ProtocolError, UnavailableError
from berlin.transport.client import Transport
from berlin.types import Endpoint, HttpRequest, HttpResponse

FRESH_S = 600.0
# A token with an unknown key makes the keys be fetched again, but not more often than this.
ASK_EVERY_S = 5.0
TIMEOUT_S = 5.0
MAX_BYTES = 512 * 1024
MAX_KEYS = 100
"""More are not read: a token without the id of its key is tried with each."""

_log = logging.getLogger("berlin.gateway")


class _Set(msgspec.Struct):
    keys: list[dict[str, Any]]


class PublicKeys:
    """The public keys of one issuer.

    Keys that are known stay usable while the issuer cannot be reached.

    Args:
        issuer: the issuer.
        jwks: the URL of the keys; by default as the issuer's metadata say.
        ca_file: PEM file with the certificates to trust.
        clock: a monotonic clock, in seconds.

    Raises:
        ConfigurationError: if a URL cannot be used.
    """

    def __init__(
        self,
        issuer: str,
        jwks: str | None = None,
        ca_file: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._issuer = issuer.rstrip("/")
        self._jwks = jwks
        self._ca_file = ca_file
        self._clock = clock
        self._keys: list[dict[str, Any]] = []
        self._asked_at = self._fresh_until = float("-inf")
        self._asking = asyncio.Lock()
        Endpoint.of(jwks or issuer)  # checked at the start, not at the first token

    async def find(self, kid: str | None, kty: str) -> list[dict[str, Any]]:
        """Return the keys that a token may be signed with.

        Args:
            kid: the id of the key in the token's header; `None` if there is none.
            kty: the type of key that the token's algorithm needs.

        Raises:
            UnavailableError: if the issuer has never been reached.
        """
        if self._clock() >= self._fresh_until or not self._matching(kid, kty):
            await self._refresh()
        return self._matching(kid, kty)

    def _matching(self, kid: str | None, kty: str) -> list[dict[str, Any]]:
        return [
            key
            for key in self._keys
            if key.get("kty") == kty
            and key.get("use", "sig") == "sig"
            and (kid is None or key.get("kid") == kid)
        ]

    async def _refresh(self) -> None:
        async with self._asking:
            now = self._clock()
            if now < self._asked_at + ASK_EVERY_S:
                if not self._keys:
                    raise _unreachable()
                return
            self._asked_at = now
            try:
                async with asyncio.timeout(TIMEOUT_S):
                    self._keys = await self._fetch()
                self._fresh_until = self._clock() + FRESH_S
            except (BerlinError, TimeoutError) as error:
                _log.warning("issuer.unreachable issuer=%s error=%s", self._issuer, error)
                if not self._keys:
                    raise _unreachable() from None

    async def _fetch(self) -> list[dict[str, Any]]:
        url = self._jwks or (await discover(self._issuer, self._send)).keys
        if not url:
            raise ProtocolError(f"the metadata of {self._issuer} name no jwks_uri")
        response = await self._send(HttpRequest("GET", url, {"Accept": "application/json"}))
        if response.status != 200:
            raise ProtocolError(f"{url} answers {response.status}")
        try:
            return msgspec.json.decode(response.body, type=_Set).keys[:MAX_KEYS]
        except msgspec.DecodeError as error:
            raise ProtocolError(f"{url}: {error}") from error

    async def _send(self, request: HttpRequest) -> HttpResponse:
        parts = urlsplit(request.path)
        endpoint = Endpoint.of(f"{parts.scheme}://{parts.netloc}", ca_file=self._ca_file)
        transport = Transport(endpoint, "berlin")
        try:
            path = parts._replace(scheme="", netloc="").geturl()
            answer = await transport.open(msgspec.structs.replace(request, path=path), TIMEOUT_S)
            try:
                return await answer.whole(MAX_BYTES)
            finally:
                answer.close()
        finally:
            await transport.aclose()


def _unreachable() -> UnavailableError:
    return UnavailableError(
        "the issuer of this token cannot be reached, so the token cannot be checked; try again",
        retry_after=ASK_EVERY_S,
    )
