"""Tool calls are put together right, in whatever shape a service sends their pieces."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from berlin.errors import ProtocolError
from berlin.formats.openai.format import OpenAIChatFormat
from berlin.types import StreamEvent, ToolCallDelta
from support.formats import fold

FORMAT = OpenAIChatFormat("m")
BOUNDED = settings(max_examples=150)

NAMES = st.sampled_from(["f", "g", "get_weather"])
ARGUMENTS = st.dictionaries(st.sampled_from("abc"), st.integers() | st.text(max_size=3), max_size=2)
# How a service writes the ids and the indexes of the pieces of a call.
IDS = st.sampled_from(["first", "every", "changing", "late", "none", "number", "empty", "repeated"])
INDEXES = st.sampled_from(["right", "text", "none", "null", "offset"])
NAMED = st.sampled_from(["first", "every", "split", "cumulative", "twice"])


@st.composite
def shapes(draw: st.DrawFn) -> tuple[list[tuple[str, str]], list[dict[str, Any]]]:
    """Draw calls, and the pieces in which one kind of service sends them, one after the other."""
    ids, indexes, named = draw(IDS), draw(INDEXES), draw(NAMED)
    # Without index and id, only the name can begin a call.
    is_named_once = indexes in ("none", "null") or ids == "changing"
    named = "first" if is_named_once and named not in ("first", "every") else named
    calls: list[tuple[str, str]] = []
    pieces: list[dict[str, Any]] = []
    for n in range(draw(st.integers(1, 3))):
        name, text = draw(NAMES), json.dumps(draw(ARGUMENTS))
        calls.append((name, text))
        # For the same reason, each piece of a call has some arguments.
        cuts = sorted(draw(st.sets(st.integers(1, len(text) - 1), max_size=3)))
        parts = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
        heads = [{"name": piece} for piece in _pieces_of_name(named, name)]
        said = [{"arguments": part} for part in parts]
        may_be_alone = not is_named_once or (named == "first" and ids != "repeated")
        is_alone = may_be_alone and draw(st.booleans())
        first = heads.pop() if is_alone else {**heads.pop(), **said[0]}
        said = [*heads, first, *(said[1:] if "arguments" in first else said)]
        for k, function in enumerate(said):
            if named == "every":
                function["name"] = name
            piece: dict[str, Any] = {"function": function, **_index(indexes, n)}
            pieces.append({**piece, **_id(ids, n, k)})
    return calls, pieces


def _pieces_of_name(how: str, name: str) -> list[str]:
    """Return the name in the pieces in which a service sends it."""
    match how:
        case "split":
            return [name[:1], name[1:]] if name[1:] else [name]
        case "cumulative":
            return [name[:4], name]
        case "twice":
            return [name, name]
    return [name]


def _index(how: str, n: int) -> dict[str, Any]:
    match how:
        case "right":
            return {"index": n}
        case "text":
            return {"index": str(n)}
        case "offset":
            return {"index": n + 3}
        case "null":
            return {"index": None}
    return {}


def _id(how: str, n: int, k: int) -> dict[str, Any]:
    match how:
        case "first":
            return {"id": f"c{n}"} if k == 0 else {}
        case "every":
            return {"id": f"c{n}"}
        case "changing":
            return {"id": f"c{n}-{k}"}
        case "late":
            return {"id": f"c{n}"} if k else {}
        case "number":
            return {"id": n + 1} if k == 0 else {}
        case "empty":
            return {"id": ""}
        case "repeated":
            return {"id": "same"} if k == 0 else {}
    return {}


def decoded(pieces: list[dict[str, Any]]) -> tuple[list[StreamEvent], Exception | None]:
    """Return the events of an answer that consists of pieces of calls."""
    decoder = FORMAT.decoder()
    events: list[StreamEvent] = []
    for piece in pieces:
        choice = {"index": 0, "delta": {"tool_calls": [piece]}, "finish_reason": None}
        events += decoder.feed(b"data: %b\n\n" % json.dumps({"choices": [choice]}).encode())
    end = {"index": 0, "delta": {}, "finish_reason": "tool_calls"}
    events += decoder.feed(b"data: %b\n\n" % json.dumps({"choices": [end]}).encode())
    return events + decoder.finish(), decoder.failure


@BOUNDED
@given(shapes())
def test_calls_are_put_together(shape: tuple[list[tuple[str, str]], list[dict[str, Any]]]) -> None:
    """Every shape gives the calls that were meant, each with an id of its own and a dense index."""
    calls, pieces = shape
    events, failure = decoded(pieces)
    assert failure is None
    got = fold(events).tool_calls
    assert [(call.name, call.arguments) for call in got] == calls
    assert len({call.id for call in got}) == len(calls)
    deltas = [event for event in events if isinstance(event, ToolCallDelta)]
    assert [d.index for d in deltas if d.name] == list(range(len(calls)))


@BOUNDED
@given(
    st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                "index": st.integers(0, 2) | st.none() | st.sampled_from(["0", "x", 1.0, True]),
                "id": st.sampled_from(["a", "b", "", 5, None]),
                "function": st.fixed_dictionaries(
                    {},
                    optional={
                        "name": st.sampled_from(["f", "g", "", None]),
                        "arguments": st.sampled_from(["{", "}", '{"a":1}', "", None]),
                    },
                ),
            },
        ),
        max_size=6,
    )
)
def test_a_call_without_a_name_is_never_handed_out(pieces: list[dict[str, Any]]) -> None:
    """Whatever comes, a call that is handed out has a name and an id, or the answer is an error."""
    events, failure = decoded(pieces)
    opened: set[int] = set()
    for event in events:
        if isinstance(event, ToolCallDelta):
            assert event.index in opened or (event.name and event.id)
            opened.add(event.index)
    assert failure is None or isinstance(failure, ProtocolError)
