"""A provider whose shared state is closed with it."""

from __future__ import annotations

from berlin.providers.contract import Bursts
from berlin.providers.facade import ChatProvider
from berlin.routing.base.wrapper import Wrapper
from berlin.routing.shared.server import SharedRedis
from berlin.types import ChatRequest


class WithShared(Wrapper):
    """Closes the connections to Redis with those of the provider.

    Args:
        inner: the provider.
        redis: the shared Redis.
    """

    def __init__(self, inner: ChatProvider, redis: SharedRedis) -> None:
        super().__init__(inner)
        self._redis = redis

    def bursts(self, request: ChatRequest) -> Bursts:
        """Answer a request; see `ChatProvider.bursts`."""
        return self.inner.bursts(request)

    async def aclose(self) -> None:
        """Close connections."""
        await super().aclose()
        await self._redis.aclose()
