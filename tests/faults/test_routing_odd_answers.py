"""Services that fail in odd ways: a second one answers, or what came was an answer after all.

One gateway plays all cases of a test in order; each is one request to the odd service.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from support.answers import SSE
from support.fault_steps import (
    CHUNKED,
    LAST_CHUNK,
    Close,
    Hang,
    Repeat,
    Reset,
    Script,
    Send,
    answer,
    begin_stream,
    chunk,
    head,
    stream,
)
from support.gateway import OPENAI, Answer, frame
from support.routing import GOOD, WORDS, Services, services

WHOLE = "".join(WORDS)
MODEL = """
fallback = ["bad:m1", "good:m1"]
retry = { attempts = 1 }
break_after_text = "hold"
content_filter = "fallback"
"""
NEVER_OPEN = "breaker = { failures = 1_000_000, cool_down_s = 1 }"


def delta(**members: Any) -> bytes:
    """Return an event with a piece of an answer."""
    return b"data: %b\n\n" % json.dumps({"choices": [{"index": 0, "delta": members}]}).encode()


def end(reason: str = "stop") -> bytes:
    """Return an event that says why an answer has ended."""
    choice = {"index": 0, "delta": {}, "finish_reason": reason}
    return b"data: %b\n\n" % json.dumps({"choices": [choice]}).encode()


def call(arguments: str) -> bytes:
    """Return an event with a piece of a tool call."""
    function = {"name": "f", "arguments": arguments}
    return delta(tool_calls=[{"index": 0, "id": "c", "type": "function", "function": function}])


def said(*parts: bytes) -> Script:
    """Return an answer of these events, with its end."""
    return stream(*parts, headers=(SSE,))


def cut(*parts: bytes, how: Any = Close()) -> Script:  # noqa: B008  # frozen
    """Return an answer of these events that breaks off."""
    return (*begin_stream(*parts, headers=(SSE,)), how)


def error(status: str, code: str = "x") -> Script:
    """Return an error in OpenAI's form."""
    return answer(status, json.dumps({"error": {"message": "no", "code": code}}).encode())


HALF = b'data: {"choices": [{"index": 0, "delta": {"content": "\xc3"}}]}\n\n'
DONE = b"data: [DONE]\n\n"
TEXT = tuple(frame(word) for word in WORDS)
BROKEN = b'data: {"error": {"message": "boom", "code": "internal"}}\n\n'
SHORT = head("200 OK", SSE, CHUNKED) + b"".join(chunk(part) for part in (frame(WHOLE), end(), DONE))
# After this the answer has said that it has ended, and what follows is only the transport's.
SHORT_END = SHORT.index(DONE) + len(DONE)

RESCUED: dict[str, Script] = {
    "an error in a 200": answer("200 OK", b'{"error":{"message":"boom"}}', "Content-Type: a/json"),
    "a page in a 200": answer("200 OK", b"<html>Sign in</html>", "Content-Type: text/html"),
    "nothing in a 200": answer("200 OK", b"", SSE),
    "an error as the first event": said(BROKEN),
    "an error after text": said(frame("One "), BROKEN),
    "an error as a reason": said(frame("One "), end("error"), DONE),
    "a reset": (Reset(),),
    "a close": (Close(),),
    "no HTTP": (Send(b"\x00\x01hello\r\n\r\n"), Close()),
    "HTTP 0.9": (Send(b"hello\n"), Close()),
    "100 and no more": (Send(head("100 Continue")), Close()),
    "204": (Send(head("204 Empty")),),
    "302": answer("302 Go", b"", "Location: http://127.0.0.1:1/"),
    "304": (Send(head("304 Same")),),
    "a length that is too short": (
        Send(head("200 OK", SSE, "Content-Length: 9") + frame("One ") + end() + DONE),
        Close(),
    ),
    "a length that is too long": (
        Send(head("200 OK", SSE, "Content-Length: 9999") + frame("One ")),
        Close(),
    ),
    "a chunk of nonsense": (Send(head("200 OK", SSE, CHUNKED) + b"zz\r\nhello"), Close()),
    "gzip that is none": (
        Send(head("200 OK", SSE, "Content-Encoding: gzip", CHUNKED) + chunk(b"no") + LAST_CHUNK),
    ),
    "half a character": cut(frame("One "), HALF.partition(b"\xc3")[0] + b"\xc3"),
    "half a tool call": cut(call('{"a": ')),
    "reasoning, then a break": cut(delta(reasoning_content="Hm")),
    "an end without any event": said(DONE),
    "JSON that is no object": said(b"data: [1]\n\n", end(), DONE),
    "a filtered answer": said(end("content_filter"), DONE),
    "401": error("401 No", "invalid_api_key"),
    "402": error("402 Pay"),
    "403": error("403 No"),
    "404": error("404 No", "model_not_found"),
    "408": answer("408 Late"),
    "413": answer("413 Large"),
    "429 for ever": error("429 Slow", "insufficient_quota"),
    "520": answer("520 What"),
    "529": error("529 Busy", "overloaded_error"),
    **{f"reset after {k} bytes": (Send(SHORT[:k]), Reset()) for k in range(0, SHORT_END, 17)},
    **{f"closed after {k} bytes": (Send(SHORT[:k]), Close()) for k in range(9, SHORT_END, 29)},
}

SILENT: dict[str, Script] = {
    "a 503 that stalls": (Send(head("503 Down", "Content-Length: 9") + b"x"), Hang()),
    "a 429 that stalls": (Send(head("429 Slow", "Content-Length: 9") + b"x"), Hang()),
    "101": (Send(head("101 Switching", "Upgrade: x", "Connection: upgrade")), Hang()),
    "a stall in the middle": cut(frame("One "), how=Hang()),
    "a 500 without an end": (
        Send(head("500 Oops", CHUNKED)),
        Repeat(chunk(b"x" * 999), every=0.01),
    ),
}

WHOLE_ALL_THE_SAME: dict[str, Script] = {
    "the end twice": said(*TEXT, end(), end(), DONE),
    "done twice": said(*TEXT, end(), DONE, DONE),
    "a second answer after it": said(*TEXT, end(), DONE, *TEXT, end(), DONE),
    "done without a reason": said(*TEXT, DONE),
    "a reason without done": said(*TEXT, end()),
    "an unknown reason": said(*TEXT, end("weird"), DONE),
    "content that is null": said(delta(content=None), *TEXT, end(), DONE),
    "no choices at first": said(b'data: {"choices": []}\n\n', *TEXT, end(), DONE),
    "no last chunk": cut(*TEXT, end(), DONE),
    "a reset after the end": cut(*TEXT, end(), DONE, how=Reset()),
    "a length that is too long": (
        Send(head("200 OK", SSE, "Content-Length: 9999") + b"".join((*TEXT, end(), DONE))),
        Close(),
    ),
    "open after the end": cut(*TEXT, end(), DONE, how=Hang()),
}

EMPTY: dict[str, Script] = {
    "stop": said(end(), DONE),
    "the limit": said(end("length"), DONE),
    "only reasoning": said(delta(reasoning_content="Hm"), end(), DONE),
}


def text_of(got: Answer, stream: bool) -> str:
    """Return the text of an answer."""
    return "".join(OPENAI.pieces(got.data)) if stream else got.text


async def play(both: Services, case: str, stream: bool, by: str) -> str:
    """Ask once; return the text, after what holds for each answer."""
    before = both.asked("bad")
    got = await both.at.ask(OPENAI, model="smart", stream=stream)
    assert got.status == 200, (case, got.data)
    assert got.headers["x-berlin-provider"] == by, case
    assert b'"error"' not in got.data, case
    assert both.asked("bad") == before + 1, case
    return text_of(got, stream)


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
async def test_rescued(tmp_path: Path, stream: bool) -> None:
    """Whatever the first service does, the caller gets one whole answer: that of the second."""
    scripts = list(RESCUED.values())
    async with services(tmp_path, MODEL, NEVER_OPEN, bad=scripts, good=[GOOD]) as both:
        for case in RESCUED:
            assert await play(both, case, stream, by="good") == WHOLE, case
        assert [visit.outcome for visit in both.seen.visits] == ["ok"] * len(RESCUED)


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
async def test_silence(tmp_path: Path, stream: bool) -> None:
    """A service that stalls anywhere is given up after its time; all cases at the same time."""
    model = f"{MODEL}first_event_s = 0.8\nidle_s = 0.8"
    scripts = list(SILENT.values())
    async with services(tmp_path, model, NEVER_OPEN, bad=scripts, good=[GOOD]) as both:
        asked = [both.at.ask(OPENAI, model="smart", stream=stream) for _ in SILENT]
        answers = await asyncio.gather(*asked)
        assert [text_of(got, stream) for got in answers] == [WHOLE] * len(SILENT)
        assert both.asked("bad") == len(SILENT)


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
async def test_not_asked_twice(tmp_path: Path, stream: bool) -> None:
    """An answer that is whole is not thrown away for its odd end, and nothing comes twice."""
    scripts = list(WHOLE_ALL_THE_SAME.values())
    async with services(tmp_path, MODEL, NEVER_OPEN, bad=scripts, good=[GOOD]) as both:
        for case in WHOLE_ALL_THE_SAME:
            assert await play(both, case, stream, by="bad") == WHOLE, case
        assert both.asked("good") == 0


async def test_an_empty_answer_is_an_answer(tmp_path: Path) -> None:
    """A model may have nothing to say, as after the result of a tool; nobody else is asked."""
    async with services(tmp_path, MODEL, NEVER_OPEN, bad=list(EMPTY.values()), good=[GOOD]) as both:
        for case in EMPTY:
            assert await play(both, case, stream=True, by="bad") == "", case
        assert both.asked("good") == 0


async def test_names_and_certificates(tmp_path: Path) -> None:
    """A name that does not resolve and a service without TLS are failures of one provider."""
    async with services(tmp_path, MODEL, NEVER_OPEN, bad=[GOOD], good=[GOOD]) as both:
        port = both.servers["bad"].port
    for url in ("https://nowhere.invalid", f"https://127.0.0.1:{port}", "http://127.0.0.1:1"):
        async with services(tmp_path, MODEL, NEVER_OPEN, urls={"bad": url}, good=[GOOD]) as both:
            got = await both.at.ask(OPENAI, model="smart")
        assert (got.status, got.text) == (200, WHOLE), url


async def test_a_drip_ends_with_the_deadline(tmp_path: Path) -> None:
    """Words that come slowly, but come, are no stall: only the limit of the whole request ends."""
    drip = (*begin_stream(headers=(SSE,)), Repeat(chunk(frame("a ")), every=0.02))
    more = "timeouts = { connect = 2, first_event = 5, idle = 5, total = 0.5 }"
    model = 'fallback = ["bad:m1", "good:m1"]\nidle_s = 0.2'
    async with services(tmp_path, model, timeouts=more, bad=[drip], good=[GOOD]) as both:
        got = await both.at.ask(OPENAI, model="smart", stream=True)
    assert OPENAI.pieces(got.data).count("a ") > 3
    assert "took too long to answer (after" in OPENAI.error_in(got.data)
    (visit,) = both.seen.visits
    assert visit.error is not None
    assert visit.error.message.startswith("total: the request was not finished within 0.5 s;")
