"""The accounts as the running gateway sees them: how soon a change counts, and what it ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from berlin.errors import ConfigurationError
from berlin.gateway.access.account_reader import AccountReader
from berlin.gateway.access.accounts import Accounts
from berlin.gateway.access.sessions import Sessions
from berlin.types import Secret
from support.clock import Clock


class Door:
    """A file of accounts and its reader."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "data" / "accounts.json"
        self.clock = Clock()
        self.reader = AccountReader(self.path, monotonic=self.clock)
        self.sessions = Sessions(60, self.reader.fingerprint)

    def change(self, **passwords: str | None) -> None:
        """Add or remove accounts, as `berlin account` does, and let time pass."""
        known = Accounts.load(self.path)
        for name, password in passwords.items():
            known.remove(name) if password is None else known.add(name, Secret(password))
        known.save(self.path)
        self.clock.now += 1


@pytest.fixture
def door(tmp_path: Path) -> Door:
    """Return a reader whose file does not exist yet."""
    return Door(tmp_path)


async def test_changes_count_at_once(door: Door) -> None:
    """A new account logs in, a new password replaces the old one, a removed account is nobody."""
    assert len(door.reader.known) == 0
    door.change(ann="one", bob="b")
    assert len(door.reader.known) == 2
    assert await door.reader.verify("ann", Secret("one"))
    first = door.sessions.open("ann", door.reader.fingerprint("ann"))
    assert door.sessions.account(first) == "ann"
    door.change(ann="two")
    assert not await door.reader.verify("ann", Secret("one"))
    assert await door.reader.verify("ann", Secret("two"))
    assert door.sessions.account(first) is None
    second = door.sessions.open("ann", door.reader.fingerprint("ann"))
    door.change(ann=None)
    assert door.reader.caller("ann") is None
    assert door.reader.caller("bob") is not None
    assert door.sessions.account(second) is None


@pytest.mark.parametrize("damage", ["", '{"version": 1, "acc', '{"version": 2, "accounts": {}}'])
async def test_a_damaged_file_lets_nobody_in(
    door: Door, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The last known accounts stay valid for a moment, then nobody's are; it is logged once."""
    door.change(ann="one")
    assert door.reader.caller("ann") is not None
    good = door.path.read_bytes()
    door.path.write_text(damage)
    door.clock.now += 1
    assert door.reader.caller("ann") is not None
    door.clock.now += 6
    assert door.reader.caller("ann") is None
    assert caplog.text.count("accounts.unreadable") == 1
    door.path.write_bytes(good)
    door.clock.now += 1
    assert door.reader.caller("ann") is not None
    with pytest.raises(ConfigurationError, match="cannot be read"):
        door.path.write_text('{"version": 2, "accounts": {}}')
        AccountReader(door.path)


async def test_a_file_that_is_gone_has_no_accounts(door: Door) -> None:
    """Removing the file removes all accounts."""
    door.change(ann="one")
    assert door.reader.caller("ann") is not None
    door.path.unlink()
    door.clock.now += 1
    assert door.reader.caller("ann") is None


def test_the_file_is_not_read_at_each_use(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred requests of one moment look at it once."""
    looks: list[Path] = []
    lstat = Path.lstat

    def count(path: Path) -> object:
        looks.append(path)
        return lstat(path)

    monkeypatch.setattr(Path, "lstat", count)
    door.clock.now += 1
    for _ in range(100):
        door.reader.caller("ann")
    assert len(looks) == 1
