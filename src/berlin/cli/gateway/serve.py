"""`berlin serve`: the gateway itself."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
import msgspec

from berlin.cli.gateway.account import accounts_path
from berlin.cli.gateway.key import keys_path
from berlin.cli.options import config_option, load_for_commands
from berlin.cli.terminal import say
from berlin.config import (
    GUIDE,
    Config,
    ServerConfig,
    config_path,
    default_provider,
    find_provider,
    resolve_settings,
)
from berlin.errors import ConfigurationError
from berlin.gateway.access.account_reader import AccountReader
from berlin.gateway.access.accounts import Accounts
from berlin.gateway.chat import Gateway
from berlin.gateway.serving.reload import Reload
from berlin.gateway.serving.server import open_server, stop_signals
from berlin.gateway.serving.watch import Watch, files_state
from berlin.gateway.setup import build_gateway, refresh_models_forever, requires_keys
from berlin.types import is_loopback

# Thresholds of garbage collection: new objects before a young round, rounds before older ones.
GC_THRESHOLDS = (20_000, 20, 20)


@click.command()
@click.option("--host", help="Address to listen on; only this machine unless given.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on (4114).")
@config_option
def serve(host: str | None, port: int | None, config: Path | None) -> None:
    """Serve your providers to clients of OpenAI, Anthropic, Ollama and Berlin.

    Without a configuration it serves the built-in guide. On this machine no key is needed until
    you add one with `berlin key add NAME`; who may log in at the Berlin face is said with
    `berlin account add NAME`. A changed configuration is taken up at once, or at SIGHUP. Ctrl-C
    and SIGTERM stop it: open answers may end first.
    """
    _dump_no_core()
    path = config or config_path()
    # Before it is read, so that later changes are seen.
    seen = files_state(path)
    settings = load_for_commands(config)
    changes: dict[str, Any] = {}
    if host is not None:
        changes["host"] = host
    if port is not None:
        changes["port"] = port
    server = msgspec.structs.replace(settings.server, **changes)
    _refuse_itself(settings, server)
    gateway = build_gateway(settings, keys_path(), path.parent, os.environ)
    accounts = AccountReader(accounts_path())
    _check_keys(server, gateway)
    if not is_loopback(server.host):
        say("berlin: this listens beyond this machine in plain http; put TLS in front of it")
    # A file that has disappeared is a mistake, not a request for the guide.
    named = path if path.exists() else config
    reload = Reload(gateway, lambda: load_for_commands(named))
    _run_fast(lambda: _serve(server, gateway, accounts, lambda: Watch(path, seen, reload).run()))


def _check_keys(server: ServerConfig, gateway: Gateway) -> None:
    add = "add one first, with `berlin key add NAME`"
    if not is_loopback(server.host) and not gateway.guard.needs_key:
        raise ConfigurationError(
            f"{server.host} can be reached from elsewhere, and there are no keys: {add}"
        )
    if gateway.guard.needs_key and gateway.guard.problem and not gateway.guard.keys:
        if requires_keys(server):
            raise ConfigurationError(
                f"[server] require_keys or trusted_proxies is set, and there are no keys: {add}"
            )
        say(
            f"berlin: {gateway.guard.problem} in {keys_path()}; keys were required before, so "
            "nobody is let in until there are keys"
        )
    if server.allowed_hosts and not gateway.guard.needs_key:
        say(
            "berlin: allowed_hosts is set and there are no keys: requests that come through a "
            f"proxy are refused; {add}"
        )


def _dump_no_core() -> None:
    """Disable core dumps: the process's memory contains passwords."""
    with contextlib.suppress(ImportError, OSError, ValueError):  # Windows
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _refuse_itself(settings: Config, server: ServerConfig) -> None:
    first = server.provider or default_provider(settings) or GUIDE
    for name in {first, *settings.providers}:
        if find_provider(name, settings).class_ is not None:
            continue
        url = resolve_settings(name, settings).endpoint.url
        parts = urlsplit(url)
        if is_loopback(parts.hostname or "") and parts.port == server.port != 0:
            raise ConfigurationError(
                f"the URL {url} of the provider {name} is this gateway itself; "
                "choose another port with --port"
            )


async def _serve(
    server: ServerConfig,
    gateway: Gateway,
    accounts: Accounts,
    watch: Callable[[], Coroutine[Any, Any, None]],
) -> None:
    # Whoever sees that it serves may stop it at once, so signals are caught before.
    async with (
        stop_signals() as asked,
        open_server(
            gateway,
            accounts,
            server.host,
            server.port,
            token_lifetime_s=server.token_lifetime_s,
            grace_s=server.grace_s,
            header_timeout_s=server.header_timeout_s,
            max_connections=server.max_connections,
        ) as url,
        _beside(watch(), refresh_models_forever(gateway)),
    ):
        _spare_the_collector()
        names = ", ".join(gateway.catalog.services)
        say(f"berlin: serving {names} on {url} (Ctrl-C stops)")
        await asked.wait()
        say("berlin: stopping")


@contextlib.asynccontextmanager
async def _beside(*jobs: Coroutine[Any, Any, None]) -> Any:
    tasks = [asyncio.create_task(job) for job in jobs]
    await asyncio.sleep(0)  # let each task start and handle its signals before announcing
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _spare_the_collector() -> None:
    """Collect garbage less often, and never scan startup objects again.

    Nearly all objects of a request are freed by reference counting. With Python's default
    thresholds the collector takes a seventh of the gateway's time under load (docs/performance.md).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


def _run_fast(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run on uvloop if installed: it costs less for each piece of a stream."""
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
