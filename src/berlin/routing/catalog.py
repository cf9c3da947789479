"""Many providers under one roof: `provider:model` says which one answers."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

import msgspec

from berlin.providers.base import Burst, Provider
from berlin.types import ChatRequest


class Catalog:
    """Hands each request to the provider that its model names.

    `provider:model` is split at the first colon. A model whose first part names no provider goes
    whole to the default provider: many services have colons in their models' names.

    Args:
        names: the names of all providers.
        default: the name of the one that answers when none is named.
        build: makes a provider when it is first asked.
    """

    def __init__(
        self, names: frozenset[str], default: str, build: Callable[[str], Provider]
    ) -> None:
        self._names = names
        self._default = default
        self._build = build
        self._built: dict[str, Provider] = {}

    def resolve(self, model: str) -> tuple[str, str]:
        """Return the provider's name and its own name of the model (`""`: its default)."""
        name, _, rest = model.partition(":")
        return (name, rest) if name in self._names else (self._default, model)

    def provider(self, name: str) -> Provider:
        """Return a provider by name. Raises ConfigurationError."""
        if name not in self._built:
            self._built[name] = self._build(name)
        return self._built[name]

    async def bursts(self, request: ChatRequest) -> AsyncGenerator[Burst]:
        """Answer a request; see `Provider`."""
        name, model = self.resolve(request.model)
        request = msgspec.structs.replace(request, model=model)
        async with aclosing(self.provider(name).bursts(request)) as bursts:
            async for burst in bursts:
                yield burst

    async def aclose(self) -> None:
        """Let go of the connections of all providers."""
        for provider in self._built.values():
            await provider.aclose()
