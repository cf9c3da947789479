"""The source of an answer's bytes: the body of one response, or of several polled ones."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Protocol

from berlin.errors import BerlinError
from berlin.types import HttpResponse

# Seconds to wait for the end of the body after the end marker, to reuse the connection.
DRAIN_S = 0.1

# JSON has line ends only between tokens; in broken JSON they do not matter.
_LINE_ENDS = bytes.maketrans(b"\r\n", b"  ")


class Body(Protocol):
    """The bytes of an answer."""

    def read(self) -> Awaitable[bytes]:
        """Return the next bytes; `b""` is the end."""
        ...

    def close(self) -> None:
        """Close the connection, or return it to the pool."""
        ...


class PolledBody:
    """A polled answer: each response is one line.

    Args:
        fetch: sends one poll.
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
    """Read the rest of a body whose answer is complete, if it arrives immediately."""
    with contextlib.suppress(BerlinError, TimeoutError):
        async with asyncio.timeout(DRAIN_S):
            while await body.read():
                pass
