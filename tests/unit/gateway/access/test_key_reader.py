"""The keys as the running gateway sees them: who is let in, and how soon a change counts."""

from __future__ import annotations

import logging
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from berlin.errors import ConfigurationError
from berlin.gateway.access.key_reader import KeyReader
from berlin.gateway.access.keys import KeyStore
from support.clock import Clock


class Door:
    """A store, a reader of its file, and their clocks."""

    def __init__(self, tmp_path: Path) -> None:
        self.path = tmp_path / "data" / "keys.sqlite"
        self.clock = Clock()
        self.monotonic = Clock()
        self.store = KeyStore(self.path, self.clock)
        self.reader = KeyReader(self.path, self.clock, self.monotonic)

    def add(self, name: str, **values: float) -> str:
        """Add a key, let the reader see it, and return its token."""
        token = self.store.add(name, expires_at=values.get("expires_at"))[1].reveal()
        self.monotonic.now += 0.25
        return token

    def who(self, token: str) -> str | None:
        """Return the name of a token's key."""
        found = self.reader.find(token)
        return found and found.name

    def lock(self) -> sqlite3.Connection:
        """Return a connection that lets nobody else read."""
        self.reader.close()
        database = sqlite3.connect(self.path, isolation_level=None)
        database.execute("PRAGMA locking_mode = EXCLUSIVE")
        database.execute("BEGIN EXCLUSIVE")
        return database


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    """Return a door without keys; its file is closed at the end."""
    door = Door(tmp_path)
    yield door
    door.reader.close()


def test_key_is_its_owners(door: Door) -> None:
    """Each token tells whose it is; nothing else does (A02, A06)."""
    assert door.who("bk-anything") is None
    alice, bob = door.add("alice"), door.add("bob")
    assert (door.who(alice), door.who(bob)) == ("alice", "bob")
    swapped = alice[:23] + bob[23:]
    for other in ("", "bk-", alice[:-1], f"{alice} ", alice.swapcase(), swapped, "\ud800", "'--"):
        assert door.who(other) is None


def test_a08_revoked_in_another_process(tmp_path: Path) -> None:
    """A key that another process revokes is refused within a second."""
    path = tmp_path / "data" / "keys.sqlite"
    token = KeyStore(path).add("ci")[1].reveal()
    reader = KeyReader(path)
    assert reader.find(token) is not None
    code = (
        "import sys; from pathlib import Path; from berlin.gateway.access.keys import KeyStore;"
        "assert KeyStore(Path(sys.argv[1])).revoke('ci')"
    )
    subprocess.run([sys.executable, "-c", code, path], check=True, timeout=30)
    while reader.find(token) is not None:
        time.sleep(0.01)
    reader.close()


def test_a08_expired_key_is_refused(door: Door) -> None:
    """Expiry is checked at each look-up, whether the file was looked at or not."""
    token = door.add("ci", expires_at=door.clock.now + 10)
    assert door.who(token) == "ci"
    door.clock.now += 9.99
    assert door.who(token) == "ci"
    door.clock.now += 0.01
    assert door.who(token) is None


def test_file_is_asked_at_most_four_times_a_second(door: Door) -> None:
    """A change is not seen before the next look, and then at once."""
    first = door.add("first")
    assert door.who(first) == "first"
    second = door.store.add("second")[1].reveal()
    door.monotonic.now += 0.24
    assert door.who(second) is None
    door.monotonic.now += 0.01
    assert door.who(second) == "second"


def test_a26_unreadable_file(door: Door, caplog: pytest.LogCaptureFixture) -> None:
    """Locked out of the file, known keys work for 5 s, others never; it is logged once."""
    token = door.add("ci")
    assert door.who(token) == "ci"
    lock = door.lock()
    with caplog.at_level(logging.WARNING, "berlin.gateway"):
        for _ in range(20):
            door.monotonic.now += 0.25
            assert door.who(token) == "ci"
            assert door.who("bk-unknown") is None
        assert door.reader.problem == ""
        door.monotonic.now += 0.25
        assert door.who(token) is None
        assert door.reader.problem == "keys unreadable"
        assert [r.message.split(" ")[0] for r in caplog.records] == ["keys.unreadable"]
        lock.close()
        door.monotonic.now += 0.25
        assert door.who(token) == "ci"
        assert door.reader.problem == ""
        assert caplog.records[-1].message.startswith("keys.readable")
    assert token not in caplog.text


def test_a26_quiet_gateway_does_not_trust_old_keys(door: Door) -> None:
    """What was not looked at for long is not trusted when the file cannot be read."""
    token = door.add("ci")
    assert door.who(token) == "ci"
    lock = door.lock()
    door.monotonic.now += 60
    assert door.who(token) is None
    lock.close()


def test_locked_file_holds_up_the_loop_shortly(door: Door) -> None:
    """A look-up gives up a locked file at once."""
    token = door.add("ci")
    assert door.who(token) == "ci"
    lock = door.lock()
    door.monotonic.now += 0.25
    assert door.who(token) == "ci"
    lock.close()


def test_removed_file_is_no_keys(door: Door) -> None:
    """Who removes the file locks everybody out; a new file counts as soon as it is there."""
    token = door.add("ci")
    assert door.who(token) == "ci"
    for file in door.path.parent.iterdir():
        file.unlink()
    door.monotonic.now += 0.25
    assert door.who(token) is None
    other = door.add("other")
    assert (door.who(token), door.who(other)) == (None, "other")


def test_another_file_in_its_place(door: Door, tmp_path: Path) -> None:
    """A copy that is moved into its place is read."""
    token = door.add("ci")
    assert door.who(token) == "ci"
    other = KeyStore(tmp_path / "copy" / "keys.sqlite", door.clock).add("copy")[1].reveal()
    for file in door.path.parent.iterdir():
        file.unlink()
    (tmp_path / "copy" / "keys.sqlite").rename(door.path)
    door.monotonic.now += 0.25
    assert (door.who(token), door.who(other)) == (None, "copy")


def test_file_that_was_just_made(door: Door) -> None:
    """An empty file, which another process is about to fill, lets nobody in and is no error."""
    door.path.parent.mkdir(mode=0o700)
    door.path.touch(0o600)
    reader = KeyReader(door.path)
    assert reader.find("bk-anything") is None
    assert (reader.required, reader.problem) == (True, "keys missing")
    reader.close()


def test_bad_file_at_the_start(tmp_path: Path) -> None:
    """A gateway with a broken file, one open to others, or a newer one does not start."""
    path = tmp_path / "keys.sqlite"
    path.write_bytes(b"garbage" * 999)
    path.chmod(0o600)
    with pytest.raises(ConfigurationError, match="not a database"):
        KeyReader(path)
    path.chmod(0o644)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        KeyReader(path)


def test_unchanged_keys_are_not_parsed_again(door: Door) -> None:
    """After a change the reader parses what has changed: with 10,000 keys that is little work."""
    tokens = [door.add(f"k{n}") for n in range(3)]
    kept = [door.reader.find(token) for token in tokens]
    assert door.store.revoke("k1")
    door.monotonic.now += 0.25
    assert [door.reader.find(token) is key for token, key in zip(tokens, kept, strict=True)] == [
        True,
        False,
        True,
    ]
    assert door.who(tokens[1]) is None
