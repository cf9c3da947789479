"""Slots that all workers share, for limits on concurrent requests."""

from __future__ import annotations

import os
from pathlib import Path

try:
    import fcntl
except ImportError:
    fcntl = None  # type: ignore[assignment]  # Windows, where there is one process


class SharedSlots:
    """Slots as locked bytes of a file: the system frees those of a process that is killed.

    There must be one object for a file in each process, because closing a file gives up all locks
    of its process.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._held: set[int] = set()
        self._next = 0

    def take(self, count: int) -> bool:
        """Take one of a number of slots, if one is free."""
        for at in range(self._next, self._next + count):
            slot = at % count
            if slot in self._held:  # a lock of this process would be given again
                continue
            try:
                fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, slot)
            except OSError:
                continue
            self._held.add(slot)
            self._next = slot + 1
            return True
        return False

    def free(self) -> None:
        """Free one of the slots that were taken here."""
        slot = self._held.pop()
        fcntl.lockf(self._file, fcntl.LOCK_UN, 1, slot)
        self._next = slot
