"""A described stream, and the same stream with a decoder as somebody would write it by hand.

Bytes come from memory: what is compared is only what Berlin does with them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from pieces import pieces, text
from service import CHUNK

from berlin.errors import ServiceError
from berlin.formats.decoding import EventDecoder
from berlin.formats.described.format import MappedFormat
from berlin.providers.http import HttpProvider
from berlin.recipes.build import build_provider
from berlin.recipes.recipe import Recipe, resolve_endpoint
from berlin.types import (
    ChatRequest,
    HttpRequest,
    Message,
    StreamEvent,
    TextDelta,
    Timeouts,
    Usage,
)
from berlin.wire.framings import FRAMINGS

RECIPE = msgspec.convert(
    {
        "schema": 1,
        "name": "bench",
        "description": "OpenAI's chunks, described",
        "endpoint": {"url": "https://bench.example.com"},
        "auth": {"flow": "none"},
        "chat": {
            "path": "/chat",
            "json": {"prompt": "{prompt}"},
            "stream": {
                "framing": "sse",
                "text": "/choices/0/delta/content",
                "finish_reason": "/choices/0/finish_reason",
                "input_tokens": "/usage/prompt_tokens",
                "output_tokens": "/usage/completion_tokens",
                "error": "/error",
                "ends": "finish_reason",
            },
        },
    },
    Recipe,
)


class Delta(msgspec.Struct, gc=False):
    content: str | None = None


class Choice(msgspec.Struct, gc=False):
    delta: Delta | None = None
    finish_reason: str | None = None


class Chunk(msgspec.Struct, gc=False):
    choices: list[Choice] = []
    usage: dict[str, int] | None = None
    error: Any = None


class ByHand(EventDecoder):
    chunks = msgspec.json.Decoder(Chunk)

    def __init__(self) -> None:
        super().__init__(FRAMINGS["sse"].framer(b"[DONE]"), self.chunks, "finish_reason")

    def _take(self, document: Any, events: list[StreamEvent]) -> bool:
        self._take_all([document], events)
        return self.failure is None

    def _take_all(self, documents: list[Any], events: list[StreamEvent]) -> None:
        for chunk in documents:
            for choice in chunk.choices:
                if choice.delta is not None and choice.delta.content:
                    events.append(TextDelta(choice.delta.content))
                if choice.finish_reason:
                    self._reason = "stop"
            if chunk.usage:
                counts = chunk.usage
                self._usage = Usage(counts["prompt_tokens"], counts["completion_tokens"])
            if chunk.error:
                self.failure = ServiceError("the service reports an error")
                return


class ByHandFormat(MappedFormat):
    def decoder(self) -> Any:
        return ByHand()


class Memory:
    """Answers each request with the same reads."""

    def __init__(self, reads: list[bytes]) -> None:
        self.status = 200
        self.headers: dict[str, str] = {}
        self.has_ended = False
        self._reads = reads
        self._left: Iterator[bytes] = iter(())

    async def open(self, request: HttpRequest, connect_timeout: float) -> Any:
        self._left = iter(self._reads)
        return self

    async def read(self) -> bytes:
        return next(self._left, b"")

    def close(self) -> None: ...


class Stream:
    """An answer of many pieces, in one read or in a read for each."""

    def __init__(self, count: int, *, in_one_read: bool, by_hand: bool) -> None:
        reads = [CHUNK % (b'{"content":"%s"}' % p.encode(), b"null") for p in pieces(count)]
        reads.append(CHUNK % (b"{}", b'"stop"') + b"data: [DONE]\n\n")
        sender: Any = Memory([b"".join(reads)] if in_one_read else reads)
        endpoint, limits = resolve_endpoint(RECIPE.endpoint), Timeouts(5, 10, 10, 30)
        self._provider: HttpProvider = build_provider(
            RECIPE, endpoint, None, limits, record=lambda _: sender
        )[0]
        if by_hand:
            self._provider._format = ByHandFormat(RECIPE.chat, "")
        self._text = text(count)

    async def read(self) -> None:
        """Read the answer, and check it."""
        request = ChatRequest((Message.of("user", "x"),))
        said = [
            event.text
            async for burst in self._provider.bursts(request)
            for event in burst
            if type(event) is TextDelta
        ]
        assert "".join(said) == self._text
