"""The ledger's databases: one suite over a real SQLite file and a real PostgreSQL."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import text
from sqlalchemy.dialects import sqlite

from berlin.errors import ConfigurationError, UnavailableError
from berlin.ledger.database import store as module
from berlin.ledger.database import upgrade as upgrading
from berlin.ledger.database.partitions import next_month
from berlin.ledger.database.store import Store
from berlin.ledger.database.sums import statement
from berlin.ledger.database.tables import REVISIONS, VERSION_TABLE, metadata
from berlin.ledger.database.upgrade import upgrade
from berlin.ledger.entry import MAX_COUNT, OPEN, Entry, name_of
from berlin.ledger.figures import Figures, Query, total_of
from berlin.ledger.recorder import Recorder
from berlin.types import Secret
from support.postgres import Postgres

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/ledger.sqlite"
    cluster: Postgres = request.getfixturevalue("postgres")
    return cluster.new_database()


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    """A database with the tables of this release."""
    await upgrade(Secret(url))
    one = Store(Secret(url))
    yield one
    await one.close()


def row(n: int, at: datetime = NOON, **fields: object) -> Entry:
    """Return the row of a request."""
    usual: dict[str, object] = {
        "id": f"req_{n}",
        "at_us": int(at.timestamp() * 1_000_000),
        "key": "k1",
        "provider": "work",
        "model": "deep",
        "outcome": "ok",
        "status": 200,
    }
    return Entry(**(usual | fields))


async def count(store: Store) -> int:
    """Return the number of rows."""
    return total_of(await store.sums(Query())).requests


async def test_migrations_make_the_tables_once(url: str) -> None:
    """A database without migrations is refused; the upgrade can be run again."""
    store = Store(Secret(url))
    with pytest.raises(ConfigurationError, match="berlin ledger upgrade"):
        await store.check()
    assert await upgrade(Secret(url)) == (None, REVISIONS[-1])
    assert await upgrade(Secret(url)) == (REVISIONS[-1], REVISIONS[-1])
    await store.check()
    await store.close()


async def test_each_row_is_written_once(store: Store) -> None:
    """A row that is written again changes nothing, in the same batch or in another one."""
    await store.insert([row(1), row(2, outcome="client_left")])
    await store.insert([row(2, input_tokens=5), row(3), row(3)])
    (total,) = await store.sums(Query())
    assert (total.requests, total.failed, total.input_tokens) == (3, 1, 0)
    await store.insert([row(n, input_tokens=1) for n in range(101)] * 2)
    (total,) = await store.sums(Query())
    assert (total.requests, total.failed, total.input_tokens) == (101, 1, 98)


async def test_unknown_is_not_zero(store: Store) -> None:
    """Sums count what is known, and how many requests are unknown, estimated or without a price."""
    await store.insert(
        [
            row(1, input_tokens=0, output_tokens=0, cost_nanos=0),
            row(2),
            row(3, input_tokens=7, output_tokens=3, estimated=True),
            row(4, input_tokens=MAX_COUNT, output_tokens=1, cost_nanos=5, reasoning_tokens=1),
        ]
    )
    (total,) = await store.sums(Query())
    assert total == Figures(
        requests=4,
        input_tokens=MAX_COUNT + 7,
        output_tokens=4,
        reasoning_tokens=1,
        estimated=1,
        unknown=1,
        unpriced=1,
        cost_nanos=5,
    )


async def test_figures_by_each_grouping(store: Store) -> None:
    """Groups come with the most expensive first; times and keys select."""
    await store.insert(
        [
            row(1, cost_nanos=1, user="ann"),
            row(2, model="", provider="echo", cost_nanos=5, key=""),
            row(3, NOON - timedelta(days=2), cost_nanos=1),
        ]
    )

    async def groups(**query: object) -> dict[str, int]:
        found = await store.sums(Query(**query))
        return {one.group: one.requests for one in found}

    assert list(await groups(by="model")) == ["echo", "work:deep"]
    assert await groups(by="provider") == {"echo": 1, "work": 2}
    assert await groups(by="key") == {"": 1, "k1": 2}
    assert await groups(by="user") == {"": 2, "ann": 1}
    assert await groups(by="day") == {"2026-11-26": 1, "2026-11-28": 2}
    assert await groups(key="k1") == {"": 2}
    assert await groups(key="") == {"": 1}
    assert await groups(since=NOON, until=NOON + timedelta(seconds=1)) == {"": 2}
    assert await groups(until=NOON) == {"": 1}
    assert await groups(key="nobody") == {"": 0}


async def test_no_more_groups_than_wanted(store: Store) -> None:
    """Only the most expensive ones are read from the database; days are all there."""
    costs = {"ann": 1, "bob": None, "cy": 5, "dee": 3}
    many = [row(n, cost_nanos=cost, user=user) for n, (user, cost) in enumerate(costs.items())]
    await store.insert([*many, row(9, NOON - timedelta(days=2), user="cy")])
    found = await store.sums(Query(by="user", most=3))
    assert [one.group for one in found] == ["cy", "dee", "ann"]
    assert len(await store.sums(Query(by="day", most=1))) == 2
    assert (await store.sums(Query(most=1)))[0].requests == 5


async def test_days_begin_in_the_time_zone_of_the_reader(store: Store) -> None:
    """Midnight is that of the zone, also where it differs by half an hour."""
    last = datetime(2026, 11, 27, 18, 29, 59, 999_999, tzinfo=UTC)
    await store.insert([row(1, last), row(2, last + timedelta(microseconds=1))])
    for zone, days in {
        "Asia/Kolkata": ["2026-11-27", "2026-11-28"],
        "UTC": ["2026-11-27"],
        "America/New_York": ["2026-11-27"],
    }.items():
        assert [one.group for one in await store.sums(Query(by="day", zone=zone))] == days


async def test_old_rows_are_deleted(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows from before a time are deleted, whatever their number, and no others."""
    monkeypatch.setattr(module, "_DELETE_ROWS", 3)
    ages = [timedelta(days=n) for n in (0, 1, 20, 21, 22, 23, 24, 100, 400)]
    await store.insert([row(n, NOON - age) for n, age in enumerate(ages)])
    await store.expire(NOON - timedelta(days=20))
    assert await count(store) == 3
    await store.insert([row(99, NOON - timedelta(days=400))])
    assert await count(store) == 4


async def test_whatever_a_client_names_can_be_stored(store: Store) -> None:
    """Texts in every script, quotes, and what databases refuse: NUL and halves of surrogates."""
    names = ["'; DROP TABLE berlin_requests; --", "ключ 🔑", "a\0b", "\ud800", "x" * 10_000]
    await store.insert([row(n, user=name_of(name)) for n, name in enumerate(names)])
    users = {one.group for one in await store.sums(Query(by="user"))}
    assert {names[0], names[1], "x" * 200} <= users
    assert len(users) == 5


def test_the_migrations_end_where_the_tables_are() -> None:
    """The revisions named in the code are those of the files, in their order."""
    config = Config()
    folder = Path(upgrading.__file__).parent / "migrations"
    config.set_main_option("script_location", str(folder))
    found = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]
    assert tuple(reversed(found)) == REVISIONS


async def test_the_migrations_make_what_the_code_expects(url: str) -> None:
    """After an upgrade the database has the columns of the code, and their types."""
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    await upgrade(Secret(url))
    store = Store(Secret(url))

    def compare(connection: object) -> list[object]:
        options = {"version_table": VERSION_TABLE, "compare_type": True}
        context = MigrationContext.configure(connection, opts=options)
        return list(compare_metadata(context, metadata))

    async with store._engine.connect() as connection:
        differences = await connection.run_sync(compare)
    await store.close()
    # Indexes are those of the migration alone: no statement names them.
    assert [one for one in differences if one[0] != "remove_index"] == []


@pytest.mark.parametrize(
    "url",
    [
        "nonsense",
        "mysql://u:secret@host/db",
        "sqlite://",
        "sqlite:///:memory:",
        "postgresql://u:secret@host/db?options=-c",
    ],
)
def test_a_wrong_url_is_explained_without_its_password(url: str) -> None:
    """The error names the setting, and never shows the password."""
    with pytest.raises(ConfigurationError, match=r"ledger\.url") as caught:
        Store(Secret(url))
    assert "secret" not in str(caught.value)


async def test_a_database_that_is_away_is_one_kind_of_error() -> None:
    """A refused connection is an `UnavailableError`, without the password."""
    store = Store(Secret("postgresql://u:geheim@127.0.0.1:1/db"))
    with pytest.raises(UnavailableError, match="ledger's database") as caught:
        await store.insert([row(1)])
    assert "geheim" not in str(caught.value)
    await store.close()


async def test_a_partition_for_each_month(postgres: Postgres) -> None:
    """PostgreSQL has a partition for each month, and drops whole ones when they are old."""
    url = postgres.new_database()
    await upgrade(Secret(url))
    store = Store(Secret(url))
    await store.insert([row(1), row(2, NOON - timedelta(days=31)), row(3, NOON.replace(month=12))])
    sql = "SELECT relname FROM pg_class WHERE relispartition AND relkind = 'r' ORDER BY 1"
    assert postgres.query(sql, url) == [f"berlin_requests_2026_{month}" for month in (10, 11, 12)]
    await store.expire(NOON)
    assert postgres.query(sql, url) == [f"berlin_requests_2026_{month}" for month in (11, 12)]
    assert await count(store) == 2
    await store.close()


@pytest.mark.parametrize(
    ("query", "plan"),
    [
        (Query(key="k1", since=NOON), "USING INDEX berlin_requests_key_at (key=? AND at>?)"),
        (Query(by="key", since=NOON), "USING INDEX berlin_requests_at (at>?)"),
        (Query(by="model", since=NOON), "USING INDEX berlin_requests_at (at>?)"),
        (Query(by="key"), "SCAN berlin_requests USE TEMP B-TREE FOR GROUP BY"),
    ],
)
async def test_sqlite_reads_what_a_query_needs(tmp_path: Path, query: Query, plan: str) -> None:
    """Times and keys are found by an index; what reads everything reads it in order."""
    url = f"sqlite:///{tmp_path}/ledger.sqlite"
    await upgrade(Secret(url))
    sql = statement(query, "sqlite").compile(
        dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True}
    )
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as file:
        steps = file.execute(f"EXPLAIN QUERY PLAN {sql}").fetchall()
    assert plan in " ".join(step[3] for step in steps)


async def test_postgresql_reads_the_months_that_a_query_needs(postgres: Postgres) -> None:
    """The partitions of other months are not read."""
    url = Secret(postgres.new_database())
    await upgrade(url)
    store = Store(url)
    await store.insert([row(n, NOON - timedelta(days=40 * n)) for n in range(6)])
    query = Query(by="key", since=NOON - timedelta(days=41), until=NOON)
    async with store._engine.connect() as connection:
        dialect = connection.dialect
        sql = statement(query, "postgresql").compile(
            dialect=dialect, compile_kwargs={"literal_binds": True}
        )
        plan = (await connection.execute(text(f"EXPLAIN {sql}"))).scalars().all()
    await store.close()
    read = set(re.findall(r"berlin_requests_(\d{4}_\d\d)\b", "\n".join(plan)))
    assert read == {"2026_10", "2026_11"}


def test_the_year_turns() -> None:
    """After December comes January."""
    assert next_month(datetime(2026, 12, 1, tzinfo=UTC)) == datetime(2027, 1, 1, tzinfo=UTC)


async def test_an_older_release_goes_on_with_newer_tables(store: Store) -> None:
    """A revision that this release does not know is a newer one, which only adds."""
    async with store._engine.begin() as connection:
        await connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
    await store.check()
    await store.insert([row(1)])
    assert await count(store) == 1


async def test_two_processes_write_into_one_database(url: str, tmp_path: Path) -> None:
    """Writers of several workers share a database and a folder of journals; no row is lost."""
    await upgrade(Secret(url))
    workers = [
        Recorder(tmp_path / "journal", 1_000_000, lambda: Store(Secret(url))) for _ in range(3)
    ]
    for n in range(300):
        workers[n % 3].begin(row(n, outcome=OPEN))
        workers[n % 3].end(row(n))
    for worker in workers:
        await asyncio.to_thread(worker.close)
    store = Store(Secret(url))
    assert await count(store) == 300
    await store.close()
    assert list((tmp_path / "journal").iterdir()) == []
