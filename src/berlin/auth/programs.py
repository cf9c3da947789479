"""Runs a program that prints a secret, with limits on its time and its output."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Sequence

from berlin.errors import ProtocolError


async def run_program(
    command: Sequence[str], timeout_s: float, limit: int
) -> tuple[int | None, bytes, bytes]:
    """Run a program without a shell; return its exit code, its output and its errors.

    Args:
        limit: the longest output in bytes.

    Raises:
        TimeoutError: if it does not end in time.
        ProtocolError: if it prints too much.
        OSError: if it cannot be run.
    """
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=os.name == "posix",
    )
    streams = (process.stdout, process.stderr)
    try:
        async with asyncio.timeout(timeout_s):
            output, complaint = await asyncio.gather(
                *(_read_bounded(stream, limit, command[0]) for stream in streams)
            )
            await process.wait()
    finally:
        if process.returncode is None:
            _kill(process)
            # `wait` waits for the end of the pipes too, and one that is not read has none.
            process._transport.close()  # type: ignore[attr-defined]  # private
            await process.wait()
    return process.returncode, output, complaint


async def _read_bounded(stream: asyncio.StreamReader | None, limit: int, name: str) -> bytes:
    """Read to the end. Raises ProtocolError if it is too long: a program may print forever."""
    pieces, size = [], 0
    while stream is not None and (piece := await stream.read(limit)):
        pieces.append(piece)
        size += len(piece)
        if size > limit:
            raise ProtocolError(f"{name} printed more than {limit} bytes")
    return b"".join(pieces)


def _kill(process: asyncio.subprocess.Process) -> None:
    """Kill a program and its children: a running child would keep the output pipe open."""
    with contextlib.suppress(ProcessLookupError):
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
