"""The gateway, second part: bodies that are no request (G09 to G14, G42, G43, G48, G49)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from support.gateway import (
    ANTHROPIC,
    BERLIN,
    DIALECTS,
    GENERATE,
    OLLAMA,
    OPENAI,
    Dialect,
)
from support.gateway_loop import never_blocked, one


def refused_well(dialect: Dialect, status: int, document: Any, param: str | None) -> None:
    """Check the form of an error."""
    match dialect.face:
        case "openai" | "responses":
            assert set(document) == {"error"}
            assert set(document["error"]) == {"message", "type", "param", "code"}
            assert document["error"]["type"] == "invalid_request_error"
            assert document["error"]["param"] == param
        case "anthropic":
            assert document["type"] == "error"
            assert set(document["error"]) == {"type", "message"}
        case "ollama":
            assert set(document) == {"error"}
        case _:
            assert document["code"] == status
    assert dialect.message(document)
    assert "Traceback" not in dialect.message(document)


BAD = {
    "empty": b"",
    "no JSON": b"{",
    "no object": b"[]",
    "text": b'"text"',
    "null": b"null",
    "form": b"model=m&messages=x",
    "invalid UTF-8": b'{"model": "s:m1", "messages": [{"role": "user", "content": "\xff"}]}',
    "UTF-16": '{"model": "s:m1"}'.encode("utf-16"),
    "BOM of UTF-16, and JSON": b'\xff\xfe{"model": "s:m1"}',
    "two documents": b"[]{}",
    "NaN": b'{"model": NaN}',
}


@pytest.mark.parametrize("dialect", DIALECTS, ids=str)
async def test_g10_g14_what_is_no_json_is_a_400(dialect: Dialect) -> None:
    """Bytes that are no JSON object in UTF-8 are a 400 in the dialect's own form."""
    async with one() as (at, provider):
        for case, body in BAD.items():
            answer = await at.post(dialect, body)
            assert answer.status == 400, (case, answer.data)
            if case != "invalid UTF-8":
                refused_well(dialect, 400, answer.json, None)
    assert provider.requests == []


DEEP = (
    b"[" * 100_000 + b"]" * 100_000,
    b"[" * 100_000,
    b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
)


@pytest.mark.parametrize("dialect", DIALECTS, ids=str)
async def test_g09_nested_deep(dialect: Dialect) -> None:
    """JSON that is nested 100,000 deep, in whatever member, is a 400 in good form."""
    given = json.dumps(dialect.body("Hi", "s:m1", False)).encode()
    async with one() as (at, provider), never_blocked():
        for deep in DEEP:
            content = b'{"model": "s:m1", "messages": [{"role": "user", "content": %b}]}' % deep
            members = (b"messages", b"tools", b"ignored", b"prompt")
            bodies = [given[:-1] + b', "%b": %b}' % (member, deep) for member in members]
            for body in (content, *bodies):
                answer = await at.post(dialect, body)
                assert answer.status == 400, (body[:100], answer.data[:200])
                assert len(answer.data) < 1000
                assert answer.message
    assert provider.requests == []


WRONG = [
    (OPENAI, {"messages": None}, "messages"),
    (OPENAI, {"messages": 7}, "messages"),
    (OPENAI, {"messages": []}, "messages"),
    (OPENAI, {"messages": [7]}, "messages[0]"),
    (OPENAI, {"messages": [{}]}, "messages[0].role"),
    (OPENAI, {"messages": [{"role": "king", "content": "x"}]}, "messages[0].role"),
    (OPENAI, {"messages": [{"role": "user"}]}, "messages[0].content"),
    (OPENAI, {"model": 7}, "model"),
    (OPENAI, {"stream": "yes"}, "stream"),
    (OPENAI, {"temperature": "warm"}, "temperature"),
    (OPENAI, {"tools": [{}]}, "tools[0]"),
    (OPENAI, {"stop": [7]}, "stop[0]"),
    (OPENAI, {"stream_options": 7}, "stream_options"),
    (ANTHROPIC, {"messages": 7}, "messages"),
    (ANTHROPIC, {"messages": []}, "messages"),
    (ANTHROPIC, {"messages": [{"role": "user"}]}, "messages[0]"),
    (ANTHROPIC, {"model": 7}, "model"),
    (OLLAMA, {"messages": 7}, "messages"),
    (OLLAMA, {"messages": [{"role": 7}]}, "messages[0]"),
    (OLLAMA, {"model": 7}, "model"),
    (OLLAMA, {"options": []}, "options"),
    (GENERATE, {"prompt": 7}, "prompt"),
    (BERLIN, {"prompt": 7}, "prompt"),
    (BERLIN, {"options": {"model": 7}}, "options.model"),
]


async def test_g10_wrong_member_is_named() -> None:
    """A member of a wrong type is a 400 that names it."""
    async with one() as (at, provider):
        for dialect, members, param in WRONG:
            answer = await at.ask(dialect, **members)
            assert answer.status == 400, (dialect, members, answer.data)
            assert param in answer.message
            named = answer.json["error"]["param"] if dialect is OPENAI else ""
            refused_well(dialect, 400, answer.json, named)
            assert dialect is not OPENAI or named.startswith(param)
    assert provider.requests == []


@pytest.mark.parametrize("dialect", DIALECTS, ids=str)
async def test_g11_unknown_members_are_ignored(dialect: Dialect) -> None:
    """What a newer client sends besides is ignored."""
    async with one() as (at, _):
        answer = await at.ask(dialect, future_member={"a": [1]}, user="u", metadata={"k": "v"})
    assert (answer.status, answer.text) == (200, "Hello")


@pytest.mark.parametrize("dialect", DIALECTS, ids=str)
async def test_g13_what_says_that_it_is_no_json(dialect: Dialect) -> None:
    """A body that is not JSON by its own word is refused: 415, so no form of a web page is read.

    `curl -d` sends a form to Ollama's paths; a browser's form says from which page it comes.
    """
    body = json.dumps(dialect.body("Hi", "s:m1", False)).encode()
    forms = ("application/x-www-form-urlencoded", "multipart/form-data; boundary=x")
    async with one() as (at, provider):
        for kind in ("text/plain", *forms):
            headers = {"Content-Type": kind, "Referer": f"{at.url}/page"}
            answer = await at.post(dialect, body, headers=headers)
            assert answer.status in (400, 415), kind
            assert answer.message
    assert provider.requests == []


@pytest.mark.parametrize("dialect", DIALECTS, ids=str)
async def test_g42_multipart_with_a_giant_boundary(dialect: Dialect) -> None:
    """A boundary of 7,000 characters before 10 MiB of dashes is a 415 in no time."""
    boundary = "-" * 7_000
    async with one() as (at, _), never_blocked():
        answer = await at.post(
            dialect,
            b"-" * (10 * 2**20),
            headers={"Content-Type": f"multipart/form-data; boundary={boundary}"},
        )
    assert answer.status in (400, 415)


@pytest.mark.parametrize("dialect", DIALECTS, ids=str)
async def test_g43_values_of_100_kb(dialect: Dialect) -> None:
    """A key, a model or a role of 100 KB is refused at once, and not repeated."""
    long = "x" * 100_000
    async with one() as (at, provider):
        answers = [
            await at.post(dialect, {**dialect.body("Hi", "s:m1", False), **members})
            for members in (
                {"model": long, "options": {"model": long}, "prompt": "x"},
                {"messages": [{"role": long, "content": "x"}], "prompt": 7},
            )
        ]
        key = await at.raw(
            f"POST {dialect.path} HTTP/1.1\r\nHost: localhost\r\n"
            f"Authorization: Bearer {long}\r\n\r\n".encode()
        )
    first = answers[0]
    if dialect is BERLIN and first.status == 200:
        pytest.fail("a model of 100 KB is handed on")
    assert [answer.status for answer in answers] == [400, 400]
    assert all(len(answer.data) < 1000 for answer in answers)
    assert key.split()[1] in (b"400", b"431")
    assert provider.requests == []


COUNTS = [-1, 0, 1e30, "10", True, 2**31, 1.5, [], {}]


@pytest.mark.parametrize("dialect", DIALECTS, ids=str)
async def test_g49_counts_of_tokens_that_are_none(dialect: Dialect) -> None:
    """A limit of tokens that makes no sense is a 400 that names the member."""
    async with one() as (at, provider):
        for count in COUNTS:
            if dialect.face == "ollama" and count == -1:
                continue  # there it means: no limit
            body = dialect.body("Hi", "s:m1", False)
            place = body
            for name in dialect.count[:-1]:
                place = place.setdefault(name, {})
            place[dialect.count[-1]] = count
            answer = await at.post(dialect, body)
            assert answer.status == 400, (count, answer.data)
            assert dialect.count[-1] in answer.message
    assert provider.requests == []


# What only some services can do goes to those: docs/dialects.md and its test say which refuse it.
UNSUPPORTED = [
    (OPENAI, {"n": 2}, "n"),
    (OPENAI, {"n": 0}, "n"),
    (OPENAI, {"temperature": 1e400}, "temperature"),
    (OPENAI, {"max_completion_tokens": 0}, "max_completion_tokens"),
    (GENERATE, {"suffix": "x"}, "suffix"),
    (GENERATE, {"raw": True}, "raw"),
    (GENERATE, {"context": [1]}, "context"),
    (GENERATE, {"template": "x"}, "template"),
]


async def test_g48_what_cannot_be_honoured_is_refused() -> None:
    """What the gateway cannot do is a 400 that names the member, and not done by half."""
    async with one() as (at, provider):
        for dialect, members, param in UNSUPPORTED:
            body = json.dumps({**dialect.body("Hi", "s:m1", False), **members})
            answer = await at.post(dialect, body.replace("Infinity", "1e400").encode())
            assert answer.status == 400, (members, answer.data)
            assert answer.message.startswith((param, "the body is not JSON"))
            if dialect is OPENAI and answer.message.startswith(param):
                assert answer.json["error"]["param"] == param
    assert provider.requests == []
