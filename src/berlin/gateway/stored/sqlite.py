"""Responses in SQLite: in a file, or in memory."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from berlin.auth.tokens.private_file import is_disk_full, make_private_folder
from berlin.gateway.stored.record import USED_TWICE, Record

BUSY_TIMEOUT_S = 5.0

_SCHEMA = """
CREATE TABLE IF NOT EXISTS responses (
  tenant TEXT NOT NULL, id TEXT NOT NULL, previous TEXT NOT NULL,
  input BLOB NOT NULL, response BLOB NOT NULL, size INTEGER NOT NULL, used_at REAL NOT NULL,
  PRIMARY KEY (tenant, id)
) STRICT;
CREATE INDEX IF NOT EXISTS by_age ON responses (used_at, tenant, size);
CREATE TABLE IF NOT EXISTS items (
  tenant TEXT NOT NULL, item TEXT NOT NULL, id TEXT NOT NULL, PRIMARY KEY (tenant, item)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_response ON items (tenant, id);
CREATE TRIGGER IF NOT EXISTS forget AFTER DELETE ON responses
BEGIN DELETE FROM items WHERE tenant = old.tenant AND id = old.id; END;
"""
# What is left of an id that was used twice.
_EMPTY = "UPDATE responses SET input = x'', response = x'', size = 0 WHERE tenant = ? AND id = ?"
_LARGEST = "SELECT tenant FROM responses GROUP BY tenant ORDER BY sum(size) DESC LIMIT 1"


class SqliteEngine:
    """One table of responses, one of the items in them.

    Args:
        path: the file; `None` keeps everything in memory.
        expire_s: seconds after its last use until a response is deleted.
        max_count: the most responses.
        max_bytes: bytes of all the most responses.
        clock: seconds since the epoch.

    Raises:
        OSError: if the file cannot be opened, unless the disk is full.
    """

    def __init__(
        self,
        path: Path | None,
        expire_s: float,
        max_count: int,
        max_bytes: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._expire_s = expire_s
        self._max_count = max_count
        self._max_bytes = max_bytes
        self._clock = clock
        self._path = path
        self._connection: sqlite3.Connection | None = None
        try:
            with _as_os_error():
                _ = self._database
        except OSError as error:
            if not is_disk_full(error):  # then it is opened when there is room
                raise

    @property
    def _database(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = _open(self._path)
            weakref.finalize(self, self._connection.close)
        return self._connection

    def put(self, record: Record) -> None:
        """Store a record; see `Engine`."""
        now = self._clock()
        row = (record.tenant, record.id, record.previous, record.input, record.response)
        items = [(record.tenant, item, record.id) for item in record.item_ids]
        with _as_os_error(), self._database:
            run = self._database.execute
            run("DELETE FROM responses WHERE used_at < ?", (now - self._expire_s,))
            if record.size > self._max_bytes:
                raise OSError("the response is larger than all that may be stored")
            insert = "INSERT OR IGNORE INTO responses VALUES (?, ?, ?, ?, ?, ?, ?)"
            is_new = run(insert, (*row, record.size, now)).rowcount > 0
            if is_new:
                self._database.executemany("INSERT OR REPLACE INTO items VALUES (?, ?, ?)", items)
            else:
                run(_EMPTY, (record.tenant, record.id))
            while self._is_over():
                oldest = f"WHERE tenant = ({_LARGEST}) ORDER BY used_at LIMIT 1"
                run(f"DELETE FROM responses WHERE rowid = (SELECT rowid FROM responses {oldest})")  # noqa: S608  # constants
        if not is_new:
            raise OSError(USED_TWICE)

    def get(self, tenant: str, id: str) -> Record | None:
        """Return a record; see `Engine`."""
        now = self._clock()
        at = (now, tenant, id, now - self._expire_s)
        with _as_os_error(), self._database:
            found = self._database.execute(
                "UPDATE responses SET used_at = ? WHERE tenant = ? AND id = ? AND used_at >= ? "
                "AND size > 0 RETURNING id, tenant, previous, input, response",
                at,
            ).fetchall()
        return Record(*found[0]) if found else None

    def find(self, tenant: str, item_id: str) -> Record | None:
        """Return a record that has the item; see `Engine`."""
        with _as_os_error():
            found = self._database.execute(
                "SELECT id FROM items WHERE tenant = ? AND item = ?", (tenant, item_id)
            ).fetchone()
        return self.get(tenant, found[0]) if found else None

    def delete(self, tenant: str, id: str) -> bool:
        """Delete a record; see `Engine`."""
        at = (tenant, id, self._clock() - self._expire_s)
        with _as_os_error(), self._database:
            gone = self._database.execute(
                "DELETE FROM responses WHERE tenant = ? AND id = ? AND used_at >= ? AND size > 0",
                at,
            )
            return gone.rowcount > 0

    def close(self) -> None:
        """Close the file; if not closed explicitly, it is closed with the engine."""
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()

    def _is_over(self) -> bool:
        found = self._database.execute("SELECT count(*), total(size) FROM responses").fetchone()
        return bool(found[0] > self._max_count or found[1] > self._max_bytes)


def _open(path: Path | None) -> sqlite3.Connection:
    if path is not None:
        make_private_folder(path.parent)
        # Only its owner may read it: it is created that way while empty, and never through a
        # link.
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
        os.close(os.open(path, flags, 0o600))
    database = sqlite3.connect(path or ":memory:", timeout=BUSY_TIMEOUT_S, check_same_thread=False)
    try:
        if path is not None:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = NORMAL")
            database.execute("PRAGMA secure_delete = ON")
        database.executescript(_SCHEMA)
    except BaseException:
        database.close()
        raise
    return database


@contextmanager
def _as_os_error() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise OSError(f"SQLite: {error}") from error
