"""Embeddings over the gateway: clients of OpenAI and of Ollama, services of both."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from secrets import token_hex
from typing import Any

import pytest

from berlin import Berlin
from berlin.auth.credentials import Credentials
from berlin.config import Settings
from berlin.errors import ConfigurationError
from berlin.gateway.catalog import Service
from berlin.opening import RecipeProvider
from berlin.providers.scripted import ScriptedProvider
from berlin.recipes.recipe import parse_recipe
from berlin.types import Endpoint, Finished
from support.fault_server import FaultServer
from support.fault_steps import answer
from support.gateway import PATIENT, At, serve

JSON = "Content-Type: application/json"
RECIPE = """
schema = 1
name = "upstream"
description = "A service for tests"
endpoint.url = "{url}"
auth.flow = "api-key"
chat.format = "openai-chat"

[embeddings]
format = "{format}"
model = "small"
models = ["small", "large:7b"]
"""
VECTORS = [[1.5, -2.0, 0.25], [0.0, 4.0, 8.5]]


def packed(vector: list[float]) -> str:
    """Return a vector as clients read it in base64."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def openai_answer(*, numbers: bool = False) -> bytes:
    """Return what a service of OpenAI's dialect answers, in an order of its own."""
    data = [
        {"object": "embedding", "index": n, "embedding": vector if numbers else packed(vector)}
        for n, vector in enumerate(VECTORS)
    ]
    usage = {"prompt_tokens": 9, "total_tokens": 9}
    return json.dumps({"object": "list", "data": data[::-1], "usage": usage}).encode()


OLLAMA_ANSWER = json.dumps({"embeddings": VECTORS, "prompt_eval_count": 9}).encode()


@asynccontextmanager
async def over(format: str, *scripts: Any) -> AsyncIterator[tuple[At, FaultServer]]:
    """Give a gateway over a service that embeds."""
    async with FaultServer(*scripts) as server:
        url = f"{server.url}/{token_hex(4)}"
        recipe = parse_recipe(RECIPE.format(url=url, format=format), "upstream.toml")
        key = Credentials.checked("test", api_key="key-of-the-upstream")
        provider = RecipeProvider(Settings("upstream", recipe, Endpoint.of(url), key, PATIENT))
        async with serve(Service("s", provider, ["m1"], embedder=provider.embedder)) as at:
            yield at, server


async def post(at: At, path: str, **body: Any) -> tuple[int, Any]:
    """Post a request, and return the status and the JSON."""
    async with at.session.post(at.url + path, json=body) as got:
        return got.status, json.loads(await got.read())


SERVICES = {
    "openai": openai_answer(),
    "openai-numbers": openai_answer(numbers=True),
    "ollama": OLLAMA_ANSWER,
}


@pytest.mark.parametrize("service", SERVICES)
async def test_both_dialects_over_both_services(service: str) -> None:
    """Vectors, order and counts are the service's, in base64, as numbers and in Ollama's form."""
    format = service.partition("-")[0]
    async with over(format, answer("200 OK", SERVICES[service], JSON)) as (at, server):
        asks = {"model": "s:small", "input": ["one", "two"]}
        plain = await post(at, "/v1/embeddings", **asks)
        short = await post(at, "/embeddings", encoding_format="base64", dimensions=3, **asks)
        ollama = await post(at, "/api/embed", **asks)
    assert [status for status, _ in (plain, short, ollama)] == [200, 200, 200]
    assert plain[1] == {
        "object": "list",
        "data": [
            {"object": "embedding", "index": n, "embedding": vector}
            for n, vector in enumerate(VECTORS)
        ],
        "model": "s:small",
        "usage": {"prompt_tokens": 9, "total_tokens": 9},
    }
    assert [item["embedding"] for item in short[1]["data"]] == [packed(v) for v in VECTORS]
    assert (ollama[1]["embeddings"], ollama[1]["prompt_eval_count"]) == (VECTORS, 9)
    sent = [json.loads(request.body) for request in server.requests]
    more = {"encoding_format": "base64"} if format == "openai" else {}
    assert sent[0] == {"model": "small", "input": ["one", "two"], **more}
    assert sent[1] == {**sent[0], "dimensions": 3}
    path = "/embeddings" if format == "openai" else "/api/embed"
    assert all(request.path.endswith(path) for request in server.requests)
    headers = server.requests[0].headers
    assert headers["authorization"] == "Bearer key-of-the-upstream"
    assert headers["x-request-id"].startswith("req_")


async def test_the_older_path_of_ollama() -> None:
    """One prompt, one vector."""
    body = json.dumps({"embeddings": VECTORS[:1]}).encode()
    async with over("ollama", answer("200 OK", body, JSON)) as (at, _):
        got = await post(at, "/api/embeddings", model="s:small", prompt="one")
    assert got == (200, {"embedding": VECTORS[0]})


async def test_ollama_loads_a_model_with_an_empty_input() -> None:
    """It answers with no vectors; the service is not asked."""
    bodies: tuple[dict[str, Any], ...] = ({"input": ""}, {"input": []}, {})
    async with over("ollama", answer("200 OK", OLLAMA_ANSWER, JSON)) as (at, server):
        for body in bodies:
            status, said = await post(at, "/api/embed", model="s:small", **body)
            assert (status, said["embeddings"]) == (200, [])
        old = await post(at, "/api/embeddings", model="s:small", prompt="")
        assert (await post(at, "/v1/embeddings", model="s:small", input=""))[0] == 400
    assert old == (200, {"embedding": []})
    assert server.requests == []


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        ("s:small", "small"),
        ("small", "small"),
        ("s:large:7b", "large:7b"),
        ("s", "small"),
        ("", "small"),
        ("s:small:latest", "small"),
    ],
)
async def test_models_for_embeddings_are_found_by_name(asked: str, sent: str) -> None:
    """As models for chats: with and without the provider; a provider alone is its default."""
    body = json.dumps({"embeddings": VECTORS[:1]}).encode()
    async with over("ollama", answer("200 OK", body, JSON)) as (at, server):
        status, got = await post(at, "/v1/embeddings", model=asked, input="one")
    assert (status, json.loads(server.requests[0].body)["model"]) == (200, sent)
    assert got["model"]


async def test_tokens_go_to_who_takes_them() -> None:
    """Lists of tokens reach a service of OpenAI's dialect, and are a 400 for Ollama's."""
    body = json.dumps({"data": [{"embedding": VECTORS[0]}]}).encode()
    async with over("openai", answer("200 OK", body, JSON)) as (at, server):
        status, got = await post(at, "/v1/embeddings", model="s:small", input=[1, 2, 3])
    assert (status, json.loads(server.requests[0].body)["input"]) == (200, [[1, 2, 3]])
    assert got["usage"]["estimated"] is True
    async with over("ollama", answer("200 OK", body, JSON)) as (at, _):
        status, got = await post(at, "/v1/embeddings", model="s:small", input=[[1, 2]])
    assert (status, got["error"]["param"]) == (400, "input")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"input": ""}, "input"),
        ({"input": []}, "input"),
        ({"input": ["a", ""]}, "input"),
        ({"input": [1, "a"]}, "input"),
        ({"input": None}, "input"),
        ({"input": "a", "dimensions": 0}, "dimensions"),
        ({"input": "a", "encoding_format": "hex"}, "encoding_format"),
        ({"input": "a", "model": None}, "model"),
        ({"input": "a", "model": "no-such"}, "model"),
    ],
    ids=str,
)
async def test_a_wrong_request_is_told_by_its_member(body: dict[str, Any], param: str) -> None:
    """Nothing is sent to the service."""
    async with over("openai", answer("200 OK", b"{}", JSON)) as (at, server):
        status, got = await post(at, "/v1/embeddings", **{"model": "s:small", **body})
    assert status in (400, 404)
    assert got["error"]["param"] == param
    assert server.requests == []


BAD = {
    "not JSON": b"<html>",
    "too few": json.dumps({"data": [{"embedding": [1.0]}]}).encode(),
    "uneven": json.dumps({"data": [{"embedding": [1.0]}, {"embedding": [1.0, 2.0]}]}).encode(),
    "not base64": json.dumps({"data": [{"embedding": "?"}] * 2}).encode(),
    "not floats": json.dumps({"data": [{"embedding": "AAA="}] * 2}).encode(),
}


@pytest.mark.parametrize("name", BAD)
async def test_an_answer_that_is_not_vectors_is_an_error(name: str) -> None:
    """A wrong number of vectors is never handed on: texts would get each other's."""
    async with over("openai", answer("200 OK", BAD[name], JSON)) as (at, _):
        status, got = await post(at, "/v1/embeddings", model="s:small", input=["a", "b"])
    assert (status, got["error"]["code"]) == (502, "upstream_protocol")


async def test_errors_of_the_service_are_told_in_the_client_s_dialect() -> None:
    """Status and words go on; Ollama's clients read theirs."""
    body = b'{"error": {"message": "slow down"}}'
    async with over("openai", answer("429 Slow", body, JSON)) as (at, _):
        openai = await post(at, "/v1/embeddings", model="s:small", input="a")
        ollama = await post(at, "/api/embed", model="s:small", input="a")
    assert openai[0] == ollama[0] == 429
    assert "slow down" in openai[1]["error"]["message"]
    assert "slow down" in ollama[1]["error"]


async def test_python_gets_lists_of_numbers() -> None:
    """`Berlin.embed` takes one text or several; without a table `[embeddings]` it says so."""
    body = json.dumps({"embeddings": VECTORS}).encode()
    async with FaultServer(answer("200 OK", body, JSON)) as server:
        text = RECIPE.format(url=f"{server.url}/{token_hex(4)}", format="ollama")
        recipe = parse_recipe(text, "upstream.toml")
        key = Credentials.checked("test", api_key="key-of-the-upstream")
        at = Endpoint.of(recipe.endpoint.url)
        async with Berlin.from_settings(Settings("s", recipe, at, key, PATIENT)) as berlin:
            assert await berlin.embed(["one", "two"]) == VECTORS
        plain = parse_recipe(text[: text.index("[embeddings]")], "upstream.toml")
        async with Berlin.from_settings(Settings("s", plain, at, key, PATIENT)) as berlin:
            with pytest.raises(ConfigurationError, match=r"\[embeddings\]"):
                await berlin.embed("one")
    assert json.loads(server.requests[0].body) == {"model": "small", "input": ["one", "two"]}


async def test_a_service_without_embeddings_says_so() -> None:
    """A 400 that names the provider."""
    async with serve(Service("s", ScriptedProvider([Finished()]), ["m1"])) as at:
        status, got = await post(at, "/v1/embeddings", model="s:m1", input="a")
    assert status == 400
    assert "s has no embeddings" in got["error"]["message"]
