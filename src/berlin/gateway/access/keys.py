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
from berlin.gateway.access.caller import Caller, check_limits, check_name, model_pattern
from berlin.gateway.access.key_file import naming_file, open_for_reading, open_for_writing, version
from berlin.gateway.access.required import KeysRequired
from berlin.types import Secret

# Another process may be writing; an interactive command can wait for it.
BUSY_TIMEOUT_S = 5.0

KEY_PREFIX = "bk-"
"""How each key begins."""


class Key(Caller, frozen=True, kw_only=True):
    """The permissions of a key, without the key itself.

    Attributes:
        name: its name; unique among valid keys.
        created_at: seconds since the epoch.
        revoked_at: seconds since the epoch, or `None` if it is not revoked.
    """

    name: str
    created_at: float
    revoked_at: float | None = None

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
    ) -> tuple[Key, Secret]:
        """Create a key, and return it with its token, the only copy.

        Raises:
            ConfigurationError: if a value is invalid, a valid key has the name, or the file cannot
                be written.
        """
        now = self._clock()
        patterns = tuple(dict.fromkeys(map(model_pattern, models)))
        key = Key(
            id=f"k{secrets.token_hex(6)}",
            name=name,
            models=patterns,
            expires_at=expires_at,
            requests_per_minute=requests_per_minute,
            created_at=now,
        )
        check_name(name, "a key")
        check_limits("a key", key, now)
        token = f"{KEY_PREFIX}{secrets.token_urlsafe(32)}"
        row = msgspec.structs.asdict(key)
        row |= {"models": msgspec.json.encode(patterns).decode(), "digest": digest(token)}
        with naming_file(self._path), open_for_writing(self._path, BUSY_TIMEOUT_S) as database:
            same = read_keys(database, "name = :name OR id = :name", {"name": name})
            if any(other.state(now) == "live" for other in same.values()):
                raise ConfigurationError(
                    f"there is a live key {name!r}: revoke it first, or take another name"
                )
            names = ", ".join(row)
            values = ", ".join(f":{column}" for column in row)
            database.execute(f"INSERT INTO keys ({names}) VALUES ({values})", row)  # noqa: S608
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


def digest(token: str) -> bytes:
    """Return the stored hash of a token. It has 256 random bits, so a fast hash is safe."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def read_keys(
    database: sqlite3.Connection, where: str, values: dict[str, str] | None = None
) -> dict[bytes, Key]:
    """Return the keys that match an SQL condition, by digest.

    Raises:
        sqlite3.Error: if the file cannot be read.
        msgspec.DecodeError: if a row is invalid.
    """
    if version(database) == 0:  # another process is just creating it
        return {}
    columns = Key.__struct_fields__
    found = database.execute(
        f"SELECT digest, {', '.join(columns)} FROM keys WHERE {where}",  # noqa: S608
        values or {},
    )
    keys = {}
    for stored, *row in found:
        fields = dict(zip(columns, row, strict=True))
        fields["models"] = msgspec.json.decode(fields["models"], type=tuple[str, ...])
        keys[stored] = msgspec.convert(fields, Key)
    return keys
