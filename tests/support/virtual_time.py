"""An event loop whose clock jumps: hours of waiting take no time, and every run is the same.

run(scenario())  # asyncio.sleep(3600) in it returns at once, an hour later
"""

from __future__ import annotations

import asyncio
import functools
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Stuck(RuntimeError):
    """Everybody waits, and nothing will ever happen."""


class _Jumping(selectors.DefaultSelector):
    """Waits for nothing; the time that would be waited passes at once."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        ready = super().select(0)
        if ready:
            return ready
        if timeout is None:
            raise Stuck("all tasks wait, and no timer is set")
        self.now += timeout
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop on a clock that begins at 0 and jumps from timer to timer."""

    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Return the virtual time."""
        return self._jumping.now


def run(work: Coroutine[Any, Any, _T]) -> _T:
    """Run a coroutine on a virtual loop, and return its result."""
    loop = VirtualLoop()
    try:
        return loop.run_until_complete(work)
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


def virtual(test: Callable[_P, Coroutine[Any, Any, None]]) -> Callable[_P, None]:
    """Make an asynchronous test run on a virtual loop."""

    @functools.wraps(test)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> None:
        run(test(*args, **kwargs))

    return call
