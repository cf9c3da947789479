"""The table of requests, the same in SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from msgspec.structs import astuple
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Float,
    Integer,
    MetaData,
    String,
    Table,
    TypeDecorator,
)

from berlin.ledger.entry import Entry

VERSION_TABLE = "berlin_ledger_version"

REVISIONS = ("0001",)
"""The migrations of this release, oldest first."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class UtcTime(TypeDecorator[datetime]):
    """A time in UTC: with a time zone in PostgreSQL, and as text without one in SQLite."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return the value for the driver."""
        if value is None or dialect.name != "sqlite":
            return value
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return the value that the driver has read."""
        return value if value is None or value.tzinfo is not None else value.replace(tzinfo=UTC)


metadata = MetaData()

requests = Table(
    "berlin_requests",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("at", UtcTime, primary_key=True),
    Column("key", String(200), nullable=False),
    Column("user", String(200), nullable=False),
    Column("face", String(32), nullable=False),
    Column("provider", String(200), nullable=False),
    Column("account", String(200), nullable=False),
    Column("model_asked", String(200), nullable=False),
    Column("model", String(200), nullable=False),
    Column("stream", Boolean, nullable=False),
    Column("attempts", Integer),
    Column("input_tokens", BigInteger),
    Column("output_tokens", BigInteger),
    Column("cached_tokens", BigInteger),
    Column("cache_write_tokens", BigInteger),
    Column("reasoning_tokens", BigInteger),
    Column("estimated", Boolean, nullable=False),
    Column("cost_nanos", BigInteger),
    Column("status", Integer, nullable=False),
    Column("outcome", String(64), nullable=False),
    Column("first_event_ms", Float),
    Column("duration_ms", Float),
)


def rows_of(entries: Iterable[Entry]) -> list[tuple[object, ...]]:
    """Return requests as PostgreSQL's driver takes them: a row's members are the columns."""
    return [(entry.id, time_of(entry), *astuple(entry)[2:]) for entry in entries]


def flat_values_of(entries: Sequence[Entry]) -> tuple[object, ...]:
    """Return requests as SQLite's driver takes them, one after the other."""
    values: list[object] = []
    for entry in entries:
        values += astuple(entry)
    values[1 :: len(requests.columns)] = [_shown_time(entry.at_us) for entry in entries]
    return tuple(values)


def _shown_time(at_us: int) -> str:
    """Return a time as `UtcTime` writes it."""
    second, us = divmod(at_us, 1_000_000)
    return f"{_shown_second(second)}.{us:06}"


@lru_cache(16)
def _shown_second(second: int) -> str:
    return (_EPOCH + timedelta(seconds=second)).replace(tzinfo=None).isoformat(" ")


def time_of(entry: Entry) -> datetime:
    """Return when a request came."""
    return _EPOCH + timedelta(microseconds=entry.at_us)
