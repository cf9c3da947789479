"""Services on loopback: an application, or one function that answers everything."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeAlias

from aiohttp import web

Answering: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def listening(
    runner: web.BaseRunner[Any], tls: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """Serve with a runner on a free port, and give the port."""
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls, backlog=2048).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@asynccontextmanager
async def running(
    app: web.Application, tls: ssl.SSLContext | None = None, **options: Any
) -> AsyncIterator[str]:
    """Serve an application on a free port, and give its base URL."""
    runner = web.AppRunner(app, access_log=None, **{"shutdown_timeout": 0.1, **options})
    async with listening(runner, tls) as port:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{port}"


def playing(
    answer: Answering, tls: ssl.SSLContext | None = None
) -> AbstractAsyncContextManager[str]:
    """Serve a function on a free port, whatever the path and the method, and give its base URL."""
    app = web.Application(client_max_size=2**26)
    app.router.add_route("*", "/{path:.*}", answer)
    return running(app, tls)
