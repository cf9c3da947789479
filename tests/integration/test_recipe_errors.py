"""Errors that stand inside a good answer, in the words of a recipe."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from berlin import errors
from support.described import ANN, LOGIN, PATIENT, describe, scripted, tell, told_by
from support.fault_steps import Script, Send, answer, begin_stream, stream

TABLE = """
framing = "ndjson"
text = "/t"
error = ["/error/text", "/error"]
error_message = ["/msg", "/detail"]
error_code = ["/error/code", "/code"]
unauthorized = [401, "401", "E_TOKEN", 10001]
"""
CODES = """
error_codes = { E_AUTH = "authentication", E_DENIED = "permission", E_BAD = "rejected" }
"""


def line(document: Any) -> bytes:
    """Return one line of an answer."""
    return json.dumps(document).encode() + b"\n"


def token(name: str) -> Script:
    """Answer a login."""
    return answer("200 OK", json.dumps({"token": name}).encode())


HELLO = line({"t": "Hello"})


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"error": {"text": "no quota left"}}, "no quota left"),
        ({"error": "no quota left"}, "no quota left"),
        ({"error": {"other": "no quota left"}}, '{"error":{"other":"no quota left"}}'),
        ({"error": 17}, '{"error":17}'),
        ({"error": ["no"]}, '{"error":["no"]}'),
        ({"t": "text too", "error": "no quota left"}, "no quota left"),
        ({"msg": "no quota left"}, "no quota left"),
        ({"detail": "no quota left"}, "no quota left"),
        ({"msg": "no quota left", "code": 7}, "no quota left"),
        ({"code": 7}, '{"code":7}'),
    ],
)
async def test_an_error_ends_the_answer(bad: Any, said: str, tmp_path: Path) -> None:
    """Whatever is at an error pointer and not empty ends the answer, after what came before."""
    told = await told_by(tmp_path, TABLE, HELLO, line(bad), line({"t": "never"}))
    after = "Hello" + bad.get("t", "")
    assert told.failed_with(errors.ServiceError, after=after) == (
        f"the service reports an error: {said}"
    )


@pytest.mark.parametrize("empty", [None, "", 0, False, [], {}])
async def test_what_is_empty_is_no_error(empty: Any, tmp_path: Path) -> None:
    """Nothing at the place of the error is no error."""
    told = await told_by(tmp_path, TABLE, line({"t": "Hel", "error": empty}), line({"t": "lo"}))
    assert told.text == "Hello"


async def test_a_code_beside_text_is_no_error(tmp_path: Path) -> None:
    """Message and code explain an object that carries nothing else; beside text they are fine."""
    told = await told_by(
        tmp_path,
        TABLE,
        line({"t": "Hel", "code": 0, "msg": "ok"}),
        line({"t": "lo", "code": 200, "msg": "success"}),
    )
    assert told.text == "Hello"


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (400, errors.RequestRejectedError),
        ("404", errors.RequestRejectedError),
        (403, errors.PermissionDeniedError),
        (401, errors.AuthenticationError),
        ("E_TOKEN", errors.AuthenticationError),
        (10001, errors.AuthenticationError),
        ("E_AUTH", errors.AuthenticationError),
        ("E_DENIED", errors.PermissionDeniedError),
        ("E_BAD", errors.RequestRejectedError),
        (200, errors.ServiceError),
        (0, errors.ServiceError),
        ("E_OTHER", errors.ServiceError),
        (600, errors.ServiceError),
        (40, errors.ServiceError),
        (None, errors.ServiceError),
        ({"of": 403}, errors.ServiceError),
    ],
)
async def test_what_a_code_means(code: Any, kind: type[errors.BerlinError], tmp_path: Path) -> None:
    """Codes from 400 to 599 mean what the status means; others what the recipe says of them."""
    for bad in ({"msg": "no", "code": code}, {"error": {"text": "no", "code": code}}):
        told = await told_by(tmp_path, TABLE + CODES, HELLO + line(bad))
        assert "no" in told.failed_with(kind, after="Hello")


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("rate_limit", errors.RateLimitError),
        ("unavailable", errors.ServiceUnavailableError),
        ("context_length", errors.ContextLengthError),
    ],
)
async def test_words_for_a_code(word: str, kind: type[errors.BerlinError], tmp_path: Path) -> None:
    """The other words, after some text: so nothing is tried again."""
    table = f'{TABLE}error_codes = {{ 1302 = "{word}" }}\n'
    told = await told_by(tmp_path, table, HELLO + line({"msg": "busy", "code": 1302}))
    told.failed_with(kind, after="Hello")


async def test_the_conversation_is_too_long(tmp_path: Path) -> None:
    """What says that the conversation is too long is told apart, whatever its code."""
    told = await told_by(tmp_path, TABLE, line({"error": "maximum context length is 4096"}))
    told.failed_with(errors.ContextLengthError)


async def test_a_token_refused_by_an_envelope_without_data(tmp_path: Path) -> None:
    """`"data": null` beside a code is an object without text, as one that has no `data`."""
    table = TABLE.replace('"/t"', '"/data/t"')
    refused = line({"code": 401, "msg": "expired", "data": None})
    good = line({"code": 200, "msg": "success", "data": {"t": "Hello"}})
    scripts = (token("t1"), stream(refused), token("t2"), stream(good))
    recipe = describe(table, auth=LOGIN)
    async with scripted(tmp_path, recipe, *scripts, **ANN) as (server, berlin):
        assert (await tell(berlin)).text == "Hello"
    assert len(server.requests) == 4


async def test_a_token_refused_where_other_objects_are_skipped(tmp_path: Path) -> None:
    """`others = "skip"` skips what means nothing; a code that means something is no such."""
    recipe = describe(TABLE + 'others = "skip"\n', auth=LOGIN)
    busy, refused = line({"code": 0, "msg": "busy"}), line({"code": 401, "msg": "expired"})
    scripts = (token("t1"), stream(busy, refused), token("t2"), stream(busy, HELLO))
    async with scripted(tmp_path, recipe, *scripts, **ANN) as (server, berlin):
        assert (await tell(berlin)).text == "Hello"
    assert len(server.requests) == 4


async def test_a_token_refused_after_text(tmp_path: Path) -> None:
    """After the first text nothing is sent again; the next request gets a new token."""
    recipe = describe(TABLE, auth=LOGIN)
    refused = stream(HELLO + line({"code": 401, "msg": "expired"}))
    async with scripted(
        tmp_path, recipe, token("t1"), refused, token("t2"), stream(HELLO), **ANN
    ) as (server, berlin):
        told = await tell(berlin)
        told.failed_with(errors.AuthenticationError, after="Hello")
        assert len(server.requests) == 2
        assert (await tell(berlin)).text == "Hello"
    assert server.requests[-1].headers["token"] == "t2"


async def test_the_error_of_a_bad_status(tmp_path: Path) -> None:
    """An answer with a bad status is told in the words at the recipe's pointers."""
    async with scripted(
        tmp_path,
        describe(TABLE.replace('"/detail"', '"/deep/0/why"')),
        answer("422 No", b'{"deep":[{"why":"no such engine"}]}'),
    ) as (_, berlin):
        told = await tell(berlin)
    message = told.failed_with(errors.RequestRejectedError)
    assert message == "the service answers 422: no such engine"


async def test_other_statuses_that_refuse_a_token(tmp_path: Path) -> None:
    """`rejected_statuses` names the statuses that mean: log in again."""
    auth = LOGIN.replace("attach =", "rejected_statuses = [403, 419]\nattach =")
    for status in ("403 No", "419 Expired"):
        scripts = (token("t1"), answer(status), token("t2"), stream(HELLO))
        async with scripted(tmp_path, describe(auth=auth), *scripts, **ANN) as (server, berlin):
            assert (await tell(berlin)).text == "Hello"
        assert len(server.requests) == 4


@pytest.mark.parametrize(("ends", "ok"), [("body", True), ("finish_reason", False)])
async def test_what_a_good_answer_ends_with(ends: str, ok: bool, tmp_path: Path) -> None:
    """The end of the body is enough, or a finish reason has to have come."""
    told = await told_by(tmp_path, f'framing = "ndjson"\ntext = "/t"\nends = "{ends}"', HELLO)
    if ok:
        assert told.text == "Hello"
    else:
        told.failed_with(errors.TruncatedStreamError, after="Hello")


async def test_a_word_of_an_end_does_not_wait_for_the_body(tmp_path: Path) -> None:
    """After an object of the kind `end` nothing is waited for: the body may stay open."""
    table = """
framing = "ndjson"
text = "/t"
kind = "/k"
kinds = { add = "text", bye = "end" }
"""
    body = line({"k": "add", "t": "Hello"}) + line({"k": "bye"})
    more = {"timeouts": {**PATIENT, "idle": 3}}
    script = (*begin_stream(body), Send(b""))
    async with scripted(tmp_path, describe(table), script, **more) as (_, berlin):
        async with asyncio.timeout(30):
            assert (await tell(berlin)).text == "Hello"
