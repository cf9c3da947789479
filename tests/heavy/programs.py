"""Run a service that somebody else wrote, in an environment and a home of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

ENVIRONMENTS = Path(__file__).parents[2] / ".venv-heavy"
READY_S = 300.0


@asynccontextmanager
async def service(
    home: Path, environment: str, *command: str, port: int, ready: str = "/", **more: str
) -> AsyncIterator[str]:
    """Run a program of an environment for the block, and give its URL when it answers.

    Args:
        home: its home, and where its log is written.
        environment: the name of the folder below `.venv-heavy`.
        command: the program and its arguments.
        port: where it listens.
        ready: the path that answers when it is ready.
        more: variables of its environment.

    Raises:
        RuntimeError: if it ends before it answers; the message has the end of its log.
    """
    folder = ENVIRONMENTS / environment / "bin"
    environ = {
        "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(home),
        "LC_ALL": "C.UTF-8",
        "DO_NOT_TRACK": "1",
        "HF_HUB_OFFLINE": "1",
        **more,
    }
    log = home / "service.log"
    url = f"http://127.0.0.1:{port}"
    with log.open("wb") as said:
        process = await asyncio.create_subprocess_exec(
            folder / command[0],
            *command[1:],
            cwd=home,
            env=environ,
            stdin=DEVNULL,
            stdout=said,
            stderr=said,
        )
    try:
        async with asyncio.timeout(READY_S), aiohttp.ClientSession() as session:
            while True:
                if process.returncode is not None:
                    raise RuntimeError(f"{command[0]} ended: {log.read_text()[-2000:]}")
                with contextlib.suppress(aiohttp.ClientError):
                    async with session.get(url + ready) as answer:
                        if answer.status < 500:
                            break
                await asyncio.sleep(0.5)
        yield url
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
