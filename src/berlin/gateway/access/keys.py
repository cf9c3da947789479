"""The API keys of the gateway: which models each may use; only hashes of the keys are stored."""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias, Unpack

import msgspec

from berlin.errors import ConfigurationError
from berlin.gateway.access.caller import Caller, Given, check_name, checked
from berlin.gateway.access.key_file import naming_file, open_for_reading, open_for_writing, version
from berlin.gateway.access.required import KeysRequired
from berlin.types import Secret

# Another process may be writing; an interactive command can wait for it.
BUSY_TIMEOUT_S = 5.0

KEY_PREFIX = "bk-"
"""The prefix of every key."""


class Key(Caller, frozen=True, kw_only=True):
    """The permissions of a key, without the key itself.

    Attributes:
        name: its name; unique among valid keys.
        created_at: seconds since the epoch.
        revoked_at: seconds since the epoch, or `None` if it is not revoked.
        old_expires_at: until when the token before the last rotation is valid, in seconds since the
            epoch; `None` if there is none.
    """

    name: str
    created_at: float
    revoked_at: float | None = None
    old_expires_at: float | None = None

    def state(self, now: float) -> Literal["live", "revoked", "expired"]:
        """Return its state at a time in seconds since the epoch."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.has_expired(now) else "live"


class Row(msgspec.Struct, frozen=True):
    """A key as it is stored: its permissions, and the hashes of its tokens."""

    key: Key
    digest: bytes
    old_digest: bytes | None = None

    def tokens(self) -> dict[bytes, Key]:
        """Return the key by the hashes of its tokens; the old one ends with its grace period."""
        found = {self.digest: self.key}
        if self.old_digest is not None:
            ends = [at for at in (self.key.expires_at, self.key.old_expires_at) if at is not None]
            found[self.old_digest] = msgspec.structs.replace(
                self.key, expires_at=min(ends, default=0.0)
            )
        return found


Stored: TypeAlias = tuple[Any, ...]
"""The columns of a row, as they are in the file."""

Change: TypeAlias = Callable[[list[Row]], Iterable[Row]]
"""Returns the new or changed rows, from all rows as they are."""


class KeyTable(Protocol):
    """Where keys are kept; see `KeyStore` for what is done with them."""

    def rows(self) -> list[Row]:
        """Return all keys, in order of creation. Raises ConfigurationError."""
        ...

    def change(self, change: Change) -> None:
        """Change keys in a transaction that no other change can meet.

        Raises:
            ConfigurationError: if they cannot be written.
        """
        ...


class KeyStore:
    """Adds, lists, rotates and revokes keys.

    Args:
        place: the file of the keys, or another table.
        clock: seconds since the epoch.
    """

    def __init__(self, place: Path | KeyTable, clock: Callable[[], float] = time.time) -> None:
        self._table = KeyFile(place) if isinstance(place, Path) else place
        self._clock = clock

    def add(
        self, name: str, models: Iterable[str] = (), **rules: Unpack[Given]
    ) -> tuple[Key, Secret]:
        """Create a key, and return it with its token, the only copy.

        The rules are those of `Caller`.

        Raises:
            ConfigurationError: if a value is invalid, a valid key has the name, or the key cannot
                be stored.
        """
        now, token, id = self._clock(), new_token(), f"k{secrets.token_hex(6)}"
        check_name(name, "a key")
        key = Key(id=id, name=name, created_at=now, models=tuple(models), **rules)
        key = checked(key, "a key", now)

        def insert(rows: list[Row]) -> Iterable[Row]:
            if self._live(rows, name):
                raise ConfigurationError(
                    f"there is a live key {name!r}: revoke it first, or take another name"
                )
            return [Row(key, digest(token))]

        self._table.change(insert)
        return key, Secret(token)

    def entries(self) -> list[Key]:
        """Return all keys, including revoked and expired ones, in order of creation.

        Raises:
            ConfigurationError: if they cannot be read.
        """
        return [row.key for row in self._table.rows()]

    def rotate(self, name_or_id: str, grace_s: float) -> tuple[Key, Secret] | None:
        """Give a key a new token, and return it with the token, the only copy.

        The current token stays valid for a while, so that clients can be changed one by one. One
        from an earlier rotation ends immediately. Name, limits, and what was used are unchanged.

        Args:
            name_or_id: the key.
            grace_s: for how many seconds the current token stays valid.

        Returns:
            `None` if there is no such live key.

        Raises:
            ConfigurationError: if the key cannot be stored.
        """
        token, until = new_token(), self._clock() + grace_s
        rotated: list[Row] = []

        def replace(rows: list[Row]) -> Iterable[Row]:
            for row in self._live(rows, name_or_id)[:1]:
                key = msgspec.structs.replace(row.key, old_expires_at=until)
                rotated[:] = [Row(key, digest(token), row.digest)]
            return rotated

        self._table.change(replace)
        return (rotated[0].key, Secret(token)) if rotated else None

    def revoke(self, name_or_id: str) -> bool:
        """Revoke a key for good; return whether one was found that was not revoked yet.

        Raises:
            ConfigurationError: if the key cannot be stored.
        """
        now = self._clock()
        revoked: list[Row] = []

        def mark(rows: list[Row]) -> Iterable[Row]:
            revoked[:] = [
                Row(msgspec.structs.replace(row.key, revoked_at=now), row.digest)
                for row in rows
                if name_or_id in (row.key.id, row.key.name) and row.key.revoked_at is None
            ]
            return revoked

        self._table.change(mark)
        return bool(revoked)

    def _live(self, rows: list[Row], name_or_id: str) -> list[Row]:
        now = self._clock()
        return [
            row
            for row in rows
            if name_or_id in (row.key.id, row.key.name) and row.key.state(now) == "live"
        ]


class KeyFile:
    """The keys in an SQLite file, which each call opens; see `KeyTable`.

    Args:
        path: the file; created by the first key.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def rows(self) -> list[Row]:
        """Return all keys; see `KeyTable`."""
        if not self._path.exists():
            return []
        with (
            naming_file(self._path),
            contextlib.closing(open_for_reading(self._path, BUSY_TIMEOUT_S)) as database,
        ):
            return [*read_rows(database).values()]

    def change(self, change: Change) -> None:
        """Change keys; see `KeyTable`."""
        if not self._path.exists() and not list(change([])):
            return
        with naming_file(self._path), open_for_writing(self._path, BUSY_TIMEOUT_S) as database:
            for row in change([*read_rows(database).values()]):
                values = msgspec.structs.asdict(row.key)
                values |= {name: msgspec.json.encode(values[name]).decode() for name in _LISTS}
                values |= {"digest": row.digest, "old_digest": row.old_digest}
                columns = ", ".join(values)
                database.execute(
                    f"INSERT INTO keys ({columns}) VALUES ({', '.join('?' * len(values))}) "  # noqa: S608  # of a class
                    f"ON CONFLICT (id) DO UPDATE SET ({columns}) = "
                    f"({', '.join(f'excluded.{name}' for name in values)})",
                    tuple(values.values()),
                )
        KeysRequired([self._path.parent]).remember()


def new_token() -> str:
    """Return a token for a key."""
    return f"{KEY_PREFIX}{secrets.token_urlsafe(32)}"


def digest(token: str) -> bytes:
    """Return the stored hash of a token. It has 256 random bits, so a fast hash is safe."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def read_rows(
    database: sqlite3.Connection, where: str = "TRUE", known: Mapping[Stored, Row] = {}
) -> dict[Stored, Row]:
    """Return the keys that match an SQL condition, in order of creation.

    Args:
        known: what was returned before; a key that has not changed is not parsed again.

    Raises:
        sqlite3.Error: if the file cannot be read.
        msgspec.DecodeError: if a row is invalid.
    """
    found = version(database)
    if found == 0:  # another process is just creating it
        return {}
    columns = _FIRST_COLUMNS if found == 1 else ("old_digest", *Key.__struct_fields__)
    stored = database.execute(
        f"SELECT digest, {', '.join(columns)} FROM keys WHERE {where} ORDER BY created_at, rowid"  # noqa: S608  # constants
    )
    return {values: known.get(values) or _row(columns, *values) for values in stored}


def _row(columns: tuple[str, ...], digest: bytes, *values: Any) -> Row:
    fields = dict(zip(columns, values, strict=True))
    for name in _LISTS & fields.keys():
        fields[name] = msgspec.json.decode(fields[name], type=tuple[str, ...])
    old = fields.pop("old_digest", None)
    return Row(msgspec.convert(fields, Key), digest, old)


_LISTS = {"models", "scopes", "limits"}
_FIRST_COLUMNS = (
    *("id", "name", "models", "expires_at", "requests_per_minute"),
    *("created_at", "revoked_at"),
)
