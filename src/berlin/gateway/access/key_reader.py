"""The API keys for the running gateway: in memory, and at most a second old."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

from berlin.errors import ConfigurationError
from berlin.gateway.access.fresh import Fresh
from berlin.gateway.access.key_file import (
    naming_file,
    open_for_reading,
    open_on_full_disk,
    version,
)
from berlin.gateway.access.keys import Key, Row, Stored, digest, read_rows
from berlin.gateway.access.required import KeysRequired

# The longest that the event loop is blocked when the file is locked; readers of a WAL
# file wait only while SQLite recovers it after a crash.
BUSY_TIMEOUT_S = 0.05


class KeyReader:
    """Finds the key of a token.

    A lookup is one hash and one dictionary access by hash: its time reveals nothing about a token.
    When it is used, it checks whether the file has changed (about 20 µs), and if so reads all keys
    again (about 30 ms for 10,000 keys); both happen in the event loop. See `Fresh`.

    Keys are required as soon as there is a file, whatever is in it, and permanently from then on.

    Args:
        path: the file of a `KeyStore`.
        clock: seconds since the epoch.
        monotonic: a monotonic clock, in seconds.
        required: whether keys are required even without a file.
        notes: remembers across runs that keys are required.

    Attributes:
        count: the number of keys that are not revoked.

    Raises:
        ConfigurationError: if there is a file and it cannot be read.
    """

    def __init__(
        self,
        path: Path,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        *,
        required: bool = False,
        notes: KeysRequired | None = None,
    ) -> None:
        self._path = path
        self._clock = clock
        self._keys: dict[bytes, Key] = {}
        self._rows: dict[Stored, Row] = {}
        self.count = 0
        self._database: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        self._seen: int | None = None
        self._notes = notes if notes is not None else KeysRequired([path.parent])
        self._required = required or bool(self._notes)
        self._noted = False
        self._lacking = ""
        self._fresh = Fresh("keys", self._read, self._forget, monotonic)
        self._read()

    @property
    def readable(self) -> bool:
        """Whether the file can be read, or could a moment ago; if not, all clients are refused."""
        return self._fresh.is_trusted

    @property
    def problem(self) -> str:
        """The problem with the keys, in two words; `""` if there is none."""
        return self._lacking if self.readable else "keys unreadable"

    @property
    def required(self) -> bool:
        """Whether clients need a key."""
        self._fresh.check()
        return self._required

    def require(self) -> None:
        """Require keys from now on, and remember it, as if there had been one."""
        if not self._required:
            self._required = True
            self._notes.remember()
            self._lacking = "" if self._keys else "keys missing"

    def find(self, token: str) -> Key | None:
        """Return the valid key for a token, or `None`."""
        if not self.readable:
            return None
        key = self._keys.get(digest(token))
        return key if key is not None and key.state(self._clock()) == "live" else None

    def close(self) -> None:
        """Close the file."""
        if self._database is not None:
            self._database.close()
        self._database = self._seen = None

    def _read(self) -> None:
        try:
            self._look()
        except ConfigurationError:
            self.close()
            raise

    def _forget(self) -> None:
        self._keys, self._rows, self.count = {}, {}, 0

    def _look(self) -> None:
        if not self._noted and os.path.lexists(self._path):
            # Before it is opened: an unreadable file must not mean a gateway without keys.
            self._required = self._noted = True
            self._notes.remember()
        with naming_file(self._path):
            try:
                status = self._path.stat()
            except FileNotFoundError:
                self.close()
                self._forget()
                self._lacking = "keys missing" if self._required else ""
                return
            file = (status.st_dev, status.st_ino)
            if self._database is None or file != self._file:  # it was replaced by another file
                self.close()
                try:
                    self._database = open_for_reading(self._path, BUSY_TIMEOUT_S)
                except sqlite3.OperationalError as error:
                    with contextlib.closing(open_on_full_disk(self._path, error)) as database:
                        self._take(database)
                    return  # it is opened again at the next check
                self._file = file
            seen = self._database.execute("PRAGMA data_version").fetchone()[0]
            if seen != self._seen:
                self._take(self._database)
                self._seen = seen

    def _take(self, database: sqlite3.Connection) -> None:
        self._rows = read_rows(database, "revoked_at IS NULL", self._rows)
        rows = self._rows.values()
        self._keys = {row.digest: row.key for row in rows}
        for row in rows:
            if row.old_digest is not None:
                self._keys |= row.tokens()
        self.count = len(rows)
        self._lacking = "keys missing" if version(database) == 0 else ""
