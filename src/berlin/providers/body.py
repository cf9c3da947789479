"""What an answer is read from: the body of one response, or of one after the other."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Protocol

from berlin.errors import BerlinError
from berlin.types import HttpResponse

# After the mark of the end, for the end of the body: then the connection can be used again.
DRAIN_S = 0.1

# JSON has line ends between its tokens only; in broken JSON they do not matter.
_LINE_ENDS = bytes.maketrans(b"\r\n", b"  ")


class Body(Protocol):
    """The bytes of an answer."""

    def read(self) -> Awaitable[bytes]:
        """Return the next bytes; `b""` is the end."""
        ...

    def close(self) -> None:
        """Close the connection, or give it back."""
        ...


class PolledBody:
    """An answer that is asked for again and again: each time, all of it is one line.

    Args:
        fetch: asks once.
        pause_s: seconds between two requests.
    """

    def __init__(self, fetch: Callable[[], Awaitable[HttpResponse]], pause_s: float) -> None:
        self._fetch = fetch
        self._pause_s = pause_s
        self._pause = 0.0

    async def read(self) -> bytes:
        """Return the next line."""
        await asyncio.sleep(self._pause)
        self._pause = self._pause_s
        answer = await self._fetch()
        return answer.body.translate(_LINE_ENDS) + b"\n"

    def close(self) -> None:
        """Do nothing: each response was closed when it was read."""


async def drain(body: Body) -> None:
    """Read a body whose answer is complete to its end, if that comes at once."""
    with contextlib.suppress(BerlinError, TimeoutError):
        async with asyncio.timeout(DRAIN_S):
            while await body.read():
                pass
