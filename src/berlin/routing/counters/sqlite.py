"""Counters in a file, for all processes of one machine, and for budgets that outlive a restart."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from berlin.auth.tokens.private_file import make_private_file, make_private_folder
from berlin.errors import ConfigurationError
from berlin.routing.base.clock import Clock
from berlin.routing.base.resting import Resting
from berlin.routing.counters import sqlite_rows as rows
from berlin.routing.counters.contract import Before, Claim
from berlin.routing.counters.remote import Counted, RemoteReply, Shape

BUSY_TIMEOUT_S = 1.0
"""How long a request waits for a locked file. Others lock it for less than a millisecond, so a
longer wait is an outage: each process then gets its share of the limits."""

TIDY_EVERY_S = 60.0

_T = TypeVar("_T")


class SqliteCounters(Resting):
    """Counters in a file.

    Args:
        path: the file; created if missing, readable by its owner only.
        clock: a monotonic clock that all processes share, in seconds.
        wall: seconds since the epoch, for days and months.

    Raises:
        ConfigurationError: if the file cannot be created.
    """

    def __init__(self, path: Path, clock: Clock = time.monotonic, wall: Clock = time.time) -> None:
        super().__init__(f"the counters in {path}")
        self._path = path
        self._clock = clock
        self._wall = wall
        self._tidy_at = 0.0
        self._file: sqlite3.Connection | None = None
        # One thread: SQLite has one writer.
        self._thread = ThreadPoolExecutor(1, "berlin-counters")
        try:
            make_private_folder(path.parent)
            make_private_file(path)
        except OSError as error:
            raise ConfigurationError(f"the counters in {path} cannot be used: {error}") from error

    def now(self) -> float:
        """Return seconds since the epoch."""
        return self._wall()

    async def reserve(self, id: str, owner: str, claims: Sequence[Claim]) -> RemoteReply | None:
        """Reserve; see `Remote`."""

        before: dict[str, int] = {}

        def work(file: sqlite3.Connection) -> RemoteReply | tuple[str, float, Before]:
            at = rows.Moment(self._clock(), self._wall())
            if at.now >= self._tidy_at:
                self._tidy_at = at.now + TIDY_EVERY_S
                rows.tidy(file, at)
            return rows.missing(file, claims, at, before) or rows.reserve(
                file, id, owner, claims, at
            )

        while isinstance(reply := await self._run(work), tuple):
            counter, begins, ask = reply
            before[counter] = await ask(begins)
        return reply

    async def settle(
        self,
        id: str,
        claims: Sequence[Claim],
        amounts: Sequence[int | None],
        at: float,
        counted: Counted = "yes",
    ) -> bool:
        """Replace reserved amounts; see `Remote`."""

        def work(file: sqlite3.Connection) -> bool:
            for claim, amount in zip(claims, amounts, strict=True):
                shape = Shape.of(claim, at)
                name = shape.name(claim.counter)
                if not rows.end(file, name, id, amount) and counted == "no" and amount:
                    rows.add(file, name, shape, amount, self._clock())
            return True

        return await self._run(work) is True

    async def beat(self, owner: str) -> bool:
        """Report that a process is alive; see `Remote`."""
        return await self._run(lambda file: rows.beat(file, owner, self._clock())) is not None

    async def aclose(self) -> None:
        """Close the file."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown(wait=False)

    async def _run(self, work: Callable[[sqlite3.Connection], _T]) -> _T | None:
        def locked() -> _T | None:
            if self.rests:  # what waited for the thread does not wait for the file, too
                return None
            try:
                with self._transaction() as file:
                    return work(file)
            except (sqlite3.Error, OSError) as error:
                self.rest(error)
                return None

        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, locked)
        except RuntimeError as error:  # it was closed
            self.rest(error)
            return None

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        try:
            file = self._file = self._file or self._open()
            file.execute("BEGIN IMMEDIATE")
            _prepare(file)
            yield file
            file.execute("COMMIT")
        except BaseException:
            # Opened anew next time: it may have been replaced.
            self._close()
            raise

    def _open(self) -> sqlite3.Connection:
        make_private_file(self._path)
        file = sqlite3.connect(
            self._path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
        )
        try:
            with contextlib.suppress(sqlite3.OperationalError):  # another process is doing it
                file.execute("PRAGMA journal_mode = WAL")
            file.execute("PRAGMA synchronous = NORMAL")
        except BaseException:
            file.close()
            raise
        return file

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()  # what is not committed is rolled back
        self._file = None


def _prepare(file: sqlite3.Connection) -> None:
    """Create the tables if they are missing."""
    version = file.execute("PRAGMA user_version").fetchone()[0]
    if not version:
        for statement in rows.SCHEMA:
            file.execute(statement)
    elif version > rows.VERSION:
        raise sqlite3.DatabaseError("it is from a newer version of Berlin")
