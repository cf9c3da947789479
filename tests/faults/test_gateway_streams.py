"""The gateway, fourth part: answers, good and bad (G20 to G25, X10, X15)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncGenerator
from secrets import token_hex

import pytest

from berlin import ChatRequest, Timeouts, errors
from berlin.errors import BerlinError
from berlin.gateway.catalog import Service
from berlin.providers.contract import Burst
from berlin.providers.scripted import ScriptedProvider
from berlin.types import Finished, TextDelta, Usage, UsageReport
from support.fault_server import FaultServer
from support.fault_steps import Close, Hang, Script, Send, WaitFor, answer, begin_stream, chunk
from support.gateway import (
    BERLIN,
    DIALECTS,
    LAST_FRAME,
    OPENAI,
    WITH_KEYS,
    Dialect,
    described_provider,
    frame,
    request_bytes,
    serve,
)

SSE = "Content-Type: text/event-stream"
# Only what stalls may run into a limit, however busy the machine is.
STALLS_FIRST = Timeouts(connect=5, first_event=1, idle=20, total=20)
STALLS_LATER = Timeouts(connect=5, first_event=20, idle=1, total=20)
OTHERS = Timeouts(connect=5, first_event=20, idle=20, total=20)

# What comes from upstream before the first byte, and what the client is told: status, and words
# that must be there.
EARLY: dict[str, tuple[Script, int, str]] = {
    "400": (answer("400 Bad", b'{"error": {"message": "bad thing"}}'), 400, "bad thing"),
    "401": (answer("401 No", b'{"error": {"message": "who?"}}'), 502, "credentials"),
    "403": (answer("403 No", b'{"error": {"message": "who?"}}'), 502, "credentials"),
    "404": (answer("404 No", b'{"error": {"message": "no such model"}}'), 400, "no such model"),
    "429": (answer("429 Slow", b"{}", "Retry-After: 100"), 429, ""),
    "500": (answer("500 Oops", b"{}"), 502, ""),
    "redirect": (answer("307 Go", b"", "Location: http://127.0.0.1:9/x"), 502, ""),
    "closed": ((Close(),), 502, "connection"),
    "stalled": ((Hang(),), 504, "too long"),
    "html": (answer("200 OK", b"<p>Hello</p>", "Content-Type: text/html"), 502, ""),
    "no event": (answer("200 OK", b"", SSE), 502, ""),
    "error in the answer": (
        answer("200 OK", b'data: {"error": {"message": "broke"}}\n\n', SSE),
        502,
        "",
    ),
    "204": (answer("204 None", b""), 502, ""),
}


def upstreams(url: str, timeouts: Timeouts) -> list[Service]:
    """Return a provider for each dialect, with a path and so a token source of its own."""
    return [
        Service(
            dialect.name,
            described_provider(f"{url}/{token_hex(6)}", timeouts=timeouts),
            ["m1"],
        )
        for dialect in DIALECTS
    ]


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("case", EARLY)
async def test_g20_upstream_fails_before_the_first_byte(case: str, stream: bool) -> None:
    """It is an HTTP error in the dialect's form, and never a 200 or a 401."""
    script, status, words = EARLY[case]
    limits = STALLS_FIRST if case == "stalled" else OTHERS
    async with FaultServer(script) as server, serve(*upstreams(server.url, limits)) as at:
        answers = await asyncio.gather(
            *(at.ask(each, model=f"{each.name}:m1", stream=stream) for each in DIALECTS)
        )
    for got in answers:
        assert got.status == status, (got.dialect, got.data)
        assert words in got.message
        assert got.headers["Content-Type"].startswith("application/json")
        assert got.headers["x-request-id"].startswith("req_")
        assert "127.0.0.1" not in got.data.decode()
        if case == "429":
            assert (got.headers["Retry-After"], got.headers["retry-after-ms"]) == ("100", "100000")
        if case in ("401", "403", "redirect"):
            assert got.headers["x-should-retry"] == "false"


LATE: dict[str, tuple[tuple[object, ...], str]] = {
    "cut": ((Close(),), "connection"),
    "error event": ((Send(chunk(b'data: {"error": {"message": "broke"}}\n\n')),), "broke"),
    "garbage": ((Send(chunk(b"data: {nonsense\n\n")),), ""),
    "stalled": ((Hang(),), "too long"),
}


@pytest.mark.parametrize("case", LATE)
async def test_g21_g22_upstream_fails_after_the_first_byte(case: str) -> None:
    """A stream ends with an error, without the mark of a good end; a whole answer is an error."""
    steps, words = LATE[case]
    script = (*begin_stream(frame("one"), headers=(SSE,)), *steps)
    limits = STALLS_LATER if case == "stalled" else OTHERS
    async with FaultServer(script) as server, serve(*upstreams(server.url, limits)) as at:
        asked = (at.ask(each, model=f"{each.name}:m1", stream=True) for each in DIALECTS)
        whole = (at.ask(each, model=f"{each.name}:m1") for each in DIALECTS if each is not BERLIN)
        answers = await asyncio.gather(*asked, *whole)
    for dialect, got in zip(DIALECTS, answers, strict=False):
        assert got.status == 200
        assert dialect.pieces(got.data)[:1] == ["one"]
        assert words in dialect.error_in(got.data)
        assert not dialect.is_whole(got.data)
        assert b'"finish_reason":"stop"' not in got.data
        assert "127.0.0.1" not in got.data.decode()
    assert {got.status for got in answers[len(DIALECTS) :]} <= {502, 504}


ODD = [
    "\n\n",
    "data: x\n\ndata: [DONE]\n\n",
    "event: error\ndata: {}\n\n",
    "\r\n\r",
    "a\u2028b\u2029c\u0085d",
    '"}\n{"done":true}\n',
    "\x00\x1b[31m\x7f",
    "😀\U0010ffff",
    "\ufeff",
    " ",
    "</script>",
]


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("dialect", DIALECTS, ids=str)
async def test_g23_every_text_arrives_exactly(dialect: Dialect, stream: bool) -> None:
    """Text that looks like framing stays text, all the way through."""
    frames = [frame(text) for text in ODD]
    script = (*begin_stream(*frames, LAST_FRAME, headers=(SSE,)), Send(b"0\r\n\r\n"))
    async with FaultServer(script) as server:
        provider = described_provider(f"{server.url}/{token_hex(6)}")
        async with serve(Service("s", provider, ["m1"])) as at:
            got = await at.ask(dialect, stream=stream)
    assert got.status == 200
    assert got.text == "".join(ODD)


@pytest.mark.parametrize("dialect", DIALECTS, ids=str)
async def test_g23_no_line_ends_that_only_some_clients_know(dialect: Dialect) -> None:
    """Clients that split text by all line ends of Unicode read the same lines."""
    text = "a\u2028b\u2029c\u0085d"
    provider = ScriptedProvider([text, Finished()])
    async with serve(Service("s", provider, ["m1"])) as at:
        got = await at.ask(dialect, stream=True)
    lines = got.data.decode().splitlines()
    read = "\n".join(lines).encode()
    assert "".join(dialect.pieces(read)) == text


@pytest.mark.parametrize("dialect", DIALECTS, ids=str)
async def test_g24_each_piece_leaves_before_the_next_one_comes(dialect: Dialect) -> None:
    """The upstream waits with each piece until the client has the one before."""
    words = ["one", "two", "three", "four"]
    seen = [asyncio.Event() for _ in words]
    steps: list[object] = list(begin_stream(headers=(SSE,)))
    for word, event in zip(words, seen, strict=True):
        steps += [Send(chunk(frame(word))), WaitFor(event)]
    script = (*steps, Send(chunk(LAST_FRAME)), Send(b"0\r\n\r\n"))
    async with FaultServer(script) as server:
        provider = described_provider(f"{server.url}/{token_hex(6)}")
        async with serve(Service("s", provider, ["m1"])) as at, at.connection() as (reader, writer):
            body = json.dumps(dialect.body("Hi", "s:m1", True)).encode()
            writer.write(await at.head(dialect, body))
            async with asyncio.timeout(30):
                for word, event in zip(words, seen, strict=True):
                    await reader.readuntil(word.encode())
                    event.set()
                rest = await reader.read()
            assert rest.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize("wanted", [True, False])
async def test_g25_include_usage(wanted: bool) -> None:
    """The last chunk tells the usage and has no choices, and only if it was asked for."""
    provider = ScriptedProvider(["a", UsageReport(Usage(3, 4)), Finished()])
    async with serve(Service("s", provider, ["m1"])) as at:
        got = await at.ask(OPENAI, stream=True, stream_options={"include_usage": wanted})
    chunks = OPENAI.documents(got.data)
    with_usage = [c for c in chunks if c.get("usage")]
    assert len(with_usage) == int(wanted)
    if wanted:
        assert chunks[-1] is with_usage[0]
        assert chunks[-1]["choices"] == []
        assert chunks[-1]["usage"] == {
            "prompt_tokens": 3,
            "completion_tokens": 4,
            "total_tokens": 7,
        }
    assert all(c["choices"] for c in chunks if c not in with_usage)
    finishes = [c["choices"][0]["finish_reason"] for c in chunks if c["choices"]]
    assert finishes == [None] * (len(finishes) - 1) + ["stop"]


class Broken(ScriptedProvider):
    """Has a bug."""

    def __init__(self, begin: bool) -> None:
        super().__init__()
        self._begin = begin

    async def bursts(self, request: ChatRequest) -> AsyncGenerator[Burst]:
        """Fail with an error that nobody expects."""
        if self._begin:
            yield [TextDelta("one")]
        raise LookupError("/secret/path")


@pytest.mark.parametrize("begun", [True, False], ids=["begun", "at once"])
@pytest.mark.parametrize("dialect", DIALECTS, ids=str)
async def test_x10_internal_error(
    dialect: Dialect, begun: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """A bug is an error object without a traceback; its request's id leads to the log."""
    async with serve(Service("s", Broken(begun), ["m1"])) as at:
        got = await at.ask(dialect, stream=True)
        assert (await at.get("/healthz")).status == 200
    assert got.status == (200 if begun else 500)
    message = dialect.error_in(got.data) if begun else got.message
    assert "internal error" in message
    assert b"/secret" not in got.data
    assert b"Lookup" not in got.data
    assert got.headers["x-request-id"] in caplog.text
    assert "LookupError" in caplog.text


async def test_x10_an_error_page_never_ends_up_in_a_stream(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """If a face itself fails after the first piece, the connection is cut: no second head."""

    def broken(*_: object) -> bytes:
        raise LookupError("a bug")

    monkeypatch.setattr("berlin.formats.openai.encoder.OpenAIEncoder.encode_error", broken)
    provider = ScriptedProvider([TextDelta("Hello"), 0.01, errors.ProtocolError("broke")])
    body = json.dumps(OPENAI.body("Hi", "s:m1", True)).encode()
    async with serve(Service("s", provider, ["m1"])) as at, at.connection() as (reader, writer):
        writer.write(request_bytes("POST", OPENAI.path, body))
        said = b""
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(4096):
                said += data
    assert said.count(b"HTTP/1.1 ") == 1
    assert b"Hello" in said
    assert b"LookupError" not in said
    assert "LookupError" in caplog.text


@pytest.mark.parametrize("dialect", DIALECTS, ids=str)
async def test_x15_headers_of_the_upstream_stay_here(dialect: Dialect) -> None:
    """Cookies and the name of the upstream's server do not reach the client."""
    theirs = (SSE, "Set-Cookie: c=1", "Server: upstream/1", "X-Internal: 7", "Via: x")
    script = (*begin_stream(frame("one"), LAST_FRAME, headers=theirs), Send(b"0\r\n\r\n"))
    async with FaultServer(script) as server:
        provider = described_provider(f"{server.url}/{token_hex(6)}")
        async with serve(Service("s", provider, ["m1"])) as at:
            got = await at.ask(dialect, stream=True)
    assert got.text == "one"
    assert not {"Set-Cookie", "X-Internal", "Via"} & set(got.headers)
    assert got.headers["Server"] == "berlin"


TOLD: list[tuple[BerlinError, int]] = [
    (errors.ContextLengthError("too long"), 400),
    (errors.RateLimitError("slow", retry_after=7), 429),
    (errors.ServiceUnavailableError("down"), 502),
    (errors.TruncatedStreamError("cut"), 502),
    (errors.MissingCredentialsError("no password for /etc/secret"), 503),
    (errors.UpstreamTimeoutError("http://10.0.0.1 is slow"), 504),
    (errors.ConnectError("http://10.0.0.1 refused"), 502),
]


@pytest.mark.parametrize(("error", "status"), TOLD, ids=lambda v: type(v).__name__)
async def test_g20_errors_of_providers(error: BerlinError, status: int) -> None:
    """Each error has its status; nothing of the inside is told."""
    async with serve(Service("s", ScriptedProvider([error]), ["m1"])) as at:
        for dialect in WITH_KEYS:
            got = await at.ask(dialect)
            assert got.status == status
            assert b"10.0.0.1" not in got.data
            assert b"/etc" not in got.data
            if dialect is OPENAI:
                assert got.json["error"]["code"] == error.code
            assert ("x-should-retry" in got.headers) == (status >= 500 and not error.retryable)


async def test_g20_logs_say_what_the_client_is_not_told(caplog: pytest.LogCaptureFixture) -> None:
    """Which host could not be reached is in the log, with the request's id."""
    caplog.set_level(logging.INFO)
    provider = ScriptedProvider([errors.ConnectError("http://10.0.0.1 refused")])
    async with serve(Service("s", provider, ["m1"])) as at:
        got = await at.ask(OPENAI)
    lines = [line for line in caplog.messages if "10.0.0.1" in line]
    assert got.headers["x-request-id"] in lines[0]
