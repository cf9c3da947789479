"""The API keys as the running gateway sees them: in memory, and never older than a second."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

from berlin.errors import ConfigurationError
from berlin.gateway.access.key_file import open_for_reading, told, version
from berlin.gateway.access.keys import Key, digest, read_keys

CHECK_EVERY_S = 0.25
# How long the last known keys are good for when the file cannot be read.
TRUSTED_FOR_S = 5.0
# The event loop stands still for so long at most when the file is locked; readers of a WAL
# file wait only while SQLite mends it after a crash.
BUSY_TIMEOUT_S = 0.05

_log = logging.getLogger("berlin.gateway")


class KeyReader:
    """Finds the key of a token.

    A look-up is one hash and one look into a dictionary of hashes: its time tells nothing about
    a token. At most every `CHECK_EVERY_S`, and only when it is used, it asks the file whether it
    has changed (some 20 µs), and reads all keys anew if so (some 6 ms for 1,000 keys); both
    happen in the event loop.

    No file is no keys. When the file cannot be read, the last known keys are good for
    `TRUSTED_FOR_S` after the last good look at it, and then nobody is let in until it can be read
    again. The error is logged once.

    Args:
        path: the file of a `KeyStore`.
        clock: seconds since the epoch.
        monotonic: seconds that only go forward.

    Raises:
        ConfigurationError: if there is a file and it cannot be read.
    """

    def __init__(
        self,
        path: Path,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = path
        self._clock = clock
        self._monotonic = monotonic
        self._keys: dict[bytes, Key] = {}
        self._database: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        self._seen: int | None = None
        self._failing = False
        self._in_use = False
        self._checked_at = self._good_at = monotonic()
        self._look()

    @property
    def working(self) -> bool:
        """Tell whether the keys are known: if not, nobody is let in."""
        self._refresh()
        return self._monotonic() - self._good_at <= TRUSTED_FOR_S

    @property
    def in_use(self) -> bool:
        """Tell whether there ever was a key: from then on nobody asks without one."""
        self._refresh()
        return self._in_use

    def find(self, token: str) -> Key | None:
        """Return the live key of a token, or `None`."""
        if not self.working:
            return None
        key = self._keys.get(digest(token))
        return key if key is not None and key.state(self._clock()) == "live" else None

    def close(self) -> None:
        """Close the file."""
        if self._database is not None:
            self._database.close()
        self._database = self._seen = None

    def _refresh(self) -> None:
        now = self._monotonic()
        if now - self._checked_at < CHECK_EVERY_S:
            return
        self._checked_at = now
        try:
            self._look()
        except ConfigurationError as error:
            self.close()
            if now - self._good_at > TRUSTED_FOR_S:
                self._keys = {}
            if not self._failing:
                _log.error("keys.unreadable error=%s", error.message)
            self._failing = True
            return
        if self._failing:
            _log.warning("keys.readable path=%s", self._path)
        self._failing = False
        self._good_at = now

    def _look(self) -> None:
        with told(self._path):
            try:
                status = self._path.stat()
            except FileNotFoundError:
                self.close()
                self._keys = {}
                return
            file = (status.st_dev, status.st_ino)
            if self._database is None or file != self._file:  # another file took its place
                self.close()
                self._database = open_for_reading(self._path, BUSY_TIMEOUT_S)
                self._file = file
            seen = self._database.execute("PRAGMA data_version").fetchone()[0]
            if seen != self._seen:
                self._keys = read_keys(self._database, "revoked_at IS NULL")
                # The first key comes in one step with the schema, and no key is ever deleted.
                self._in_use = self._in_use or version(self._database) > 0
                self._seen = seen
