"""What a process reserves of a file in advance, on a clock that the test moves."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sqlite3
import sys
import tempfile
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from berlin.routing.counters.advance import SHARE
from berlin.routing.counters.contract import (
    OWNER_EXPIRES_S,
    Calendar,
    Claim,
    Refusal,
    Reservation,
    Sliding,
)
from berlin.routing.counters.file import CountersFile
from berlin.routing.counters.memory import MemoryCounters
from berlin.routing.counters.shared import SharedCounters
from berlin.routing.counters.sqlite import SqliteCounters

NOON = 1_795_000_000.0  # some time in November 2026
DAY = Calendar("day")
LIMIT = 100_000


class Machine:
    """Processes that count in one file, by a clock that the test moves."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "c"
        self.now = 0.0

    def start(self, owner: str) -> SharedCounters:
        """Start a process."""
        remote = SqliteCounters(self.file, lambda: self.now, self.wall)
        return SharedCounters(remote, MemoryCounters(lambda: self.now, self.wall), owner=owner)

    def wall(self) -> float:
        return NOON + self.now

    def used(self, claim: Claim) -> int:
        """Return what the file has of a counter."""
        with contextlib.closing(sqlite3.connect(self.file)) as file:
            query = "SELECT state FROM counters WHERE name GLOB ?"
            with contextlib.suppress(sqlite3.OperationalError):  # nobody has made its tables
                states = file.execute(query, (f"{claim.counter}*",)).fetchall()
                return sum(msgspec.msgpack.decode(state)["used"] for (state,) in states)
        return 0


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def commits(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """Return a list that grows by one with each transaction."""
    seen: list[None] = []
    commit = CountersFile.commit
    monkeypatch.setattr(CountersFile, "commit", lambda self: (seen.append(None), commit(self)))
    return seen


async def reserve(counters: SharedCounters, id: str, *claims: Claim) -> Reservation:
    """Reserve what must fit."""
    told = await counters.reserve(id, claims)
    assert isinstance(told, Reservation), told
    return told


async def make_busy(counters: SharedCounters, *claims: Claim, taken: bool = True) -> int:
    """Reserve until that is done in advance; return what was reserved and used of each claim."""
    for n in range(3):
        counters.settle(await reserve(counters, f"busy{n}", *claims), [1] * len(claims))
    assert counters._remote._advances.held == taken  # type: ignore[attr-defined]
    return 3


@pytest.mark.parametrize("window", [DAY, Sliding(60.0)], ids=["day", "minute"])
async def test_few_transactions_for_many_requests(
    machine: Machine, window: Calendar | Sliding, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thousand requests need some ten transactions; all they used is in the file at the end."""
    counters, seen = machine.start("one"), commits(monkeypatch)
    claim, kept = Claim("tokens", window, LIMIT, 7), Claim("requests", window, LIMIT, kept=True)
    for n in range(1000):
        told = await reserve(counters, str(n), claim, kept)
        assert told.used == (3 * n + 7, n + 1)  # what is left of the advance is not counted
        counters.settle(told, [3, None])
    assert len(seen) < 30
    await counters.aclose()
    assert [machine.used(claim), machine.used(kept)] == [3000, 1000]


async def test_the_last_part_of_a_limit_is_exact(machine: Machine) -> None:
    """Two processes that drain one limit admit exactly as many requests as it has."""
    claim = Claim("k", DAY, 1000, kept=True)
    admitted = [0, 0]

    async def drain(number: int) -> None:
        counters, refused = processes[number], 0
        while refused < 3:  # the advance of the other one ends after some milliseconds
            told = await counters.reserve(f"{number}-{admitted[number]}", [claim])
            if isinstance(told, Refusal):
                refused += 1
                machine.now += 0.05
                await asyncio.sleep(0.03)
            else:
                admitted[number] += 1
                counters.settle(told, [None])
                await asyncio.sleep(0)
        await counters.aclose()

    processes = [machine.start(f"p{number}") for number in range(2)]
    for counters in processes:  # a thread opens the file, which one may wait for much longer
        await reserve(counters, "opens", msgspec.structs.replace(claim, amount=0))
    await asyncio.gather(drain(0), drain(1))
    assert sum(admitted) == 1000
    assert min(admitted) > 100


async def test_an_advance_of_another_process_refuses_nobody(machine: Machine) -> None:
    """A request that does not fit because of it looks again until it is given back."""
    one, two = machine.start("one"), machine.start("two")
    await make_busy(one, Claim("k", DAY, LIMIT, kept=True))
    lower = Claim("k", DAY, machine.used(Claim("k", DAY, LIMIT)), kept=True)
    asked = asyncio.create_task(reserve(two, "a", lower))
    await asyncio.sleep(0)
    machine.now += 0.1
    assert (await asked).used == (4,)
    await one.aclose()
    await two.aclose()


async def test_what_uses_up_a_limit_is_seen_before_the_end(machine: Machine) -> None:
    """Also if it was taken from an advance: the end of its answer waits for the file."""
    counters, claim = machine.start("one"), Claim("k", DAY, LIMIT, 5)
    await make_busy(counters, claim)
    seen = counters.settle(await reserve(counters, "a", claim), [LIMIT])
    assert seen is not None
    await seen
    assert machine.used(claim) >= LIMIT
    await counters.aclose()


async def test_an_advance_of_another_process_keeps_a_large_request_for_a_moment(
    machine: Machine,
) -> None:
    """A request that needs all that is left, but for the advance, gets it when that has ended."""
    one, two = machine.start("one"), machine.start("two")
    used = await make_busy(one, claim := Claim("k", Sliding(60.0), LIMIT, 5))
    one._remote._end_of_wait()  # type: ignore[attr-defined]
    await reserve(two, "opens", Claim("other", DAY, 1))
    asking = asyncio.create_task(
        reserve(two, "large", msgspec.structs.replace(claim, amount=LIMIT - used))
    )
    for _ in range(3):
        await asyncio.sleep(0)
    assert machine.used(claim) > used  # it has not fitted yet
    machine.now += 0.06
    one._remote._end_of_wait()  # type: ignore[attr-defined]
    assert (await asking).used == (LIMIT,)
    await one.aclose()
    await two.aclose()


async def test_clients_are_not_shown_what_others_have_in_advance(machine: Machine) -> None:
    """What is left falls by one with each request, whichever process gets it."""
    one, two = machine.start("one"), machine.start("two")
    claim = Claim("k", DAY, LIMIT, kept=True)
    used = await make_busy(one, claim)
    one._remote._end_of_wait()  # type: ignore[attr-defined]
    for _ in range(5):
        for counters in (two, one):
            used += 1
            told = await reserve(counters, f"{used}", claim)
            assert told.used == (used,)
            counters.settle(told, [None])
            for each in (counters, one, two):  # 20 ms later
                each._remote._end_of_wait()  # type: ignore[attr-defined]
    await one.aclose()
    await two.aclose()


async def test_a_small_limit_has_no_advance(machine: Machine) -> None:
    """What is left of it is given out request by request, so nobody is refused for an advance."""
    counters = machine.start("one")
    await make_busy(counters, Claim("k", DAY, SHARE - 1), taken=False)
    await counters.aclose()


async def test_a_request_that_is_free(machine: Machine) -> None:
    """One that reserves nothing is shown what the file has, with an advance and without."""
    counters, claim = machine.start("one"), Claim("k", DAY, LIMIT, 5)
    free = Claim("k", DAY, LIMIT, 0)
    for n in range(4):
        counters.settle(await reserve(counters, f"a{n}", claim), [5])
        assert (await reserve(counters, f"b{n}", free)).used == (5 * n + 5,)
    await counters.aclose()


async def test_an_idle_process_gives_its_advance_back(machine: Machine) -> None:
    """Some milliseconds after its last request; then it writes nothing more."""
    counters, claim = machine.start("one"), Claim("k", DAY, LIMIT, 5)
    used = await make_busy(counters, claim)
    running = await reserve(counters, "a", claim)
    assert machine.used(claim) > used + 5
    machine.now += 0.1
    remote = counters._remote
    assert isinstance(remote, SqliteCounters)
    for _ in range(2):
        remote._end_of_wait()
    assert machine.used(claim) == used + 5
    assert not remote._advances.held
    assert await counters._remote.report() is False
    counters.settle(running, [2])
    await counters.aclose()
    assert machine.used(claim) == used + 2


async def test_the_same_request_takes_once(machine: Machine) -> None:
    """A reservation from an advance is idempotent by the id of its request, and so is its end."""
    counters, claim = machine.start("one"), Claim("k", DAY, LIMIT, 5)
    used = await make_busy(counters, claim)
    first = await reserve(counters, "a", claim)
    remote = counters._remote
    for _ in range(2):
        told = await remote.reserve("a", "one", [claim])
        assert told is not None
        assert told.used == first.used == (used + 5,)
    for _ in range(2):
        counters.settle(first, [4])
    await counters.aclose()
    assert machine.used(claim) == used + 4


async def test_a_lower_limit_and_another_day(machine: Machine) -> None:
    """An advance is not used above a limit that was lowered, nor after the end of its day."""
    counters, claim = machine.start("one"), Claim("k", DAY, LIMIT, 5)
    await make_busy(counters, claim)
    assert isinstance(await counters.reserve("a", [Claim("k", DAY, 4, 5)]), Refusal)
    machine.now = DAY.bounds(NOON)[1] - NOON - 0.001
    await make_busy(machine.start("two"), claim)
    machine.now += 0.001
    assert (await reserve(counters, "b", claim)).used == (5,)
    await counters.aclose()


async def test_a_killed_process_leaves_its_advance_counted(machine: Machine) -> None:
    """What it had admitted is counted at least, and at most its advance more."""
    counters, claim = machine.start("dead"), Claim("k", DAY, LIMIT, 5)
    used = await make_busy(counters, claim)
    counters.settle(await reserve(counters, "a", claim), [5])
    await reserve(counters, "b", claim)
    machine.now += OWNER_EXPIRES_S + 1
    assert used + 10 <= machine.used(claim) <= used + LIMIT / SHARE
    await counters.aclose()  # it was only paused: now it writes what its requests have used
    assert machine.used(claim) == used + 10


@pytest.mark.parametrize("fault", ["full", "read-only"])
async def test_what_was_used_while_the_file_failed(
    machine: Machine, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is full or a file that is read-only loses nothing of what was used: it is written
    when that has passed. Until then each process has its share."""
    counters, claim = machine.start("one"), Claim("k", DAY, LIMIT, 5)
    used = await make_busy(counters, claim)
    remote = counters._remote
    assert isinstance(remote, SqliteCounters)
    assert remote._file is not None
    counters.settle(await reserve(counters, "a", claim), [4])
    running = await reserve(counters, "b", claim)
    if fault == "full":
        remote._file._file.execute("PRAGMA max_page_count = 1")
        large = sqlite3.connect(machine.file, isolation_level=None)
        large.execute("CREATE TABLE large (data)")
        large.close()
        monkeypatch.setattr(CountersFile, "commit", _full)
    else:
        remote._file._file.execute("PRAGMA query_only = 1")
    remote._end_of_wait()
    assert remote.rests
    alone = await reserve(counters, "c", claim)
    assert alone.shared_at is None
    counters.settle(running, [3])
    counters.settle(alone, [2])
    monkeypatch.undo()
    remote._rests_until = 0.0
    await counters._keep()  # reports what is owed; without a request, too
    await counters.aclose()
    assert machine.used(claim) == used + 4 + 3 + 2


async def test_a_stop_writes_what_a_failure_left(machine: Machine) -> None:
    """A process that stops while it leaves a failed file alone tries again and loses nothing."""
    counters, claim = machine.start("one"), Claim("k", DAY, LIMIT, 5)
    used = await make_busy(counters, claim)
    early = await reserve(counters, "early", claim)
    counters._remote._end_of_wait()  # type: ignore[attr-defined]
    late = await reserve(counters, "late", claim)
    counters._remote.rest(OSError("full"))  # type: ignore[attr-defined]
    alone = await reserve(counters, "alone", claim)
    for n, ended in enumerate((early, late, alone)):
        counters.settle(ended, [n + 1])
    assert counters._owed
    await counters.aclose()
    assert machine.used(claim) == used + 1 + 2 + 3
    assert not counters._owed


async def test_a_stop_whose_file_fails_again_leaves_nothing_behind(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be written at a stop is lost: nothing tries it later, when all is closed."""
    counters, claim = machine.start("one"), Claim("k", DAY, LIMIT, 5)
    running = await reserve(counters, "a", claim)
    monkeypatch.setattr(CountersFile, "commit", _full)
    counters.settle(running, [3])
    await counters.aclose()
    assert counters._timer is None
    assert not counters._owed
    assert counters._remote._file is None  # type: ignore[attr-defined]


async def test_two_gateways_of_one_process(machine: Machine) -> None:
    """Those that one program has opened on one file have advances of their own: all is counted."""
    both, claim = [machine.start("one") for _ in range(2)], Claim("k", DAY, LIMIT, kept=True)
    for n in range(100):
        counters = both[n // 5 % 2]
        counters.settle(await reserve(counters, str(n), claim), [None])
        if n % 3 == 0:
            counters._remote._end_of_wait()  # type: ignore[attr-defined]
    for counters in both:
        await counters.aclose()
    assert machine.used(claim) == 100


def test_a_fork_leaves_its_parent_the_advance(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that was forked from one that counts opens the file itself, and writes nothing of
    what its parent has reserved."""
    counters, claim = machine.start("parent"), Claim("k", DAY, LIMIT, 5)
    used = asyncio.run(make_busy(counters, claim))

    async def child() -> None:
        told = await reserve(copy, "child", claim)
        copy.settle(told, [2])
        await copy.aclose()

    remote = counters._remote
    assert isinstance(remote, SqliteCounters)
    copy = machine.start("child")
    forked = copy._remote
    assert isinstance(forked, SqliteCounters)
    inherited = CountersFile(machine.file)
    forked._file, forked._advances = inherited, remote._advances
    monkeypatch.setattr(forked, "_process", "parent")
    asyncio.run(child())
    assert forked._advances is not remote._advances
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        inherited.begin()
    asyncio.run(counters.aclose())
    assert machine.used(claim) == used + 2


def _full(_: CountersFile) -> None:
    raise sqlite3.OperationalError("database or disk is full")


STEPS = st.tuples(
    st.sampled_from([*["reserve"] * 6, *["settle"] * 3, "write", "wait", "kill"]),
    st.integers(0, 1),
    st.integers(1, 9),
)


@settings(max_examples=12, deadline=None)
@given(st.lists(STEPS, min_size=20, max_size=80))
def test_no_history_loses_a_reservation(steps: list[tuple[str, int, int]]) -> None:
    """Whatever two processes reserve, settle, write and lose by a kill: the file counts at least
    what was admitted, within the limit, and exactly that after a stop without a kill."""
    claim = Claim("k", DAY, 2000)

    async def run(machine: Machine) -> None:
        processes = [machine.start(f"p{n}") for n in range(2)]
        running: list[list[Reservation]] = [[], []]
        total, killed = 0, 0
        for n, (step, which, amount) in enumerate(steps):
            counters = processes[which]
            remote = counters._remote
            assert isinstance(remote, SqliteCounters)
            if step == "reserve":
                told = await counters.reserve(str(n), [Claim("k", DAY, 2000, amount)])
                if isinstance(told, Reservation):
                    running[which].append(told)
                    total += amount
            elif step == "settle" and running[which]:
                ended = running[which].pop()
                cost = min(amount, ended.claims[0].amount)
                counters.settle(ended, [cost])
                total += cost - ended.claims[0].amount
            elif step == "write":
                remote._end_of_wait()
            elif step == "wait":
                machine.now += amount / 50
            elif step == "kill":
                killed += 1
                remote._close()
                if remote._timer is not None:
                    remote._timer.cancel()
                processes[which], running[which] = machine.start(f"{which} since {n}"), []
            assert total <= machine.used(claim) <= 2000
        for counters in processes:
            await counters.aclose()
        left = machine.used(claim)
        assert left == total if not killed else total <= left

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(Machine(Path(folder))))


CHILD = """
import asyncio, sys
from pathlib import Path
from berlin.routing.counters.contract import Calendar, Claim
from berlin.routing.counters.shared import SharedCounters
from berlin.routing.counters.sqlite import SqliteCounters

async def main():
    counters = SharedCounters(SqliteCounters(Path(sys.argv[1])))
    claim = Claim("k", Calendar("month"), 10**6, kept=True)
    for n in range(10**6):
        counters.settle(await counters.reserve(str(n), [claim]), [None])
        print(n + 1, flush=True)

asyncio.run(main())
"""


async def test_kill_9_in_between(tmp_path: Path) -> None:
    """Each request that a killed process had admitted is in the file."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CHILD, str(tmp_path / "c"), stdout=asyncio.subprocess.PIPE
    )
    assert child.stdout is not None
    for _ in range(500):
        await child.stdout.readline()
    child.kill()
    admitted = 500 + (await child.stdout.read()).count(b"\n")
    await child.wait()
    counters = SharedCounters(SqliteCounters(tmp_path / "c"))
    claim = Claim("k", Calendar("month"), 10**7, 0)
    told = await reserve(counters, "look", claim)
    await counters.aclose()
    assert admitted <= Machine(tmp_path).used(claim) <= admitted + 10**6 // SHARE
    assert told.used[0] <= admitted  # what nobody has used yet is not shown


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("is_open", [False, True])
def test_a_request_that_ends_with_its_loop(
    tmp_path: Path, turns: int, is_open: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """A request that the end of `asyncio.run` cancels leaves no task behind."""

    async def main() -> None:
        counters = SharedCounters(SqliteCounters(tmp_path / "c"))
        if is_open:
            await reserve(counters, "a", Claim("k", DAY, LIMIT))
        tasks.append(asyncio.create_task(reserve(counters, "b", Claim("k", DAY, LIMIT))))
        for _ in range(turns):
            await asyncio.sleep(0)

    tasks: list[asyncio.Task[Reservation]] = []
    gc.collect()  # what earlier tests left is not of this one
    caplog.clear()
    asyncio.run(main())
    tasks.clear()
    gc.collect()
    assert "destroyed" not in caplog.text
    assert not caplog.text
