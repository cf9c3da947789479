"""Starts real processes that share tokens, and a real Redis for them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any

from support import warm
from support.patience import patience
from support.ports import free_port
from support.token_service import RECIPE, TokenService

WORKER = Path(__file__).with_name("token_worker.py")
READY_S = 30.0


class Workers:
    """Processes that wait for work."""

    def __init__(self, processes: list[warm.Running]) -> None:
        self.processes = processes

    async def ask(self, requests: int = 1, only: list[int] | None = None) -> list[dict[str, Any]]:
        """Let all processes (or those with these numbers) send requests at the same time."""
        chosen = [self.processes[n] for n in (only or range(len(self.processes)))]
        for process in chosen:
            process.stdin.write(f"{requests}\n".encode())
        reports = await asyncio.gather(*(_line(process) for process in chosen))
        return [json.loads(report) for report in reports]


@asynccontextmanager
async def workers(
    count: int, service: TokenService, folder: Path, store: str, account: str = "ann"
) -> AsyncIterator[Workers]:
    """Start processes with one configuration and a token store of their own."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "strict.toml").write_text(RECIPE)
    config = folder / "berlin.toml"
    config.write_text(
        f'[tokens]\nstore = "{store}"\nkey = "a key for the tests only"\n'
        '[providers.strict]\nrecipe = "strict.toml"\n'
    )
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith("BERLIN_")},
        "XDG_DATA_HOME": str(folder / "data"),
        "BERLIN_CONFIG": str(config),
    }
    args, code = (str(config), account, service.url), WORKER.read_text()
    async with contextlib.AsyncExitStack() as until:
        processes = [
            await until.enter_async_context(warm.started(args, environ, code)) for _ in range(count)
        ]
        await asyncio.gather(*(_line(process) for process in processes))
        yield Workers(processes)


class Redis:
    """A Redis server of its own; `pause`, `resume`, `stop` and `start` it."""

    def __init__(self, folder: Path, address: str = "127.0.0.1") -> None:
        self._folder = folder
        self._address = address
        self.port = free_port(address)
        self.url = f"redis://{address}:{self.port}/0"
        self._process: Process | None = None

    async def start(self) -> None:
        """Start it, and wait until it answers."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._process = await asyncio.create_subprocess_exec(
            "redis-server", "--port", str(self.port), "--bind", self._address,
            "--protected-mode", "no", "--save", "", "--appendonly", "no",
            "--dir", str(self._folder), stdout=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        async with asyncio.timeout(READY_S):
            while not await self._answers():
                await asyncio.sleep(0.02)

    async def stop(self) -> None:
        """Kill it; what it held is lost."""
        if self._process is not None:
            self.resume()
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
            self._process = None

    def pause(self) -> None:
        """Let it hang (SIGSTOP)."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on (SIGCONT)."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGCONT)

    async def command(self, *words: str) -> bytes:
        """Send one command, and return the beginning of what it answers."""
        reader, writer = await asyncio.open_connection(self._address, self.port)
        try:
            writer.write(" ".join(words).encode() + b"\r\n")
            return await reader.read(65536)
        finally:
            writer.close()
            await writer.wait_closed()

    async def _answers(self) -> bool:
        with contextlib.suppress(OSError):
            return (await self.command("PING")).startswith(b"+PONG")
        return False


@asynccontextmanager
async def redis_server(folder: Path, patience_s: float | None = 10.0) -> AsyncIterator[Redis]:
    """Run a Redis for the block; each operation has so much time, or else the usual time."""
    redis = Redis(folder)
    await redis.start()
    try:
        with nullcontext() if patience_s is None else patience(patience_s):
            yield redis
    finally:
        await redis.stop()


async def _line(process: warm.Running) -> str:
    line = await asyncio.wait_for(process.stdout.readline(), READY_S)
    return line.decode()
