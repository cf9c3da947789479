"""Observes whether a provider works; nobody edits that by hand."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from berlin.errors import BerlinError
from berlin.providers.base import Burst, Provider
from berlin.types import ChatRequest


class Health:
    """Remembers how the last request ended.

    Attributes:
        working: `True` until a request fails by the service's fault (unreachable, broken, 5xx,
            nonsense), after its retries; `True` again after the next success.
    """

    def __init__(self, inner: Provider) -> None:
        self._inner = inner
        self.working = True

    async def bursts(self, request: ChatRequest) -> AsyncGenerator[Burst]:
        """Answer a request; see `Provider`."""
        try:
            async with aclosing(self._inner.bursts(request)) as bursts:
                async for burst in bursts:
                    yield burst
        except BerlinError as error:
            if error.blames_service:
                self.working = False
            raise
        self.working = True

    async def aclose(self) -> None:
        """Let go of connections."""
        await self._inner.aclose()
