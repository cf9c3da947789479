"""What stands beside the text of an answer: how it ended, what it cost, tools, ids, reasoning."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from berlin import errors
from berlin.types import ToolCallDelta, Usage
from support.described import describe, scripted, told_by
from support.fault_steps import stream


def lines(*documents: Any) -> bytes:
    """Return documents one a line."""
    return b"".join(json.dumps(one, ensure_ascii=False).encode() + b"\n" for one in documents)


FINISH = """
framing = "ndjson"
text = "/t"
finish_reason = ["/why", "/end/why"]
finish_reasons = { max = "length", bad = "content_filter", fine = "stop" }
unfinished = ["", "busy"]
ends = "finish_reason"
"""


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        ({"why": "max"}, "length"),
        ({"end": {"why": "bad"}}, "content_filter"),
        ({"t": "", "why": "fine"}, "stop"),
        ({"why": "a word of its own"}, "stop"),
        ({"why": True}, "stop"),
        ({"why": None, "end": {"why": "max"}}, "length"),
    ],
)
async def test_finish_reasons(end: Any, reason: str, tmp_path: Path) -> None:
    """The service's words become ours; those that mean `it goes on` are none."""
    going = lines({"t": "Hel", "why": "busy"}, {"t": "lo", "why": None}, {"t": "", "why": ""})
    told = await told_by(tmp_path, FINISH, going, lines(end))
    assert (told.text, told.end.reason) == ("Hello", reason)


@pytest.mark.parametrize("why", ["busy", "", None, False, 0])
async def test_words_that_end_nothing(why: Any, tmp_path: Path) -> None:
    """A word that means `it goes on`, and what is no word, are no finish reason."""
    told = await told_by(tmp_path, FINISH, lines({"t": "Hello", "why": why}))
    told.failed_with(errors.TruncatedStreamError, after="Hello")


@pytest.mark.parametrize(
    ("given", "usage"),
    [
        ({"in": 12, "out": 34}, Usage(12, 34)),
        ({"in": "12", "out": "34"}, Usage(12, 34)),
        ({"in": 12}, Usage(12, lacks="output_tokens")),
        ({"in": "12 tokens", "out": -1}, None),
        ({"in": True, "out": 1.5}, None),
        ({"in": "9" * 30, "out": None}, None),
        ({}, None),
    ],
)
async def test_usage(given: Any, usage: Usage | None, tmp_path: Path) -> None:
    """Counts of tokens are numbers, or digits as text; what is neither does not count."""
    table = 'framing = "ndjson"\ntext = "/t"\ninput_tokens = "/u/in"\noutput_tokens = "/u/out"'
    told = await told_by(tmp_path, table, lines({"t": "Hello", "u": given}))
    assert (told.text, told.usage) == ("Hello", usage)


async def test_usage_in_several_objects(tmp_path: Path) -> None:
    """Counts may come apart, and the last of each counts."""
    table = 'framing = "ndjson"\ntext = "/t"\ninput_tokens = "/in"\noutput_tokens = "/out"'
    told = await told_by(
        tmp_path, table, lines({"in": 5}, {"t": "a", "out": 1}, {"t": "b", "out": 2}, {"out": 3})
    )
    assert told.usage == Usage(5, 3)


TOOLS = """
framing = "ndjson"
text = "/t"
tool_calls = "/calls"
tool_call = { id = "/id", name = "/fn", arguments = "/args", index = "/n" }
"""


async def test_tool_calls(tmp_path: Path) -> None:
    """Pieces of calls by index, and whole calls with their arguments as an object."""
    told = await told_by(
        tmp_path,
        TOOLS,
        lines({"calls": [{"n": 3, "id": "c1", "fn": "find", "args": '{"q":'}]}),
        lines({"t": "", "calls": [{"n": 3, "args": '"x"}'}, {"n": 4, "fn": "now"}]}),
        lines({"calls": [{"id": 77, "fn": "add", "args": {"a": 1}}, {"fn": "pi"}, "odd"]}),
    )
    calls = [event for event in told.events if isinstance(event, ToolCallDelta)]
    assert calls[:5] == [
        ToolCallDelta(0, "c1", "find", '{"q":'),
        ToolCallDelta(0, "", "", '"x"}'),
        ToolCallDelta(1, "call_1", "now", ""),
        ToolCallDelta(2, "77", "add", '{"a":1}'),
        ToolCallDelta(3, "call_3", "pi", ""),
    ]
    assert told.end.reason == "tool_calls"


async def test_ids_of_a_conversation(tmp_path: Path) -> None:
    """The service's ids come out with the answer, numbers as text."""
    table = 'framing = "ndjson"\ntext = "/t"\nconversation_id = "/c/id"\nmessage_id = "/m"'
    body = lines({"c": {"id": "conv-1"}, "m": None}, {"t": "Hello", "m": 4711})
    recipe = describe(table)
    async with scripted(tmp_path, recipe, stream(body)) as (_, berlin):
        whole = await berlin.ask("Hi")
    assert (whole.text, whole.conversation_id, whole.message_id) == ("Hello", "conv-1", "4711")


async def test_reasoning(tmp_path: Path) -> None:
    """Reasoning stands apart from the text, also in the same object."""
    table = 'framing = "ndjson"\ntext = "/t"\nreasoning = ["/r", "/think"]'
    told = await told_by(
        tmp_path, table, lines({"r": "Hm"}, {"think": "m", "t": None}, {"r": ".", "t": "Hello"})
    )
    assert (told.reasoning, told.text) == ("Hmm.", "Hello")


async def test_several_pointers_to_text(tmp_path: Path) -> None:
    """The first pointer that finds something counts."""
    table = 'framing = "ndjson"\ntext = ["/a/t", "/b", "/c/1/t"]'
    told = await told_by(
        tmp_path,
        table,
        lines({"b": "1", "a": None}, {"a": {"t": "2"}, "b": "no"}, {"c": [{}, {"t": "3"}]}),
        lines({"a": {"t": ""}, "b": "4"}, {"b": ""}),
    )
    assert told.text == "1234"


READINGS: dict[str, tuple[str, bytes]] = {
    "a kind that is a number": (
        'framing = "ndjson"\ntext = "/item"\nkind = "/type"\nkinds = { 2 = "text", 3 = "end" }',
        lines({"type": 2, "item": "Hel"}, {"type": 1}, {"type": 2, "item": "lo"}, {"type": 3}),
    ),
    "padding that hides the length of a token": (
        'framing = "ndjson"\ntext = "/t"\npadding = "\\u0000"\nfinish_reason = "/end"',
        lines({"t": "Hel\0\0\0"}, {"t": "\0\0"}, {"t": "lo\0"}, {"end": "stop"}),
    ),
    "a text, or an object that holds one": (
        'framing = "sse-events"\ntext = ["/data/content", "/data"]\nkind = "/event"\n'
        'kinds = { data = "text", end = "end" }',
        b'event: data\ndata: {"content": "Hel"}\n\nevent: data\ndata: {"content": ""}\n\n'
        b'event: data\ndata: "lo"\n\nevent: end\n\n',
    ),
    "a last object that repeats the answer": (
        'framing = "ndjson"\ntext = ["/chunk", "/whole"]\nkind = "/event"\n'
        'kinds = { token = "text", end = "final" }',
        lines(
            {"event": "token", "chunk": "Hel"},
            {"event": "token", "chunk": "lo"},
            {"event": "end", "whole": "Hello"},
            {"event": "more", "chunk": "!"},
        ),
    ),
    "a last object that has the answer alone": (
        'framing = "ndjson"\ntext = ["/chunk", "/whole"]\nkind = "/event"\n'
        'kinds = { token = "text", end = "final" }',
        lines({"event": "begin"}, {"event": "end", "whole": "Hello"}),
    ),
    "lines with tags": (
        'framing = "tagged-lines"\ntext = "/data"\nkind = "/event"\n'
        'kinds = { 0 = "text", d = "end", 3 = "error" }',
        b'f:{"messageId":"m"}\n0:"Hel"\n0:"lo"\nd:{"finishReason":"stop"}\n',
    ),
    "the last item of a list": (
        'framing = "json"\ntext = "/messages/-1/content"\nfinish_reason = "/state"',
        lines({"messages": [{"content": "Hi"}, {"content": "Hello"}], "state": "stop"}),
    ),
}


@pytest.mark.parametrize("name", READINGS)
async def test_texts_of_other_shapes(name: str, tmp_path: Path) -> None:
    """Each is read as the recipe says, and where a name alone ends the answer, it ends."""
    stream, answer = READINGS[name]
    told = await told_by(tmp_path, f'{stream}\nends = "finish_reason"', answer)
    assert (told.text, told.end.reason) == ("Hello", "stop")
