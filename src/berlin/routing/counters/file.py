"""The file of counters, open: its transactions, and what was read from it."""

from __future__ import annotations

import contextlib
import math
import os
import sqlite3
import weakref
from pathlib import Path

import msgspec

from berlin.auth.tokens.private_file import make_private_file, make_private_folder
from berlin.routing.counters.contract import OWNER_EXPIRES_S
from berlin.routing.counters.counter import Counter

CONNECT_TIMEOUT_S = 2.0

MAX_COMMITS = 1_000
"""After so many, the log is moved into the file."""

SEEN_FOR_S = 1.0
"""How long an owner counts as just seen, so that not each reservation has to write that, and look
whether the file was replaced."""

VERSION = 2
_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, gone_at REAL NOT NULL, "
    "ends REAL NOT NULL, state BLOB NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS owners (owner TEXT PRIMARY KEY, seen_at REAL NOT NULL) "
    "WITHOUT ROWID",
)


class CountersFile:
    """The open file. What it has read is kept until another process writes to it."""

    def __init__(self, path: Path) -> None:
        make_private_folder(path.parent)
        make_private_file(path)
        self._path = path
        self._counters: dict[str, Counter] = {}
        self._changed: set[str] = set()
        self._commits = 0
        self._owners: dict[str, float] = {}
        self._version = -1
        self._file = _connect(path)
        weakref.finalize(self, self._file.close)  # a loop may end before anybody closes it
        try:
            self._stat = path.stat()
            self.shorten()
            self._file.execute("PRAGMA busy_timeout = 0")
        except BaseException:
            self._file.close()
            raise

    @property
    def is_long(self) -> bool:
        """Whether so much was committed that it is time to `shorten` the log."""
        return self._commits >= MAX_COMMITS

    def shorten(self) -> None:
        """Move what was committed from the log into the file, on a connection of its own, and begin
        the log again: its first write waits for the disk, too."""
        self._commits = 0
        with contextlib.closing(_connect(self._path)) as file:
            file.execute("PRAGMA wal_checkpoint").fetchall()
            file.execute("BEGIN IMMEDIATE")
            _prepare(file)
            file.execute("COMMIT")

    def begin(self) -> bool:
        """Keep other processes out until `commit`; return `False` if one of them does so now. If
        anything raises, the file is to be closed.
        """
        try:
            self._file.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
            return False
        version = self._file.execute("PRAGMA data_version").fetchone()[0]
        if version != self._version:
            self._version = version
            self._counters.clear()
            self._owners = dict(self._file.execute("SELECT owner, seen_at FROM owners"))
        return True

    def commit(self) -> None:
        """Write what was saved."""
        for name in self._changed:
            counter = self._counters[name]
            # One that counts nothing, and is of no day or month, is deleted.
            if counter.used or counter.held or counter.ends:
                row = (name, counter.gone_at, counter.ends, _encode(counter))
                self._file.execute("INSERT OR REPLACE INTO counters VALUES (?, ?, ?, ?)", row)
            else:
                self._file.execute("DELETE FROM counters WHERE name = ?", (name,))
        self._changed.clear()
        self._file.execute("COMMIT")
        self._commits += 1

    def load(self, name: str) -> Counter | None:
        """Return a counter, if there is one."""
        counter = self._counters.get(name)
        if counter is None:
            rows = self._file.execute("SELECT state FROM counters WHERE name = ?", (name,))
            for (state,) in rows.fetchall():
                counter = self._counters[name] = _decode(state)
        return counter

    def save(self, name: str, counter: Counter) -> None:
        """Store a counter with the next `commit`."""
        self._counters[name] = counter
        self._changed.add(name)

    def beat(self, owner: str, now: float) -> set[str]:
        """Record that a process is alive; return all that are.

        Raises:
            OSError: if the file was deleted or replaced, so that others count in another one.
        """
        if not 0.0 <= now - self._owners.get(owner, math.inf) < SEEN_FOR_S:
            if not os.path.samestat(self._stat, self._path.stat()):
                raise OSError("it was replaced")
            self._owners[owner] = now
            self._file.execute("INSERT OR REPLACE INTO owners VALUES (?, ?)", (owner, now))
        # The later ones are from before a restart of the machine.
        return {name for name, at in self._owners.items() if now - OWNER_EXPIRES_S < at <= now}

    def tidy(self, now: float, wall: float) -> None:
        """Delete owners that are gone, days and months that are over, and empty windows."""
        self._counters.clear()
        gone = (now - OWNER_EXPIRES_S, now)
        self._file.execute("DELETE FROM owners WHERE seen_at <= ? OR seen_at > ?", gone)
        self._file.execute(
            "DELETE FROM counters WHERE (ends > 0 AND ends < ?) OR (gone_at > 0 AND gone_at <= ?)",
            (wall - 3600, now),
        )

    def close(self) -> None:
        """Close it; what is not committed is rolled back."""
        self._file.close()


def _connect(path: Path) -> sqlite3.Connection:
    file = sqlite3.connect(
        path, timeout=CONNECT_TIMEOUT_S, isolation_level=None, check_same_thread=False
    )
    try:
        with contextlib.suppress(sqlite3.OperationalError):  # another process is doing it
            file.execute("PRAGMA journal_mode = WAL")
        file.execute("PRAGMA synchronous = NORMAL")  # only `shorten` waits for the disk
        file.execute("PRAGMA wal_autocheckpoint = 0")
    except BaseException:
        file.close()
        raise
    return file


def _prepare(file: sqlite3.Connection) -> None:
    """Create the tables if they are missing; write something in any case."""
    version = file.execute("PRAGMA user_version").fetchone()[0]
    if version not in (0, VERSION):
        raise sqlite3.DatabaseError("it is from another version of Berlin")
    for statement in _SCHEMA:
        file.execute(statement)
    file.execute(f"PRAGMA user_version = {VERSION}")


_decode = msgspec.msgpack.Decoder(Counter).decode
_encode = msgspec.msgpack.Encoder().encode
