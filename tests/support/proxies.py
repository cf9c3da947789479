"""Real proxy servers, tinyproxy and microsocks, each on a port of its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from support.ports import free_port

START_LIMIT_S = 30.0

# Debian keeps servers in sbin, which is not on everybody's PATH.
SEARCH_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"])


class RunningProxy:
    """A proxy that listens on `host:port` and writes what it does into a log."""

    host = "127.0.0.1"

    def __init__(self, port: int, log_file: Path) -> None:
        self.port = port
        self._log_file = log_file

    @property
    def address(self) -> str:
        """The proxy as `host:port`."""
        return f"{self.host}:{self.port}"

    @property
    def log(self) -> str:
        """All that the proxy has written so far."""
        return self._log_file.read_text("utf-8", "replace")

    def url(self, scheme: str, account: str | None = None, password: str | None = None) -> str:
        """Return the URL that a user of the proxy would write."""
        who = "" if account is None else f"{account}:{password}@"
        return f"{scheme}://{who}{self.address}"


@contextlib.contextmanager
def tinyproxy(
    folder: Path, account: str | None = None, password: str | None = None
) -> Iterator[RunningProxy]:
    """Run an HTTP proxy; with an account it asks for Basic authentication."""
    log_file = folder / "tinyproxy.log"

    def command(port: int) -> list[str]:
        # No User and no PidFile: it runs as whoever runs the tests and writes nothing elsewhere.
        # No ConnectPort: any line of it would limit CONNECT to the ports that are named.
        lines = [
            f"Port {port}",
            f"Listen {RunningProxy.host}",
            "Allow 127.0.0.1",
            "Timeout 10",
            "MaxClients 50",
            f'LogFile "{log_file}"',
            "LogLevel Connect",
        ]
        if account is not None:
            lines.append(f"BasicAuth {account} {password}")
        config = folder / "tinyproxy.conf"
        config.write_text("\n".join(lines) + "\n", "utf-8")
        return [_program("tinyproxy"), "-d", "-c", str(config)]

    with _running(command, folder / "tinyproxy.out") as port:
        yield RunningProxy(port, log_file)


@contextlib.contextmanager
def microsocks(
    folder: Path, account: str | None = None, password: str | None = None
) -> Iterator[RunningProxy]:
    """Run a SOCKS5 proxy; with an account it asks for account and password."""
    log_file = folder / "microsocks.log"

    def command(port: int) -> list[str]:
        who = [] if account is None else ["-u", account, "-P", str(password)]
        return [_program("microsocks"), "-i", RunningProxy.host, "-p", str(port), *who]

    with _running(command, log_file) as port:
        yield RunningProxy(port, log_file)


def _program(name: str) -> str:
    found = shutil.which(name, path=SEARCH_PATH)
    if found is None:
        raise RuntimeError(f"{name} is not installed; run: sh tests/system_packages.sh")
    return found


@contextlib.contextmanager
def _running(command: Callable[[int], list[str]], output: Path) -> Iterator[int]:
    port = free_port()
    with output.open("wb") as sink:
        process = subprocess.Popen(command(port), stdout=sink, stderr=sink)
    try:
        _wait_until_it_listens(process, port, output)
        yield port
    finally:
        process.terminate()
        process.wait(START_LIMIT_S)


def _wait_until_it_listens(process: subprocess.Popen[bytes], port: int, output: Path) -> None:
    ends_at = time.monotonic() + START_LIMIT_S
    while time.monotonic() < ends_at:
        with contextlib.suppress(ConnectionRefusedError), socket.socket() as probe:
            probe.connect((RunningProxy.host, port))
            return
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended: {output.read_text('utf-8', 'replace')}")
        time.sleep(0.02)
    raise RuntimeError(f"{process.args!r} does not listen on port {port}")
