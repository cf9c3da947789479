"""The table of the API keys in PostgreSQL, and connections to it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import msgspec

from berlin.errors import ConfigurationError
from berlin.gateway.access.keys import Key, Row
from berlin.types import Secret

CONNECT_TIMEOUT_S = 2.0
COMMAND_TIMEOUT_S = 1.0
# Held while keys are changed, so that changes are numbered in the order in which they are seen.
LOCK = 0x6265726C696E

_SCHEMA = """
CREATE TABLE IF NOT EXISTS berlin_keys (
  id text PRIMARY KEY,
  digest bytea NOT NULL UNIQUE,
  old_digest bytea,
  key text NOT NULL,
  changed bigint NOT NULL
)
"""
CHANGED = "SELECT coalesce(max(changed), 0) FROM berlin_keys"


async def connect(url: Secret) -> Any:
    """Return a connection.

    Raises:
        ConfigurationError: if asyncpg is not installed.
        OSError, TimeoutError, asyncpg.PostgresError: if there is none.
    """
    try:
        import asyncpg
    except ImportError as error:
        raise ConfigurationError(
            "[keys] needs one more package: pip install 'berlin-llm[ledger]'"
        ) from error
    try:
        return await asyncpg.connect(
            url.reveal(),
            timeout=CONNECT_TIMEOUT_S,
            command_timeout=COMMAND_TIMEOUT_S,
            statement_cache_size=0,  # a pooler may give each transaction another connection
        )
    except ValueError:  # its message holds the URL, and so the password
        raise ConfigurationError("[keys] store is not the URL of a PostgreSQL") from None


def failures() -> tuple[type[BaseException], ...]:
    """Return the errors of a PostgreSQL that cannot be used."""
    import asyncpg

    return (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError)


async def create(connection: Any) -> None:
    """Create the table if it is missing."""
    await connection.execute(_SCHEMA)


async def rows(connection: Any) -> list[Row]:
    """Return all keys, in order of creation."""
    found = await connection.fetch("SELECT digest, old_digest, key FROM berlin_keys")
    return await asyncio.to_thread(_parse, found)


def _parse(found: Iterable[Any]) -> list[Row]:
    keys = [
        Row(msgspec.json.decode(row["key"], type=Key), row["digest"], row["old_digest"])
        for row in found
    ]
    return sorted(keys, key=lambda row: (row.key.created_at, row.key.id))


async def put(connection: Any, row: Row) -> None:
    """Store a key. The lock must be held."""
    await connection.execute(
        "INSERT INTO berlin_keys VALUES ($1, $2, $3, $4, "
        "(SELECT coalesce(max(changed), 0) + 1 FROM berlin_keys)) ON CONFLICT (id) DO UPDATE SET "
        "digest = excluded.digest, old_digest = excluded.old_digest, key = excluded.key, "
        "changed = excluded.changed",
        row.key.id,
        row.digest,
        row.old_digest,
        msgspec.json.encode(row.key).decode(),
    )


def close(connection: Any) -> None:
    """Close a connection without waiting, from any place."""
    try:
        connection.terminate()
    except RuntimeError:  # its event loop is gone, and the connection with it
        return
