"""Collects the events of an answer into a whole."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from berlin import errors
from berlin.errors import ProtocolError
from berlin.types import (
    Accumulator,
    ChatResponse,
    Extra,
    ExtraDelta,
    Finished,
    ReasoningDelta,
    StreamEvent,
    TextDelta,
    TextReplaced,
    ToolCallDelta,
    ToolCallPart,
    Usage,
    UsageReport,
    accumulate,
)


async def play(*events: StreamEvent) -> AsyncIterator[StreamEvent]:
    """Give events."""
    for event in events:
        yield event


async def test_text_and_its_end() -> None:
    """The pieces of text are joined, and the reason is kept."""
    answer = await accumulate(play(TextDelta("Hel"), TextDelta("lo"), Finished("length")))
    assert answer == ChatResponse.of("Hello", "length")
    assert answer.usage is None
    assert answer.tool_calls == ()


async def test_reasoning_is_kept_apart() -> None:
    """What the model showed of its reasoning is no text of the answer."""
    events = (ReasoningDelta("hm"), TextDelta("4"), ReasoningDelta("!"), Finished())
    answer = await accumulate(play(*events))
    assert (answer.text, answer.reasoning) == ("4", "hm!")


async def test_the_last_usage_counts() -> None:
    """A later report replaces an earlier one, also after the end."""
    first, last = Usage(1, 1), Usage(1, 9, estimated=True)
    answer = await accumulate(play(UsageReport(first), Finished(), UsageReport(last)))
    assert answer.usage == last


async def test_tool_calls_are_put_together() -> None:
    """The pieces of each call are joined by its index, whatever order they come in."""
    answer = await accumulate(
        play(
            ToolCallDelta(1, "b", "g", '{"y"'),
            ToolCallDelta(0, "a", "f"),
            ToolCallDelta(0, arguments="{"),
            ToolCallDelta(1, "late", "late", ":1}"),
            ToolCallDelta(0, arguments="}"),
            Finished("tool_calls"),
        )
    )
    assert answer.tool_calls == (ToolCallPart("a", "f", "{}"), ToolCallPart("b", "g", '{"y":1}'))
    assert answer.finish_reason == "tool_calls"


@pytest.mark.parametrize("events", [(), (TextDelta("Hel"),), (UsageReport(Usage(1, 1)),)])
async def test_an_answer_without_an_end_was_cut_off(events: tuple[StreamEvent, ...]) -> None:
    """A stream that just stops is no answer, whatever came before."""
    with pytest.raises(
        errors.TruncatedStreamError, match=r"^the stream ended without saying that it was finished$"
    ):
        await accumulate(play(*events))


async def test_an_error_of_the_stream_comes_through() -> None:
    """Who wants a whole answer gets the stream's own error, not half an answer."""

    async def broken() -> AsyncIterator[StreamEvent]:
        yield TextDelta("Hel")
        raise errors.ConnectionLostError("gone")

    with pytest.raises(errors.ConnectionLostError, match=r"^gone$"):
        await accumulate(broken())


@pytest.mark.parametrize(
    "event",
    [
        TextDelta("x" * 1_000),
        ReasoningDelta("x" * 1_000),
        ToolCallDelta(0, "id", "f", "x" * 1_000),
        ExtraDelta(Extra("openai", {"a": "x" * 1_000})),
        TextDelta(""),
        ExtraDelta(Extra("openai", {"a": 1}), "part"),
    ],
)
def test_an_answer_without_an_end_has_one(event: StreamEvent) -> None:
    """Whatever it is made of, it is an error before it fills the memory."""
    answer = Accumulator(limit=10_000)
    with pytest.raises(ProtocolError, match="longer than 10000 bytes"):
        for _ in range(1_000):
            answer.add(event)


def test_calls_without_an_end_have_one() -> None:
    """Ever more calls are counted by what each takes, even if they are empty."""
    answer = Accumulator(limit=100_000)
    with pytest.raises(ProtocolError, match="longer than 100000 bytes"):
        for n in range(200):
            answer.add(ToolCallDelta(n, "", "", ""))


def test_a_text_that_is_replaced_is_not_counted_again() -> None:
    """A service that sends its whole answer again with each piece may do so for a long time."""
    answer = Accumulator(limit=10_000)
    for n in range(100):
        answer.add(TextReplaced("x" * 1_000 + str(n)))
    answer.add(Finished())
    assert answer.response().text.endswith("x99")
