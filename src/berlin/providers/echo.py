"""A provider that echoes the last message."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator

from berlin.providers.contract import Burst
from berlin.providers.facade import ChatProvider
from berlin.types import ChatRequest, Finished, TextDelta


class EchoProvider(ChatProvider):
    """Streams the last message back, word by word."""

    async def bursts(self, request: ChatRequest) -> AsyncGenerator[Burst]:
        """Stream the last message."""
        for piece in re.findall(r"\S+\s*|\s+", request.messages[-1].text):
            yield [TextDelta(piece)]
        yield [Finished()]
