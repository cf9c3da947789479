"""Counts open blocks, for waiting until there are none."""

from __future__ import annotations

import asyncio


class OpenCount:
    """Counts open blocks: `with count: …`; any number may be open at a time.

    Attributes:
        now: how many are open.
    """

    def __init__(self) -> None:
        self.now = 0
        self._none: asyncio.Event | None = None  # made when somebody waits for it

    def __enter__(self) -> None:
        self.now += 1

    def __exit__(self, *exc_info: object) -> None:
        self.now -= 1
        if not self.now and self._none is not None:
            self._none.set()

    async def wait_until_none(self) -> None:
        """Wait until nothing is open."""
        while self.now:
            self._none = self._none or asyncio.Event()
            self._none.clear()
            await self._none.wait()
