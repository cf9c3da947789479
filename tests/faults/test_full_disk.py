"""A disk that is full: keys, accounts, logins, tokens and the state in SQLite.

As root on a file system of 256 KiB that is filled; else with a limit on the size of files, which
fails the same writes with another error.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from berlin.auth.tokens.login_store import LoginStore, StoredLogin
from berlin.errors import ConfigurationError
from berlin.gateway.access.account_reader import AccountReader
from berlin.gateway.access.accounts import Accounts
from berlin.gateway.access.guard import Guard
from berlin.gateway.access.key_reader import KeyReader
from berlin.gateway.access.keys import KeyStore
from berlin.gateway.catalog import Catalog, Service
from berlin.gateway.chat import Gateway
from berlin.gateway.stored.record import Record
from berlin.gateway.stored.sqlite import SqliteEngine
from berlin.providers.scripted import ScriptedProvider
from berlin.routing.conversations.sqlite import SQLiteHeads
from berlin.routing.conversations.store import Head
from berlin.types import Secret
from support.cli import Cli
from support.gateway import OPENAI, make_key, serve


class Disk:
    """A folder whose disk can be filled."""

    def __init__(self, folder: Path, *, is_mounted: bool) -> None:
        self.folder = folder
        self._is_mounted = is_mounted

    @contextlib.contextmanager
    def full(self) -> Iterator[None]:
        """Leave no room during the block."""
        if self._is_mounted:
            filler = self.folder / "filler"
            with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
                while True:
                    file.write(b"x" * 4_096)
            yield
            filler.unlink()
            return
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            signal.signal(signal.SIGXFSZ, handler)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """Return a small disk."""
    folder = tmp_path / "disk"
    folder.mkdir(mode=0o700)
    mount = ("mount", "-t", "tmpfs", "-o", "size=256k,mode=700", "tmpfs", str(folder))
    is_mounted = os.getuid() == 0 and subprocess.run(mount, capture_output=True).returncode == 0
    try:
        yield Disk(folder, is_mounted=is_mounted)
    finally:
        if is_mounted:
            subprocess.run(("umount", "-l", str(folder)), check=True)


async def test_a_gateway_starts_on_a_full_disk(disk: Disk) -> None:
    """Its keys are read although SQLite has no room beside them; a key revoked before is not."""
    keys = disk.folder / "keys.sqlite"
    good, old = make_key(keys, "one"), make_key(keys, "old")
    KeyStore(keys).revoke("old")
    with disk.full():
        reader = KeyReader(keys)
        assert reader.required
        assert (reader.find(good) is not None, reader.find(old)) == (True, None)
    reader.close()


async def test_keys_and_accounts(disk: Disk) -> None:
    """No key and no account is lost or half written; those there are still open the gateway."""
    keys, file = disk.folder / "keys.sqlite", disk.folder / "accounts.json"
    good = make_key(keys, "one")
    accounts = Accounts()
    accounts.add("ann", Secret("pass-of-ann"))
    accounts.save(file)
    gateway = Gateway(Catalog([Service("s", ScriptedProvider(), ["m1"])]), Guard(KeyReader(keys)))
    with disk.full():
        with pytest.raises(ConfigurationError, match=r"the keys in .* cannot be used"):
            make_key(keys, "two")
        accounts.add("bob", Secret("pass-of-bob"))
        with pytest.raises(ConfigurationError, match="cannot be stored"):
            accounts.save(file)
        async with serve(gateway=gateway) as at:
            assert (await at.ask(OPENAI, key=good)).status == 200
            assert (await at.ask(OPENAI, key="wrong")).status == 401
        assert AccountReader(file).names == ["ann"]
        again = KeyReader(keys)  # a gateway that starts now
        assert again.find(good) is not None
        again.close()
    assert make_key(keys, "two")
    assert not list(disk.folder.glob(".accounts*"))


def test_logins(disk: Disk) -> None:
    """A login that cannot be stored is an error, and the earlier one is still there."""
    store = LoginStore(disk.folder / "logins.json")
    first = StoredLogin("https://a.example", {"account": "ann", "password": "pass-of-ann"})
    store.save("work", first)
    with disk.full(), pytest.raises(ConfigurationError, match="cannot be stored"):
        store.save("work", StoredLogin("https://b.example", {"account": "bob"}))
    found = store.load("work")
    assert found is not None
    assert found[0] == first


async def test_stored_responses_and_conversations(disk: Disk) -> None:
    """What cannot be stored is an error of the disk, not of SQLite; later it works again."""
    engine = SqliteEngine(disk.folder / "responses.sqlite", 60, 100, 10_000_000)
    heads = SQLiteHeads(disk.folder / "conversations.sqlite")
    await heads.put("a", Head("c1", "m1"))
    record = Record("r1", "ann", "", b"x" * 60_000, b"{}")
    with disk.full():
        with pytest.raises(OSError, match="SQLite"):
            engine.put(record)
        await heads.put("b", Head("c2", "m2" * 30_000))
        assert engine.get("ann", "r1") is None
    engine.put(record)
    engine.close()
    assert await heads.take("a", keep=True) == Head("c1", "m1")
    await heads.aclose()


def test_stored_responses_of_a_gateway_that_starts_on_a_full_disk(disk: Disk) -> None:
    """It starts, storing fails, and works as soon as there is room."""
    record = Record("r1", "ann", "", b"[]", b"{}")
    with disk.full():
        engine = SqliteEngine(disk.folder / "responses.sqlite", 60, 100, 10_000_000)
        with pytest.raises(OSError, match="SQLite"):
            engine.put(record)
    engine.put(record)
    assert engine.get("ann", "r1") == record
    engine.close()


async def test_a_command_says_it_in_one_line(disk: Disk, tmp_path: Path) -> None:
    """`berlin key add` on a full disk: exit code 6, one line, and no key is shown."""
    cli = Cli(tmp_path)
    cli.environ["XDG_DATA_HOME"] = str(disk.folder)
    if not disk._is_mounted:
        pytest.skip("a limit on the size of files would be one on the test's own output")
    with disk.full():
        ended = await asyncio.wait_for(cli.run("key", "add", "k"), 30)
    assert (ended.code, ended.out) == (6, "")
    assert "Traceback" not in ended.err
    assert len(ended.err.strip().splitlines()) == 1
    assert "make room" in ended.err  # not: move the keys away
