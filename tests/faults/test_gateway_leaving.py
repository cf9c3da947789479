"""The gateway, first part: clients that leave or read slowly (G01 to G04, G45)."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from secrets import token_hex

import pytest

from berlin import Berlin
from berlin.gateway.access.admission import Admission
from berlin.gateway.catalog import Service
from berlin.gateway.observe.visit import Visit
from berlin.providers.scripted import ScriptedProvider
from support.chat_service import HANG, ChatService, no_new_tasks
from support.fault_server import FaultServer
from support.fault_steps import CHUNKED, Hang, Send, begin_stream, head
from support.gateway import (
    DIALECTS,
    LAST_FRAME,
    PATIENT,
    WITH_KEYS,
    At,
    Dialect,
    described_provider,
    frame,
    serve,
)

# Of a client's end of a connection, to the upstream's notice of it; a busy machine needs more
# than the half second that a calm one stays far below.
SOON_S = 30.0
SSE = "Content-Type: text/event-stream"


class Lines:
    """Keeps the access log in memory."""

    def __init__(self) -> None:
        self.lines: list[Visit] = []
        self.changed = asyncio.Event()

    def ended(self, visit: Visit) -> None:
        self.lines.append(visit)
        self.changed.set()

    def close(self) -> None:
        pass


@asynccontextmanager
async def behind(service: ChatService, **options: object) -> AsyncIterator[At]:
    """Serve a service behind a login."""
    provider = Berlin(service.url, "account", "password", timeout=PATIENT)
    async with serve(Service("s", provider, ["m1"]), **options) as at:
        yield at


async def leave(at: At, dialect: Dialect, *, stream: bool, until: asyncio.Event) -> None:
    """Ask, and close the connection as soon as the event is set."""
    body = json.dumps(dialect.body("Hi", "s:m1", stream)).encode()
    async with at.connection() as (_, writer):
        writer.write(await at.head(dialect, body))
        async with asyncio.timeout(30):
            await until.wait()


@pytest.mark.parametrize("dialect", DIALECTS, ids=str)
async def test_g01_w10_client_leaves_in_mid_stream(dialect: Dialect) -> None:
    """The upstream's connection ends when the client's does, and the log says who left."""
    log = Lines()
    async with ChatService(["one", HANG]) as service, behind(service, log=log) as at:
        body = json.dumps(dialect.body("Hi", "s:m1", True)).encode()
        async with at.connection() as (reader, writer):
            writer.write(await at.head(dialect, body))
            async with asyncio.timeout(30):
                await reader.readuntil(b"one")
            assert service.open == 1
            log.changed.clear()
        await service.all_closed()
        async with asyncio.timeout(SOON_S):
            await log.changed.wait()
        assert log.lines[-1].outcome == "client_left"
        assert at.gateway.streams.open.now == 0


@pytest.mark.parametrize("where", ["before the head", "before the first event"])
@pytest.mark.parametrize("dialect", DIALECTS, ids=str)
async def test_g02_client_leaves_before_the_first_token(dialect: Dialect, where: str) -> None:
    """The upstream's connection ends too when nothing has come from it yet."""
    asked = asyncio.Event()
    begin = () if where == "before the head" else begin_stream(headers=(SSE,))

    async with FaultServer((*begin, Hang())) as server:
        provider = described_provider(f"{server.url}/{token_hex(6)}")
        async with serve(Service("s", provider, ["m1"])) as at:
            leaving = asyncio.create_task(leave(at, dialect, stream=True, until=asked))
            async with asyncio.timeout(30):
                while not server.requests:
                    await asyncio.sleep(0.005)
            assert server.connections[0].client_closed_at is None
            asked.set()
            await leaving
            assert await server.connections[0].left_by_client(within=SOON_S)


@pytest.mark.parametrize("begun", [False, True], ids=["nothing came", "some came"])
@pytest.mark.parametrize("dialect", WITH_KEYS, ids=str)
async def test_g03_client_leaves_a_whole_answer(dialect: Dialect, begun: bool) -> None:
    """The upstream's connection ends when the client that waits for a whole answer leaves."""
    asked = asyncio.Event()
    log = Lines()
    script = (*begin_stream(frame("one"), headers=(SSE,)), Hang()) if begun else (Hang(),)
    async with FaultServer(script) as server:
        provider = described_provider(f"{server.url}/{token_hex(6)}")
        async with serve(Service("s", provider, ["m1"]), log=log) as at:
            leaving = asyncio.create_task(leave(at, dialect, stream=False, until=asked))
            async with asyncio.timeout(30):
                while not server.requests:
                    await asyncio.sleep(0.005)
            asked.set()
            await leaving
            assert await server.connections[0].left_by_client(within=SOON_S)
            async with asyncio.timeout(SOON_S):
                await log.changed.wait()
            assert (log.lines[-1].outcome, log.lines[-1].status) == ("client_left", 0)


@pytest.mark.parametrize("dialect", DIALECTS, ids=str)
async def test_g02_client_leaves_the_line(dialect: Dialect) -> None:
    """Who leaves while it waits for its turn is never asked for, and makes room."""
    provider = ScriptedProvider([30.0])
    service = Service("s", provider, ["m1"], admission=Admission(1, 5, 30))
    asked = asyncio.Event()
    async with serve(service) as at:
        inside = asyncio.create_task(leave(at, dialect, stream=True, until=asked))
        async with asyncio.timeout(30):
            while service.admission.inside < 1:
                await asyncio.sleep(0.005)
        gone = asyncio.Event()
        waiting = asyncio.create_task(leave(at, dialect, stream=True, until=gone))
        async with asyncio.timeout(30):
            while service.admission.in_line < 1:
                await asyncio.sleep(0.005)
        gone.set()
        await waiting
        async with asyncio.timeout(SOON_S):
            while service.admission.in_line:
                await asyncio.sleep(0.005)
        assert service.admission.inside == 1
        asked.set()
        await inside
        async with asyncio.timeout(SOON_S):
            while service.admission.inside:
                await asyncio.sleep(0.005)
    assert len(provider.requests) == 1


@pytest.mark.parametrize("dialect", DIALECTS, ids=str)
async def test_g04_slow_reader_holds_its_own_upstream_back(dialect: Dialect) -> None:
    """An answer that nobody reads does not pile up here, others go on, and it ends in time."""
    piece = "x" * 64 * 1024
    async with ChatService([piece] * 800) as service, behind(service, write_timeout_s=1.5) as at:
        body = json.dumps(dialect.body("Hi", "s:m1", True)).encode()
        async with at.connection() as (reader, writer), no_new_tasks():
            writer.write(await at.head(dialect, body))
            async with asyncio.timeout(30):
                await reader.readuntil(b"200 OK")
            reader._transport.pause_reading()
            assert (await at.get("/v1/models")).status == 200
            before = -1
            while before != service.sent:
                before = service.sent
                await asyncio.sleep(0.3)
            assert service.sent < 24 * 2**20
            await service.all_closed()
        assert service.sent < 24 * 2**20


async def test_g04_slow_reader_is_logged_as_one() -> None:
    """A client that reads nothing is no fault of the service, and no status goes out twice."""
    log = Lines()
    async with (
        ChatService(["x" * 64 * 1024] * 800) as service,
        behind(service, write_timeout_s=0.5, log=log) as at,
    ):
        body = json.dumps(DIALECTS[0].body("Hi", "s:m1", True)).encode()
        async with at.connection() as (reader, writer):
            writer.write(await at.head(DIALECTS[0], body))
            async with asyncio.timeout(30):
                await reader.readuntil(b"200 OK")
                reader._transport.pause_reading()
                await log.changed.wait()
    assert log.lines[-1].status == 200
    assert not log.lines[-1].outcome.startswith("upstream")


async def test_g45_aborted_requests_leave_nothing_behind() -> None:
    """After 500 requests that were cut off, descriptors and tasks are as many as before."""
    endless = (Send(head("200 OK", SSE, CHUNKED)), Hang())
    good = begin_stream(frame("one"), LAST_FRAME, headers=(SSE,))
    async with FaultServer(good, endless) as server:
        provider = described_provider(f"{server.url}/{token_hex(6)}")
        service = Service("s", provider, ["m1"])
        async with serve(service) as at:
            now = asyncio.Event()
            now.set()
            dialect = DIALECTS[0]
            for _ in range(5):
                await leave(at, dialect, stream=True, until=now)
            before = len(os.listdir("/proc/self/fd"))
            async with no_new_tasks():
                for _ in range(25):
                    leaving = (leave(at, dialect, stream=True, until=now) for _ in range(20))
                    await asyncio.gather(*leaving)
            async with asyncio.timeout(30):
                while service.admission.inside or len(os.listdir("/proc/self/fd")) > before + 5:
                    await asyncio.sleep(0.02)
            assert at.gateway.streams.open.now == 0
