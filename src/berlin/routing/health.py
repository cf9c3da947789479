"""Observes whether a provider works."""

from __future__ import annotations

from berlin.errors import BerlinError
from berlin.providers.contract import Burst, Bursts, Provider
from berlin.routing.base.answer import Passed
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
        return _Observed(self._inner.bursts(request), self)

    async def aclose(self) -> None:
        """Close connections. The next request opens new ones."""
        await self._inner.aclose()


class _Observed(Passed):
    """An answer of which only the end is examined."""

    def __init__(self, answer: Bursts, health: Health) -> None:
        super().__init__(answer)
        self._health = health

    async def __anext__(self) -> Burst:
        try:
            return await self._answer.__anext__()
        except StopAsyncIteration:
            self._health.working = True
            raise
        except BerlinError as error:
            if error.blames_service:
                self._health.working = False
            raise
