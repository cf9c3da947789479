"""Reads files that a user names, which may be pipes, devices or far too large."""

from __future__ import annotations

import os
import stat
from pathlib import Path

MAX_BYTES = 20 * 1024 * 1024


def read_input(path: str | Path, most: int = MAX_BYTES) -> bytes:
    """Return what a file holds, or a pipe such as `<(git diff)`.

    Args:
        most: the largest size in bytes.

    Raises:
        OSError: if it cannot be read, is a device, which may have no end, or is too large; without
            the path.
    """
    # Non-blocking: opening a named pipe would wait for a writer.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    with os.fdopen(descriptor, "rb") as file:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
            raise OSError("a device cannot be read")
        if stat.S_ISDIR(mode):
            raise OSError("it is a folder")
        if hasattr(os, "set_blocking"):
            os.set_blocking(descriptor, True)
        data = file.read(most + 1)
    if not data and stat.S_ISFIFO(mode):
        raise OSError("no program writes to this pipe")
    if len(data) > most:
        raise OSError(f"it is larger than {most // 2**20} MiB")
    return data


def why(error: Exception) -> str:
    """Return why a file cannot be used, in words."""
    return getattr(error, "strerror", None) or str(error)
