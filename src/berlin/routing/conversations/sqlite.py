"""The heads of conversations in a file: they outlive the process, and processes can share them."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

from berlin.routing.conversations.store import EXPIRE_S, MAX_COUNT, Head

_log = logging.getLogger("berlin.conversations")

_TABLE = """
create table if not exists heads (
  key text not null, conversation text not null, message text not null, expires real not null)
"""
_INDEX = "create index if not exists heads_by_key on heads (key)"
_LATEST = "select rowid from heads where key = ? and expires > ? order by rowid desc limit 1"
# How long SQLite waits for another process.
_BUSY_S = 1.0


class SQLiteHeads:
    """Keeps the heads in a file that only this user can read.

    A file that cannot be used costs only the continuation, not the answer: the turn starts a new
    conversation.

    Args:
        path: the file.
        expire_s: seconds after which a head is deleted.
        max_count: the most entries kept; the latest ones stay.
        clock: returns the time in seconds, the same for all processes.
    """

    def __init__(
        self,
        path: Path,
        expire_s: float = EXPIRE_S,
        max_count: int = MAX_COUNT,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._path = path
        self._expire_s = expire_s
        self._max = max_count
        self._clock = clock
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    async def take(self, key: str, *, keep: bool) -> Head | None:
        """Return the latest head with this fingerprint; see `Heads`."""
        found = await asyncio.to_thread(self._take, key, keep)
        return Head(*found) if found else None

    async def put(self, key: str, head: Head) -> None:
        """Store a head; see `Heads`."""
        await asyncio.to_thread(self._put, key, head)

    async def aclose(self) -> None:
        """Close the file."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _take(self, key: str, keep: bool) -> tuple[str, str] | None:
        columns = "conversation, message"
        if keep:
            query = f"select {columns} from heads where rowid = ({_LATEST})"  # noqa: S608  # constants
        else:
            query = f"delete from heads where rowid = ({_LATEST}) returning {columns}"  # noqa: S608  # as above
        rows = self._run(query, (key, self._clock()))
        return (rows[0][0], rows[0][1]) if rows else None

    def _put(self, key: str, head: Head) -> None:
        now = self._clock()
        self._run(
            "insert into heads values (?, ?, ?, ?)",
            (key, head.conversation_id, head.message_id, now + self._expire_s),
        )
        self._run(
            "delete from heads where expires <= ? or rowid <= (select max(rowid) from heads) - ?",
            (now, self._max),
        )

    def _run(self, query: str, values: tuple[Any, ...]) -> list[Any]:
        with self._lock:
            try:
                if self._connection is None:
                    self._connection = self._open()
                with self._connection:
                    return self._connection.execute(query, values).fetchall()
            except (sqlite3.Error, OSError) as error:
                _log.warning("conversations_file_failed", extra={"error": str(error)})
                if self._connection is not None:
                    self._connection.close()
                    self._connection = None
                return []

    def _open(self) -> sqlite3.Connection:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path.touch(mode=0o600)
        connection = sqlite3.connect(self._path, timeout=_BUSY_S, check_same_thread=False)
        weakref.finalize(self, connection.close)  # if nobody closes it
        connection.execute("pragma journal_mode = wal")
        connection.execute("pragma synchronous = normal")
        connection.execute(_TABLE)
        connection.execute(_INDEX)
        return connection
