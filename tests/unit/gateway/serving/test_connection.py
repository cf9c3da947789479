"""Connections as a hostile or old client makes them, byte by byte."""

from __future__ import annotations

import asyncio
import os
import resource
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import pytest
import uvloop
from aiohttp import web

from berlin.gateway.serving.connection import Server
from berlin.gateway.workers.listening import open_listeners
from support.moments import moment

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


class Service:
    """A small application that notes what reached it."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.seen: list[bytes] = []
        self.go = asyncio.Event()
        self.go.set()

    async def handle(self, request: web.Request) -> web.Response:
        """Answer with the path and the body."""
        body = await request.read()
        self.seen.append(request.path.encode() + b" " + body)
        await self.go.wait()
        return web.Response(body=request.path.encode() + b" " + body)

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Line]:
        """Open a connection."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            yield Line(reader, writer)
        finally:
            writer.transport.abort()


class Line:
    """A client's end of a connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def answer(self) -> tuple[int, bytes, bytes]:
        """Read one answer: status, head and body."""
        async with asyncio.timeout(30):
            head = await self.reader.readuntil(b"\r\n\r\n")
            length = 0
            for line in head.lower().split(b"\r\n"):
                if line.startswith(b"content-length:"):
                    length = int(line[15:])
            return int(head[9:12]), head, await self.reader.readexactly(length)

    async def rest(self, within: float = 10) -> bytes:
        """Read until the server closes; what came before a reset counts too."""
        said = b""
        with suppress(ConnectionResetError):
            async with asyncio.timeout(within):
                while data := await self.reader.read(65536):
                    said += data
        return said


@asynccontextmanager
async def serving(**options: Any) -> AsyncIterator[Service]:
    """Run a service with limits."""
    service = Service(0)
    server = Server(service.handle, shutdown_timeout_s=0.1, **options)
    [sockets] = open_listeners("127.0.0.1", 0, 1)
    service.port = sockets[0].getsockname()[1]
    try:
        await server.listen(sockets)
        yield service
    finally:
        await server.aclose()


async def test_g06_a_head_that_trickles_is_given_up() -> None:
    """Byte by byte is no way around the time for a head: 408, and the connection is closed."""
    early = moment(0.4)
    async with serving(header_timeout_s=0.5) as service, service.connect() as line:
        reading = asyncio.create_task(line.rest())
        for byte in b"GET / HTTP/1.1\r\nX-Long: " + b"x" * 10_000:
            if reading.done():
                break
            line.writer.write(bytes((byte,)))
            await asyncio.sleep(0.02)
        said = await reading
        assert early.is_set()
        assert said.startswith(b"HTTP/1.1 408 ")
        assert b"aiohttp" not in said
        assert service.seen == []


async def test_g06_a_later_head_has_its_time_too() -> None:
    """The head of the second request is timed from its first byte, not from the connection."""
    async with (
        serving(header_timeout_s=0.5, keepalive_timeout_s=30) as service,
        service.connect() as line,
    ):
        line.writer.write(GET)
        assert (await line.answer())[0] == 200
        await asyncio.sleep(0.8)
        line.writer.write(GET)
        assert (await line.answer())[0] == 200
        early = moment(0.4)
        line.writer.write(b"GET / HT")
        assert (await line.rest()).startswith(b"HTTP/1.1 408 ")
        assert early.is_set()


async def test_head_in_pieces_in_time() -> None:
    """A head that comes in pieces, but in time, is a good one; so is a body after that time."""
    async with serving(header_timeout_s=1.0) as service, service.connect() as line:
        for piece in (b"POST /p HT", b"TP/1.1\r\nHost: x\r\nContent-Le", b"ngth: 4\r\n\r\nab"):
            line.writer.write(piece)
            await asyncio.sleep(0.01)
        await asyncio.sleep(1.2)
        line.writer.write(b"cd")
        assert (await line.answer())[2] == b"/p abcd"


async def test_answer_may_take_longer_than_a_head() -> None:
    """The time for a head does not end a request that is being answered."""
    async with serving(header_timeout_s=0.6) as service, service.connect() as line:
        service.go.clear()
        line.writer.write(GET)
        await asyncio.sleep(0.8)
        service.go.set()
        assert (await line.answer())[0] == 200


async def test_idle_connections_end() -> None:
    """Without a first byte the time for a head ends a connection, later that of keep-alive."""
    early = moment(0.8)
    async with (
        serving(header_timeout_s=1.0, keepalive_timeout_s=1.2) as service,
        service.connect() as silent,
        service.connect() as line,
    ):
        line.writer.write(GET)
        assert (await line.answer())[0] == 200
        assert await silent.rest() == b""
        assert await line.rest(10) == b""
        assert early.is_set()


async def test_g05_a_thousand_idle_connections() -> None:
    """A new request is answered among 1,000 idle connections, and they are closed in time."""
    async with (
        serving(header_timeout_s=4, max_connections=2000) as service,
        AsyncExitStack() as stack,
    ):
        each = (stack.enter_async_context(service.connect()) for _ in range(1000))
        idle = await asyncio.gather(*each)
        async with service.connect() as line:
            line.writer.write(GET)
            assert (await line.answer())[0] == 200
        assert await asyncio.gather(*(one.rest(60) for one in idle)) == [b""] * 1000


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_connections_are_bounded(loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """One too many gets 503 and is closed while all others are being answered."""
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(_fill_up())


async def _fill_up() -> None:
    async with serving(max_connections=3) as service, AsyncExitStack() as stack:
        lines = [await stack.enter_async_context(service.connect()) for _ in range(3)]
        service.go.clear()
        for line in lines:
            line.writer.write(GET)
        while len(service.seen) < 3:
            await asyncio.sleep(0.01)
        for _ in range(5):
            async with service.connect() as refused:
                status, head, _ = await refused.answer()
                assert (status, await refused.rest()) == (503, b"")
                assert b"Retry-After: 2\r\n" in head
        service.go.set()
        for line in lines:
            assert (await line.answer())[0] == 200


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_idle_connections_keep_nobody_out(loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """A new one takes the place of the one that has waited longest, with or without a head."""
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(_make_room())


async def _make_room() -> None:
    async with serving(max_connections=4) as service, AsyncExitStack() as stack:
        used, silent, begun, busy = [
            await stack.enter_async_context(service.connect()) for _ in range(4)
        ]
        begun.writer.write(GET[:-4])
        used.writer.write(GET)
        assert (await used.answer())[0] == 200
        service.go.clear()
        busy.writer.write(GET)
        while len(service.seen) < 2:
            await asyncio.sleep(0.01)
        service.go.set()
        assert (await busy.answer())[0] == 200
        for old in (silent, begun, used):
            new = await stack.enter_async_context(service.connect())
            new.writer.write(GET)
            assert (await new.answer())[0] == 200
            assert await old.rest() == b""
        busy.writer.write(GET)
        assert (await busy.answer())[0] == 200


async def test_g39_a_thousand_pipelined_requests() -> None:
    """They are answered in order, one by one, and the rest waits in the network, not in memory."""
    async with serving() as service, service.connect() as line:
        service.go.clear()
        padding = b"X-Padding: " + b"x" * 4000
        heads = [b"GET /%d HTTP/1.1\r\nHost: x\r\n%s\r\n\r\n" % (n, padding) for n in range(5000)]
        line.writer.write(b"".join(heads))
        await _until_stalled(line.writer.transport)
        # 20 MB were sent: what was not taken is still on this side.
        assert line.writer.transport.get_write_buffer_size() > 5_000_000
        assert service.seen == [b"/0 "]
        service.go.set()
        for n in range(1000):
            status, _, body = await line.answer()
            assert (status, body) == (200, b"/%d " % n)


async def _until_stalled(transport: asyncio.WriteTransport) -> None:
    """Wait until the network takes no more."""
    size = -1
    while size != (size := transport.get_write_buffer_size()):
        await asyncio.sleep(0.3)


HEAD = b"POST / HTTP/1.1\r\nHost: x\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"


@pytest.mark.parametrize(
    "request_bytes",
    [
        HEAD + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        HEAD + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        HEAD + b"Content-Length: 3\r\n" + CHUNKED + b"\r\n0\r\n\r\n",
        HEAD + CHUNKED + b"Content-Length: 3\r\n\r\n0\r\n\r\n",
        HEAD + b"Content-Length: -1\r\n\r\n",
        HEAD + b"Content-Length: +3\r\n\r\nabc",
        HEAD + b"Content-Length: 3, 3\r\n\r\nabc",
        HEAD + b"Content-Length: 0x3\r\n\r\nabc",
        HEAD + b"Content-Length: 99999999999999999999999\r\n\r\nabc",
        HEAD + b"Content-Length : 3\r\n\r\nabc",
        HEAD + b"Transfer-Encoding: chunked, identity\r\n\r\nabc",
        HEAD + CHUNKED + b"\r\n-3\r\nabc\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: a\x00b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 70_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 1000 + b"\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 200,
        b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n\r\n",
    ],
    ids=[
        *("two lengths", "the same length twice", "length and chunks", "chunks and length"),
        *("negative length", "plus", "list of lengths", "hexadecimal length", "giant length"),
        *("blank before the colon", "chunked is not last", "negative chunk", "NUL"),
        *("long header", "many headers", "HTTP/2", "TLS", "long path"),
    ],
)
async def test_g08_requests_of_two_minds(request_bytes: bytes) -> None:
    """What two servers could read in two ways is refused, and the connection is closed."""
    async with serving() as service, service.connect() as line:
        line.writer.write(request_bytes)
        # What follows must not be taken for a request.
        line.writer.write(b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n")
        said = await line.rest()
        assert said[:13] in (b"HTTP/1.1 400 ", b"HTTP/1.1 431 ")
        assert said.count(b"HTTP/1.") == 1
        assert b"aiohttp" not in said
        assert not [seen for seen in service.seen if b"smuggled" in seen]


async def test_malformed_request_is_one_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """Bytes that are no request make no traceback, neither in the log nor in the answer."""
    with caplog.at_level("INFO"):
        async with serving() as service, service.connect() as line:
            line.writer.write(b"GARBAGE \x1b[31m secret\r\n\r\n")
            said = await line.rest()
    assert said.endswith(b"\r\n\r\nthis is not a good HTTP request\n")
    ours = [r for r in caplog.records if r.name.startswith(("berlin", "aiohttp"))]
    assert [r.getMessage().split(" ")[0] for r in ours] == ["request.malformed"]
    assert "secret" not in caplog.text
    assert ours[0].exc_info is None


@pytest.mark.parametrize(
    "upgrade",
    [
        b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n",
        b"Connection: Upgrade\r\nUpgrade: TLS/1.0\r\n",
        b"Upgrade: h2c\r\n",
    ],
    ids=["websocket", "h2c", "tls", "no connection header"],
)
async def test_g41_upgrade_is_ignored(upgrade: bytes) -> None:
    """Requests that offer an upgrade, as Java's client does, are answered as if they did not."""
    async with serving() as service, service.connect() as line:
        line.writer.write(b"GET /1 HTTP/1.1\r\nHost: x\r\n" + upgrade + b"\r\n")
        assert (await line.answer())[::2] == (200, b"/1 ")
        line.writer.write(HEAD + upgrade + b"Content-Length: 3\r\n\r\nabc")
        assert (await line.answer())[::2] == (200, b"/ abc")
        line.writer.write(HEAD + upgrade + CHUNKED + b"\r\n3\r\nabc\r\n0\r\n\r\n")
        assert (await line.answer())[::2] == (200, b"/ abc")
        line.writer.write(GET)
        assert (await line.answer())[::2] == (200, b"/ ")


async def test_no_open_files_left(caplog: pytest.LogCaptureFixture) -> None:
    """It is said once when the process has no open files left, and once when it has some again."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with serving(keepalive_timeout_s=0.2) as service, service.connect():  # it looks often
        try:
            lowest = os.dup(0)
            os.close(lowest)
            resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, limits[1]))
            while "files.used_up" not in caplog.text:
                await asyncio.sleep(0.01)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        async with service.connect() as line:
            line.writer.write(GET)
            assert (await line.answer())[0] == 200
            while "files.available" not in caplog.text:
                await asyncio.sleep(0.01)
    assert caplog.text.count("files.") == 2
