"""Files that only their owner may read: written atomically, never through a link."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import tempfile
from pathlib import Path

MAX_PRIVATE_BYTES = 4 * 1024 * 1024


def save_private(path: Path, data: bytes) -> None:
    """Write a file with mode 0600 in a folder with mode 0700, atomically.

    Raises:
        OSError: if it cannot be written; the previous file is still there.
    """
    make_private_folder(path.parent)
    if path.is_symlink():
        raise PermissionError(f"{path} is a symbolic link; remove it")
    replace_file(path, data)


def replace_file(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Write a file atomically. Raises OSError; the previous file is still there."""
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, mode)
        os.replace(temporary, path)  # same folder: atomic
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def overwrite_private(path: Path, data: bytes) -> None:
    """Overwrite a private file in place, for a disk without space for a second one.

    Raises:
        OSError: if that does not work either; then the file is gone.
    """
    flags = os.O_WRONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        with os.fdopen(os.open(path, flags), "wb", buffering=0) as file:
            rest = memoryview(data)
            while rest:  # a full disk accepts a part and then raises
                rest = rest[file.write(rest) or 0 :]
            file.truncate()
            os.fsync(file.fileno())
    except OSError:
        path.unlink(missing_ok=True)
        raise


def is_disk_full(error: BaseException | None) -> bool:
    """Return whether an error, or what it was raised from, says that the disk has no room."""
    while error is not None:
        code = getattr(error, "sqlite_errorcode", None) or 0
        if code & 0xFF == _SQLITE_FULL or getattr(error, "errno", None) in _NO_ROOM:
            return True
        error = error.__cause__
    return False


_SQLITE_FULL = 13
_NO_ROOM = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))


def make_private_folder(folder: Path) -> None:
    """Create a folder with mode 0700, and its missing parents.

    One that exists keeps its mode, because it may be anybody's (`/`, `/var/lib`), unless every user
    can write to it.

    Raises:
        PermissionError: if it is a folder for everybody, such as `/tmp`.
        OSError: if it cannot be created.
    """
    # Not `parents=True`: that creates the parents with the umask, and anybody who can write there
    # could replace this folder.
    for missing in reversed([f for f in (folder, *folder.parents) if not f.exists()]):
        missing.mkdir(mode=0o700, exist_ok=True)
    mode = folder.stat().st_mode
    if mode & stat.S_IWOTH:
        if mode & stat.S_ISVTX:
            raise PermissionError(
                f"every user of this machine can write to {folder}; use a folder in it, such as "
                f"{folder / 'berlin'}"
            )
        folder.chmod(0o700)


def make_private_file(path: Path) -> None:
    """Create a file with mode 0600 if it is missing, or set this mode.

    Raises:
        OSError: if it cannot be created, or is not a regular file.
    """
    # Non-blocking: opening a named pipe without a reader would block.
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NONBLOCK", 0)
    descriptor = os.open(path, flags, 0o600)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise PermissionError(f"{path} is not a plain file; remove it")
        if os.name == "posix" and status.st_mode & 0o077:
            os.fchmod(descriptor, 0o600)  # created by an older version, or by hand
    finally:
        os.close(descriptor)


def load_private(path: Path) -> bytes | None:
    """Return the contents of a private file, or `None` if it does not exist.

    Raises:
        PermissionError: if it is a link, not a regular file, owned by another user, or accessible
            to others.
        OSError: if it cannot be read.
    """
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    if path.is_symlink():
        raise PermissionError(f"{path} is a symbolic link; remove it")
    try:
        descriptor = os.open(path, flags)
    except FileNotFoundError:
        return None
    try:
        status = os.fstat(descriptor)
        check_private(path, status)
        if status.st_size > MAX_PRIVATE_BYTES:
            raise PermissionError(f"{path} is too large to be ours; remove it")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read()
    finally:
        os.close(descriptor)


def check_private(path: Path, status: os.stat_result) -> None:
    """Check the status of a private file.

    Raises:
        PermissionError: if it is not a regular file, owned by another user, or accessible to
            others.
    """
    if not stat.S_ISREG(status.st_mode):
        raise PermissionError(f"{path} is not a plain file; remove it")
    if hasattr(os, "getuid") and status.st_uid != os.getuid():
        raise PermissionError(f"{path} belongs to another user; remove it")
    if os.name == "posix" and status.st_mode & 0o077:
        raise PermissionError(f"{path} can be read by others; run: chmod 600 {path}")
