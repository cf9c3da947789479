"""Observes whether a provider works."""

from __future__ import annotations

from berlin.errors import BerlinError
from berlin.providers.contract import Bursts, Provider
from berlin.routing.base.answer import Watched
from berlin.types import ChatRequest


class Health:
    """Remembers the outcome of the last request.

    Attributes:
        working: `True` until a request fails through the service's fault (unreachable, broken, 5xx,
            invalid), after its retries; `True` again after the next success.
    """

    def __init__(self, inner: Provider) -> None:
        self._inner = inner
        self.working = True

    def bursts(self, request: ChatRequest) -> Bursts:
        """Answer a request; see `Provider`."""
        return Watched(self._inner.bursts(request), self._end)

    async def aclose(self) -> None:
        """Close connections. The next request opens new ones."""
        await self._inner.aclose()

    def _end(self, how: BaseException | None) -> None:
        if how is None:
            self.working = True
        elif isinstance(how, BerlinError) and how.blames_service:
            self.working = False
