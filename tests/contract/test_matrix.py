"""Any face over any provider: the same text, reasoning, tool calls, finish reason and usage."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from berlin.types import Usage
from support.answers import Call, Said, upstream
from support.gateway import ANTHROPIC, BERLIN, DIALECTS, OLLAMA, OPENAI, RESPONSES, Dialect, serve
from support.hearing import Heard, heard, heard_whole

WEATHER = Call("call_a", "get_weather", ('{"city":', ' "Köln"', "}"))
TIME = Call("call_b", "get_time", ())
ODD = ("Привет 🐻", "\r\n\n", "data: [DONE]\n\n", '"}\\', "a\u2028b", " ", "end")

SCENARIOS = {
    "text": Said(("Hello", ", ", "world")),
    "odd text": Said(ODD),
    "nothing": Said(),
    "length": Said(("cut",), finish="length"),
    "filtered": Said(("no",), finish="content_filter"),
    "usage": Said(("x",), usage=Usage(11, 7, False, 0, 0)),
    "reasoning": Said(("so",), ("let me ", "think")),
    "calls": Said(calls=(WEATHER, TIME), finish="tool_calls"),
    "all": Said(
        ("I look", " it up"),
        ("hm", "m"),
        (WEATHER,),
        "tool_calls",
        Usage(11, 7, cached_tokens=3, reasoning_tokens=2),
    ),
}

# What a service of that kind has no word for.
CANNOT = {
    "scripted": (),
    "openai": (),
    "responses": (),
    "anthropic": (),
    "ollama": ("filtered",),
    "berlin": ("reasoning", "calls", "all"),
}
CASES = [
    pytest.param(name, scenario, id=f"{name}-{scenario}")
    for name, cannot in CANNOT.items()
    for scenario in SCENARIOS
    if scenario not in cannot
]

ANTHROPIC_WORDS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}


def _halves(usage: Usage) -> Usage:
    return Usage(usage.input_tokens, usage.output_tokens, cached_tokens=0, reasoning_tokens=0)


def told(dialect: Dialect, said: Said, provider: str) -> Heard:
    """Return what a client of a face is to hear: all that its format has words for."""
    whole = Heard.of(said)
    if whole.usage is not None and provider == "ollama":
        whole = replace(whole, usage=_halves(whole.usage))
    counts = whole.usage and _halves(whole.usage)
    match dialect.face:
        case "openai":
            return whole
        case "responses":
            words = {"length": "max_output_tokens", "content_filter": "content_filter"}
            return replace(whole, finish=words.get(whole.finish, "stop"))
        case "anthropic":
            return replace(whole, finish=ANTHROPIC_WORDS[whole.finish])
        case "ollama":
            finish = "stop" if whole.finish == "tool_calls" else whole.finish
            return replace(whole, finish=finish, usage=counts)
        case _:
            return Heard(whole.text, finish=whole.finish, usage=counts)


@pytest.mark.parametrize(("provider", "scenario"), CASES)
async def test_every_face_tells_what_the_provider_said(provider: str, scenario: str) -> None:
    """Streamed and whole, each face tells all that its format has words for."""
    said = SCENARIOS[scenario]
    got, wanted = {}, {}
    async with upstream(provider, said) as up, serve(up.service) as at:
        for dialect in DIALECTS:
            options = {"stream_options": {"include_usage": True}} if dialect is OPENAI else {}
            answer = await at.ask(dialect, stream=True, **options)
            assert answer.status == 200, answer.data
            got[dialect.name, "stream"] = heard(dialect, answer.data)
            wanted[dialect.name, "stream"] = told(dialect, said, provider)
            if dialect is BERLIN:
                continue  # it always streams
            answer = await at.ask(dialect)
            assert answer.status == 200, answer.data
            assert answer.headers["Content-Type"] == "application/json"
            got[dialect.name, "whole"] = heard_whole(dialect, answer.json)
            wanted[dialect.name, "whole"] = told(dialect, said, provider)
    assert got == wanted


async def test_every_face_over_the_guide() -> None:
    """The guide answers the same on every face, streamed and whole."""
    async with upstream("guide", Said()) as up, serve(up.service) as at:
        for dialect in DIALECTS:
            answers = [await at.ask(dialect, "How do I install Berlin?", stream=True)]
            if dialect is not BERLIN:
                answers.append(await at.ask(dialect, "How do I install Berlin?"))
            for answer in answers:
                assert answer.status == 200
                assert answer.text.startswith("**")
                assert "pip install" in answer.text


SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"
FUNCTION = {"name": "get_weather", "description": "The weather", "parameters": SCHEMA}
ARGUMENTS = {"city": "Köln"}

# One conversation in the words of three faces.
ASKED: dict[str, tuple[Dialect, dict[str, Any]]] = {
    "openai": (
        OPENAI,
        {
            "messages": [
                {"role": "developer", "content": "Be brief"},
                {"role": "user", "content": "Weather?"},
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [
                        {
                            "id": "call_a",
                            "type": "function",
                            "function": {
                                "name": "get_weather",
                                "arguments": json.dumps(ARGUMENTS),
                            },
                        }
                    ],
                },
                {"role": "tool", "tool_call_id": "call_a", "content": "sunny"},
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "Look"},
                        {
                            "type": "image_url",
                            "image_url": {"url": f"data:image/png;base64,{PNG}"},
                        },
                    ],
                },
            ],
            "tools": [{"type": "function", "function": FUNCTION}],
            "max_tokens": 64,
            "temperature": 0.5,
            "stop": ["END"],
        },
    ),
    "responses": (
        RESPONSES,
        {
            "input": [
                {"role": "developer", "content": "Be brief"},
                {"role": "user", "content": [{"type": "input_text", "text": "Weather?"}]},
                {
                    "type": "function_call",
                    "id": "fc_a",
                    "call_id": "call_a",
                    "name": "get_weather",
                    "arguments": json.dumps(ARGUMENTS),
                },
                {"type": "function_call_output", "call_id": "call_a", "output": "sunny"},
                {
                    "role": "user",
                    "content": [
                        {"type": "input_text", "text": "Look"},
                        {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}"},
                    ],
                },
            ],
            "tools": [{"type": "function", **FUNCTION}],
            "max_output_tokens": 64,
            "temperature": 0.5,
        },
    ),
    "anthropic": (
        ANTHROPIC,
        {
            "system": "Be brief",
            "messages": [
                {"role": "user", "content": "Weather?"},
                {
                    "role": "assistant",
                    "content": [
                        {
                            "type": "tool_use",
                            "id": "call_a",
                            "name": "get_weather",
                            "input": ARGUMENTS,
                        }
                    ],
                },
                {
                    "role": "user",
                    "content": [
                        {"type": "tool_result", "tool_use_id": "call_a", "content": "sunny"},
                        {"type": "text", "text": "Look"},
                        {
                            "type": "image",
                            "source": {"type": "base64", "media_type": "image/png", "data": PNG},
                        },
                    ],
                },
            ],
            "tools": [
                {"name": "get_weather", "description": "The weather", "input_schema": SCHEMA}
            ],
            "max_tokens": 64,
            "temperature": 0.5,
            "stop_sequences": ["END"],
        },
    ),
    "ollama": (
        OLLAMA,
        {
            "messages": [
                {"role": "system", "content": "Be brief"},
                {"role": "user", "content": "Weather?"},
                {
                    "role": "assistant",
                    "content": "",
                    "tool_calls": [
                        {
                            "id": "call_a",
                            "function": {"name": "get_weather", "arguments": ARGUMENTS},
                        }
                    ],
                },
                {"role": "tool", "tool_name": "get_weather", "content": "sunny"},
                {"role": "user", "content": "Look", "images": [PNG]},
            ],
            "tools": [{"type": "function", "function": FUNCTION}],
            "options": {"num_predict": 64, "temperature": 0.5, "stop": ["END"]},
        },
    ),
}

CONVERSATION = [
    ("system", "Be brief"),
    ("user", "Weather?"),
    ("call", "call_a", "get_weather", ARGUMENTS),
    ("result", "sunny"),
    ("user", "Look"),
    ("image", PNG),
]


def openai_conversation(body: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Return what a service of OpenAI's format reads in a request."""
    found: list[tuple[Any, ...]] = []
    for message in body["messages"]:
        role, content = message["role"], message["content"]
        if role == "tool":
            assert message["tool_call_id"] == "call_a"
            found.append(("result", content))
            continue
        role = "system" if role == "developer" else role
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content or ()
        for part in parts:
            if part["type"] == "text":
                found.append((role, part["text"]))
            else:
                head, _, data = part["image_url"]["url"].partition(",")
                assert head == "data:image/png;base64"
                found.append(("image", data))
        for call in message.get("tool_calls", ()):
            assert call["type"] == "function"
            function = call["function"]
            arguments = json.loads(function["arguments"])
            found.append(("call", call["id"], function["name"], arguments))
    return found


def responses_conversation(body: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Return what a service of the Responses API reads in a request."""
    found: list[tuple[Any, ...]] = []
    for item in body["input"]:
        match item:
            case {"type": "function_call", "call_id": id, "name": name, "arguments": given}:
                found.append(("call", id, name, json.loads(given)))
            case {"type": "function_call_output", "call_id": "call_a", "output": text}:
                found.append(("result", text))
            case {"type": "message", "role": role, "content": parts}:
                role = "system" if role == "developer" else role
                for part in parts:
                    if part["type"] == "input_image":
                        head, _, data = part["image_url"].partition(",")
                        assert head == "data:image/png;base64"
                        found.append(("image", data))
                    else:
                        found.append((role, part["text"]))
            case _:
                raise AssertionError(item)
    return found


def anthropic_conversation(body: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Return what a service of Anthropic's format reads in a request."""
    found: list[tuple[Any, ...]] = [("system", body["system"])]
    assert [m["role"] for m in body["messages"]] == ["user", "assistant", "user"]
    for message in body["messages"]:
        content = message["content"]
        for block in [{"type": "text", "text": content}] if isinstance(content, str) else content:
            match block:
                case {"type": "text", "text": text}:
                    found.append((message["role"], text))
                case {"type": "tool_use", "id": id, "name": name, "input": given}:
                    found.append(("call", id, name, given))
                case {"type": "tool_result", "tool_use_id": "call_a", "content": text}:
                    found.append(("result", text))
                case {
                    "type": "image",
                    "source": {"type": "base64", "media_type": "image/png", "data": data},
                }:
                    found.append(("image", data))
                case _:
                    raise AssertionError(block)
    return found


def ollama_conversation(body: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Return what a service of Ollama's format reads in a request."""
    found: list[tuple[Any, ...]] = []
    for message in body["messages"]:
        if message["role"] == "tool":
            assert message["tool_name"] == "get_weather"
            found.append(("result", message["content"]))
            continue
        if message["content"]:
            found.append((message["role"], message["content"]))
        found += [("image", data) for data in message.get("images", ())]
        for call in message.get("tool_calls", ()):
            function = call["function"]
            found.append(("call", call["id"], function["name"], function["arguments"]))
    return found


READERS = {
    "openai": openai_conversation,
    "responses": responses_conversation,
    "anthropic": anthropic_conversation,
    "ollama": ollama_conversation,
}


def settings_of(provider: str, body: dict[str, Any]) -> tuple[Any, ...]:
    """Return limit, temperature, stop words and tools, as a service reads them."""
    match provider:
        case "anthropic":
            [tool] = body["tools"]
            function = {**tool, "parameters": tool["input_schema"]}
            del function["input_schema"]
            stop = body.get("stop_sequences")
            return body["max_tokens"], body["temperature"], stop, function
        case "ollama":
            options = body["options"]
            limits = options["num_predict"], options["temperature"], options.get("stop")
        case "responses":
            limits = body["max_output_tokens"], body["temperature"], body.get("stop")
        case _:
            limits = body["max_tokens"], body["temperature"], body.get("stop")
    [tool] = body["tools"]
    assert tool["type"] == "function"
    function = tool.get("function") or {k: tool[k] for k in FUNCTION}
    return *limits, function


@pytest.mark.parametrize("provider", READERS)
@pytest.mark.parametrize("face", ASKED)
async def test_every_service_is_asked_what_the_client_said(face: str, provider: str) -> None:
    """Roles, tool calls and their results, images, tools and options reach the service."""
    dialect, members = ASKED[face]
    stop = ["END"]
    if "responses" in (face, provider):  # this API has no stop words
        stop = None
        members = {k: v for k, v in members.items() if not k.startswith("stop")}
        if "options" in members:
            members["options"] = {k: v for k, v in members["options"].items() if k != "stop"}
    async with upstream(provider, SCENARIOS["text"]) as up, serve(up.service) as at:
        answer = await at.post(dialect, {"model": "s:m1", "stream": False, **members})
        assert answer.status == 200, answer.data
        request_id = answer.headers["x-request-id"]
    [body], [headers] = up.asked, up.headers
    assert READERS[provider](body) == CONVERSATION
    assert body["model"] == "m1"
    assert settings_of(provider, body) == (64, 0.5, stop, FUNCTION)
    assert headers["x-request-id"] == request_id
    assert headers["authorization"] == "Bearer key-of-the-upstream"


@pytest.mark.parametrize("dialect", DIALECTS, ids=str)
async def test_the_service_behind_a_login_is_asked_what_the_client_said(dialect: Dialect) -> None:
    """Its prompt is the client's, and its options are those that were given."""
    limit: dict[str, Any] = {"temperature": 0.5}
    if dialect.face == "ollama":
        limit = {"options": limit}
    if dialect is BERLIN:
        limit = {"options": {"model": "s:m1", **limit}}
    async with upstream("berlin", SCENARIOS["text"]) as up, serve(up.service) as at:
        answer = await at.ask(dialect, "Как дела?", stream=True, **limit)
        assert answer.text == "Hello, world"
    [body], [headers] = up.asked, up.headers
    assert body["prompt"] == "Как дела?"
    assert body["options"]["model"] == "m1"
    assert body["options"]["temperature"] == 0.5
    assert headers["X-Request-ID"] == answer.headers["x-request-id"]
