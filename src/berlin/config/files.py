"""Reads configuration files and recipes; they decide where passwords go and which programs run."""

from __future__ import annotations

import os
import select
import stat
import time
from pathlib import Path

from berlin.auth.sharing import shared_bits
from berlin.errors import ConfigurationError

MAX_BYTES = 4 * 1024 * 1024
PIPE_TIMEOUT_S = 5.0


def read_file(path: Path) -> str:
    """Return the text of a file. A pipe is fine too, if it does not block.

    Raises:
        FileNotFoundError: if there is no such file.
        ConfigurationError: if it cannot be read, or anybody can write to it.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            status = os.fstat(descriptor)
            _check_changeable(path, status)
            is_pipe = stat.S_ISFIFO(status.st_mode)
            data = _read_pipe(descriptor) if is_pipe else file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise ConfigurationError(f"{path} is longer than {MAX_BYTES} bytes")
        return data.decode("utf-8-sig")
    except FileNotFoundError:
        raise
    except UnicodeDecodeError as error:
        raise ConfigurationError(
            f"{path} is not text in UTF-8 (byte {error.start + 1}); save it as UTF-8"
        ) from error
    except (OSError, ValueError) as error:
        said = getattr(error, "strerror", None) or error
        raise ConfigurationError(f"{path} cannot be read: {said}") from error


def doubts(path: Path) -> str:
    """Return who else may change a file, in words; `""` if nobody else is known to."""
    if os.name != "posix":
        return ""
    try:
        status, folder = path.stat(), path.parent.stat()
    except OSError:
        return ""
    for what, found in (("it", status), (f"the folder {path.parent}", folder)):
        if found.st_uid not in (0, os.getuid()):
            return f"{what} belongs to another user (id {found.st_uid})"
    if stat.S_ISREG(status.st_mode) and shared_bits(path, status) & stat.S_IWGRP:
        return f"its group can write to it (chmod g-w {path})"
    return ""


def _check_changeable(path: Path, status: os.stat_result) -> None:
    """Refuse a file that anybody can write to: it decides where passwords go."""
    if os.name != "posix" or not stat.S_ISREG(status.st_mode):
        return
    if status.st_mode & stat.S_IWOTH:
        raise ConfigurationError(
            f"every user of this machine can write to {path}, which decides where passwords go; "
            f"run: chmod go-w {path}"
        )
    folder = path.resolve().parent if path.is_symlink() else path.parent
    mode = folder.stat().st_mode
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        raise ConfigurationError(
            f"every user of this machine can replace {path}; run: chmod go-w {folder}"
        )


def _read_pipe(descriptor: int) -> bytes:
    end = time.monotonic() + PIPE_TIMEOUT_S
    pieces: list[bytes] = []
    size = 0
    while size <= MAX_BYTES:
        ready, _, _ = select.select([descriptor], [], [], max(0.0, end - time.monotonic()))
        piece = os.read(descriptor, 65_536) if ready else b""
        if not piece:
            if pieces and ready:
                break
            raise OSError(f"this pipe delivers nothing within {PIPE_TIMEOUT_S:g} s")
        pieces.append(piece)
        size += len(piece)
    return b"".join(pieces)
