"""Delivers the journals to the database, in batches, on a thread of its own.

One writer for each process: a slow database delays no request, and one that is away is tried again
until it is back. What a process that is gone has left behind is delivered, too.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
import random
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from berlin.errors import BerlinError, UnavailableError
from berlin.ledger.entry import Entry
from berlin.ledger.figures import Figures, Query
from berlin.ledger.journal import Journal
from berlin.ledger.left_behind import find_left_behind

if TYPE_CHECKING:
    from berlin.ledger.database.store import Store

BATCH_S = 0.25
# How often journals without a process are looked for, and old rows deleted.
LOOK_ROUND_S = 5.0
EXPIRE_EVERY_S = 3600.0
LONGEST_PAUSE_S = 10.0
CLOSE_S = 5.0
SUMS_S = 10.0

_log = logging.getLogger("berlin.ledger")


class LedgerCounts(msgspec.Struct):
    """Counts of what the ledger has done since the start.

    Attributes:
        written: rows written into the database.
        lost: rows that neither the database nor the journal has.
        refused: requests refused because their row could not be written.
        failures: failed attempts to write into the database.
        waiting_bytes: bytes in the journal that the database does not have yet.
        works: whether the last attempt to write into the database succeeded.
    """

    written: int = 0
    lost: int = 0
    refused: int = 0
    failures: int = 0
    waiting_bytes: int = 0
    works: bool = True


class Writer:
    """The thread that delivers.

    Args:
        journal: the journal of this process.
        folder: the folder of all journals.
        open_rows: opens the database; called on the thread.
        keep_days: after how many days rows are deleted; `None` keeps them.
        clock: seconds since the epoch.

    Attributes:
        counts: what it has done.
    """

    def __init__(
        self,
        journal: Journal,
        folder: Path,
        open_rows: Callable[[], Store],
        keep_days: int | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.counts = LedgerCounts()
        self._journal = journal
        self._folder = folder
        self._open_rows = open_rows
        self._keep_days = keep_days
        self._clock = clock
        self._look_at = self._expire_at = 0.0
        self._unreadable: set[str] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._rows: Store | None = None
        self._news = asyncio.Event()
        self._closing = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._ready = threading.Event()
        self._woken = False
        # A daemon thread: a database that hangs does not keep the process alive.
        self._thread = threading.Thread(target=self._main, name="ledger", daemon=True)
        self._thread.start()
        self._ready.wait()

    def wake(self) -> None:
        """Say that there are rows; cheap if that was said already."""
        if not self._woken:
            self._woken = True
            self._call(self._news.set)

    async def sums(self, query: Query) -> list[Figures]:
        """Sum up rows.

        Raises:
            UnavailableError: if the database is away.
        """
        loop, rows = self._loop, self._rows
        if loop is None or rows is None or loop.is_closed():
            raise UnavailableError("the ledger is closed")
        asked = asyncio.run_coroutine_threadsafe(rows.sums(query), loop)
        try:
            return await asyncio.wait_for(asyncio.wrap_future(asked), SUMS_S)
        except (TimeoutError, concurrent.futures.CancelledError):
            raise UnavailableError("the ledger's database does not answer") from None

    def close(self) -> bool:
        """Deliver the rest, in bounded time; return whether the thread has ended."""
        self._call(self._closing.set)
        self._call(self._news.set)
        self._thread.join(CLOSE_S)
        if self._thread.is_alive() and self._task is not None:
            self._call(self._task.cancel)
            self._thread.join(1.0)
        return not self._thread.is_alive()

    def _call(self, what: Callable[[], object]) -> None:
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(what)

    def _main(self) -> None:
        try:
            asyncio.run(self._run())
        except asyncio.CancelledError:
            _log.error("ledger.stopped the database hangs; rows are kept in %s", self._folder)
        except Exception:
            _log.exception("ledger.stopped rows are kept in %s", self._folder)
        finally:
            self._ready.set()

    async def _run(self) -> None:
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        rows = self._rows = self._open_rows()
        self._ready.set()
        try:
            await self._deliver_until_closed(rows)
        finally:
            await rows.close()

    async def _deliver_until_closed(self, rows: Store) -> None:
        pause = 0.0
        while True:
            closing = self._closing.is_set()
            self._news.clear()
            self._woken = False
            try:
                if not self.counts.works:
                    await rows.check()  # it may be another database now, or lack an upgrade
                await self._deliver(rows)
                if not closing:
                    await self._tidy(rows)
                pause = 0.0
                self._note(None)
            except (BerlinError, OSError, ValueError, OverflowError) as error:
                self._note(error)
                pause = min(max(2 * pause, 0.5), LONGEST_PAUSE_S)
            if closing:
                return
            if not pause:
                await _wait(self._news, LOOK_ROUND_S)
            wait_s = pause * random.uniform(0.5, 1.0) if pause else BATCH_S  # noqa: S311  # jitter
            await _wait(self._closing, wait_s)

    async def _tidy(self, rows: Store) -> None:
        """Do what is due besides the rows of this process."""
        now = asyncio.get_running_loop().time()
        if now >= self._look_at:
            if self._journal.restore():
                _log.error("ledger.journal_deleted rows now go to new files in %s", self._folder)
            await self._deliver_left_behind(rows)
            self._look_at = now + LOOK_ROUND_S
        if self._keep_days is not None and now >= self._expire_at:
            today = datetime.fromtimestamp(self._clock(), UTC)
            await rows.expire(today - timedelta(days=self._keep_days))
            self._expire_at = now + EXPIRE_EVERY_S

    async def _deliver(self, rows: Store) -> None:
        """Write what this process has in its journal."""
        while (batch := self._journal.read()) is not None:
            if batch.entries:
                await self._insert(rows, batch.entries)
            batch.deliver()

    async def _deliver_left_behind(self, rows: Store) -> None:
        for left in find_left_behind(self._folder):
            count = 0
            try:
                for batch in left.batches():
                    await self._insert(rows, batch)
                    count += len(batch)
                left.remove()
            except OSError as error:  # a damaged one keeps neither the others nor new rows back
                if left.name not in self._unreadable:
                    self._unreadable.add(left.name)
                    _log.error("ledger.unreadable journal=%s: %s", left.name, error)
            if count:
                _log.info("ledger.recovered rows=%d journal=%s", count, left.name)

    async def _insert(self, rows: Store, entries: list[Entry]) -> None:
        storable = [entry for entry in entries if entry.has_date]
        if storable:
            await rows.insert(storable)
        self.counts.written += len(storable)
        if lost := [entry for entry in entries if not entry.has_date]:
            self.counts.lost += len(lost)
            _log.error(
                "ledger.no_date rows=%d first=%s: this machine's clock is wrong, and no calendar "
                "has their time",
                len(lost),
                lost[0].id,
            )

    def _note(self, error: Exception | None) -> None:
        """Count and log whether the database works; only a change is logged."""
        worked, self.counts.works = self.counts.works, error is None
        if error is not None:
            self.counts.failures += 1
            if worked:
                said = error.message if isinstance(error, BerlinError) else str(error)
                _log.error("ledger.away rows are kept in %s: %s", self._folder, said)
        elif not worked:
            _log.warning("ledger.back the rows kept meanwhile are written")


async def _wait(event: asyncio.Event, seconds: float) -> None:
    """Wait for an event, for a bounded time."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
