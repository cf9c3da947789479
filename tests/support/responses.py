"""Streams of the Responses API, read strictly: any event out of its order is an AssertionError.

Written from OpenAI's API reference and the Open Responses specification, apart from Berlin's code.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

TERMINAL = ("response.completed", "response.incomplete", "response.failed")
RESOURCE = (
    *("id", "object", "created_at", "completed_at", "status", "incomplete_details", "model"),
    *("previous_response_id", "instructions", "output", "error", "tools", "tool_choice"),
    *("truncation", "parallel_tool_calls", "text", "top_p", "presence_penalty"),
    *("frequency_penalty", "top_logprobs", "temperature", "reasoning", "usage"),
    *("max_output_tokens", "max_tool_calls", "store", "background", "service_tier", "metadata"),
    *("safety_identifier", "prompt_cache_key"),
)
"""The members that Open Responses requires of a response."""

# What stands in an event of each kind besides its type and number.
_OF_ITEM = {
    "response.content_part.added": ("content_index", "part"),
    "response.content_part.done": ("content_index", "part"),
    "response.output_text.delta": ("content_index", "delta", "logprobs"),
    "response.output_text.done": ("content_index", "text", "logprobs"),
    "response.refusal.delta": ("content_index", "delta"),
    "response.refusal.done": ("content_index", "refusal"),
    "response.output_text.annotation.added": ("content_index", "annotation", "annotation_index"),
    "response.reasoning_summary_part.added": ("summary_index", "part"),
    "response.reasoning_summary_part.done": ("summary_index", "part"),
    "response.reasoning_summary_text.delta": ("summary_index", "delta"),
    "response.reasoning_summary_text.done": ("summary_index", "text"),
    "response.function_call_arguments.delta": ("delta",),
    "response.function_call_arguments.done": ("arguments",),
    "response.custom_tool_call_input.delta": ("delta",),
    "response.custom_tool_call_input.done": ("input",),
}


@dataclass
class Item:
    """An item as its events tell it."""

    added: dict[str, Any]
    kinds: list[str] = field(default_factory=list)
    pieces: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    done: dict[str, Any] | None = None


@dataclass
class Streamed:
    """A whole stream: its events, its items, and the response it ends with."""

    events: list[dict[str, Any]]
    items: list[Item]
    response: dict[str, Any]

    @property
    def kinds(self) -> list[str]:
        """The types of all events."""
        return [event["type"] for event in self.events]


def read_events(data: bytes) -> list[dict[str, Any]]:
    """Return the events; each frame names its type twice, and is one line of JSON."""
    *frames, rest = data.split(b"\n\n")
    assert rest == b""
    assert frames.pop() == b"data: [DONE]"
    events = []
    for frame in frames:
        name, _, line = frame.partition(b"\n")
        assert name.startswith(b"event: ")
        assert line.startswith(b"data: ")
        assert b"\n" not in line
        event = json.loads(line[len(b"data: ") :])
        assert name[len(b"event: ") :].decode() == event["type"]
        events.append(event)
    return events


def read_stream(data: bytes) -> Streamed:
    """Return a stream in which everything is where it must be."""
    events = read_events(data)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    created, progress, *middle, last = events
    assert (created["type"], progress["type"]) == ("response.created", "response.in_progress")
    assert last["type"] in TERMINAL
    for event in (created, progress):
        check_resource(event["response"])
        assert (event["response"]["status"], event["response"]["output"]) == ("in_progress", [])
    items: list[Item] = []
    for event in middle:
        assert event["type"] not in (*TERMINAL, "response.created")
        if event["type"] != "response.in_progress":
            _take(event, items)
    response = last["response"]
    check_resource(response)
    assert last["type"] == f"response.{response['status']}"
    assert response["id"] == created["response"]["id"]
    if response["status"] != "failed":
        assert response["output"] == [item.done for item in items]
        assert response["usage"]["total_tokens"] >= 0
    return Streamed(events, items, response)


def check_resource(response: dict[str, Any]) -> None:
    """Check that a response is one."""
    assert [name for name in RESOURCE if name not in response] == []
    assert response["object"] == "response"
    assert response["id"].startswith("resp_")
    assert response["model"]
    assert isinstance(response["created_at"], int)


def _take(event: dict[str, Any], items: list[Item]) -> None:
    index, kind = event["output_index"], event["type"]
    if kind == "response.output_item.added":
        assert index == len(items)
        ids = [item.added["id"] for item in items]
        assert event["item"]["id"]
        assert event["item"]["id"] not in ids
        items.append(Item(event["item"]))
        return
    item = items[index]
    assert item.done is None, f"{kind} behind the end of its item"
    if kind == "response.output_item.done":
        assert event["item"]["id"] == item.added["id"]
        assert event["item"]["type"] == item.added["type"]
        item.done = event["item"]
        _check_item(item)
        return
    assert event["item_id"] == item.added["id"]
    item.kinds.append(kind)
    if kind not in _OF_ITEM:
        return  # of a tool that the service runs itself
    assert [name for name in _OF_ITEM[kind] if name not in event] == []
    assert {event.get("content_index", 0), event.get("summary_index", 0)} == {0}
    if kind.endswith(".delta"):
        assert event["delta"] != ""
        item.pieces.append(event["delta"])
    elif kind.endswith((".done",)):
        item.texts += [event[n] for n in ("text", "refusal", "arguments", "input") if n in event]
        if part := event.get("part"):
            item.texts.append(part["refusal" if part["type"] == "refusal" else "text"])


def _check_item(item: Item) -> None:
    assert item.done is not None
    text = "".join(item.pieces)
    deltas = [kind for kind in item.kinds if kind.endswith(".delta")]
    others = [k for k in item.kinds if not k.endswith((".delta", "annotation.added"))]
    match item.done["type"]:
        case "message":
            [part] = item.done["content"]
            assert part["type"] in ("output_text", "refusal")
            said = part["refusal" if part["type"] == "refusal" else "text"]
            assert {said, *item.texts} == {text}
            assert item.added["content"] == []
            assert others == [
                "response.content_part.added",
                f"response.{part['type']}.done",
                "response.content_part.done",
            ]
        case "reasoning":
            assert [part["text"] for part in item.done["summary"]] == ([text] if text else [])
            if deltas:
                assert others[0] == "response.reasoning_summary_part.added"
                assert others[-1] == "response.reasoning_summary_part.done"
        case "function_call":
            assert {item.done["arguments"], *item.texts} == {text}
            assert item.added["arguments"] == ""
            assert item.done["call_id"] not in ("", item.done["id"])
            assert others == ["response.function_call_arguments.done"]
        case "custom_tool_call":
            assert {item.done["input"], *item.texts} == {text}
            assert others == ["response.custom_tool_call_input.done"]
