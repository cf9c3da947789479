"""The rows of this process on disk, until the database has them.

Every row is written here first. What `write` has accepted survives the end of the process, however
it comes (but not a power cut in the same moment). Rows of requests in progress are here too, so
that a request whose process is killed is still known afterwards.

A journal is a few files `NAME-NUMBER.jsonl` and a lock that its process holds. They are read only
when that process is gone, or when more rows wait for the database than are kept in memory.
"""

from __future__ import annotations

import errno
import os
import secrets
import threading
from collections import deque
from pathlib import Path

from berlin.auth.tokens.private_file import make_private_folder
from berlin.ledger.entry import OPEN, Entry, encode_line
from berlin.ledger.lock import FileLock
from berlin.ledger.segment import Segment, rows_in

SEGMENT_BYTES = 1024 * 1024
# More than nearly every row has: with less room, the next one needs a new file.
ROW_BYTES = 4096


class JournalFullError(OSError):
    """The journal has as many bytes as it may have."""


class Journal:
    """Appends rows on one thread, and gives them back on another.

    Args:
        folder: where the files are; created with mode 0700.
        max_bytes: the most bytes of rows that wait for the database.

    Attributes:
        name: distinguishes it from the journals of other processes.
        waiting_bytes: bytes that the database does not have yet.

    Raises:
        OSError: if it cannot be created.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._mutex = threading.Lock()
        self._number = 0
        self._open: dict[str, bytes] = {}
        self.waiting_bytes = 0
        self.name, self._lock = self._take_name()
        self._segments: deque[Segment] = deque([self._next(SEGMENT_BYTES)])

    @property
    def is_full(self) -> bool:
        """Whether no further request fits."""
        return self.waiting_bytes >= self._max_bytes

    def write(self, entry: Entry) -> None:
        """Write a row; one of a request in progress stays known until its end is written.

        Raises:
            JournalFullError: if it is a new request, and there is no room.
            OSError: if the disk does not take it.
        """
        line, id = encode_line(entry), entry.id
        size = len(line)
        with self._mutex:
            known = id in self._open
            # The end of a known request is always taken: its beginning was.
            if not known and self.waiting_bytes >= self._max_bytes:
                raise JournalFullError(errno.ENOSPC, "the journal of the ledger is full")
            segment = self._segments[-1]
            if segment.written + size > segment.size:
                segment = self._begin_segment(size)
            segment.append(line)
            self.waiting_bytes += size
            if entry.outcome == OPEN:
                self._open[id] = line
                return
            if segment.rows is not None:
                segment.rows.append(entry)
            if known:
                del self._open[id]

    def probe(self) -> bool:
        """Return whether a disk that was full takes something again.

        What the database has is given up for that: on a full disk a new file cannot be begun.
        """
        with self._mutex:
            segment, data = self._segments[-1], b"".join(self._open.values())
            try:
                if segment.written and segment.is_delivered and len(data) <= segment.size:
                    segment.empty()
                else:
                    data = b"\n"
                    if segment.size - segment.written < ROW_BYTES:
                        segment = self._begin_segment()
                segment.append(data)
                self.waiting_bytes += len(data)
            except OSError:
                return False
        return True

    def restore(self) -> bool:
        """Begin new files if somebody has deleted them; return whether somebody had.

        What was written into the deleted ones can still be read, as long as this process runs.
        """
        with self._mutex:
            if os.fstat(self._segments[-1].descriptor).st_nlink:
                return False
            self._begin_segment()
        return True

    def read(self) -> Batch | None:
        """Return the next rows for the database, or `None` if it has all of them.

        Raises:
            OSError: if a file cannot be read.
        """
        with self._mutex:
            while len(self._segments) > 1 and self._segments[0].is_delivered:
                self._segments.popleft().close(remove=True)
            segment = self._segments[0]
            if segment.is_delivered:
                return None
            end, rows = segment.written, segment.rows
            found = segment.read() if rows is None else rows.copy()
        if isinstance(found, bytes):
            found = [entry for entry in rows_in(found.splitlines()) if not entry.is_open]
        return Batch(self, segment, found, end)

    def close(self) -> None:
        """Close it; what the database has is deleted, and the rest is left for another process."""
        with self._mutex:
            keep = self.waiting_bytes > 0 or bool(self._open)
            for segment in self._segments:
                segment.close(remove=not keep)
        self._lock.release(remove=not keep)

    def deliver(self, segment: Segment, end: int, count: int) -> None:
        """Record that the database has the rows before a place in a file."""
        with self._mutex:
            self.waiting_bytes -= end - segment.delivered
            segment.delivered = end
            if segment.rows is not None:
                del segment.rows[:count]

    def _begin_segment(self, size: int = 0) -> Segment:
        """Start a new file of at least a size, with the requests in progress at its beginning.

        The older files can be deleted then, whatever becomes of these requests.
        """
        carried = b"".join(self._open.values())
        segment = self._next(len(carried) + max(size, SEGMENT_BYTES))
        try:
            segment.append(carried)
        except OSError:
            segment.close(remove=True)
            raise
        self.waiting_bytes += len(carried)
        # A database that is away must not fill the memory: rows of older files are read again.
        if len(self._segments) > 1:
            self._segments[-2].rows = None
        self._segments.append(segment)
        return segment

    def _take_name(self) -> tuple[str, FileLock]:
        # Locked before there is a segment, so that nobody takes it for one that was left behind.
        make_private_folder(self._folder)
        while True:
            name = secrets.token_hex(8)
            lock = FileLock(self._folder / f"{name}.lock")
            if lock.take():  # or somebody is just looking at it
                return name, lock

    def _next(self, size: int) -> Segment:
        if not self._lock.exists:  # the folder was deleted
            self._lock.release()
            self.name, self._lock = self._take_name()
        self._number += 1
        return Segment(self._folder / f"{self.name}-{self._number:08}.jsonl", size)


class Batch:
    """Rows that follow each other in the journal.

    Attributes:
        entries: those of requests that have ended.
    """

    def __init__(self, journal: Journal, segment: Segment, entries: list[Entry], end: int) -> None:
        self.entries = entries
        self._journal = journal
        self._segment = segment
        self._end = end

    def deliver(self) -> None:
        """Record that the database has them."""
        self._journal.deliver(self._segment, self._end, len(self.entries))
