"""Counters in a file, for all processes of one machine, and for budgets that outlive a restart."""

from __future__ import annotations

import asyncio
import contextlib
import math
import sqlite3
import time
from collections.abc import Callable, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from berlin.routing.base.clock import Clock
from berlin.routing.base.resting import Resting
from berlin.routing.counters.advance import Advances
from berlin.routing.counters.contract import Before, Calendar, Claim, name_at
from berlin.routing.counters.counter import Counter, reserve_all
from berlin.routing.counters.file import CountersFile
from berlin.routing.counters.owner import process
from berlin.routing.counters.remote import RETRY_RUNNING_S, Owe, Owed, RemoteReply

BUSY_TIMEOUT_S = 2.0
"""The longest wait for a locked file, in seconds. Others lock it for under a millisecond, or for as
long as a busy disk takes; a longer wait is an outage: each process then gets its share of the
limits, and together they may exceed them."""

LOCKED_AGAIN_S = 0.001

SETTLE_WITHIN_S = 0.02
"""How long a settlement waits for a reservation with which it can be written."""

TIDY_EVERY_S = 60.0

Missing: TypeAlias = tuple[str, float, Before]
"""A counter that is missing, the beginning of its period, and what knows what it begins with."""

_T = TypeVar("_T")


def _nothing(*_: object) -> None:
    """A job of no work, with which advances are written."""


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

    Attributes:
        now: the same.
    """

    def __init__(self, path: Path, clock: Clock = time.monotonic, wall: Clock = time.time) -> None:
        super().__init__(f"the counters in {path}")
        self._path = path
        self._clock = clock
        self.now = wall
        self._tidy_at = 0.0
        self._file: CountersFile | None = None
        self._waiting: list[_Job] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._locked_until: float | None = None
        self._in_thread: asyncio.Future[None] | None = None
        self._advances = Advances()
        self._owner = ""
        self._process = process.name
        self._alive = 1

    async def reserve(self, id: str, owner: str, claims: Sequence[Claim]) -> RemoteReply | None:
        """Reserve; see `Remote`."""
        if owner == self._owner and asyncio.get_running_loop() is self._loop:
            wall = self.now()
            taken = self._advances.take(id, claims, self._clock(), wall)
            if taken is not None:
                return RemoteReply(wall, self._alive, tuple(taken))
        before: dict[str, int] = {}

        def work(file: CountersFile, now: float, wall: float) -> RemoteReply | Missing:
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
            held = 0
            if refused is None:
                self._advances.ask(owner, names, claims)
            else:
                held = counters[refused].reserved
            self._owner, self._alive = owner, len(alive)
            return RemoteReply(wall, len(alive), used, refused, wait_s, held)

        while isinstance(reply := await self._run(work), tuple):
            name, begins, ask = reply
            before[name] = await ask(begins)
        return reply

    def settle(self, id: str, owed: Owed, owe: Owe) -> None:
        """Replace reserved amounts; see `Remote`."""
        is_taken = self._advances.settle(id, owed)
        if is_taken and owed.seen is None:
            return

        def work(file: CountersFile, now: float, wall: float) -> bool:
            for claim, amount in () if is_taken else zip(owed.claims, owed.amounts, strict=True):
                name = name_at(claim, owed.at)
                counter = file.load(name) or Counter.of(claim, owed.at)
                if counter.end(id, amount, now):
                    file.save(name, counter)
                elif owed.counted == "no" and amount:
                    counter.add(amount, now)
                    file.save(name, counter)
            return True

        def done(written: bool | None) -> None:
            if not (written or is_taken):
                owe(id, owed)
            owed.end()

        self._waiting.append((work, done))
        with contextlib.suppress(RuntimeError):  # without a loop the next reservation takes it
            loop = asyncio.get_running_loop()
            if owed.seen is None:
                self._wait(loop)
            else:
                loop.call_soon(self._begin)

    async def beat(self, owner: str) -> bool:
        """Report that a process is alive; see `Remote`."""
        return await self._run(lambda file, now, _: file.beat(owner, now)) is not None

    async def report(self) -> bool:
        """Write what was taken from advances, should that have failed; see `Remote`."""
        if self._advances.held:
            await self._run(_nothing)
        return self._advances.held

    async def aclose(self) -> None:
        """Write what waits, give back what was reserved in advance, and close the file."""
        self._advances.close()
        self._rests_until = 0.0  # there is no later attempt
        if self._waiting or self._advances.held:
            await self._run(_nothing)
        if self._in_thread is not None:
            await asyncio.wait([self._in_thread])
        await asyncio.to_thread(self._close)

    async def _run(self, work: _Work[_T]) -> _T | None:
        if self.rests:
            return None
        loop = asyncio.get_running_loop()
        if loop is not self._loop:  # what another loop was to do later may never happen
            self._loop, self._timer, self._retry, self._in_thread = loop, None, None, None
            if self._process != process.name:  # a fork: what waits or is held is its parent's
                self._process, self._advances = process.name, Advances()
                self._waiting.clear()
                self._close()  # its locks are the parent's, too
        done: asyncio.Future[_T | None] = loop.create_future()

        def answer(reply: _T | None) -> None:
            if not done.done():  # or its request was cancelled
                done.set_result(reply)

        self._waiting.append((work, answer))
        loop.call_soon(self._begin)  # with what others ask for in this turn of the loop
        return await done

    def _wait(self, loop: asyncio.AbstractEventLoop) -> None:
        """Write what waits in a moment, if no reservation does before."""
        if self._timer is None:
            self._timer = loop.call_later(SETTLE_WITHIN_S, self._end_of_wait)

    def _end_of_wait(self) -> None:
        self._timer = None
        if self._advances.held and not self._waiting:
            self._waiting.append((_nothing, _nothing))
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
            # No task: a loop that ends would destroy it, with a warning.
            self._in_thread = asyncio.get_running_loop().run_in_executor(None, slow)
            self._in_thread.add_done_callback(self._end_of_thread)

    def _end_of_thread(self, ended: asyncio.Future[None]) -> None:
        self._in_thread = None
        error = ended.exception()
        if error is not None:
            self.rest(error)
        self._begin()

    def _open(self) -> None:
        self._file = CountersFile(self._path)

    def _work(self, file: CountersFile | None) -> None:
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
                now, wall = self._clock(), self.now()
                if now >= self._tidy_at:
                    self._tidy_at = now + TIDY_EVERY_S
                    file.tidy(now, wall)
                self._advances.write(file, now)
                answers = [work(file, now, wall) for work, _ in jobs]
                self._advances.renew(file, now)
                file.commit()
                self._advances.written(now)
                if self._advances.held:
                    self._wait(asyncio.get_running_loop())
        except Exception as error:  # whatever it is, no request may wait for ever
            self.rest(error)
            self._advances.close()
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


_Work: TypeAlias = Callable[[CountersFile, float, float], _T]
_Job: TypeAlias = tuple[_Work[Any], Callable[[Any], None]]
