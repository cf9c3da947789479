"""Every example of a dialect's public reference keeps all its members where both ends speak it.

The examples, with their sources, are in tests/corpus; they are written anew after the references.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from berlin.formats.anthropic.format import AnthropicMessagesFormat
from berlin.formats.contract import ClientCall, Format
from berlin.formats.habits import Habits
from berlin.formats.ollama.format import OllamaChatFormat
from berlin.formats.openai.format import OpenAIChatFormat
from berlin.types import Accumulator, ChatRequest, ChatResponse, Message, StreamEvent, merge_extra
from berlin.types.extra import Extra
from support.formats import sent

CORPUS = Path(__file__).parents[1] / "corpus"
AS_ASKED = Habits("as asked", "developer")
FORMATS: dict[str, Format] = {
    "openai": OpenAIChatFormat(
        "m", habits=AS_ASKED, rename={"max_tokens": "max_completion_tokens"}
    ),
    "anthropic": AnthropicMessagesFormat("m", habits=AS_ASKED),
    "ollama": OllamaChatFormat("m", habits=AS_ASKED),
}
# What the gateway says itself: the name that the client asked for, and when it answers.
OURS = ("model", "created_at")
CALL = ClientCall(ChatRequest((Message.of("user", "x"),), "m"), include_usage=True)


def examples(kind: str) -> list[Any]:
    """Return the examples of a kind, of all dialects."""
    return [
        pytest.param(dialect, value, id=f"{dialect}: {name}")
        for dialect in FORMATS
        for name, value in json.loads((CORPUS / f"{dialect}.json").read_text("utf-8"))[kind].items()
    ]


def without_nulls(value: Any) -> Any:
    """Return JSON without members that are null: they say what their absence says."""
    if isinstance(value, dict):
        return {n: without_nulls(v) for n, v in value.items() if v is not None}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value


def decoded(dialect: str, data: bytes) -> list[StreamEvent]:
    """Return the events of an answer, the same whole and byte by byte."""
    outcomes = []
    for size in (len(data), 1):
        decoder = FORMATS[dialect].decoder()
        events: list[StreamEvent] = []
        for n in range(0, len(data), size):
            events += decoder.feed(data[n : n + size])
        events += decoder.finish()
        assert decoder.failure is None
        outcomes.append(events)
    assert outcomes[0] == outcomes[1]
    return outcomes[0]


@pytest.mark.parametrize(("dialect", "body"), examples("requests"))
def test_a_request_arrives_unchanged(dialect: str, body: dict[str, Any]) -> None:
    """A service gets each member that the client of its own dialect sent, and nothing is named
    as dropped.
    """
    chat = FORMATS[dialect]
    request = sent(chat, chat.decode_request(json.dumps(body).encode()).request)
    arrived = json.loads(request.body)
    expected = without_nulls(body)
    options = expected.pop("stream_options", {})
    options.pop("include_usage", None)  # the gateway itself asks for it, or not
    for name in ("n", "tool_choice"):
        if expected.get(name) in (1, "auto"):
            expected.pop(name)
    expected.setdefault("stream", dialect == "ollama")
    if options and body["stream"]:
        expected["stream_options"] = options
    assert without_nulls(arrived) == expected
    assert request.dropped == ()


@pytest.mark.parametrize(("dialect", "body"), examples("answers"))
def test_a_whole_answer_arrives_unchanged(dialect: str, body: dict[str, Any]) -> None:
    """A client gets each member that the service of its own dialect answered."""
    answer = fold(decoded(dialect, json.dumps(body).encode()))
    told = json.loads(FORMATS[dialect].encode_response(CALL, answer))
    for name in OURS:
        told.pop(name, None)
        body.pop(name, None)
    assert without_nulls(told) == without_nulls(body)


def fold(events: list[StreamEvent]) -> ChatResponse:
    """Return the whole answer."""
    answer = Accumulator()
    for event in events:
        answer.add(event)
    return answer.response()


def frame(dialect: str, document: dict[str, Any]) -> bytes:
    """Return a document as the dialect frames it."""
    data = json.dumps(document).encode()
    match dialect:
        case "ollama":
            return data + b"\n"
        case "anthropic":
            return b"event: %b\ndata: %b\n\n" % (document["type"].encode(), data)
    return b"data: %b\n\n" % data


def documents(data: bytes) -> list[dict[str, Any]]:
    """Return the documents of a stream, however it is framed."""
    lines = [line.removeprefix(b"data: ") for line in data.split(b"\n")]
    return [json.loads(line) for line in lines if line.startswith(b"{")]


def put_together(dialect: str, stream: list[dict[str, Any]]) -> Any:
    """Return a stream as the official clients put it together."""
    whole: Any = None
    blocks: dict[int, Any] = {}
    for document in stream:
        members = {n: v for n, v in without_nulls(document).items() if n not in OURS}
        match dialect, members.get("type"):
            case "anthropic", "content_block_start":
                block = dict(members["content_block"])
                blocks[members["index"]] = {n: v for n, v in block.items() if v not in ("", [])}
            case "anthropic", "content_block_delta":
                delta = {n: v for n, v in members["delta"].items() if n != "type"}
                if "citation" in delta:
                    delta["citations"] = [delta.pop("citation")]
                known = Extra("x", blocks[members["index"]])
                blocks[members["index"]] = merge_extra(known, Extra("x", delta)).members
            case "anthropic", "ping" | "content_block_stop" | "message_stop":
                pass
            case _:
                for once in ("id", "created", "system_fingerprint", "service_tier", "object"):
                    if whole is not None and once in members:
                        members.pop(once)
                more = Extra("x", members)
                whole = more if whole is None else merge_extra(whole, more)
    return {**whole.members, "blocks": blocks}


@pytest.mark.parametrize(("dialect", "stream"), examples("streams"))
def test_a_stream_arrives_unchanged(dialect: str, stream: list[dict[str, Any]]) -> None:
    """A client puts together of the stream what it would of the service's own."""
    events = decoded(dialect, b"".join(frame(dialect, document) for document in stream))
    usage = any(document.get("usage") for document in stream)
    call = msgspec.structs.replace(CALL, include_usage=usage)
    encoder = FORMATS[dialect].encoder(call)
    told = documents(b"".join(map(encoder.encode_event, events)))
    ours, theirs = put_together(dialect, told), put_together(dialect, stream)
    for whole in (ours, theirs) if dialect == "openai" else ():
        whole["choices"][0]["delta"].setdefault("content", "")  # `null`, as a call has it
    if dialect == "anthropic":
        # Counts come again at the end, where the service may leave out what it said before.
        assert ours.pop("usage")["output_tokens"] == theirs.pop("usage")["output_tokens"]
        ours["message"].pop("usage")
        theirs["message"].pop("usage")
    if dialect == "ollama":
        for name in ("total_duration", "load_duration", "prompt_eval_duration", "eval_duration"):
            theirs.setdefault(name, ours[name])  # Berlin measures what the service does not say
    assert ours == theirs
