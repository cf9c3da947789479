"""Reading a client's body: its size, its time, and the memory of all bodies together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp.streams import EMPTY_PAYLOAD

from berlin.errors import OverloadedError
from berlin.gateway import web
from berlin.gateway.body import MAX_LOGIN_BYTES, UNCOUNTED_BYTES, Bodies, BodyBudget
from berlin.gateway.observe.visit import Visit
from berlin.gateway.refusals import HttpFault
from berlin.gateway.serving.connection import Server
from berlin.gateway.workers.listening import open_listeners

KIB = 1024


@asynccontextmanager
async def serving(
    handle: Callable[[web.Request], Awaitable[web.StreamResponse]],
) -> AsyncIterator[int]:
    """Serve with a handler; yield the port."""
    server = Server(handle, shutdown_timeout_s=0.1)
    [sockets] = open_listeners("127.0.0.1", 0, 1)
    await server.listen(sockets)
    try:
        yield sockets[0].getsockname()[1]
    finally:
        await server.aclose()


@asynccontextmanager
async def reading(bodies: Bodies) -> AsyncIterator[int]:
    """Serve `/login` and `/chat`, which read a body and say how long it is; give the port."""

    async def handle(request: web.Request) -> web.Response:
        request.visit = Visit("POST", request.path, "", request.headers)
        try:
            if request.path == "/login":
                return web.Response(text=str(len(await bodies.read_login(request))))
            return web.Response(text=str(len(await bodies.read(request, "a"))))
        except (HttpFault, OverloadedError) as error:
            return web.Response(status=error.http_status)
        finally:
            bodies.release(request)

    async with serving(handle) as port:
        yield port


@asynccontextmanager
async def posted(
    port: int, path: str, sent: bytes, length: int | None = None, more: str = ""
) -> AsyncIterator[asyncio.StreamReader]:
    """Post a body that is announced as longer than what is sent, and give what comes back."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    size = len(sent) if length is None else length
    writer.write(
        f"POST {path} HTTP/1.1\r\nHost: x\r\n{more}Content-Length: {size}\r\n\r\n".encode() + sent
    )
    try:
        yield reader
    finally:
        writer.transport.abort()


async def status(reader: asyncio.StreamReader) -> int:
    """Return the status of an answer."""
    async with asyncio.timeout(30):
        return int((await reader.readline()).split(b" ")[1])


async def until(condition: object) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.01)


async def test_g40_a_body_is_asked_for_only_where_it_is_read() -> None:
    """`100 Continue` goes out when the body is wanted, so a refused client need not send it."""
    expect = "Expect: 100-continue\r\n"
    bodies = Bodies(timeout_s=0.1)
    async with reading(bodies) as port, posted(port, "/chat", b"", 10, expect) as reader:
        assert await status(reader) == 100
    async with (
        reading(bodies) as port,
        posted(port, "/chat", b"", 10, expect + "Content-Type: text/plain\r\n") as reader,
    ):
        assert await status(reader) == 415


async def test_g06_a_body_that_trickles_is_given_up() -> None:
    """A client that announces a body and does not send it is answered 408."""
    async with (
        reading(Bodies(timeout_s=0.2)) as port,
        posted(port, "/chat", b"ab", 10) as reader,
    ):
        assert await status(reader) == 408


@pytest.mark.parametrize("path", ["/login", "/chat"])
async def test_too_long_by_its_own_word(path: str) -> None:
    """A body that is announced as too long is refused before any of it is read."""
    bodies = Bodies()
    async with reading(bodies) as port, posted(port, path, b"", 10**9) as reader:
        assert await status(reader) == 413
        assert bodies.budget.held(None) == bodies.budget.held("a") == 0


async def test_a_login_is_short() -> None:
    """Who has not shown who it is sends 64 KiB at most."""
    async with reading(Bodies()) as port:
        async with posted(port, "/login", b" " * MAX_LOGIN_BYTES) as reader:
            assert await status(reader) == 200
        async with posted(port, "/login", b" " * (MAX_LOGIN_BYTES + 1)) as reader:
            assert await status(reader) == 413


async def test_strangers_share_one_budget() -> None:
    """Logins that wait for their bodies hold no more than the budget; whole ones get through."""
    bodies = Bodies(BodyBudget(strangers_bytes=2 * MAX_LOGIN_BYTES))
    async with reading(bodies) as port:
        async with posted(port, "/login", b"x", 100), posted(port, "/login", b"x", 100):
            await until(lambda: bodies.budget.held(None) == 2 * MAX_LOGIN_BYTES)
            async with posted(port, "/login", b"x", 100) as reader:
                assert await status(reader) == 429
            async with posted(port, "/login", b"{}") as reader:
                assert await status(reader) == 200
            async with posted(port, "/chat", b" " * 100 * KIB) as reader:
                assert await status(reader) == 200
        await until(lambda: bodies.budget.held(None) == 0)
        async with posted(port, "/login", b"{}") as reader:
            assert await status(reader) == 200


async def test_each_client_has_a_budget() -> None:
    """Large bodies of one client are counted until they have been answered; small ones are not."""
    bodies = Bodies(BodyBudget(client_bytes=300 * KIB))
    async with reading(bodies) as port:
        async with posted(port, "/chat", b"x", 200 * KIB):
            await until(lambda: bodies.budget.held("a") == 200 * KIB)
            async with posted(port, "/chat", b" " * 150 * KIB) as reader:
                assert await status(reader) == 429
            async with posted(port, "/chat", b" " * UNCOUNTED_BYTES) as reader:
                assert await status(reader) == 200
        await until(lambda: bodies.budget.held("a") == 0)


def test_a_budget_counts_only_what_it_gave() -> None:
    """A refusal counts nothing, and what is given back can be taken again."""
    budget = BodyBudget(client_bytes=10)
    budget.take("a", 6)
    with pytest.raises(OverloadedError, match="too many large requests"):
        budget.take("a", 5)
    budget.take("b", 10)
    budget.give_back("a", 6)
    budget.take("a", 10)
    assert (budget.held("a"), budget.held("b")) == (10, 10)


async def test_head_and_body_are_let_go() -> None:
    """While the answer streams, neither the bytes of the head nor the body's buffer are kept."""
    kept: list[object] = []

    async def handle(request: web.Request) -> web.Response:
        body = await Bodies().read(request, "a")
        kept.extend((body, request.raw_headers, request.content))
        return web.Response()

    async with serving(handle) as port, posted(port, "/", b"{}") as reader:
        assert await status(reader) == 200
    assert kept == [b"{}", (), EMPTY_PAYLOAD]
