"""API keys in PostgreSQL: one store for the gateways of several machines."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from berlin.config import load_config
from berlin.errors import ConfigurationError
from berlin.gateway.access.keys import KeyStore
from berlin.gateway.access.shared_keys.reader import PostgresKeys
from berlin.gateway.access.shared_keys.store import PostgresTable
from berlin.gateway.setup import build_gateway
from berlin.types import Secret
from support.cli import Cli
from support.gateway import OPENAI, At, serve
from support.postgres import Postgres


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give PostgreSQL the time that it needs beside a full machine."""
    for name in ("reader.WAIT_S", "table.CONNECT_TIMEOUT_S", "table.COMMAND_TIMEOUT_S"):
        monkeypatch.setattr(f"berlin.gateway.access.shared_keys.{name}", 20.0)


async def status(at: At, token: str) -> int:
    """Return the status of an answer to a key."""
    return (await at.ask(OPENAI, model="guide", key=token)).status


async def test_r11_a08_a_key_at_two_gateways(postgres: Postgres, tmp_path: Path) -> None:
    """A key that is added, rotated or revoked is so at every gateway within a second."""
    url = postgres.new_database()
    path = tmp_path / "berlin.toml"
    path.write_text(f'[keys]\nstore = "{url}"\n')
    store = KeyStore(PostgresTable(Secret(url)))
    _, first = await asyncio.to_thread(store.add, "ci", user="ann", limits=["90 requests/hour"])
    built = [build_gateway(load_config(path), None) for _ in range(2)]
    async with serve(gateway=built[0]) as one, serve(gateway=built[1]) as two:
        both = one, two
        token = first.reveal()
        assert [await status(at, token) for at in both] == [200, 200]
        assert (await one.ask(OPENAI, model="guide", key=token)).headers[
            "x-ratelimit-limit-requests"
        ] == "90"
        assert [await status(at, "bk-wrong") for at in both] == [401, 401]
        rotated = await asyncio.to_thread(store.rotate, "ci", 3600.0)
        assert rotated is not None
        await asyncio.sleep(1)
        assert [await status(at, t.reveal()) for at in both for t in (first, rotated[1])] == [
            *(200, 200, 200, 200)
        ]
        assert await asyncio.to_thread(store.revoke, "ci")
        await asyncio.sleep(1)
        assert [await status(at, t.reveal()) for at in both for t in (first, rotated[1])] == [
            *(401, 401, 401, 401)
        ]
        assert (await one.get("/readyz")).status == 200
    (entry,) = await asyncio.to_thread(store.entries)
    assert (entry.name, entry.user, entry.state(time.time())) == ("ci", "ann", "revoked")
    stored = " ".join(postgres.query("SELECT * FROM berlin_keys", url))
    assert first.reveal() not in stored
    assert not await asyncio.to_thread(store.revoke, "ci")
    assert await asyncio.to_thread(store.rotate, "ci", 0.0) is None


async def test_a26_without_the_database(
    postgres: Postgres, caplog: pytest.LogCaptureFixture
) -> None:
    """Known keys stay valid for five seconds; then nobody is let in, and it says so once."""
    url = postgres.new_database()
    _, token = await asyncio.to_thread(KeyStore(PostgresTable(Secret(url))).add, "ci")
    clock = [0.0]
    keys = PostgresKeys(Secret(url), monotonic=lambda: clock[0])
    await keys.prepare()
    assert keys.find(token.reveal()) is not None
    keys._url = Secret("postgresql://berlin@127.0.0.1:1/none")
    keys._connection.terminate()
    for clock[0], found in ((4.0, True), (4.9, True), (5.5, False), (9.0, False)):
        await keys.prepare()
        assert (keys.find(token.reveal()) is not None) == found
        assert keys.problem == ("" if found else "keys unreadable")
    assert caplog.text.count("keys.unreadable") == 1
    keys._url = Secret(url)
    await keys.prepare()
    assert keys.find(token.reveal()) is not None
    keys.close()


async def test_the_commands(postgres: Postgres, tmp_path: Path) -> None:
    """`berlin key` manages the keys where the configuration says; mistakes are one line."""
    cli = Cli(tmp_path).configure(f'[keys]\nstore = "{postgres.new_database()}"\n')
    added = await cli.run("key", "add", "ci")
    assert (added.code, added.out[:3]) == (0, "bk-")
    again = await cli.run("key", "add", "ci")
    assert (again.code, "there is a live key 'ci'" in again.err) == (2, True)
    assert "ci" in (await cli.run("key", "list")).out
    assert not (cli.data / "keys.sqlite").exists()


def test_a_url_that_cannot_be() -> None:
    """A URL that is none, or leads nowhere, is named without its password."""
    for url in ("postgresql://u:secret@127.0.0.1:1/x", "nonsense://secret"):
        with pytest.raises(ConfigurationError) as caught:
            KeyStore(PostgresTable(Secret(url))).entries()
        assert "secret" not in str(caught.value)
