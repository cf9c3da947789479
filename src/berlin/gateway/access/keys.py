"""The API keys of the gateway: which models each may use; only hashes of the keys are stored."""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from berlin.errors import ConfigurationError
from berlin.gateway.access.caller import (
    Caller,
    check_limits,
    check_name,
    check_scopes,
    model_pattern,
)
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


class KeyStore:
    """Adds, lists and revokes keys; each call opens the file.

    Args:
        path: the file; created by the first `add`.
        clock: seconds since the epoch.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock

    def add(
        self,
        name: str,
        models: Sequence[str] = (),
        expires_at: float | None = None,
        requests_per_minute: int | None = None,
        *,
        user: str = "",
        scopes: Sequence[str] = (),
        limits: Sequence[str] = (),
    ) -> tuple[Key, Secret]:
        """Create a key, and return it with its token, the only copy.

        The options are those of `Caller`.

        Raises:
            ConfigurationError: if a value is invalid, a valid key has the name, or the file cannot
                be written.
        """
        now = self._clock()
        key = new_key(
            name,
            now,
            models=models,
            expires_at=expires_at,
            requests_per_minute=requests_per_minute,
            user=user,
            scopes=scopes,
            limits=limits,
        )
        token = new_token()
        row = msgspec.structs.asdict(key)
        row |= {name: msgspec.json.encode(row[name]).decode() for name in _LISTS}
        row["digest"] = digest(token)
        with naming_file(self._path), open_for_writing(self._path, BUSY_TIMEOUT_S) as database:
            same = read_keys(database, "name = :name OR id = :name", {"name": name})
            if any(other.state(now) == "live" for other in same.values()):
                raise ConfigurationError(
                    f"there is a live key {name!r}: revoke it first, or take another name"
                )
            names = ", ".join(row)
            values = ", ".join(f":{column}" for column in row)
            database.execute(f"INSERT INTO keys ({names}) VALUES ({values})", row)  # noqa: S608  # of a class
        KeysRequired([self._path.parent]).remember()
        return key, Secret(token)

    def entries(self) -> list[Key]:
        """Return all keys, including revoked and expired ones, in order of creation.

        Raises:
            ConfigurationError: if the file cannot be read.
        """
        if not self._path.exists():
            return []
        with (
            naming_file(self._path),
            contextlib.closing(open_for_reading(self._path, BUSY_TIMEOUT_S)) as database,
        ):
            return list(read_keys(database, "TRUE ORDER BY created_at, rowid").values())

    def rotate(self, name_or_id: str, grace_s: float) -> tuple[Key, Secret] | None:
        """Give a key a new token, and return it with the token, the only copy.

        The token so far stays valid for a while, so that clients can be changed one by one. One
        from an earlier rotation ends at once. Name, limits, and what was used are unchanged.

        Args:
            name_or_id: the key.
            grace_s: for how many seconds the token so far stays valid.

        Returns:
            `None` if there is no such live key.

        Raises:
            ConfigurationError: if the file cannot be written.
        """
        if not self._path.exists():
            return None
        now, token = self._clock(), new_token()
        with naming_file(self._path), open_for_writing(self._path, BUSY_TIMEOUT_S) as database:
            found = read_keys(
                database, "revoked_at IS NULL AND :name IN (id, name)", {"name": name_or_id}
            )
            live = [key for key in found.values() if key.state(now) == "live"]
            if not live:
                return None
            key = msgspec.structs.replace(live[0], old_expires_at=now + grace_s)
            database.execute(
                "UPDATE keys SET old_digest = digest, old_expires_at = ?, digest = ? WHERE id = ?",
                (key.old_expires_at, digest(token), key.id),
            )
        return key, Secret(token)

    def revoke(self, name_or_id: str) -> bool:
        """Revoke a key for good; return whether one was found that was not revoked yet.

        Raises:
            ConfigurationError: if the file cannot be written.
        """
        if not self._path.exists():
            return False
        with naming_file(self._path), open_for_writing(self._path, BUSY_TIMEOUT_S) as database:
            changed = database.execute(
                "UPDATE keys SET revoked_at = ? WHERE revoked_at IS NULL AND ? IN (id, name)",
                (self._clock(), name_or_id),
            )
            return changed.rowcount > 0


def new_key(
    name: str,
    now: float,
    *,
    models: Sequence[str] = (),
    expires_at: float | None = None,
    requests_per_minute: int | None = None,
    user: str = "",
    scopes: Sequence[str] = (),
    limits: Sequence[str] = (),
) -> Key:
    """Return a key with a new id. Raises ConfigurationError if a value is invalid."""
    key = Key(
        id=f"k{secrets.token_hex(6)}",
        name=name,
        models=tuple(dict.fromkeys(map(model_pattern, models))),
        expires_at=expires_at,
        requests_per_minute=requests_per_minute,
        created_at=now,
        user=user,
        scopes=check_scopes(scopes),
        limits=tuple(dict.fromkeys(limits)),
    )
    check_name(name, "a key")
    check_limits("a key", key, now)
    return key


def new_token() -> str:
    """Return a token for a key."""
    return f"{KEY_PREFIX}{secrets.token_urlsafe(32)}"


def digest(token: str) -> bytes:
    """Return the stored hash of a token. It has 256 random bits, so a fast hash is safe."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def read_keys(
    database: sqlite3.Connection, where: str, values: dict[str, str] | None = None
) -> dict[bytes, Key]:
    """Return the keys that match an SQL condition, by the digest of their token.

    Raises:
        sqlite3.Error: if the file cannot be read.
        msgspec.DecodeError: if a row is invalid.
    """
    found = version(database)
    if found == 0:  # another process is just creating it
        return {}
    columns = _FIRST_COLUMNS if found == 1 else Key.__struct_fields__
    rows = database.execute(
        f"SELECT digest, {', '.join(columns)} FROM keys WHERE {where}",  # noqa: S608  # conditions are constants
        values or {},
    )
    keys = {}
    for stored, *row in rows:
        fields = dict(zip(columns, row, strict=True))
        for name in _LISTS:
            if name in fields:
                fields[name] = msgspec.json.decode(fields[name], type=tuple[str, ...])
        keys[stored] = msgspec.convert(fields, Key)
    return keys


def live_tokens(database: sqlite3.Connection) -> dict[bytes, Key]:
    """Return the keys that are not revoked by the digests of all their tokens; a token that was
    replaced by a rotation ends with its grace period.

    Raises as `read_keys` does.
    """
    keys = read_keys(database, "revoked_at IS NULL")
    if version(database) > 1:
        by_id = {key.id: (stored, key) for stored, key in keys.items()}
        text = "SELECT id, old_digest FROM keys WHERE revoked_at IS NULL AND old_digest NOT NULL"
        for id, old in database.execute(text):
            stored, key = by_id[id]
            keys |= tokens_of(key, stored, old)
    return keys


def tokens_of(key: Key, current: bytes, old: bytes | None) -> dict[bytes, Key]:
    """Return a key by the digests of its tokens; the old one ends with its grace period."""
    found = {current: key}
    if old is not None:
        ends = [at for at in (key.expires_at, key.old_expires_at) if at is not None]
        found[old] = msgspec.structs.replace(key, expires_at=min(ends, default=0.0))
    return found


_LISTS = ("models", "scopes", "limits")
_FIRST_COLUMNS = (
    *("id", "name", "models", "expires_at", "requests_per_minute"),
    *("created_at", "revoked_at"),
)
