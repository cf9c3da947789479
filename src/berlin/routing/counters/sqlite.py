"""Counters in a file, for all processes of one machine, and for budgets that outlive a restart."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import msgspec

from berlin.auth.tokens.private_file import make_private_file, make_private_folder
from berlin.routing.base.clock import Clock
from berlin.routing.base.resting import Resting
from berlin.routing.counters.contract import (
    OWNER_EXPIRES_S,
    Before,
    Calendar,
    Claim,
    name_at,
)
from berlin.routing.counters.counter import Counter, reserve_all
from berlin.routing.counters.remote import RETRY_RUNNING_S, Owed, RemoteReply

BUSY_TIMEOUT_S = 2.0
"""The longest wait for a locked file, in seconds. Others lock it for under a millisecond, or for as
long as a busy disk takes; a longer wait is an outage: each process then gets its share of the
limits, and together they may exceed them."""

LOCKED_AGAIN_S = 0.001

SETTLE_WITHIN_S = 0.02
"""How long a settlement waits for a reservation with which it can be written."""

MAX_COMMITS = 1_000
"""After so many, the log is moved into the file."""

SEEN_FOR_S = 1.0
"""How long an owner counts as just seen, so that not each reservation has to write that."""

TIDY_EVERY_S = 60.0

VERSION = 2
_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, gone_at REAL NOT NULL, "
    "ends REAL NOT NULL, state BLOB NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS owners (owner TEXT PRIMARY KEY, seen_at REAL NOT NULL) "
    "WITHOUT ROWID",
)

Missing: TypeAlias = tuple[str, float, Before]
"""A counter that is missing, the beginning of its period, and what knows what it begins with."""

_T = TypeVar("_T")


class SqliteCounters(Resting):
    """Counters in a file.

    What waits shares one transaction, in the order in which it came. It is made in the event loop,
    because a turn to a thread costs more; a thread opens the file, and moves what was committed
    from its log into it, because both wait for the disk. A settlement that nobody awaits waits a
    moment for a reservation: if this process is killed before, the reservation stays counted, as
    that of every request that was running.

    Args:
        path: the file; created when it is first used, readable by its owner only.
        clock: a monotonic clock that all processes share, in seconds.
        wall: seconds since the epoch, for days and months.
    """

    def __init__(self, path: Path, clock: Clock = time.monotonic, wall: Clock = time.time) -> None:
        super().__init__(f"the counters in {path}")
        self._path = path
        self._clock = clock
        self._wall = wall
        self._tidy_at = 0.0
        self._file: _File | None = None
        self._waiting: list[_Job] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._locked_until: float | None = None
        self._in_thread: asyncio.Task[None] | None = None

    def now(self) -> float:
        """Return seconds since the epoch."""
        return self._wall()

    async def reserve(self, id: str, owner: str, claims: Sequence[Claim]) -> RemoteReply | None:
        """Reserve; see `Remote`."""

        before: dict[str, int] = {}

        def work(file: _File, now: float, wall: float) -> RemoteReply | Missing:
            alive = file.beat(owner, now)
            names, counters = [], []
            for claim in claims:
                name, window = name_at(claim, wall), claim.window
                counter = file.load(name)
                if counter is None:
                    counter = Counter.of(claim, wall)
                    if claim.before is not None and isinstance(window, Calendar):
                        if name not in before:
                            return name, window.bounds(wall)[0], claim.before
                        counter.used = before[name]
                names.append(name)
                counters.append(counter)
            refused, wait_s = reserve_all(id, claims, counters, now, wall, owner, alive)
            for name, counter in zip(names, counters, strict=True):
                file.save(name, counter)
            used = tuple([counter.used for counter in counters])
            if math.isinf(wait_s):
                wait_s = RETRY_RUNNING_S
            held = 0 if refused is None else counters[refused].reserved
            return RemoteReply(wall, len(alive), used, refused, wait_s, held)

        while isinstance(reply := await self._run(work), tuple):
            name, begins, ask = reply
            before[name] = await ask(begins)
        return reply

    def settle(self, id: str, owed: Owed, done: Callable[[bool], None]) -> None:
        """Replace reserved amounts; see `Remote`."""

        def work(file: _File, now: float, wall: float) -> bool:
            for claim, amount in zip(owed.claims, owed.amounts, strict=True):
                name = name_at(claim, owed.at)
                counter = file.load(name) or Counter.of(claim, owed.at)
                if counter.end(id, amount, now):
                    file.save(name, counter)
                elif owed.counted == "no" and amount:
                    counter.add(amount, now)
                    file.save(name, counter)
            return True

        if self.rests:
            done(False)
            return
        self._waiting.append((work, lambda answer: done(answer is True)))
        with contextlib.suppress(RuntimeError):  # without a loop the next reservation takes it
            loop = asyncio.get_running_loop()
            if owed.awaited:
                loop.call_soon(self._begin)
            elif self._timer is None:
                self._timer = loop.call_later(SETTLE_WITHIN_S, self._end_of_wait)

    async def beat(self, owner: str) -> bool:
        """Report that a process is alive; see `Remote`."""
        return await self._run(lambda file, now, _: file.beat(owner, now)) is not None

    async def report(self) -> bool:
        """Do nothing: a file does not lose its data; see `Remote`."""
        return False

    async def aclose(self) -> None:
        """Write what waits, and close the file."""
        if self._waiting:
            await self._run(lambda *_: None)
        if self._in_thread is not None:
            await asyncio.wait([self._in_thread])
        await asyncio.to_thread(self._close)

    async def _run(self, work: _Work[_T]) -> _T | None:
        if self.rests:
            return None
        loop = asyncio.get_running_loop()
        if loop is not self._loop:  # what another loop was to do later may never happen
            self._loop, self._timer, self._retry, self._in_thread = loop, None, None, None
        done: asyncio.Future[_T | None] = loop.create_future()

        def answer(reply: _T | None) -> None:
            if not done.done():  # or its request was cancelled
                done.set_result(reply)

        self._waiting.append((work, answer))
        loop.call_soon(self._begin)  # with what others ask for in this turn of the loop
        return await done

    def _end_of_wait(self) -> None:
        self._timer = None
        self._begin()

    def _look_again(self) -> None:
        self._retry = None
        self._begin()

    def _begin(self) -> None:
        """Do what waits, unless a thread is opening the file, or another process has it."""
        if not self._waiting or self._retry is not None:
            return
        file = self._file
        if file is not None or self.rests:  # what waited does not wait for the file, too
            self._work(file)
        if self._in_thread is None and not self.rests and (file is None or file.is_long):
            slow = self._open if file is None else file.shorten
            self._in_thread = asyncio.create_task(self._do_in_thread(slow))

    async def _do_in_thread(self, slow: Callable[[], None]) -> None:
        try:
            await asyncio.to_thread(slow)
        except Exception as error:
            self.rest(error)
        finally:
            self._in_thread = None
        self._begin()

    def _open(self) -> None:
        self._file = _File(self._path)

    def _work(self, file: _File | None) -> None:
        """Make one transaction of what waits, or look again in a moment if the file is locked."""
        answers: Sequence[object] = ()
        jobs = self._waiting
        try:
            if file is not None and not self.rests:
                if not file.begin():
                    self._wait_for_others()
                    return
                self._locked_until = None
                # Read only now: others may have written while this process waited for the file.
                now, wall = self._clock(), self._wall()
                if now >= self._tidy_at:
                    self._tidy_at = now + TIDY_EVERY_S
                    file.tidy(now, wall)
                answers = [work(file, now, wall) for work, _ in jobs]
                file.commit()
        except Exception as error:  # whatever it is, no request may wait for ever
            self.rest(error)
            self._close()  # it may have been replaced
            answers = ()
        self._waiting = []
        for (_, done), answer in zip_longest(jobs, answers):
            done(answer)

    def _wait_for_others(self) -> None:
        """Look again in a moment. Raises OperationalError after `BUSY_TIMEOUT_S`."""
        loop = asyncio.get_running_loop()
        if self._locked_until is None:
            self._locked_until = loop.time() + BUSY_TIMEOUT_S
        elif loop.time() > self._locked_until:
            self._locked_until = None
            raise sqlite3.OperationalError("another process keeps it locked")
        self._retry = loop.call_later(LOCKED_AGAIN_S, self._look_again)

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file = None


class _File:
    """The open file. What it has read is kept until another process writes to it."""

    def __init__(self, path: Path) -> None:
        make_private_folder(path.parent)
        make_private_file(path)
        self._path = path
        self._counters: dict[str, Counter] = {}
        self._changed: set[str] = set()
        self._commits = 0
        self._owners: dict[str, float] = {}
        self._version = -1
        self._file = _connect(path)
        try:
            self._stat = path.stat()
            self.shorten()
            self._file.execute("PRAGMA busy_timeout = 0")
        except BaseException:
            self._file.close()
            raise

    @property
    def is_long(self) -> bool:
        """Whether so much was committed that it is time to `shorten` the log."""
        return self._commits >= MAX_COMMITS

    def shorten(self) -> None:
        """Move what was committed from the log into the file, on a connection of its own, and begin
        the log again: its first write waits for the disk, too."""
        self._commits = 0
        with contextlib.closing(_connect(self._path)) as file:
            file.execute("PRAGMA wal_checkpoint").fetchall()
            file.execute("BEGIN IMMEDIATE")
            _prepare(file)
            file.execute("COMMIT")

    def begin(self) -> bool:
        """Keep other processes out until `commit`; return `False` if one of them does so now. If
        anything raises, the file is to be closed.
        """
        try:
            self._file.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
            return False
        version = self._file.execute("PRAGMA data_version").fetchone()[0]
        if version != self._version:
            self._version = version
            self._counters.clear()
            self._owners = dict(self._file.execute("SELECT owner, seen_at FROM owners"))
        return True

    def commit(self) -> None:
        """Write what was saved."""
        for name in self._changed:
            counter = self._counters[name]
            # One that counts nothing, and is of no day or month, is deleted.
            if counter.used or counter.held or counter.ends:
                row = (name, counter.gone_at, counter.ends, _encode(counter))
                self._file.execute("INSERT OR REPLACE INTO counters VALUES (?, ?, ?, ?)", row)
            else:
                self._file.execute("DELETE FROM counters WHERE name = ?", (name,))
        self._changed.clear()
        self._file.execute("COMMIT")
        self._commits += 1

    def load(self, name: str) -> Counter | None:
        """Return a counter, if there is one."""
        counter = self._counters.get(name)
        if counter is None:
            rows = self._file.execute("SELECT state FROM counters WHERE name = ?", (name,))
            for (state,) in rows.fetchall():
                counter = self._counters[name] = _decode(state)
        return counter

    def save(self, name: str, counter: Counter) -> None:
        """Store a counter with the next `commit`."""
        self._counters[name] = counter
        self._changed.add(name)

    def beat(self, owner: str, now: float) -> set[str]:
        """Record that a process is alive; return all that are."""
        if not 0.0 <= now - self._owners.get(owner, math.inf) < SEEN_FOR_S:
            self._owners[owner] = now
            self._file.execute("INSERT OR REPLACE INTO owners VALUES (?, ?)", (owner, now))
        # The later ones are from before a restart of the machine.
        return {name for name, at in self._owners.items() if now - OWNER_EXPIRES_S < at <= now}

    def tidy(self, now: float, wall: float) -> None:
        """Delete owners that are gone, days and months that are over, and empty windows.

        Raises:
            OSError: if the file was deleted or replaced, so that others count in another one.
        """
        if not os.path.samestat(self._stat, self._path.stat()):
            raise OSError("it was replaced")
        self._counters.clear()
        gone = (now - OWNER_EXPIRES_S, now)
        self._file.execute("DELETE FROM owners WHERE seen_at <= ? OR seen_at > ?", gone)
        self._file.execute(
            "DELETE FROM counters WHERE (ends > 0 AND ends < ?) OR (gone_at > 0 AND gone_at <= ?)",
            (wall - 3600, now),
        )

    def close(self) -> None:
        """Close it; what is not committed is rolled back."""
        self._file.close()


def _connect(path: Path) -> sqlite3.Connection:
    file = sqlite3.connect(
        path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
    )
    try:
        with contextlib.suppress(sqlite3.OperationalError):  # another process is doing it
            file.execute("PRAGMA journal_mode = WAL")
        file.execute("PRAGMA synchronous = NORMAL")  # only `shorten` waits for the disk
        file.execute("PRAGMA wal_autocheckpoint = 0")
    except BaseException:
        file.close()
        raise
    return file


def _prepare(file: sqlite3.Connection) -> None:
    """Create the tables if they are missing; write something in any case."""
    version = file.execute("PRAGMA user_version").fetchone()[0]
    if version not in (0, VERSION):
        raise sqlite3.DatabaseError("it is from another version of Berlin")
    for statement in _SCHEMA:
        file.execute(statement)
    file.execute(f"PRAGMA user_version = {VERSION}")


_Work: TypeAlias = Callable[[_File, float, float], _T]
_Job: TypeAlias = tuple[_Work[Any], Callable[[Any], None]]


_decode = msgspec.msgpack.Decoder(Counter).decode
_encode = msgspec.msgpack.Encoder().encode
