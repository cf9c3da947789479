"""Work that an answer starts and does not wait for."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


class Background:
    """Keeps what runs beside the answers, so that it is neither collected nor forgotten."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def begin(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any] | None:
        """Run something in the background; return its task, or `None` if there is no loop."""
        try:
            task = asyncio.get_running_loop().create_task(work)
        except RuntimeError:  # an answer was dropped, and its event loop is gone
            work.close()
            return None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def __len__(self) -> int:
        return len(self._tasks)

    async def settle(self, timeout_s: float) -> None:
        """Wait until all of it has ended, but no longer than this."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=timeout_s)
