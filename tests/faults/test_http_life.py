"""Faults of HTTP, part 7: the life of a connection, and the clock."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest

from berlin import Timeouts, errors
from support.fault_play import ask, open_berlin, play
from support.fault_server import FaultServer
from support.fault_steps import (
    CHUNKED,
    LAST_CHUNK,
    NDJSON,
    Close,
    Hang,
    Script,
    Send,
    Step,
    Wait,
    WaitFor,
    answer,
    begin_stream,
    chunk,
    head,
    line,
    stream,
)

GOOD = stream(line("a"))
BODY = line("a")
DAY = 86_400.0
LARGE = "x" * (8 * 2**20)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("413 Content Too Large", errors.RequestRejectedError),
        ("403 Forbidden", errors.PermissionDeniedError),
    ],
)
async def test_H51_answer_before_the_request_body_is_read(
    status: str, kind: type[errors.BerlinError]
) -> None:
    """A service that answers without reading the whole request has answered."""
    refusal: Script = (*answer(status, b'{"message":"too much"}'), Wait(0.5))
    async with FaultServer(refusal, reads_bodies=False) as server:
        async with open_berlin(server.url) as berlin:
            seen = await ask(berlin, LARGE)
        assert "too much" in seen.failed_with(kind)
        assert seen.error is not None
        assert seen.error.status == int(status[:3])
        assert len(server.chats) == 1
        assert server.chats[0].connection.received < len(LARGE)


async def test_H51_the_next_request_does_not_wait_behind_an_unread_body() -> None:
    """After an early refusal of a long request, the next one has a connection of its own."""
    refusal: Script = (*answer("413 Content Too Large", b"{}"), Hang())
    async with FaultServer(refusal, GOOD, reads_bodies=False) as server:
        async with open_berlin(server.url) as berlin:
            assert (await ask(berlin, "x" * 2**19)).error is not None
            assert (await ask(berlin)).text == "a"
        assert server.chats[0].connection is not server.chats[1].connection


@pytest.mark.parametrize("when", ["before the next request", "by the next request"])
async def test_H52_kept_alive_connection_is_closed(when: str) -> None:
    """A connection that was closed while it was idle is replaced, unseen."""
    closes = when == "before the next request"
    first = (*GOOD, Close()) if closes else GOOD
    scripts = [first, GOOD] if closes else [first, (Close(),), GOOD]
    async with FaultServer(*scripts) as server, open_berlin(server.url) as berlin:
        assert (await ask(berlin)).text == "a"
        if closes:
            await server.chats[0].connection.ended()
        assert (await ask(berlin)).text == "a"
        assert len(server.connections) == 2
        assert len(server.logins) == 1


async def test_H52_kept_alive_connection_is_used_again() -> None:
    """A connection whose answer was read to its end serves the next request."""
    async with FaultServer(GOOD) as server, open_berlin(server.url) as berlin:
        assert [(await ask(berlin)).text for _ in range(5)] == ["a"] * 5
        assert len(server.connections) == 1


async def test_H11_response_that_nobody_asked_for() -> None:
    """What arrives on an idle connection is not the answer to the next request."""
    idle = asyncio.Event()
    unasked = Send(b"".join(step.data for step in stream(line("evil")) if isinstance(step, Send)))
    scripts = [(*GOOD, WaitFor(idle), unasked, Hang()), GOOD]
    async with FaultServer(*scripts) as server, open_berlin(server.url) as berlin:
        assert (await ask(berlin)).text == "a"
        idle.set()
        for _ in range(10):
            await asyncio.sleep(0)
        assert (await ask(berlin)).text == "a"
        assert len(server.connections) == 2


@pytest.mark.parametrize("end", [Hang(), Close()], ids=["kept open", "closed"])
@pytest.mark.parametrize(
    "headers", [(), ("Upgrade: websocket", "Connection: Upgrade")], ids=["bare", "upgrade"]
)
async def test_H54_switching_protocols(headers: tuple[str, ...], end: Step) -> None:
    """A change of protocol that nobody asked for is a protocol error."""
    seen = await play((Send(head("101 Switching Protocols", *headers) + BODY), end))
    assert "101" in seen.failed_with(errors.ProtocolError)
    assert len(seen.chats) == 1


@pytest.mark.parametrize("status", ["100 Continue", "102 Processing", "103 Early Hints"])
async def test_H55_early_hints(status: str) -> None:
    """Provisional answers before the answer do no harm."""
    early = Send(head(status, "Link: </style.css>; rel=preload"))
    assert (await play((early, early, Wait(0.02), *GOOD))).text == "a"


async def test_H55_a_status_that_is_none() -> None:
    """A status below 100 is an answer, and an error; nothing more is waited for."""
    seen = await play((Send(head("099 Odd", "Content-Length: 0")), Hang()))
    assert "99" in seen.failed_with(errors.ProtocolError)


@pytest.mark.parametrize("version", ["HTTP/1.0", "HTTP/1.1"])
async def test_H56_answer_ended_by_close(version: str) -> None:
    """An answer without a length ends with the connection."""
    begin = Send(head("200 OK", NDJSON, version=version))
    seen = await play((begin, Send(line("a")), Send(line("b")), Close()))
    assert seen.pieces == ["a", "b"]
    assert seen.error is None


async def test_H56_answer_ended_by_close_in_the_middle_of_a_line() -> None:
    """If the connection ends within an object, the answer was cut off."""
    begin = Send(head("200 OK", NDJSON, version="HTTP/1.0"))
    seen = await play((begin, Send(line("a")), Send(b'{"content":"b'), Close()))
    seen.failed_with(errors.TruncatedStreamError, after=["a"])


@pytest.mark.parametrize("size", [0, 1])
async def test_H57_chunk_extensions_and_trailers(size: int) -> None:
    """Extensions of chunks and trailers after them are no text."""
    cut = chunk(BODY).replace(b"\r\n", b';name=value;other="x y"\r\n', 1)
    end = b"0;last\r\nX-Checksum: abc\r\nX-More: 1\r\n\r\n"
    begin = Send(head("200 OK", CHUNKED, "Trailer: X-Checksum"))
    async with FaultServer((begin, Send(cut + end, size=size)), GOOD) as server:
        async with open_berlin(server.url) as berlin:
            assert (await ask(berlin)).text == "a"
            assert (await ask(berlin)).text == "a"
        assert len(server.connections) == 1


@pytest.fixture(params=[DAY, -DAY], ids=["a day ahead", "a day back"])
def jump(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Let the wall clock jump when the test says so."""
    real, offset = time.time, [0.0]
    monkeypatch.setattr(time, "time", lambda: real() + offset[0])

    def now() -> None:
        offset[0] += request.param

    return now


async def test_H58_clock_jumps_in_mid_stream(jump: Callable[[], None]) -> None:
    """The idle limit is measured on a clock that does not jump."""
    limits = Timeouts(connect=5, first_event=5, idle=1.0, total=8)
    script: Script = (*begin_stream(line("a")), Wait(0.1), Send(chunk(line("b"))), Hang())
    async with FaultServer(script) as server, open_berlin(server.url, limits) as berlin:
        asyncio.get_running_loop().call_later(0.05, jump)
        seen = await ask(berlin)
    assert seen.failed_with(errors.UpstreamTimeoutError, after=["a", "b"]).startswith("idle")
    assert 1.0 in seen.passed


async def test_H58_clock_jumps_in_a_pause(jump: Callable[[], None]) -> None:
    """The pause before another try is neither skipped nor stretched."""
    async with (
        FaultServer(answer("429 Busy", b"", "Retry-After: 1"), GOOD) as server,
        open_berlin(server.url) as berlin,
    ):
        asyncio.get_running_loop().call_later(0.3, jump)
        seen = await ask(berlin)
    assert seen.text == "a"
    assert 1 in seen.passed


async def test_H58_clock_jumps_between_requests(jump: Callable[[], None]) -> None:
    """The token stays what it was: no new login."""
    async with FaultServer(GOOD) as server, open_berlin(server.url) as berlin:
        assert (await ask(berlin)).text == "a"
        jump()
        assert (await ask(berlin)).text == "a"
        assert len(server.logins) == 1


async def test_H59_slow_but_steady() -> None:
    """An answer that takes longer than the idle limit is not cut while pieces come within it."""
    limits = Timeouts(connect=5, first_event=5, idle=1, total=20)
    slow = (step for _ in range(24) for step in (Wait(0.05), Send(chunk(line("a")))))
    seen = await play((*begin_stream(), *slow, Send(LAST_CHUNK)), timeouts=limits)
    assert seen.text == "a" * 24
    assert limits.idle in seen.passed


async def test_H60_chunked_answer_closed_at_once() -> None:
    """A chunked 200 that ends before its first chunk broke off; it is tried again, three times."""
    seen = await play((*begin_stream(), Close()))
    seen.failed_with(errors.ConnectionLostError)
    assert len(seen.chats) == 3


async def test_H60_chunked_answer_closed_at_once_then_good() -> None:
    """If the second try is answered, nobody hears of the first."""
    assert (await play((*begin_stream(), Close()), GOOD)).text == "a"
