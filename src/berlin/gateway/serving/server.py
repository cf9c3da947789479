"""The running gateway: listens, and stops in order."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from berlin.errors import ConfigurationError
from berlin.gateway.access.accounts import Accounts
from berlin.gateway.app import build_app
from berlin.gateway.chat import Gateway
from berlin.gateway.serving.connection import HEADER_TIMEOUT_S, MAX_CONNECTIONS, open_runner

# After the error event, for the last bytes to leave.
LAST_WORDS_S = 1.0


@asynccontextmanager
async def open_server(
    gateway: Gateway,
    accounts: Accounts,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    token_lifetime_s: float = 86_400.0,
    grace_s: float = 10.0,
    header_timeout_s: float = HEADER_TIMEOUT_S,
    max_connections: int = MAX_CONNECTIONS,
) -> AsyncIterator[str]:
    """Serve the providers of a gateway, and give the base URL.

    Leaving the block takes no new work (and says so to those who ask whether it is ready), lets
    open answers end within the grace, and ends what is still open then with an error.

    Args:
        gateway: what is served; its providers are closed at the end.
        accounts: who may log in at the Berlin face.
        host: address to listen on.
        port: port to listen on; 0 takes a free one.
        token_lifetime_s: seconds that a token of the Berlin face is good for.
        grace_s: seconds that open answers have to end.
        header_timeout_s: seconds that a client has for the head of a request.
        max_connections: connections at once at most.

    Raises:
        ConfigurationError: if the address cannot be listened on.
    """
    app = build_app(gateway, accounts, token_lifetime_s)
    runner = open_runner(
        app,
        header_timeout_s=header_timeout_s,
        max_connections=max_connections,
        # Without it, a client that leaves is noticed at the next write only.
        handler_cancellation=True,
        access_log=None,
        auto_decompress=False,
        shutdown_timeout=LAST_WORDS_S,
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        try:
            await site.start()
        except OSError as error:
            raise ConfigurationError(
                f"cannot listen on {host}:{port}: {error.strerror or error}; "
                "choose another with --host and --port"
            ) from error
        address = runner.addresses[0]
        shown = f"[{address[0]}]" if ":" in address[0] else address[0]
        yield f"http://{shown}:{address[1]}"
        gateway.stopping = True
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(gateway.streams.open.wait_until_none(), grace_s)
        gateway.streams.end_all()
        for service in gateway.catalog.services.values():
            service.admission.close()
    finally:
        await runner.cleanup()
        for observer in gateway.observers:
            observer.close()
        gateway.guard.close()
        gateway.stored.close()
        for service in gateway.catalog.services.values():
            await service.provider.aclose()


@asynccontextmanager
async def stop_signals() -> AsyncIterator[asyncio.Event]:
    """Give an event that is set when the process is asked to stop (SIGTERM or SIGINT)."""
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
