"""Runs coroutines for callers without an event loop, all on one loop in its own thread.

A permanent loop keeps connections alive between calls, and works even if the caller's thread
already runs a loop.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from collections.abc import AsyncGenerator, Coroutine, Iterator
from typing import Any, TypeVar

from berlin.errors import InvalidRequestError

EXIT_GRACE_S = 1.0

_T = TypeVar("_T")


def run_blocking(coroutine: Coroutine[Any, Any, _T]) -> _T:
    """Run a coroutine to completion and return its result."""
    return _Background.current().run(coroutine)


def iterate_blocking(items: AsyncGenerator[_T]) -> Iterator[_T]:
    """Yield the items of an asynchronous generator; closing this one closes the other."""
    try:
        while True:
            try:
                item = run_blocking(_step(items))
            except _Exhausted:
                return
            yield item
    finally:
        _Background.current().finish(_close(items))


class _Exhausted(Exception):  # not an error: `StopAsyncIteration` cannot be set on a future
    """The generator is exhausted."""


async def _step(items: AsyncGenerator[_T]) -> _T:
    try:
        return await items.__anext__()
    except StopAsyncIteration:
        raise _Exhausted from None


async def _close(items: AsyncGenerator[_T]) -> None:
    await items.aclose()


class _Background:
    _instance: _Background | None = None
    _guard = threading.Lock()

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="berlin-blocking", daemon=True)
        self._thread.start()
        self._ready.wait()

    @classmethod
    def current(cls) -> _Background:
        with cls._guard:
            if cls._instance is None:
                cls._instance = cls()
                atexit.register(cls._instance.stop)
            return cls._instance

    @classmethod
    def after_fork(cls) -> None:
        """Discard the parent's thread, which does not exist in the child, and its lock."""
        cls._instance, cls._guard = None, threading.Lock()

    def run(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        if threading.current_thread() is self._thread:
            coroutine.close()
            raise InvalidRequestError(
                "a blocking call inside a blocking call would deadlock; use ask or text"
            )
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # Ctrl-C here cancels the request there
            raise

    def finish(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine to completion; called from the loop's own thread (by garbage collection),
        only schedule it.
        """
        if threading.current_thread() is self._thread:
            asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        elif self._loop.is_closed():
            coroutine.close()
        else:
            self.run(coroutine)

    def stop(self) -> None:
        if self._pid == os.getpid():
            self._loop.call_soon_threadsafe(self._end.set)
            self._thread.join(EXIT_GRACE_S)

    def _serve(self) -> None:
        asyncio.run(self._until_stopped())

    async def _until_stopped(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._end = asyncio.Event()
        self._ready.set()
        await self._end.wait()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_Background.after_fork)
