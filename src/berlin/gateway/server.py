"""The running service: listens, and stops in order."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from berlin.errors import ConfigurationError
from berlin.gateway.accounts import Accounts
from berlin.gateway.app import build_app
from berlin.gateway.streaming import OpenStreams
from berlin.providers.base import Provider

KEEPALIVE_TIMEOUT_S = 75.0
# After the error event, for the last bytes to leave.
LAST_WORDS_S = 1.0


@asynccontextmanager
async def open_server(
    provider: Provider,
    accounts: Accounts,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    token_lifetime_s: float = 86_400.0,
    grace_s: float = 10.0,
) -> AsyncIterator[str]:
    """Serve a provider, and give the base URL.

    Leaving the block takes no new connections, lets open answers end within the grace, and ends
    what is still open then with an error.

    Args:
        provider: what answers; it is closed at the end.
        accounts: who may log in.
        host: address to listen on.
        port: port to listen on; 0 takes a free one.
        token_lifetime_s: seconds that a token is good for.
        grace_s: seconds that open answers have to end.

    Raises:
        ConfigurationError: if the address cannot be listened on.
    """
    streams = OpenStreams()
    app = build_app(provider, accounts, token_lifetime_s, streams)
    runner = web.AppRunner(
        app,
        # Without it, a client that leaves is noticed at the next write only.
        handler_cancellation=True,
        keepalive_timeout=KEEPALIVE_TIMEOUT_S,
        access_log=None,
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
        await site.stop()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(streams.wait_until_none(), grace_s)
        streams.end_all()
    finally:
        await runner.cleanup()
        await provider.aclose()


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
