"""Run the programs of other people: in `.venv-services`, with a home of their own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

SERVICES = Path(__file__).resolve().parents[1]
PYTHON = SERVICES.parents[1] / ".venv-services" / "bin" / "python"
NODE = PYTHON.parent / "node"
READY_S = 60.0
RUN_S = 60.0


def environ(home: Path) -> dict[str, str]:
    """The environment of a program: nothing of the user's, no proxy, no call home."""
    return {
        "PATH": f"{PYTHON.parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(home),
        "LC_ALL": "C.UTF-8",
        "DO_NOT_TRACK": "1",
        "HF_HUB_OFFLINE": "1",
        "LANGSMITH_TRACING": "false",
    }


@asynccontextmanager
async def service(home: Path, *command: str | Path, program: Path = PYTHON) -> AsyncIterator[str]:
    """Run a service for the block, and give the URL that it prints when it answers.

    Raises:
        RuntimeError: it ended before it answered; the message holds the end of what it said.
    """
    said = home / "service.log"
    with said.open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(program, *command), cwd=home, env=environ(home), start_new_session=True,
            stdin=DEVNULL, stdout=PIPE, stderr=log,
        )  # fmt: skip
    assert process.stdout is not None
    try:
        async with asyncio.timeout(READY_S):
            url = (await process.stdout.readline()).decode().strip()
        if not url:
            raise RuntimeError(f"{command[0]} did not start: {said.read_text()[-2000:]}")
        yield url
    finally:
        await _end(process)


async def run(home: Path, *command: str | Path, **more: str) -> tuple[int, str, str]:
    """Run a program to its end: its exit code, what it printed, what it said on stderr."""
    process = await asyncio.create_subprocess_exec(
        *command, cwd=home, env={**environ(home), **more}, start_new_session=True,
        stdin=DEVNULL, stdout=PIPE, stderr=PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(RUN_S):
            out, err = await process.communicate()
    finally:
        await _end(process)
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def _end(process: Process) -> None:
    """Kill a program with those that it has started: `node` is a script that runs the real one."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()
