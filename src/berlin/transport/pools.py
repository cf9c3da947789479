"""Connection pools: one for each event loop, closed with it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import weakref
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from functools import partial
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler

READ_BUFFER_BYTES = 64 * 1024
# Chat sites set cookies and policies longer than aiohttp's limit of 8 KB.
MAX_HEADER_BYTES = 64 * 1024


class Pools:
    """The sessions of a transport.

    A session ends with `aclose()`, with its loop (`asyncio.run` ends it in order), or when this
    object is dropped.

    Args:
        middlewares: the middlewares of every request of a session.
    """

    def __init__(self, middlewares: Sequence[aiohttp.ClientMiddlewareType] = ()) -> None:
        self._middlewares = middlewares
        self._pools: dict[asyncio.AbstractEventLoop, Pool] = {}
        weakref.finalize(self, _drop_pools, self._pools)
        _POOLS.add(self)

    async def of_loop(self, connect: Callable[[], aiohttp.BaseConnector]) -> Pool:
        """Return the pool of the running loop.

        Args:
            connect: makes the connector of a new pool.
        """
        loop = asyncio.get_running_loop()
        pool = self._pools.get(loop)
        if pool is None or pool.connector.closed:
            self._forget_closed_loops()
            # No await between lookup and insertion, or two requests would open two pools.
            pool = self._pools[loop] = Pool(connect(), self._middlewares)
            await pool.bind_to_loop()
        return pool

    async def aclose(self) -> None:
        """Close this loop's connections, and discard those of closed loops."""
        self._forget_closed_loops()
        pool = self._pools.pop(asyncio.get_running_loop(), None)
        if pool is not None:
            await pool.aclose()

    def after_fork(self) -> None:
        """Discard the parent's connections without touching them."""
        for pool in self._pools.values():
            # Closing would remove the sockets from the selector shared with the parent.
            pool.session.detach()
            pool.connector._closed = True
        self._pools.clear()

    def _forget_closed_loops(self) -> None:
        for loop in [loop for loop in self._pools if loop.is_closed()]:
            _finish(self._pools.pop(loop).session.close())


class ShortQueue(list[Any]):
    """A queue of few entries, in place of the deques of aiohttp (3.14).

    An empty deque has room for 64 entries, which is 0.7 KB, and an open stream would have four.
    """

    __slots__ = ()

    def popleft(self) -> Any:
        """Remove the first entry and return it."""
        return self.pop(0)


class Connection(ResponseHandler):
    """A connection that says when it is lost, and resumes reading only where reading was paused.

    aiohttp (3.14) resumes it, and runs the parser, for each HTTP chunk that is taken from the
    buffer, which is a quarter of what a piece costs when many arrive in one read. It also gives a
    response that arrived while nothing was asked (bytes after a body, a load balancer's 408) to the
    next request, which may be somebody else's.

    Attributes:
        lost: called when the connection is lost.
    """

    lost: Callable[[], None] | None = None

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._buffer = ShortQueue()  # type: ignore[assignment]

    def is_connected(self) -> bool:
        """Return whether the connection can carry a request; not if anything unasked arrived."""
        return super().is_connected() and not self.should_close

    def connection_lost(self, exc: BaseException | None) -> None:
        """Say that the connection is lost."""
        super().connection_lost(exc)
        if self.lost is not None:
            self.lost()

    def resume_reading(self, resume_parser: bool = True) -> None:
        """Resume reading."""
        if self._reading_paused:
            super().resume_reading(resume_parser)


def shorten(body: aiohttp.StreamReader) -> None:
    """Give a body short queues; it may have begun to arrive."""
    if type(body) is aiohttp.StreamReader:  # an empty one has none
        body._buffer = ShortQueue(body._buffer)  # type: ignore[assignment]
        if body._http_chunk_splits is not None:
            body._http_chunk_splits = ShortQueue(body._http_chunk_splits)  # type: ignore[assignment]


class Pool:
    """The connections of one loop, closed when the loop ends if not before.

    Attributes:
        connector: the connections.
        session: a session on them, for WebSockets.
    """

    def __init__(
        self,
        connector: aiohttp.BaseConnector,
        middlewares: Sequence[aiohttp.ClientMiddlewareType],
    ) -> None:
        loop = asyncio.get_running_loop()
        connector._factory = partial(Connection, loop=loop)  # type: ignore[assignment]  # a class there
        self.connector = connector
        self.session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=("Content-Type",),
            trust_env=False,
            read_bufsize=READ_BUFFER_BYTES,
            max_line_size=MAX_HEADER_BYTES,
            max_field_size=MAX_HEADER_BYTES,
            middlewares=middlewares,
        )
        self._keeper = _close_with_loop(self.session)

    async def bind_to_loop(self) -> None:
        """Make the running loop close it."""
        await anext(self._keeper)

    async def aclose(self) -> None:
        """Close the connections."""
        await self.session.close()
        # From here on it awaits nothing, so that an ending loop does not find it half
        # closed; unless the loop started to close it first.
        with contextlib.suppress(RuntimeError):
            await self._keeper.aclose()


async def _close_with_loop(session: aiohttp.ClientSession) -> AsyncGenerator[None]:
    # A loop that shuts down in order closes the generators started on it; this is
    # the only hook it offers, and the reason why this is a generator.
    try:
        yield
    finally:
        if not session.closed:
            await session.close()


def _drop_pools(pools: dict[asyncio.AbstractEventLoop, Pool]) -> None:
    for loop, pool in list(pools.items()):
        if loop.is_running():
            loop.call_soon_threadsafe(_end_soon, pool)
        elif loop.is_closed():
            _finish(pool.session.close())
        else:
            # The loop is between two `run_until_complete`: it can still close in order, unless
            # another loop runs in this thread.
            with contextlib.suppress(RuntimeError):
                loop.run_until_complete(pool.aclose())
    pools.clear()


def _end_soon(pool: Pool) -> None:
    # An ending loop cancels the task before it starts, and then closes the keeper itself,
    # unless it no longer exists: so the pool is referenced until it is closed.
    for ended in [pool for pool, task in _ENDING.items() if pool.session.closed and task.done()]:
        del _ENDING[ended]
    _ENDING[pool] = asyncio.ensure_future(pool.aclose())


def _finish(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine that never waits."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    coroutine.close()


_ENDING: dict[Pool, asyncio.Task[None]] = {}  # a loop holds only weak references to its tasks
_POOLS: weakref.WeakSet[Pools] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for pools in list(_POOLS):
        pools.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
