"""Cache: the same request of the same tenant is answered from memory, and nothing else is."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import msgspec
import pytest

from berlin import errors
from berlin.providers.scripted import ScriptedProvider
from berlin.routing.cache import Cache, MemoryAnswers
from berlin.types import (
    ChatRequest,
    Finished,
    Reasoning,
    ResponseFormat,
    Started,
    StreamEvent,
    TextDelta,
    Timeouts,
    Tool,
    Usage,
    UsageReport,
)
from support.virtual_time import virtual

REQUEST = ChatRequest.of("Hello", temperature=0.5)
SCRIPT = ["Hel", "lo", UsageReport(Usage(1, 2)), Finished()]


async def ask(provider: Cache, request: ChatRequest = REQUEST) -> list[list[StreamEvent]]:
    """Ask once; return the bursts."""
    return [burst async for burst in provider.bursts(request)]


@virtual
async def test_it_is_played_again_as_it_came() -> None:
    """The second answer is the first one, piece by piece; it says how old it is."""
    inner = ScriptedProvider(SCRIPT)
    provider = Cache(inner, MemoryAnswers(asyncio.get_running_loop().time))
    first = await ask(provider)
    await asyncio.sleep(60)
    second = await ask(provider)
    assert second[0] == [Started(attempts=0, age_s=60), TextDelta("Hel")]
    assert second[1:] == first[1:]
    assert len(inner.requests) == 1


@virtual
async def test_it_grows_old() -> None:
    """After its time an answer is asked for anew."""
    inner = ScriptedProvider(SCRIPT)
    provider = Cache(inner, MemoryAnswers(asyncio.get_running_loop().time, keep_s=60))
    await ask(provider)
    await asyncio.sleep(60)
    await ask(provider)
    assert len(inner.requests) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"tenant": "other"},
        {"model": "other"},
        {"options": {"temperature": 0.6}},
        {"messages": ChatRequest.of("Hello!").messages},
        {"response_format": ResponseFormat()},
        {"reasoning": Reasoning("low")},
    ],
)
async def test_another_request_is_another_answer(change: dict[str, Any]) -> None:
    """Whatever differs in the request, the tenant included, is not answered from memory."""
    inner = ScriptedProvider(SCRIPT)
    provider = Cache(inner)
    await ask(provider)
    await ask(provider, msgspec.structs.replace(REQUEST, **change))
    assert len(inner.requests) == 2


async def test_what_makes_no_other_answer() -> None:
    """Ids, limits on time and how the answer is taken do not change it."""
    inner = ScriptedProvider(SCRIPT)
    provider = Cache(inner)
    await ask(provider)
    changed = msgspec.structs.replace(
        REQUEST, request_id="r2", session_id="s", timeouts=Timeouts(total=1), whole=True
    )
    await ask(provider, changed)
    assert len(inner.requests) == 1


async def test_what_is_never_kept() -> None:
    """Requests with tools, conversations of the service, and answers without a good end."""
    tools = msgspec.structs.replace(REQUEST, tools=(Tool("f"),))
    going_on = msgspec.structs.replace(REQUEST, conversation_id="c")
    inner = ScriptedProvider(SCRIPT)
    for request in (tools, tools, going_on, going_on):
        await ask(Cache(inner), request)
    assert len(inner.requests) == 4
    for script in (["Hel", errors.TruncatedStreamError("cut")], ["x", Finished("content_filter")]):
        inner = ScriptedProvider(script)
        provider = Cache(inner)
        for _ in range(2):
            with suppress(errors.TruncatedStreamError):
                await ask(provider)
        assert len(inner.requests) == 2


async def test_tools_if_that_is_wanted() -> None:
    """Whoever says so gets requests with tools from memory too."""
    inner = ScriptedProvider(SCRIPT)
    provider = Cache(inner, tools_too=True)
    for _ in range(2):
        await ask(provider, msgspec.structs.replace(REQUEST, tools=(Tool("f"),)))
    assert len(inner.requests) == 1


async def test_memory_is_bounded() -> None:
    """The answers that were not asked for longest go first, by number and by size."""
    inner = ScriptedProvider(["x" * 100, Finished()])
    provider = Cache(inner, MemoryAnswers(max_entries=2))
    for text in ("a", "b", "a", "c", "a", "b"):
        await ask(provider, ChatRequest.of(text))
    assert [request.messages[0].text for request in inner.requests] == ["a", "b", "c", "b"]
    provider = Cache(inner, MemoryAnswers(max_chars=150))
    for _ in range(2):
        await ask(provider, ChatRequest.of("too large"))
    assert len(inner.requests) == 6
