"""The format of Ollama's API read from both ends: what one writes, the other reads."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from berlin.types import (
    Finished,
    ToolCallDelta,
    ToolCallPart,
    ToolResultPart,
)
from support.drawn.dialect import CUTS, NAMES, cut, decode, dump
from support.drawn.ollama import CALL, CHAT, OBJECTS

BOUNDED = settings(max_examples=150)

# Answers


@BOUNDED
@given(OBJECTS, CUTS, st.integers(0, 5))
def test_pieces_of_a_call_are_one_call(arguments: str, sizes: list[int], others: int) -> None:
    """However a call was cut into pieces, and whatever stands between, it is written whole."""
    encoder = CHAT.encoder(CALL)
    pieces = [
        piece.decode("latin-1") for piece in cut(arguments.encode("latin-1", "ignore"), sizes)
    ]
    whole = "".join(pieces)
    data = encoder.encode_event(ToolCallDelta(0, "a", "first"))
    data += encoder.encode_event(ToolCallDelta(1, "b", "second"))
    for piece in pieces:
        data += encoder.encode_event(ToolCallDelta(0, arguments=piece))
        data += encoder.encode_event(ToolCallDelta(1))
    assert data == b""
    events, failure = decode(CHAT, iter([encoder.encode_event(Finished("tool_calls"))]))
    assert failure is None
    first, second = events[:2]
    assert isinstance(first, ToolCallDelta)
    assert (first.id, first.name) == ("a", "first")
    assert json.loads(first.arguments) == json.loads(whole)
    assert second == ToolCallDelta(1, "b", "second", "{}")


@BOUNDED
@given(st.lists(st.tuples(NAMES, OBJECTS), min_size=1, max_size=5), st.randoms())
def test_tools_answer_by_name_and_order_where_there_are_no_ids(
    asked: list[tuple[str, str]], random: Any
) -> None:
    """Without ids each answer belongs to the next call of its name."""
    calls = [
        {"function": {"name": name, "arguments": json.loads(arguments)}}
        for name, arguments in asked
    ]
    order = list(range(len(asked)))
    random.shuffle(order)
    # Calls of one name are answered in their order; only the names are mixed.
    results = [{"role": "tool", "tool_name": asked[n][0], "content": "x"} for n in order]
    messages = [{"role": "assistant", "content": "", "tool_calls": calls}, *results]
    body = dump({"model": "m", "messages": messages}).encode()
    first, *answers = CHAT.decode_request(body).request.messages
    made = [part for part in first.parts if isinstance(part, ToolCallPart)]
    assert [part.id for part in made] == [f"call_{n}" for n in range(len(asked))]
    left = list(made)
    for n, answer in zip(order, answers, strict=True):
        expected = next(part for part in left if part.name == asked[n][0])
        left.remove(expected)
        [part] = answer.parts
        assert isinstance(part, ToolResultPart)
        assert (part.id, part.content) == (expected.id, "x")
