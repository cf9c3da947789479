"""The Ollama face: its lines, whole answers, errors, and what tells which models there are."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from berlin import errors
from berlin.errors import BerlinError
from berlin.gateway.catalog import Service
from berlin.providers.scripted import ScriptedProvider
from berlin.types import Finished, ReasoningDelta, ToolCallDelta, Usage, UsageReport
from support.gateway import GENERATE, OLLAMA, Answer, At, Dialect, make_key, serve, service, silence

BOTH = pytest.mark.parametrize("dialect", [OLLAMA, GENERATE], ids=str)
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


def says(dialect: Dialect, text: str, **more: Any) -> dict[str, Any]:
    """Return the members in which a line says what the model says."""
    if dialect is OLLAMA:
        return {"message": {"role": "assistant", "content": text, **more}}
    return {"response": text, **more}


async def lines(at: At, dialect: Dialect, **members: Any) -> list[dict[str, Any]]:
    """Return the lines of a streamed answer, each without model and time, which are checked."""
    got = await at.ask(dialect, stream=True, **members)
    assert got.status == 200, got.data
    assert got.headers["Content-Type"] == "application/x-ndjson"
    assert got.headers["Cache-Control"] == "no-cache"
    assert got.data.endswith(b"\n")
    found = [json.loads(line) for line in got.data[:-1].split(b"\n")]
    for line in found:
        if "error" not in line:
            assert line.pop("model") == "s:m1"
            assert TIME.fullmatch(line.pop("created_at"))
    return found


@BOTH
async def test_lines_of_an_answer(dialect: Dialect) -> None:
    """Reasoning, text and whole tool calls have lines; the last one has `done` and the counts."""
    script = [
        ReasoningDelta("hm"),
        "a",
        ToolCallDelta(0, "call_a", "f", '{"x":'),
        ToolCallDelta(1, "call_b", "g"),
        ToolCallDelta(0, arguments="1}"),
        "b",
        UsageReport(Usage(11, 7)),
        Finished("tool_calls"),
    ]
    async with serve(service(*script)) as at:
        *got, end = await lines(at, dialect)
    calls = [
        {"id": "call_a", "function": {"name": "f", "arguments": {"x": 1}}},
        {"id": "call_b", "function": {"name": "g", "arguments": {}}},
    ]
    assert got == [
        {**says(dialect, "", thinking="hm"), "done": False},
        {**says(dialect, "a"), "done": False},
        {**says(dialect, "b"), "done": False},
        {**says(dialect, "", tool_calls=calls), "done": False},
    ]
    times = {name: end.pop(name) for name in list(end) if name.endswith("_duration")}
    assert set(times) == {
        *("total_duration", "load_duration", "prompt_eval_duration", "eval_duration"),
    }
    assert all(type(value) is int for value in times.values())
    assert times["total_duration"] > 0
    assert times["eval_duration"] > 0
    assert end == {
        **says(dialect, ""),
        "done": True,
        "done_reason": "stop",
        "prompt_eval_count": 11,
        "eval_count": 7,
    }


@BOTH
async def test_it_streams_unless_told_otherwise(dialect: Dialect) -> None:
    """Without `stream` the answer comes in lines; with `false` it is one document."""
    body = dialect.body("Hi", "s:m1", False)
    del body["stream"]
    async with serve(service("a", "b", Finished())) as at:
        streamed = await at.post(dialect, body)
        whole = await at.post(dialect, {**body, "stream": False})
    assert len(streamed.data.splitlines()) == 3
    assert whole.headers["Content-Type"] == "application/json"
    assert whole.text == "ab"


@BOTH
async def test_shape_of_a_whole_answer(dialect: Dialect) -> None:
    """A whole answer has text, calls, reason and counts; a guess of counts is marked."""
    script = [ReasoningDelta("hm"), "x" * 40, ToolCallDelta(0, "a", "f"), Finished("length")]
    async with serve(service(*script)) as at:
        said = (await at.ask(dialect, "y" * 80)).json
    assert said.pop("model") == "s:m1"
    assert TIME.fullmatch(said.pop("created_at"))
    assert said.pop("prompt_eval_count") == 20
    assert said.pop("eval_count") == 11
    calls = [{"id": "a", "function": {"name": "f", "arguments": {}}}]
    assert said == {
        **says(dialect, "x" * 40, thinking="hm", tool_calls=calls),
        "done": True,
        "done_reason": "length",
        "estimated": True,
    }


@BOTH
async def test_empty_lines_break_the_silence(dialect: Dialect) -> None:
    """In silence come lines without text, and the answer stays what it is."""
    async with serve(service("a", silence, "b", Finished()), keep_alive_s=0.01) as at:
        *got, end = await lines(at, dialect)
    assert got.count({**says(dialect, ""), "done": False}) >= 2
    said = [line for line in got if line != {**says(dialect, ""), "done": False}]
    assert said == [{**says(dialect, text), "done": False} for text in "ab"]
    assert end["done"] is True


ERRORS: list[tuple[BerlinError, int]] = [
    (errors.RequestRejectedError("bad"), 400),
    (errors.RateLimitError("slow"), 429),
    (errors.AuthenticationError("x"), 502),
    (errors.UpstreamTimeoutError("x"), 504),
]


@pytest.mark.parametrize(("error", "status"), ERRORS, ids=str)
@BOTH
async def test_errors_before_the_answer(dialect: Dialect, error: BerlinError, status: int) -> None:
    """An error is one member of text, with its status, streamed or not."""
    async with serve(service(error)) as at:
        for stream in (True, False):
            got = await at.ask(dialect, stream=stream)
            assert got.status == status
            assert got.headers["Content-Type"] == "application/json"
            assert list(got.json) == ["error"]
            assert isinstance(got.json["error"], str)
            assert got.headers["x-request-id"].startswith("req_")


@BOTH
async def test_error_in_the_answer(dialect: Dialect) -> None:
    """An error after the beginning is the last line, and no line says `done`."""
    late = "slow down (after 1 event of the answer)"
    async with serve(service("a", errors.RateLimitError("slow down"))) as at:
        got = await lines(at, dialect)
    assert got == [{**says(dialect, "a"), "done": False}, {"error": late}]


async def post(at: At, path: str, **body: Any) -> Answer:
    """Post a body to another path of this face."""
    headers = await at.headers(OLLAMA)
    async with at.session.post(at.url + path, json=body, headers=headers) as answer:
        return Answer(OLLAMA, answer.status, answer.headers, await answer.read())


async def test_version() -> None:
    """The version is that of the Ollama whose API this is: programs want a recent one."""
    async with serve(service()) as at:
        assert (await at.get("/api/version")).json == {"version": "0.12.10"}


async def test_tags() -> None:
    """Every model is listed with all that clients read, and the same names as elsewhere."""
    one = Service("s", ScriptedProvider(), ["org/model", "m:7b"])
    async with serve(one, aliases={"quick": "s:m:7b"}) as at:
        models = (await at.get("/api/tags")).json["models"]
        others = [model["id"] for model in (await at.get("/v1/models")).json["data"]]
    assert [m["name"] for m in models] == others == ["quick", "s", "s:org/model", "s:m:7b"]
    for model in models:
        assert model["model"] == model["name"]
        assert type(model["size"]) is int
        assert re.fullmatch("[0-9a-f]{64}", model["digest"])
        assert re.match(r"\d{4}-\d\d-\d\dT", model["modified_at"])
        assert {"format", "family", "families", "parameter_size", "quantization_level"} <= set(
            model["details"]
        )
    assert len({model["digest"] for model in models}) == 4


@pytest.mark.parametrize("member", ["model", "name"])
async def test_show(member: str) -> None:
    """What a model can do is told in Ollama's words; both names of the member are known."""
    one = service(capabilities=["tools", "images", "reasoning", "json"])
    async with serve(one) as at:
        got = await post(at, "/api/show", **{member: "s:m1"})
        assert got.status == 200
        assert got.json["capabilities"] == ["completion", "tools", "vision", "thinking"]
        assert {"modelfile", "parameters", "template", "details", "model_info"} <= set(got.json)
        assert (await post(at, "/api/show", **{member: "s:m2"})).status == 404
        assert (await post(at, "/api/show")).status == 400


async def test_tag_that_clients_add() -> None:
    """`:latest`, which clients put behind names without a tag, means the name itself."""
    one = service(default="m1")
    async with serve(one, aliases={"quick": "s:m1"}) as at:
        for name in ("quick:latest", "quick", "s:latest", "s", "s:m1"):
            got = await at.ask(OLLAMA, model=name)
            assert got.status == 200, name
            assert got.json["model"] == name
            assert got.headers["x-berlin-model"] == "s:m1"


@BOTH
async def test_options(dialect: Dialect) -> None:
    """Options, format and thinking reach the provider by their usual names; unknown ones go."""
    one = service()
    given = {"temperature": 0.5, "num_predict": 64, "stop": ["END"], "num_ctx": 4096, "seed": 7}
    schema = {"type": "object", "properties": {}}
    async with serve(one) as at:
        got = await at.ask(
            dialect, options=given, format=schema, think="low", keep_alive="5m", system="Be brief"
        )
        assert got.status == 200
    assert isinstance(one.provider, ScriptedProvider)
    [request] = one.provider.requests
    assert request.options == {
        "temperature": 0.5,
        "max_tokens": 64,
        "stop": ["END"],
        "seed": 7,
    }
    assert request.reasoning is not None
    assert request.reasoning.effort == "low"
    assert json.loads(request.response_format.schema) == schema
    said = [(message.role, message.text) for message in request.messages]
    assert said == ([("system", "Be brief")] if dialect is GENERATE else []) + [("user", "Hi")]


async def test_pages_need_a_key_where_there_are_keys(tmp_path: Path) -> None:
    """Without a key it is a 401 in this face's form; a limited key sees its own models."""
    path = tmp_path / "keys.sqlite"
    key = make_key(path, "k", "s:m1")
    one = Service("s", ScriptedProvider(), ["m1", "m2"])
    async with serve(one, keys=path) as at:
        for got in (
            await at.get("/api/tags"),
            await at.get("/api/version"),
            await post(at, "/api/show", model="s:m1"),
            await at.ask(OLLAMA),
        ):
            assert got.status == 401
            assert list(got.json) == ["error"]
        at.key = key
        # `s` is its first model, which is the same one.
        assert [m["name"] for m in (await at.get("/api/tags")).json["models"]] == ["s", "s:m1"]
        assert (await post(at, "/api/show", model="s:m2")).status == 404


@pytest.mark.parametrize("path", ["/api/pull", "/api/delete", "/api/nothing"])
async def test_other_paths_speak_this_format(path: str) -> None:
    """What this gateway does not do is a 404 in the form that its clients read."""
    async with serve(service()) as at:
        got = await post(at, path, model="s:m1")
    assert (got.status, list(got.json)) == (404, ["error"])
