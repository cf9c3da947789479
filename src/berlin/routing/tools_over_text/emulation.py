"""One answer with tools: requested and read as text, with one correction if it is wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import msgspec

from berlin.errors import ProtocolError
from berlin.language.tables.tool_prompt import ToolPrompt
from berlin.providers.contract import Burst, Provider, is_long
from berlin.routing.tools_over_text.checker import require_checker
from berlin.routing.tools_over_text.offer import Offer
from berlin.routing.tools_over_text.reader import Reader
from berlin.routing.tools_over_text.render import Renderer
from berlin.types import (
    ChatRequest,
    Finished,
    Message,
    Started,
    StreamEvent,
    Usage,
    UsageReport,
)
from berlin.wire.snippet import snippet

MAX_SHOWN_CHARS = 400


class Emulation:
    """Answers requests with tools through a text-only service.

    After a wrong answer (a call that does not match its schema, no call where one is required, no
    JSON where JSON is required) one follow-up question is sent; if that does not help, an error is
    raised.

    Args:
        inner: the service.
        prompt: the wording.
        takes_images: whether the service does.
        takes_json: whether it supports structured output.
        keeps_conversations: whether it does: follow-up questions are then sent in that
            conversation.
    """

    def __init__(
        self,
        inner: Provider,
        prompt: ToolPrompt,
        *,
        takes_images: bool,
        takes_json: bool,
        keeps_conversations: bool,
    ) -> None:
        self.inner = inner
        self._prompt = prompt
        self._takes_images = takes_images
        self._takes_json = takes_json
        self._keeps_conversations = keeps_conversations

    async def answer(self, request: ChatRequest, dropped: tuple[str, ...]) -> AsyncGenerator[Burst]:
        """Answer a request; `dropped` names what the answer reports as left out."""
        offer = Offer.of(request, self._prompt, takes_json=self._takes_json)
        if offer.tools or offer.response_format is not None:
            require_checker()  # before anything is sent
        renderer = Renderer(request, offer, takes_images=self._takes_images)
        asked = (
            await asyncio.to_thread(renderer.request) if is_long(request) else renderer.request()
        )
        reader = last = Reader(offer)
        async with aclosing(self._read(asked, reader, dropped)) as bursts:
            async for burst in bursts:
                yield burst
        question = reader.question()
        if question:
            last = Reader(offer, reader, holds_text=reader.only_announces)
            again = self._ask_again(asked, reader, question)
            async with aclosing(self._read(again, last)) as bursts:
                async for burst in bursts:
                    yield burst
            problem = last.problem()
            if problem:
                raise ProtocolError(
                    f"{problem} The service was asked again and answered: "
                    f"{snippet(last.answer, MAX_SHOWN_CHARS) or 'nothing'}"
                )
        yield [*last.end(), *_end(reader, last)]

    async def _read(
        self, request: ChatRequest, reader: Reader, dropped: tuple[str, ...] = ()
    ) -> AsyncGenerator[Burst]:
        async with aclosing(self.inner.bursts(request)) as bursts:
            async for burst in bursts:
                events = reader.take(burst)
                if dropped:
                    events = _tell_dropped(events, dropped)
                    dropped = ()
                if events:
                    yield events

    def _ask_again(self, asked: ChatRequest, reader: Reader, question: str) -> ChatRequest:
        """Return the follow-up question: in the service's conversation, if it keeps them."""
        finished = reader.finished
        correction = Message.of("user", question)
        if self._keeps_conversations and finished is not None and finished.conversation_id:
            return msgspec.structs.replace(
                asked,
                messages=(correction,),
                conversation_id=finished.conversation_id,
                parent_id=finished.message_id,
                known_messages=0,
            )
        answer = Message.of("assistant", reader.answer)
        return msgspec.structs.replace(asked, messages=(*asked.messages, answer, correction))


def _tell_dropped(events: list[StreamEvent], dropped: tuple[str, ...]) -> list[StreamEvent]:
    first = events[0] if events else None
    if isinstance(first, Started):
        started = msgspec.structs.replace(first, dropped=(*first.dropped, *dropped))
        return [started, *events[1:]]
    return [Started(dropped=dropped), *events]


def _end(first: Reader, last: Reader) -> list[StreamEvent]:
    """Return the last events of an answer that took one request or two."""
    usages = [reader.usage for reader in {id(r): r for r in (first, last)}.values()]
    known = [usage for usage in usages if usage is not None]
    events: list[StreamEvent] = [UsageReport(_sum(known))] if known else []
    finished = last.finished or Finished()
    if last.calls:
        finished = msgspec.structs.replace(finished, reason="tool_calls", extra=None)
    return [*events, finished]


def _sum(usages: list[Usage]) -> Usage:
    if len(usages) == 1:
        return usages[0]
    return Usage(
        sum(usage.input_tokens for usage in usages),
        sum(usage.output_tokens for usage in usages),
        any(usage.estimated for usage in usages),
        sum(usage.cached_tokens for usage in usages),
        sum(usage.reasoning_tokens for usage in usages),
        sum(usage.cache_write_tokens for usage in usages),
    )
