"""Opens the database of the ledger: SQLite or PostgreSQL, by its URL."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

from sqlalchemy import event, make_url
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from berlin.auth.tokens.private_file import make_private_file, make_private_folder
from berlin.errors import ConfigurationError
from berlin.types import Secret

CONNECT_TIMEOUT_S = 5.0
COMMAND_TIMEOUT_S = 30.0
BUSY_TIMEOUT_S = 10.0

_EXPECTED = "expected postgresql://user:password@host/database or sqlite:////path/of/a/file"


def open_engine(url: Secret) -> AsyncEngine:
    """Return the engine; it connects on first use.

    Raises:
        ConfigurationError: if the URL is wrong, or the file cannot be created.
        ImportError: if the driver is not installed.
    """
    try:
        parsed = make_url(url.reveal())
    except (ArgumentError, ValueError):
        raise ConfigurationError(f"ledger.url is not the URL of a database; {_EXPECTED}") from None
    kind = parsed.get_backend_name()
    if kind not in _KINDS:
        raise ConfigurationError(f"ledger.url begins with {kind[:20]!r}; {_EXPECTED}")
    return _KINDS[kind](parsed)


def place_of(url: Secret) -> str:
    """Return a name for the database of a URL, which is the same after a change of password."""
    where = make_url(url.reveal()).set(password=None, query={})
    return hashlib.sha256(where.render_as_string().encode()).hexdigest()[:16]


def _open_sqlite(url: URL) -> AsyncEngine:
    if not url.database or url.database == ":memory:" or url.query or url.host:
        raise ConfigurationError(f"ledger.url names no file; {_EXPECTED}")
    path = Path(os.path.expanduser(url.database))
    try:
        make_private_folder(path.parent)
        make_private_file(path)
    except OSError as error:
        raise ConfigurationError(
            f"the ledger {path} cannot be opened: {error.strerror or error}"
        ) from error
    engine = create_async_engine(
        URL.create("sqlite+aiosqlite", database=str(path)),
        pool_size=2,
        connect_args={"timeout": BUSY_TIMEOUT_S},
    )

    @event.listens_for(engine.sync_engine, "connect")
    def prepare(connection: Any, _: object) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode = WAL")
        # What is committed is deleted from the journal of the ledger, so it must be on the disk.
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.close()

    return engine


def _open_postgres(url: URL) -> AsyncEngine:
    query = dict(url.query)
    if "sslmode" in query:  # what every other client of PostgreSQL calls it
        query["ssl"] = query.pop("sslmode")
    unknown = query.keys() - {"ssl", "host", "port"}
    if unknown:
        raise ConfigurationError(
            f"ledger.url has an unknown parameter {min(unknown)[:40]!r}; known are sslmode, host "
            "and port"
        )
    return create_async_engine(
        url.set(drivername="postgresql+asyncpg", query=query),
        pool_size=2,
        pool_pre_ping=True,
        connect_args={
            "timeout": CONNECT_TIMEOUT_S,
            "command_timeout": COMMAND_TIMEOUT_S,
            # A connection pooler between here and the server may not know prepared statements.
            "statement_cache_size": 0,
            "prepared_statement_cache_size": 0,
            "server_settings": {"application_name": "berlin"},
        },
    )


_KINDS = {"sqlite": _open_sqlite, "postgresql": _open_postgres, "postgres": _open_postgres}
