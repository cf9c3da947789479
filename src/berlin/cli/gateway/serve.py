"""`berlin serve`: the gateway itself."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

import click
import msgspec

from berlin.cli.gateway.account import accounts_path
from berlin.cli.gateway.key import keys_path
from berlin.cli.options import config_option, load_for_commands
from berlin.cli.terminal import say, tell
from berlin.config import (
    GUIDE,
    Config,
    ServerConfig,
    config_path,
    default_provider,
    find_provider,
    resolve_settings,
)
from berlin.config.schema import MAX_WORKERS
from berlin.errors import BerlinError, ConfigurationError
from berlin.gateway.access.account_reader import AccountReader
from berlin.gateway.access.accounts import Accounts
from berlin.gateway.chat import Gateway
from berlin.gateway.serving.notify import notify
from berlin.gateway.serving.process import run_fast, serve_as_worker
from berlin.gateway.serving.process import serve as serve_process
from berlin.gateway.serving.reload import Reload, check_config
from berlin.gateway.serving.watch import ConfigFiles, Watch, files_state
from berlin.gateway.setup import build_gateway, requires_keys
from berlin.gateway.workers.count import worker_count
from berlin.gateway.workers.listening import Sockets
from berlin.gateway.workers.worker import Worker
from berlin.types import is_loopback

if TYPE_CHECKING:
    _Parameter = click.ParamType[Any]
else:
    _Parameter = click.ParamType  # not generic in the oldest version that is allowed


# Open files that are not connections: databases, logs, libraries.
SPARE_FILES = 64


class _Workers(_Parameter):
    name = "workers"

    def convert(self, value: Any, param: Any, context: Any) -> Any:
        """Return a number of workers, or `auto`."""
        if value == "auto" or isinstance(value, int):
            return value
        if value.isdecimal() and 1 <= int(value) <= MAX_WORKERS:
            return int(value)
        return self.fail(f"{value!r} is not 'auto' or a number from 1 to {MAX_WORKERS}")


@click.command()
@click.option("--host", help="Address to listen on (default: this machine only).")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on (4114).")
@click.option(
    "--workers",
    type=_Workers(),
    metavar="N|auto",
    help="Processes that serve; `auto` is one for each core (1).",
)
@config_option
def serve(
    host: str | None, port: int | None, workers: int | Literal["auto"] | None, config: Path | None
) -> None:
    """Serve your providers to clients of OpenAI, Anthropic, Ollama and Berlin.

    Without a configuration it serves the built-in guide. On this machine no key is needed until
    you add one with `berlin key add NAME`. Accounts for clients of the Berlin protocol are added
    with `berlin account add NAME`. A changed configuration is loaded immediately, or on SIGHUP.
    Ctrl-C and SIGTERM stop the gateway after the answers in progress. With several workers, SIGUSR2
    restarts it without refusing a connection.
    """
    _dump_no_core()
    path = config or config_path()
    # Noted before the file is read, so that later changes are seen.
    seen = files_state(path)
    settings = load_for_commands(config)
    given = {"host": host, "port": port, "workers": workers}
    changes: dict[str, Any] = {name: each for name, each in given.items() if each is not None}
    changes["max_connections"] = allow_files(settings.server.max_connections)
    server = msgspec.structs.replace(settings.server, **changes)
    _refuse_itself(settings, server)
    # A file that has disappeared is a mistake, not a request for the guide.
    named = path if path.exists() else config
    command = _Command(server, path, lambda: load_for_commands(named))
    count = worker_count(server.workers)
    if count == 1:
        command.serve_alone(settings, ConfigFiles(path, seen))
        return
    if not hasattr(os, "fork"):
        raise ConfigurationError("several workers need a system with fork; use --workers 1")
    from berlin.gateway.workers.parent import Parent

    files = ConfigFiles(path, seen)
    parent = Parent(
        count,
        settings,
        files=files,
        load=files.whole(command.load),
        check=check_config,
        main=command.work,
        say=say,
        check_command=_check_command(named),
    )
    sys.exit(parent.run(server.host, server.port))


class _Command:
    """The state shared by the processes of one command.

    Args:
        server: the settings of the gateway, with those of the command line.
        load: reads it again.
    """

    def __init__(self, server: ServerConfig, path: Path, load: Callable[[], Config]) -> None:
        self.load = load
        self._server = server
        self._path = path

    def serve_alone(self, settings: Config, files: ConfigFiles) -> None:
        """Serve in this process."""
        gateway, accounts = self._open(settings, None, first=True)
        watch = Watch(files, Reload(gateway, files.whole(self.load)))

        def started(url: str) -> None:
            names = ", ".join(gateway.catalog.services)
            tell(f"serving {names} on {url} (Ctrl-C stops)")
            notify("READY=1")

        def stopping() -> None:
            tell("stopping")
            notify("STOPPING=1")

        run_fast(
            lambda: serve_process(
                *(self._server, gateway, accounts, watch.run),
                started=started,
                stopping=stopping,
            )
        )

    def work(self, worker: Worker, sockets: Sockets, settings: Config) -> int:
        """Serve as one of several workers, and return the exit code."""
        from berlin.gateway.workers.settings import for_worker, published

        try:
            gateway, accounts = self._open(for_worker(settings, worker), worker, first=worker.first)
        except BerlinError as error:
            tell(error.message)
            return error.exit_code
        reload = Reload(gateway, lambda: for_worker(published(worker.folder), worker))
        run_fast(lambda: serve_as_worker(worker, self._server, gateway, accounts, reload, sockets))
        return 0

    def _open(
        self, settings: Config, worker: Worker | None, *, first: bool
    ) -> tuple[Gateway, Accounts]:
        gateway = build_gateway(settings, keys_path(), self._path.parent, os.environ, worker)
        accounts = AccountReader(accounts_path())
        if first:
            _check_keys(self._server, gateway)
            if not is_loopback(self._server.host):
                tell(
                    "other machines can reach this gateway over plain http; put TLS in front of it"
                )
        return gateway, accounts


def _check_command(config: Path | None) -> list[str]:
    given = [] if config is None else ["--config", str(config)]
    return [sys.executable, "-m", "berlin", "config", "check", *given]


def _check_keys(server: ServerConfig, gateway: Gateway) -> None:
    add = "add one first, with `berlin key add NAME`"
    if not is_loopback(server.host) and not gateway.guard.needs_key:
        raise ConfigurationError(
            f"{server.host} can be reached from other machines, and there are no keys: {add}"
        )
    if gateway.guard.needs_key and gateway.guard.problem and not gateway.guard.keys:
        if requires_keys(server):
            raise ConfigurationError(
                f"[server] require_keys or trusted_proxies is set, and there are no keys: {add}"
            )
        tell(
            f"{gateway.guard.problem} in {keys_path()}; keys were required before, so "
            "every request is refused until there is a key"
        )
    if server.allowed_hosts and not gateway.guard.needs_key:
        tell(
            "allowed_hosts is set and there are no keys: requests that come through a "
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


def allow_files(connections: int) -> int:
    """Raise the limit on open files, and return how many connections it allows.

    Each connection of a client may need another one to a service.
    """
    needed = 2 * connections + SPARE_FILES
    try:
        import resource
    except ImportError:  # Windows
        return connections
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return connections
    wanted = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    allowed = max(1, (soft - SPARE_FILES) // 2)
    if allowed < connections:
        tell(
            f"max_connections is {allowed} instead of {connections:,}, because only {soft} open "
            "files are allowed (ulimit -n)"
        )
    return min(connections, allowed)
