"""The rows of this process on disk, until the database has them.

Every row is written here first. What `write` has accepted survives the end of the process, however
it comes (but not a power cut in the same moment). Rows of requests in progress are here too, so
that a request whose process is killed is still known afterwards.

A journal is a few files `NAME-NUMBER.jsonl` and a lock that its process holds.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import threading
from collections import deque
from pathlib import Path

from berlin.auth.tokens.private_file import make_private_folder
from berlin.ledger.entry import Entry, decode_line, encode_line, is_of_ended
from berlin.ledger.lock import FileLock

SEGMENT_BYTES = 1024 * 1024
READ_BYTES = 512 * 1024


class JournalFullError(OSError):
    """The journal has as many bytes as it may have."""


class _Segment:
    """One file: written at its end, delivered from its beginning."""

    def __init__(self, path: Path) -> None:
        self.path = path
        special = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | special
        self.descriptor = os.open(path, flags, 0o600)
        self._reader = os.open(path, os.O_RDONLY | special)
        self.written = os.fstat(self.descriptor).st_size
        self.delivered = 0

    @property
    def waiting(self) -> int:
        return self.written - self.delivered

    def read(self, size: int) -> bytes:
        os.lseek(self._reader, self.delivered, os.SEEK_SET)
        return os.read(self._reader, size)

    def empty(self) -> None:
        os.ftruncate(self.descriptor, 0)
        self.written = self.delivered = 0

    def close(self) -> None:
        os.close(self.descriptor)
        os.close(self._reader)


class Batch:
    """Rows that follow each other in the journal.

    Attributes:
        entries: those of requests that have ended.
        size: their bytes.
    """

    def __init__(self, segment: _Segment, entries: list[Entry], size: int) -> None:
        self.entries = entries
        self.size = size
        self._segment = segment

    def deliver(self) -> None:
        """Record that the database has them."""
        self._segment.delivered += self.size


class Journal:
    """Appends rows on one thread, and reads them back on another.

    Args:
        folder: where the files are; created with mode 0700.
        max_bytes: the most bytes of rows that wait for the database.

    Attributes:
        name: distinguishes it from the journals of other processes.

    Raises:
        OSError: if it cannot be created.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._mutex = threading.Lock()
        self._number = 0
        self._open: dict[str, bytes] = {}
        self._torn = False
        self.name, self._lock = self._take_name()
        self._segments: deque[_Segment] = deque([self._next()])

    @property
    def waiting_bytes(self) -> int:
        """Bytes that the database does not have yet."""
        waiting = 0
        for segment in tuple(self._segments):
            waiting += segment.written - segment.delivered
        return waiting

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
        line = encode_line(entry)
        with self._mutex:
            known = entry.id in self._open
            # The end of a known request is always taken: its beginning was.
            if not known and self.is_full:
                raise JournalFullError(errno.ENOSPC, "the journal of the ledger is full")
            segment = self._segments[-1]
            if segment.written >= SEGMENT_BYTES:
                segment = self._begin_segment()
            self._append(segment, line)
            if entry.is_open:
                self._open[entry.id] = line
            elif known:
                del self._open[entry.id]

    def probe(self) -> bool:
        """Return whether a disk that was full takes something again.

        What the database has is given up for that: on a full disk a new file cannot be begun.
        """
        with self._mutex:
            segment = self._segments[-1]
            try:
                if segment.written and not segment.waiting:
                    segment.empty()
                    self._append(segment, b"".join(self._open.values()))
                self._append(segment, b"\n")
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
            OSError: if the file cannot be read.
        """
        with self._mutex:
            self._drop_delivered()
            segment = self._segments[0]
        if not segment.waiting:
            return None
        return Batch(segment, *_parse(segment.read(min(READ_BYTES, segment.waiting))))

    def close(self) -> None:
        """Close it; what the database has is deleted, and the rest is left for another process."""
        with self._mutex:
            keep = self.waiting_bytes > 0 or bool(self._open)
            for segment in self._segments:
                segment.close()
                if not keep:
                    segment.path.unlink(missing_ok=True)
        self._lock.release(remove=not keep)

    def _append(self, segment: _Segment, line: bytes) -> None:
        # After a line that a full disk has cut, the next one starts on a new line.
        data = b"\n" * self._torn + line
        written = os.write(segment.descriptor, data)
        segment.written += written
        self._torn = written != len(data)
        if self._torn:
            raise OSError(errno.ENOSPC, "the disk is full")

    def _begin_segment(self) -> _Segment:
        """Start a new file, which has the requests in progress at its beginning.

        The older files can be deleted then, whatever becomes of these requests.
        """
        segment = self._next()
        try:
            self._append(segment, b"".join(self._open.values()))
        except OSError:
            segment.close()
            segment.path.unlink(missing_ok=True)
            self._torn = True
            return self._segments[-1]
        self._segments.append(segment)
        return segment

    def _drop_delivered(self) -> None:
        while len(self._segments) > 1 and not self._segments[0].waiting:
            segment = self._segments.popleft()
            segment.close()
            with contextlib.suppress(OSError):
                segment.path.unlink()

    def _take_name(self) -> tuple[str, FileLock]:
        # Locked before there is a segment, so that nobody takes it for one that was left behind.
        make_private_folder(self._folder)
        while True:
            name = secrets.token_hex(8)
            lock = FileLock(self._folder / f"{name}.lock")
            if lock.take():  # or somebody is just looking at it
                return name, lock

    def _next(self) -> _Segment:
        if not self._lock.exists:  # the folder was deleted
            self._lock.release()
            self.name, self._lock = self._take_name()
        self._number += 1
        return _Segment(self._folder / f"{self.name}-{self._number:08}.jsonl")


def _parse(data: bytes) -> tuple[list[Entry], int]:
    """Return the rows of requests that have ended, and how many bytes were read."""
    end = data.rfind(b"\n") + 1
    lines = data[:end].splitlines()
    ended = filter(is_of_ended, lines)
    # A line as long as this has no end: nothing that was written here.
    return [e for line in ended if (e := decode_line(line)) is not None], end or len(data)
