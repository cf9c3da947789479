"""A spinner on stderr that counts the seconds until an answer arrives."""

from __future__ import annotations

import asyncio
import contextlib
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
async def spinner(what: str = "") -> AsyncIterator[Callable[[], None]]:
    """Show a spinner, and yield a function that removes it; leaving the context removes it too.

    If stderr is not a terminal that can be redrawn, nothing is shown.
    """
    if not can_redraw():
        yield lambda: None
        return
    shown = _Shown(what)
    task = asyncio.create_task(shown.run())

    def stop() -> None:
        task.cancel()
        shown.clear()

    try:
        yield stop
    finally:
        stop()
        with contextlib.suppress(asyncio.CancelledError):
            await task


class _Shown:
    """The line of the spinner."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._visible = False
        encoding = (sys.stderr.encoding or "").lower().replace("-", "")
        self._frames = _FANCY if encoding == "utf8" else _PLAIN

    async def run(self) -> None:
        began = time.monotonic()
        await asyncio.sleep(QUIET_S)
        n = 0
        while True:
            frame = self._frames[n % len(self._frames)]
            self._write(f"\r{frame} {self._what}{time.monotonic() - began:.0f} s")
            self._visible = True
            await asyncio.sleep(FRAME_S)
            n += 1

    def clear(self) -> None:
        if self._visible:
            self._write("\r\x1b[K")
            self._visible = False

    def _write(self, text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()
