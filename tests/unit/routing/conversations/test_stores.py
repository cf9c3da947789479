"""Where the ends of conversations are kept: one suite over every store."""

from __future__ import annotations

import stat
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

import pytest

from berlin.routing.conversations import Head, Heads, MemoryHeads
from berlin.routing.conversations.sqlite import SQLiteHeads


class _Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> _Clock:
    """A clock that stands until it is moved."""
    return _Clock()


@pytest.fixture(params=["memory", "file"])
async def heads(
    request: pytest.FixtureRequest, tmp_path: Path, clock: _Clock
) -> AsyncGenerator[Heads]:
    """A store of each kind."""
    make: Callable[[], Heads] = {
        "memory": lambda: MemoryHeads(60, 3, clock),
        "file": lambda: SQLiteHeads(tmp_path / "heads.sqlite", 60, 3, clock),
    }[request.param]
    store = make()
    yield store
    await store.aclose()


async def test_an_end_is_taken_once(heads: Heads) -> None:
    """Whoever takes an end has it for himself; the next one finds nothing."""
    await heads.put("k", Head("c", "m"))
    assert await heads.take("other", keep=False) is None
    assert await heads.take("k", keep=False) == Head("c", "m")
    assert await heads.take("k", keep=False) is None


async def test_an_end_is_kept_where_branches_are(heads: Heads) -> None:
    """Where branches are possible, an end may be used any number of times."""
    await heads.put("k", Head("c", "m"))
    assert await heads.take("k", keep=True) == Head("c", "m")
    assert await heads.take("k", keep=True) == Head("c", "m")


async def test_equal_histories_have_an_end_each(heads: Heads) -> None:
    """Two ends with one fingerprint are both kept, the latest goes first."""
    await heads.put("k", Head("c1"))
    await heads.put("k", Head("c2"))
    assert await heads.take("k", keep=False) == Head("c2")
    assert await heads.take("k", keep=False) == Head("c1")


async def test_ends_expire(heads: Heads, clock: _Clock) -> None:
    """An end is forgotten after its time."""
    await heads.put("k", Head("c"))
    clock.now += 61
    assert await heads.take("k", keep=False) is None


async def test_there_are_not_too_many(heads: Heads) -> None:
    """The oldest ends go when there are more than the limit."""
    for n in range(5):
        await heads.put(f"k{n}", Head(f"c{n}"))
    assert [await heads.take(f"k{n}", keep=True) is not None for n in range(5)] == [
        False,
        False,
        True,
        True,
        True,
    ]


async def test_a_file_outlives_its_process_and_is_private(tmp_path: Path) -> None:
    """Another store over the same file finds the ends; only this user can read it."""
    path = tmp_path / "folder" / "heads.sqlite"
    first = SQLiteHeads(path)
    await first.put("k", Head("c", "m"))
    await first.aclose()
    second = SQLiteHeads(path)
    assert await second.take("k", keep=False) == Head("c", "m")
    await second.aclose()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_a_broken_file_costs_only_the_continuation(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A file that is no database finds nothing, keeps nothing, and says so in the log."""
    path = tmp_path / "heads.sqlite"
    path.write_bytes(b"no database" * 100)
    store = SQLiteHeads(path)
    await store.put("k", Head("c"))
    assert await store.take("k", keep=False) is None
    assert "conversations_file_failed" in caplog.text
    await store.aclose()
