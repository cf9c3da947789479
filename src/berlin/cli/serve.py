"""`berlin serve`: the service itself."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
import msgspec

from berlin.cli.account import accounts_path
from berlin.cli.options import config_option, load_for_commands
from berlin.client import build_named
from berlin.config import ServerConfig, default_provider, resolve_settings
from berlin.errors import ConfigurationError
from berlin.gateway.accounts import Accounts
from berlin.gateway.server import open_server, stop_signals
from berlin.providers.base import Provider
from berlin.types import is_loopback


@click.command()
@click.option("--host", help="Address to listen on; only this machine unless given.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on (4114).")
@config_option
def serve(host: str | None, port: int | None, config: Path | None) -> None:
    """Serve a provider to programs that speak the Berlin protocol.

    It answers with the provider of [server] in the configuration, or the default provider, or
    the built-in guide. Who may log in is said with `berlin account add NAME`. Ctrl-C and SIGTERM
    stop it: open answers may end first.
    """
    settings = load_for_commands(config)
    changes: dict[str, Any] = {}
    if host is not None:
        changes["host"] = host
    if port is not None:
        changes["port"] = port
    server = msgspec.structs.replace(settings.server, **changes)
    name = server.provider or default_provider(settings) or "guide"
    accounts = Accounts.load(accounts_path())
    if not accounts.names:
        raise ConfigurationError(
            "nobody could log in: add an account first, with `berlin account add NAME`"
        )
    if not is_loopback(server.host):
        click.echo(
            "berlin: this listens beyond this machine in plain http; put TLS in front of it",
            err=True,
        )
    if name != "guide":
        _refuse_itself(resolve_settings(name, settings).endpoint.url, server)
    provider = build_named(name, settings)
    _run_fast(lambda: _serve(server, provider, name, accounts))


def _refuse_itself(url: str, server: ServerConfig) -> None:
    parts = urlsplit(url)
    if is_loopback(parts.hostname or "") and parts.port == server.port != 0:
        raise ConfigurationError(
            f"the provider's URL {url} is this service itself: name another one as [server] "
            'provider in the configuration (`provider = "guide"` for the guide)'
        )


async def _serve(server: ServerConfig, provider: Provider, name: str, accounts: Accounts) -> None:
    # Who is told that it serves may stop it at once: the signals are caught before.
    async with (
        stop_signals() as asked,
        open_server(
            provider,
            accounts,
            server.host,
            server.port,
            token_lifetime_s=server.token_lifetime_s,
            grace_s=server.grace_s,
        ) as url,
    ):
        click.echo(f"berlin: serving {name} on {url} (Ctrl-C stops)", err=True)
        await asked.wait()
        click.echo("berlin: stopping", err=True)


def _run_fast(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run on uvloop where it is installed: it costs less for each piece of a stream."""
    try:
        import uvloop
    except ImportError:
        asyncio.run(main())
        return
    if sys.version_info >= (3, 12):
        uvloop.run(main())
    else:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(main())
