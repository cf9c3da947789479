"""Clients that other people wrote, against the gateway: only the base URL, the key and the model
differ from what their own manuals say.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from secrets import token_hex
from typing import Any

import pytest

from berlin import Berlin, ChatRequest
from berlin.auth.credentials import Credentials
from berlin.gateway.access.accounts import Accounts
from berlin.gateway.access.guard import Guard
from berlin.gateway.access.key_reader import KeyReader
from berlin.gateway.access.keys import KeyStore
from berlin.gateway.catalog import Catalog, Service
from berlin.gateway.chat import Gateway
from berlin.gateway.serving.server import open_server
from berlin.providers.contract import Burst, Provider
from berlin.providers.embeddings import Embedder
from berlin.providers.guide import GuideProvider
from berlin.providers.scripted import ScriptedProvider
from berlin.recipes.recipe import load_recipe
from berlin.types import (
    Finished,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    ToolResultPart,
    Usage,
    UsageReport,
)
from berlin.types.embeddings import EmbeddingRequest, Embeddings
from support.chat_service import ChatService
from support.recipes import client_of

from .support.gradio_app import ACCOUNT, PASSWORD
from .support.programs import NODE, PYTHON, SERVICES, run

CLIENTS = {
    "openai": "use_openai.py",
    "anthropic": "use_anthropic.py",
    "ollama": "use_ollama.py",
    "langchain": "use_langchain.py",
    "pydantic-ai": "use_pydantic_ai.py",
    "llm": "use_llm.py",
    "openai-node": "node/openai.mjs",
    "ai-sdk": "node/ai-sdk.mjs",
    "openai-responses": "use_openai_responses.py",
    "openai-agents": "use_openai_agents.py",
    "openai-node-responses": "node/openai-responses.mjs",
    "ai-sdk-openai": "node/ai-sdk-openai.mjs",
}
PIECES = ["Hello", " there,\n\n", 'data: "you"\u2028', " 😀"]
SAID = "".join(PIECES)


class Model(ScriptedProvider):
    """What a model with tools, reasoning and structured answers does, without being one."""

    async def bursts(self, request: ChatRequest) -> AsyncGenerator[Burst]:
        """Call the tool that is offered, unless its result is there."""
        answered = any(isinstance(part, ToolResultPart) for part in request.messages[-1].parts)
        usage = UsageReport(Usage(11, 7))
        if request.tools and not answered:
            yield [ToolCallDelta(0, "call_1", request.tools[0].name)]
            for piece in ('{"ci', 'ty": "Par', 'is"}'):
                yield [ToolCallDelta(0, arguments=piece)]
            yield [usage, Finished("tool_calls")]
            return
        yield [ReasoningDelta("Hm.")]
        if request.response_format is not None:
            yield [TextDelta('{"city": "Paris"}')]
        else:
            for piece in PIECES:
                yield [TextDelta(piece)]
        yield [usage, Finished()]


@asynccontextmanager
async def gateway_over(
    provider: Provider, folder: Path, embedder: Embedder | None = None
) -> AsyncIterator[tuple[str, str]]:
    """Serve a provider as `s`, and give the URL and a key."""
    path = folder / "keys" / "keys.sqlite"
    _, key = KeyStore(path).add("client")
    gateway = Gateway(
        Catalog([Service("s", provider, ["m"], embedder=embedder)]), Guard(KeyReader(path))
    )
    async with open_server(gateway, Accounts(), grace_s=0) as url:
        yield url, key.reveal()


async def use(client: str, home: Path, url: str, key: str, *more: str) -> dict[str, Any]:
    """Run a client, and return what it tells."""
    program = SERVICES / "clients" / CLIENTS.get(client, f"use_{client}.py")
    interpreter = NODE if program.suffix == ".mjs" else PYTHON
    code, out, err = await run(home, interpreter, program, url, key, "s", *more)
    assert code == 0, err[-3000:]
    told: dict[str, Any] = json.loads(out.strip().split("\n")[-1])
    return told


def texts(client: str, told: dict[str, Any]) -> list[str]:
    """Return the whole answer and the streamed one."""
    if client == "llm":
        assert [told["whole"][0], told["stream"][0]] == [0, 0], told
        return [told["whole"][1].removesuffix("\n"), told["stream"][1].removesuffix("\n")]
    return [told["whole"]["text"], told["stream"]["text"]]


@pytest.mark.parametrize("client", CLIENTS)
async def test_a_client_of_a_model_with_tools(client: str, tmp_path: Path) -> None:
    """Text, reasoning, tools, structured answers, usage and errors come as the client expects."""
    async with gateway_over(Model(), tmp_path) as (url, key):
        told = await use(client, tmp_path, url, key)
    assert texts(client, told) == [SAID, SAID]
    match client:
        case "openai" | "openai-node":
            assert told["tools"]["finish"] == "tool_calls"
            assert told["tools"]["calls"] == [["weather", '{"city": "Paris"}']]
            assert told["tools"]["streamed"] == told["tools"]["calls"]
            assert told["tools"]["then"] == SAID
            assert told["stream"]["usage"]["total_tokens"] == 18
            assert told["stream"]["finish"] == ["stop"]
            assert told["errors"] == {
                "key": "AuthenticationError 401",
                "model": "NotFoundError 404",
                "body": "BadRequestError 400",
            }
            assert {"s", "s:m"} <= set(told["models"])
        case "anthropic":
            assert told["tools"]["calls"] == [["weather", {"city": "Paris"}]]
            assert told["tools"]["streamed"] == told["tools"]["calls"]
            assert told["tools"]["then"] == SAID
            assert told["stream"]["usage"] == [11, 7]
            assert told["stream"]["read"] == SAID
            assert told["errors"] == {
                "key": "AuthenticationError 401",
                "model": "NotFoundError 404",
                "body": "BadRequestError 400",
            }
            assert told["counted"] > 0
        case "ollama":
            assert told["tools"]["calls"] == [["weather", {"city": "Paris"}]]
            assert told["tools"]["then"] == SAID
            assert told["stream"]["usage"] == [11, 7]
            assert told["generate"]["streamed"] == told["generate"]["text"] == SAID
            assert told["errors"]["key"] == "ResponseError 401"
            assert told["errors"]["model"] == told["errors"]["show"] == "ResponseError 404"
        case "langchain":
            assert told["tools"] == [["weather", {"city": "Paris"}]]
            assert told["stream"]["usage"] == 7
        case "pydantic-ai":
            assert told["tools"] == {"cities": ["Paris"], "then": SAID}
            assert told["whole"]["usage"] == 7
        case "openai-responses" | "openai-node-responses":
            assert told["stream"]["snapshot"] == SAID
            assert told["stream"]["end"] == "response.completed"
            assert (told["whole"]["status"], told["whole"]["usage"]) == ("completed", 18)
            assert told["tools"]["calls"] == [["weather", '{"city": "Paris"}']]
            assert told["tools"]["streamed"] == told["tools"]["calls"]
            assert told["tools"]["then"] == told["tools"]["after"] == SAID
            assert told["errors"]["key"] == "AuthenticationError 401"
            assert told["errors"]["model"] == "NotFoundError 404"
            assert told["errors"]["body"] == "BadRequestError 400"
        case "openai-agents":
            assert told["tools"] == {"cities": ["Paris"], "then": SAID}
        case "ai-sdk" | "ai-sdk-openai":
            assert told["tools"]["cities"] == ["Paris", "Paris"]
            assert told["tools"]["then"] == told["tools"]["streamed"] == SAID
            assert told["stream"]["finish"] == "stop"
        case _:
            assert told["key"] != 0
    if client == "openai-responses":
        assert told["async_stream"] == SAID
        assert told["errors"]["previous"] == "NotFoundError 404"
        gone = {"again": SAID, "input": ["Hello"], "gone": "NotFoundError 404"}
        assert told["stored"] == gone
    if client in ("openai", "openai-responses"):
        assert told["parse"] == {"city": "Paris"}


async def test_clients_of_embeddings_and_completions(tmp_path: Path) -> None:
    """Clients of OpenAI, Ollama and LangChain read the vectors, whatever form they ask for."""

    async def embed(request: EmbeddingRequest) -> Embeddings:
        """Return the length of each text, and its half."""
        sizes = [float(len(text)) for text in request.inputs]
        return Embeddings(tuple(array("f", (s, s / 2)).tobytes() for s in sizes), 5)

    embedder = Embedder(embed, ("m",), "m")
    async with gateway_over(Model(), tmp_path, embedder) as (url, key):
        told = await use("embeddings", tmp_path, url, key)
    for name in ("openai", "ollama", "langchain"):
        assert told[name] == [[3.0, 1.5], [3.0, 1.5]], name
    assert told["usage"] == 5
    assert told["completed"] == told["streamed"] == SAID


@pytest.mark.parametrize("client", CLIENTS)
async def test_a_client_of_a_service_behind_a_login(client: str, tmp_path: Path) -> None:
    """A service with a login and a wire of its own looks like any other model."""
    account = token_hex(6)
    async with (
        ChatService(PIECES, {account: "password"}) as service,
        Berlin(service.url, account, "password") as berlin,
        gateway_over(berlin, tmp_path) as (url, key),
    ):
        told = await use(client, tmp_path, url, key, "text-only")
    assert service.login_count[account] == 1
    assert texts(client, told) == [SAID, SAID]


@pytest.mark.parametrize("client", CLIENTS)
async def test_a_client_of_the_guide(client: str, tmp_path: Path) -> None:
    """The guide answers every client with the same words."""
    said = (await GuideProvider().ask("Hello")).text
    async with gateway_over(GuideProvider(), tmp_path) as (url, key):
        told = await use(client, tmp_path, url, key, "text-only")
    assert texts(client, told) == [said, said]


@pytest.mark.parametrize("client", CLIENTS)
async def test_a_client_of_gradio(client: str, tmp_path: Path, gradio_url: str) -> None:
    """A Gradio chat behind its login, whose text is cumulative, streams to every client."""
    ours = Credentials.of(ACCOUNT, PASSWORD)
    async with (
        client_of(load_recipe("gradio"), gradio_url, ours) as (provider, _),
        gateway_over(provider, tmp_path) as (url, key),
    ):
        told = await use(client, tmp_path, url, key, "text-only")
    assert texts(client, told) == ["Turn 1: Hello"] * 2


# An answer that is cut is an error to the Agents SDK, and this model never comes to an end.
@pytest.mark.parametrize("client", [name for name in CLIENTS if name != "openai-agents"])
async def test_a_client_of_llama_cpp(client: str, tmp_path: Path, open_llama_url: str) -> None:
    """A real inference server behind the gateway: its words are random, their form is not."""
    async with (
        client_of(load_recipe("llama-cpp"), open_llama_url) as (provider, _),
        gateway_over(provider, tmp_path) as (url, key),
    ):
        told = await use(client, tmp_path, url, key)
    assert all(isinstance(text, str) for text in texts(client, told))
