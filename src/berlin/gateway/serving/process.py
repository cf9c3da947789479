"""One serving process: the only one, or a worker."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from functools import partial
from typing import Any

from berlin.config import ServerConfig
from berlin.gateway.access.accounts import Accounts
from berlin.gateway.chat import Gateway
from berlin.gateway.serving.health import update_gauges_forever
from berlin.gateway.serving.server import open_server, stop_signals
from berlin.gateway.setup import refresh_models_forever
from berlin.gateway.workers.board import State
from berlin.gateway.workers.listening import Sockets
from berlin.gateway.workers.worker import Worker

# Thresholds of garbage collection: new objects before a young round, rounds before older ones.
GC_THRESHOLDS = (20_000, 20, 20)


async def serve(
    server: ServerConfig,
    gateway: Gateway,
    accounts: Accounts,
    watch: Callable[[], Coroutine[Any, Any, None]],
    *,
    started: Callable[[str], None],
    stopping: Callable[[], None],
) -> None:
    """Serve until a signal asks to stop.

    Args:
        server: where to listen, and for how long.
        gateway: the gateway.
        accounts: the accounts of the Berlin face.
        watch: watches the configuration as long as it serves.
        started: called with the URL when it serves.
        stopping: called when it is asked to stop.
    """
    # It may be stopped as soon as it serves, so signals are caught before.
    async with stop_signals() as asked, _open(server, gateway, accounts, None, watch) as url:
        started(url)
        await asked.wait()
        gateway.stopping = True  # before it is said: requests that come after that are refused
        stopping()


async def serve_as_worker(
    worker: Worker,
    server: ServerConfig,
    gateway: Gateway,
    accounts: Accounts,
    reload: Callable[[], Coroutine[Any, Any, bool]],
    sockets: Sockets,
) -> None:
    """Serve until the parent asks to stop, or is gone. See `serve` for the arguments."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()

    async def watch_parent() -> None:
        reloads = asyncio.Event()
        loop.add_signal_handler(signal.SIGHUP, reloads.set)
        while True:
            await reloads.wait()
            reloads.clear()
            generation = worker.board.generation  # what is read after this is at least as new
            if await reload():
                worker.use(generation)

    def drain() -> None:
        gateway.draining = True
        worker.report(State.DRAINING)
        ended.set()

    async with stop_signals() as asked:
        if worker.lifeline >= 0:
            loop.add_reader(worker.lifeline, asked.set)
        loop.add_signal_handler(signal.SIGUSR1, drain)
        stop = asyncio.ensure_future(_after(asked, gateway, ended))
        jobs = (watch_parent, worker.beat_forever, partial(update_gauges_forever, gateway))
        try:
            async with _open(server, gateway, accounts, sockets, *jobs):
                worker.report(State.READY)
                await ended.wait()
        finally:
            stop.cancel()


@contextlib.asynccontextmanager
async def _open(
    server: ServerConfig,
    gateway: Gateway,
    accounts: Accounts,
    sockets: Sockets | None,
    *jobs: Callable[[], Coroutine[Any, Any, None]],
) -> AsyncIterator[str]:
    """Serve during the block, and do some jobs meanwhile; yield the URL."""
    async with open_server(
        gateway,
        accounts,
        server.host,
        server.port,
        sockets=sockets,
        token_lifetime_s=server.token_lifetime_s,
        grace_s=server.grace_s,
        header_timeout_s=server.header_timeout_s,
        max_connections=server.max_connections,
    ) as url:
        coroutines = (refresh_models_forever(gateway), *(job() for job in jobs))
        tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
        await asyncio.sleep(0)  # let each task start and handle its signals before announcing
        collect_garbage_rarely()
        try:
            yield url
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _after(asked: asyncio.Event, gateway: Gateway, ended: asyncio.Event) -> None:
    """End a worker, also one that drains."""
    await asked.wait()
    gateway.draining = False
    ended.set()


def collect_garbage_rarely() -> None:
    """Collect garbage less often, and never scan startup objects again.

    Nearly all objects of a request are freed by reference counting. With Python's default
    thresholds the collector takes a seventh of the gateway's time under load (docs/performance.md).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


def run_fast(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run on uvloop if installed: it costs less for each piece of a stream."""
    try:
        import uvloop
    except ImportError:
        asyncio.run(_run_quietly(main()))
        return
    if sys.version_info >= (3, 12):
        uvloop.run(main())
    else:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(main())


async def _run_quietly(main: Coroutine[Any, Any, None]) -> None:
    """Run without asyncio's 2,000 tracebacks a second when the process has no open files left."""

    def note(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not (isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE)):
            loop.default_exception_handler(context)

    asyncio.get_running_loop().set_exception_handler(note)
    await main
