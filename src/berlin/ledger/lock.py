"""A lock that a process holds until its end, however that comes."""

from __future__ import annotations

import contextlib
import os
from importlib.util import find_spec
from pathlib import Path

HAS_LOCKS = find_spec("fcntl") is not None
"""Whether the system has locks of this kind; Windows has none."""


class FileLock:
    """An exclusive lock of the operating system on a file.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def take(self) -> bool:
        """Take the lock, or return `False` if another process has it.

        Raises:
            OSError: if the file cannot be opened.
        """
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
        descriptor = os.open(self._path, flags, 0o600)
        if HAS_LOCKS and not _lock(descriptor):
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        return True

    @property
    def exists(self) -> bool:
        """Whether it is held, and its file was not deleted."""
        return self._descriptor is not None and os.fstat(self._descriptor).st_nlink > 0

    def release(self, *, remove: bool = False) -> None:
        """Release it, if it is held.

        Args:
            remove: whether to remove the file.
        """
        if self._descriptor is None:
            return
        if remove:
            with contextlib.suppress(OSError):
                self._path.unlink()
        os.close(self._descriptor)
        self._descriptor = None


def _lock(descriptor: int) -> bool:
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    # Its last holder may have removed the file after it was opened here.
    return os.fstat(descriptor).st_nlink > 0
