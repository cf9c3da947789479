"""A spinner on stderr that counts the seconds until an answer arrives."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from berlin.cli.terminal import can_redraw

FRAME_S = 0.1
QUIET_S = 0.4
"""A quick answer shows no spinner at all."""

_FANCY = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_PLAIN = "|/-\\"


@asynccontextmanager
async def spinner() -> AsyncIterator[Callable[[], None]]:
    """Show a spinner, and yield a function that removes it; leaving the context removes it too.

    If stderr is not a terminal that can be redrawn, nothing is shown.
    """
    if not can_redraw():
        yield lambda: None
        return
    encoding = (sys.stderr.encoding or "").lower().replace("-", "")
    frames = itertools.cycle(_FANCY if encoding == "utf8" else _PLAIN)
    began, visible = time.monotonic(), False

    async def spin() -> None:
        nonlocal visible
        await asyncio.sleep(QUIET_S)
        while True:
            _write(f"\r{next(frames)} {time.monotonic() - began:.0f} s")
            visible = True
            await asyncio.sleep(FRAME_S)

    def stop() -> None:  # immediately: text is written next
        nonlocal visible
        task.cancel()
        if visible:
            _write("\r\x1b[K")
            visible = False

    task = asyncio.create_task(spin())
    try:
        yield stop
    finally:
        stop()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def _write(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()
