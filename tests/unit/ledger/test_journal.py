"""The journal: what it accepts, what it gives back, and what a killed process leaves in it."""

import contextlib
import errno
import os
import shutil
from pathlib import Path

import pytest

from berlin.ledger import journal as module
from berlin.ledger import segment as one_file
from berlin.ledger.entry import Entry, counts_of, decode_line, encode_line, name_of
from berlin.ledger.journal import Journal, JournalFullError
from berlin.ledger.left_behind import find_left_behind

MANY = 1_000_000
IN_MEMORY = pytest.param(
    True, marks=pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="not on this system")
)


@pytest.fixture(params=[IN_MEMORY, False], ids=["mapped", "written"], autouse=True)
def in_memory(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Do each test with files in mapped memory, and with files that are written."""
    monkeypatch.setattr(one_file, "_changes_in_place", lambda device: request.param)
    return bool(request.param)


def begun(n: int) -> Entry:
    """Return the row of a request in progress."""
    return Entry(id=f"req_{n}", at_us=n, provider="work", model="m")


def ended(n: int) -> Entry:
    """Return the row of a request that has ended."""
    return Entry(id=f"req_{n}", at_us=n, provider="work", model="m", outcome="ok", status=200)


def delivered(journal: Journal) -> list[str]:
    """Deliver everything, and return the ids."""
    found = []
    while (batch := journal.read()) is not None:
        found += [entry.id for entry in batch.entries]
        batch.deliver()
    return found


def left_in(folder: Path) -> list[Entry]:
    """Return the rows that were left behind, and remove them."""
    found = []
    for left in find_left_behind(folder):
        for batch in left.batches():
            found += batch
        left.remove()
    return found


def kill(journal: Journal) -> None:
    """Do what the end of a process does to its files."""
    for segment in journal._segments:
        os.close(segment.descriptor)
    journal._lock.release()


def test_rows_come_back_in_order_and_once(tmp_path: Path) -> None:
    """Rows of ended requests are read in order; what was delivered is not read again."""
    journal = Journal(tmp_path, MANY)
    for n in range(3):
        journal.write(begun(n))
    for n in (1, 0, 2):
        journal.write(ended(n))
    first = journal.read()
    assert first is not None
    assert [entry.id for entry in first.entries] == ["req_1", "req_0", "req_2"]
    again = journal.read()  # not delivered: the database was away
    assert again is not None
    assert again.entries == first.entries
    assert delivered(journal) == ["req_1", "req_0", "req_2"]
    assert journal.waiting_bytes == 0
    journal.close()
    assert list(tmp_path.iterdir()) == []


def test_only_the_owner_can_read_the_files(tmp_path: Path) -> None:
    """Files have mode 0600, in a folder with mode 0700."""
    journal = Journal(tmp_path / "ledger", MANY)
    assert (tmp_path / "ledger").stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "ledger").iterdir()} == {0o600}
    journal.close()


def test_a_live_journal_is_left_alone(tmp_path: Path) -> None:
    """Rows of a running process are delivered by that process only."""
    journal = Journal(tmp_path, MANY)
    journal.write(ended(1))
    assert left_in(tmp_path) == []
    kill(journal)
    assert [entry.id for entry in left_in(tmp_path)] == ["req_1"]
    assert list(tmp_path.iterdir()) == []


def test_a_killed_process_leaves_its_unfinished_requests(tmp_path: Path) -> None:
    """Ended requests come with their row, the others as interrupted; a cut line is skipped."""
    journal = Journal(tmp_path, MANY)
    for n in range(3):
        journal.write(begun(n))
    journal.write(ended(1))
    journal._segments[-1].append(b'{"id":"req_2","outco')
    kill(journal)
    found = {entry.id: entry.outcome for entry in left_in(tmp_path)}
    assert found == {"req_0": "interrupted", "req_1": "ok", "req_2": "interrupted"}


def test_what_the_database_has_is_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are deleted once delivered; requests in progress are still known afterwards."""
    monkeypatch.setattr(module, "SEGMENT_BYTES", 1000)
    journal = Journal(tmp_path, MANY)
    journal.write(begun(0))
    for n in range(1, 101):
        journal.write(begun(n))
        journal.write(ended(n))
        if n % 10 == 0:
            assert len(delivered(journal)) == 10
            assert len(list(tmp_path.glob("*.jsonl"))) <= 2
    kill(journal)
    outcomes = {entry.id: entry.outcome for entry in left_in(tmp_path)}
    assert outcomes["req_0"] == "interrupted"


def test_a_full_journal_takes_no_new_requests(tmp_path: Path) -> None:
    """It refuses the next request, takes the end of each known one, and recovers by itself."""
    journal = Journal(tmp_path, 500)
    accepted = 0
    with pytest.raises(JournalFullError):
        for n in range(100):
            journal.write(begun(n))
            accepted += 1
    assert 0 < accepted < 20
    for n in range(accepted):
        journal.write(ended(n))
    assert journal.is_full
    assert len(delivered(journal)) == accepted
    journal.write(begun(100))
    kill(journal)
    left_in(tmp_path)


def test_a_row_that_was_half_copied_is_not_there(tmp_path: Path) -> None:
    """Whichever part of the last row a kill leaves out, the row does not count, and others do."""
    size = len(encode_line(ended(2)))
    for begin, end in ((0, size - 5), (1, 9), (size // 2, size // 2 + 1), (size - 1, size)):
        journal = Journal(tmp_path, MANY)
        journal.write(begun(2))
        for n in (1, 2):
            journal.write(ended(n))
        segment = journal._segments[-1]
        hole = bytes(end - begin)
        os.pwrite(segment.descriptor, hole, segment.written - size + begin)
        kill(journal)
        found = [(entry.id, entry.outcome) for entry in left_in(tmp_path)]
        assert found == [("req_1", "ok"), ("req_2", "interrupted")], (begin, end)


def test_rows_that_wait_long_are_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only those of the two newest files are in memory; each is given to the database once."""
    monkeypatch.setattr(module, "SEGMENT_BYTES", 1000)
    journal = Journal(tmp_path, MANY)
    found = []
    for n in range(100):
        journal.write(begun(n))
        journal.write(ended(n))
        if n == 3 and (batch := journal.read()) is not None:
            found += [entry.id for entry in batch.entries]
    batch.deliver()  # a database that was slow; its file was given up in memory meanwhile
    assert sum(segment.rows is not None for segment in journal._segments) == 2
    assert len(journal._segments) > 5
    assert found + delivered(journal) == [f"req_{n}" for n in range(100)]
    assert journal.waiting_bytes == 0
    journal.close()
    assert list(tmp_path.iterdir()) == []


def test_G31_no_room_for_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All room of a file is taken when it is begun, so a full disk is an error then, never a
    signal; what is written goes on once the database has the file before."""
    monkeypatch.setattr(module, "SEGMENT_BYTES", 1000)
    journal = Journal(tmp_path, MANY)
    monkeypatch.setattr(os, "posix_fallocate", _no_room, raising=False)
    monkeypatch.setattr(os, "write", lambda descriptor, data: _no_room())
    rows = 0
    with pytest.raises(OSError, match="full"):
        for n in range(100):
            journal.write(ended(n))
            rows += 1
    assert not journal.probe()
    assert len(delivered(journal)) == rows
    assert len(list(tmp_path.glob("*.jsonl"))) == 1
    monkeypatch.undo()
    assert journal.probe()
    journal.write(ended(100))
    assert delivered(journal) == ["req_100"]
    journal.close()


def _no_room(*_: object) -> int:
    raise OSError(errno.ENOSPC, "the disk is full")


@pytest.mark.parametrize("in_memory", [False], indirect=True)
def test_G31_a_full_disk_cuts_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row cut by a full disk is an error, and can be written again; no other row is hurt."""
    journal = Journal(tmp_path, MANY)
    journal.write(begun(1))
    write = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda fd, data: write(fd, data[:20]))
        with pytest.raises(OSError, match="full") as caught:
            journal.write(ended(1))
    assert caught.value.errno == errno.ENOSPC
    journal.write(ended(1))
    journal.write(ended(2))
    assert delivered(journal) == ["req_1", "req_2"]
    journal.close()


def test_G31_room_on_a_full_disk(tmp_path: Path) -> None:
    """What the database has is given up, so that a full disk takes rows again; nothing is lost."""
    journal = Journal(tmp_path, MANY)
    for n in range(3):
        journal.write(begun(n))
    journal.write(ended(0))
    size = journal._segments[0].written
    assert journal.probe()  # the database does not have the row yet
    assert journal._segments[0].written > size
    assert delivered(journal) == ["req_0"]
    assert journal.probe()
    assert journal._segments[0].written < size
    journal.write(ended(1))
    assert delivered(journal) == ["req_1"]
    kill(journal)
    assert [(e.id, e.outcome) for e in left_in(tmp_path)] == [
        ("req_1", "ok"),
        ("req_2", "interrupted"),
    ]


def test_a_folder_that_is_deleted_is_made_again(tmp_path: Path) -> None:
    """New files take what comes next, and the requests in progress; nothing is lost while the
    process runs, and what it leaves behind when it is killed is found."""
    folder = tmp_path / "journals"
    journal = Journal(folder, MANY)
    journal.write(begun(1))
    journal.write(begun(2))
    journal.write(ended(1))
    shutil.rmtree(folder)
    assert journal.restore()
    assert not journal.restore()
    assert delivered(journal) == ["req_1"]
    journal.write(begun(3))
    kill(journal)
    assert [(row.id, row.outcome) for row in left_in(folder)] == [
        ("req_2", "interrupted"),
        ("req_3", "interrupted"),
    ]


def test_names_and_counts_are_clean() -> None:
    """What a client or a service sends cannot break a database or a line."""
    assert name_of("gpt-4o") == "gpt-4o"
    assert name_of("a\0b\nc\ud800") == "a\N{REPLACEMENT CHARACTER}" * 1 + (
        "b\N{REPLACEMENT CHARACTER}c\N{REPLACEMENT CHARACTER}"
    )
    assert len(name_of("я" * 1000)) == 200
    assert counts_of(0, 5, -1, 2**60, None) == [0, 5, None, None, None]
    entry = Entry(id="req_1", at_us=1, input_tokens=0, model_asked=name_of("a\nb"))
    assert encode_line(entry).count(b"\n") == 1
    assert decode_line(encode_line(entry)) == entry
    assert decode_line(b"\xff{}") is None


def test_a_row_after_the_end_is_an_error_of_the_disk(tmp_path: Path) -> None:
    """A request may end after the journal was closed: that is known, and its file stays away."""
    journal = Journal(tmp_path, MANY)
    journal.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        journal.write(ended(1))
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_closed_before_it_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows does not remove open files."""
    journal = Journal(tmp_path, MANY)
    descriptor, still_open = journal._segments[0].descriptor, []
    unlink = Path.unlink

    def watched(path: Path, missing_ok: bool = False) -> None:
        if path.suffix == ".jsonl":
            with contextlib.suppress(OSError):
                still_open.append(os.fstat(descriptor))
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", watched)
    journal.close()
    assert still_open == []


def test_a_place_for_a_row_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest of a file is no room: where no other can be begun, the disk still takes nothing."""
    monkeypatch.setattr(module, "SEGMENT_BYTES", 2 * module.ROW_BYTES)
    journal = Journal(tmp_path, MANY)
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", _no_room)  # such as: too many open files
        with pytest.raises(OSError, match="full"):
            for n in range(200):
                journal.write(ended(n))
        assert not journal.probe()
    assert journal.probe()
    journal.close()
