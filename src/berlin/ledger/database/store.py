"""Writes rows into the database, each once, sums them up and deletes old ones."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, delete, inspect, select, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from berlin.errors import ConfigurationError
from berlin.ledger.database.engine import open_engine
from berlin.ledger.database.failures import as_unavailable
from berlin.ledger.database.partitions import create_partitions, drop_partitions, month_of
from berlin.ledger.database.sums import figures, statement
from berlin.ledger.database.tables import (
    REVISIONS,
    VERSION_TABLE,
    flat_values_of,
    requests,
    rows_of,
    time_of,
)
from berlin.ledger.entry import Entry
from berlin.ledger.figures import Figures, Query
from berlin.types import Secret

# Rows of one statement in SQLite: each has 22 parameters, of 999 or (newer versions) 32,766.
_ROWS = 1000 if sqlite3.sqlite_version_info >= (3, 32) else 40
# Rows deleted in one transaction: others can write in between.
_DELETE_ROWS = 5_000
# A row in a statement of SQLite.
_ROW = f"({', '.join('?' * len(requests.columns))})"


class Store:
    """The table of requests. Every failure is an `UnavailableError`.

    Args:
        url: the URL of the database.

    Raises:
        ConfigurationError: if the URL is wrong.
    """

    def __init__(self, url: Secret) -> None:
        self._engine = open_engine(url)
        self._dialect = self._engine.dialect.name
        dialect = sqlite if self._dialect == "sqlite" else postgresql
        # A row that is already there, from a delivery whose end was not seen, stays as it is.
        insert: Any = dialect.insert(requests).on_conflict_do_nothing()
        # Compiled once, for whole tuples: what is done for each row is most of the cost.
        self._insert = str(insert.compile(dialect=self._engine.dialect))
        self._months: set[datetime] = set()

    async def check(self) -> None:
        """Check that the tables are those of this release, or of a newer one.

        Raises:
            ConfigurationError: if migrations are missing.
        """
        async with as_unavailable(), self._engine.connect() as connection:
            revision = await connection.run_sync(revision_of)
        if revision in REVISIONS[:-1] or revision is None:
            raise ConfigurationError(
                "the ledger's database lacks migrations of this release: "
                "run `berlin ledger upgrade`, then start again"
            )

    async def insert(self, entries: Sequence[Entry]) -> None:
        """Write rows; those that are already there are left alone."""
        async with as_unavailable():
            if self._dialect == "postgresql":
                await self._make_room(entries)
            async with self._engine.begin() as connection:
                if self._dialect == "postgresql":
                    await connection.exec_driver_sql(self._insert, rows_of(entries))
                    return
                # One statement for each row would stop the other threads for a moment each time.
                for first in range(0, len(entries), _ROWS):
                    some = entries[first : first + _ROWS]
                    statement = self._insert.replace(_ROW, ", ".join([_ROW] * len(some)))
                    await connection.exec_driver_sql(statement, flat_values_of(some))

    async def sums(self, query: Query) -> list[Figures]:
        """Return the figures of each group that a query asks for."""
        async with as_unavailable(), self._engine.connect() as connection:
            rows = (await connection.execute(statement(query, self._dialect))).all()
        return figures(query, rows)

    async def expire(self, before: datetime) -> None:
        """Delete the rows from before a time."""
        async with as_unavailable():
            if self._dialect == "postgresql":
                async with self._engine.begin() as connection:
                    await drop_partitions(connection, before)
                self._months = {month for month in self._months if month >= month_of(before)}
        deleted = _DELETE_ROWS
        while deleted == _DELETE_ROWS:
            async with as_unavailable(), self._engine.begin() as connection:
                deleted = await _delete_some(connection, before)

    async def close(self) -> None:
        """Close the connections."""
        await self._engine.dispose()

    async def _make_room(self, entries: Sequence[Entry]) -> None:
        missing = {month_of(time_of(entry)) for entry in entries} - self._months
        if missing:
            async with self._engine.begin() as connection:
                await create_partitions(connection, sorted(missing))
            self._months |= missing


def revision_of(connection: Any) -> str | None:
    """Return the revision of the tables; `None` if there are none."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    found = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}"))  # noqa: S608  # a constant
    revision: str | None = found.scalar()
    return revision


async def _delete_some(connection: AsyncConnection, before: datetime) -> int:
    old = select(requests.c.id, requests.c.at).where(requests.c.at < before).limit(_DELETE_ROWS)
    found = (await connection.execute(old)).all()
    if found:
        keys = [{"old_id": id, "old_at": at} for id, at in found]
        await connection.execute(_DELETE_ROW, keys)
    return len(found)


_DELETE_ROW = delete(requests).where(
    requests.c.id == bindparam("old_id"), requests.c.at == bindparam("old_at")
)
