"""The recorder and its writer, over a database that a test takes away and gives back."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from berlin.errors import UnavailableError
from berlin.ledger import journal as journals
from berlin.ledger import segment
from berlin.ledger import writer as writing
from berlin.ledger.entry import Entry, encode_line
from berlin.ledger.figures import Figures, Query
from berlin.ledger.recorder import Recorder

ENOUGH_S = 20.0


class Database:
    """A database in memory: a row whose id is there is left alone."""

    def __init__(self) -> None:
        self.rows: dict[str, Entry] = {}
        self.inserts: list[int] = []
        self.is_away = False
        self.refusals = 0
        self.forgets_its_answer = False
        self.expired_before: list[datetime] = []
        self._changed = threading.Condition()

    async def check(self) -> None:
        """Answer if it is there."""
        self._check()

    async def insert(self, entries: list[Entry]) -> None:
        """Keep rows."""
        self._check()
        with self._changed:
            self.inserts.append(len(entries))
            for entry in entries:
                self.rows.setdefault(entry.id, entry)
            self._changed.notify_all()
        if self.forgets_its_answer:
            self.forgets_its_answer = False
            raise UnavailableError("the connection broke after the commit")

    async def sums(self, query: Query) -> list[Figures]:
        """Count the rows."""
        self._check()
        return [Figures(requests=len(self.rows))]

    async def expire(self, before: datetime) -> None:
        """Remember that it was asked."""
        self._check()
        with self._changed:
            self.expired_before.append(before)
            self._changed.notify_all()

    async def close(self) -> None:
        """Do nothing."""

    def wait_until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds of the rows."""
        with self._changed:
            assert self._changed.wait_for(holds, ENOUGH_S)

    def _check(self) -> None:
        if self.is_away:
            with self._changed:
                self.refusals += 1
                self._changed.notify_all()
            raise UnavailableError("the database is away")


def begun(n: int) -> Entry:
    """Return the row of a request in progress."""
    return Entry(id=f"req_{n}", at_us=n)


def ended(n: int, outcome: str = "ok") -> Entry:
    """Return the row of a request that has ended."""
    return Entry(id=f"req_{n}", at_us=n, outcome=outcome, status=200)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "BATCH_S", 0.001)
    monkeypatch.setattr(writing, "LONGEST_PAUSE_S", 0.005)


@contextmanager
def recorder(
    folder: Path, database: Database, size: int = 1_000_000, **options: object
) -> Iterator[Recorder]:
    """Run a recorder for the block."""
    one = Recorder(folder, size, lambda: database, **options)
    try:
        yield one
    finally:
        one.close()


async def test_rows_are_written_in_batches(tmp_path: Path) -> None:
    """Each row arrives once; many rows are few statements; nothing is left on the disk."""
    database = Database()
    with recorder(tmp_path, database) as one:
        for n in range(300):
            one.begin(begun(n))
            one.end(ended(n))
        database.wait_until(lambda: len(database.rows) == 300)
        assert (await one.sums(Query()))[0].requests == 300
    assert sum(database.inserts) == 300
    assert len(database.inserts) < 100
    assert one.counts.written == 300
    assert list(tmp_path.iterdir()) == []


def test_a_database_that_is_away_costs_no_request(tmp_path: Path) -> None:
    """Rows wait on the disk, and are written once it is back: each once, in the same process."""
    database = Database()
    with recorder(tmp_path, database) as one:
        database.is_away = True
        for n in range(50):
            one.begin(begun(n))
            one.end(ended(n))
        assert one.problem == ""
        assert one.counts.waiting_bytes > 0
        database.is_away = False
        database.wait_until(lambda: len(database.rows) == 50)
    assert database.inserts.count(0) == 0


def test_an_answer_that_is_lost_after_the_commit(tmp_path: Path) -> None:
    """Rows are sent again when nobody knows whether they were committed; they are there once."""
    database = Database()
    database.forgets_its_answer = True
    with recorder(tmp_path, database) as one:
        one.begin(begun(1))
        one.end(ended(1))
        database.wait_until(lambda: len(database.inserts) == 2)
    assert list(database.rows) == ["req_1"]


def test_what_a_stop_leaves_is_delivered_at_the_next_start(tmp_path: Path) -> None:
    """A stop while the database is away keeps the rows; the next process delivers them."""
    database = Database()
    database.is_away = True
    with recorder(tmp_path, database) as one:
        one.begin(begun(1))
        one.end(ended(1))
        one.begin(begun(2))
    assert list(tmp_path.glob("*.jsonl"))
    with recorder(tmp_path, database) as idle:
        database.wait_until(lambda: database.refusals > 5)
    assert not idle.counts.works  # it has nothing of its own, and still knows
    database.is_away = False
    with recorder(tmp_path, database):
        database.wait_until(lambda: len(database.rows) == 2)
    outcomes = {id: row.outcome for id, row in database.rows.items()}
    assert outcomes == {"req_1": "ok", "req_2": "interrupted"}
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_journal_keeps_nothing_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A journal of a killed process that cannot be read costs one line in the log: others that were
    left behind and new rows are delivered, and the ledger works."""
    database = Database()
    for name in ("aa", "bb"):
        (tmp_path / f"{name}.lock").touch()
    (tmp_path / "aa-00000001.jsonl").mkdir()
    (tmp_path / "bb-00000001.jsonl").write_bytes(encode_line(ended(1)))
    with recorder(tmp_path, database) as one:
        one.begin(begun(2))
        one.end(ended(2))
        database.wait_until(lambda: len(database.rows) == 2)
    assert one.counts.works
    assert caplog.text.count("ledger.unreadable") == 1


def test_G31_a_full_journal_refuses(tmp_path: Path) -> None:
    """With `refuse`, a request that cannot be recorded is not sent, and readiness says so."""
    database = Database()
    database.is_away = True
    with recorder(tmp_path, database, size=1000) as one:
        accepted = 0
        with pytest.raises(UnavailableError, match="not sent"):
            for n in range(100):
                one.begin(begun(n))
                accepted += 1
        assert one.problem == "the ledger is full"
        assert one.counts.refused == 1
        for n in range(accepted):  # what has begun is recorded to its end
            one.end(ended(n))
        database.is_away = False
        database.wait_until(lambda: len(database.rows) == accepted)
    assert one.counts.lost == 0


def test_G31_a_full_journal_goes_on_if_told_to(tmp_path: Path) -> None:
    """With `continue`, requests are sent without a row, and counted."""
    database = Database()
    database.is_away = True
    with recorder(tmp_path, database, size=1000, on_failure="continue") as one:
        for n in range(50):
            one.begin(begun(n))
            one.end(ended(n))
        assert one.problem == ""
        lost = one.counts.lost
        database.is_away = False
        database.wait_until(lambda: len(database.rows) == 50 - lost)
    assert 0 < lost < 50


@pytest.mark.parametrize("in_memory", [hasattr(os, "posix_fallocate"), False])
def test_G31_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_memory: bool) -> None:
    """A disk that takes nothing refuses requests; ends are written once it takes them again."""
    monkeypatch.setattr(segment, "_changes_in_place", lambda device: in_memory)
    monkeypatch.setattr(journals, "SEGMENT_BYTES", len(encode_line(begun(1))) + 10)
    database = Database()
    with recorder(tmp_path, database) as one:
        one.begin(begun(1))
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", _refuse)
            patch.setattr(os, "posix_fallocate", _refuse, raising=False)
            one.end(ended(1))
            assert one.problem == "the ledger is full"
            with pytest.raises(UnavailableError):
                one.begin(begun(2))
        assert one.problem == ""
        one.begin(begun(3))
        one.end(ended(3))
        database.wait_until(lambda: set(database.rows) == {"req_1", "req_3"})
    assert database.rows["req_1"].outcome == "ok"
    assert (one.counts.lost, one.counts.refused) == (0, 1)


def test_a_folder_that_is_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The writer makes it again and says so; rows are recorded on."""
    monkeypatch.setattr(writing, "LOOK_ROUND_S", 0.001)
    database, folder = Database(), tmp_path / "journal"
    with recorder(folder, database) as one:
        # Renamed first: the writer could make a new file while the old ones are deleted.
        shutil.rmtree(folder.rename(tmp_path / "gone"))
        for n in range(100):
            one.end(ended(n))
            database.wait_until(lambda n=n: f"req_{n}" in database.rows)
            if folder.exists():
                break
    assert caplog.text.count("ledger.journal_deleted") == 1


def test_a_row_that_no_calendar_has(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """With a clock in the year 10000 a row is set aside with a line in the log, and the others are
    written."""
    database = Database()
    late = msgspec.structs.replace(ended(1), at_us=253_402_300_800_000_000)
    with recorder(tmp_path, database) as one:
        for entry in (late, ended(2)):
            one.end(entry)
        database.wait_until(lambda: "req_2" in database.rows)
    assert "req_1" not in database.rows
    assert one.counts.lost == 1
    assert "ledger.no_date rows=1 first=req_1" in caplog.text


def test_old_rows_expire(tmp_path: Path) -> None:
    """Rows from before `keep_days` are deleted at the start, and then each hour."""
    database = Database()
    now = datetime(2026, 11, 28, tzinfo=UTC)
    with recorder(tmp_path, database, keep_days=7, clock=now.timestamp):
        database.wait_until(lambda: bool(database.expired_before))
    assert database.expired_before == [datetime(2026, 11, 21, tzinfo=UTC)]


def test_a_stop_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that hangs does not keep the process from ending; rows stay on the disk."""
    monkeypatch.setattr(writing, "CLOSE_S", 0.05)
    database = Database()
    hangs = threading.Event()

    async def hang(entries: list[Entry]) -> None:
        import asyncio

        hangs.set()
        await asyncio.sleep(3600)

    database.insert = hang
    one = Recorder(tmp_path, 1_000_000, lambda: database)
    one.begin(begun(1))
    one.end(ended(1))
    assert hangs.wait(ENOUGH_S)
    one.close()
    assert list(tmp_path.glob("*.jsonl"))


def _refuse(*_: object) -> int:
    raise OSError(28, "No space left on device")
