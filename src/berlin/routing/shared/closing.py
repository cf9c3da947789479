"""A provider whose shared counters are closed with it."""

from __future__ import annotations

from typing import TypeVar

from berlin.providers.contract import Provider
from berlin.routing.base.wrapper import Wrapper
from berlin.routing.counters.contract import Counters
from berlin.routing.counters.shared import SharedCounters

_P = TypeVar("_P", bound=Provider)


class WithShared(Wrapper):
    """Closes the shared counters, and the Redis below them, with the provider.

    Args:
        inner: the provider.
        counters: the counters.
    """

    def __init__(self, inner: Provider, counters: SharedCounters) -> None:
        super().__init__(inner)
        self._counters = counters

    async def aclose(self) -> None:
        """Close connections."""
        await super().aclose()
        await self._counters.aclose()


def closing_with(provider: _P, counters: Counters) -> _P | WithShared:
    """Return a provider that closes its counters, if they are shared."""
    return WithShared(provider, counters) if isinstance(counters, SharedCounters) else provider
