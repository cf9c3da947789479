"""The Anthropic face: the order of its events, its errors, and how many tokens there are."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from berlin import errors
from berlin.errors import BerlinError
from berlin.formats.opaque import seal
from berlin.gateway.catalog import Service
from berlin.providers.scripted import ScriptedProvider
from berlin.types import Finished, ReasoningDelta, ToolCallDelta, Usage, UsageReport
from support.gateway import ANTHROPIC, At, make_key, serve, service, silence

FRAME = re.compile(rb"event: ([a-z_]+)\ndata: (\{[^\n]*\})\n\n")


def frames(data: bytes) -> list[dict[str, Any]]:
    """Return the events of a stream that is nothing else; each has its name twice."""
    found = FRAME.findall(data)
    assert b"".join(b"event: %b\ndata: %b\n\n" % one for one in found) == data
    events = [json.loads(text) for _, text in found]
    assert [name.decode() for name, _ in found] == [event["type"] for event in events]
    return events


async def told(at: At, **members: Any) -> list[dict[str, Any]]:
    """Return the events of a streamed answer."""
    got = await at.ask(ANTHROPIC, stream=True, **members)
    assert got.status == 200, got.data
    assert got.headers["Content-Type"].startswith("text/event-stream")
    assert got.headers["Cache-Control"] == "no-cache"
    assert got.headers["X-Accel-Buffering"] == "no"
    return frames(got.data)


def delta(index: int, kind: str, **members: str) -> dict[str, Any]:
    """Return the event for a piece of a block."""
    return {
        "type": "content_block_delta",
        "index": index,
        "delta": {"type": f"{kind}_delta", **members},
    }


def start(index: int, **block: Any) -> dict[str, Any]:
    """Return the event that begins a block."""
    return {"type": "content_block_start", "index": index, "content_block": block}


def stop(index: int) -> dict[str, Any]:
    """Return the event that ends a block."""
    return {"type": "content_block_stop", "index": index}


async def test_order_of_events() -> None:
    """Each block is begun, filled and ended before the next; then the end, in two steps."""
    script = [
        ReasoningDelta("hm"),
        "I ",
        "look",
        ToolCallDelta(0, "call_a", "f"),
        ToolCallDelta(0, arguments='{"x":'),
        ToolCallDelta(0, arguments="1}"),
        ToolCallDelta(1, "call_b", "g"),
        UsageReport(Usage(11, 7, cached_tokens=3, reasoning_tokens=2)),
        Finished("stop"),
    ]
    async with serve(service(*script)) as at:
        first, *got = await told(at)
    assert first["type"] == "message_start"
    message = first["message"]
    assert re.fullmatch("msg_[0-9a-f]{32}", message.pop("id"))
    assert type(message["usage"].pop("input_tokens")) is int
    assert type(message["usage"].pop("output_tokens")) is int
    message.pop("usage")
    assert message == {
        "type": "message",
        "role": "assistant",
        "model": "s:m1",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }
    assert got == [
        start(0, type="thinking", thinking="", signature=""),
        delta(0, "thinking", thinking="hm"),
        delta(0, "signature", signature=seal()),
        stop(0),
        start(1, type="text", text=""),
        delta(1, "text", text="I "),
        delta(1, "text", text="look"),
        stop(1),
        start(2, type="tool_use", id="call_a", name="f", input={}),
        delta(2, "input_json", partial_json='{"x":'),
        delta(2, "input_json", partial_json="1}"),
        stop(2),
        start(3, type="tool_use", id="call_b", name="g", input={}),
        stop(3),
        {
            "type": "message_delta",
            "delta": {"stop_reason": "tool_use", "stop_sequence": None},
            "usage": {
                "input_tokens": 8,
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": 3,
                "output_tokens": 7,
                "output_tokens_details": {"thinking_tokens": 2},
            },
        },
        {"type": "message_stop"},
    ]


async def test_answer_without_a_word() -> None:
    """An empty answer has no block, and still its beginning and its end; its counts are guesses."""
    async with serve(service(Finished())) as at:
        got = await told(at)
        whole = (await at.ask(ANTHROPIC)).json
    assert [event["type"] for event in got] == ["message_start", "message_delta", "message_stop"]
    assert got[1]["usage"]["estimated"] is True
    assert whole["content"] == [{"type": "text", "text": ""}]


@pytest.mark.parametrize(
    ("reason", "word"),
    [
        ("stop", "end_turn"),
        ("length", "max_tokens"),
        ("content_filter", "refusal"),
        ("tool_calls", "tool_use"),
    ],
)
async def test_stop_reasons(reason: Any, word: str) -> None:
    """Why an answer ended is told in this format's words."""
    async with serve(service("x", Finished(reason))) as at:
        assert (await told(at))[-2]["delta"] == {"stop_reason": word, "stop_sequence": None}
        assert (await at.ask(ANTHROPIC)).json["stop_reason"] == word


async def test_shape_of_a_whole_answer() -> None:
    """A whole answer is the message with its blocks; arguments that are no object are shown."""
    script = [
        ReasoningDelta("hm"),
        "text",
        ToolCallDelta(0, "call_a", "f", '{"x":1}'),
        ToolCallDelta(1, "call_b", "g", '{"cut'),
        UsageReport(Usage(11, 7, cached_tokens=3)),
        Finished("tool_calls"),
    ]
    async with serve(service(*script)) as at:
        got = await at.ask(ANTHROPIC)
    assert got.headers["Content-Type"] == "application/json"
    said = got.json
    assert re.fullmatch("msg_[0-9a-f]{32}", said.pop("id"))
    assert said == {
        "type": "message",
        "role": "assistant",
        "model": "s:m1",
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": seal()},
            {"type": "text", "text": "text"},
            {"type": "tool_use", "id": "call_a", "name": "f", "input": {"x": 1}},
            {"type": "tool_use", "id": "call_b", "name": "g", "input": {"arguments": '{"cut'}},
        ],
        "stop_reason": "tool_use",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 8,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 3,
            "output_tokens": 7,
        },
    }


async def test_pings_break_the_silence() -> None:
    """In silence come pings, behind the message's start, and they stand in nobody's way."""
    script = ["a", silence, "b", Finished()]
    async with serve(service(*script), keep_alive_s=0.01) as at:
        got = await told(at)
    kinds = [event["type"] for event in got]
    assert kinds[0] == "message_start"
    assert kinds.count("ping") >= 2
    assert next(event for event in got if event["type"] == "ping") == {"type": "ping"}
    assert [kind for kind in kinds if kind != "ping"] == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]


ERRORS: list[tuple[BerlinError, int, str]] = [
    (errors.RequestRejectedError("bad"), 400, "invalid_request_error"),
    (errors.RateLimitError("slow"), 429, "rate_limit_error"),
    (errors.AuthenticationError("x"), 502, "api_error"),
    (errors.ServiceUnavailableError("x"), 502, "api_error"),
    (errors.ServiceUnavailableError("x", status=529), 502, "overloaded_error"),
    (errors.UpstreamTimeoutError("x"), 504, "timeout_error"),
]


@pytest.mark.parametrize(("error", "status", "kind"), ERRORS, ids=str)
async def test_errors_before_the_answer(error: BerlinError, status: int, kind: str) -> None:
    """Each error has its status and this format's type, streamed or not."""
    async with serve(service(error)) as at:
        for stream in (True, False):
            got = await at.ask(ANTHROPIC, stream=stream)
            assert got.status == status
            assert got.headers["Content-Type"] == "application/json"
            assert got.json["type"] == "error"
            assert set(got.json["error"]) == {"type", "message"}
            assert got.json["error"]["type"] == kind
            assert got.headers["x-request-id"].startswith("req_")


async def test_error_in_the_answer() -> None:
    """An error after the beginning is an event of its own, and the last."""
    async with serve(service("a", errors.RateLimitError("slow down"))) as at:
        got = await told(at)
    assert [event["type"] for event in got] == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "error",
    ]
    assert got[-1] == {
        "type": "error",
        "error": {"type": "rate_limit_error", "message": "slow down (after 1 event of the answer)"},
    }


@pytest.mark.parametrize(
    ("path", "status", "kind"),
    [
        ("/v1/messages", 405, "invalid_request_error"),
        ("/v1/messages/batches", 404, "not_found_error"),
        ("/v1/messages/count_tokens", 405, "invalid_request_error"),
    ],
)
async def test_paths_below_messages_speak_this_format(path: str, status: int, kind: str) -> None:
    """What is wrong with a path of this face is told in its form."""
    async with serve(service()) as at:
        got = await at.get(path)
    assert got.status == status
    assert (got.json["type"], got.json["error"]["type"]) == ("error", kind)


async def test_key_in_its_own_header(tmp_path: Path) -> None:
    """Clients of this API send `x-api-key`; without a key it is a 401 of its form."""
    key = make_key(tmp_path / "keys.sqlite", "k")
    async with serve(service(), keys=tmp_path / "keys.sqlite") as at:
        headers = {"x-api-key": key, "anthropic-version": "2023-06-01", "anthropic-beta": "x"}
        good = await at.ask(ANTHROPIC, headers=headers)
        bad = await at.ask(ANTHROPIC, headers={"x-api-key": "sk-ant-x"})
    assert good.status == 200
    assert bad.status == 401
    assert bad.json["error"]["type"] == "authentication_error"


async def test_what_claude_code_sends() -> None:
    """Members that other clients of this API send with each request are no fault."""
    text = {"type": "text", "text": "Be brief", "cache_control": {"type": "ephemeral"}}
    provider = ScriptedProvider()
    async with serve(Service("s", provider, ["m1"])) as at:
        body = {
            **ANTHROPIC.body("Hi", "s:m1", False),
            "system": [text, {"type": "text", "text": "Be kind"}],
            "metadata": {"user_id": "u"},
            "thinking": {"type": "enabled", "budget_tokens": 1024},
            "temperature": 1,
            "tools": [{"name": "f", "input_schema": {"type": "object"}, "cache_control": {}}],
            "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
            "stop_sequences": [],
        }
        async with at.session.post(f"{at.url}/v1/messages?beta=true", json=body) as answer:
            assert answer.status == 200
    [request] = provider.requests
    assert [(m.role, m.text) for m in request.messages] == [
        ("system", "Be brief\n\nBe kind"),
        ("user", "Hi"),
    ]
    assert [tool.name for tool in request.tools] == ["f"]
    assert request.options == {
        "max_tokens": 64,
        "temperature": 1,
        "user": "u",
    }


async def test_tokens_are_counted_without_asking_anybody(tmp_path: Path) -> None:
    """The question for tokens has one number as its answer, grows, and needs a key."""
    key = make_key(tmp_path / "keys.sqlite", "k")
    provider = ScriptedProvider()
    path = "/v1/messages/count_tokens"
    async with serve(Service("s", provider, ["m1"]), keys=tmp_path / "keys.sqlite") as at:
        counts = []
        for words in ("Hi", "Hi " * 1000):
            body = {"model": "s:m1", "messages": [{"role": "user", "content": words}]}
            async with at.session.post(
                at.url + path, json=body, headers={"x-api-key": key}
            ) as answer:
                assert answer.status == 200
                said = await answer.json()
            assert list(said) == ["input_tokens"]
            counts.append(said["input_tokens"])
        async with at.session.post(at.url + path, json=body) as answer:
            assert answer.status == 401
    assert 0 < counts[0] < 10
    assert 500 < counts[1] < 3000
    assert provider.requests == []


async def test_models_as_clients_of_this_api_read_them() -> None:
    """The list of models has what this API's clients look for."""
    async with serve(service()) as at:
        got = (await at.get("/v1/models")).json
    assert got["has_more"] is False
    assert (got["first_id"], got["last_id"]) == ("s", "s:m1")
    for model in got["data"]:
        assert model["type"] == "model"
        assert model["display_name"] == model["id"]
        assert re.match(r"\d{4}-\d\d-\d\dT", model["created_at"])
