"""One answer with tools: requested and read as text, with one correction if it is wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from typing import TYPE_CHECKING

import msgspec

from berlin.errors import InvalidAnswerError
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

if TYPE_CHECKING:
    from berlin.routing.tools_over_text.provider import ToolsOverText

MAX_SHOWN_CHARS = 400


async def emulate(
    over: ToolsOverText, request: ChatRequest, dropped: tuple[str, ...]
) -> AsyncGenerator[Burst]:
    """Answer a request with tools through a text-only service.

    After a wrong answer (a call that does not match its schema, no call where one is required, no
    JSON where JSON is required) one follow-up question is sent; if that does not help, an error is
    raised.

    Args:
        over: the service, and what it can do.
        request: the request.
        dropped: what the answer reports as left out.
    """
    offer = Offer.of(request, over.prompt, takes_json=over.takes_json)
    if offer.tools or offer.response_format is not None:
        require_checker()  # before anything is sent
    renderer = Renderer(request, offer, takes_images=over.takes_images)
    asked = await asyncio.to_thread(renderer.request) if is_long(request) else renderer.request()
    reader = last = Reader(offer)
    async with aclosing(_read(over.inner, asked, reader, dropped)) as bursts:
        async for burst in bursts:
            yield burst
    question = reader.question()
    if question:
        last = Reader(offer, reader, holds_text=reader.only_announces)
        again = _ask_again(asked, reader, question, keeps=over.keeps_conversations)
        async with aclosing(_read(over.inner, again, last)) as bursts:
            async for burst in bursts:
                yield burst
        problem = last.problem()
        if problem:
            raise InvalidAnswerError(
                f"{problem} The service was asked again and answered: "
                f"{snippet(last.answer, MAX_SHOWN_CHARS) or 'nothing'}"
            )
    yield [*last.end(), *_end(reader, last)]


async def _read(
    inner: Provider, request: ChatRequest, reader: Reader, dropped: tuple[str, ...] = ()
) -> AsyncGenerator[Burst]:
    async with aclosing(inner.bursts(request)) as bursts:
        async for burst in bursts:
            events = reader.take(burst)
            if dropped:
                events = _tell_dropped(events, dropped)
                dropped = ()
            if events:
                yield events


def _ask_again(asked: ChatRequest, reader: Reader, question: str, *, keeps: bool) -> ChatRequest:
    """Return the follow-up question: in the service's conversation, if it keeps them."""
    finished = reader.finished
    correction = Message.of("user", question)
    if keeps and finished is not None and finished.conversation_id:
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
        _known(usage.cached_tokens for usage in usages),
        _known(usage.reasoning_tokens for usage in usages),
        _known(usage.cache_write_tokens for usage in usages),
        lacks=next((usage.lacks for usage in usages if usage.lacks), None),
    )


def _known(counts: Iterable[int | None]) -> int | None:
    """Return the sum of what is known, `None` if nothing is."""
    known = [count for count in counts if count is not None]
    return sum(known) if known else None
