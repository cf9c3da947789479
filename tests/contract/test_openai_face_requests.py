"""The OpenAI face: what clients may send, how errors look, models, and pages of the web."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from berlin import errors
from berlin.errors import BerlinError
from berlin.gateway.catalog import Service
from berlin.providers.scripted import ScriptedProvider
from berlin.types import (
    ChatRequest,
    Message,
    Reasoning,
    TextPart,
)
from support.gateway import OPENAI, Answer, make_key, request_bytes, serve


async def asked(**members: Any) -> ChatRequest:
    """Return what the provider is asked when a client sends these members."""
    provider = ScriptedProvider()
    async with serve(Service("s", provider, ["m1"])) as at:
        got = await at.ask(OPENAI, **members)
    assert got.status == 200, got.data
    [request] = provider.requests
    return request


def error_of(got: Answer) -> dict[str, Any]:
    """Return an error in the one form that there is."""
    assert got.headers["Content-Type"] == "application/json"
    assert got.headers["x-request-id"].startswith("req_")
    assert set(got.json) == {"error"}
    error: dict[str, Any] = got.json["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert isinstance(error["message"], str)
    assert isinstance(error["type"], str)
    assert isinstance(error["code"], str)
    return error


def text(role: Any, *words: str) -> Message:
    """Return a message of text."""
    return Message(role, tuple(TextPart(word) for word in words))


NULLS = (
    *("temperature", "top_p", "n", "stop", "max_tokens", "max_completion_tokens", "seed"),
    *("presence_penalty", "frequency_penalty", "logit_bias", "tools", "tool_choice"),
    *("response_format", "stream_options", "logprobs", "top_logprobs", "reasoning_effort"),
    *("parallel_tool_calls", "modalities", "audio", "functions", "function_call", "stream"),
)


async def test_null_is_as_good_as_nothing() -> None:
    """Clients that write `null` for what was not given get an answer."""
    request = await asked(**dict.fromkeys(NULLS))
    assert request.options == {}


async def test_options_arrive_as_they_were_sent() -> None:
    """Sampling options reach the provider by their usual names."""
    options = {
        "temperature": 0,
        "top_p": 0.5,
        "presence_penalty": -1.5,
        "frequency_penalty": 2,
        "seed": 7,
        "stop": ["a", "b"],
        "logit_bias": {"50256": -100},
    }
    request = await asked(**options, reasoning_effort="low", parallel_tool_calls=False)
    assert request.options == options
    assert (request.reasoning, request.parallel_tool_calls) == (Reasoning("low"), False)
    assert (await asked(stop="END")).options == {"stop": "END"}


TOLD: list[tuple[BerlinError, int, str, str]] = [
    (
        errors.ContextLengthError("too long"),
        400,
        "invalid_request_error",
        "context_length_exceeded",
    ),
    (errors.RequestRejectedError("bad"), 400, "invalid_request_error", "upstream_rejected"),
    (errors.AuthenticationError("x"), 502, "api_error", "upstream_authentication"),
    (errors.PermissionDeniedError("x"), 502, "api_error", "upstream_permission"),
    (errors.MissingCredentialsError("x"), 503, "api_error", "missing_credentials"),
    (errors.RateLimitError("slow"), 429, "rate_limit_error", "rate_limited"),
    (errors.UpstreamTimeoutError("x"), 504, "api_error", "upstream_timeout"),
    (errors.ConnectError("x"), 502, "api_error", "upstream_unreachable"),
    (errors.ServiceUnavailableError("x"), 502, "api_error", "upstream_unavailable"),
]


@pytest.mark.parametrize(("error", "status", "kind", "code"), TOLD, ids=lambda v: str(v))
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
async def test_errors(error: BerlinError, status: int, kind: str, code: str, stream: bool) -> None:
    """Each error has its status, type and code, and trouble with an upstream is never a 401."""
    async with serve(Service("s", ScriptedProvider([error]), ["m1"])) as at:
        got = await at.ask(OPENAI, stream=stream)
    assert got.status == status
    told = error_of(got)
    assert (told["type"], told["code"], told["param"]) == (kind, code, None)


async def test_g12_unknown_models() -> None:
    """Unknown models are 404 with the member that is wrong, wherever they are named."""
    async with serve(Service("s", ScriptedProvider(), ["m1"])) as at:
        for got in (
            await at.ask(OPENAI, model="s:m2"),
            await at.get("/v1/models/s:m2"),
            await at.ask(OPENAI, model="nobody"),
        ):
            assert got.status == 404
            told = error_of(got)
            assert (told["code"], told["param"]) == ("model_not_found", "model")
            assert told["type"] in ("invalid_request_error", "not_found_error")
        near = await at.ask(OPENAI, model="s:m")
    assert "did you mean 's:m1'?" in near.message


async def test_wrong_key_is_a_401_that_names_its_scheme(tmp_path: Path) -> None:
    """Our own key is a 401 with the header that HTTP wants there."""
    make_key(tmp_path / "keys.sqlite", "k")
    async with serve(Service("s", ScriptedProvider(), ["m1"]), keys=tmp_path / "keys.sqlite") as at:
        got = await at.ask(OPENAI, key="bk-wrong")
    assert got.status == 401
    told = error_of(got)
    assert (told["type"], told["code"]) == ("authentication_error", "invalid_api_key")
    assert got.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "tool",
    [
        {"type": "function", "name": "f", "description": "d", "strict": True, "parameters": {}},
        {"name": "f", "description": "d", "strict": True, "input_schema": {}},
    ],
)
async def test_tools_in_the_forms_of_other_apis(tool: dict[str, Any]) -> None:
    """Cursor sends tools as in the Responses API and in Anthropic's."""
    choice = {"type": "function", "name": "f"}
    flat = await asked(tools=[tool], tool_choice=choice)
    function = {"name": "f", "description": "d", "strict": True, "parameters": {}}
    plain = await asked(tools=[{"type": "function", "function": function}], tool_choice=choice)
    assert (flat.tools, flat.tool_choice) == (plain.tools, "f")


@pytest.mark.parametrize(
    "path",
    [
        *("/v1/chat/completions/", "//v1/chat/completions", "/v1//chat/completions"),
        *("/v1/v1/chat/completions", "/v1/v1/v1/chat/completions"),
    ],
)
async def test_a_base_url_may_end_in_a_slash_or_in_v1(path: str) -> None:
    """Clients that append their path to it are understood."""
    async with serve(Service("s", ScriptedProvider(), ["m1"])) as at:
        body = {"model": "s", "messages": [{"role": "user", "content": "hi"}]}
        async with at.session.post(at.url + path, json=body) as got:
            assert got.status == 200


@pytest.mark.parametrize("path", ["/metrics/", "//metrics", "/v1/../metrics/", "/healthz/"])
async def test_pages_of_operators_have_one_name(path: str) -> None:
    """A path that a proxy before the gateway blocks cannot be reached under another name."""
    async with serve(Service("s", ScriptedProvider(), ["m1"])) as at:
        head = await at.raw(request_bytes("GET", path, b"", "Connection: close"))
    assert b" 404 " in head.split(b"\r\n")[0]


@pytest.mark.parametrize(
    ("sent", "arrives"),
    [
        (rb"a\ud83d b", "a\ufffd b"),
        (rb"\ude00\ud83d\ude00", "\ufffd\U0001f600"),
        (rb"C:\\ud83d \ud83d", "C:\\ud83d \ufffd"),
    ],
)
async def test_d07_half_of_a_surrogate_pair_is_replaced(sent: bytes, arrives: str) -> None:
    """A text that JavaScript has cut within a character does not fail all later requests."""
    provider = ScriptedProvider()
    body = b'\xef\xbb\xbf{"model":"s","messages":[{"role":"user","content":"%b"}]}' % sent
    async with serve(Service("s", provider, ["m1"])) as at:
        assert (await at.post(OPENAI, body)).status == 200
    assert provider.requests[0].messages == (text("user", arrives),)


async def test_packed_bodies_are_refused_by_name() -> None:
    """The error says that it is the encoding."""
    async with serve(Service("s", ScriptedProvider(), ["m1"])) as at:
        got = await at.post(OPENAI, b"{}", headers={"Content-Encoding": "gzip"})
    assert got.status == 415
    assert "Content-Encoding" in got.message


@pytest.mark.parametrize("path", ["/v1/nothing", "/nothing", "/models/", "/chat/completions/"])
async def test_paths_that_are_none(path: str) -> None:
    """Another path is a 404 in the same form."""
    async with serve(Service("s", ScriptedProvider(), ["m1"])) as at:
        got = await at.get(path)
    assert got.status == 404
    assert error_of(got)["code"] == "not_found"
