"""Every example of a dialect's public reference keeps all its members where both ends speak it.

The examples, with their sources, are in tests/corpus; they are written anew after the references.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web

from berlin.formats.anthropic.format import AnthropicMessagesFormat
from berlin.formats.contract import ClientCall, Format
from berlin.formats.ollama.format import OllamaChatFormat
from berlin.formats.openai.format import OpenAIChatFormat
from berlin.formats.responses.format import ResponsesFormat
from berlin.gateway.catalog import Service
from berlin.language.tables.chat import ChatMap
from berlin.types import ChatRequest, Message, StreamEvent, merge_extra
from berlin.types.extra import Extra
from support.answers import FORMATS as FORMAT_NAMES
from support.formats import fold, sent
from support.gateway import (
    ANTHROPIC,
    OLLAMA,
    OPENAI,
    RESPONSES,
    At,
    described_provider,
    serve,
)
from support.playing import Answering, playing

CORPUS = Path(__file__).parents[1] / "corpus"
AS_ASKED = ChatMap("openai-chat", stream="as asked", developer_role="developer")
FORMATS: dict[str, Format] = {
    "openai": OpenAIChatFormat(
        "m", msgspec.structs.replace(AS_ASKED, rename={"max_tokens": "max_completion_tokens"})
    ),
    "anthropic": AnthropicMessagesFormat("m", AS_ASKED),
    "ollama": OllamaChatFormat("m", AS_ASKED),
    "responses": ResponsesFormat("m", AS_ASKED),
}
# What the gateway says itself: the name that the client asked for, and when it answers. A response
# keeps its service's time, but whether it is stored, and what it continues, is up to the gateway.
OURS = ("model", "created_at")
OURS_IN_RESPONSES = ("model", "store", "previous_response_id", "background")
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


def as_sent(dialect: str, body: dict[str, Any]) -> Any:
    """Return what a service is to get: the body, and what Berlin says at its own account."""
    expected = without_nulls(body)
    options = expected.pop("stream_options", {})
    options.pop("include_usage", None)  # the gateway itself asks for it, or not
    for name in ("n", "tool_choice"):
        if expected.get(name) in (1, "auto"):
            expected.pop(name)
    expected.setdefault("stream", dialect == "ollama")
    if options and body["stream"]:
        expected["stream_options"] = options
    if dialect == "responses" and "tools" in expected:
        expected.setdefault("tool_choice", "auto")
    if dialect == "responses" and isinstance(expected["input"], str):
        part = {"type": "input_text", "text": expected["input"]}
        expected["input"] = [{"type": "message", "role": "user", "content": [part]}]
    return expected


@pytest.mark.parametrize(("dialect", "body"), examples("requests"))
def test_a_request_arrives_unchanged(dialect: str, body: dict[str, Any]) -> None:
    """A service gets each member that the client of its own dialect sent, and nothing is named
    as dropped.
    """
    chat = FORMATS[dialect]
    request = sent(chat, chat.decode_request(json.dumps(body).encode()).request)
    assert without_nulls(json.loads(request.body)) == as_sent(dialect, body)
    assert request.dropped == ()


@pytest.mark.parametrize(("dialect", "body"), examples("answers"))
def test_a_whole_answer_arrives_unchanged(dialect: str, body: dict[str, Any]) -> None:
    """A client gets each member that the service of its own dialect answered."""
    answer = fold(decoded(dialect, json.dumps(body).encode()))
    told = json.loads(FORMATS[dialect].encode_response(CALL, answer))
    check_answer(dialect, told, body)


def check_answer(dialect: str, told: dict[str, Any], body: dict[str, Any]) -> None:
    """Check that a client was told all that a service answered, and nothing else."""
    told, body = without_nulls(told), without_nulls(body)
    for name in OURS_IN_RESPONSES if dialect == "responses" else OURS:
        told.pop(name, None)
        body.pop(name, None)
    if dialect == "responses":
        # A response also repeats the request, where the service leaves that out.
        told = {name: value for name, value in told.items() if name in body}
    assert told == body


def frame(dialect: str, document: dict[str, Any]) -> bytes:
    """Return a document as the dialect frames it."""
    data = json.dumps(document).encode()
    match dialect:
        case "ollama":
            return data + b"\n"
        case "anthropic":
            return b"event: %b\ndata: %b\n\n" % (document["type"].encode(), data)
    return b"data: %b\n\n" % data


def check_events(told: list[dict[str, Any]], stream: list[dict[str, Any]]) -> None:
    """Check that a client of responses gets the service's events: all, in order, and whole."""
    assert [event["type"] for event in told] == [event["type"] for event in stream]
    for ours, theirs in zip(told, stream, strict=True):
        if "response" in theirs:
            check_answer("responses", *({"usage": {}, **e["response"]} for e in (ours, theirs)))
        rest = {n: v for n, v in theirs.items() if n not in ("response", "obfuscation")}
        assert without_nulls({n: ours[n] for n in rest}) == without_nulls(rest)


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
    check_stream(dialect, documents(b"".join(map(encoder.encode_event, events))), stream)


def check_stream(dialect: str, told: list[dict[str, Any]], stream: list[dict[str, Any]]) -> None:
    """Check that two streams are the same when their pieces are put together."""
    if dialect == "responses":
        check_events(told, stream)
        return
    ours, theirs = put_together(dialect, told), put_together(dialect, stream)
    for whole in (ours, theirs) if dialect == "openai" else ():
        whole["choices"][0]["delta"].setdefault("content", "")  # `null`, as a call has it
    if dialect == "anthropic":
        # Counts come again at the end, where the service may leave out what it said before.
        assert ours.pop("usage")["output_tokens"] == theirs.pop("usage")["output_tokens"]
        for whole in (ours, theirs):
            whole["message"].pop("usage")
            whole["message"].pop("model")
    if dialect == "ollama":
        for name in ("total_duration", "load_duration", "prompt_eval_duration", "eval_duration"):
            theirs.setdefault(name, ours[name])  # Berlin measures what the service does not say
    assert ours == theirs


DIALECTS = {"openai": OPENAI, "anthropic": ANTHROPIC, "ollama": OLLAMA, "responses": RESPONSES}
UNSTORED = {"store": False}  # the examples have the same ids, which would be replaced
AS_THE_CLIENT = 'stream = "as asked"\ndeveloper_role = "developer"\n'
RENAMED = 'rename = { max_tokens = "max_completion_tokens" }\n'


def exact(data: bytes | str) -> Any:
    """Return JSON in which numbers are what was written: 1.0 is not 1, and 1e400 is no infinity."""
    return json.loads(data, parse_int=str, parse_float=str)


@asynccontextmanager
async def services(answer: Answering) -> AsyncIterator[At]:
    """Serve a service of each dialect, which `answer` plays, in one gateway."""
    async with playing(answer) as url:
        found = []
        for name in DIALECTS:
            more = AS_THE_CLIENT + (RENAMED if name == "openai" else "")
            provider = described_provider(f"{url}/{name}", FORMAT_NAMES[name], more=more)
            found.append(Service(name, provider, any_model=True))
        async with serve(*found) as at:
            yield at


async def test_requests_through_the_gateway() -> None:
    """Over real sockets each member arrives as it was written, down to the form of a number."""
    seen: list[bytes] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        seen.append(await request.read())
        return web.Response(status=400, text="that is enough")

    async with services(answer) as at:
        for param in examples("requests"):
            dialect, body = param.values
            got = await at.post(DIALECTS[dialect], {**body, "model": f"{dialect}:{body['model']}"})
            assert seen, (param.id, got.data)
            expected = as_sent(dialect, body)
            assert without_nulls(exact(seen.pop())) == exact(json.dumps(expected)), param.id


async def test_answers_through_the_gateway() -> None:
    """Whole answers and streams come back as they were, but for the name of the model."""
    told: list[web.StreamResponse] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        await request.read()
        return told.pop()

    async with services(answer) as at:
        for param in examples("answers"):
            dialect, body = param.values
            told.append(web.json_response(body))
            dialect_ = DIALECTS[dialect]
            got = await at.post(
                dialect_, {**dialect_.body("Hi", f"{dialect}:m", False), **UNSTORED}
            )
            check_answer(dialect, *(exact(data) for data in (got.data, json.dumps(body))))
        for param in examples("streams"):
            dialect, stream = param.values
            kind = "application/x-ndjson" if dialect == "ollama" else "text/event-stream"
            data = b"".join(frame(dialect, document) for document in stream)
            told.append(web.Response(body=data, content_type=kind))
            dialect_ = DIALECTS[dialect]
            usage = any(document.get("usage") for document in stream)
            asked = {**dialect_.body("Hi", f"{dialect}:m", True), **UNSTORED}
            if dialect == "openai" and usage:
                asked["stream_options"] = {"include_usage": True}
            got = await at.post(dialect_, asked)
            check_stream(dialect, documents(got.data), stream)
