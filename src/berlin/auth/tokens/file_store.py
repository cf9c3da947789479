"""Tokens in files of this user: shared by all processes of one machine."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import time
from pathlib import Path
from typing import IO

from berlin.auth.tokens.private_file import (
    load_private,
    make_private_folder,
    overwrite_private,
    save_private,
)
from berlin.auth.tokens.store import Lease, Record, Sealer, Service, TokenKey

# The holder of a lock touches it every other second; a suspended process does not.
STALE_S = 10.0
SECOND_LOOK_S = 0.05

_FULL = (errno.ENOSPC, errno.EDQUOT)


class FileStore:
    """One file and one lock file for each key, in a folder that only its owner can read.

    The lock is the operating system's (`flock`): it is released when its holder ends, however that
    happens.

    Args:
        sealer: encrypts them, if there is a key.
    """

    # A local disk does not hang, but dozens of programs that start together can delay a write by
    # seconds, and giving up on it would mean a second login.
    timeout_s = 10.0
    forgets = False

    def __init__(self, folder: Path, sealer: Sealer) -> None:
        self._folder = folder
        self._sealer = sealer

    def load(self, key: TokenKey) -> Record | None:
        """Return the stored record; an invalid file counts as missing, with one warning.

        Raises:
            OSError: if a link or a folder is in its place, which no login replaces.
        """
        path = self._path(key, "json")
        if path.is_symlink():
            raise PermissionError(f"{path} is a symbolic link; remove it")
        if path.is_dir():
            raise PermissionError(f"{path} is not a plain file; remove it")
        record = self._read(path)
        return record if record is not None and record.belongs_to(key) else None

    def save(self, key: TokenKey, record: Record, lease: Lease | None) -> None:
        """Store a record atomically: the file is the old or the new one, never a mixture.

        On a full disk the old file is overwritten in place, which needs no more space: a used
        refresh token must not stay, because the next process would use it again, and a service that
        rotates them would then end the session.
        """
        path, data = self._path(key, "json"), self._sealer.seal(record)
        try:
            save_private(path, data)
        except OSError as error:
            if error.errno not in _FULL or not path.exists():
                raise
            overwrite_private(path, data)

    def entries(self) -> list[Record]:
        """Return all stored records."""
        found = (self._read(path) for path in sorted(self._folder.glob("*.json")))
        return [record for record in found if record is not None]

    def delete(self, service: Service | None = None) -> int:
        """Remove the files of one service, or all."""
        paths = list(self._folder.glob("*.json"))
        if service is not None:
            found = ((path, self._read(path)) for path in paths)
            paths = [path for path, record in found if record and record.service == service]
        # A process that was killed while it wrote may have left a file.
        left = self._folder.glob(".*.json.*") if service is None else ()
        for path in (*paths, *left):
            path.unlink(missing_ok=True)
        return len(paths)

    def try_lock(self, key: TokenKey) -> Lease | None:
        """Take the lock of a key if it is free."""
        make_private_folder(self._folder)
        path = self._path(key, "lock")
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        file = os.fdopen(os.open(path, flags, 0o600), "r+b", buffering=0)
        if not _lock(file):
            stopped = _is_stale(file)
            file.close()
            # The holder is not running: waiting does not help, and a second login does no harm.
            return Lease(key.digest, 0, None) if stopped else None
        os.utime(path)
        return Lease(key.digest, 0, file)

    def extend(self, lease: Lease) -> bool:
        """Show that the holder is alive; the lock itself lasts until it is released."""
        if isinstance(lease.proof, io.RawIOBase):
            os.utime(self._folder / f"{lease.name}.lock")
        return True

    def unlock(self, lease: Lease) -> None:
        """Release a lock."""
        if isinstance(lease.proof, io.RawIOBase):
            _release(lease.proof)
            lease.proof.close()

    def _path(self, key: TokenKey, suffix: str) -> Path:
        return self._folder / f"{key.digest}.{suffix}"

    def _read(self, path: Path) -> Record | None:
        def load() -> bytes | None:
            try:
                return load_private(path)
            except OSError as error:
                raise ValueError(str(error)) from None

        return self._sealer.read(f"path={path}", load)


def _is_stale(file: IO[bytes]) -> bool:
    """Whether two checks in a row found no sign of life from the holder of a lock."""
    for pause in (SECOND_LOOK_S, 0.0):
        if time.time() - os.fstat(file.fileno()).st_mtime < STALE_S:
            return False
        time.sleep(pause)  # a new holder takes the lock a moment before it shows a sign of life
    return True


def _lock(file: IO[bytes]) -> bool:
    try:
        import fcntl
    except ImportError:
        return True  # Windows: no locks between processes; each may log in once
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _release(file: io.RawIOBase) -> None:
    # Closing is not enough: a child forked meanwhile has the same file open.
    with contextlib.suppress(ImportError, OSError):
        import fcntl

        fcntl.flock(file, fcntl.LOCK_UN)
