"""Files that only their owner may read: written whole or not at all, never through a link."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from pathlib import Path

MAX_PRIVATE_BYTES = 4 * 1024 * 1024


def save_private(path: Path, data: bytes) -> None:
    """Write a file with mode 0600 in a folder with mode 0700, in one step.

    Raises:
        OSError: if it cannot be written; what was there before is still there.
    """
    make_private_folder(path.parent)
    if path.is_symlink():
        raise PermissionError(f"{path} is a symbolic link; remove it")
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)  # same folder: atomic
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def overwrite_private(path: Path, data: bytes) -> None:
    """Write over a private file where it is, for a disk without space for a second one.

    Raises:
        OSError: if that does not work either; then the file is gone.
    """
    flags = os.O_WRONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        with os.fdopen(os.open(path, flags), "wb", buffering=0) as file:
            rest = memoryview(data)
            while rest:  # a disk that is all full takes a part, and then raises
                rest = rest[file.write(rest) or 0 :]
            file.truncate()
            os.fsync(file.fileno())
    except OSError:
        path.unlink(missing_ok=True)
        raise


def make_private_folder(folder: Path) -> None:
    """Make a folder with mode 0700, and those above it that are missing.

    Raises:
        OSError: if it cannot be made.
    """
    # Not `parents=True`: that makes the upper ones as the umask says, and who may write there
    # may put another folder in the place of this one.
    for missing in reversed([f for f in (folder, *folder.parents) if not f.exists()]):
        missing.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_mode & 0o077:
        folder.chmod(0o700)


def make_private_file(path: Path) -> None:
    """Make a file with mode 0600 if there is none, and give one that is there this mode.

    Raises:
        OSError: if it cannot be made, or is no plain file.
    """
    # Not blocking: a named pipe that nobody reads would hold up whoever opens it.
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NONBLOCK", 0)
    descriptor = os.open(path, flags, 0o600)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise PermissionError(f"{path} is not a plain file; remove it")
        if os.name == "posix" and status.st_mode & 0o077:
            os.fchmod(descriptor, 0o600)  # made by an older version, or by hand
    finally:
        os.close(descriptor)


def load_private(path: Path) -> bytes | None:
    """Return what stands in a private file, or `None` if there is none.

    Raises:
        PermissionError: if it is a link, not a plain file, or belongs to or is open to others.
        OSError: if it cannot be read.
    """
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    if path.is_symlink():
        raise PermissionError(f"{path} is a symbolic link; remove it")
    try:
        descriptor = os.open(path, flags)
    except FileNotFoundError:
        return None
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)  # `os.fdopen` would refuse a folder, and leave it open
        raise PermissionError(f"{path} is not a plain file; remove it")
    with os.fdopen(descriptor, "rb") as file:
        if hasattr(os, "getuid") and status.st_uid != os.getuid():
            raise PermissionError(f"{path} belongs to another user; remove it")
        if os.name == "posix" and status.st_mode & 0o077:
            raise PermissionError(f"{path} can be read by others; run: chmod 600 {path}")
        if status.st_size > MAX_PRIVATE_BYTES:
            raise PermissionError(f"{path} is too large to be ours; remove it")
        return file.read()
