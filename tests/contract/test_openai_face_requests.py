"""The OpenAI face: what clients may send, how errors look, models, and pages of the web."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from berlin import errors
from berlin.errors import BerlinError
from berlin.gateway.catalog import Service
from berlin.providers.scripted import ScriptedProvider
from berlin.types import (
    ChatRequest,
    ImagePart,
    Message,
    Reasoning,
    ResponseFormat,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from support.bare import bare_request
from support.gateway import OPENAI, Answer, make_key, serve

TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


async def asked(**members: Any) -> ChatRequest:
    """Return what the provider is asked when a client sends these members."""
    provider = ScriptedProvider()
    async with serve(Service("s", provider, ["m1"])) as at:
        got = await at.ask(OPENAI, **members)
    assert got.status == 200, got.data
    [request] = provider.requests
    return request


async def refused(**members: Any) -> dict[str, Any]:
    """Return the error that a client gets that sends these members."""
    provider = ScriptedProvider()
    async with serve(Service("s", provider, ["m1"])) as at:
        got = await at.ask(OPENAI, **members)
    assert got.status == 400, got.data
    assert provider.requests == []
    return error_of(got)


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


CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}}
HTTPS = "https://example.com/a.png"

MESSAGES: dict[str, tuple[dict[str, Any], Message]] = {
    "text": ({"role": "user", "content": "Hi"}, text("user", "Hi")),
    "system": ({"role": "system", "content": "Hi"}, text("system", "Hi")),
    "developer": ({"role": "developer", "content": "Hi"}, text("developer", "Hi")),
    "empty": ({"role": "user", "content": ""}, text("user", "")),
    "named": ({"role": "user", "content": "Hi", "name": "ann"}, text("user", "Hi")),
    "parts": (
        {
            "role": "user",
            "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
        },
        text("user", "a", "b"),
    ),
    "image": (
        {
            "role": "user",
            "content": [{"type": "image_url", "image_url": {"url": HTTPS, "detail": "low"}}],
        },
        Message("user", (ImagePart(HTTPS),)),
    ),
    "null beside calls": (
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        Message("assistant", (ToolCallPart("c1", "f", '{"x":1}'),)),
    ),
    "nothing beside calls": (
        {"role": "assistant", "tool_calls": [CALL]},
        Message("assistant", (ToolCallPart("c1", "f", '{"x":1}'),)),
    ),
    "text beside calls": (
        {"role": "assistant", "content": "Hm", "tool_calls": [CALL]},
        Message("assistant", (TextPart("Hm"), ToolCallPart("c1", "f", '{"x":1}'))),
    ),
    "refusal": (
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "No"}]},
        text("assistant", "No"),
    ),
    "tool": (
        {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
        Message("tool", (ToolResultPart("c1", "sunny"),)),
    ),
    "tool in parts": (
        {
            "role": "tool",
            "tool_call_id": "c1",
            "content": [{"type": "text", "text": "sun"}, {"type": "text", "text": "ny"}],
        },
        Message("tool", (ToolResultPart("c1", "sunny", parts=(TextPart("sun"), TextPart("ny"))),)),
    ),
}


@pytest.mark.parametrize("case", MESSAGES)
async def test_messages(case: str) -> None:
    """Every form of a message that clients send is understood."""
    sent, meant = MESSAGES[case]
    assert bare_request(await asked(messages=[sent])).messages == (meant,)


CHOICES: list[tuple[Any, str]] = [
    (None, "auto"),
    ("auto", "auto"),
    ("none", "none"),
    ("required", "required"),
    ("any", "required"),
    ({"type": "function", "function": {"name": "f"}}, "f"),
    ({"type": "function", "name": "f"}, "f"),
]


@pytest.mark.parametrize(("sent", "meant"), CHOICES, ids=str)
async def test_tool_choice(sent: Any, meant: str) -> None:
    """Every form of `tool_choice` is understood."""
    request = await asked(tools=[TOOL], tool_choice=sent)
    assert request.tool_choice == meant
    assert [tool.name for tool in request.tools] == ["f"]


@pytest.mark.parametrize(
    "sent", ["sometimes", 7, {}, {"type": "function", "function": {"name": "g"}}], ids=str
)
async def test_tool_choice_that_is_none(sent: Any) -> None:
    """What names no tool of the request is refused by its name."""
    error = await refused(tools=[TOOL], tool_choice=sent)
    assert (error["param"], error["code"]) == ("tool_choice", "invalid_request")


@pytest.mark.parametrize("sent", ["required", {"type": "function", "function": {"name": "f"}}])
async def test_tool_choice_without_tools(sent: Any) -> None:
    """Who insists on a call without giving a tool is told, and not answered as if it had not."""
    assert (await refused(tool_choice=sent))["param"] == "tool_choice"


@pytest.mark.parametrize("sent", ["auto", "none"])
async def test_tool_choice_that_asks_for_nothing(sent: str) -> None:
    """Without tools a choice that leaves it open is no fault."""
    assert (await asked(tool_choice=sent, tools=[])).tool_choice == "auto"


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


async def test_what_means_nothing_is_let_through() -> None:
    """Values that ask for what is done anyway are no fault."""
    harmless = {"n": 1, "logprobs": False, "top_logprobs": 0, "modalities": ["text"]}
    request = await asked(**harmless, functions=[], response_format={"type": "text"})
    assert (request.options, request.response_format) == ({}, None)


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
async def test_limit_of_tokens(name: str) -> None:
    """Both names of the limit mean the same."""
    assert (await asked(**{name: 64})).options == {"max_tokens": 64}


async def test_newer_name_of_the_limit_goes_first() -> None:
    """Where both are given, `max_completion_tokens` holds."""
    assert (await asked(max_tokens=7, max_completion_tokens=64)).options == {"max_tokens": 64}


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


async def test_response_format() -> None:
    """A wish for JSON reaches the provider as a schema."""
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    wish = {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": schema}}
    assert json.loads((await asked(response_format=wish)).response_format.schema) == schema
    told = (await asked(response_format={"type": "json_object"})).response_format
    assert told == ResponseFormat()


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


@pytest.mark.parametrize("path", ["/v1/nothing", "/nothing", "/v1/models/"])
async def test_paths_that_are_none(path: str) -> None:
    """Another path is a 404 in the same form."""
    async with serve(Service("s", ScriptedProvider(), ["m1"])) as at:
        got = await at.get(path)
    assert got.status == 404
    assert error_of(got)["code"] == "not_found"
