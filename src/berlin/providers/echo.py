"""A provider that says what it was told."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from typing import Any, Self

from berlin.providers.contract import AsyncGeneratorProvider, Burst
from berlin.types import ChatRequest, Finished, TextDelta


class EchoProvider(AsyncGeneratorProvider):
    """Answers with the last message, word by word."""

    url = "echo:"
    working = True

    @classmethod
    def provide(cls, proxy: str | None, settings: dict[str, Any]) -> Self:
        """Return an echo; it needs neither a proxy nor settings."""
        return cls()

    async def bursts(self, request: ChatRequest) -> AsyncGenerator[Burst]:
        """Stream the last message."""
        for piece in re.findall(r"\S+\s*|\s+", request.messages[-1].text):
            yield [TextDelta(piece)]
        yield [Finished()]

    async def aclose(self) -> None:
        """Do nothing: there are no connections."""
