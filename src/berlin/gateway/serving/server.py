"""The running gateway: listens, and stops in order."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from berlin.gateway.access.accounts import Accounts
from berlin.gateway.app import App
from berlin.gateway.chat import Gateway
from berlin.gateway.serving.connection import HEADER_TIMEOUT_S, MAX_CONNECTIONS, Server
from berlin.gateway.workers.listening import Sockets, open_listeners, url_of

# The longest that a worker which has been replaced serves its connections.
DRAIN_S = 900.0
DRAIN_CHECK_S = 0.1


@asynccontextmanager
async def open_server(
    gateway: Gateway,
    accounts: Accounts,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    sockets: Sockets | None = None,
    token_lifetime_s: float = 86_400.0,
    grace_s: float = 10.0,
    header_timeout_s: float = HEADER_TIMEOUT_S,
    max_connections: int = MAX_CONNECTIONS,
) -> AsyncIterator[str]:
    """Serve the providers of a gateway, and yield the base URL.

    On leaving the block, new requests are refused (and readiness checks fail), open answers may
    finish within the grace period, and the rest end with an error.

    Args:
        gateway: the gateway; its providers are closed at the end.
        accounts: the accounts of the Berlin face.
        host: address to listen on.
        port: port to listen on; 0 takes a free one.
        sockets: sockets that listen already, instead of host and port; they are closed at the end.
        token_lifetime_s: lifetime of the Berlin face's tokens in seconds.
        grace_s: seconds that open answers have to finish.
        header_timeout_s: seconds that a client has to send the head of a request.
        max_connections: the most open connections.

    Raises:
        ConfigurationError: if the address cannot be listened on.
    """
    app = App(gateway, accounts, token_lifetime_s)
    server = Server(app.serve, header_timeout_s=header_timeout_s, max_connections=max_connections)
    try:
        if sockets is None:
            [sockets] = open_listeners(host, port, 1)
        await server.listen(sockets)
        yield url_of(sockets)
        if gateway.draining:
            await _drain(gateway, server)
        gateway.stopping = True
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(gateway.streams.open.wait_until_none(), grace_s)
        gateway.streams.end_all()
        for service in gateway.catalog.services.values():
            service.admission.close()
    finally:
        await server.aclose()
        await _close(gateway)


async def _close(gateway: Gateway) -> None:
    for observer in gateway.observers:
        observer.close()
    gateway.guard.close()
    gateway.stored.close()
    await gateway.limiter.aclose()
    for service in gateway.catalog.services.values():
        await service.provider.aclose()
    if gateway.catalog.routes is not None:
        await gateway.catalog.routes.counters.aclose()


async def _drain(gateway: Gateway, server: Server) -> None:
    """Accept no connections, and serve the open ones until their clients have left.

    Each response says that its connection closes; idle connections end by the idle limit. So no
    request is refused: the next worker listens on the same socket.
    """
    server.stop_listening()
    end = asyncio.get_running_loop().time() + DRAIN_S
    while gateway.draining and server.connections:
        if asyncio.get_running_loop().time() > end:
            return
        await asyncio.sleep(DRAIN_CHECK_S)


@asynccontextmanager
async def stop_signals() -> AsyncIterator[asyncio.Event]:
    """Yield an event that is set when the process is asked to stop (SIGTERM or SIGINT)."""
    loop = asyncio.get_running_loop()
    asked = asyncio.Event()
    handled = []
    for name in ("SIGTERM", "SIGINT"):
        with contextlib.suppress(NotImplementedError):  # Windows
            loop.add_signal_handler(getattr(signal, name), asked.set)
            handled.append(getattr(signal, name))
    try:
        yield asked
    finally:
        for number in handled:
            loop.remove_signal_handler(number)
