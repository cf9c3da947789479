"""One file of the journal."""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

from berlin.ledger.entry import Entry, decode_line

# File systems that always change bytes where they are. Others can need room for a change (XFS: of
# a file that `cp` has cloned); where a disk has none, mapped memory would end the process.
_IN_PLACE = frozenset({"ext4", "tmpfs"})


class Segment:
    """A file that is written at its end and delivered from its beginning.

    Where the file system allows it, the whole file is allocated immediately and mapped into memory:
    a row is then copied there without a call of the operating system, which writes it to the disk,
    also if the process is killed. What follows the last row is zeros.

    Args:
        path: the file.
        size: how many bytes it takes.

    Attributes:
        descriptor: the open file.
        written: how many bytes were written.
        delivered: how many of them the database has.
        rows: those that ended and that the database does not have; `None` to read them again.

    Raises:
        OSError: if it cannot be opened.
    """

    def __init__(self, path: Path, size: int) -> None:
        self.path = path
        self.size = size
        self.written = self.delivered = 0
        self.rows: list[Entry] | None = []
        special = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | special, 0o600)
        self._memory: mmap.mmap | None = None
        if _changes_in_place(os.fstat(self.descriptor).st_dev):
            try:
                os.posix_fallocate(self.descriptor, 0, size)
                self._memory = mmap.mmap(self.descriptor, size)
            except OSError:  # the disk is full: each write will say whether it still is
                os.ftruncate(self.descriptor, 0)

    @property
    def is_delivered(self) -> bool:
        """Whether the database has all of it."""
        return self.delivered == self.written

    def append(self, data: bytes) -> None:
        """Write lines, for which there must be room.

        Raises:
            OSError: if the disk does not take them; what is written next takes their place.
        """
        end = self.written + len(data)
        if self._memory is not None:
            self._memory[self.written : end] = data
        elif (written := os.write(self.descriptor, data)) != len(data):
            os.lseek(self.descriptor, -written, os.SEEK_CUR)
            raise OSError(errno.ENOSPC, "the disk is full")
        self.written = end

    def read(self) -> bytes:
        """Return what the database does not have. Raises OSError."""
        if self._memory is not None:
            return self._memory[self.delivered : self.written]
        os.lseek(self.descriptor, self.delivered, os.SEEK_SET)
        try:
            return os.read(self.descriptor, self.written - self.delivered)
        finally:
            os.lseek(self.descriptor, self.written, os.SEEK_SET)

    def empty(self) -> None:
        """Remove everything from it."""
        if self._memory is not None:
            self._memory[: self.written] = bytes(self.written)
        else:
            os.ftruncate(self.descriptor, 0)
            os.lseek(self.descriptor, 0, os.SEEK_SET)
        self.written = self.delivered = 0

    def close(self, *, remove: bool) -> None:
        """Close it, and remove the file or give the room back that was not used."""
        if self._memory is not None:
            self._memory.close()
        if not remove:
            with contextlib.suppress(OSError):
                os.ftruncate(self.descriptor, self.written)
        os.close(self.descriptor)
        # What is written all the same fails, also if another file gets the number.
        self.descriptor, self._memory = -1, None
        if remove:
            with contextlib.suppress(OSError):
                self.path.unlink()  # now: Windows does not remove open files


def rows_in(lines: Iterable[bytes]) -> Iterator[Entry]:
    """Yield the rows of lines, but for damaged ones.

    Those are cut by a full disk or the end of a process: in mapped memory they have zeros in them.
    """
    for line in lines:
        if (entry := decode_line(line)) is not None:
            yield entry


@lru_cache
def _changes_in_place(device: int) -> bool:
    """Return whether the file system of a device needs no room to change an allocated file."""
    try:
        number = f"{os.major(device)}:{os.minor(device)}"
        with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as mounts:
            fields = next(line for line in mounts if line.split(" ", 3)[2] == number)
    except (OSError, AttributeError, StopIteration):  # not Linux, or a device without a mount
        return False
    return fields.partition(" - ")[2].split(" ", 1)[0] in _IN_PLACE
