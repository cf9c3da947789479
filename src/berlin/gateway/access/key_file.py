"""The file of the API keys: SQLite, private to its owner, with a version that is checked."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from berlin.auth.tokens.private_file import check_private, is_disk_full, make_private_folder
from berlin.errors import ConfigurationError

SCHEMA_VERSION = 2
BUSY_AGAIN_S = 0.01

_SCHEMA = """
CREATE TABLE keys (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  digest BLOB NOT NULL UNIQUE,
  models TEXT NOT NULL,
  expires_at REAL,
  requests_per_minute INTEGER,
  created_at REAL NOT NULL,
  revoked_at REAL,
  user TEXT NOT NULL DEFAULT '',
  scopes TEXT NOT NULL DEFAULT '[]',
  limits TEXT NOT NULL DEFAULT '[]',
  old_digest BLOB,
  old_expires_at REAL
)
"""
# What a file of an older version lacks, by that version.
_ADDED = {
    1: (
        "user TEXT NOT NULL DEFAULT ''",
        "scopes TEXT NOT NULL DEFAULT '[]'",
        "limits TEXT NOT NULL DEFAULT '[]'",
        "old_digest BLOB",
        "old_expires_at REAL",
    )
}


@contextmanager
def naming_file(path: Path) -> Iterator[None]:
    """Translate all errors about the file into one that names it.

    Raises:
        ConfigurationError: if the file cannot be used.
    """
    try:
        yield
    except (sqlite3.Error, OSError, msgspec.DecodeError) as error:
        todo = "repair it, or move the file away and add the keys again"
        if is_disk_full(error):
            todo = "make room, then try again; nothing was changed"
        raise ConfigurationError(f"the keys in {path} cannot be used: {error}; {todo}") from error


@contextmanager
def open_for_writing(path: Path, timeout_s: float) -> Iterator[sqlite3.Connection]:
    """Yield a transaction on the file, created if missing (0600, in a 0700 folder).

    Raises:
        ConfigurationError: if the file is from a newer version.
        OSError: if it cannot be created or is unsafe.
        sqlite3.Error: if it cannot be written, or stays locked for `timeout_s` seconds.
    """
    make_private_folder(path.parent)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, flags, 0o600))
    with contextlib.closing(open_for_reading(path, timeout_s)) as database:
        _use_wal(database, timeout_s)
        database.execute("BEGIN IMMEDIATE")
        try:
            _migrate(database)
            yield database
            database.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):  # on a full disk SQLite rolls back itself
                database.execute("ROLLBACK")
            raise


def _migrate(database: sqlite3.Connection) -> None:
    """Create the table, or add the columns that an older version lacks."""
    found = version(database)
    if found == SCHEMA_VERSION:
        return
    if found == 0:
        database.execute(_SCHEMA)
    for older in range(found, SCHEMA_VERSION) if found else ():
        for column in _ADDED[older]:
            database.execute(f"ALTER TABLE keys ADD COLUMN {column}")
    database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _use_wal(database: sqlite3.Connection, timeout_s: float) -> None:
    """Enable WAL, so that readers and the writer do not wait for each other.

    SQLite itself does not wait for the lock that the first change to this mode needs.
    """
    end = time.monotonic() + timeout_s
    while True:
        try:
            database.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() >= end:
                raise
        time.sleep(BUSY_AGAIN_S)


def open_for_reading(path: Path, timeout_s: float) -> sqlite3.Connection:
    """Open an existing file; the caller closes it.

    Raises:
        ConfigurationError: if the file is from a newer version.
        OSError: if it is missing, a link, owned by another user, or accessible to others.
        sqlite3.Error: if it cannot be read, or stays locked for `timeout_s` seconds.
    """
    # By `lstat`, never by opening it: closing a second descriptor of a file releases the locks
    # that SQLite holds on it in this process.
    check_private(path, path.lstat())
    where = f"{path.absolute().as_uri()}?mode=rw"  # never creates one
    database = sqlite3.connect(where, timeout=timeout_s, isolation_level=None, uri=True)
    try:
        found = version(database)
    except BaseException:
        database.close()
        raise
    if found > SCHEMA_VERSION:
        database.close()
        raise ConfigurationError(
            f"the keys in {path} are from a newer version of Berlin: update this one"
        )
    return database


def open_on_full_disk(path: Path, error: sqlite3.Error) -> sqlite3.Connection:
    """Open a file that cannot be opened otherwise, because SQLite needs room beside it.

    Nothing may be waiting in its log: a revoked key would be valid. Changes of the file are not
    seen, so the caller closes it soon.

    Raises:
        sqlite3.Error: the given error, if it is another one.
    """
    log = path.with_name(f"{path.name}-wal")
    known = (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN)
    if error.sqlite_errorcode & 0xFF not in known or (log.exists() and log.stat().st_size):
        raise error
    where = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
    return sqlite3.connect(where, isolation_level=None, uri=True)


def version(database: sqlite3.Connection) -> int:
    """Return the version of the schema; 0 is a file without one."""
    return int(database.execute("PRAGMA user_version").fetchone()[0])
