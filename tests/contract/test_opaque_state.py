"""What a service wants back of its turns comes back, whatever dialect the client speaks.

The clients here keep what clients of their dialect are told to keep: whole messages, blocks and
items. The service is a 400 where its reasoning, its signatures or its ids differ.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from typing import Any, ClassVar

import pytest

from berlin.gateway.catalog import Service
from berlin.types import Extra, merge_extra
from support.gateway import (
    ANTHROPIC,
    OLLAMA,
    OPENAI,
    RESPONSES,
    At,
    Dialect,
    described_provider,
    serve,
)
from support.responses import read_stream
from support.thinking import CITIES, LAST, TURNS, Thinking, thinking_service

FORMATS = {
    "openai": "openai-chat",
    "anthropic": "anthropic-messages",
    "ollama": "ollama-chat",
    "responses": "openai-responses",
}
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}}
FUNCTION = {"name": "weather", "description": "The weather", "parameters": PARAMETERS}


class Client(ABC):
    """A client that keeps all it gets."""

    dialect: Dialect
    member = "messages"
    asks: ClassVar[dict[str, Any]] = {"tools": [{"type": "function", "function": FUNCTION}]}

    def __init__(self) -> None:
        self.history: list[Any] = [{"role": "user", "content": "Weather?"}]

    @abstractmethod
    def read(self, data: bytes, *, stream: bool) -> tuple[list[tuple[str, str]], str]:
        """Keep an answer, and return its calls (id and city) and its text."""

    @abstractmethod
    def give(self, results: list[tuple[str, str]]) -> None:
        """Add the results of the calls."""


class OpenAIClient(Client):
    """A client of chat completions that puts chunks together as OpenAI's own does."""

    dialect = OPENAI

    def read(self, data: bytes, *, stream: bool) -> tuple[list[tuple[str, str]], str]:
        """Keep the message."""
        if stream:
            whole: Extra | None = None
            for chunk in OPENAI.documents(data):
                for call in chunk["choices"][0]["delta"].get("tool_calls", ()):
                    call["type"] = "function"  # only its first piece says so
                whole = merge_extra(whole, Extra("x", {"choices": chunk["choices"]}))
            assert whole is not None
            message = dict(whole.members["choices"][0]["delta"])
            for call in message.get("tool_calls", ()):
                call.pop("index")
        else:
            message = json.loads(data)["choices"][0]["message"]
        self.history.append(message)
        calls = [
            (call["id"], json.loads(call["function"]["arguments"])["city"])
            for call in message.get("tool_calls", ())
        ]
        return calls, message["content"] or ""

    def give(self, results: list[tuple[str, str]]) -> None:
        """Add messages of tools."""
        for id, text in results:
            self.history.append({"role": "tool", "tool_call_id": id, "content": text})


class AnthropicClient(Client):
    """A client of Anthropic's messages."""

    dialect = ANTHROPIC
    asks: ClassVar[dict[str, Any]] = {
        "max_tokens": 9000,
        "thinking": {"type": "enabled", "budget_tokens": 2000},
        "tools": [{"name": "weather", "input_schema": PARAMETERS}],
    }

    def read(self, data: bytes, *, stream: bool) -> tuple[list[tuple[str, str]], str]:
        """Keep the blocks."""
        blocks = blocks_of(data) if stream else json.loads(data)["content"]
        self.history.append({"role": "assistant", "content": blocks})
        calls = [(b["id"], b["input"]["city"]) for b in blocks if b["type"] == "tool_use"]
        return calls, "".join(b["text"] for b in blocks if b["type"] == "text")

    def give(self, results: list[tuple[str, str]]) -> None:
        """Add the blocks of results."""
        kind = {"type": "tool_result"}
        content = [{**kind, "tool_use_id": id, "content": text} for id, text in results]
        self.history.append({"role": "user", "content": content})


class ResponsesClient(Client):
    """A client of the Responses API that keeps its own history."""

    dialect = RESPONSES
    member = "input"
    asks: ClassVar[dict[str, Any]] = {"tools": [{"type": "function", **FUNCTION}], "store": False}

    def read(self, data: bytes, *, stream: bool) -> tuple[list[tuple[str, str]], str]:
        """Keep the items."""
        output = (read_stream(data).response if stream else json.loads(data))["output"]
        self.history += output
        calls = [
            (item["call_id"], json.loads(item["arguments"])["city"])
            for item in output
            if item["type"] == "function_call"
        ]
        texts = [item["content"][0]["text"] for item in output if item["type"] == "message"]
        return calls, "".join(texts)

    def give(self, results: list[tuple[str, str]]) -> None:
        """Add the outputs of the calls."""
        kind = {"type": "function_call_output"}
        self.history += [{**kind, "call_id": id, "output": text} for id, text in results]


class OllamaClient(Client):
    """A client of Ollama's chat."""

    dialect = OLLAMA

    def read(self, data: bytes, *, stream: bool) -> tuple[list[tuple[str, str]], str]:
        """Keep the message."""
        message: dict[str, Any] = {"role": "assistant", "content": "", "tool_calls": []}
        for document in OLLAMA.documents(data):
            told = document["message"]
            message["content"] += told["content"]
            message["thinking"] = message.get("thinking", "") + told.get("thinking", "")
            message["tool_calls"] += told.get("tool_calls", [])
        self.history.append(message)
        calls = [(c["id"], c["function"]["arguments"]["city"]) for c in message["tool_calls"]]
        return calls, message["content"]

    def give(self, results: list[tuple[str, str]]) -> None:
        """Add messages of tools, which this dialect ties to calls by their order."""
        for _, text in results:
            self.history.append({"role": "tool", "tool_name": "weather", "content": text})


def blocks_of(data: bytes) -> list[dict[str, Any]]:
    """Return the blocks of a streamed answer, as Anthropic's own clients put them together."""
    blocks: list[dict[str, Any]] = []
    inputs: dict[int, str] = {}
    for event in ANTHROPIC.documents(data):
        match event:
            case {"type": "content_block_start", "content_block": block}:
                blocks.append(block)
            case {"type": "content_block_delta", "index": n, "delta": {"partial_json": piece}}:
                inputs[n] = inputs.get(n, "") + piece
                blocks[n]["input"] = {}
            case {"type": "content_block_delta", "index": n, "delta": {"signature": signature}}:
                blocks[n]["signature"] = signature
            case {"type": "content_block_delta", "index": n, "delta": {"text": piece}}:
                blocks[n]["text"] += piece
            case {"type": "content_block_delta", "index": n, "delta": {"thinking": piece}}:
                blocks[n]["thinking"] += piece
    for n, text in inputs.items():
        blocks[n]["input"] = json.loads(text)
    return blocks


CLIENTS: dict[str, type[Client]] = {
    "openai": OpenAIClient,
    "anthropic": AnthropicClient,
    "responses": ResponsesClient,
    "ollama": OllamaClient,
}
# Ollama's clients have no member for it. An Anthropic or Responses service reads only reasoning
# that it signed or encrypted itself, so that reasoning is lost with the signature.
NO_PLACE = {
    ("ollama", "openai"): {"signatures"},
    ("ollama", "anthropic"): {"signatures", "reasoning"},
    ("ollama", "responses"): {"signatures", "reasoning"},
}


async def converse(at: At, client: Client, *, stream: bool) -> str:
    """Let a client answer all calls, and return the last text."""
    for _ in range(TURNS + 2):
        asks = {"model": "s:m", "stream": stream, client.member: client.history, **client.asks}
        answer = await at.post(client.dialect, asks)
        assert answer.status == 200, answer.data
        calls, text = client.read(answer.data, stream=stream)
        if not calls:
            return text
        assert [city for _, city in calls] == list(CITIES)
        client.give([(id, f"sunny in {city}") for id, city in calls])
    raise AssertionError("the calls do not end")


@pytest.mark.parametrize("dialect", FORMATS)
async def test_a_service_gets_its_state_back(dialect: str) -> None:
    """Through three turns of two calls each, from clients of each dialect, streamed and whole."""
    for name, kind in CLIENTS.items():
        for stream in (True, False):
            service = Thinking(dialect, frozenset(NO_PLACE.get((name, dialect), ())))
            async with thinking_service(service) as url:
                provider = described_provider(url, FORMATS[dialect])
                async with serve(Service("s", provider, ["m"])) as at:
                    said = await converse(at, kind(), stream=stream)
            assert (name, stream, service.faults) == (name, stream, [])
            assert said == LAST
