"""Rows S and H on a WebSocket: bad messages, bad closes, silence, refusals."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from berlin import errors
from berlin.providers.http import HttpProvider
from berlin.transport.socket import SocketAnswer
from berlin.types import ChatRequest, TextDelta, Timeouts
from support.playing import running
from support.recipes import client_of, recipe_of

Play = Callable[[web.WebSocketResponse], Awaitable[None]]
CHAT: dict[str, Any] = {
    "path": "/ws",
    "json": {"q": "{prompt}"},
    "socket": {"close_codes": {"4777": "unavailable"}},
    "stream": {"framing": "ndjson", "text": "/t", "finish_reason": "/end", "ends": "finish_reason"},
}
PATIENT = Timeouts(5, 10, 10, 30)


class Service:
    """A service that plays one script on each socket."""

    def __init__(self, play: Play) -> None:
        self._play = play
        self.closed: asyncio.Queue[int | None] = asyncio.Queue()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Take the question, play, and note how the client closes."""
        socket = web.WebSocketResponse(max_msg_size=0)
        await socket.prepare(request)
        await socket.receive()
        try:
            await self._play(socket)
        finally:
            self.closed.put_nowait(socket.close_code)
        return socket


@asynccontextmanager
async def asked(answer: Any) -> AsyncIterator[HttpProvider]:
    """Give a provider of a service with this handler."""
    app = web.Application()
    app.router.add_get("/ws", answer)
    async with (
        running(app, handler_cancellation=True) as url,
        client_of(recipe_of(CHAT, endpoint={"url": url}), url) as (provider, _),
    ):
        yield provider


async def outcome(
    provider: HttpProvider, timeouts: Timeouts = PATIENT
) -> tuple[str, errors.BerlinError | None]:
    """Return the text and the error of one answer."""
    text = ""
    try:
        async with aclosing(provider.bursts(ChatRequest.of("Hi", timeout=timeouts))) as bursts:
            async for burst in bursts:
                text += "".join(e.text for e in burst if isinstance(e, TextDelta))
    except errors.BerlinError as error:
        return text, error
    return text, None


async def good(socket: web.WebSocketResponse) -> None:
    await socket.send_str('{"t":"a"}')


async def end(socket: web.WebSocketResponse) -> None:
    await socket.send_str('{"t":"b","end":"stop"}')
    await socket.receive()


async def cut(socket: web.WebSocketResponse) -> None:
    await good(socket)
    assert socket._req is not None
    assert socket._req.transport is not None
    socket._req.transport.abort()


async def silent(socket: web.WebSocketResponse) -> None:
    await good(socket)
    await asyncio.sleep(30)


async def pinging(socket: web.WebSocketResponse) -> None:
    await good(socket)
    while True:
        await socket.ping()
        await socket.send_str(" ")
        await asyncio.sleep(0.02)


def sends(*frames: str | bytes, code: int | None = None) -> Play:
    """Return a script that sends these after a good message, and closes."""

    async def play(socket: web.WebSocketResponse) -> None:
        await good(socket)
        for frame in frames:
            if isinstance(frame, str):
                await socket.send_str(frame)
            else:
                await socket.send_bytes(frame)
        if code is not None:
            await socket.close(code=code, message=b"said so")
        else:
            await socket.receive()

    return play


async def test_a_good_answer() -> None:
    """The text comes, and the client closes in order."""
    service = Service(sends('{"t":"b","end":"stop"}'))
    async with asked(service.answer) as provider:
        assert await outcome(provider) == ("ab", None)
        assert await asyncio.wait_for(service.closed.get(), 20) == 1000


@pytest.mark.parametrize(
    ("play", "kind"),
    [
        pytest.param(sends("{not json"), errors.ProtocolError, id="S20"),
        pytest.param(sends(b"\xff\xfe"), errors.ProtocolError, id="S16"),
        pytest.param(sends("[1, 2]"), errors.ProtocolError, id="S27"),
        pytest.param(sends('{"t":7}'), errors.ProtocolError, id="S24"),
        pytest.param(sends('{"t":"' + "x" * (17 << 20) + '"}'), errors.ProtocolError, id="S13"),
        pytest.param(sends("[" * 100_000), errors.ProtocolError, id="S29"),
        pytest.param(cut, errors.ConnectionLostError, id="H13"),
        pytest.param(sends(code=1000), errors.TruncatedStreamError, id="S21"),
        pytest.param(sends(code=1011), errors.ServiceUnavailableError, id="1011"),
        pytest.param(sends(code=1008), errors.PermissionDeniedError, id="1008"),
        pytest.param(sends(code=4777), errors.ServiceUnavailableError, id="4777"),
        pytest.param(sends(code=4429), errors.RateLimitError, id="4429"),
        pytest.param(sends(code=4999), errors.ProtocolError, id="4999"),
    ],
)
async def test_s_and_h_rows_after_some_text(play: Play, kind: type[errors.BerlinError]) -> None:
    """What came before is delivered, then a typed error says what is wrong."""
    async with asked(Service(play).answer) as provider:
        text, error = await outcome(provider)
    assert text == "a"
    assert type(error) is kind, repr(error)


@pytest.mark.parametrize("play", [silent, pinging], ids=["H16", "S10"])
async def test_silence_and_signs_of_life_without_an_end(play: Play) -> None:
    """Neither silence nor pings are progress: the idle limit ends both."""
    service = Service(play)
    async with asked(service.answer) as provider:
        text, error = await outcome(provider, Timeouts(5, 10, 0.3, 20))
        assert isinstance(error, errors.UpstreamTimeoutError)
        assert text == "a"


async def test_h53_a_caller_who_leaves() -> None:
    """A caller who leaves closes the socket."""
    service = Service(silent)
    async with asked(service.answer) as provider:
        bursts = provider.bursts(ChatRequest.of("Hi"))
        await anext(bursts)
        await bursts.aclose()
        await asyncio.wait_for(service.closed.get(), 20)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, errors.AuthenticationError),
        (403, errors.PermissionDeniedError),
        (404, errors.RequestRejectedError),
        (429, errors.RateLimitError),
        (503, errors.ServiceUnavailableError),
        (200, errors.EmptyResponseError),
    ],
)
async def test_a_handshake_that_is_refused(status: int, kind: type[errors.BerlinError]) -> None:
    """A status in place of a WebSocket means what it means for any request."""

    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=status, text="no")

    async with asked(answer) as provider:
        _, error = await outcome(provider)
    assert type(error) is kind, repr(error)


async def test_h36_a_handshake_that_is_redirected() -> None:
    """A redirect is not followed: neither cookie nor question reaches another place."""
    seen: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request.path_qs)
        return web.Response(status=307, headers={"Location": "/ws?again=1"})

    async with asked(answer) as provider:
        _, error = await outcome(provider)
    assert type(error) is errors.RedirectError
    assert seen == ["/ws"]


@pytest.mark.parametrize("last", ['{"t":"x","end":"stop"}', "no JSON"], ids=["good", "bad"])
async def test_S41_messages_that_arrive_together(last: str) -> None:
    """Tiny messages are handed on in bursts, in order, and all of them before a bad one."""

    async def play(socket: web.WebSocketResponse) -> None:
        for n in range(2_000):
            await socket.send_str(f'{{"t":"{n},"}}')
        await socket.send_str(last)
        await socket.receive()

    texts: list[str] = []
    failure: errors.BerlinError | None = None
    async with asked(Service(play).answer) as provider:
        try:
            async for burst in provider.bursts(ChatRequest.of("Hi", timeout=PATIENT)):
                texts.append("".join(e.text for e in burst if isinstance(e, TextDelta)))
        except errors.BerlinError as error:
            failure = error
    whole = "".join(f"{n}," for n in range(2_000))
    assert "".join(texts) == whole + ("" if last == "no JSON" else "x")
    assert (failure is None) == (last != "no JSON")
    assert len(texts) < 1_000


@pytest.mark.parametrize("kind", [b"\x81", b"\x89", b"\x8a"], ids=["text", "ping", "pong"])
async def test_a_flood_of_empty_messages_leaves_the_loop_its_turns(
    kind: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """20,000 messages that hold nothing, in one read: other tasks run meanwhile."""

    async def play(socket: web.WebSocketResponse) -> None:
        assert socket._req is not None
        assert socket._req.transport is not None
        socket._req.transport.write((kind + b"\0") * 20_000)
        await socket.send_str('{"t":"x","end":"stop"}')
        await socket.receive()

    turns = 0
    begin = SocketAnswer.begin

    async def watched(self: SocketAnswer) -> None:
        async def count() -> None:
            nonlocal turns
            while not self._is_over:
                turns += self._has_more()
                await asyncio.sleep(0)

        counting.append(asyncio.create_task(count()))
        await begin(self)

    counting: list[asyncio.Task[None]] = []
    monkeypatch.setattr(SocketAnswer, "begin", watched)
    async with asked(Service(play).answer) as provider:
        assert await outcome(provider) == ("x", None)
    counting[0].cancel()
    assert turns > 20_000 / 256 / 2
