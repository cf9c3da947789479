"""A provider that sends each request with a token of its caller's own, and never with another's."""

from __future__ import annotations

import msgspec

from berlin.auth.callers import Callers
from berlin.errors import KeyRefusedError
from berlin.providers.contract import Bursts
from berlin.providers.http import HttpProvider
from berlin.types import ChatRequest, Identity, Timeouts


class OnBehalf:
    """Answers each request as its caller.

    Args:
        provider: the provider of the service, which itself has no token.
        callers: the authenticators of the callers.
        timeouts: the limits of requests that set none.
    """

    def __init__(self, provider: HttpProvider, callers: Callers, timeouts: Timeouts) -> None:
        self._provider = provider
        self._callers = callers
        self.timeouts = timeouts

    def bursts(self, request: ChatRequest) -> Bursts:
        """Answer a request; see `Provider`.

        Raises:
            KeyRefusedError: if it does not say on whose behalf it is sent.
        """
        provider = self.of(request.identity)
        return provider.bursts(msgspec.structs.replace(request, identity=None))

    def of(self, identity: Identity | None) -> HttpProvider:
        """Return the provider of one caller, with the same connections. Raises KeyRefusedError."""
        if identity is None:
            raise KeyRefusedError(
                "this service is used on behalf of its callers: send your own token as "
                "`Authorization: Bearer …`, and the gateway's key, if it needs one, as `x-api-key`"
            )
        return self._provider.with_auth(self._callers.of(identity))

    async def aclose(self) -> None:
        """Close the connections of this loop."""
        await self._provider.aclose()
