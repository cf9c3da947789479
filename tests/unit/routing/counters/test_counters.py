"""Counters: one contract, in memory and in a file, on a clock that the test moves."""

from __future__ import annotations

import asyncio
import math
import sqlite3
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from berlin.routing.counters.contract import (
    OWNER_EXPIRES_S,
    RUNNING,
    Calendar,
    Claim,
    Counters,
    Refusal,
    Reservation,
    Sliding,
)
from berlin.routing.counters.file import CountersFile
from berlin.routing.counters.memory import MemoryCounters
from berlin.routing.counters.shared import SharedCounters
from berlin.routing.counters.sqlite import SqliteCounters

NOON = 1_795_000_000.0  # some time in November 2026
MINUTE = Sliding(60.0)


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def wall(self) -> float:
        return NOON + self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["memory", "file"])
async def counters(
    request: pytest.FixtureRequest, tmp_path: Path, clock: Clock
) -> AsyncIterator[Counters]:
    """Counters of each kind."""
    local = MemoryCounters(clock, clock.wall)
    if request.param == "memory":
        yield local
        return
    shared = SharedCounters(SqliteCounters(tmp_path / "c", clock, clock.wall), local)
    yield shared
    await shared.aclose()


async def reserve(counters: Counters, id: str, *claims: Claim) -> Reservation:
    """Reserve what must fit."""
    told = await counters.reserve(id, claims)
    assert isinstance(told, Reservation), told
    return told


async def refuse(counters: Counters, id: str, *claims: Claim) -> Refusal:
    """Return why something does not fit."""
    told = await counters.reserve(id, claims)
    assert isinstance(told, Refusal), told
    return told


async def test_a_sliding_window(counters: Counters, clock: Clock) -> None:
    """In no 60 seconds is there more than the limit; the wait is honest."""
    claim = Claim("k", MINUTE, 2, kept=True)
    await reserve(counters, "a", claim)
    clock.now = 10
    assert (await reserve(counters, "b", claim)).used == (2,)
    clock.now = 59
    refused = await refuse(counters, "c", claim)
    assert (refused.used, refused.wait_s) == (2, pytest.approx(1))
    clock.now = 60
    await reserve(counters, "c", claim)
    assert (await refuse(counters, "d", claim)).wait_s == pytest.approx(10)


async def test_costs_take_the_place_of_reservations(counters: Counters) -> None:
    """What an answer has cost counts, not what was reserved; what is undone does not count."""
    claim = Claim("k", MINUTE, 100, 40)
    first, second = [await reserve(counters, id, claim) for id in "ab"]
    await refuse(counters, "c", claim)
    counters.settle(first, [5])
    counters.settle(second, [0])
    await asyncio.sleep(0.01)
    assert (await reserve(counters, "c", claim)).used == (45,)


async def test_a_locked_file_costs_one_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of many requests that meet a locked file one waits for it; each gets this process's share."""
    monkeypatch.setattr("berlin.routing.counters.sqlite.BUSY_TIMEOUT_S", 0.01)
    counters = SharedCounters(SqliteCounters(tmp_path / "c"))
    claim = Claim("k", MINUTE, 3)
    await reserve(counters, "a", claim)
    other = sqlite3.connect(tmp_path / "c", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    waits: list[None] = []
    closed = SqliteCounters._close
    monkeypatch.setattr(SqliteCounters, "_close", lambda self: (waits.append(None), closed(self)))
    tries: list[None] = []
    begin = CountersFile.begin
    monkeypatch.setattr(CountersFile, "begin", lambda self: (tries.append(None), begin(self))[1])
    told = await asyncio.gather(*(counters.reserve(f"b{n}", [claim]) for n in range(90)))
    assert len(waits) == 1
    assert len(tries) < 20  # one millisecond after the other, however many wait
    assert sum(isinstance(one, Reservation) for one in told) == 2
    other.close()
    await counters.aclose()


async def test_one_turn_is_one_transaction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Concurrent reservations share a transaction with the settlement before them; a stop writes
    the settlements that still wait."""
    claim = Claim("k", Calendar("day"), 100, 10)
    counters = SharedCounters(SqliteCounters(tmp_path / "c"))
    first = await reserve(counters, "a", claim)
    commits: list[None] = []
    commit = CountersFile.commit
    monkeypatch.setattr(CountersFile, "commit", lambda self: (commits.append(None), commit(self)))
    counters.settle(first, [1])
    later = await asyncio.gather(*(reserve(counters, f"b{n}", claim) for n in range(5)))
    assert sorted(one.used for one in later) == [(11,), (21,), (31,), (41,), (51,)]
    assert len(commits) == 1
    for one in later:
        counters.settle(one, [1])
    await counters.aclose()
    counters = SharedCounters(SqliteCounters(tmp_path / "c"))
    assert (await reserve(counters, "c", claim)).used == (16,)
    await counters.aclose()


async def test_all_or_nothing(counters: Counters) -> None:
    """A request that does not fit into one counter reserves nothing of the others."""
    small, large = Claim("small", MINUTE, 1), Claim("large", MINUTE, 10)
    await reserve(counters, "a", small)
    assert (await refuse(counters, "b", large, small)).claim is small
    assert (await reserve(counters, "c", large)).used == (1,)


async def test_the_same_request_counts_once(counters: Counters) -> None:
    """A reservation is idempotent by the id of its request, and so is its end."""
    claim = Claim("k", MINUTE, 10, 4)
    reserved = await reserve(counters, "a", claim)
    assert (await reserve(counters, "a", claim)).used == (4,)
    for _ in range(2):
        counters.settle(reserved, [3])
    await asyncio.sleep(0.01)
    assert (await reserve(counters, "b", claim)).used == (7,)


async def test_what_runs(counters: Counters) -> None:
    """A place is free again at a request's end, and not before."""
    claim = Claim("k", RUNNING, 1)
    first = await reserve(counters, "a", claim)
    assert (await refuse(counters, "b", claim)).wait_s in (0.1, math.inf)
    counters.settle(first, [0])
    await asyncio.sleep(0.01)
    await reserve(counters, "b", claim)


async def test_days_of_a_time_zone(counters: Counters, clock: Clock) -> None:
    """A day ends at midnight in its time zone, and the refusal says how long that is."""
    claim = Claim("k", Calendar("day", "Europe/Berlin"), 1)
    first = await reserve(counters, "a", claim)
    counters.settle(first, [1])
    await asyncio.sleep(0.01)
    begins, ends = Calendar("day", "Europe/Berlin").bounds(clock.wall())
    assert ends - begins == 86_400
    assert (await refuse(counters, "b", claim)).wait_s == pytest.approx(ends - NOON)
    clock.now = ends - NOON - 1
    await refuse(counters, "b", claim)
    clock.now += 1
    await reserve(counters, "b", claim)


async def test_r10_the_last_of_a_budget(counters: Counters) -> None:
    """At the end of a budget one request may take more than is left, and only one at a time."""
    claim = Claim("k", Calendar("month"), 100, 60, overdraw=True)
    first = await reserve(counters, "a", claim)
    refused = await refuse(counters, "b", claim)
    assert (refused.wait_s, refused.held) == (2, 60)
    counters.settle(first, [90])
    await asyncio.sleep(0.01)
    told = await asyncio.gather(*(counters.reserve(f"c{n}", [claim]) for n in range(5)))
    assert sum(isinstance(one, Reservation) for one in told) == 1


async def test_a_budget_that_is_only_reserved(counters: Counters) -> None:
    """A budget of which a running request holds all is worth another look in a moment."""
    claim = Claim("k", Calendar("month"), 100, 100, overdraw=True)
    first = await reserve(counters, "a", claim)
    refused = await refuse(counters, "b", claim)
    assert (refused.wait_s, refused.used, refused.held) == (2, 100, 100)
    counters.settle(first, [100])
    await asyncio.sleep(0.01)
    refused = await refuse(counters, "b", claim)
    assert (refused.wait_s > 2, refused.used, refused.held) == (True, 100, 0)


async def test_a_month_that_changes_its_clock() -> None:
    """A month with the end of summer time has one hour more."""
    begins, ends = Calendar("month", "Europe/Berlin").bounds(1_792_000_000.0)  # October 2026
    assert ends - begins == 31 * 86_400 + 3600


async def test_a_process_that_was_killed(tmp_path: Path, clock: Clock) -> None:
    """Half a minute after a process was heard of last, its places are free. What it had reserved
    of a budget stays counted; if it was only paused, what its request has used replaces that."""
    remotes = [SqliteCounters(tmp_path / "c", clock, clock.wall) for _ in range(2)]
    dead, alive = (
        SharedCounters(remote, MemoryCounters(clock, clock.wall), owner=owner)
        for remote, owner in zip(remotes, ("dead", "alive"), strict=True)
    )
    month = Calendar("month")
    claims = Claim("run", RUNNING, 1), Claim("money", month, 100, 80, overdraw=True)
    lost = await reserve(dead, "a", *claims)
    clock.now = OWNER_EXPIRES_S - 1
    await refuse(alive, "b", *claims)
    clock.now += 2
    assert (await reserve(alive, "b", *claims)).used == (1, 160)
    dead.settle(lost, [0, 15])
    await dead.aclose()
    assert (await refuse(alive, "c", Claim("money", month, 100, 10))).used == 95
    await alive.aclose()


async def test_a_file_outlives_its_process(tmp_path: Path, clock: Clock) -> None:
    """A budget of a month is not new after a restart."""
    for id, used in (("a", 7), ("b", 14)):
        counters = SharedCounters(SqliteCounters(tmp_path / "c", clock, clock.wall))
        claim = Claim("money", Calendar("month"), 100, 50)
        reserved = await reserve(counters, id, claim)
        counters.settle(reserved, [7])
        await counters.aclose()
        assert reserved.used == (50 + used - 7,)


async def test_without_the_file(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """A file that cannot be used costs one warning; each process then has its share."""
    remote = SqliteCounters(tmp_path / "c", clock, clock.wall)
    counters = SharedCounters(remote, MemoryCounters(clock, clock.wall))
    (tmp_path / "c").write_bytes(b"this is no database " * 100)
    claim = Claim("k", MINUTE, 2)
    told = [await counters.reserve(str(n), [claim]) for n in range(3)]
    assert [isinstance(one, Reservation) for one in told] == [True, True, False]
    assert caplog.text.count("shared.failed") == 1
    await counters.aclose()


async def test_what_was_used_without_the_file(tmp_path: Path, clock: Clock) -> None:
    """What a process has counted alone is added when the file works again."""
    file = tmp_path / "c"
    remote = SqliteCounters(file, clock, clock.wall)
    counters = SharedCounters(remote, MemoryCounters(clock, clock.wall))
    file.write_bytes(b"this is no database " * 100)
    day, rate = Claim("day", Calendar("day"), 100, 30), Claim("rate", MINUTE, 9, kept=True)
    alone = await reserve(counters, "a", day, rate)
    file.unlink()
    remote._rests_until = 0.0
    counters.settle(alone, [20, None])
    await counters._keep()
    await remote.beat("a")  # written with what comes next
    other = SharedCounters(SqliteCounters(file, clock, clock.wall), owner="other")
    assert (await reserve(other, "b", day, rate)).used == (50, 2)
    await counters.aclose()
    await other.aclose()


@pytest.mark.parametrize("is_new", [False, True])
async def test_a_file_that_was_deleted(tmp_path: Path, clock: Clock, is_new: bool) -> None:
    """After a second at most, a process counts again in the file that the others count in."""
    one, two = (
        SharedCounters(SqliteCounters(tmp_path / "c", clock, clock.wall), owner=owner)
        for owner in ("one", "two")
    )
    claim = Claim("k", Calendar("day"), 9)
    await reserve(one, "a", claim)
    for part in tmp_path.glob("c*"):
        part.unlink()
    if is_new:
        await reserve(two, "b", claim)
    clock.now += 1.1
    assert (await reserve(one, "c", claim)).shared_at is None
    one._remote._rests_until = 0.0  # type: ignore[attr-defined]
    assert (await reserve(one, "d", claim)).used == (1 + is_new,)
    assert (await reserve(two, "e", claim)).used == (2 + is_new,)
    await one.aclose()
    await two.aclose()


def test_a_loop_that_ended_while_the_file_was_locked(tmp_path: Path) -> None:
    """What a loop was to do later does not keep the next one waiting."""
    remote = SqliteCounters(tmp_path / "c")
    counters = SharedCounters(remote)
    claim = Claim("k", MINUTE, 9)
    other = sqlite3.connect(tmp_path / "c", isolation_level=None)

    async def give_up() -> None:
        await reserve(counters, "a", claim)
        other.execute("BEGIN IMMEDIATE")
        asking = asyncio.create_task(counters.reserve("b", [claim]))
        while remote._retry is None:
            await asyncio.sleep(0)
        assert not asking.done()

    async def go_on() -> None:
        assert (await reserve(counters, "c", claim)).shared_at is not None
        assert counters._loop is asyncio.get_running_loop()  # this process is still heard of
        await counters.aclose()

    asyncio.run(give_up())
    other.close()
    asyncio.run(go_on())


def test_memory_is_bounded(clock: Clock) -> None:
    """A window has a bounded number of slots, however many requests there are."""
    counters = MemoryCounters(clock, clock.wall)
    for n in range(5000):
        clock.now += 0.005
        told = counters.try_reserve(str(n), [Claim("k", MINUTE, 10**6)])
        assert isinstance(told, Reservation)
        counters.settle(told, [None])
    assert len(counters._counters["k"].slots) <= 601


CHILD = """
import asyncio, sys
from pathlib import Path
from berlin.routing.counters.contract import Claim, Reservation, Sliding
from berlin.routing.counters.shared import SharedCounters
from berlin.routing.counters.sqlite import SqliteCounters

async def main():
    counters = SharedCounters(SqliteCounters(Path(sys.argv[1])))
    sys.stdin.readline()
    claim = Claim("k", Sliding(600.0), 25)
    asked = [counters.reserve(f"{counters._owner}-{n}", [claim]) for n in range(20)]
    print(sum(isinstance(told, Reservation) for told in await asyncio.gather(*asked)), flush=True)
    await counters.aclose()

asyncio.run(main())
"""


async def test_two_processes_and_one_file(tmp_path: Path) -> None:
    """What two processes let through together is the limit."""
    children = [
        await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            CHILD,
            str(tmp_path / "c"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        for _ in range(2)
    ]
    told = await asyncio.gather(*(child.communicate(b"go\n") for child in children))
    assert sum(int(out) for out, _ in told) == 25
