"""The monthly partitions of the table in PostgreSQL."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from berlin.ledger.database.tables import requests

# Only one process at a time changes the tables.
LOCK = text("SELECT pg_advisory_xact_lock(4114018)")

_NAME = re.compile(rf"{requests.name}_(\d{{4}})_(\d\d)")
_LIST = text(
    "SELECT child.relname FROM pg_inherits "
    "JOIN pg_class child ON child.oid = inhrelid "
    "WHERE inhparent = CAST(:parent AS regclass)"
)


def month_of(at: datetime) -> datetime:
    """Return the beginning of the month of a time, in UTC."""
    return at.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def next_month(month: datetime) -> datetime:
    """Return the beginning of the next month."""
    return month.replace(year=month.year + month.month // 12, month=month.month % 12 + 1)


async def create_partitions(connection: AsyncConnection, months: Iterable[datetime]) -> None:
    """Create the partitions of months, where they are missing."""
    await connection.execute(LOCK)
    for month in months:
        name = f"{requests.name}_{month:%Y_%m}"
        begin, end = month.isoformat(), next_month(month).isoformat()
        await connection.execute(
            text(
                f"CREATE TABLE IF NOT EXISTS {name} PARTITION OF {requests.name} "
                f"FOR VALUES FROM ('{begin}') TO ('{end}')"
            )
        )


async def drop_partitions(connection: AsyncConnection, before: datetime) -> None:
    """Drop the partitions of months that ended before a time."""
    await connection.execute(LOCK)
    names = (await connection.execute(_LIST, {"parent": requests.name})).scalars().all()
    for name in names:
        found = _NAME.fullmatch(name)
        if found is None:
            continue
        month = datetime(int(found[1]), int(found[2]), 1, tzinfo=UTC)
        if next_month(month) <= before:
            await connection.execute(text(f"DROP TABLE {name}"))
